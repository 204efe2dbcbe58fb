//! Child processes: starting them, waiting for them, and their pipes.
//!
//! A child is described by [`std::process::Command`]. It is started on the blocking pool, for `fork` and
//! `exec` take their time, and waited for by its process descriptor, which becomes readable when it ends.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Command, ExitStatus};
use std::rc::{Rc, Weak};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, waitpid,
};

use crate::async_fd::AsyncFd;
use crate::blocking::spawn_blocking;
use crate::pipe::{PipeReader, PipeWriter};
use crate::runtime::{self, Core};

/// A child process. Dropping the handle, wherever that is, lets the child go on; whenever its runtime runs,
/// that waits for it in the background, so that nothing is left of it when it has ended. If it outlives its
/// runtime, what is left of it goes with the next call of [`spawn`] in any runtime of this process.
pub struct Child {
    /// Where its standard input comes from, if it was asked to be piped.
    pub stdin: Option<PipeWriter>,
    /// Where its standard output goes, if it was asked to be piped.
    pub stdout: Option<PipeReader>,
    /// Where its standard error goes, if it was asked to be piped.
    pub stderr: Option<PipeReader>,
    id: u32,
    /// `None` once it has ended.
    running: Option<Running>,
    status: Option<ExitStatus>,
}

struct Running {
    process: Process,
    pidfd: AsyncFd<OwnedFd>,
    runtime: Weak<Core>,
}

/// Dropping it waits for the process if that has ended, and else makes it one of the [`ORPHANS`].
struct Process(std::process::Child);

/// Children that nobody waits for, and which may have ended by now. At each start, those that have are waited
/// for. Nobody else is to wait for children that are not its own: then a number could be another's by now.
static ORPHANS: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// Starts the process that `command` describes. Not cancel safe: a dropped call may have started it, or do
/// so yet; then the child goes on like one whose handle was dropped.
///
/// # Errors
/// Those of [`Command::spawn`], and of `pidfd_open`, which needs Linux 5.3: then the child is killed.
pub async fn spawn(command: Command) -> io::Result<Child> {
    // In a task of its own, which lives on to see to the child if nobody waits any more.
    let task =
        runtime::borrow_current(|core| core.tasks.spawn_own(started(command, Rc::downgrade(core))));
    task.await?
}

async fn started(command: Command, runtime: Weak<Core>) -> io::Result<Child> {
    let (process, pidfd) = spawn_blocking(move || start(command)).await??;
    let id = process.0.id();
    let running = Running { process, pidfd: AsyncFd::new(pidfd), runtime };
    // Complete before the pipes: should one of them fail, its drop sees to the process.
    let mut child =
        Child { stdin: None, stdout: None, stderr: None, id, running: Some(running), status: None };
    child.take_pipes()?;
    Ok(child)
}

/// Starts a process and opens its descriptor, or leaves nothing of it behind.
fn start(mut command: Command) -> io::Result<(Process, OwnedFd)> {
    reap_orphans();
    let mut process = Process(command.spawn()?);
    // The child has not been waited for, so the number is still its own, ended or not.
    match process.pid().and_then(|pid| Ok(pidfd_open(pid, PidfdFlags::empty())?)) {
        Ok(pidfd) => Ok((process, pidfd)),
        Err(error) => {
            // Nobody will ever hear of it. It cannot ignore the signal, so the wait is short.
            let _ = process.0.kill().and_then(|()| process.0.wait());
            Err(error)
        }
    }
}

/// Waits for those orphans that have ended.
fn reap_orphans() {
    orphans().retain(|&pid| matches!(waitpid(Some(pid), WaitOptions::NOHANG), Ok(None)));
}

fn orphans() -> MutexGuard<'static, Vec<Pid>> {
    ORPHANS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Process {
    fn pid(&self) -> io::Result<Pid> {
        let pid = Pid::from_raw(self.0.id().cast_signed());
        pid.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Whether nothing is left to wait for.
    fn has_ended(&mut self) -> bool {
        // An error is that somebody else has waited for it.
        !matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.has_ended() {
            orphans().extend(self.pid());
        }
    }
}

impl Child {
    fn take_pipes(&mut self) -> io::Result<()> {
        let Some(Running { process: Process(child), .. }) = &mut self.running else {
            return Ok(());
        };
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        self.stdin = stdin.map(|pipe| PipeWriter::from_fd(pipe.into())).transpose()?;
        self.stdout = stdout.map(|pipe| PipeReader::from_fd(pipe.into())).transpose()?;
        self.stderr = stderr.map(|pipe| PipeReader::from_fd(pipe.into())).transpose()?;
        Ok(())
    }

    /// Its process id; another process may have it after this one has been waited for.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Waits until it has ended; closes its standard input first, as it may wait for that. Cancel safe,
    /// and may be called again.
    ///
    /// # Errors
    /// Those of `poll` and `waitpid`.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.stdin = None;
        if let Some(running) = &mut self.running {
            self.status = Some(running.wait().await?);
            self.running = None;
        }
        self.status.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Sends it a signal, by its `SIG*` number.
    ///
    /// # Errors
    /// Those of `pidfd_send_signal`; `NotFound` once it has been waited for.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        let running = self.running.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let signal = Signal::from_named_raw(signal).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(pidfd_send_signal(running.pidfd.get_ref(), signal)?)
    }

    /// Ends it with `SIGKILL`. It still is to be waited for.
    ///
    /// # Errors
    /// As [`Child::signal`].
    pub fn kill(&self) -> io::Result<()> {
        self.signal(libc::SIGKILL)
    }
}

impl Running {
    async fn wait(&mut self) -> io::Result<ExitStatus> {
        loop {
            self.pidfd.readable().await?;
            if let Some(status) = self.process.0.try_wait()? {
                return Ok(status);
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        if running.process.has_ended() {
            return;
        }
        let core = running.runtime.upgrade();
        if let Some(core) = core.filter(|core| !core.tasks.have_ended()) {
            drop(core.tasks.spawn_own(async move { drop(running.wait().await) }));
            // It may be a guest that sleeps in its host's loop.
            core.tasks.remote().nudge();
        }
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child").field("id", &self.id).finish_non_exhaustive()
    }
}
