//! The op table: owns what operations name, from submission to their last completion.
//!
//! It submits nothing and wakes nobody; it says what is to be done, and `op` does it.

#![allow(unsafe_code, reason = "entries are held by raw pointer while the kernel uses them")]

use std::any::Any;
use std::ptr::NonNull;
use std::task::Waker;

use ringway_driver::{Completion, Op, Token};
use slab::Slab;

use crate::ladder::Rung;

/// What an entry owns: an operation's parts, of whatever type.
pub(crate) trait Held: Any {
    /// The operation, naming memory and descriptors inside `self` or owned by it.
    fn describe(&mut self) -> Op;

    /// Ends an operation that nobody waits for.
    fn abandon(self: Box<Self>, result: i32);
}

/// What is to be done about an operation that ended; nothing, mostly.
#[must_use]
pub(crate) enum Ended {
    Nothing,
    /// Its future can go on.
    Wake(Waker),
    /// Its future is gone: the waker is to be dropped.
    Forget(Waker),
    /// Its future is gone: the parts and the result are to be dropped.
    Abandon(Box<dyn Held>, i32),
}

#[derive(Default)]
pub(crate) struct Table {
    entries: Slab<Entry>,
    /// Goes up with every insertion, so that the same index has another token next time.
    generation: u32,
    /// Entries that are not [`Lifecycle::Completed`].
    in_flight: usize,
}

struct Entry {
    generation: u32,
    /// From `Box::into_raw`: a `Box` in here would claim, whenever it moves, to be alone with memory
    /// that the kernel writes to.
    held: NonNull<dyn Held>,
    rung: Rung,
    /// The first completion's result; later ones only say that the memory is free.
    result: Option<i32>,
    state: Lifecycle,
}

enum Lifecycle {
    /// The kernel or the pool has it; the future waits.
    Waiting(Waker),
    /// The last completion came; parts and result wait for the future.
    Completed,
    /// The future is gone; the last completion frees everything.
    Orphaned,
}

impl Table {
    /// Takes `held` in, for good until [`Self::take`] or [`Ended::Abandon`] gives it out.
    pub(crate) fn insert(&mut self, held: Box<dyn Held>, waker: Waker) -> (Token, Op) {
        let mut held = NonNull::from(Box::leak(held));
        // SAFETY: the pointer comes from a box given up just now, and nobody else has it yet.
        let op = unsafe { held.as_mut() }.describe();
        self.generation = self.generation.wrapping_add(1) % Token::GENERATIONS;
        let entry = Entry {
            generation: self.generation,
            held,
            rung: Rung::Ready,
            result: None,
            state: Lifecycle::Waiting(waker),
        };
        // An index has 32 bits, and 2^32 entries would not fit into memory.
        let index = self.entries.insert(entry) as u32;
        self.in_flight += 1;
        (Token::new(index, self.generation), op)
    }

    /// Notes which driver got the operation.
    pub(crate) fn set_rung(&mut self, token: Token, rung: Rung) {
        if let Some(entry) = self.get_mut(token) {
            entry.rung = rung;
        }
    }

    /// Takes a completion in. One with a token that names nothing (any more) is ignored.
    pub(crate) fn complete(&mut self, completion: Completion) -> Ended {
        let Some(entry) = self.get_mut(completion.token) else { return Ended::Nothing };
        let result = *entry.result.get_or_insert(completion.result);
        if completion.more || matches!(entry.state, Lifecycle::Completed) {
            return Ended::Nothing;
        }
        let state = std::mem::replace(&mut entry.state, Lifecycle::Completed);
        self.in_flight -= 1;
        match state {
            Lifecycle::Waiting(waker) => Ended::Wake(waker),
            Lifecycle::Completed => Ended::Nothing,
            Lifecycle::Orphaned => Ended::Abandon(self.remove(completion.token), result),
        }
    }

    /// Parts and result of a completed operation.
    pub(crate) fn take(&mut self, token: Token) -> Option<(Box<dyn Held>, i32)> {
        let entry = self.get_mut(token)?;
        let (Lifecycle::Completed, Some(result)) = (&entry.state, entry.result) else {
            return None;
        };
        Some((self.remove(token), result))
    }

    /// Changes whom to wake; gives the old waker out if there is one to drop.
    pub(crate) fn set_waker(&mut self, token: Token, waker: &Waker) -> Option<Waker> {
        match &mut self.get_mut(token)?.state {
            Lifecycle::Waiting(old) if !old.will_wake(waker) => {
                Some(std::mem::replace(old, waker.clone()))
            }
            _ => None,
        }
    }

    /// The future of `token` is gone: calls `cancel` if the operation is still in flight.
    pub(crate) fn orphan(&mut self, token: Token, cancel: impl FnOnce(Rung)) -> Ended {
        if let Some((held, result)) = self.take(token) {
            return Ended::Abandon(held, result);
        }
        let Some(entry) = self.get_mut(token) else { return Ended::Nothing };
        cancel(entry.rung);
        match std::mem::replace(&mut entry.state, Lifecycle::Orphaned) {
            Lifecycle::Waiting(waker) => Ended::Forget(waker),
            _ => Ended::Nothing,
        }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(crate) fn for_each_in_flight(&self, mut each: impl FnMut(Token, Rung)) {
        for (index, entry) in &self.entries {
            if !matches!(entry.state, Lifecycle::Completed) {
                each(Token::new(index as u32, entry.generation), entry.rung);
            }
        }
    }

    fn get_mut(&mut self, token: Token) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(token.index() as usize)?;
        (entry.generation == token.generation()).then_some(entry)
    }

    /// Only for entries whose last completion came.
    fn remove(&mut self, token: Token) -> Box<dyn Held> {
        let entry = self.entries.remove(token.index() as usize);
        // SAFETY: the pointer comes from a box that `insert` gave up; the entry is gone, so this
        // happens once; and the operation is over, so neither kernel nor pool uses the memory.
        unsafe { Box::from_raw(entry.held.as_ptr()) }
    }
}

impl Drop for Table {
    /// Frees what completed and was never asked for. What is still in flight is leaked: the kernel may
    /// be using it.
    fn drop(&mut self) {
        let done: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| matches!(entry.state, Lifecycle::Completed))
            .map(|(index, entry)| Token::new(index as u32, entry.generation))
            .collect();
        for token in done {
            if let Some((held, result)) = self.take(token) {
                held.abandon(result);
            }
        }
    }
}
