//! The io_uring driver.
//!
//! A completion's user data is a [`Token`]; the four bits above tell the driver's own entries apart.
//! What does not fit into the submission queue waits in a backlog, in order, so that neither an
//! operation nor a cancel is ever refused or lost.

#![allow(unsafe_code, reason = "puts entries on the ring for `Driver::submit`'s caller")]

mod fixed;
mod personalities;
mod probe;
pub(crate) mod provided;
mod registered;
mod setup;
mod sqe;
mod workers;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode, squeue};
use ringway_driver::{Completion, Identity, Op, Token};

use crate::features::{Feature, Mask, OpSet, RingFeatures};
use fixed::Places;
use personalities::Personalities;
use provided::{Group, Groups, Registration};
use registered::RegisteredRing;

pub(crate) use setup::{SetupError, Sleep};
pub(crate) use sqe::is_hashed;

/// How often a turn enters beside other work. The kernel makes some twenty completions at a time of what has
/// come (Linux 6.12 and later), and the runtime polls six times as many tasks between two turns.
const ENTERS_MAX: usize = 6;

/// User data of the poll that watches another descriptor.
const WATCH: u64 = 1 << 60;

/// User data of cancel requests. Their own completions say nothing that the operations' do not.
const CANCEL: u64 = 2 << 60;

/// User data of the poll that other threads wake this one by.
const WAKE: u64 = 3 << 60;

/// A zero-copy notification's result when the kernel copied after all.
const NOTIF_COPIED: i32 = i32::MIN;

/// How many registered buffers a ring has places for. The table costs 8 KiB.
pub(crate) const FIXED_MAX: u16 = 1024;

/// A ring and what waits to go on it.
///
/// Its methods keep the contract of [`Driver`](ringway_driver::Driver). It is not one by itself: it has
/// no pool and no readiness; the epoll driver beside it has, and is watched.
pub(crate) struct UringDriver {
    ring: IoUring,
    /// The ring's place in the thread's table of rings, which spares a look-up for each enter.
    registered: Option<RegisteredRing>,
    ops: OpSet,
    zc_flags: u16,
    personalities: Personalities,
    /// `None` without a table of registered buffers.
    fixed: Option<Places>,
    /// `None` where the kernel has no such groups.
    groups: Option<Groups>,
    backlog: VecDeque<squeue::Entry>,
    /// Operations that the ring cannot take, to be answered in the next turn.
    refused: Vec<Completion>,
    /// The kernel has had more completions than the queue holds.
    overflowed: bool,
    /// Cancel requests that the kernel has yet to see to.
    cancels_owed: bool,
    watch: Watch,
    /// Written to by other threads, and never read: each write is an event of its own to the poll.
    wake: Option<RawFd>,
    wake_armed: bool,
}

/// Who carries an operation out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// The thread that submits it, if it need not wait.
    Ring,
    /// One of the ring's threads (`IOSQE_ASYNC`).
    Worker,
}

/// Watching one descriptor for readability, once at a time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Watch {
    Idle,
    Armed,
    Ready,
}

impl UringDriver {
    /// A ring that has been shown to work. The process may run on `cpus` processors, wherever this thread may.
    ///
    /// # Errors
    /// When there is none to be had.
    pub(crate) fn open(
        sleep: Sleep,
        mask: Mask,
        cpus: usize,
    ) -> Result<(Self, RingFeatures), SetupError> {
        let (ring, mut features) = setup::open(sleep, mask, cpus)?;
        let mut registered = None;
        let register = || RegisteredRing::register(&ring).map(|ring| registered = Some(ring));
        features.found.push(mask.probe(Feature::RegisteredRing, register));
        let has = |feature| features.has(feature);
        let groups = has(Feature::ProvidedBuffers)
            .then(|| Groups::new(has(Feature::IncrementalBuffers), has(Feature::RecvBundle)));
        let driver = Self {
            ring,
            registered,
            ops: features.ops,
            zc_flags: if has(Feature::ReportUsage) { sqe::REPORT_USAGE } else { 0 },
            fixed: has(Feature::FixedBuffers).then(Places::default),
            personalities: Personalities::new(has(Feature::DeferTaskrun)),
            groups,
            backlog: VecDeque::new(),
            refused: Vec::new(),
            overflowed: false,
            cancels_owed: false,
            watch: Watch::Idle,
            wake: None,
            wake_armed: false,
        };
        Ok((driver, features))
    }

