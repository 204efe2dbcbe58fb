//! Time: sleeping and giving up. Kept in user space; the earliest deadline bounds the drivers' sleep.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use pin_project::pin_project;

use crate::runtime::{self, Core};

/// A sleep that would not end in this time never does: the clock cannot count so far.
const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

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
/// What is ready at the deadline counts: `future` is polled first.
pub fn timeout<F: Future>(duration: Duration, future: F) -> Timeout<F> {
    Timeout { future, sleep: sleep(duration) }
}

/// See [`sleep`]. Cancel safe.
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
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.deadline <= Instant::now() {
            self.timer = None;
            return Poll::Ready(());
        }
        let deadline = self.deadline;
        match &mut self.timer {
            Some(timer) => timer.set_waker(cx.waker()),
            timer => *timer = Some(Timer::new(runtime::current(), deadline, cx.waker().clone())),
        }
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

/// The deadlines of one runtime, earliest first; the number tells equal ones apart.
#[derive(Default)]
pub(crate) struct Timers {
    by_deadline: RefCell<BTreeMap<(Instant, u64), Waker>>,
    next: std::cell::Cell<u64>,
}

impl Timers {
    /// The earliest deadline.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.by_deadline.borrow().first_key_value().map(|(&(deadline, _), _)| deadline)
    }

    /// Wakes what is due, earliest first.
    pub(crate) fn fire(&self) {
        if self.by_deadline.borrow().is_empty() {
            return;
        }
        let now = Instant::now();
        while let Some(waker) = self.pop_due(now) {
            waker.wake();
        }
    }

    fn pop_due(&self, now: Instant) -> Option<Waker> {
        let mut timers = self.by_deadline.borrow_mut();
        let entry = timers.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }
}

/// One entry; its drop removes it.
struct Timer {
    core: Rc<Core>,
    key: (Instant, u64),
}

impl Timer {
    fn new(core: Rc<Core>, deadline: Instant, waker: Waker) -> Self {
        let key = (deadline, core.timers.next.get());
        core.timers.next.set(key.1 + 1);
        core.timers.by_deadline.borrow_mut().insert(key, waker);
        Self { core, key }
    }

    fn set_waker(&self, waker: &Waker) {
        let mut timers = self.core.timers.by_deadline.borrow_mut();
        let old = match timers.get(&self.key) {
            Some(old) if old.will_wake(waker) => None,
            _ => timers.insert(self.key, waker.clone()),
        };
        drop(timers);
        drop(old);
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let waker = self.core.timers.by_deadline.borrow_mut().remove(&self.key);
        drop(waker);
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Timer")
    }
}
