//! Byte-range locks over all sessions. MS-FSA 2.1.4.10, 2.1.5.8 and 2.1.5.9.
//!
//! They are mandatory: whoever reads or writes through another open is refused. A [`LockOwner`] is one
//! open's part in its file's locks, and gives up everything it holds or waits for when it is released.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use futures_channel::oneshot;

use crate::vfs::StreamKey;

use super::lock;

/// How many locks a file may have. Each read and write of a locked file goes through all of them; the
/// databases that lock the most, a byte per user or record, have some hundreds.
const GRANTED_MAX: usize = 8192;

/// How many may wait for a file's locks: as many as several clients with all that they may have waiting.
const WAITING_MAX: usize = 1024;

/// The locks of all files.
#[derive(Debug, Default)]
pub struct Locks {
    files: Mutex<HashMap<StreamKey, FileLocks>>,
    /// How many entries `files` has: while there are none, nobody has to look.
    locked_files: AtomicUsize,
    next_id: AtomicU64,
}

#[derive(Debug, Default)]
struct FileLocks {
    granted: Vec<Lock>,
    /// Oldest first.
    waiting: Vec<(Lock, oneshot::Sender<()>)>,
}

#[derive(Clone, Copy, Debug)]
struct Lock {
    id: u64,
    owner: u64,
    range: ByteRange,
    exclusive: bool,
}

/// Some bytes of a file, or the place between two of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ByteRange {
    offset: u64,
    length: u64,
}

/// Why a lock is not granted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It conflicts with another.
    Conflict,
    /// The file has too many.
    TooMany,
    /// The owner has been released.
    Released,
}

/// An open's part in the locks of its file.
#[derive(Debug)]
pub struct LockOwner {
    locks: Arc<Locks>,
    stream: StreamKey,
    id: u64,
    /// Nothing is given to it any more. Changed and looked at under the lock of the table.
    released: AtomicBool,
}

/// A lock that waits for others. Dropping it takes it back, also when it has just been granted.
#[derive(Debug)]
pub struct PendingLock {
    locks: Arc<Locks>,
    stream: StreamKey,
    id: u64,
    granted: oneshot::Receiver<()>,
    over: bool,
}

/// The owner was released before its lock could be granted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Released;

impl ByteRange {
    /// `None` if it goes beyond the last byte that an offset can name.
    #[must_use]
    pub fn new(offset: u64, length: u64) -> Option<Self> {
        let last = length.saturating_sub(1);
        offset.checked_add(last).map(|_| Self { offset, length })
    }

    /// Whether the two have a byte in common, or one is the place between two bytes of the other.
    fn overlaps(self, other: Self) -> bool {
        let end = |range: Self| u128::from(range.offset) + u128::from(range.length);
        u128::from(self.offset) < end(other) && u128::from(other.offset) < end(self)
    }
}

impl Lock {
    /// Whether `wanted` has to wait for this. Shared locks stand beside each other, and one may be added to
    /// an exclusive lock by who has that.
    fn excludes(&self, wanted: &Self) -> bool {
        let compatible = match (self.exclusive, wanted.exclusive) {
            (false, false) => true,
            (true, false) => self.owner == wanted.owner,
            (_, true) => false,
        };
        !compatible && self.range.overlaps(wanted.range)
    }

    /// Whether it forbids `owner` to read or write a range. A shared lock forbids writing to everybody,
    /// who has it included.
    fn forbids(&self, owner: u64, range: ByteRange, write: bool) -> bool {
        let concerned = if self.exclusive { self.owner != owner } else { write };
        concerned && self.range.overlaps(range)
    }
}

impl FileLocks {
    fn excludes(&self, wanted: &Lock) -> bool {
        self.granted.iter().any(|granted| granted.excludes(wanted))
    }

    /// Grants what nothing stands in the way of any more, oldest first.
    fn grant(&mut self) -> Vec<oneshot::Sender<()>> {
        let mut told = Vec::new();
        let mut at = 0;
        while let Some((wanted, _)) = self.waiting.get(at) {
            if self.excludes(wanted) {
                at += 1;
                continue;
            }
            let (wanted, tell) = self.waiting.remove(at);
            self.granted.push(wanted);
            told.push(tell);
        }
        told
    }
}

