//! Numbers that scatter and are the same every time: for refusals and faults by chance, in tests.

use std::cell::Cell;

/// A sequence that its seed determines.
#[derive(Debug)]
pub(crate) struct Random(Cell<u64>);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        // A state of zero would stay there.
        Self(Cell::new(seed | 1 << 63))
    }

    /// A number below `limit`, which is not 0.
    pub(crate) fn below(&self, limit: u32) -> u32 {
        // xorshift64.
        let mut state = self.0.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.0.set(state);
        ((state >> 32) % u64::from(limit)) as u32
    }
}
