//! The io_uring driver.
//!
//! A completion's user data is a [`Token`]; the four bits above tell the driver's own entries apart.
//! What does not fit into the submission queue waits in a backlog, in order, so that neither an
//! operation nor a cancel is ever refused or lost.

#![allow(unsafe_code, reason = "puts entries on the ring for `Driver::submit`'s caller")]

mod probe;
mod setup;
mod sqe;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode, squeue};
use ringway_driver::{Completion, Credentials, Op, Token};

use crate::features::{OpSet, RingFeatures};

pub(crate) use setup::{SetupError, SetupFlag, Sleep};

/// User data of the poll that watches another descriptor.
const WATCH: u64 = 1 << 60;

/// User data of cancel requests. Their own completions say nothing that the operations' do not.
const CANCEL: u64 = 2 << 60;

/// A zero-copy notification's result when the kernel copied after all.
const NOTIF_COPIED: i32 = i32::MIN;

/// A ring and what waits to go on it.
pub(crate) struct UringDriver {
    ring: IoUring,
    ops: OpSet,
    backlog: VecDeque<squeue::Entry>,
    /// Operations that the ring has no form for, to be answered in the next turn.
    refused: Vec<Token>,
    in_flight: usize,
    /// Cancel requests that the kernel has yet to see to.
    cancels_owed: bool,
    watch: Watch,
}

/// Watching one descriptor for readability, once at a time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Watch {
    Idle,
    Armed,
    Ready,
}

impl UringDriver {
    /// A ring that has been shown to work.
    ///
    /// # Errors
    /// When there is none to be had.
    pub(crate) fn open(sleep: Sleep) -> Result<(Self, RingFeatures), SetupError> {
        let (ring, features) = setup::open(sleep)?;
        let driver = Self {
            ring,
            ops: features.ops,
            backlog: VecDeque::new(),
            refused: Vec::new(),
            in_flight: 0,
            cancels_owed: false,
            watch: Watch::Idle,
        };
        Ok((driver, features))
    }

