//! Mappings that are used again. To find the pages of a part of a file anew and to take the mapping apart takes a seventh of
//! the time of a READ, and where clients read the same over and over that is spared.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use ringway::fs::{LeasedMapping, Mapping};
use ringway::time::sleep;

/// How many mappings there are at most, of all connections: a sixteenth of the areas that a process may have, two for
/// each. Who finds none left copies.
const MAPPINGS_MAX: usize = 2048;

/// How many of them are left to READs under way, however many are kept. In each there are 8 MiB at most.
const NOT_KEPT_MIN: usize = 1024;

/// While so much is mapped in all, no more is kept. It is the page cache's, but counts as this process's where its memory
/// is told.
const KEPT_MAX: usize = 1 << 30;

/// How many parts of an open file are known.
const PARTS_MAX: usize = 128;

/// How many bytes of an open file are kept.
const BYTES_MAX: usize = 128 << 20;

/// After so long without a READ of any nothing is kept.
const IDLE_MAX: Duration = Duration::from_secs(10);

static PLACES: Places = Places::of(MAPPINGS_MAX);

/// The parts of an open file that were mapped last, with the mappings of those that were so twice: what is read once,
/// as most is, is not kept.
#[derive(Debug)]
pub struct Kept<M>(Mutex<Parts<M>>);

#[derive(Debug)]
struct Parts<M> {
    /// In the order in which they were read.
    known: VecDeque<Part<M>>,
    /// How many bytes those have that are kept.
    bytes: usize,
    has_ended: bool,
    /// One was asked for since somebody has looked.
    is_in_use: bool,
    /// Somebody looks.
    is_watched: bool,
}

#[derive(Debug)]
struct Part<M> {
    range: (u64, usize),
    mapping: Option<Held<M>>,
}

/// With a place.
type Held<M> = (M, Arc<Place>);

/// A place among the mappings that there may be, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    of: &'static Places,
    bytes: usize,
}

/// Counts those that there may be yet, and what is mapped.
#[derive(Debug)]
struct Places {
    free: AtomicUsize,
    bytes: AtomicUsize,
}

/// A mapping.
pub trait Keepable: Clone + 'static {
    /// Whether it is still the file's.
    fn is_good(&self) -> bool;
}

impl Keepable for Mapping {
    fn is_good(&self) -> bool {
        matches!(self.is_detached(), Ok(false))
    }
}

impl Keepable for LeasedMapping {
    fn is_good(&self) -> bool {
        self.mapping().is_good()
    }
}

/// The mapping of a part (offset, length) that is kept, or one that `map` makes, to be kept if `kept` is there; `None` if
/// it cannot be made.
pub(super) fn mapping<M: Keepable>(
    kept: Option<&Arc<Kept<M>>>,
    range: (u64, usize),
    map: impl FnOnce() -> io::Result<M>,
) -> Option<Held<M>> {
    let Some(kept) = kept else { return made(range.1, map, &PLACES) };
    let found = kept.get(range, map, &PLACES);
    if kept.is_to_be_watched() {
        drop(ringway::spawn(let_go_when_idle(Arc::downgrade(kept))));
    }
    found
}

fn made<M>(
    bytes: usize,
    map: impl FnOnce() -> io::Result<M>,
    places: &'static Places,
) -> Option<Held<M>> {
    let place = Arc::new(places.take(bytes)?);
    Some((map().ok()?, place))
}

async fn let_go_when_idle<M: Keepable>(kept: Weak<Kept<M>>) {
    loop {
        sleep(IDLE_MAX).await;
        match kept.upgrade() {
            Some(kept) if kept.was_in_use() => {}
            _ => return,
        }
    }
}

impl<M> Default for Kept<M> {
    fn default() -> Self {
        Self(Mutex::new(Parts {
            known: VecDeque::new(),
            bytes: 0,
            has_ended: false,
            is_in_use: false,
            is_watched: false,
        }))
    }
}

impl<M> Kept<M> {
    /// Keeps none any more. What is being sent keeps its own.
    pub fn end(&self) {
        let known = self.with(|parts| {
            parts.has_ended = true;
            parts.take()
        });
        drop(known);
    }

