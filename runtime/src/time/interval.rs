//! Ticks at a steady pace.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::{Sleep, sleep_until};

/// Ticks at once and then every `period`; see [`interval_at`].
///
/// # Panics
/// When `period` is zero.
pub fn interval(period: Duration) -> Interval {
    interval_at(Instant::now(), period)
}

/// Ticks at `start` and then every `period`; see [`MissedTickBehavior`] for what happens when nobody
/// waits for so long that ticks pass.
///
/// # Panics
/// When `period` is zero.
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    assert!(!period.is_zero(), "an interval's period must not be zero");
    Interval { sleep: sleep_until(start), period, missed: MissedTickBehavior::Burst }
}

/// What an [`Interval`] does about ticks that have passed while nobody waited for them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MissedTickBehavior {
    /// They come one after the other, at once, until none is missing.
    #[default]
    Burst,
    /// They are forgotten, and the next is a period after the late one.
    Delay,
    /// They are forgotten, and the next is at the next multiple of the period from the start.
    Skip,
}

/// See [`interval`].
#[derive(Debug)]
pub struct Interval {
    sleep: Sleep,
    period: Duration,
    missed: MissedTickBehavior,
}

impl Interval {
    /// Waits for the next tick; gives the time at which it was due. Cancel safe: a tick is not lost.
    pub async fn tick(&mut self) -> Instant {
        poll_fn(|cx| self.poll_tick(cx)).await
    }

    /// [`Interval::tick`] for those who poll.
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        ready!(Pin::new(&mut self.sleep).poll(cx));
        let due = self.sleep.deadline();
        self.sleep.reset(self.after(due, Instant::now()));
        Poll::Ready(due)
    }

    /// The next tick is a period from now.
    pub fn reset(&mut self) {
        self.sleep.reset(later(Instant::now(), self.period));
    }

    /// The time between ticks.
    #[must_use]
    pub fn period(&self) -> Duration {
        self.period
    }

    /// [`MissedTickBehavior::Burst`] if nothing else was said.
    #[must_use]
    pub fn missed_tick_behavior(&self) -> MissedTickBehavior {
        self.missed
    }

    /// Says what to do about missed ticks.
    pub fn set_missed_tick_behavior(&mut self, behavior: MissedTickBehavior) {
        self.missed = behavior;
    }

    /// The tick after the one that was due at `due` and comes at `now`.
    fn after(&self, due: Instant, now: Instant) -> Instant {
        let next = later(due, self.period);
        if next > now {
            return next;
        }
        match self.missed {
            MissedTickBehavior::Burst => next,
            MissedTickBehavior::Delay => later(now, self.period),
            MissedTickBehavior::Skip => {
                let into = now.saturating_duration_since(due).as_nanos() % self.period.as_nanos();
                // Less than the period, of which the remainder it is.
                let into = Duration::from_nanos_u128(into);
                later(now, self.period - into)
            }
        }
    }
}

/// The clock's end is as good as never.
fn later(instant: Instant, duration: Duration) -> Instant {
    instant.checked_add(duration.min(super::FAR)).unwrap_or(instant)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_millis(10);

    /// In milliseconds: when the tick is due that follows one due at 0, if that comes at `now`.
    fn next(missed: MissedTickBehavior, now: u64) -> u128 {
        let start = Instant::now();
        let mut interval = interval_at(start, PERIOD);
        interval.set_missed_tick_behavior(missed);
        let next = interval.after(start, start + Duration::from_millis(now));
        next.duration_since(start).as_millis()
    }

    #[test]
    fn a_tick_in_time_is_followed_by_one_in_step() {
        use MissedTickBehavior::{Burst, Delay, Skip};
        for missed in [Burst, Delay, Skip] {
            assert_eq!([next(missed, 0), next(missed, 9)], [10, 10], "{missed:?}");
        }
    }

    #[test]
    fn missed_ticks_are_made_up_for_or_forgotten() {
        use MissedTickBehavior::{Burst, Delay, Skip};
        assert_eq!([10, 25, 40].map(|now| next(Burst, now)), [10, 10, 10]);
        assert_eq!([10, 25, 40].map(|now| next(Delay, now)), [20, 35, 50]);
        assert_eq!([10, 25, 40].map(|now| next(Skip, now)), [20, 30, 50]);
    }
}
