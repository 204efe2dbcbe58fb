//! What a program may decide about how its operations run, where the defaults are not its best.

use ringway_driver::OpKind;

use crate::ladder::{Rung, Rungs};
use crate::random::Random;

/// Overrides of the ladder, and bounds on zero-copy sends. The defaults come from measurements.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    preferred: Vec<(OpKind, Rungs)>,
    refusals: Option<(u8, u64)>,
    zero_copy: ZeroCopyPolicy,
}

/// When a zero-copy send is one. Where it is not, the bytes are copied: that is no error, and nobody
/// waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ZeroCopyPolicy {
    /// Sends of fewer bytes are copied: below 32 KiB pinning pages and being told about them costs
    /// more than the copy (measured: 16 KiB 8.1 µs against 5.9, 64 KiB 24.7 against 27.8).
    /// `usize::MAX` switches zero-copy off.
    pub threshold: usize,
    /// Bytes that the kernel may hold of one connection's buffers. 8 MiB: twice what it puts into a
    /// TCP send queue by itself (`net.ipv4.tcp_wmem`), so only a peer that has stopped reading is felt.
    pub per_connection: usize,
    /// Bytes that the kernel may hold of one runtime's buffers. 256 MiB: 64 full send queues, which a
    /// host with a fast network has the memory for.
    pub per_runtime: usize,
    /// After this many notifications in a row that say "copied", a connection switches zero-copy off
    /// for itself, for good: what is in its way (loopback, a driver without scatter-gather) seldom goes
    /// away while it lives. 8: a retransmission or a packet capture copies now and then, without
    /// being in the way. Nor is one when a ring's send shares a packet with the one before, of which
    /// Linux says "copied" since 6.10 whatever it did: at the default `threshold` at most every second
    /// send, at a lower one many in a row.
    pub copied_limit: u32,
}

impl Default for ZeroCopyPolicy {
    fn default() -> Self {
        Self {
            threshold: 32 << 10,
            per_connection: 8 << 20,
            per_runtime: 256 << 20,
            copied_limit: 8,
        }
    }
}

impl Policy {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Operations of `kind` are tried on `rungs`, in this order, and on no other, as far as the kernel
    /// has them and the operation has such a form. If none of them can, the default order stands.
    #[must_use]
    pub fn prefer(mut self, kind: OpKind, rungs: &[Rung]) -> Self {
        self.preferred.retain(|(other, _)| *other != kind);
        self.preferred.push((kind, rungs.iter().copied().collect()));
        self
    }

    /// For tests: `percent` (0 to 100) of the operations that have another rung to go to are refused by their
    /// first one without having been tried, in a sequence that `seed` determines.
    #[must_use]
    pub fn refuse_first_rung(mut self, percent: u8, seed: u64) -> Self {
        self.refusals = Some((percent, seed));
        self
    }

    /// When a zero-copy send is one.
    #[must_use]
    pub fn zero_copy(mut self, zero_copy: ZeroCopyPolicy) -> Self {
        self.zero_copy = zero_copy;
        self
    }

    pub(crate) fn zero_copy_policy(&self) -> ZeroCopyPolicy {
        self.zero_copy
    }

    pub(crate) fn preferred(&self, kind: OpKind) -> Option<Rungs> {
        self.preferred.iter().find(|(other, _)| *other == kind).map(|(_, rungs)| *rungs)
    }

    pub(crate) fn refusals(&self) -> Refusals {
        let (percent, seed) = self.refusals.unwrap_or_default();
        Refusals { percent, random: Random::new(seed) }
    }
}

/// The sequence of [`Policy::refuse_first_rung`].
#[derive(Debug)]
pub(crate) struct Refusals {
    percent: u8,
    random: Random,
}

impl Refusals {
    /// Whether the next operation is to be refused.
    #[inline]
    pub(crate) fn next(&self) -> bool {
        self.percent != 0 && self.random.below(100) < u32::from(self.percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_as_many_are_refused_as_were_asked_for() {
        for (percent, expected) in [(0, 0..=0), (50, 4700..=5300), (100, 10_000..=10_000)] {
            let refusals = Policy::new().refuse_first_rung(percent, 7).refusals();
            let refused = (0..10_000).filter(|_| refusals.next()).count();
            assert!(expected.contains(&refused), "{percent} %: {refused}");
        }
    }
}
