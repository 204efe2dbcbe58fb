//! More than the queues hold: submissions, completions, the pool's jobs.

use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join_all;
use libtest_mimic::{Failed, Trial};
use ringway::fs::{Dir, OFlags, OpenHow};
use ringway::pipe::{pipe, splice};
use ringway::{AsyncFd, Builder, OpKind, Policy, Rung};
use rustix::event::{EventfdFlags, eventfd};

use crate::config::{self, BACKENDS};
use crate::drops::drained;
use crate::emulated::is_emulated;

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name: &str, backend, run: fn(Builder) -> Result<(), Failed>| {
        config::on_backend(format!("pressure::{name}::{backend}"), backend, run)
    };
    let of = |backend| {
        [
            trial("completions_all_at_once", backend, |builder| waits(builder, false)),
            trial("cancellations_all_at_once", backend, |builder| waits(builder, true)),
            trial("more_jobs_than_the_pool_takes", backend, jobs),
            trial("idle_splices_starve_nobody", backend, |builder| splices(builder, Policy::new())),
            trial("idle_splices_starve_nobody_on_the_ring", backend, |builder| {
                splices(builder, Policy::new().prefer(OpKind::Splice, &[Rung::Ring, Rung::Pool]))
            }),
        ]
    };
    BACKENDS.into_iter().flat_map(of).collect()
}

/// Several times what the largest completion queue holds.
fn many() -> usize {
    if is_emulated() { 3000 } else { 12_000 }
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

/// Splices of pipes that nothing comes from, and of files to pipes without room, while others have
/// bytes and room. Many more than there are threads for any of them.
fn splices(builder: Builder, policy: Policy) -> Result<(), Failed> {
    const IDLE: usize = 150;
    const READY: usize = 50;
    let runtime = builder.policy(policy).build()?;
    let proc = Dir::open_ambient("/proc/self")?;
    runtime.block_on(async {
        let file = proc.open_at("exe", &OpenHow::new(OFlags::RDONLY)).await.unwrap();
        for _ in 0..IDLE {
            let ((from, source), (sink, to)) = (pipe().unwrap(), pipe().unwrap());
            ringway::spawn(async move {
                let _ends = (source, sink);
                splice(&from, &to, 4096).await
            });
            let ((sink, to), file) = (pipe().unwrap(), file.clone());
            ringway::spawn(async move {
                let _end = sink;
                while file.splice_to(0, &to, 4096).await.is_ok() {}
            });
        }
        ringway::time::sleep(Duration::from_millis(20)).await;
        for _ in 0..READY {
            let ((from, source), (sink, to)) = (pipe().unwrap(), pipe().unwrap());
            source.write_all(vec![7; 100]).await.0.unwrap();
            assert_eq!(splice(&from, &to, 4096).await.unwrap(), 100);
            assert_eq!(file.splice_to(0, &to, 100).await.unwrap(), 100);
            sink.read_exact(vec![0; 200]).await.0.unwrap();
        }
    });
    let report = runtime.shutdown(Duration::from_secs(120));
    match report.leaked {
        0 => Ok(()),
        _ => Err(format!("{report:?}").into()),
    }
}
