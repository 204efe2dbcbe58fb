//! Oplocks: leave to keep a file's contents at a client, and how it is taken back. MS-FSA 2.1.5.18 and
//! 2.1.4.12, MS-SMB2 3.3.1.10.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use futures_channel::{mpsc, oneshot};

use crate::vfs::StreamKey;
use crate::wire::create::OplockLevel;
use crate::wire::file_id::FileId;
use crate::wire::oplock_break::{BreakNotification, OplockBreak};

use super::lock;

/// The oplocks of all files.
#[derive(Debug, Default)]
pub struct Oplocks {
    streams: Mutex<HashMap<StreamKey, Vec<Holder>>>,
    next_id: AtomicU64,
    /// How many are of level II: there is nothing to look for at a write while none is.
    level_2: AtomicUsize,
}

/// What a server says unasked, to the client that has a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Notice {
    /// Its SessionId.
    pub session_id: u64,
    /// What there is to say.
    pub notification: BreakNotification,
}

/// The way to a session's client. What waits there is bounded by what its session may have open: to each
/// open there is one thing to say at a time.
pub type Notices = mpsc::UnboundedSender<Notice>;

/// Whom an oplock is granted to.
#[derive(Clone, Debug)]
pub struct Grantee {
    /// The way to the client.
    pub notices: Notices,
    /// Its session.
    pub session_id: u64,
    /// The open.
    pub file_id: FileId,
}

#[derive(Debug)]
struct Holder {
    id: u64,
    level: OplockLevel,
    /// What the client has been told to lower it to, and has not acknowledged.
    broken_to: Option<OplockLevel>,
    /// When it was last told so.
    told: Instant,
    /// They wait until it is lowered.
    waiting: Vec<oneshot::Sender<()>>,
    grantee: Grantee,
}

/// An open's oplock; given up when dropped.
#[derive(Debug)]
pub struct Oplock {
    oplocks: Arc<Oplocks>,
    stream: StreamKey,
    id: u64,
}

/// Why an acknowledgement is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotAcknowledged {
    /// Nobody has asked for it.
    NotBreaking,
    /// It keeps more than was left to it. The oplock is gone.
    TooHigh,
}

/// Who has an oplock of these levels may write to its copy, or knows that nobody does.
fn is_exclusive(level: OplockLevel) -> bool {
    matches!(level, OplockLevel::EXCLUSIVE | OplockLevel::BATCH)
}

impl Oplocks {
    /// Grants what is wanted, or less, to a new open. `is_alone`: nobody else has the stream open;
    /// `is_locked`: some bytes of it are locked. `None`: nothing.
    pub fn grant(
        self: &Arc<Self>,
        stream: StreamKey,
        wanted: OplockLevel,
        grantee: Grantee,
        is_alone: impl FnOnce() -> bool,
        is_locked: impl FnOnce() -> bool,
    ) -> Option<(Oplock, OplockLevel)> {
        if !is_exclusive(wanted) && wanted != OplockLevel::II {
            return None;
        }
        // Held while `is_alone` looks: who opens the file later looks here afterwards, and finds this one.
        let mut streams = lock(&self.streams);
        let holders = streams.get(&stream).map(Vec::as_slice).unwrap_or_default();
        if holders.iter().any(|holder| is_exclusive(holder.level)) {
            return None;
        }
        let level = match is_exclusive(wanted) && holders.is_empty() && is_alone() {
            true => wanted,
            // MS-FSA 2.1.5.18.1: copies that are only read from must not miss what others write under locks.
            false if is_locked() => return None,
            false => OplockLevel::II,
        };
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (broken_to, told, waiting) = (None, Instant::now(), Vec::new());
        let holder = Holder { id, level, broken_to, told, waiting, grantee };
        streams.entry(stream).or_default().push(holder);
        self.count(level, 1);
        Some((Oplock { oplocks: Arc::clone(self), stream, id }, level))
    }

    /// Has those oplocks that are exclusive, and for which `concerned` holds, lowered to `to`; what comes
    /// back is to be waited for.
    pub fn break_exclusive(
        &self,
        stream: StreamKey,
        to: OplockLevel,
        concerned: impl Fn(OplockLevel) -> bool,
    ) -> Vec<oneshot::Receiver<()>> {
        self.change(stream, |holders| {
            let exclusive = holders
                .iter_mut()
                .filter(|holder| is_exclusive(holder.level) && concerned(holder.level));
            exclusive.map(|holder| holder.lower(to)).collect()
        })
    }

    /// The stream's contents change: who has a copy to read from is told that it is old. That is not waited
    /// for, as nothing has to come back.
    pub fn break_level_2(&self, stream: StreamKey) {
        if self.level_2.load(Ordering::Acquire) == 0 {
            return;
        }
        self.change(stream, |holders| {
            for holder in holders.iter_mut().filter(|holder| holder.level == OplockLevel::II) {
                holder.tell(OplockLevel::NONE);
                holder.level = OplockLevel::NONE;
            }
        });
    }