impl Locks {
    /// The part of a new open of `file`.
    #[must_use]
    pub fn owner(self: &Arc<Self>, stream: StreamKey) -> LockOwner {
        let released = AtomicBool::new(false);
        LockOwner { locks: Arc::clone(self), stream, id: self.new_id(), released }
    }

    fn new_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Changes the locks of a file. `frees`: some may be gone then, and others granted in their place.
    fn change<T>(
        &self,
        stream: StreamKey,
        frees: bool,
        change: impl FnOnce(&mut FileLocks) -> T,
    ) -> T {
        let mut files = lock(&self.files);
        let entry = files.entry(stream).or_default();
        let result = change(entry);
        let told = if frees { entry.grant() } else { Vec::new() };
        if entry.granted.is_empty() && entry.waiting.is_empty() {
            files.remove(&stream);
        }
        self.locked_files.store(files.len(), Ordering::Release);
        drop(files);
        for tell in told {
            // Who has gone takes the lock back by itself.
            let _ = tell.send(());
        }
        result
    }

    fn take_back(&self, stream: StreamKey, id: u64) {
        self.change(stream, true, |locks| {
            locks.granted.retain(|granted| granted.id != id);
            locks.waiting.retain(|(waiting, _)| waiting.id != id);
        });
    }
}

impl LockOwner {
    /// Locks ranges, each exclusively or not: all of them now, or none.
    ///
    /// # Errors
    /// [`Refusal`], with nothing changed.
    pub fn try_lock(&self, wanted: &[(ByteRange, bool)]) -> Result<(), Refusal> {
        self.locks.change(self.stream, false, |locks| {
            let before = locks.granted.len();
            let granted = wanted.iter().try_for_each(|(range, exclusive)| {
                let wanted = self.wanted(*range, *exclusive);
                match () {
                    () if self.released.load(Ordering::Relaxed) => return Err(Refusal::Released),
                    () if locks.excludes(&wanted) => return Err(Refusal::Conflict),
                    () if locks.granted.len() >= GRANTED_MAX => return Err(Refusal::TooMany),
                    () => locks.granted.push(wanted),
                }
                Ok(())
            });
            if granted.is_err() {
                locks.granted.truncate(before);
            }
            granted
        })
    }

    /// Locks a range when nothing stands in the way of it any more, which may be now.
    ///
    /// # Errors
    /// [`Refusal`], but no conflict.
    pub fn lock(&self, range: ByteRange, exclusive: bool) -> Result<PendingLock, Refusal> {
        let wanted = self.wanted(range, exclusive);
        let (tell, granted) = oneshot::channel();
        self.locks.change(self.stream, false, |locks| match () {
            () if self.released.load(Ordering::Relaxed) => Err(Refusal::Released),
            () if locks.waiting.len() >= WAITING_MAX || locks.granted.len() >= GRANTED_MAX => {
                Err(Refusal::TooMany)
            }
            () if locks.excludes(&wanted) => {
                locks.waiting.push((wanted, tell));
                Ok(())
            }
            () => {
                locks.granted.push(wanted);
                // Nobody is there to be woken yet.
                let _ = tell.send(());
                Ok(())
            }
        })?;
        let (locks, stream) = (Arc::clone(&self.locks), self.stream);
        Ok(PendingLock { locks, stream, id: wanted.id, granted, over: false })
    }

    /// Gives up a lock of exactly this range, an exclusive one first. Tells whether there was one.
    pub fn unlock(&self, range: ByteRange) -> bool {
        self.locks.change(self.stream, true, |locks| {
            let own = |lock: &Lock| lock.owner == self.id && lock.range == range;
            let exclusive = locks.granted.iter().position(|lock| own(lock) && lock.exclusive);
            let found = exclusive.or_else(|| locks.granted.iter().position(own));
            found.map(|at| locks.granted.remove(at)).is_some()
        })
    }

    /// Whether somebody's lock forbids this open to read `length` bytes at `offset`, or to `write` them.
    #[must_use]
    pub fn is_locked_out(&self, offset: u64, length: u64, write: bool) -> bool {
        if length == 0 || self.locks.locked_files.load(Ordering::Acquire) == 0 {
            return false;
        }
        let range = ByteRange { offset, length };
        let files = lock(&self.locks.files);
        let locks =
            files.get(&self.stream).map(|locks| locks.granted.as_slice()).unwrap_or_default();
        locks.iter().any(|lock| lock.forbids(self.id, range, write))
    }

