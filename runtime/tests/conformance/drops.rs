//! Every case, dropped at its await points: nothing stays in flight, no descriptor stays open.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use ringway::{Builder, OpKind, Policy, Rung, Runtime};

use crate::case::{Case, Stage, World};
use crate::config::{self, BACKENDS};
use crate::counts;

/// How many await points of a script are tried; long ones repeat the same kinds.
const POINTS: usize = 12;

pub(crate) fn trials(case: &'static Case) -> Vec<Trial> {
    let trial = |backend| {
        let name = format!("drops::{}::{backend}", case.name);
        config::alone_on_backend(name, backend, |builder| dropped_everywhere(case, builder))
    };
    BACKENDS.into_iter().map(trial).collect()
}

/// A policy under which every operation waits.
pub(crate) fn never_inline() -> Policy {
    let rungs = [Rung::Ring, Rung::Ready, Rung::Pool];
    OpKind::ALL.into_iter().fold(Policy::new(), |policy, kind| policy.prefer(kind, &rungs))
}

fn dropped_everywhere(case: &Case, builder: Builder) -> Result<(), Failed> {
    let before = counts::descriptors();
    let runtime = builder.policy(never_inline()).build()?;
    let with_runtime = counts::descriptors();
    let all = abandoned(&runtime, case, usize::MAX);
    let step = (all / POINTS).max(1);
    for pauses in (0..all).step_by(step) {
        abandoned(&runtime, case, pauses);
        drained(&runtime)?;
        descriptors_drained(&runtime, with_runtime)
            .map_err(|left| format!("dropped at {pauses} of {all}: {left}"))?;
    }
    let report = runtime.shutdown(Duration::from_secs(60));
    if report != ringway::ShutdownReport::default() {
        return Err(format!("{report:?}").into());
    }
    Ok(counts::settles_at(before, counts::descriptors)?)
}

/// Runs `case` until it has waited `pauses` times, and drops it in the next wait. Tells how often it
/// waited.
fn abandoned(runtime: &Runtime, case: &Case, pauses: usize) -> usize {
    let stage = Stage::new(World::Ringway);
    runtime.block_on(until_waiting(pauses, (case.script)(&stage)))
}

async fn until_waiting(pauses: usize, future: impl Future<Output = ()>) -> usize {
    let mut future = pin!(future);
    let mut waited = 0;
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Pending if waited < pauses => {
            waited += 1;
            Poll::Pending
        }
        _ => Poll::Ready(waited),
    })
    .await
}

/// Waits until nothing is in flight.
pub(crate) fn drained(runtime: &Runtime) -> Result<(), Failed> {
    runtime.block_on(async {
        for _ in 0..20_000 {
            if runtime.metrics().in_flight == 0 {
                return Ok(());
            }
            ringway::time::sleep(Duration::from_millis(1)).await;
        }
        Err(format!("{} operations are still in flight", runtime.metrics().in_flight).into())
    })
}

/// Waits until there are no more than `expected` descriptors. The runtime goes on meanwhile: a socket
/// that sends without copying stays until the kernel has said that it is done with the bytes.
fn descriptors_drained(runtime: &Runtime, expected: usize) -> Result<(), String> {
    runtime.block_on(async {
        let deadline = Instant::now() + counts::GIVEN_BACK;
        while Instant::now() < deadline {
            if counts::descriptors() <= expected {
                return Ok(());
            }
            ringway::time::sleep(Duration::from_millis(1)).await;
        }
        let open = counts::descriptors();
        Err(format!("{open} descriptors are open, not {expected}: {}", counts::name_descriptors()))
    })
}
