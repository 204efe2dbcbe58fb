//! What a runtime has done, and by which way: counters, and a snapshot of them.
//!
//! Counting is always on: a few additions for each operation. Latencies are taken on the loop's own
//! clock, which goes on once in a turn, so they cost no look at the clock and are as fine as a turn.

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

use ringway_driver::OpKind;

use crate::ladder::Rung;

/// What a runtime has done so far, and what it is at. Cheap enough to take every second.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// One entry for each kind of operation and rung that was used.
    pub operations: Vec<OpMetrics>,
    /// Operations that still owe their last completion.
    pub in_flight: usize,
    /// Entries that wait because the ring's submission queue is full.
    pub ring_backlog: usize,
    /// Operations that wait because the blocking pool's queue is full.
    pub pool_backlog: usize,
    /// Threads of the blocking pool.
    pub pool_threads: usize,
    /// Bytes of zero-copy sends that the kernel has not given back yet.
    pub zero_copy_bytes: usize,
    /// What became of zero-copy sends.
    pub zero_copy: ZeroCopyMetrics,
    /// What was made to go wrong.
    pub faults: FaultMetrics,
}

/// How often each [`Fault`](crate::Fault) was made to happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct FaultMetrics {
    /// Operations that were cut short.
    pub short: u64,
    /// Those that were interrupted.
    pub interrupted: u64,
    /// Those that were said to lack memory.
    pub no_memory: u64,
    /// Those that were cancelled.
    pub cancelled: u64,
}

impl FaultMetrics {
    /// All together.
    #[must_use]
    pub fn total(&self) -> u64 {
        let Self { short, interrupted, no_memory, cancelled } = self;
        short + interrupted + no_memory + cancelled
    }
}

impl fmt::Display for FaultMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { short, interrupted, no_memory, cancelled } = self;
        write!(
            f,
            "short {short}, interrupted {interrupted}, no memory {no_memory}, cancelled {cancelled}"
        )
    }
}

/// What became of zero-copy sends: which way each went, and what the kernel said in the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct ZeroCopyMetrics {
    /// Sent on the ring, out of a registered buffer.
    pub fixed: u64,
    /// Sent on the ring.
    pub ring: u64,
    /// Sent with `MSG_ZEROCOPY`.
    pub error_queue: u64,
    /// Sent by copying: too short, over a budget, switched off, or refused everywhere else.
    pub plain: u64,
    /// How often a way refused, and the next one was asked.
    pub refused: u64,
    /// Notifications that say that nothing was copied.
    pub uncopied: u64,
    /// Notifications that say that the kernel copied after all.
    pub copied: u64,
    /// Connections that have switched zero-copy off for themselves.
    pub switched_off: u64,
}

/// What was done by operations of one kind on one rung.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct OpMetrics {
    /// Which operations.
    pub kind: OpKind,
    /// Which way they took.
    pub rung: Rung,
    /// How many answers there were.
    pub count: u64,
    /// How many of them were errors.
    pub errors: u64,
    /// How often this rung refused, and the next one was asked. Not among the others.
    pub refused: u64,
    /// The bytes that were moved, for operations that move any.
    pub bytes: u64,
    /// From submission to completion, all together; zero for what was done inline.
    pub latency_total: Duration,
    /// The longest.
    pub latency_max: Duration,
}

impl Metrics {
    /// What was done by operations of `kind` on `rung`; `None` for nothing.
    #[must_use]
    pub fn of(&self, kind: OpKind, rung: Rung) -> Option<&OpMetrics> {
        self.operations.iter().find(|op| op.kind == kind && op.rung == rung)
    }
}

impl fmt::Display for Metrics {
    /// A table, one line for each kind and rung.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<12} {:<6} {:>12} {:>8} {:>8} {:>16} {:>10} {:>10}",
            "operation", "rung", "count", "errors", "refused", "bytes", "mean µs", "max µs"
        )?;
        for op in &self.operations {
            let mean = op.latency_total.as_secs_f64() * 1e6 / (op.count.max(1) as f64);
            let (kind, max) = (format!("{:?}", op.kind), op.latency_max.as_micros());
            writeln!(
                f,
                "{kind:<12} {:<6} {:>12} {:>8} {:>8} {:>16} {mean:>10.1} {max:>10}",
                op.rung, op.count, op.errors, op.refused, op.bytes
            )?;
        }
        writeln!(
            f,
            "in flight {}, ring backlog {}, pool backlog {}, pool threads {}, zero-copy bytes {}",
            self.in_flight,
            self.ring_backlog,
            self.pool_backlog,
            self.pool_threads,
            self.zero_copy_bytes
        )?;
        let zero_copy = self.zero_copy;
        writeln!(
            f,
            "zero-copy sends: fixed {}, ring {}, error queue {}, plain {}, refused {}; \
             uncopied {}, copied {}, switched off {}",
            zero_copy.fixed,
            zero_copy.ring,
            zero_copy.error_queue,
            zero_copy.plain,
            zero_copy.refused,
            zero_copy.uncopied,
            zero_copy.copied,
            zero_copy.switched_off
        )?;
        match self.faults.total() {
            0 => Ok(()),
            _ => writeln!(f, "faults on purpose: {}", self.faults),
        }
    }
}

