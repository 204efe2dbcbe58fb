//! A mark on bytes that go out as they are, by which somebody can tell when they have arrived.

use std::cell::Cell;

/// Whoever makes a message of such bytes has one copy, which goes with them; whoever waits for their arrival has
/// another.
#[derive(Debug, Default)]
pub struct Pin {
    sent: Cell<Option<u64>>,
}

impl Pin {
    /// They have been given to the kernel. They have arrived when the peer has acknowledged so many bytes of the
    /// connection.
    pub fn set_sent(&self, up_to: u64) {
        self.sent.set(Some(up_to));
    }

    /// What [`Self::set_sent`] said.
    #[must_use]
    pub fn sent(&self) -> Option<u64> {
        self.sent.get()
    }
}