    fn with<T>(&self, act: impl FnOnce(&mut Parts<M>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<M: Keepable> Kept<M> {
    fn get(
        &self,
        range: (u64, usize),
        map: impl FnOnce() -> io::Result<M>,
        places: &'static Places,
    ) -> Option<Held<M>> {
        let (found, _bad) = self.with(|parts| parts.find(range));
        if found.is_some() {
            return found;
        }
        let held = made(range.1, map, places)?;
        // Not under the lock: to take one apart takes a system call.
        let _replaced = self.with(|parts| parts.note(range, &held, places.may_be_kept()));
        Some(held)
    }

    /// Whether something is kept and nobody looks how long it is not asked for; who calls this does from now on.
    fn is_to_be_watched(&self) -> bool {
        self.with(|parts| parts.bytes > 0 && !std::mem::replace(&mut parts.is_watched, true))
    }

    /// Whether any was asked for since the last call. If not, none is kept any more.
    fn was_in_use(&self) -> bool {
        let (was_in_use, _known) = self.with(|parts| {
            let was_in_use = std::mem::take(&mut parts.is_in_use);
            parts.is_watched = was_in_use;
            (was_in_use, if was_in_use { VecDeque::new() } else { parts.take() })
        });
        was_in_use
    }
}

impl<M> Parts<M> {
    fn take(&mut self) -> VecDeque<Part<M>> {
        self.bytes = 0;
        std::mem::take(&mut self.known)
    }
}

impl<M: Keepable> Parts<M> {
    /// What is kept of a part; and what was, but is not good for anything any more.
    fn find(&mut self, range: (u64, usize)) -> (Option<Held<M>>, Option<Held<M>>) {
        self.is_in_use = true;
        let Some(index) = self.known.iter().position(|part| part.range == range) else {
            return (None, None);
        };
        let Some(mut part) = self.known.remove(index) else { return (None, None) };
        let bad = part.mapping.take_if(|(mapping, _)| !mapping.is_good());
        if bad.is_some() {
            self.bytes -= range.1;
        }
        let found = part.mapping.clone();
        self.known.push_back(part);
        (found, bad)
    }

    /// A part has been mapped. Tells what has been forgotten for that.
    fn note(&mut self, range: (u64, usize), held: &Held<M>, may_be_kept: bool) -> Vec<Part<M>> {
        let mut forgotten = Vec::new();
        if self.has_ended {
            return forgotten;
        }
        let known = self.known.iter().position(|part| part.range == range);
        let is_known = known.and_then(|index| self.known.remove(index)).is_some();
        let mapping = (is_known && may_be_kept).then(|| held.clone());
        self.bytes += if mapping.is_some() { range.1 } else { 0 };
        self.known.push_back(Part { range, mapping });
        while self.known.len() > PARTS_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.known.pop_front() else { break };
            self.bytes -= if oldest.mapping.is_some() { oldest.range.1 } else { 0 };
            forgotten.push(oldest);
        }
        forgotten
    }
}

impl Places {
    const fn of(max: usize) -> Self {
        Self { free: AtomicUsize::new(max), bytes: AtomicUsize::new(0) }
    }

    fn take(&'static self, bytes: usize) -> Option<Place> {
        // The counts are of nothing but themselves, so nothing has to be seen in the order in which it happens.
        let (seen, left) = (Ordering::Relaxed, |free: usize| free.checked_sub(1));
        self.free.fetch_update(seen, seen, left).ok()?;
        self.bytes.fetch_add(bytes, seen);
        Some(Place { of: self, bytes })
    }

    fn may_be_kept(&self) -> bool {
        self.free.load(Ordering::Relaxed) >= NOT_KEPT_MIN
            && self.bytes.load(Ordering::Relaxed) <= KEPT_MAX
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.free.fetch_add(1, Ordering::Relaxed);
        self.of.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    /// Good until it is marked.
    #[derive(Clone, Debug, Default)]
    struct Mark(u64, Arc<AtomicBool>);

    impl Keepable for Mark {
        fn is_good(&self) -> bool {
            !self.1.load(Ordering::Relaxed)
        }
    }

    /// Of parts that begin at each of these; tells which were not there.
    fn mapped(
        kept: &Kept<Mark>,
        offsets: impl IntoIterator<Item = u64>,
        places: &'static Places,
    ) -> Vec<u64> {
        let mut made = Vec::new();
        for offset in offsets {
            let map = || {
                made.push(offset);
                Ok(Mark(offset, Arc::default()))
            };
            let (mapping, _place) = kept.get((offset, 1), map, places).unwrap();
            assert_eq!(mapping.0, offset);
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
        let other_length = kept.get((0, 2), || Ok(Mark(7, Arc::default())), &PLACES).unwrap();
        assert_eq!(other_length.0.0, 7);
        kept.end();
        drop(other_length);
        assert_eq!(PLACES.free.load(Ordering::Relaxed), 2 * NOT_KEPT_MIN);
        for _ in 0..3 {
            assert_eq!(mapped(&kept, [0], &PLACES), [0], "nothing is kept any more");
        }
    }

    #[test]
    fn what_was_not_read_for_the_longest_time_is_forgotten() {
        static PLACES: Places = Places::of(2 * NOT_KEPT_MIN);
        let kept = Kept::default();
        let all = 0..PARTS_MAX as u64;
        for _ in 0..2 {
            mapped(&kept, all.clone(), &PLACES);
        }
        assert_eq!(mapped(&kept, all.clone(), &PLACES), []);
        assert_eq!(mapped(&kept, [0], &PLACES), []);
        let next = PARTS_MAX as u64;
        assert_eq!(mapped(&kept, [next, next], &PLACES), [next, next]);
        assert_eq!(mapped(&kept, [next, 0, 2], &PLACES), []);
        assert_eq!(mapped(&kept, [1], &PLACES), [1]);
    }

    #[test]
    fn so_many_bytes_are_kept_and_no_more() {
        static PLACES: Places = Places::of(2 * NOT_KEPT_MIN);
        const LEN: usize = BYTES_MAX / 4;
        let kept = Kept::default();
        let read = |offset: u64| {
            let mut is_new = false;
            let map = || {
                is_new = true;
                Ok(Mark::default())
            };
            kept.get((offset, LEN), map, &PLACES).unwrap();
            is_new
        };
        (0..2).for_each(|_| (0..4).for_each(|offset| assert!(read(offset))));
        assert!((0..4).all(|offset| !read(offset)));
        assert!(read(4) && read(4), "it is new");
        assert!(!read(4) && !read(3) && read(0), "the oldest is not there any more");
        assert_eq!(PLACES.free.load(Ordering::Relaxed), 2 * NOT_KEPT_MIN - 4);
    }

    #[test]
    fn what_is_good_for_nothing_any_more_is_made_anew() {
        static PLACES: Places = Places::of(2 * NOT_KEPT_MIN);
        let kept = Kept::default();
        (0..2).for_each(|_| drop(mapped(&kept, [5], &PLACES)));
        let (mark, _) = kept.get((5, 1), || unreachable!("it is kept"), &PLACES).unwrap();
        mark.1.store(true, Ordering::Relaxed);
        assert_eq!(mapped(&kept, [5, 5, 5], &PLACES), [5]);
    }

    #[test]
    fn what_nobody_asks_for_any_more_is_let_go() {
        static PLACES: Places = Places::of(2 * NOT_KEPT_MIN);
        let kept = Kept::default();
        mapped(&kept, [5], &PLACES);
        assert!(!kept.is_to_be_watched(), "nothing is kept");
        mapped(&kept, [5], &PLACES);
        assert!(kept.is_to_be_watched());
        assert!(!kept.is_to_be_watched(), "once is enough");
        assert!(kept.was_in_use());
        mapped(&kept, [5], &PLACES);
        assert!(kept.was_in_use());
        assert!(!kept.was_in_use());
        assert_eq!(PLACES.free.load(Ordering::Relaxed), 2 * NOT_KEPT_MIN);
        (0..2).for_each(|_| assert_eq!(mapped(&kept, [5], &PLACES), [5]));
        assert!(kept.is_to_be_watched(), "as before");
    }

    #[test]
    fn there_are_no_more_mappings_than_may_be_and_some_are_never_kept() {
        static PLACES: Places = Places::of(NOT_KEPT_MIN + 2);
        let kept = Kept::default();
        for _ in 0..2 {
            mapped(&kept, 0..5, &PLACES);
        }
        assert_eq!(mapped(&kept, 0..5, &PLACES).len(), 3);
        let taken: Vec<_> = std::iter::from_fn(|| PLACES.take(1)).collect();
        assert_eq!(taken.len(), NOT_KEPT_MIN);
        assert!(kept.get((9, 1), || Ok(Mark::default()), &PLACES).is_none());
        assert!(kept.get((0, 1), || Ok(Mark::default()), &PLACES).is_some(), "it is there");
    }

    #[test]
    fn no_more_is_kept_where_much_is_mapped() {
        static PLACES: Places = Places::of(2 * NOT_KEPT_MIN);
        let kept = Kept::default();
        let others = PLACES.take(KEPT_MAX).unwrap();
        (0..3).for_each(|_| assert_eq!(mapped(&kept, [5], &PLACES), [5]));
        drop(others);
        assert_eq!(mapped(&kept, [5, 5, 5], &PLACES), [5]);
        kept.end();
        assert_eq!(PLACES.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_cannot_be_mapped_takes_no_place() {
        static PLACES: Places = Places::of(NOT_KEPT_MIN);
        let kept = Kept::<Mark>::default();
        let refused = kept.get((0, 1), || Err(io::ErrorKind::OutOfMemory.into()), &PLACES);
        assert!(refused.is_none());
        assert_eq!(PLACES.free.load(Ordering::Relaxed), NOT_KEPT_MIN);
    }
}
