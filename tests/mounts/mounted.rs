//! A trial with a share mounted: it has a limit in time, and what the client complains of in the kernel's log is a
//! failure.

use std::ffi::CString;
use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;

use crate::support::server::{PASSWORD, SHARE, USER};
use crate::support::{self, Need, Outcome, Serve, Server, ensure};

/// Far more than any of them takes in an emulated guest. A client that waits for ever is never interrupted.
const LIMIT: Duration = Duration::from_secs(240);

/// A server with mounts of its shares.
pub(crate) struct Place {
    pub(crate) server: Mutex<Server>,
    pub(crate) folder: PathBuf,
    /// Of its first mount.
    pub(crate) options: &'static str,
    root: TempDir,
    mounts: Mutex<Vec<PathBuf>>,
    /// What the client may say beyond nothing.
    expected: Mutex<Vec<&'static str>>,
    log: Mutex<KernelLog>,
}

impl Place {
    fn new(serve: &Serve, options: &'static str) -> Result<Self, Failed> {
        let server = serve.start()?;
        Ok(Self {
            options,
            folder: server.folder(),
            server: Mutex::new(server),
            root: tempfile::Builder::new().prefix("usmbd-mounts-").tempdir()?,
            mounts: Mutex::default(),
            expected: Mutex::default(),
            log: Mutex::new(KernelLog::from_now()?),
        })
    }

    /// Mounts the share as it is mounted already.
    pub(crate) fn mount_again(&self) -> Result<PathBuf, Failed> {
        self.mount(self.options)
    }

    /// Mounts the share with these options. Two mounts have nothing in common but the server.
    pub(crate) fn mount(&self, options: &str) -> Result<PathBuf, Failed> {
        self.mount_share(SHARE, options)
    }

    pub(crate) fn mount_share(&self, share: &str, options: &str) -> Result<PathBuf, Failed> {
        self.mount_as(share, &format!("username={USER},password={PASSWORD},{options}"))
    }

    pub(crate) fn mount_as(&self, share: &str, options: &str) -> Result<PathBuf, Failed> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let at = self.root.path().join(COUNT.fetch_add(1, Ordering::Relaxed).to_string());
        fs::create_dir(&at)?;
        let port = self.server().address.port();
        // Unasked, the client says that it takes no SMB1.
        let dialect = if options.contains("vers=") { "" } else { "vers=3.1.1," };
        let words = format!("ip=127.0.0.1,port={port},nosharesock,{dialect}{options}");
        let words = CString::new(words.trim_end_matches(',').trim_end_matches(','))?;
        mount(format!("//127.0.0.1/{share}"), &at, "cifs", MountFlags::empty(), &*words)
            .when("mounting")?;
        self.mounts.lock().unwrap_or_else(PoisonError::into_inner).push(at.clone());
        Ok(at)
    }

    pub(crate) fn server(&self) -> std::sync::MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client may say what has these words in it.
    pub(crate) fn may_say(&self, words: &'static str) {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner).push(words);
    }

    /// Unmounts all, so that the trial can take back what the server serves.
    pub(crate) fn let_go(&self) -> Outcome {
        self.unmount(UnmountFlags::empty())
    }

    fn unmount(&self, flags: UnmountFlags) -> Outcome {
        let mut mounts = self.mounts.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(at) = mounts.pop() {
            unmount(&at, flags).when("unmounting")?;
        }
        Ok(())
    }

    fn no_complaints(&self) -> Outcome {
        let said = self.log.lock().unwrap_or_else(PoisonError::into_inner).complaints()?;
        let expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        let said: Vec<_> =
            said.into_iter().filter(|line| !expected.iter().any(|it| line.contains(it))).collect();
        ensure(said.is_empty(), || format!("the client says:\n  {}", said.join("\n  ")))
    }
}

pub(crate) type Body = fn(&Place, &Path) -> Outcome;

/// A trial with a share mounted with these options.
pub(crate) fn mounted(name: &str, options: &'static str, body: Body) -> Trial {
    mounted_from(name, Serve::new(), options, body)
}

fn mounted_from(name: &str, serve: Serve, options: &'static str, body: Body) -> Trial {
    with_place(name, serve, &[Need::Cifs], options, move |place| {
        body(place, &place.mount(options)?)
    })
}

/// Trials of what two mounts have to agree about at once. They keep no copies, as this client writes behind even where
/// it has no oplock. Locks it keeps to itself under an oplock until that is broken, which it heeds in dialect 2.1; in
/// later ones it heeds the breaks of leases only, of which the server grants none.
pub(crate) fn together(bodies: &[(&str, Body)]) -> Vec<Trial> {
    let both = |(name, body): &(&str, Body)| {
        let without = Serve::new().share_option("no-oplocks");
        let (old, new) = ("vers=2.1,cache=none,actimeo=0", "cache=none,actimeo=0");
        [
            mounted(&format!("{name} (2.1, oplocks)"), old, *body),
            mounted_from(&format!("{name} (3.1.1, no oplocks)"), without, new, *body),
        ]
    };
    bodies.iter().flat_map(both).collect()
}

