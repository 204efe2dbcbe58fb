//! Which of two ways costs this core less, found out by going both.
//!
//! Long plain READs by clients on this host can be copied out of a mapping, or have their pages handed on by splices.
//! Which is cheaper, the machine decides, and not for ever: a page that one core hands to another takes its count of users
//! along, there and back, and what that costs differs by a factor of four between machines, and on virtual ones from one
//! minute to the next. So one way is taken for as long as it is the cheaper one, and the other now and then, to compare.
//! What is compared is all that the core does meanwhile, since a send's cost is not all in its system call; what else
//! it does is in both.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// How many bytes a span has that is measured: milliseconds.
const SPAN: usize = 32 << 20;

/// How many bytes go by after a change of ways before the measuring begins: what was answered the other way may still
/// be on its way out.
const SETTLING: usize = 16 << 20;

/// A span that takes longer tells more of other things.
const SPAN_TIME_MAX: Duration = Duration::from_secs(1);

/// How many spans go the cheaper way before the other is tried, at first; each time that it is not cheaper twice as many, up to
/// the second. What trials cost is so within an eightieth of what the other way costs more.
const BETWEEN_TRIALS: u32 = 16;
const BETWEEN_TRIALS_MAX: u32 = 128;

/// The other way has to cost an eighth less to be taken from then on.
const CHEAPER: (u64, u64) = (7, 8);

/// One of the two.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Way {
    /// One copy, by the kernel.
    Mapped,
    /// None.
    Spliced,
}

impl Way {
    const fn other(self) -> Self {
        match self {
            Self::Mapped => Self::Spliced,
            Self::Spliced => Self::Mapped,
        }
    }
}

/// What a core has used, and when.
#[derive(Clone, Copy, Debug)]
struct Reading {
    cpu: Duration,
    at: Instant,
}

impl Reading {
    fn now() -> Self {
        // It counts from the thread's beginning, so it is not negative.
        let cpu = Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default();
        Self { cpu, at: Instant::now() }
    }
}

/// What was measured of a way: its cost in milliseconds per gigabyte, which is picoseconds per byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Measured {
    pub(super) way: Way,
    pub(super) cost: u64,
}

/// See the module.
#[derive(Debug)]
struct Scale {
    /// What is taken now.
    way: Way,
    /// What was the cheaper one when both were measured last.
    cheaper: Way,
    /// What that cost in its last span.
    cost: Option<u64>,
    /// Where the span began; `None` while a change of ways settles.
    begun: Option<Reading>,
    /// Bytes since then.
    moved: usize,
    /// Spans until the other way is tried.
    spans_left: u32,
    between_trials: u32,
}

impl Scale {
    /// What is copied is nobody else's, so that is taken until something is known.
    const fn new() -> Self {
        Self {
            way: Way::Mapped,
            cheaper: Way::Mapped,
            cost: None,
            begun: None,
            moved: 0,
            spans_left: 1,
            between_trials: BETWEEN_TRIALS,
        }
    }

    /// So many bytes more have been given to clients, all since the last change by the way that is taken.
    fn add(&mut self, bytes: usize, reading: impl FnOnce() -> Reading) -> Option<Measured> {
        self.moved = self.moved.saturating_add(bytes);
        let Some(begun) = self.begun else {
            if self.moved >= SETTLING {
                self.begin(reading());
            }
            return None;
        };
        if self.moved < SPAN {
            return None;
        }
        let now = reading();
        let used = now.cpu.saturating_sub(begun.cpu).as_nanos() * 1000 / self.moved as u128;
        let measured = Measured { way: self.way, cost: u64::try_from(used).unwrap_or(u64::MAX) };
        self.begin(now);
        if now.at.saturating_duration_since(begun.at) > SPAN_TIME_MAX {
            self.cost = None;
            self.take(self.cheaper);
            return None;
        }
        self.compare(measured.cost);
        Some(measured)
    }

    fn begin(&mut self, now: Reading) {
        self.begun = Some(now);
        self.moved = 0;
    }

    fn compare(&mut self, cost: u64) {
        if self.way == self.cheaper {
            self.cost = Some(cost);
            self.spans_left = self.spans_left.saturating_sub(1);
            if self.spans_left == 0 {
                self.take(self.way.other());
            }
            return;
        }
        let (part, whole) = CHEAPER;
        let is_cheaper = |than: u64| cost.saturating_mul(whole) < than.saturating_mul(part);
        if self.cost.is_some_and(is_cheaper) {
            (self.cheaper, self.cost) = (self.way, Some(cost));
            self.between_trials = BETWEEN_TRIALS;
        } else {
            self.between_trials = (self.between_trials * 2).min(BETWEEN_TRIALS_MAX);
            self.take(self.cheaper);
        }
        self.spans_left = self.between_trials;
    }

