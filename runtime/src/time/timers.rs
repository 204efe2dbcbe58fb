//! The timers of one runtime: the wheel in milliseconds, and the loop's clock.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::wheel::{Key, Wheel};
use crate::runtime::{self, Core};

/// A deadline nearer than this is compared with the clock itself, not with the loop's reading of it, which is as old as
/// what has run since. Timeouts of operations, of which there are many, are longer.
const NEAR: Duration = Duration::from_secs(1);

pub(crate) struct Timers {
    /// Tick 0.
    start: Instant,
    wheel: RefCell<Wheel>,
    /// The clock as read in this turn of the loop.
    now: Cell<Option<Instant>>,
}

impl Timers {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), wheel: RefCell::default(), now: Cell::new(None) }
    }

    /// The time, as of some moment in this turn of the loop: the clock is read when it is first asked
    /// for, and once. It lags by what has run since.
    pub(crate) fn now(&self) -> Instant {
        match self.now.get() {
            Some(now) => now,
            None => self.read_clock(),
        }
    }

    /// Time has passed: [`Timers::now`] reads the clock again.
    pub(crate) fn forget_now(&self) {
        self.now.set(None);
    }

    fn read_clock(&self) -> Instant {
        let now = Instant::now();
        self.now.set(Some(now));
        now
    }

    /// How long there is nothing to do, from this moment on.
    pub(crate) fn until_next(&self) -> Option<Duration> {
        let tick = self.wheel.borrow().next_tick()?;
        let due = self.start + Duration::from_millis(tick);
        Some(due.saturating_duration_since(self.read_clock()))
    }

    /// Wakes what is due, earliest first.
    pub(crate) fn fire(&self) {
        if self.wheel.borrow().is_empty() {
            return;
        }
        let since = self.now().saturating_duration_since(self.start);
        let tick = since.as_secs() * 1000 + u64::from(since.subsec_millis());
        while let Some(waker) = self.pop_due(tick) {
            waker.wake();
        }
    }

    fn pop_due(&self, tick: u64) -> Option<Waker> {
        self.wheel.borrow_mut().pop_due(tick)
    }

    /// Whether `deadline` is past; it may say no for a while yet where it is.
    pub(super) fn is_past(&self, deadline: Instant) -> bool {
        let now = self.now();
        deadline <= now || (deadline - now < NEAR && deadline <= Instant::now())
    }

    /// The first tick that is not before `deadline`.
    fn tick_of(&self, deadline: Instant) -> u64 {
        let after = deadline.saturating_duration_since(self.start);
        let part = u64::from(after.subsec_nanos().div_ceil(1_000_000));
        // The clock counts seconds in 63 bits, 1000 times what fits; the wheel has an end before that.
        after.as_secs().saturating_mul(1000).saturating_add(part)
    }
}

/// A timer of a runtime; its drop removes it.
pub(super) struct Timer {
    core: Rc<Core>,
    key: Key,
}

impl Timer {
    pub(super) fn new(core: Rc<Core>, deadline: Instant, waker: Waker) -> Self {
        let timers = &core.timers;
        let key = timers.wheel.borrow_mut().insert(timers.tick_of(deadline), waker);
        Self { core, key }
    }

    /// Whether it has gone off.
    pub(super) fn is_due(&self) -> bool {
        self.core.timers.wheel.borrow().is_due(self.key)
    }

    /// Whether the calling code runs in another runtime.
    pub(super) fn is_elsewhere(&self) -> bool {
        runtime::is_other(&self.core)
    }

    /// Gives it another deadline; false if it has gone off.
    pub(super) fn reset(&self, deadline: Instant) -> bool {
        let timers = &self.core.timers;
        timers.wheel.borrow_mut().reset(self.key, timers.tick_of(deadline))
    }

    pub(super) fn set_waker(&self, waker: &Waker) {
        let old = self.core.timers.wheel.borrow_mut().set_waker(self.key, waker);
        // Not under the borrow: a waker's drop may run a task's destructor, which may come back here.
        drop(old);
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let waker = self.core.timers.wheel.borrow_mut().remove(self.key);
        drop(waker);
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Timer")
    }
}
