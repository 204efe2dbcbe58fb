//! More than the queues hold: submissions, completions, the pool's jobs.

use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join_all;
use libtest_mimic::{Failed, Trial};
use ringway::fs::{Dir, OFlags, OpenHow};
use ringway::{AsyncFd, Builder, OpKind, Policy, Rung};
use rustix::event::{EventfdFlags, eventfd};

use crate::config::{self, BACKENDS};
use crate::counts;
use crate::drops::drained;

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name: &str, backend, run: fn(Builder) -> Result<(), Failed>| {
        config::on_backend(format!("pressure::{name}::{backend}"), backend, run)
    };
    let of = |backend| {
        [
            trial("completions_all_at_once", backend, |builder| waits(builder, false)),
            trial("cancellations_all_at_once", backend, |builder| waits(builder, true)),
            trial("more_jobs_than_the_pool_takes", backend, jobs),
        ]
    };
    BACKENDS.into_iter().flat_map(of).collect()
}

/// Several times what the largest completion queue holds.
fn many() -> usize {
    if counts::is_emulated() { 3000 } else { 12_000 }
}

/// Many operations that wait for one event, all submitted in one poll; it comes, or they are dropped.
fn waits(builder: Builder, dropped: bool) -> Result<(), Failed> {
    let runtime = builder.build()?;
    let counter = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let counter = Rc::new(AsyncFd::new(counter));
    let waiting: Vec<_> = (0..many())
        .map(|_| {
            let counter = Rc::clone(&counter);
            async move { counter.readable().await }
        })
        .collect();
    runtime.block_on(async {
        let all = ringway::spawn(join_all(waiting));
        while runtime.metrics().in_flight < many() {
            ringway::time::sleep(Duration::from_millis(1)).await;
        }
        if dropped {
            drop(all);
            return;
        }
        rustix::io::write(&counter, &[1; 8]).unwrap();
        for answer in all.await.unwrap() {
            answer.unwrap();
        }
    });
    if dropped {
        let report = runtime.shutdown(Duration::from_secs(120));
        return match (report.leaked, report.drained) {
            (0, drained) if drained == many() => Ok(()),
            _ => Err(format!("{report:?}").into()),
        };
    }
    drained(&runtime)?;
    match runtime.metrics().ring_backlog {
        0 => Ok(()),
        backlog => Err(format!("{backlog} entries still wait").into()),
    }
}

/// All are done, on two threads with room for four in their queue.
fn jobs(builder: Builder) -> Result<(), Failed> {
    let policy = Policy::new().prefer(OpKind::Read, &[Rung::Pool]);
    let runtime = builder.policy(policy).blocking_pool(2, 4).build()?;
    let proc = Dir::open_ambient("/proc")?;
    runtime.block_on(async {
        let file = proc.open_at("version", &OpenHow::new(OFlags::RDONLY)).await.unwrap();
        let reads = (0..many() / 4).map(|_| file.read_at(vec![0; 10], 0));
        for (count, _) in join_all(reads).await {
            assert_eq!(count.unwrap(), 10);
        }
    });
    drained(&runtime)
}
