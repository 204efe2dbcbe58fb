//! How much memory the messages of all connections take together.
//!
//! What one connection may hold is bounded, but not by little, and the bounds of a thousand are more than a machine
//! has. Where all that may be held is, a connection is to end what it is at before it begins more.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A count over all connections, and its bound.
#[derive(Debug)]
pub(crate) struct Memory {
    max: usize,
    held: AtomicUsize,
}

/// What is counted for one connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct Part {
    memory: Arc<Memory>,
    held: Cell<usize>,
}

impl Memory {
    /// Bounded by so many bytes.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, held: AtomicUsize::new(0) }
    }

    /// Whether all that may be held is.
    fn is_short(&self) -> bool {
        self.held.load(Ordering::Relaxed) >= self.max
    }

    /// Of a connection that holds nothing.
    pub(crate) fn part(self: &Arc<Self>) -> Part {
        Part { memory: Arc::clone(self), held: Cell::new(0) }
    }
}

impl Part {
    /// The connection holds so many bytes now.
    pub(crate) fn set(&self, now: usize) {
        let (before, all) = (self.held.replace(now), &self.memory.held);
        // The count is of nothing but itself, so nothing has to be seen in the order in which it happens.
        if now > before {
            all.fetch_add(now - before, Ordering::Relaxed);
        } else {
            all.fetch_sub(before - now, Ordering::Relaxed);
        }
    }

    /// Whether all connections together hold all that they may.
    pub(crate) fn is_short(&self) -> bool {
        self.memory.is_short()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_short_while_all_of_it_is_held() {
        let memory = Arc::new(Memory::new(100));
        let (one, other) = (memory.part(), memory.part());
        one.set(60);
        assert!(!memory.is_short());
        other.set(40);
        assert!(memory.is_short());
        one.set(10);
        assert!(!memory.is_short());
        one.set(0);
        drop(other);
        assert_eq!(memory.held.load(Ordering::Relaxed), 0);
    }
}