    fn take(&mut self, way: Way) {
        if way != self.way {
            self.way = way;
            self.begun = None;
        }
    }
}

thread_local! {
    static SCALE: RefCell<Scale> = const { RefCell::new(Scale::new()) };
}

/// The way to take now, of those that are weighed.
pub(super) fn way() -> Way {
    SCALE.with_borrow(|scale| scale.way)
}

/// So many bytes were given to a client that could have gone either way; what was measured by that.
pub(super) fn add(bytes: usize) -> Option<Measured> {
    SCALE.with_borrow_mut(|scale| scale.add(bytes, Reading::now))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    /// A core that does nothing but this, with a clock of its own.
    struct Core {
        scale: Scale,
        now: Reading,
        /// Nanoseconds for a mebibyte, one way and the other.
        mapped: u64,
        spliced: u64,
        /// Mebibytes that went so.
        went: [usize; 2],
    }

    impl Core {
        fn new(mapped: u64, spliced: u64) -> Self {
            let now = Reading { cpu: Duration::ZERO, at: Instant::now() };
            Self { scale: Scale::new(), now, mapped, spliced, went: [0; 2] }
        }

        fn read(&mut self, mebibytes: usize) -> Vec<Measured> {
            let mut measured = Vec::new();
            for _ in 0..mebibytes {
                let (cost, index) = match self.scale.way {
                    Way::Mapped => (self.mapped, 0),
                    Way::Spliced => (self.spliced, 1),
                };
                self.went[index] += 1;
                self.now.cpu += Duration::from_nanos(cost);
                self.now.at += Duration::from_nanos(cost);
                measured.extend(self.scale.add(MIB, || self.now));
            }
            measured
        }

        /// How many of a thousand mebibytes go spliced.
        fn spliced(&mut self, mebibytes: usize) -> usize {
            self.went = [0; 2];
            self.read(mebibytes);
            self.went[1] * 1000 / mebibytes
        }
    }

    #[test]
    fn the_cheaper_way_is_taken_and_the_other_now_and_then() {
        let mut core = Core::new(200_000, 100_000);
        assert_eq!(core.spliced(16 + 32), 0, "nothing is known yet");
        core.read(1000);
        assert!((900..1000).contains(&core.spliced(100_000)));
        let mut core = Core::new(200_000, 400_000);
        core.read(1000);
        assert!((1..50).contains(&core.spliced(100_000)));
        let mut core = Core::new(200_000, 190_000);
        core.read(1000);
        assert!(core.spliced(100_000) < 50, "a little less is nothing");
    }

    #[test]
    fn what_changes_is_found_out() {
        let mut core = Core::new(200_000, 100_000);
        core.read(10_000);
        core.spliced = 400_000;
        core.read(10_000);
        assert!(core.spliced(10_000) < 50);
        core.spliced = 100_000;
        core.read(10_000);
        assert!(core.spliced(10_000) > 900);
    }

    #[test]
    fn a_cost_is_told_per_byte() {
        let mut core = Core::new(MIB as u64 / 4, MIB as u64 / 10);
        let measured = core.read(16 + 32 + 16 + 32);
        let of = |way, cost| Measured { way, cost };
        assert_eq!(measured, [of(Way::Mapped, 250), of(Way::Spliced, 99)]);
    }

    #[test]
    fn what_takes_long_tells_nothing() {
        let mut core = Core::new(200_000, 100_000);
        core.read(16 + 32 + 16);
        assert_eq!(core.scale.way, Way::Spliced);
        core.now.at += SPAN_TIME_MAX;
        assert_eq!(core.read(32), []);
        assert_eq!(core.scale.way, Way::Mapped, "the other was not shown to be cheaper");
        for _ in 0..3 {
            core.now.at += 2 * SPAN_TIME_MAX;
            assert_eq!(core.read(32), [], "nor is it compared with what took long");
        }
        core.read(16 + 32 + 16 + 32);
        assert_eq!(core.scale.cheaper, Way::Spliced);
    }

    #[test]
    fn a_thread_s_clock_goes_while_it_works() {
        // Before the clock is read, and until it has been read again.
        let around = Instant::now();
        let begun = Reading::now();
        let mut sum = 0_u64;
        while begun.at.elapsed() < Duration::from_millis(5) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let worked = Reading::now().cpu - begun.cpu;
        assert!(worked > Duration::ZERO && worked <= around.elapsed(), "{worked:?}");
    }
}
