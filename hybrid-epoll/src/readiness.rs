//! Who waits for which descriptor, and when another try is worth it.
//!
//! A descriptor whose owner promises to say when it closes it ([`Readiness::adopt`]) goes into the set
//! once, with its first wait, for every edge; its slot remembers what was ready. Any other is in the
//! set only while somebody waits for it, armed for one event, and nothing is remembered: its number
//! may be closed and used again unseen, and must not be taken for its predecessor.

use std::cell::Cell;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use libc::{POLLERR, POLLHUP, POLLIN, POLLOUT, POLLPRI, POLLRDHUP};
use ringway_driver::{Completion, Op, Token};

use crate::notifier::Notifier;
use crate::request::{Request, Side};
use crate::set::{self, EVENTS_MAX, Flags, Set};
use crate::slot::Slot;
use crate::waiting::Waiting;

/// How many events a wait takes beside nothing else: so few that what sockets have brought is still in the
/// processor's cache when it is answered. With 16 KiB from each, 16 at a time are a quarter quicker than 64
/// (512 connections, 2 MiB of cache); with 64 bytes there is no difference. Beside other work it takes
/// [`EVENTS_MAX`], or sockets would get fewer turns than that.
const FEW: usize = 16;

/// What a descriptor that is in the set for good has events for.
const EDGES: i16 = POLLIN | POLLOUT | POLLPRI | POLLRDHUP;

/// The set, the descriptors and those who wait for them.
pub(crate) struct Readiness {
    set: Set,
    notifier: Arc<Notifier>,
    /// By number. As long as the highest number that was adopted or waited for.
    slots: Vec<Slot>,
    waiting: Waiting,
    ring_ready: bool,
    /// The last wait took as many events as it wanted.
    was_full: bool,
    /// Somebody sleeps on the set's descriptor instead of in [`Self::wait`].
    watched: Cell<bool>,
}

impl Readiness {
    pub(crate) fn new() -> io::Result<Self> {
        let notifier = Arc::new(Notifier::new()?);
        Ok(Self {
            set: Set::new(notifier.event())?,
            notifier,
            slots: Vec::new(),
            waiting: Waiting::default(),
            ring_ready: false,
            was_full: false,
            watched: Cell::new(false),
        })
    }

    pub(crate) fn notifier(&self) -> &Arc<Notifier> {
        &self.notifier
    }

