//! What a program may decide about how its operations run, where the defaults are not its best.

use std::cell::Cell;

use ringway_driver::OpKind;

use crate::ladder::{Rung, Rungs};

/// Overrides of the ladder, and thresholds. The defaults come from measurements; see the fields' docs.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    preferred: Vec<(OpKind, Rungs)>,
    refusals: Option<(u8, u64)>,
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

    /// For tests: `percent` of the operations that have another rung to go to are refused by their
    /// first one without having been tried, in a sequence that `seed` determines.
    #[must_use]
    pub fn refuse_first_rung(mut self, percent: u8, seed: u64) -> Self {
        self.refusals = Some((percent, seed));
        self
    }

    pub(crate) fn preferred(&self, kind: OpKind) -> Option<Rungs> {
        self.preferred.iter().find(|(other, _)| *other == kind).map(|(_, rungs)| *rungs)
    }

    pub(crate) fn refusals(&self) -> Refusals {
        let (percent, seed) = self.refusals.unwrap_or_default();
        // A state of zero would stay there.
        Refusals { percent, state: Cell::new(seed | 1 << 63) }
    }
}

/// The sequence of [`Policy::refuse_first_rung`].
#[derive(Debug)]
pub(crate) struct Refusals {
    percent: u8,
    state: Cell<u64>,
}

impl Refusals {
    /// Whether the next operation is to be refused.
    #[inline]
    pub(crate) fn next(&self) -> bool {
        self.percent != 0 && self.draw()
    }

    fn draw(&self) -> bool {
        // xorshift64: enough to scatter, and the same every time.
        let mut state = self.state.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.state.set(state);
        (state >> 32) % 100 < u64::from(self.percent)
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