    /// Whether any bytes are locked, by whomever.
    #[must_use]
    pub fn is_any_locked(&self) -> bool {
        let has = |locks: &FileLocks| !locks.granted.is_empty();
        lock(&self.locks.files).get(&self.stream).is_some_and(has)
    }

    /// Gives up everything, for good.
    pub fn release(&self) {
        self.locks.change(self.stream, true, |locks| {
            self.released.store(true, Ordering::Relaxed);
            locks.granted.retain(|granted| granted.owner != self.id);
            locks.waiting.retain(|(waiting, _)| waiting.owner != self.id);
        });
    }

    fn wanted(&self, range: ByteRange, exclusive: bool) -> Lock {
        Lock { id: self.locks.new_id(), owner: self.id, range, exclusive }
    }
}

impl Drop for LockOwner {
    fn drop(&mut self) {
        if !*self.released.get_mut() {
            self.release();
        }
    }
}

impl Future for PendingLock {
    type Output = Result<(), Released>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let granted = ready!(Pin::new(&mut self.granted).poll(cx));
        self.over = true;
        Poll::Ready(granted.map_err(|_| Released))
    }
}

impl Drop for PendingLock {
    fn drop(&mut self) {
        if !self.over {
            self.locks.take_back(self.stream, self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::vfs::FileKey;

    const FILE: StreamKey = StreamKey { file: FileKey { dev: 1, ino: 1 }, stream: 0 };

    fn range(offset: u64, length: u64) -> ByteRange {
        ByteRange::new(offset, length).unwrap()
    }

    /// Two opens of one file.
    fn two() -> (LockOwner, LockOwner) {
        let locks = Arc::<Locks>::default();
        (locks.owner(FILE), locks.owner(FILE))
    }

    #[test]
    fn a_range_ends_with_the_last_byte_that_has_a_number() {
        assert!(ByteRange::new(u64::MAX, 1).is_some());
        assert!(ByteRange::new(u64::MAX, 0).is_some());
        assert!(ByteRange::new(0, u64::MAX).is_some());
        assert!(ByteRange::new(u64::MAX, 2).is_none());
        assert!(ByteRange::new(2, u64::MAX).is_none());
    }

    /// The table of `smb2.lock.zerobytelength`, which Windows answers so.
    #[test]
    fn a_place_between_two_bytes_is_covered_by_what_has_both() {
        let place = range(10, 0);
        for (offset, length, overlaps) in [
            (10, 0, false),
            (9, 1, false),
            (10, 1, false),
            (11, 1, false),
            (9, 2, true),
            (10, 2, false),
            (9, 3, true),
        ] {
            assert_eq!(place.overlaps(range(offset, length)), overlaps, "{offset}, {length}");
            assert_eq!(range(offset, length).overlaps(place), overlaps, "{offset}, {length}");
        }
    }

    #[test]
    fn the_last_bytes_overlap_too() {
        assert!(range(u64::MAX, 1).overlaps(range(1, u64::MAX)));
        assert!(!range(u64::MAX, 1).overlaps(range(0, u64::MAX)));
    }

    #[test]
    fn shared_locks_stand_beside_each_other_and_exclusive_ones_do_not() {
        let (one, other) = two();
        one.try_lock(&[(range(0, 10), false)]).unwrap();
        other.try_lock(&[(range(5, 10), false)]).unwrap();
        assert_eq!(one.try_lock(&[(range(9, 1), true)]).unwrap_err(), Refusal::Conflict);
        one.try_lock(&[(range(20, 10), true)]).unwrap();
        for owner in [&one, &other] {
            assert_eq!(owner.try_lock(&[(range(29, 1), true)]).unwrap_err(), Refusal::Conflict);
        }
        assert_eq!(other.try_lock(&[(range(29, 1), false)]).unwrap_err(), Refusal::Conflict);
        one.try_lock(&[(range(29, 1), false)]).unwrap();
    }

    #[test]
    fn an_exclusive_lock_goes_before_a_shared_one_of_the_same_range() {
        let (one, other) = two();
        one.try_lock(&[(range(0, 10), true)]).unwrap();
        one.try_lock(&[(range(0, 10), false)]).unwrap();
        assert!(one.unlock(range(0, 10)));
        other.try_lock(&[(range(0, 10), false)]).unwrap();
        assert!(!other.unlock(range(0, 9)), "only as a whole");
        assert!(one.unlock(range(0, 10)));
        assert!(!one.unlock(range(0, 10)));
    }

    #[test]
    fn locks_are_for_reading_and_writing_too() {
        let (one, other) = two();
        one.try_lock(&[(range(0, 10), true)]).unwrap();
        assert!(!one.is_locked_out(0, 10, false) && !one.is_locked_out(0, 10, true));
        assert!(other.is_locked_out(9, 1, false) && other.is_locked_out(9, 1, true));
        assert!(!other.is_locked_out(10, 1, true) && !other.is_locked_out(5, 0, true));
        one.try_lock(&[(range(20, 10), false)]).unwrap();
        for owner in [&one, &other] {
            assert!(!owner.is_locked_out(20, 1, false) && owner.is_locked_out(20, 1, true));
        }
        one.release();
        assert!(!other.is_locked_out(0, 100, true));
        assert_eq!(one.try_lock(&[(range(0, 1), true)]), Err(Refusal::Released));
        assert_eq!(one.lock(range(0, 1), true).unwrap_err(), Refusal::Released);
    }

    #[test]
    fn of_several_ranges_all_are_locked_or_none() {
        let (one, other) = two();
        one.try_lock(&[(range(20, 1), true)]).unwrap();
        let wanted = [(range(0, 10), true), (range(10, 10), false), (range(20, 1), false)];
        assert_eq!(other.try_lock(&wanted), Err(Refusal::Conflict));
        assert!(!one.is_locked_out(0, 20, true));
        other.try_lock(&wanted[..2]).unwrap();
        assert!(one.is_locked_out(0, 20, true));
    }

    #[test]
    fn who_waits_is_granted_the_lock_in_turn() {
        let (one, other) = two();
        one.try_lock(&[(range(0, 10), true)]).unwrap();
        let mut first = other.lock(range(0, 5), true).unwrap();
        let mut second = other.lock(range(0, 10), true).unwrap();
        let mut elsewhere = other.lock(range(10, 1), true).unwrap();
        assert_eq!((&mut elsewhere).now_or_never(), Some(Ok(())));
        assert_eq!((&mut first).now_or_never(), None);
        one.release();
        assert_eq!((&mut first).now_or_never(), Some(Ok(())));
        assert_eq!((&mut second).now_or_never(), None);
        assert!(other.unlock(range(0, 5)));
        assert_eq!((&mut second).now_or_never(), Some(Ok(())));
    }

    #[test]
    fn who_gives_up_waiting_leaves_nothing_behind() {
        let (one, other) = two();
        one.try_lock(&[(range(0, 10), true)]).unwrap();
        let waiting = other.lock(range(0, 10), true).unwrap();
        let late = other.lock(range(0, 10), true).unwrap();
        drop(waiting);
        assert!(one.unlock(range(0, 10)));
        // Granted, and not looked at.
        drop(late);
        assert!(!one.is_locked_out(0, 10, true));
        one.try_lock(&[(range(0, 10), true)]).unwrap();
        let mut closed = other.lock(range(0, 10), true).unwrap();
        other.release();
        assert_eq!((&mut closed).now_or_never(), Some(Err(Released)));
        one.release();
        assert_eq!(one.locks.locked_files.load(Ordering::Acquire), 0);
    }

    #[test]
    fn there_is_an_end_to_a_files_locks() {
        let (one, other) = two();
        for offset in 0..GRANTED_MAX as u64 {
            one.try_lock(&[(range(offset, 1), false)]).unwrap();
        }
        assert_eq!(other.try_lock(&[(range(0, 1), false)]).unwrap_err(), Refusal::TooMany);
        assert_eq!(other.lock(range(0, 1), false).unwrap_err(), Refusal::TooMany);
        assert!(one.unlock(range(7, 1)));
        other.try_lock(&[(range(0, 1), false)]).unwrap();
    }
}
