//! The real `usmbd` as a child process, with folders of its own.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::restrict::{NOBODY, Restriction};
use super::{Outcome, child, need};

/// The user that every server of these tests knows, and the share that every one of them has.
pub(crate) const USER: &str = "alice";
pub(crate) const PASSWORD: &str = "secret1";
pub(crate) const SHARE: &str = "files";

/// The banner has to appear within this time, on a machine busy with other tests.
const START_LIMIT: Duration = Duration::from_secs(30);
const LOG_LINES_SHOWN: usize = 40;

/// Faults that nobody may notice.
pub(crate) const HARMLESS: &str = "seed=1,short=1/3,interrupted=1/5";

/// How a server is to be started.
#[derive(Clone, Default)]
pub(crate) struct Serve {
    backend: Option<&'static str>,
    arguments: Vec<String>,
    words: Vec<&'static str>,
    variables: Vec<(&'static str, String)>,
    share_owner: Option<u32>,
    for_guests: Option<String>,
    restriction: Option<Restriction>,
}

impl Serve {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn backend(mut self, backend: &'static str) -> Self {
        self.backend = Some(backend);
        self
    }

    pub(crate) fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// A variable of its environment.
    pub(crate) fn variable(mut self, name: &'static str, value: &str) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// What its operations are to suffer, in the runtime's words for it.
    pub(crate) fn faults(self, faults: &str) -> Self {
        self.variable("RINGWAY_FAULTS", faults)
    }

    /// An option of the share.
    pub(crate) fn share_option(mut self, word: &'static str) -> Self {
        self.words.push(word);
        self
    }

    /// Serves one more share, which guests may use and everybody may write.
    pub(crate) fn shared_with_guests(mut self, name: &str) -> Self {
        self.for_guests = Some(name.into());
        self
    }

    /// Gives the share's folder to this user and group, before the server looks at it.
    pub(crate) fn share_owner(mut self, id: u32) -> Self {
        self.share_owner = Some(id);
        self
    }

    /// Starts the server under a limit, its folders its own.
    pub(crate) fn restricted(mut self, restriction: Restriction) -> Self {
        self.restriction = Some(restriction);
        if rustix::process::geteuid().is_root() { self.share_owner(NOBODY) } else { self }
    }

    /// io_uring where the kernel has it, so that a machine without it still tests everything above the backend.
    pub(crate) fn backend_name(&self) -> &'static str {
        self.backend.unwrap_or_else(|| if need::has_io_uring() { "uring" } else { "epoll" })
    }

    pub(crate) fn start(&self) -> Result<Server, Failed> {
        let root = tempfile::Builder::new().prefix("usmbd-test-").tempdir()?;
        fs::create_dir(root.path().join("share"))?;
        fs::create_dir(root.path().join("readonly"))?;
        if self.for_guests.is_some() {
            fs::create_dir(root.path().join("guests"))?;
            fs::set_permissions(root.path().join("guests"), fs::Permissions::from_mode(0o777))?;
        }
        if self.share_owner.is_some() {
            chown(root.path().join("share"), self.share_owner, self.share_owner)?;
        }
        // Whoever the server runs as has to get to its folders.
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755))?;
        let mut command = self.command("127.0.0.1:0", root.path())?;
        if let Some(restriction) = self.restriction {
            restriction.apply(&mut command);
        }
        let (child, log) = started(&mut command)?;
        let mut server =
            Server { address: SocketAddr::from(([127, 0, 0, 1], 0)), child, log, root };
        server.address = server.wait_for_banner()?;
        Ok(server)
    }

    /// The command line, for the tests that expect the start to fail.
    pub(crate) fn command(&self, listen: &str, root: &Path) -> Result<Command, Failed> {
        let mut command = Command::new(binary()?);
        let words: String = self.words.iter().map(|word| format!(",{word}")).collect();
        command
            .args(["serve", "--listen", listen, "--backend", self.backend_name(), "--log", "debug"])
            .arg("--share")
            .arg(format!("{SHARE}={}{words}", root.join("share").display()))
            .arg("--share")
            .arg(format!("readonly={},ro", root.join("readonly").display()))
            .args(["--user", &format!("{USER}:{PASSWORD}")])
            .args(
                self.for_guests
                    .iter()
                    .map(|name| format!("--share={name}={},guest", root.join("guests").display())),
            )
            .args(&self.arguments)
            .env("NO_COLOR", "1")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Ok(command)
    }
}