    /// Lets a turn end when somebody writes to the event descriptor `fd`, which nobody reads. It
    /// outlives this driver's last turn.
    pub(crate) fn wake_by(&mut self, fd: BorrowedFd<'_>) {
        self.wake = Some(fd.as_raw_fd());
    }

    fn arm_wake(&mut self) {
        if let Some(fd) = self.wake.filter(|_| !self.wake_armed) {
            let poll = opcode::PollAdd::new(Fd(fd), libc::POLLIN as u32).multi(true);
            self.push(poll.build().user_data(WAKE));
            self.wake_armed = true;
        }
    }

    /// Whether there have ever been more completions than the queue holds. They come all the same, at a
    /// price.
    pub(crate) fn has_overflowed(&self) -> bool {
        self.overflowed
    }

    /// How many entries wait for room in the submission queue.
    pub(crate) fn backlog(&self) -> usize {
        self.backlog.len()
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
        let entered = match &self.registered {
            Some(registered) => registered.enter(queued, want, flags, &args),
            // SAFETY: with EXT_ARG the argument is a `SubmitArgs`, which lives through the call.
            None => unsafe { self.ring.submitter().enter(queued, want, flags, Some(&args)) },
        };
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
                Some(token) => out.push(decode(token, &entry)),
                None if entry.user_data() == WATCH => self.watch = Watch::Ready,
                None if entry.user_data() == WAKE => self.wake_armed = cqueue::more(entry.flags()),
                None => {}
            }
        }
    }

    /// Whether the kernel has completions that only an enter brings.
    fn kernel_holds_completions(&mut self) -> bool {
        let queue = self.ring.submission();
        self.overflowed |= queue.cq_overflow();
        queue.taskrun() || queue.cq_overflow()
    }

    /// See [`Driver::submit`](ringway_driver::Driver::submit).
    ///
    /// # Safety
    /// As there.
    pub(crate) unsafe fn submit(
        &mut self,
        token: Token,
        op: Op,
        credentials: Option<Identity>,
        by: By,
    ) {
        if matches!(op, Op::Accept { .. } | Op::AcceptMulti { .. }) {
            self.settle_cancels();
        }
        let entry = sqe::encode(&op, self.zc_flags).filter(|_| self.ops.contains(op.kind()));
        let entry = match by {
            By::Ring => entry,
            By::Worker => entry.map(sqe::by_worker),
        };
        let entry = entry.ok_or(-libc::EOPNOTSUPP).and_then(|entry| match credentials {
            None => Ok(entry),
            Some(credentials) => Ok(entry.personality(self.personality(credentials)?)),
        });
        match entry {
            Ok(entry) => self.push(entry.user_data(token.user_data())),
            Err(result) => self.refused.push(Completion::last(token, result)),
        }
    }

    /// Registers memory; the number by which entries name it.
    ///
    /// # Safety
    /// As for [`Places::register`].
    pub(crate) unsafe fn register_fixed(&mut self, at: *mut u8, len: usize) -> io::Result<u16> {
        let places = self.fixed.as_mut().ok_or(io::ErrorKind::Unsupported)?;
        // SAFETY: the caller's promise, unchanged.
        unsafe { places.register(&self.ring, at, len) }
    }

    pub(crate) fn unregister_fixed(&mut self, place: u16) {
        if let Some(places) = &mut self.fixed {
            places.unregister(&self.ring, place);
        }
    }

    /// The number under which the ring knows `credentials`, or a negated errno.
    fn personality(&mut self, credentials: Identity) -> Result<u16, i32> {
        if let Some(known) = self.personalities.get(&self.ring, &credentials)? {
            return Ok(known);
        }
        if self.personalities.is_full() {
            // Entries name an identity by its number, which must not become another's before they
            // have been taken.
            self.refill();
            let _ = self.enter(0, EnterFlags::empty(), None);
            if !self.backlog.is_empty() || !self.ring.submission().is_empty() {
                return Err(-libc::EAGAIN);
            }
            self.personalities.forget_oldest(&self.ring);
        }
        self.personalities.register(&self.ring, credentials)
    }

    /// Lets receives pick buffers from `group`.
    ///
    /// # Errors
    /// `Unsupported` where there are no such groups; the kernel's, `ENOMEM` among them.
    ///
    /// # Safety
    /// `group`, and every buffer that is given to it, live until [`Self::unregister_group`] has
    /// succeeded, or the ring is closed and idle.
    pub(crate) unsafe fn register_group(&mut self, group: &Group) -> io::Result<Registration> {
        let groups = self.groups.as_mut().ok_or(io::ErrorKind::Unsupported)?;
        // SAFETY: the caller's promise.
        unsafe { groups.register(&self.ring, group) }
    }

    /// Ends what [`Self::register_group`] began. No receive from the group may be in flight.
    pub(crate) fn unregister_group(&mut self, registration: Registration) -> io::Result<()> {
        let groups = self.groups.as_mut().ok_or(io::ErrorKind::Unsupported)?;
        groups.unregister(&self.ring, registration)
    }

    /// See [`Driver::cancel`](ringway_driver::Driver::cancel). Not for what [`is_hashed`].
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

    /// See [`Driver::turn`](ringway_driver::Driver::turn). `busy`: there is other work beside it, which is not
    /// to get many turns to one of a completion.
    pub(crate) fn turn(
        &mut self,
        busy: bool,
        timeout: Option<Duration>,
        out: &mut Vec<Completion>,
    ) -> io::Result<()> {
        out.append(&mut self.refused);
        self.arm_wake();
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
        if busy {
            for _ in 1..ENTERS_MAX {
                if !self.kernel_holds_completions() {
                    break;
                }
                self.enter(0, EnterFlags::GETEVENTS, None)?;
                self.reap(out);
            }
        }
        // Completions that did not fit into the queue come only now that there is room.
        while self.ring.submission().cq_overflow() {
            self.overflowed = true;
            self.enter(0, EnterFlags::GETEVENTS, None)?;
            self.reap(out);
        }
        Ok(())
    }
}