    /// How many operations wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The set's descriptor, for somebody else to sleep on, from now on.
    pub(crate) fn watched(&self) -> BorrowedFd<'_> {
        if !self.watched.replace(true) && self.notifier.wake_up(true) {
            self.notifier.notify();
        }
        self.set.as_fd()
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.watched.get()
    }

    /// Whether the last wait may have left events behind.
    pub(crate) fn has_more(&self) -> bool {
        self.was_full
    }

    pub(crate) fn watch_ring(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.set.add_ring(fd)
    }

    pub(crate) fn take_ring_ready(&mut self) -> bool {
        std::mem::take(&mut self.ring_ready)
    }

    /// See [`ringway_driver::Driver::adopt`].
    pub(crate) fn adopt(&mut self, fd: RawFd, done: &mut Vec<Completion>) {
        self.forget(fd, done);
        let Some(slot) = grow(&mut self.slots, fd) else { return };
        slot.adopt();
        if slot.in_set
            && let Err(error) = self.set.add_edges(fd)
        {
            slot.in_set = false;
            fail(slot, &mut self.waiting, errno(&error), done);
        }
    }

    /// See [`ringway_driver::Driver::forget`].
    pub(crate) fn forget(&mut self, fd: RawFd, done: &mut Vec<Completion>) {
        let Some(slot) = self.slots.get_mut(fd as usize).filter(|slot| slot.adopted) else {
            return;
        };
        fail(slot, &mut self.waiting, libc::ECANCELED, done);
        if slot.in_set {
            self.set.remove(fd);
        }
        *slot = Slot::default();
    }

    /// Whether an attempt on this side has a chance and overtakes nobody.
    pub(crate) fn welcomes(&self, fd: RawFd, side: Side) -> bool {
        self.slots.get(fd as usize).is_none_or(|slot| slot.welcomes(side))
    }

    /// An attempt of `op` has been made by a newcomer; `short` if it got less than it asked for.
    pub(crate) fn note(&mut self, fd: RawFd, side: Side, answer: Option<i32>, short: bool) {
        let Some(slot) = self.slots.get_mut(fd as usize) else { return };
        note(slot, fd, side, answer, short);
    }

    /// Lets `request` wait; gives it back with the reason if the descriptor cannot be waited for
    /// (`EPERM`: a file, which is always ready).
    pub(crate) fn park(
        &mut self,
        request: Request,
        fd: RawFd,
        side: Side,
    ) -> Result<(), (Request, io::Error)> {
        let refused = |request, errno| Err((request, io::Error::from_raw_os_error(errno)));
        let token = request.token;
        let Some(slot) = grow(&mut self.slots, fd) else { return refused(request, libc::EBADF) };
        if let Err(request) = self.waiting.push(slot.queue(side), request) {
            return refused(request, libc::EEXIST);
        }
        let Err(error) = ask(slot, &mut self.waiting, &self.set, fd) else { return Ok(()) };
        let request = self.waiting.remove(slot.queue(side), token);
        leave_if_idle(slot, &self.set, fd);
        request.map_or(Ok(()), |request| Err((request, error)))
    }

    /// Ends the wait of `token`, if it waits here.
    pub(crate) fn take(&mut self, token: Token) -> Option<Request> {
        let (fd, side) = self.waiting.find(token)?.waits_for()?;
        let slot = self.slots.get_mut(fd as usize)?;
        let request = self.waiting.remove(slot.queue(side), token)?;
        // Others keep what is armed: an event that nobody asks for any more costs one look.
        leave_if_idle(slot, &self.set, fd);
        Some(request)
    }

    /// Sleeps until something is ready, a notification comes or `timeout` has passed, and gives
    /// everybody whose descriptor is ready another try. `busy`: there is other work beside it. Tells
    /// whether there was a notification.
    pub(crate) fn wait(
        &mut self,
        timeout: Option<Duration>,
        busy: bool,
        done: &mut Vec<Completion>,
    ) -> io::Result<bool> {
        let sleeps = timeout != Some(Duration::ZERO) && self.notifier.fall_asleep();
        let most = if busy { EVENTS_MAX } else { FEW };
        let events = self.set.wait(if sleeps { timeout } else { Some(Duration::ZERO) }, most);
        let notified = self.notifier.wake_up(self.watched.get());
        let events = events?;
        self.was_full = events == most;
        for index in 0..events {
            match self.set.event(index) {
                Some((set::RING, _)) => self.ring_ready = true,
                Some((key, flags)) => self.serve(key, flags, done),
                None => {}
            }
        }
        Ok(notified)
    }

    /// Another try for everybody whom `flags` may concern, in turn.
    fn serve(&mut self, key: u64, flags: Flags, done: &mut Vec<Completion>) {
        // Keys that are no descriptor's have done their part by ending the wait.
        let Ok(fd) = RawFd::try_from(key) else { return };
        let Some(slot) = self.slots.get_mut(fd as usize) else { return };
        slot.hear(flags);
        slot.armed = None;
        for side in [Side::Reader, Side::Writer] {
            serve_in_turn(slot, &mut self.waiting, fd, side, done);
        }
        serve_polls(slot, &mut self.waiting, flags, done);
        if slot.adopted || leave_if_idle(slot, &self.set, fd) {
            return;
        }
        if let Err(error) = ask(slot, &mut self.waiting, &self.set, fd) {
            fail(slot, &mut self.waiting, errno(&error), done);
            leave_if_idle(slot, &self.set, fd);
        }
    }
}

/// The slot of `fd`, made if need be; `None` for no descriptor.
fn grow(slots: &mut Vec<Slot>, fd: RawFd) -> Option<&mut Slot> {
    let at = usize::try_from(fd).ok()?;
    if slots.len() <= at {
        slots.resize_with(at + 1, Slot::default);
    }
    slots.get_mut(at)
}