fn started(command: &mut Command) -> Result<(Child, Log), Failed> {
    let mut child =
        command.spawn().map_err(|error| format!("cannot start {command:?}: {error}"))?;
    let log = Log::default();
    let streams: [Option<Box<dyn Read + Send>>; 2] = [
        child.stdout.take().map(|s| Box::new(s) as _),
        child.stderr.take().map(|s| Box::new(s) as _),
    ];
    for stream in streams.into_iter().flatten() {
        log.follow(stream);
    }
    Ok((child, log))
}

/// A running server. Dropping it kills it and removes its folders.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) log: Log,
    child: Child,
    root: TempDir,
}

impl Server {
    /// The folder behind the share [`SHARE`].
    pub(crate) fn folder(&self) -> PathBuf {
        self.root.path().join("share")
    }

    /// The folder behind the share for guests.
    pub(crate) fn guests_folder(&self) -> PathBuf {
        self.root.path().join("guests")
    }

    /// The folder behind the read-only share.
    pub(crate) fn readonly_folder(&self) -> PathBuf {
        self.root.path().join("readonly")
    }

    /// A new empty folder outside the shares.
    pub(crate) fn scratch(&self, name: &str) -> Result<PathBuf, Failed> {
        let path = self.root.path().join(name);
        fs::create_dir(&path)?;
        Ok(path)
    }

    /// The most memory that the server has had in use so far, in bytes.
    pub(crate) fn peak_memory(&self) -> Result<u64, Failed> {
        self.memory_status("VmHWM:")
    }

    /// The memory that it has in use, in bytes.
    pub(crate) fn memory(&self) -> Result<u64, Failed> {
        self.memory_status("VmRSS:")
    }

