//! Reading ahead for clients that read a file from one end to the other, and whose READs wait for a disk.
//!
//! The kernel does it by itself, but not far: 128 KiB by default, where a client has megabytes on their way. So what
//! follows the READs is asked for before they come, ever farther, while they go on in order and did find something
//! missing from the page cache. Who reads here and there is left to the kernel.

use std::cell::Cell;
use std::ops::Range;
use std::sync::{Arc, PoisonError};

use ringway::fs::File;

use crate::state::{FileOpen, Open};
use crate::wire::create::CreateOptions;

use super::counters::Counters;

/// The shortest READ that is looked at. What reads in smaller pieces the kernel is far enough ahead of.
pub(super) const LENGTH_MIN: usize = 64 * 1024;

/// How far ahead the first request goes; each goes twice as far as the one before.
const WINDOW_MIN: u64 = 1 << 20;

/// How far they go at most: as much as a client of the usual kind has on its way, which is read by then.
const WINDOW_MAX: u64 = 8 << 20;

/// How far READs may be from their order: a client has several on their way, which come as they come. Eight of a
/// mebibyte are usual.
const DISORDER_MAX: u64 = 8 << 20;

/// How many requests a core makes at a time. Each takes a thread for as long as the device's queue is full, and those
/// who wait for their own bytes need some.
const REQUESTS_MAX: usize = 4;

/// How an open file has been read of late.
#[derive(Debug, Default)]
pub struct ReadAhead {
    /// The range that a run of READs has covered but for `DISORDER_MAX`.
    run: Range<u64>,
    /// Bytes and READs of the run.
    read: u64,
    count: u64,
    /// The page cache lacked something.
    cold: bool,
    /// How far the next request is to go.
    window: u64,
    /// Up to where has been asked for.
    asked: u64,
    /// A request is under way.
    asking: bool,
}

impl ReadAhead {
    /// Takes a READ note of; gives what is to be read ahead.
    fn note(&mut self, offset: u64, length: u64, cached: bool) -> Option<Range<u64>> {
        let end = offset.saturating_add(length);
        if !self.goes_on(offset, end, length) {
            let asking = self.asking;
            *self = Self { run: offset..offset, window: WINDOW_MIN, asking, ..Self::default() };
        }
        let goes_farther = end > self.run.end;
        self.run = self.run.start.min(offset)..self.run.end.max(end);
        self.read = self.read.saturating_add(length);
        self.count += 1;
        self.cold |= !cached;
        goes_farther.then(|| self.next())?
    }

    /// Whether a READ belongs to the run: it is near its end, and the run has about as many bytes as its READs. It has
    /// more where some have been left out, and fewer where some are read again.
    fn goes_on(&self, offset: u64, end: u64, length: u64) -> bool {
        let span = self.run.end.max(end) - self.run.start.min(offset);
        self.count > 0
            && self.run.end.abs_diff(offset) <= DISORDER_MAX
            && span.abs_diff(self.read.saturating_add(length)) <= DISORDER_MAX
    }

    fn next(&mut self) -> Option<Range<u64>> {
        // Where more than half of a run is missing, it is none yet.
        let span = self.run.end - self.run.start;
        if !self.cold || self.asking || self.count < 2 || self.read < span / 2 {
            return None;
        }
        // What has been passed by needs no asking for.
        self.asked = self.asked.max(self.run.end);
        let ahead = self.asked - self.run.end;
        if ahead > self.window / 2 {
            return None;
        }
        let range = self.asked..self.run.end.saturating_add(self.window);
        self.asked = range.end;
        self.window = self.window.saturating_mul(2).min(WINDOW_MAX);
        self.asking = true;
        (!range.is_empty()).then_some(range)
    }

    /// A request has been made; `missed`: there was something to read. If not, the next waits until a READ finds that
    /// something is missing.
    fn asked(&mut self, missed: bool) {
        self.asking = false;
        self.cold &= missed;
        if !missed {
            self.window = WINDOW_MIN;
        }
    }
}

/// Takes note of a READ from a file on disk, and reads ahead if the client goes on like that. `cached`: it finds all
/// that it wants in the page cache.
pub(super) fn note(
    open: &Arc<Open>,
    on_disk: &File,
    (offset, length): (u64, usize),
    cached: bool,
    counters: &Counters,
) {
    let Some(file) = open.file().filter(|_| length >= LENGTH_MIN) else { return };
    if open.options.contains(CreateOptions::RANDOM_ACCESS) {
        return;
    }
    let noted = state(file).note(offset, length as u64, cached);
    let Some(range) = noted else { return };
    let Some(turn) = Turn::get() else {
        // It is read when it is wanted.
        return state(file).asked(true);
    };
    counters.count_read_ahead(range.end - range.start);
    let (open, on_disk) = (Arc::clone(open), on_disk.clone());
    drop(ringway::spawn(async move {
        let _turn = turn;
        let missed = on_disk.read_ahead(range.start, range.end - range.start).await;
        if let Some(file) = open.file() {
            state(file).asked(missed.unwrap_or_default());
        }
    }));
}