    /// The clients that were told by then to lower their oplocks have had their time: now they have none.
    pub fn expire(&self, stream: StreamKey, by: Instant) {
        self.change(stream, |holders| {
            let is_late = |holder: &&mut Holder| holder.broken_to.is_some() && holder.told <= by;
            for holder in holders.iter_mut().filter(is_late) {
                tracing::info!(
                    session = holder.grantee.session_id,
                    "a client has not answered an oplock break in time; its oplock is gone"
                );
                holder.end_break(OplockLevel::NONE);
            }
        });
    }

    /// Changes the oplocks of a stream; those that have become nothing are removed.
    fn change<T>(&self, stream: StreamKey, change: impl FnOnce(&mut Vec<Holder>) -> T) -> T
    where
        T: Default,
    {
        let mut streams = lock(&self.streams);
        let Some(holders) = streams.get_mut(&stream) else { return T::default() };
        let level_2 =
            |holders: &[Holder]| holders.iter().filter(|it| it.level == OplockLevel::II).count();
        let before = level_2(holders);
        let result = change(holders);
        holders.retain(|holder| holder.level != OplockLevel::NONE);
        let after = level_2(holders);
        if holders.is_empty() {
            streams.remove(&stream);
        }
        self.level_2.fetch_add(after, Ordering::AcqRel);
        self.level_2.fetch_sub(before, Ordering::AcqRel);
        result
    }

    fn count(&self, level: OplockLevel, more: usize) {
        if level == OplockLevel::II {
            self.level_2.fetch_add(more, Ordering::AcqRel);
        }
    }
}

impl Holder {
    /// Asks the client to lower it, unless that has been asked.
    fn lower(&mut self, to: OplockLevel) -> oneshot::Receiver<()> {
        let (lowered, wait) = oneshot::channel();
        self.waiting.push(lowered);
        if self.broken_to.is_none() {
            self.broken_to = Some(to);
            self.told = Instant::now();
            if !self.tell(to) {
                // The client is gone, and with it what it kept.
                self.end_break(OplockLevel::NONE);
            }
        }
        wait
    }

    fn tell(&self, oplock_level: OplockLevel) -> bool {
        let Grantee { notices, session_id, file_id } = &self.grantee;
        let lowered = OplockBreak { oplock_level, file_id: *file_id };
        let notification = BreakNotification::Oplock(lowered);
        notices.unbounded_send(Notice { session_id: *session_id, notification }).is_ok()
    }

    fn end_break(&mut self, level: OplockLevel) {
        self.level = level;
        self.broken_to = None;
        for waiting in self.waiting.drain(..) {
            // Who has gone does not wait any more.
            let _ = waiting.send(());
        }
    }
}

impl Oplock {
    /// The client says what it has lowered the oplock to. Tells the level that it has now.
    ///
    /// # Errors
    /// [`NotAcknowledged`].
    pub fn acknowledge(&self, level: OplockLevel) -> Result<OplockLevel, NotAcknowledged> {
        let acknowledged = self.oplocks.change(self.stream, |holders| {
            let holder = holders.iter_mut().find(|holder| holder.id == self.id)?;
            let broken_to = holder.broken_to?;
            // NONE and II are in order.
            let fits = level.0 <= broken_to.0;
            holder.end_break(if fits { level } else { OplockLevel::NONE });
            Some(if fits { Ok(level) } else { Err(NotAcknowledged::TooHigh) })
        });
        acknowledged.unwrap_or(Err(NotAcknowledged::NotBreaking))
    }
}

