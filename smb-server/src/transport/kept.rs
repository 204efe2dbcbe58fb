//! Mappings that are used again. To find the pages of a part of a file anew and to take the mapping apart takes a seventh of
//! the time of a READ, and where clients read the same over and over that is spared.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How many mappings there are at most, of all connections: a sixteenth of the areas that a process may have, two for
/// each. Who finds none left copies.
const MAPPINGS_MAX: usize = 2048;

/// How many of them are left to READs under way, however many are kept. In each there are 8 MiB at most.
const NOT_KEPT_MIN: usize = 1024;

/// How many parts of an open file are known: 128 MiB, of READs of a mebibyte.
const PARTS_MAX: usize = 128;

static PLACES: Places = Places::of(MAPPINGS_MAX);

/// The parts of an open file that were mapped last, with the mappings of those that were so twice: what is read once,
/// as most is, is not kept.
#[derive(Debug)]
pub struct Kept<M>(Mutex<Parts<M>>);

#[derive(Debug)]
struct Parts<M> {
    known: VecDeque<Part<M>>,
    has_ended: bool,
}

#[derive(Debug)]
struct Part<M> {
    range: (u64, usize),
    mapping: Option<(M, Arc<Place>)>,
}

/// A place among the mappings that there may be, until it is dropped.
#[derive(Debug)]
pub(super) struct Place(&'static Places);

/// Counts those that there may be yet.
#[derive(Debug)]
struct Places(AtomicUsize);

impl<M> Default for Kept<M> {
    fn default() -> Self {
        Self(Mutex::new(Parts { known: VecDeque::new(), has_ended: false }))
    }
}

/// The mapping of a part (offset, length) that is kept, or one that `map` makes, to be kept if `kept` is there; `None` if
/// it cannot be made.
pub(super) fn mapping<M: Clone>(
    kept: Option<&Kept<M>>,
    range: (u64, usize),
    map: impl FnOnce() -> io::Result<M>,
) -> Option<(M, Arc<Place>)> {
    match kept {
        Some(kept) => kept.get(range, map, &PLACES),
        None => made(map, &PLACES),
    }
}

fn made<M>(
    map: impl FnOnce() -> io::Result<M>,
    places: &'static Places,
) -> Option<(M, Arc<Place>)> {
    let place = Arc::new(places.take()?);
    Some((map().ok()?, place))
}

impl<M: Clone> Kept<M> {
    fn get(
        &self,
        range: (u64, usize),
        map: impl FnOnce() -> io::Result<M>,
        places: &'static Places,
    ) -> Option<(M, Arc<Place>)> {
        let known = self.with(|parts| parts.find(range).and_then(|part| part.mapping.clone()));
        if known.is_some() {
            return known;
        }
        let mapping = made(map, places)?;
        let replaced = self.with(|parts| parts.note(range, &mapping, places.may_be_kept()));
        // Not under the lock: it takes a system call.
        drop(replaced);
        Some(mapping)
    }

    /// Keeps none any more. What is being sent keeps its own.
    pub fn end(&self) {
        let known = self.with(|parts| {
            parts.has_ended = true;
            std::mem::take(&mut parts.known)
        });
        drop(known);
    }

    fn with<T>(&self, act: impl FnOnce(&mut Parts<M>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<M: Clone> Parts<M> {
    fn find(&mut self, range: (u64, usize)) -> Option<&mut Part<M>> {
        self.known.iter_mut().find(|part| part.range == range)
    }

    /// A part has been mapped. Tells what has been forgotten for that.
    fn note(
        &mut self,
        range: (u64, usize),
        mapping: &(M, Arc<Place>),
        may_be_kept: bool,
    ) -> Option<Part<M>> {
        if self.has_ended {
            return None;
        }
        if let Some(part) = self.find(range) {
            part.mapping = may_be_kept.then(|| mapping.clone());
            return None;
        }
        let oldest = (self.known.len() >= PARTS_MAX).then(|| self.known.pop_front()).flatten();
        self.known.push_back(Part { range, mapping: None });
        oldest
    }
}

impl Places {
    const fn of(max: usize) -> Self {
        Self(AtomicUsize::new(max))
    }

    fn take(&'static self) -> Option<Place> {
        // The count is of nothing but itself, so nothing has to be seen in the order in which it happens.
        let (seen, left) = (Ordering::Relaxed, |free: usize| free.checked_sub(1));
        self.0.fetch_update(seen, seen, left).ok().map(|_| Place(self))
    }

    fn may_be_kept(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= NOT_KEPT_MIN
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of parts that begin at each of these; tells which were not there.
    fn mapped(
        kept: &Kept<u64>,
        offsets: impl IntoIterator<Item = u64>,
        places: &'static Places,
    ) -> Vec<u64> {
        let mut made = Vec::new();
        for offset in offsets {
            let map = || {
                made.push(offset);
                Ok(offset)
            };
            let (mapping, _place) = kept.get((offset, 1), map, places).unwrap();
            assert_eq!(mapping, offset);
        }
        made
    }

    #[test]
    fn what_is_read_twice_is_kept_from_then_on_until_the_end() {
        static PLACES: Places = Places::of(2 * NOT_KEPT_MIN);
        let kept = Kept::default();
        for _ in 0..2 {
            assert_eq!(mapped(&kept, 0..5, &PLACES), [0, 1, 2, 3, 4]);
        }
        assert_eq!(mapped(&kept, 0..7, &PLACES), [5, 6]);
        let other_length = kept.get((0, 2), || Ok(7), &PLACES).unwrap();
        assert_eq!(other_length.0, 7);
        kept.end();
        drop(other_length);
        assert_eq!(PLACES.0.load(Ordering::Relaxed), 2 * NOT_KEPT_MIN);
        for _ in 0..3 {
            assert_eq!(mapped(&kept, [0], &PLACES), [0], "nothing is kept any more");
        }
    }

    #[test]
    fn the_oldest_is_forgotten() {
        static PLACES: Places = Places::of(2 * NOT_KEPT_MIN);
        let kept = Kept::default();
        let all = 0..PARTS_MAX as u64;
        for _ in 0..2 {
            mapped(&kept, all.clone(), &PLACES);
        }
        assert_eq!(mapped(&kept, all.clone(), &PLACES), []);
        let next = PARTS_MAX as u64;
        assert_eq!(mapped(&kept, [next, next], &PLACES), [next, next]);
        assert_eq!(mapped(&kept, [next, 1], &PLACES), []);
        assert_eq!(mapped(&kept, [0], &PLACES), [0]);
    }

    #[test]
    fn there_are_no_more_mappings_than_may_be_and_some_are_never_kept() {
        static PLACES: Places = Places::of(NOT_KEPT_MIN + 2);
        let kept = Kept::default();
        for _ in 0..2 {
            mapped(&kept, 0..5, &PLACES);
        }
        assert_eq!(mapped(&kept, 0..5, &PLACES).len(), 3);
        let taken: Vec<_> = std::iter::from_fn(|| PLACES.take()).collect();
        assert_eq!(taken.len(), NOT_KEPT_MIN);
        assert!(kept.get((9, 1), || Ok(9), &PLACES).is_none());
        assert!(kept.get((0, 1), || Ok(9), &PLACES).is_some(), "it is there");
    }

    #[test]
    fn what_cannot_be_mapped_takes_no_place() {
        static PLACES: Places = Places::of(NOT_KEPT_MIN);
        let kept = Kept::<u64>::default();
        let refused = kept.get((0, 1), || Err(io::ErrorKind::OutOfMemory.into()), &PLACES);
        assert!(refused.is_none());
        assert_eq!(PLACES.0.load(Ordering::Relaxed), NOT_KEPT_MIN);
    }
}
