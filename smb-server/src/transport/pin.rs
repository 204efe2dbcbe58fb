//! A mark on bytes of a file that are to stay as they are, by which somebody can tell when they may change.

use std::cell::{Cell, RefCell};
use std::io;

use ringway::fs::Mapping;

/// Whoever makes a message of such bytes has one copy, which goes with them; whoever keeps them as they are has
/// another.
#[derive(Debug)]
pub struct Pin {
    until: Until,
    sent: Cell<Option<u64>>,
    /// Where they are, while they are to be copied.
    mapping: RefCell<Option<Mapping>>,
}

/// How long bytes are to stay as they are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Until {
    /// Until the kernel has copied them.
    Sent,
    /// Until the peer has them, for what is sent are the pages of the file.
    Received,
}

impl Pin {
    /// On bytes that have not been sent.
    #[must_use]
    pub fn new(until: Until) -> Self {
        Self { until, sent: Cell::default(), mapping: RefCell::default() }
    }

    /// How long they are to stay as they are.
    #[must_use]
    pub fn until(&self) -> Until {
        self.until
    }

    /// This is where they are, and will be copied from.
    pub(super) fn set_mapping(&self, mapping: &Mapping) {
        *self.mapping.borrow_mut() = Some(mapping.clone());
    }

    /// Takes a copy of what is to be copied later, so that the file may change now; whether that was it.
    ///
    /// # Errors
    /// Those of [`Mapping::detach`].
    pub fn detach(&self) -> io::Result<bool> {
        match (&*self.mapping.borrow(), self.until) {
            (Some(mapping), Until::Sent) => mapping.detach().map(|()| true),
            _ => Ok(false),
        }
    }

    /// They have been given to the kernel. They have arrived when the peer has acknowledged so many bytes of the
    /// connection.
    pub fn set_sent(&self, up_to: u64) {
        self.mapping.take();
        self.sent.set(Some(match self.until {
            Until::Sent => 0,
            Until::Received => up_to,
        }));
    }

    /// How many bytes of the connection have to be acknowledged before they may change; `None`: they have not been sent.
    #[must_use]
    pub fn sent(&self) -> Option<u64> {
        self.sent.get()
    }
}