/// Sees to it that the set has an event when any who wait can go on.
fn ask(slot: &mut Slot, waiting: &mut Waiting, set: &Set, fd: RawFd) -> io::Result<()> {
    if slot.adopted {
        if !slot.in_set {
            set.add_edges(fd)?;
        }
    } else {
        let wanted = wanted(slot, waiting);
        if slot.armed.is_some_and(|armed| wanted & !armed == 0) {
            return Ok(());
        }
        // Somebody who polls wants exactly these events.
        set.arm(fd, wanted, !slot.polls.is_empty(), slot.in_set)?;
        slot.armed = Some(wanted);
    }
    slot.in_set = true;
    Ok(())
}

fn wanted(slot: &Slot, waiting: &mut Waiting) -> i16 {
    let mut wanted = 0;
    if !slot.readers.is_empty() {
        wanted |= POLLIN;
    }
    if !slot.writers.is_empty() {
        wanted |= POLLOUT;
    }
    let mut next = waiting.first(slot.polls);
    while let Some(request) = next {
        if let Some((_, Side::Events(events))) = request.waits_for() {
            wanted |= events;
        }
        let token = request.token;
        next = waiting.next(token);
    }
    wanted
}

/// Takes a descriptor that is not adopted out of the set if nobody waits for it; tells whether
/// nobody does.
///
/// The operation that waited last has not been reported yet, so the descriptor is still open, as the
/// contract of `Driver::submit` has it.
fn leave_if_idle(slot: &mut Slot, set: &Set, fd: RawFd) -> bool {
    if slot.adopted || !slot.is_idle() {
        return false;
    }
    if slot.in_set {
        set.remove(fd);
    }
    *slot = Slot::default();
    true
}

fn note(slot: &mut Slot, fd: RawFd, side: Side, answer: Option<i32>, short: bool) {
    match answer {
        None => slot.note_empty(side),
        Some(_) if short => slot.note_short(fd),
        Some(_) => {}
    }
}

fn serve_in_turn(
    slot: &mut Slot,
    waiting: &mut Waiting,
    fd: RawFd,
    side: Side,
    done: &mut Vec<Completion>,
) {
    while slot.is_ready(side)
        && let Some(request) = waiting.first(*slot.queue(side))
    {
        let answer = request.attempt();
        let (token, short) = (request.token, answer.is_some_and(|result| request.is_short(result)));
        note(slot, fd, side, answer, short);
        let Some(result) = answer else { return };
        done.push(Completion::last(token, result));
        waiting.remove(slot.queue(side), token);
    }
}

fn serve_polls(slot: &mut Slot, waiting: &mut Waiting, flags: Flags, done: &mut Vec<Completion>) {
    let mut next = waiting.first(slot.polls).map(|request| request.token);
    while let Some(token) = next {
        next = waiting.next(token).map(|request| request.token);
        let Some(request) = waiting.find(token) else { return };
        if (!slot.adopted || concerns(flags, request.op()))
            && let Some(result) = request.attempt()
        {
            done.push(Completion::last(token, result));
            waiting.remove(&mut slot.polls, token);
        }
    }
}

/// Whether an edge can be what a poll waits for. Of events that have no edges of their own, such as
/// `POLLRDNORM`, any may be.
fn concerns(flags: Flags, op: &Op) -> bool {
    let Op::Poll { events, .. } = *op else { return true };
    let waits_for = u32::from((events | POLLERR | POLLHUP).cast_unsigned());
    flags.bits() & waits_for != 0 || events & !(EDGES | POLLERR | POLLHUP) != 0
}

/// Ends everybody who waits.
fn fail(slot: &mut Slot, waiting: &mut Waiting, errno: i32, done: &mut Vec<Completion>) {
    for queue in [&mut slot.readers, &mut slot.writers, &mut slot.polls] {
        while let Some(request) = waiting.pop(queue) {
            done.push(request.fail(errno));
        }
    }
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}
