//! A chain that is being carried out, as the world outside sees it: what takes it back, and who is told
//! that it takes longer.

use std::cell::{Cell, RefCell};
use std::fmt;

use crate::protocol::Reply;
use crate::signal::Signal;
use crate::state::Notice;
use crate::wire::file_id::FileId;
use crate::wire::oplock_break::BreakNotification;
use crate::wire::status::NtStatus;

/// See [`Ongoing::new`].
type TellPending = dyn Fn(&mut Vec<Reply>) -> bool;

/// Shared by the connection and the commands of one chain.
pub struct Ongoing {
    cancelled: Cell<bool>,
    /// Nothing is waited for any more.
    given_up: Cell<bool>,
    news: Signal,
    tell_pending: Box<TellPending>,
    /// What has been carried out so far.
    pub(super) replies: RefCell<Vec<Reply>>,
    /// How many elements are still to come.
    pub(super) left: Cell<usize>,
    /// Opens that have got oplocks, of which the client does not know yet: sessions and FileIds.
    granted: RefCell<Vec<(u64, FileId)>>,
    /// What there is to say about them.
    kept_back: RefCell<Vec<Notice>>,
}

impl Ongoing {
    /// `tell_pending` takes the replies to what is done already, and tells the client that the rest takes
    /// longer than it can wait for without a word; or it is `false`, if no more may wait.
    pub fn new(tell_pending: impl Fn(&mut Vec<Reply>) -> bool + 'static) -> Self {
        Self {
            cancelled: Cell::new(false),
            given_up: Cell::new(false),
            news: Signal::default(),
            tell_pending: Box::new(tell_pending),
            replies: RefCell::default(),
            left: Cell::new(0),
            granted: RefCell::default(),
            kept_back: RefCell::default(),
        }
    }

    /// The client has taken it back: what has not begun is not begun, what waits for others does not.
    pub fn cancel(&self) {
        self.cancelled.set(true);
        self.give_up();
    }

    /// What waits for others waits no longer; what only takes its time is finished.
    pub fn give_up(&self) {
        self.given_up.set(true);
        self.news.notify();
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.get()
    }

    /// An open gets an oplock.
    pub(super) fn note_granted(&self, session_id: u64, file_id: FileId) {
        self.granted.borrow_mut().push((session_id, file_id));
    }

    /// Keeps what is to be said about an open that the client does not know of, and tells whether it is such.
    #[must_use]
    pub fn keep_back(&self, notice: Notice) -> bool {
        let BreakNotification::Oplock(lowered) = notice.notification else { return false };
        let unknown = self.granted.borrow().contains(&(notice.session_id, lowered.file_id));
        if unknown {
            self.kept_back.borrow_mut().push(notice);
        }
        unknown
    }

    /// The client knows now of all that has been carried out so far: gives what was kept back.
    pub fn take_kept_back(&self) -> Vec<Notice> {
        self.granted.borrow_mut().clear();
        self.kept_back.take()
    }

    /// Nothing may come behind what waits: it might be what ends the wait.
    pub(super) fn tell_pending(&self) -> Result<(), NtStatus> {
        if self.left.get() > 0 {
            return Err(NtStatus::INTERNAL_ERROR);
        }
        match (self.tell_pending)(&mut self.replies.borrow_mut()) {
            true => Ok(()),
            false => Err(NtStatus::INSUFFICIENT_RESOURCES),
        }
    }

    /// Until it is taken back or given up.
    pub(super) async fn end(&self) {
        while !self.given_up.get() {
            self.news.wait().await;
        }
    }
}

impl fmt::Debug for Ongoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ongoing")
            .field("cancelled", &self.cancelled)
            .field("given_up", &self.given_up)
            .finish_non_exhaustive()
    }
}
