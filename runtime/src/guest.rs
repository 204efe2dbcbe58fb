//! A runtime as a guest in a loop that somebody else runs.
//!
//! The host watches one descriptor, and calls [`Guest::turn`] when it is readable and when the time is
//! up that the last turn named. A guest sleeps in epoll (a ring, where there is one, is in its set), so
//! its descriptor can be in any loop: `epoll`, `poll`, tokio, GLib, tevent.

use std::fmt;
use std::future::{Future, pending};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::pin;
use std::time::Duration;

use crate::features::Features;
use crate::metrics::Metrics;
use crate::runtime::{self, Core, Runtime, ShutdownReport};
use crate::task::JoinHandle;

/// How many batches of tasks one turn runs at most, so that the host gets its thread back: some thousand polls,
/// a few milliseconds of small work.
const ROUNDS_MAX: usize = 8;

/// A runtime that never takes the thread: it works when it is told to. Made by
/// [`Builder::build_guest`](crate::Builder::build_guest).
///
/// ```
/// use std::os::fd::AsFd;
/// use std::time::Duration;
/// use rustix::event::{PollFd, PollFlags, Timespec, poll};
///
/// # fn main() -> std::io::Result<()> {
/// let guest = ringway::Builder::new().build_guest()?;
/// let task = guest.spawn(ringway::time::sleep(Duration::from_millis(5)));
/// loop {
///     let sleep = guest.turn()?;
///     if task.is_finished() {
///         break;
///     }
///     let timeout = sleep.map(|sleep| Timespec::try_from(sleep).unwrap());
///     // Here the host's own descriptors would be watched too.
///     poll(&mut [PollFd::new(&guest, PollFlags::IN)], timeout.as_ref())?;
/// }
/// # Ok(())
/// # }
/// ```
pub struct Guest {
    runtime: Runtime,
}

impl Guest {
    pub(crate) fn new(runtime: Runtime) -> Self {
        // Until its first turn it sleeps, as it does between any two.
        runtime.core().tasks.remote().fall_asleep();
        Self { runtime }
    }

    /// Starts a task. It makes its first steps in the next turn, for which the descriptor asks.
    pub fn spawn<F: Future + 'static>(&self, future: F) -> JoinHandle<F::Output> {
        let task = runtime::within(self.core(), || crate::spawn(future));
        self.core().tasks.remote().nudge();
        task
    }

    /// Runs what is ready, and what becomes ready by that, without sleeping; then says how long the
    /// host may sleep: until the descriptor is readable, but not longer than this. `None`: without a
    /// limit. Calling it too early or for nothing is harmless.
    ///
    /// # Errors
    /// When the driver is broken, which is for good.
    ///
    /// # Panics
    /// Inside of a ringway runtime on the same thread.
    pub fn turn(&self) -> io::Result<Option<Duration>> {
        runtime::within(self.core(), || run(self.core()))
    }

    /// How this runtime runs, and why.
    #[must_use]
    pub fn features(&self) -> &Features {
        self.runtime.features()
    }

    /// What it has done so far, and what it is at.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.runtime.metrics()
    }

    /// Ends it; see [`Runtime::shutdown`]. This does sleep, up to `grace`.
    pub fn shutdown(self, grace: Duration) -> ShutdownReport {
        self.runtime.shutdown(grace)
    }

    fn core(&self) -> &std::rc::Rc<Core> {
        self.runtime.core()
    }
}

fn run(core: &Core) -> io::Result<Option<Duration>> {
    let mut nobody = pin!(pending::<()>());
    let waker = std::task::Waker::noop();
    core.tasks.remote().wake_up();
    core.timers.forget_now();
    core.timers.fire();
    for _ in 0..ROUNDS_MAX {
        let _ = core.run_batch(nobody.as_mut(), waker);
        // Also sends off what the tasks have submitted.
        let delivered = core.turn_within(Some(Duration::ZERO))?;
        core.timers.fire();
        // A host may hear of changes only, as tokio does: what is left in the set would never be told.
        let is_idle = delivered == 0 && !core.ops.has_more() && !core.tasks.has_work();
        if is_idle && core.tasks.remote().fall_asleep() {
            return Ok(core.timers.until_next());
        }
        core.tasks.remote().wake_up();
    }
    Ok(Some(Duration::ZERO))
}

impl AsFd for Guest {
    /// Readable when a turn would find something to do, and sometimes when it would not. A host that
    /// hears of changes only, as tokio does, is to forget what it heard before it calls the turn.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.runtime.epoll_fd()
    }
}

impl AsRawFd for Guest {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest").field("features", self.features()).finish_non_exhaustive()
    }
}
