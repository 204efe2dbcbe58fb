//! Leases: the kernel says when somebody is about to write to a file, and keeps him waiting meanwhile.
//!
//! Word of that is `SIGIO`, which says nothing but that some lease of the process is to be looked at: signals of one
//! kind are one, and a queue of signals that name descriptors can run over. Whoever holds leases asks each.

#![allow(unsafe_code, reason = "makes the system calls, and installs a signal handler")]

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use libc::{F_GETLEASE, F_RDLCK, F_SETLEASE, F_UNLCK, SIGIO, c_int};
use signal_hook::low_level;

use super::File;
use super::leased::LeaseId;
use crate::signal::Signals;

/// The kernel's own default of `/proc/sys/fs/lease-break-time`.
const BREAK_TIME: Duration = Duration::from_secs(45);

/// While this is held, nobody has the file open for writing: who wants to write to it, or to cut it, this process
/// among them, waits until it is dropped, but no longer than [`ReadLease::break_time`]. A mapping counts as an open
/// file. Programs on other hosts, of a network file system, may not.
///
/// It belongs to the open file, and so to all clones of its [`File`]: of one open file there is to be one at a time.
#[derive(Debug)]
pub struct ReadLease {
    file: File,
    id: LeaseId,
    seen: Mutex<Seen>,
}

/// What was found last.
#[derive(Clone, Copy, Debug)]
enum Seen {
    Whole(Instant),
    /// When it was last found whole.
    Broken(Instant),
}

/// Word that leases are to be given up. Each of several hears of all, and each runtime may have its own.
#[derive(Debug)]
pub struct LeaseBreaks {
    signals: Signals,
}

impl File {
    /// Takes a read lease on a regular file that was opened for reading only. Waits for nothing. From the first time
    /// on, the default action of `SIGIO` is off for good.
    ///
    /// # Errors
    /// Those of `fcntl(F_SETLEASE)`: `WouldBlock` while somebody has it open for writing; `PermissionDenied` for
    /// somebody else's file, without `CAP_LEASE`; `InvalidInput` for what is no file, or in a file system that has
    /// no leases. Those of `sigaction`.
    pub fn read_lease(&self) -> io::Result<ReadLease> {
        survive_sigio()?;
        let seen = Mutex::new(Seen::Whole(Instant::now()));
        fcntl(self, F_SETLEASE, F_RDLCK)?;
        Ok(ReadLease { file: self.clone(), id: LeaseId::new(), seen })
    }
}

impl ReadLease {
    /// Whether somebody waits for it to be given up, or has waited too long.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken_since().is_some()
    }

    /// Since when somebody may have been waiting for it; `None` if nobody is. That is when it was last found whole, not
    /// when it was found broken: the process may have stood still meanwhile, and the kernel does not.
    #[must_use]
    pub fn broken_since(&self) -> Option<Instant> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Seen::Whole(last) = *seen {
            let now = Instant::now();
            // The kernel tells what is to become of it.
            let is_whole = fcntl(&self.file, F_GETLEASE, 0).ok() == Some(F_RDLCK);
            *seen = if is_whole { Seen::Whole(now) } else { Seen::Broken(last) };
        }
        match *seen {
            Seen::Whole(_) => None,
            Seen::Broken(since) => Some(since),
        }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn id(&self) -> LeaseId {
        self.id
    }

    /// How long those who wait do so: then the kernel takes the lease. Reads a file of `/proc`.
    #[must_use]
    pub fn break_time() -> Duration {
        let text = fs::read_to_string("/proc/sys/fs/lease-break-time").unwrap_or_default();
        // 0 is for ever.
        let seconds = text.trim().parse().ok().filter(|seconds| *seconds > 0);
        seconds.map_or(BREAK_TIME, Duration::from_secs)
    }
}

impl Drop for ReadLease {
    fn drop(&mut self) {
        // Fails if the kernel has taken it.
        let _ = fcntl(&self.file, F_SETLEASE, F_UNLCK);
    }
}

impl LeaseBreaks {
    /// Hears of every lease that is broken from now on.
    ///
    /// # Errors
    /// Those of `pipe2` and `sigaction`.
    pub fn new() -> io::Result<Self> {
        Signals::new(&[SIGIO]).map(|signals| Self { signals })
    }

    /// Waits until leases may have been broken: [`ReadLease::is_broken`] tells which. Cancel safe.
    ///
    /// # Errors
    /// Those of `read`.
    pub async fn next(&mut self) -> io::Result<()> {
        self.signals.next().await.map(drop)
    }
}

/// The default action of `SIGIO` ends the process.
fn survive_sigio() -> io::Result<()> {
    static SURVIVED: OnceLock<()> = OnceLock::new();
    if SURVIVED.get().is_none() {
        // SAFETY: does nothing, which is async-signal-safe. Twice is no harm.
        unsafe { low_level::register(SIGIO, || ()) }?;
        let _ = SURVIVED.set(());
    }
    Ok(())
}

fn fcntl(file: &File, command: c_int, argument: c_int) -> io::Result<c_int> {
    // SAFETY: both commands take a number, and the descriptor is the file's.
    let result = unsafe { libc::fcntl(file.as_fd().as_raw_fd(), command, argument) };
    if result >= 0 { Ok(result) } else { Err(io::Error::last_os_error()) }
}
