//! The executor by itself: spawning, yielding, waking.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::thread;
use std::time::Instant;

use atomic_waker::AtomicWaker;
use measure::cores;

use super::{Counter, Entry, Job, Row, Sample, Scale, Unit, is_runtime, rate, work};
use crate::child;
use crate::meter::Count;
use crate::runtimes::Runtime;
use crate::sys;

/// Job: for `millis`, spawns tasks that do nothing, `at_once` before it waits for them.
pub(crate) fn spawn_and_join<R: Runtime>(runtime: R, millis: usize, at_once: usize) {
    runtime.block_on(async {
        child::ready(0);
        let counter = Rc::new(Counter::new(millis, usize::MAX));
        let (batches, start) = (counter.clone(), Instant::now());
        // In a task, since the future of `block_on` is a case of its own in every runtime.
        R::spawn(async move {
            let mut tasks = Vec::with_capacity(at_once);
            while batches.next().is_some() {
                tasks.extend((0..at_once).map(|_| R::spawn(async {})));
                for task in tasks.drain(..) {
                    task.await;
                }
            }
        })
        .await;
        child::done((counter.given() * at_once) as u64, start.elapsed(), 0.0);
    });
}

/// Job: for `millis`, `tasks` tasks yield again and again.
pub(crate) fn yield_in_turn<R: Runtime>(runtime: R, millis: usize, tasks: usize) {
    runtime.block_on(async {
        child::ready(0);
        let counter = Rc::new(Counter::new(millis, usize::MAX));
        let start = Instant::now();
        let each = || {
            let counter = counter.clone();
            async move {
                while counter.next().is_some() {
                    yield_now().await;
                }
            }
        };
        let tasks: Vec<_> = (0..tasks).map(|_| R::spawn(each())).collect();
        for task in tasks {
            task.await;
        }
        child::done(counter.given() as u64, start.elapsed(), 0.0);
    });
}

/// The same for all: a task wakes itself and goes to the end of the queue.
async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Job: two tasks of one thread wake each other, `count` times in all.
pub(crate) fn wake_each_other<R: Runtime>(runtime: R, count: usize) {
    runtime.block_on(async {
        child::ready(0);
        let start = Instant::now();
        let (there, back) = (Arc::new(Gate::default()), Arc::new(Gate::default()));
        let other = R::spawn(play(there.clone(), back.clone(), count / 2));
        let one = R::spawn(play(back, there.clone(), count / 2));
        there.open();
        one.await;
        other.await;
        child::done(count as u64, start.elapsed(), 0.0);
    });
}

/// Job: two runtimes on two cores wake each other, `count` times in all; each sleeps in between.
pub(crate) fn wake_across_cores<R: Runtime>(runtime: R, count: usize) {
    let (there, back) = (Arc::new(Gate::default()), Arc::new(Gate::default()));
    let other = {
        let (there, back) = (there.clone(), back.clone());
        thread::spawn(move || {
            sys::pin(cores::LOAD);
            runtime.block_on(play(there, back, count / 2));
        })
    };
    runtime.block_on(async {
        child::ready(0);
        let start = Instant::now();
        there.open();
        play(back, there, count / 2).await;
        child::done(count as u64, start.elapsed(), 0.0);
    });
    let _ = other.join();
}

/// Waits at one gate and opens the other, `count` times.
async fn play(from: Arc<Gate>, to: Arc<Gate>, count: usize) {
    for _ in 0..count {
        from.pass().await;
        to.open();
    }
}

/// A gate that lets one through each time it is opened, from whatever thread. The same for all.
#[derive(Default)]
struct Gate {
    open: AtomicBool,
    waker: AtomicWaker,
}

impl Gate {
    fn open(&self) {
        self.open.store(true, Ordering::Release);
        self.waker.wake();
    }

    async fn pass(&self) {
        poll_fn(|cx| {
            if self.open.swap(false, Ordering::Acquire) {
                return Poll::Ready(());
            }
            self.waker.register(cx.waker());
            if self.open.swap(false, Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

struct Tasks {
    name: &'static str,
    job: &'static str,
    /// How much: operations, or zero for a job that goes by time.
    count: usize,
    /// The second argument, for jobs that have one.
    with: usize,
    crosses_cores: bool,
}

pub(crate) fn rows() -> Vec<Box<dyn Row>> {
    let row = |name, job, count, with| -> Box<dyn Row> {
        Box::new(Tasks { name, job, count, with, crosses_cores: job == "cross-wake" })
    };
    vec![
        row("spawn and join, one by one", "spawn", 0, 1),
        row("spawn 1000, then join", "spawn", 0, 1000),
        row("yield, 1 task", "yield", 0, 1),
        row("yield, 64 tasks", "yield", 0, 64),
        row("wake a task of the same thread", "wake", 4_000_000, 0),
        row("wake a runtime on the other core", "cross-wake", 40_000, 0),
    ]
}

impl Row for Tasks {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn unit(&self) -> Unit {
        if self.crosses_cores { Unit::Nanos } else { Unit::KiloPerSecond }
    }

    fn crosses_cores(&self) -> bool {
        self.crosses_cores
    }

    fn entries(&self) -> Vec<Entry> {
        Entry::each(&Job::new(self.job, [0, self.with]), is_runtime)
    }

    fn measure(&self, entry: &Entry, scale: Scale, count: Count) -> io::Result<Sample> {
        let amount = if self.count == 0 { scale.millis() } else { scale.count(self.count) };
        let job = Job::new(self.job, [amount, self.with]);
        let (done, usage) = work(entry, &job, count)?;
        let mut sample = rate(done.ops, done.time, usage);
        if self.unit() == Unit::Nanos {
            sample.value = done.time.as_nanos() as f64 / done.ops as f64;
        }
        Ok(sample)
    }
}