/// A trial that mounts by itself.
pub(crate) fn served(
    name: &str,
    serve: Serve,
    needs: &'static [Need],
    body: impl FnOnce(&Place) -> Outcome + Send + 'static,
) -> Trial {
    with_place(name, serve, needs, "", body)
}

fn with_place(
    name: &str,
    serve: Serve,
    needs: &'static [Need],
    options: &'static str,
    body: impl FnOnce(&Place) -> Outcome + Send + 'static,
) -> Trial {
    support::trial(name, needs, move || {
        let place = Arc::new(Place::new(&serve, options)?);
        let outcome = limited(&place, body);
        // A mount that still has work to do goes when that is done, or never.
        let unmounted = match &outcome {
            Ok(()) => place.unmount(UnmountFlags::empty()),
            Err(_) => place.unmount(UnmountFlags::DETACH),
        };
        // After its limit a trial may still have it.
        let Ok(mut server) = place.server.try_lock() else { return outcome };
        let outcome = outcome
            .and(unmounted)
            .and_then(|()| server.check_alive())
            .and_then(|()| server.check_no_panic())
            .and_then(|()| place.no_complaints());
        outcome.inspect_err(|failed| {
            // At once: what comes next may take the kernel along.
            println!("\n{}", explained(&place, &server, failed).message().unwrap_or_default());
        })
    })
}

fn limited(place: &Arc<Place>, body: impl FnOnce(&Place) -> Outcome + Send + 'static) -> Outcome {
    let (done, ended) = mpsc::channel();
    let for_body = Arc::clone(place);
    let thread = thread::spawn(move || {
        let outcome = body(&for_body);
        // Whoever waited may have given up.
        let _ = done.send(outcome);
    });
    match ended.recv_timeout(LIMIT) {
        Ok(outcome) => outcome,
        Err(RecvTimeoutError::Timeout) => Err(format!("not done after {LIMIT:?}").into()),
        Err(RecvTimeoutError::Disconnected) => {
            let message = thread.join().err().and_then(|it| it.downcast_ref::<String>().cloned());
            Err(format!("panicked: {}", message.unwrap_or_default()).into())
        }
    }
}

fn explained(place: &Place, server: &Server, failed: &Failed) -> Failed {
    let mut log = place.log.lock().unwrap_or_else(PoisonError::into_inner);
    log.read();
    let said = log.seen.join("\n  k ");
    let message = format!("{}\n  k {said}", failed.message().unwrap_or("failed"));
    server.explain(&message.into())
}

/// What was being done when something failed.
pub(crate) trait When<T> {
    fn when(self, doing: &str) -> Result<T, Failed>;
}

impl<T, E: Display> When<T> for Result<T, E> {
    fn when(self, doing: &str) -> Result<T, Failed> {
        self.map_err(|error| format!("{doing}: {error}").into())
    }
}

/// Compares, and says what was compared.
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(what: &str, is: T, wanted: T) -> Outcome {
    ensure(is == wanted, || format!("{what}: {is:?}, not {wanted:?}"))
}

/// The error that an operation is to end with.
pub(crate) fn fails<T>(what: &str, result: std::io::Result<T>, errors: &[i32]) -> Outcome {
    let is = result.err().map_or(0, |error| error.raw_os_error().unwrap_or(-1));
    ensure(errors.contains(&is), || format!("{what}: errno {is}, not of {errors:?}"))
}

/// Has this mount ask the server again, about everything that is not open.
pub(crate) fn forget() -> Outcome {
    rustix::fs::sync();
    fs::write("/proc/sys/vm/drop_caches", "3").when("dropping caches")
}

struct KernelLog {
    file: File,
    seen: Vec<String>,
}

impl KernelLog {
    fn from_now() -> Result<Self, Failed> {
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let file = OpenOptions::new().read(true).custom_flags(flags).open("/dev/kmsg");
        let mut log = Self { file: file.when("the kernel's log")?, seen: Vec::new() };
        log.read();
        log.seen.clear();
        Ok(log)
    }

    /// Each read gives one message; at the end it would block.
    fn read(&mut self) {
        let mut message = [0; 8192];
        while let Ok(length) = self.file.read(&mut message) {
            let text = String::from_utf8_lossy(&message[..length]);
            let said = text.split_once(';').map_or(&*text, |(_, said)| said);
            self.seen.push(said.lines().next().unwrap_or_default().into());
        }
    }

    /// What is about the client, but not that it mounts, and what the kernel finds wrong with itself.
    fn complaints(&mut self) -> Result<Vec<String>, Failed> {
        self.read();
        let complaint = |line: &&String| {
            (line.contains("CIFS") && !line.contains("Attempting to mount"))
                || ["WARNING:", "BUG:", "Oops"].iter().any(|word| line.contains(word))
        };
        Ok(self.seen.iter().filter(complaint).cloned().collect())
    }
}