/// The counters of one runtime.
pub(crate) struct Tally {
    counters: Box<[[Cell<Counter>; RUNGS.len()]]>,
}

const RUNGS: [Rung; 5] = [Rung::Inline, Rung::Ring, Rung::Ready, Rung::Pool, Rung::Worker];

#[derive(Clone, Copy, Default)]
struct Counter {
    count: u64,
    errors: u64,
    refused: u64,
    bytes: u64,
    nanos_total: u64,
    nanos_max: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self { counters: (0..OpKind::ALL.len()).map(|_| Default::default()).collect() }
    }
}

impl Tally {
    pub(crate) fn count(&self, kind: OpKind, rung: Rung, result: i32, latency: Duration) {
        let cell = self.cell(kind, rung);
        let mut counter = cell.get();
        counter.count += 1;
        match u64::try_from(result) {
            Ok(moved) if moves_bytes(kind) => counter.bytes += moved,
            Ok(_) => {}
            Err(_) => counter.errors += 1,
        }
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        counter.nanos_total = counter.nanos_total.saturating_add(nanos);
        counter.nanos_max = counter.nanos_max.max(nanos);
        cell.set(counter);
    }

    pub(crate) fn count_refusal(&self, kind: OpKind, rung: Rung) {
        let cell = self.cell(kind, rung);
        cell.set(Counter { refused: cell.get().refused + 1, ..cell.get() });
    }

    fn cell(&self, kind: OpKind, rung: Rung) -> &Cell<Counter> {
        &self.counters[kind as usize][rung as usize]
    }

    /// The operations of a [`Metrics`].
    pub(crate) fn snapshot(&self) -> Metrics {
        let kinds = OpKind::ALL.into_iter();
        let all =
            kinds.flat_map(|kind| RUNGS.map(|rung| (kind, rung, self.cell(kind, rung).get())));
        let used = all.filter(|(_, _, counter)| counter.count + counter.refused > 0);
        let operations = used.map(|(kind, rung, counter)| OpMetrics {
            kind,
            rung,
            count: counter.count,
            errors: counter.errors,
            refused: counter.refused,
            bytes: counter.bytes,
            latency_total: Duration::from_nanos(counter.nanos_total),
            latency_max: Duration::from_nanos(counter.nanos_max),
        });
        Metrics { operations: operations.collect(), ..Metrics::default() }
    }
}

/// Whether a result is a number of bytes.
fn moves_bytes(kind: OpKind) -> bool {
    matches!(
        kind,
        OpKind::Recv
            | OpKind::RecvMulti
            | OpKind::Send
            | OpKind::SendZc
            | OpKind::RecvMsg
            | OpKind::SendMsg
            | OpKind::SendMsgZc
            | OpKind::Read
            | OpKind::Write
            | OpKind::ReadV
            | OpKind::WriteV
            | OpKind::ReadFixed
            | OpKind::WriteFixed
            | OpKind::Append
            | OpKind::Splice
            | OpKind::Tee
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_told_by_kind_and_rung() {
        let tally = Tally::default();
        tally.count(OpKind::Recv, Rung::Ring, 10, Duration::from_micros(3));
        tally.count(OpKind::Recv, Rung::Ring, -libc::ECONNRESET, Duration::from_micros(5));
        tally.count(OpKind::OpenAt, Rung::Pool, 7, Duration::ZERO);
        tally.count_refusal(OpKind::OpenAt, Rung::Ring);
        let metrics = tally.snapshot();
        assert_eq!(metrics.operations.len(), 3);
        let recv = metrics.of(OpKind::Recv, Rung::Ring).unwrap();
        assert_eq!((recv.count, recv.errors, recv.bytes), (2, 1, 10));
        assert_eq!(recv.latency_total, Duration::from_micros(8));
        assert_eq!(recv.latency_max, Duration::from_micros(5));
        assert_eq!(metrics.of(OpKind::OpenAt, Rung::Pool).unwrap().bytes, 0);
        assert_eq!(metrics.of(OpKind::OpenAt, Rung::Ring).unwrap().refused, 1);
        assert!(metrics.of(OpKind::Send, Rung::Ring).is_none());
    }
}
