//! Time: sleeping, ticking and giving up.
//!
//! Timers have a resolution of one millisecond and are rounded up: what waits for a deadline goes on at
//! the first whole millisecond of the runtime's life that is not before it, never early, and later by
//! how long other tasks keep the thread. A deadline that has passed when it is first waited for is not
//! waited for. They cost no system call: the earliest of them bounds the sleep of the loop.

mod interval;
mod timers;
mod wheel;

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use pin_project::pin_project;

use crate::runtime;
use crate::task::coop;

pub use interval::{Interval, MissedTickBehavior, interval, interval_at};
use timers::Timer;
pub(crate) use timers::Timers;

/// A sleep that would not end in this time never does: the clock cannot count so far.
pub(crate) const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Waits for `duration` from now on; never less, and more by how long other tasks keep the thread.
pub fn sleep(duration: Duration) -> Sleep {
    let now = Instant::now();
    sleep_until(now.checked_add(duration.min(FAR)).unwrap_or(now))
}

/// Waits until `deadline`; see [`sleep`].
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { deadline, timer: None }
}

/// Runs `future`, but not for longer than `duration` from now on; then drops it with the result.
///
/// What is ready at the deadline counts: `future` is polled first. An operation in it is dropped as any
/// other: its buffer is lost, and a receive's bytes may be. To have both back, cancel it by a
/// [`CancelToken`](crate::cancel::CancelToken) when a [`sleep`] ends.
pub fn timeout<F: Future>(duration: Duration, future: F) -> Timeout<F> {
    Timeout { future, sleep: sleep(duration) }
}

/// Runs `future`, but not beyond `deadline`; see [`timeout`].
pub fn timeout_at<F: Future>(deadline: Instant, future: F) -> Timeout<F> {
    Timeout { future, sleep: sleep_until(deadline) }
}

/// See [`sleep`]. Cancel safe. It may be polled in one runtime and then in another.
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Sleep {
    deadline: Instant,
    timer: Option<Timer>,
}

impl Sleep {
    /// When this ends.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Sets another deadline, earlier or later, and costs less than a new [`Sleep`]. One that has ended
    /// begins again. Who waits for it need not poll it anew.
    pub fn reset(&mut self, deadline: Instant) {
        self.deadline = deadline;
        if self.timer.as_ref().is_some_and(|timer| !timer.reset(deadline)) {
            self.timer = None;
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(timer) = &self.timer {
            if timer.is_due() {
                self.timer = None;
                return Poll::Ready(());
            }
            if !timer.is_elsewhere() {
                timer.set_waker(cx.waker());
                return Poll::Pending;
            }
            // Whoever waits in this runtime now is to be woken by it: the other may never turn again.
            self.timer = None;
        }
        let core = runtime::current();
        if core.timers.is_past(self.deadline) {
            ready!(coop::poll_proceed(cx));
            return Poll::Ready(());
        }
        self.timer = Some(Timer::new(core, self.deadline, cx.waker().clone()));
        Poll::Pending
    }
}

/// See [`timeout`].
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Timeout<F> {
    #[pin]
    future: F,
    sleep: Sleep,
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        Pin::new(this.sleep).poll(cx).map(|()| Err(Elapsed))
    }
}

/// The time was up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time was up")
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for io::Error {
    fn from(elapsed: Elapsed) -> Self {
        Self::new(io::ErrorKind::TimedOut, elapsed)
    }
}
