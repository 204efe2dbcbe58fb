//! One job of one runtime in a process of its own, and the talk between it and the process that
//! measures.
//!
//! The job says `ready`, with its port if it serves, and waits for a line. A server then serves until it
//! is killed; any other job works, says `done OPS NANOS EXTRA` and waits to be killed, so that its
//! counters can still be read.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{self, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::Duration;

use measure::cores;
use rustix::process::{Signal, set_parent_process_death_signal};

use crate::rows;
use crate::runtimes::{self, Contender};
use crate::sys;

/// The job's own side: `runtime-bench job RUNTIME JOB ARGUMENT…`.
pub(crate) fn run(runtime: &str, job: &str, args: &[String]) -> ExitCode {
    sys::pin(cores::SERVER);
    // A server would wait for connections for ever if the process that measures were killed.
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        eprintln!("may outlive the process that measures: {error}");
    }
    let Some(contender) = runtimes::find(runtime) else {
        eprintln!("there is no runtime '{runtime}'");
        return ExitCode::from(2);
    };
    (contender.run)(&rows::Job { name: job.to_owned(), args: args.to_vec() });
    ExitCode::SUCCESS
}

/// Tells that the job can begin, and waits until it may.
pub(crate) fn ready(port: u16) {
    say(&format!("ready {port}"));
    await_line();
}

/// Tells what was done, and waits for the end.
pub(crate) fn done(ops: u64, time: Duration, extra: f64) {
    say(&format!("done {ops} {} {extra}", time.as_nanos()));
    await_line();
    process::exit(0);
}

fn say(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn await_line() {
    let mut line = String::new();
    if !matches!(io::stdin().lock().read_line(&mut line), Ok(1..)) {
        process::exit(0);
    }
}

/// The measuring side. Dropping it kills the process.
pub(crate) struct Child {
    process: process::Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    /// Where it serves; zero for a job that does not.
    pub(crate) port: u16,
}

/// What a job that is not a server reports.
pub(crate) struct Done {
    pub(crate) ops: u64,
    pub(crate) time: Duration,
    /// A number that only this row knows the meaning of.
    pub(crate) extra: f64,
}

impl Child {
    /// Starts the job and waits until it is ready.
    pub(crate) fn start(contender: &Contender, job: &rows::Job) -> io::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["job", contender.name, &job.name])
            .args(&job.args)
            .current_dir(rows::files::folder()?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = process.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let stdout = process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut child = Self { process, stdin, stdout: BufReader::new(stdout), port: 0 };
        let words = child.listen("ready")?;
        child.port = words.first().and_then(|word| word.parse().ok()).unwrap_or(0);
        Ok(child)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Lets the job begin.
    pub(crate) fn go(&mut self) -> io::Result<()> {
        self.stdin.write_all(b"go\n")
    }

    /// Waits for the job's end.
    pub(crate) fn finish(&mut self) -> io::Result<Done> {
        let words = self.listen("done")?;
        let number = |index: usize| words.get(index).and_then(|word| word.parse::<f64>().ok());
        match (number(0), number(1), number(2)) {
            (Some(ops), Some(nanos), Some(extra)) => {
                Ok(Done { ops: ops as u64, time: Duration::from_nanos(nanos as u64), extra })
            }
            _ => Err(io::Error::other("the job's report makes no sense")),
        }
    }

    fn listen(&mut self, verb: &str) -> io::Result<Vec<String>> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        let mut words = line.split_whitespace().map(str::to_owned);
        match words.next() {
            Some(word) if word == verb => Ok(words.collect()),
            _ => Err(io::Error::other(format!("the job died before it was {verb}"))),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
