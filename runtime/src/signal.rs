//! Signals as a stream.
//!
//! A handler, installed once for each signal and process by `signal-hook`, notes the signal and writes
//! a byte to a pipe that the runtime reads. Any number of runtimes and streams may ask for the same
//! signal, and each gets it.

#![allow(unsafe_code, reason = "installs signal handlers")]

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::pipe::{PipeFlags, pipe_with};
use signal_hook::SigId;
use signal_hook::low_level;

use crate::async_fd::AsyncFd;

/// Signals that a program waits for. From the first time that one is asked for, its default action is
/// off for good: a signal that nobody waits for any more is lost.
pub struct Signals {
    /// Bit `n` is set when signal `n` has come since it was asked for.
    pending: Arc<AtomicU64>,
    pipe: AsyncFd<OwnedFd>,
    handlers: Vec<SigId>,
}

impl Signals {
    /// Waits for `signals`, by their `SIG*` numbers, from now on.
    ///
    /// # Errors
    /// `InvalidInput` for a signal that cannot be caught (`SIGKILL`, `SIGSTOP`), must not be (`SIGSEGV`
    /// and other faults) or does not exist; those of `pipe2` and `sigaction`.
    pub fn new(signals: &[i32]) -> io::Result<Self> {
        let pending = Arc::new(AtomicU64::new(0));
        let (pipe, sender) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let (pipe, sender) = (AsyncFd::new(pipe), Arc::new(sender));
        let mut this = Self { pending, pipe, handlers: Vec::new() };
        for &signal in signals {
            this.add(signal, sender.clone())?;
        }
        Ok(this)
    }

    fn add(&mut self, signal: i32, sender: Arc<OwnedFd>) -> io::Result<()> {
        let catchable =
            (1..64).contains(&signal) && !signal_hook::consts::FORBIDDEN.contains(&signal);
        if !catchable {
            let text = format!("signal {signal} cannot be waited for");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let pending = self.pending.clone();
        let note = move || {
            pending.fetch_or(1 << signal, Ordering::AcqRel);
            // Full: there is a byte to wake up by already.
            let _ = rustix::io::write(&sender, &[0]);
        };
        // SAFETY: an atomic operation and one `write(2)`, which are async-signal-safe. The first call
        // of rustix does no set-up of its own, and errno is restored by signal-hook.
        let handler = unsafe { low_level::register(signal, note) }?;
        self.handlers.push(handler);
        Ok(())
    }

    /// Waits for the next signal; gives its number. Several of the same that come before this is called
    /// are one; different ones come in the order of their numbers. Cancel safe.
    ///
    /// # Errors
    /// Those of `read`.
    pub async fn next(&mut self) -> io::Result<i32> {
        loop {
            if let Some(signal) = self.take() {
                return Ok(signal);
            }
            self.pipe.readable().await?;
            // Emptied before the next look at what is pending: a signal from now on writes again.
            let mut bytes = [0; 64];
            while rustix::io::read(self.pipe.get_ref(), &mut bytes).is_ok_and(|n| n == bytes.len())
            {
            }
        }
    }

    fn take(&self) -> Option<i32> {
        let pending = self.pending.load(Ordering::Acquire);
        let signal = pending.trailing_zeros();
        if pending == 0 {
            return None;
        }
        self.pending.fetch_and(!(1 << signal), Ordering::AcqRel);
        Some(signal.cast_signed())
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for handler in self.handlers.drain(..) {
            low_level::unregister(handler);
        }
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signals").field("handlers", &self.handlers.len()).finish_non_exhaustive()
    }
}

/// Waits for `SIGINT`, as the interrupt key sends it. Cancel safe.
///
/// # Errors
/// Those of [`Signals::new`] and [`Signals::next`].
pub async fn ctrl_c() -> io::Result<()> {
    Signals::new(&[libc::SIGINT])?.next().await.map(drop)
}