impl Drop for Oplock {
    fn drop(&mut self) {
        self.oplocks.change(self.stream, |holders| {
            for holder in holders.iter_mut().filter(|holder| holder.id == self.id) {
                holder.end_break(OplockLevel::NONE);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::vfs::FileKey;

    const STREAM: StreamKey = StreamKey { file: FileKey { dev: 1, ino: 2 }, stream: 0 };
    const II: OplockLevel = OplockLevel::II;
    const BATCH: OplockLevel = OplockLevel::BATCH;

    type Told = mpsc::UnboundedReceiver<Notice>;

    /// An oplock for open number `volatile`, and what its client is told.
    fn granted(
        oplocks: &Arc<Oplocks>,
        wanted: OplockLevel,
        volatile: u64,
        alone: bool,
    ) -> (Option<(Oplock, OplockLevel)>, Told) {
        let (notices, told) = mpsc::unbounded();
        let file_id = FileId { persistent: 0, volatile };
        let grantee = Grantee { notices, session_id: 7, file_id };
        (oplocks.grant(STREAM, wanted, grantee, || alone, || false), told)
    }

    fn break_for(oplocks: &Oplocks, to: OplockLevel) -> Vec<oneshot::Receiver<()>> {
        oplocks.break_exclusive(STREAM, to, |_| true)
    }

    fn told(told: &mut Told) -> Option<(u64, OplockLevel)> {
        match told.try_recv().ok()?.notification {
            BreakNotification::Oplock(lowered) => {
                Some((lowered.file_id.volatile, lowered.oplock_level))
            }
            BreakNotification::Lease(_) => None,
        }
    }

    #[test]
    fn only_who_is_alone_gets_an_exclusive_one_and_others_level_2() {
        let oplocks = Arc::default();
        let (first, _told) = granted(&oplocks, BATCH, 1, true);
        assert_eq!(first.as_ref().map(|(_, level)| *level), Some(BATCH));
        assert!(granted(&oplocks, II, 2, false).0.is_none());
        drop(first);
        let (second, _told) = granted(&oplocks, BATCH, 3, false);
        let (third, _told3) = granted(&oplocks, II, 4, false);
        assert_eq!(second.map(|(_, level)| level), Some(II));
        assert_eq!(third.map(|(_, level)| level), Some(II));
        assert!(granted(&oplocks, OplockLevel::NONE, 5, true).0.is_none());
        assert!(granted(&oplocks, OplockLevel::LEASE, 5, true).0.is_none());
    }

    #[test]
    fn where_bytes_are_locked_no_copies_are_kept() {
        let oplocks: Arc<Oplocks> = Arc::default();
        let (notices, _told) = mpsc::unbounded();
        let file_id = FileId { persistent: 0, volatile: 1 };
        let grantee = Grantee { notices, session_id: 7, file_id };
        assert!(oplocks.grant(STREAM, II, grantee.clone(), || true, || true).is_none());
        assert!(oplocks.grant(STREAM, BATCH, grantee, || true, || true).is_some());
    }

    #[test]
    fn a_break_is_told_once_and_ends_with_its_acknowledgement() {
        let oplocks = Arc::default();
        let (first, mut notices) = granted(&oplocks, BATCH, 1, true);
        let (first, _) = first.unwrap();
        let mut waiting = break_for(&oplocks, II);
        waiting.extend(break_for(&oplocks, II));
        assert_eq!((told(&mut notices), told(&mut notices)), (Some((1, II)), None));
        assert!(waiting.iter_mut().all(|wait| wait.try_recv() == Ok(None)));
        assert_eq!(first.acknowledge(II), Ok(II));
        assert!(waiting.iter_mut().all(|wait| wait.try_recv() == Ok(Some(()))));
        assert_eq!(first.acknowledge(II), Err(NotAcknowledged::NotBreaking));
        // What is left is of level II: it goes without an answer.
        assert!(break_for(&oplocks, OplockLevel::NONE).is_empty());
        oplocks.break_level_2(STREAM);
        oplocks.break_level_2(STREAM);
        let notices = (told(&mut notices), told(&mut notices));
        assert_eq!(notices, (Some((1, OplockLevel::NONE)), None));
        assert!(lock(&oplocks.streams).is_empty());
    }

    #[test]
    fn who_keeps_more_than_is_left_has_nothing() {
        let oplocks = Arc::default();
        let (first, _told) = granted(&oplocks, BATCH, 1, true);
        let (first, _) = first.unwrap();
        let mut waiting = break_for(&oplocks, OplockLevel::NONE);
        assert_eq!(first.acknowledge(II), Err(NotAcknowledged::TooHigh));
        assert_eq!(waiting[0].try_recv(), Ok(Some(())));
        assert!(lock(&oplocks.streams).is_empty());
    }

    #[test]
    fn a_break_ends_with_the_open_its_client_or_its_time() {
        let oplocks: Arc<Oplocks> = Arc::default();
        let (closed, _told) = granted(&oplocks, BATCH, 1, true);
        let mut waiting = break_for(&oplocks, II);
        drop(closed);
        assert_eq!(waiting[0].try_recv(), Ok(Some(())));

        let (_left, gone) = granted(&oplocks, BATCH, 2, true);
        drop(gone);
        let mut waiting = break_for(&oplocks, II);
        assert_eq!(waiting[0].try_recv(), Ok(Some(())));

        let (late, _told) = granted(&oplocks, BATCH, 3, true);
        let before = Instant::now().checked_sub(Duration::from_millis(1)).unwrap();
        let mut waiting = break_for(&oplocks, II);
        // Nobody had been told by then.
        oplocks.expire(STREAM, before);
        assert_eq!(waiting[0].try_recv(), Ok(None));
        oplocks.expire(STREAM, Instant::now());
        assert_eq!(waiting[0].try_recv(), Ok(Some(())));
        assert_eq!(late.unwrap().0.acknowledge(II), Err(NotAcknowledged::NotBreaking));
    }
}
