//! How far apart the two cores are just now.
//!
//! On a virtual machine the two cores are moved about on the host: a cache line takes 50 ns from one to
//! the other at one time and 350 ns at another, for seconds or minutes. Whatever crosses cores is worth
//! comparing only with what was measured at the same distance.

use std::fmt;
use std::hint;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::sys;

/// How often the line goes there and back in one try: a fraction of a millisecond, so that some tries
/// are over before anything else wants one of the cores.
const TRIPS: u32 = 500;

/// How many tries make a probe.
const TRIES: u32 = 9;

/// Distances that differ by no more than this factor count as the same.
const SAME: f64 = 1.4;

/// The time that a cache line takes from core to core.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distance {
    nanos: f64,
}

impl Distance {
    /// Plays ping-pong between two pinned threads. The best of several tries, since anything else that
    /// runs only adds to it.
    pub fn probe(cores: [usize; 2]) -> Self {
        Self { nanos: ping_pong(cores).as_nanos() as f64 / f64::from(2 * TRIPS) }
    }

    /// In nanoseconds.
    pub fn nanos(self) -> f64 {
        self.nanos
    }

    /// Whether measurements at these two distances can be compared.
    pub fn is_like(self, other: Self) -> bool {
        let (near, far) = (self.nanos.min(other.nanos), self.nanos.max(other.nanos));
        far <= near * SAME
    }

    /// The middle of two.
    pub fn between(self, other: Self) -> Self {
        Self { nanos: f64::midpoint(self.nanos, other.nanos) }
    }
}

impl fmt::Display for Distance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} ns", self.nanos)
    }
}

/// The time of the best try.
fn ping_pong(cores: [usize; 2]) -> Duration {
    let ball = AtomicU32::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            sys::pin(cores[1]);
            for trip in 0..TRIES * TRIPS {
                wait_for(&ball, 2 * trip + 1);
                ball.store(2 * trip + 2, Ordering::Release);
            }
        });
        let thrower = scope.spawn(|| {
            sys::pin(cores[0]);
            let tries = (0..TRIES).map(|first| {
                let start = Instant::now();
                for trip in first * TRIPS..(first + 1) * TRIPS {
                    ball.store(2 * trip + 1, Ordering::Release);
                    wait_for(&ball, 2 * trip + 2);
                }
                start.elapsed()
            });
            tries.min().unwrap_or_default()
        });
        thrower.join().unwrap_or_default()
    })
}

fn wait_for(ball: &AtomicU32, value: u32) {
    while ball.load(Ordering::Acquire) != value {
        hint::spin_loop();
    }
}