    fn memory_status(&self, what: &str) -> Result<u64, Failed> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(what));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).ok_or("no such line")?;
        Ok(kib.parse::<u64>()? * 1024)
    }

    /// How many directories or file systems the kernel watches for it.
    pub(crate) fn kernel_watches(&self) -> Result<usize, Failed> {
        let mut watches = 0;
        for descriptor in fs::read_dir(format!("/proc/{}/fdinfo", self.child.id()))? {
            // It may have been closed meanwhile.
            let info = fs::read_to_string(descriptor?.path()).unwrap_or_default();
            let marks = ["inotify wd:", "fanotify sdev:"];
            watches +=
                info.lines().filter(|line| marks.iter().any(|it| line.starts_with(it))).count();
        }
        Ok(watches)
    }

    /// Sends SIGTERM.
    pub(crate) fn ask_to_stop(&self) -> Outcome {
        Ok(kill_process(self.pid()?, Signal::TERM)?)
    }

    /// How many descriptors it has open.
    pub(crate) fn descriptors(&self) -> Result<usize, Failed> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())
    }

    /// What it says on SIGUSR1 of the ways that bytes have taken.
    pub(crate) fn routes(&self) -> Result<Vec<String>, Failed> {
        const LIMIT: Duration = Duration::from_secs(10);
        const PAUSE: Duration = Duration::from_millis(200);
        let before = self.log.lines().len();
        kill_process(self.pid()?, Signal::USR1)?;
        let deadline = Instant::now() + LIMIT;
        let mut known = 0;
        loop {
            thread::sleep(PAUSE);
            let told: Vec<_> = self.log.lines().iter().skip(before).cloned().collect();
            let ways = told.iter().filter(|line| line.contains("route=")).count();
            // It says all of it at once.
            if ways > 0 && ways == known || Instant::now() >= deadline {
                return Ok(told);
            }
            known = ways;
        }
    }

    /// The line with `what` that it says on SIGUSR1.
    pub(crate) fn told(&self, what: &str) -> Result<String, Failed> {
        const LIMIT: Duration = Duration::from_secs(10);
        let before = self.log.lines().len();
        kill_process(self.pid()?, Signal::USR1)?;
        let deadline = Instant::now() + LIMIT;
        loop {
            let found =
                self.log.lines().iter().skip(before).find(|line| line.contains(what)).cloned();
            if let Some(line) = found {
                return Ok(line);
            }
            if Instant::now() >= deadline {
                return Err(format!("it does not say '{what}'").into());
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The number of its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// The server does nothing at all until this is dropped.
    pub(crate) fn stopped(&self) -> Result<Stopped, Failed> {
        let pid = self.pid()?;
        kill_process(pid, Signal::STOP)?;
        Ok(Stopped(pid))
    }

    fn pid(&self) -> Result<Pid, Failed> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        Ok(pid.ok_or("no process id")?)
    }

    /// Asks the server to stop and waits for it.
    pub(crate) fn terminate(&mut self, limit: Duration) -> Result<ExitStatus, Failed> {
        self.ask_to_stop()?;
        child::wait(&mut self.child, limit)?
            .ok_or_else(|| format!("still running {limit:?} after SIGTERM").into())
    }

    /// A process that, when it is let, becomes a server as `serve` says, at the same address with the same folders.
    pub(crate) fn successor(&self, serve: &Serve) -> Result<Successor, Failed> {
        let wanted = serve.command(&self.address.to_string(), self.root.path())?;
        let mut command = Command::new("sh");
        command.args(["-c", "read -r go && exec \"$0\" \"$@\""]).arg(wanted.get_program());
        command.args(wanted.get_args()).env("NO_COLOR", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        started(&mut command).map(|(child, log)| Successor { child, log })
    }

    /// Kills it. What it has not said until then it never will.
    pub(crate) fn stop_at_once(&mut self) {
        child::kill(&mut self.child);
    }

    /// Lets a successor take its place.
    pub(crate) fn replace(&mut self, mut successor: Successor) -> Outcome {
        self.stop_at_once();
        let mut stdin = successor.child.stdin.take().ok_or("it has been let already")?;
        stdin.write_all(b"go\n")?;
        (self.child, self.log) = (successor.child, successor.log);
        self.wait_for_banner()?;
        Ok(())
    }

    pub(crate) fn check_alive(&mut self) -> Outcome {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("the server has ended: {status}").into()),
        }
    }

    pub(crate) fn check_no_panic(&self) -> Outcome {
        match self.log.lines().iter().find(|line| line.contains("panicked")) {
            None => Ok(()),
            Some(line) => Err(format!("the server panicked: {line}").into()),
        }
    }

    /// A failure with the end of the server's log below it.
    pub(crate) fn explain(&self, failed: &Failed) -> Failed {
        let lines = self.log.lines();
        let end = lines.iter().skip(lines.len().saturating_sub(LOG_LINES_SHOWN));
        let log: String = end.map(|line| format!("\n  | {line}")).collect();
        format!("{}\nthe server's log ends:{log}", failed.message().unwrap_or("failed")).into()
    }

    fn wait_for_banner(&mut self) -> Result<SocketAddr, Failed> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if let Some(address) = self.log.lines().iter().find_map(|line| listening_address(line))
            {
                return Ok(address);
            }
            if let Some(status) = self.child.try_wait()? {
                // The log threads see the end of the streams a moment after the process is gone.
                thread::sleep(Duration::from_millis(50));
                return Err(
                    self.explain(&format!("the server ended at its start: {status}").into())
                );
            }
            if Instant::now() >= deadline {
                return Err(
                    self.explain(&format!("no listening address within {START_LIMIT:?}").into())
                );
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// What is going to be a server. It is there before it is needed, since who has files of a share open starts no process
/// without the share's server: at its start the process closes them, which flushes them.
pub(crate) struct Successor {
    child: Child,
    log: Log,
}

/// A server that stands still.
pub(crate) struct Stopped(Pid);

impl Drop for Stopped {
    fn drop(&mut self) {
        // It may have been killed; then nobody needs to go on.
        let _ = kill_process(self.0, Signal::CONT);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        child::kill(&mut self.child);
    }
}

/// The lines that the server has written so far, on both streams.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follow(&self, stream: impl Read + Send + 'static) {
        let log = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                log.lines().push(String::from_utf8_lossy(&line).into_owned());
            }
        });
    }
}

/// The first `127.0.0.1:PORT` with a real port in a line of the banner.
fn listening_address(line: &str) -> Option<SocketAddr> {
    let start = line.find("127.0.0.1:")?;
    let rest = &line[start..];
    let end =
        rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':').unwrap_or(rest.len());
    rest[..end]
        .trim_end_matches(['.', ':'])
        .parse()
        .ok()
        .filter(|address: &SocketAddr| address.port() != 0)
}

/// `USMBD_BIN`, or the newest `usmbd` built beside the tests (a release build is worth having for the large files, a
/// stale one is not).
pub(crate) fn binary() -> Result<PathBuf, Failed> {
    if let Some(path) = std::env::var_os("USMBD_BIN") {
        return Ok(path.into());
    }
    let test = std::env::current_exe()?;
    let profile =
        test.parent().and_then(Path::parent).ok_or("no target directory above the test")?;
    let candidates = [profile.join("usmbd"), profile.with_file_name("release").join("usmbd")];
    let built =
        candidates.iter().filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path)));
    let (_, newest) = built.max().ok_or_else(|| {
        format!(
            "{} is missing: run `cargo build -p usmbd` first, or set USMBD_BIN",
            candidates[0].display()
        )
    })?;
    Ok(newest.clone())
}
