//! How much memory the messages of all connections take together.
//!
//! What one connection may hold is bounded, but not by little, and the bounds of a thousand are more than a machine
//! has. Where all that may be held is, a connection is to end what it is at before it begins more.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A count over all connections, and its bound.
#[derive(Debug)]
pub(crate) struct Memory {
    max: usize,
    held: AtomicUsize,
}

impl Memory {
    /// Bounded by so many bytes.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, held: AtomicUsize::new(0) }
    }

    /// Whether all that may be held is.
    pub(crate) fn is_short(&self) -> bool {
        self.held.load(Ordering::Relaxed) >= self.max
    }

    /// A connection that held `before` holds `now`.
    pub(crate) fn change(&self, before: usize, now: usize) {
        // The count is of nothing but itself, so nothing has to be seen in the order in which it happens.
        if now > before {
            self.held.fetch_add(now - before, Ordering::Relaxed);
        } else {
            self.held.fetch_sub(before - now, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_short_while_all_of_it_is_held() {
        let memory = Memory::new(100);
        memory.change(0, 60);
        assert!(!memory.is_short());
        memory.change(0, 40);
        assert!(memory.is_short());
        memory.change(60, 10);
        assert!(!memory.is_short());
        memory.change(10, 0);
        memory.change(40, 0);
        assert_eq!(memory.held.into_inner(), 0);
    }
}