impl Drop for UringDriver {
    fn drop(&mut self) {
        if let Some(registered) = &self.registered {
            registered.unregister(&self.ring);
        }
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
        buffer_more: cqueue::buffer_more(entry.flags()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Instant;

    use super::*;

    /// Several times what the completion queue holds.
    const MANY: u32 = 5000;

    fn on_each_ring(test: fn(UringDriver)) {
        for sleep in [Sleep::InRing, Sleep::InEpoll] {
            match UringDriver::open(sleep, Mask::none(), 0) {
                Ok((ring, _)) => test(ring),
                Err(error) => eprintln!("SKIPPED: {error}"),
            }
        }
    }

    fn submit_many(ring: &mut UringDriver, op: Op) {
        for index in 0..MANY {
            // SAFETY: a no-op or a poll names no memory, and the descriptor outlives the driver.
            unsafe { ring.submit(Token::new(index, 1), op, None, By::Ring) }
        }
    }

    /// Takes completions until none is owed; each token comes once.
    fn drain(ring: &mut UringDriver) -> Vec<Completion> {
        let mut out = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(20);
        while out.len() < MANY as usize {
            assert!(Instant::now() < deadline, "{} of {MANY} completed", out.len());
            let mut turn = Vec::new();
            ring.turn(false, Some(Duration::from_millis(100)), &mut turn).unwrap();
            out.append(&mut turn);
        }
        let tokens: HashSet<_> = out.iter().map(|completion| completion.token).collect();
        assert_eq!((tokens.len(), out.len()), (MANY as usize, MANY as usize));
        out
    }

    #[test]
    fn more_operations_than_the_queues_hold_all_complete() {
        on_each_ring(|mut ring| {
            submit_many(&mut ring, Op::Nop);
            assert!(drain(&mut ring).iter().all(|completion| completion.result == 0));
        });
    }

    #[test]
    fn more_cancels_than_the_queues_hold_are_all_carried_out() {
        on_each_ring(|mut ring| {
            let (reader, _writer) = io::pipe().unwrap();
            submit_many(&mut ring, Op::Poll { fd: reader.as_raw_fd(), events: libc::POLLIN });
            (0..MANY).for_each(|index| ring.cancel(Token::new(index, 1)));
            let out = drain(&mut ring);
            assert!(out.iter().all(|completion| completion.result == -libc::ECANCELED));
        });
    }

    #[test]
    fn an_operation_without_a_form_on_the_ring_is_answered() {
        on_each_ring(|mut ring| {
            let chmod = Op::Chmod { fd: -1, mode: 0 };
            // SAFETY: it names nothing, and does not reach the kernel.
            unsafe { ring.submit(Token::new(0, 1), chmod, None, By::Ring) }
            let mut out = Vec::new();
            ring.turn(false, None, &mut out).unwrap();
            assert_eq!(out, [Completion::last(Token::new(0, 1), -libc::EOPNOTSUPP)]);
        });
    }
}
