//! What a load has done.

use std::time::{Duration, Instant};

use crate::histogram::Histogram;

/// Of a connection, or of all of them.
#[derive(Clone, Default)]
pub(crate) struct Tally {
    pub(crate) operations: u64,
    /// Read and written.
    pub(crate) bytes: u64,
    /// Answers that were received in full, and found to be right.
    pub(crate) verified: u64,
    pub(crate) latency: Histogram,
}

impl Tally {
    pub(super) fn count(&mut self, bytes: usize, since: Instant) {
        self.operations += 1;
        self.bytes += bytes as u64;
        self.latency.add(since.elapsed());
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.operations += other.operations;
        self.bytes += other.bytes;
        self.verified += other.verified;
        self.latency.merge(&other.latency);
    }
}

/// All that a load has done while it was measured.
#[derive(Default)]
pub(crate) struct Done {
    pub(crate) tally: Tally,
    /// Of the thread that was at it longest.
    pub(crate) time: Duration,
}

impl Done {
    pub(super) fn merge(&mut self, other: &Self) {
        self.tally.merge(&other.tally);
        self.time = self.time.max(other.time);
    }
}