fn state(file: &FileOpen) -> std::sync::MutexGuard<'_, ReadAhead> {
    file.read_ahead.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    static REQUESTS: Cell<usize> = const { Cell::new(0) };
}

/// One of [`REQUESTS_MAX`].
struct Turn(());

impl Turn {
    fn get() -> Option<Self> {
        let requests = REQUESTS.get();
        (requests < REQUESTS_MAX).then(|| {
            REQUESTS.set(requests + 1);
            Self(())
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        REQUESTS.set(REQUESTS.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// What is asked for by READs of a mebibyte at these places, in mebibytes, none of which is cached.
    fn asked(offsets: impl IntoIterator<Item = u64>) -> Vec<Range<u64>> {
        let mut state = ReadAhead::default();
        asked_of(&mut state, offsets, false)
    }

    fn asked_of(
        state: &mut ReadAhead,
        offsets: impl IntoIterator<Item = u64>,
        cached: bool,
    ) -> Vec<Range<u64>> {
        let read = |at| {
            let range = state.note(at * MIB, MIB, cached)?;
            state.asked(true);
            Some(range.start / MIB..range.end / MIB)
        };
        offsets.into_iter().filter_map(read).collect()
    }

    #[test]
    fn what_is_read_in_order_is_asked_for_ever_farther_ahead_and_once() {
        let ranges = asked(0..100);
        assert_eq!(ranges[..4], [2..3, 3..5, 5..8, 8..13]);
        assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start), "{ranges:?}");
        assert!(ranges.iter().skip(4).all(|range| range.end - range.start <= 8));
        assert!(ranges.last().is_some_and(|last| last.end > 100 && last.end <= 108));
    }

    #[test]
    fn reads_that_overtake_each_other_are_still_in_order() {
        for group in [2, 4, 8] {
            let backwards = (0..100 / group).flat_map(|at| (at * group..(at + 1) * group).rev());
            let ranges = asked(backwards);
            assert!(ranges.is_sorted_by(|one, next| one.end <= next.start), "{ranges:?}");
            assert!(ranges.last().is_some_and(|last| last.end > 96), "{group}: {ranges:?}");
        }
    }

    #[test]
    fn a_run_may_begin_anywhere_and_elsewhere_again() {
        assert_eq!(asked([500, 501, 502])[0], 502..503);
        let ranges = asked([0, 1, 2, 3, 700, 701, 702]);
        assert_eq!(ranges, [2..3, 3..5, 5..8, 702..703, 703..705]);
    }

    #[test]
    fn random_reads_ask_for_nothing() {
        // The generator of Numerical Recipes: places in 16 GiB, none near the one before.
        let mut place = 1_u64;
        let random = (0..1000).map(|_| {
            place = place.wrapping_mul(1_664_525).wrapping_add(1_013_904_223) & 0xffff_ffff;
            place >> 18
        });
        let far: Vec<u64> = random.collect();
        let ranges = asked(far.iter().copied());
        assert!(ranges.len() <= 5, "{} of 1000 READs looked like a run", ranges.len());
        assert_eq!(asked((0..1000).map(|at| at * 100)), []);
        assert_eq!(asked((0..1000).rev().map(|at| at * 20)), []);
    }

    #[test]
    fn the_same_bytes_again_and_again_are_no_run() {
        assert_eq!(asked(std::iter::repeat_n(5, 1000)), []);
    }

    #[test]
    fn what_is_cached_is_not_asked_for() {
        let mut state = ReadAhead::default();
        assert_eq!(asked_of(&mut state, 0..50, true), []);
        assert_eq!(asked_of(&mut state, 50..52, false)[0], 51..52);
        // A request that finds nothing missing is the last until a READ does.
        state.asked(false);
        assert_eq!(asked_of(&mut state, 52..90, true), []);
        assert_eq!(asked_of(&mut state, 90..91, false)[0], 91..92);
    }

    #[test]
    fn one_request_is_made_at_a_time() {
        let mut state = ReadAhead::default();
        let ranges: Vec<_> = (0..50).filter_map(|at| state.note(at * MIB, MIB, false)).collect();
        assert_eq!((ranges.len(), &ranges[0]), (1, &(2 * MIB..3 * MIB)));
        state.asked(true);
        // What has been read meanwhile is not asked for any more.
        assert_eq!(state.note(50 * MIB, MIB, false), Some(51 * MIB..53 * MIB));
    }

    #[test]
    fn the_last_byte_that_a_file_can_have_is_no_trouble() {
        let mut state = ReadAhead::default();
        let last = i64::MAX as u64;
        for at in [last - 2 * MIB, last - MIB, u64::MAX - MIB, u64::MAX] {
            state.note(at, MIB, false);
            state.asked(true);
        }
    }
}
