//! A million timers: put in and taken out, and let fire.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::{Entry, Job, Row, Sample, Scale, Unit, is_runtime, rate, work};
use crate::child;
use crate::meter::Count;
use crate::runtimes::Runtime;

/// A prime: multiples of it, modulo the number of timers, put deadlines into no order.
const STRIDE: usize = 7_368_787;

/// Deadlines of timers that are to be cancelled lie that far away at least, and are spread over as much.
const FAR: Duration = Duration::from_secs(30);

/// For each timer that is to fire, the first one waits that much, so that all are in before it fires.
const LEAD: Duration = Duration::from_nanos(2500);

/// How far the deadlines of timers that fire are spread, for each timer.
const SPREAD: Duration = Duration::from_micros(1);

/// Job: makes `count` timers wait, then drops them all.
pub(crate) fn insert_and_cancel<R: Runtime>(runtime: R, count: usize) {
    runtime.block_on(async {
        child::ready(0);
        let start = Instant::now();
        R::spawn(async move {
            let delay = |index| FAR + FAR.mul_f64(scattered(index, count));
            let mut timers: Vec<_> = (0..count).map(|i| Box::pin(R::sleep(delay(i)))).collect();
            poll_fn(|cx| {
                let waiting = timers.iter_mut().filter_map(|timer| match timer.as_mut().poll(cx) {
                    Poll::Pending => Some(()),
                    Poll::Ready(()) => None,
                });
                assert_eq!(waiting.count(), count, "a timer fired half a minute early");
                Poll::Ready(())
            })
            .await;
            drop(timers);
        })
        .await;
        child::done(count as u64, start.elapsed(), 0.0);
    });
}

/// Job: `count` tasks sleep once each, to deadlines in no order; tells how late they woke, in µs on average.
pub(crate) fn fire<R: Runtime>(runtime: R, count: usize) {
    runtime.block_on(async {
        child::ready(0);
        let start = Instant::now();
        let late = Rc::new(Cell::new(Duration::ZERO));
        let first = start + LEAD * count as u32;
        let tasks: Vec<_> = (0..count)
            .map(|index| {
                let spread = SPREAD * count as u32;
                let deadline = first + spread.mul_f64(scattered(index, count));
                let late = late.clone();
                R::spawn(async move {
                    R::sleep(deadline.saturating_duration_since(Instant::now())).await;
                    late.set(late.get() + deadline.elapsed());
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        let late = late.get().as_secs_f64() * 1e6 / count as f64;
        child::done(count as u64, start.elapsed(), late);
    });
}

/// From 0 to 1, in an order that has none.
fn scattered(index: usize, count: usize) -> f64 {
    (index.wrapping_mul(STRIDE) % count) as f64 / count as f64
}

struct Timers {
    name: &'static str,
    job: &'static str,
}

/// How many timers.
const COUNT: usize = 1_000_000;

pub(crate) fn rows() -> Vec<Box<dyn Row>> {
    vec![
        Box::new(Timers { name: "1 M timers, insert and cancel", job: "timers-cancel" }),
        Box::new(Timers { name: "1 M timers fire, a task each", job: "timers-fire" }),
    ]
}

impl Row for Timers {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn unit(&self) -> Unit {
        if self.job == "timers-fire" { Unit::Nanos } else { Unit::KiloPerSecond }
    }

    fn crosses_cores(&self) -> bool {
        false
    }

    fn entries(&self) -> Vec<Entry> {
        // A task of glommio's dies with its 32,767th waker.
        let can = |name: &str| self.job != "timers-cancel" || name != "glommio";
        Entry::each(&Job::new(self.job, [0]), |who| is_runtime(who) && can(who.name))
    }

    fn measure(&self, entry: &Entry, scale: Scale, count: Count) -> io::Result<Sample> {
        let (done, usage) = work(entry, &Job::new(self.job, [scale.count(COUNT)]), count)?;
        let mut sample = rate(done.ops, done.time, usage);
        if self.unit() == Unit::Nanos {
            sample.value = usage.cpu.as_nanos() as f64 / done.ops as f64;
            sample.extra.push(("µs late", done.extra));
        }
        Ok(sample)
    }

    fn note(&self) -> &'static str {
        match self.unit() {
            Unit::Nanos => {
                "CPU time per timer, its task included. A runtime with coarse timers (tokio and monoio: \
                 1 ms) is later and does less."
            }
            _ => {
                "All in one task, which is why glommio is left out: its tasks take 32,767 wakers at most."
            }
        }
    }
}