    /// The ring's descriptor: readable when there are completions, or work that will make some.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the ring owns its descriptor and outlives the borrow.
        unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) }
    }

    /// Lets the next turn end when `fd` is readable. The same descriptor every time; it outlives this
    /// driver's last turn.
    pub(crate) fn watch(&mut self, fd: RawFd) {
        if self.watch == Watch::Idle {
            let poll = opcode::PollAdd::new(Fd(fd), libc::POLLIN as u32).build().user_data(WATCH);
            self.push(poll);
            self.watch = Watch::Armed;
        }
    }

    /// Whether the watched descriptor was found readable; the watch is then over.
    pub(crate) fn take_watched_ready(&mut self) -> bool {
        let ready = self.watch == Watch::Ready;
        if ready {
            self.watch = Watch::Idle;
        }
        ready
    }

    /// Queues an entry; sends the queue off if it is full, and waits in line if that does not help.
    fn push(&mut self, entry: squeue::Entry) {
        self.refill();
        if !self.backlog.is_empty() || !self.try_push(&entry) {
            self.backlog.push_back(entry);
        }
    }

    /// Moves the backlog into the queue as far as it fits.
    fn refill(&mut self) {
        while let Some(entry) = self.backlog.pop_front() {
            if !self.try_push(&entry) {
                self.backlog.push_front(entry);
                return;
            }
        }
    }

    fn try_push(&mut self, entry: &squeue::Entry) -> bool {
        if self.ring.submission().is_full() {
            // An error shows again in the next turn, which can report it.
            let _ = self.enter(0, EnterFlags::empty(), None);
        }
        // SAFETY: what the entry names is kept valid by `submit`'s caller until the last completion;
        // the driver's own entries name only a descriptor that outlives the ring's use of it.
        unsafe { self.ring.submission().push(entry) }.is_ok()
    }

    /// One `io_uring_enter`. What it cannot take now stays queued, and being interrupted or out of
    /// time is no error.
    fn enter(&self, want: u32, flags: EnterFlags, limit: Option<&Timespec>) -> io::Result<()> {
        // SAFETY: only this thread touches the queue, and nobody holds a view of it now.
        let queued = unsafe { self.ring.submission_shared() }.len() as u32;
        let mut args = SubmitArgs::new();
        if let Some(limit) = limit {
            args = args.timespec(limit);
        }
        let flags = (flags | EnterFlags::EXT_ARG).bits();
        // SAFETY: with EXT_ARG the argument is a `SubmitArgs`, which lives through the call.
        let entered = unsafe { self.ring.submitter().enter(queued, want, flags, Some(&args)) };
        match entered.map_err(|error| (error.raw_os_error(), error)) {
            Ok(_) => Ok(()),
            // EAGAIN and EBUSY: out of memory for requests, or completions must be taken first.
            Err((Some(libc::EINTR | libc::ETIME | libc::EAGAIN | libc::EBUSY), _)) => Ok(()),
            Err((_, error)) => Err(error),
        }
    }

    fn reap(&mut self, out: &mut Vec<Completion>) {
        for entry in self.ring.completion() {
            match Token::from_user_data(entry.user_data()) {
                Some(token) => {
                    let completion = decode(token, &entry);
                    self.in_flight -= usize::from(!completion.more);
                    out.push(completion);
                }
                None if entry.user_data() == WATCH => self.watch = Watch::Ready,
                None => {}
            }
        }
    }

    /// Whether the kernel has completions that only an enter brings.
    fn kernel_holds_completions(&mut self) -> bool {
        let queue = self.ring.submission();
        queue.taskrun() || queue.cq_overflow()
    }

    /// See [`Driver::submit`](ringway_driver::Driver::submit). Operations on somebody's behalf have no
    /// place here and are refused.
    ///
    /// # Safety
    /// As there.
    pub(crate) unsafe fn submit(
        &mut self,
        token: Token,
        op: Op,
        credentials: Option<Arc<Credentials>>,
    ) {
        self.in_flight += 1;
        if matches!(op, Op::Accept { .. }) {
            self.settle_cancels();
        }
        let possible = self.ops.contains(op.kind()) && credentials.is_none();
        match sqe::encode(&op).filter(|_| possible) {
            Some(entry) => self.push(entry.user_data(token.user_data())),
            None => self.refused.push(token),
        }
    }

    pub(crate) fn cancel(&mut self, token: Token) {
        let cancel = opcode::AsyncCancel::new(token.user_data()).build().user_data(CANCEL);
        self.push(cancel);
        self.cancels_owed = true;
    }

    /// Lets the kernel carry the cancels out.
    ///
    /// A connection wakes one waiting accept only, and a cancelled one counts until its cancellation
    /// has been carried out: queued behind the cancel, a new accept would sleep through a connection
    /// that comes in between.
    fn settle_cancels(&mut self) {
        if self.cancels_owed {
            self.refill();
            // An error shows again in the next turn, which can report it.
            let _ = self.enter(0, EnterFlags::GETEVENTS, None);
            self.cancels_owed = false;
        }
    }

    pub(crate) fn turn(
        &mut self,
        timeout: Option<Duration>,
        out: &mut Vec<Completion>,
    ) -> io::Result<()> {
        for token in self.refused.drain(..) {
            self.in_flight -= 1;
            out.push(Completion::last(token, -libc::EOPNOTSUPP));
        }
        self.refill();
        let sleeps = timeout != Some(Duration::ZERO)
            && out.is_empty()
            && self.backlog.is_empty()
            && self.ring.completion().is_empty();
        if sleeps {
            let limit = timeout.map(Timespec::from);
            self.enter(1, EnterFlags::GETEVENTS, limit.as_ref())?;
        } else if !self.ring.submission().is_empty() || self.kernel_holds_completions() {
            self.enter(0, EnterFlags::GETEVENTS, None)?;
        }
        self.reap(out);
        // Completions that did not fit into the queue come only now that there is room.
        while self.ring.submission().cq_overflow() {
            self.enter(0, EnterFlags::GETEVENTS, None)?;
            self.reap(out);
        }
        Ok(())
    }
}

fn decode(token: Token, entry: &cqueue::Entry) -> Completion {
    let notification = cqueue::notif(entry.flags());
    Completion {
        token,
        result: entry.result(),
        more: cqueue::more(entry.flags()),
        notification,
        copied: notification && entry.result() == NOTIF_COPIED,
        buffer_id: cqueue::buffer_select(entry.flags()),
    }
}
