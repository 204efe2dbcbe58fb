//! Who waits for which descriptor, and the epoll set that says when it is worth another try.
//!
//! A descriptor is in the set only while somebody waits for it, armed for one event. So a number
//! that is closed and used again cannot be taken for its predecessor.

#![allow(unsafe_code, reason = "borrows descriptors that a waiting operation keeps open")]

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use libc::{POLLIN, POLLOUT};
use polling::{Event, Events, PollMode, Poller};
use ringway_driver::{Completion, Token};
use rustix::event::epoll;

use crate::request::{Request, Side, take};

/// The key of a watched ring; other keys are descriptors. (`usize::MAX` is the crate's own.)
const RING: usize = usize::MAX - 1;

/// The epoll set and the queues behind it.
pub(crate) struct Readiness {
    poller: Arc<Poller>,
    events: Events,
    waiting: HashMap<RawFd, Waiting>,
    /// Where each waiting operation waits.
    places: HashMap<Token, RawFd>,
    ring_ready: bool,
}

/// Those who wait for one descriptor.
#[derive(Default)]
struct Waiting {
    /// First come, first served.
    readers: VecDeque<Request>,
    writers: VecDeque<Request>,
    polls: VecDeque<Request>,
    registered: bool,
    /// The events that the set is armed for; `None` after it has fired.
    armed: Option<i16>,
}

impl Readiness {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            poller: Arc::new(Poller::new()?),
            events: Events::new(),
            waiting: HashMap::new(),
            places: HashMap::new(),
            ring_ready: false,
        })
    }

    pub(crate) fn poller(&self) -> &Arc<Poller> {
        &self.poller
    }

    pub(crate) fn watch_ring(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let event = Event::readable(RING);
        // SAFETY: epoll itself forgets a descriptor whose last copy is closed, so nothing is left
        // behind by a ring that goes first.
        unsafe { self.poller.add_with_mode(fd.as_raw_fd(), event, PollMode::Level) }
    }

    pub(crate) fn take_ring_ready(&mut self) -> bool {
        std::mem::take(&mut self.ring_ready)
    }

    /// Whether somebody waits on this side already, whose turn comes first.
    pub(crate) fn has_queue(&self, fd: RawFd, side: Side) -> bool {
        self.waiting.get(&fd).is_some_and(|waiting| match side {
            Side::Reader => !waiting.readers.is_empty(),
            Side::Writer => !waiting.writers.is_empty(),
            Side::Events(_) => false,
        })
    }

    /// Lets `request` wait; gives it back with the reason if the descriptor cannot be waited for
    /// (`EPERM`: a file, which is always ready).
    pub(crate) fn park(
        &mut self,
        request: Request,
        fd: RawFd,
        side: Side,
    ) -> Result<(), (Request, io::Error)> {
        let token = request.token;
        let waiting = self.waiting.entry(fd).or_default();
        waiting.queue(side).push_back(request);
        let Err(error) = waiting.arm(&self.poller, fd) else {
            self.places.insert(token, fd);
            return Ok(());
        };
        let request = waiting.queue(side).pop_back();
        self.forget_if_idle(fd);
        request.map_or(Ok(()), |request| Err((request, error)))
    }

    /// Ends the wait of `token`, if it waits here.
    pub(crate) fn take(&mut self, token: Token) -> Option<Request> {
        let fd = self.places.remove(&token)?;
        let waiting = self.waiting.get_mut(&fd)?;
        let queues = [&mut waiting.readers, &mut waiting.writers, &mut waiting.polls];
        let request = queues.into_iter().find_map(|queue| take(queue, token))?;
        self.forget_if_idle(fd);
        Some(request)
    }

    /// Sleeps until something is ready, a notification comes or `timeout` has passed, and gives
    /// everybody whose descriptor is ready another try. An interrupted sleep goes on.
    pub(crate) fn wait(
        &mut self,
        timeout: Option<Duration>,
        done: &mut Vec<Completion>,
    ) -> io::Result<()> {
        self.events.clear();
        self.poller.wait(&mut self.events, timeout)?;
        let first = done.len();
        for event in self.events.iter() {
            if event.key == RING {
                self.ring_ready = true;
                continue;
            }
            let fd = event.key as RawFd;
            let Some(waiting) = self.waiting.get_mut(&fd) else { continue };
            waiting.serve(&event, done);
            if waiting.is_idle() {
                forget(&mut self.waiting, &self.poller, fd);
            } else if let Err(error) = waiting.arm(&self.poller, fd) {
                waiting.fail(&error, done);
                forget(&mut self.waiting, &self.poller, fd);
            }
        }
        for completion in &done[first..] {
            self.places.remove(&completion.token);
        }
        Ok(())
    }

    /// Takes `fd` out of the set if nobody waits for it. Others keep what is armed: an event that
    /// nobody asks for any more costs one look.
    fn forget_if_idle(&mut self, fd: RawFd) {
        if self.waiting.get(&fd).is_some_and(Waiting::is_idle) {
            forget(&mut self.waiting, &self.poller, fd);
        }
    }
}

fn forget(table: &mut HashMap<RawFd, Waiting>, poller: &Poller, fd: RawFd) {
    if table.remove(&fd).is_some_and(|waiting| waiting.registered) {
        // SAFETY: the operation that waited last has not been reported yet, so its descriptor is
        // still open, as the contract of `Driver::submit` has it.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        // If the descriptor was closed against the contract, the set has forgotten it already.
        let _ = poller.delete(fd);
    }
}

impl Waiting {
    fn queue(&mut self, side: Side) -> &mut VecDeque<Request> {
        match side {
            Side::Reader => &mut self.readers,
            Side::Writer => &mut self.writers,
            Side::Events(_) => &mut self.polls,
        }
    }

    fn is_idle(&self) -> bool {
        self.readers.is_empty() && self.writers.is_empty() && self.polls.is_empty()
    }

    /// Another try for everybody whom `event` may concern, in turn.
    fn serve(&mut self, event: &Event, done: &mut Vec<Completion>) {
        self.armed = None;
        if event.readable {
            serve_in_turn(&mut self.readers, done);
        }
        if event.writable {
            serve_in_turn(&mut self.writers, done);
        }
        self.polls.retain_mut(|request| match request.attempt() {
            Some(result) => {
                done.push(Completion::last(request.token, result));
                false
            }
            None => true,
        });
    }

    fn fail(&mut self, error: &io::Error, done: &mut Vec<Completion>) {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        let queues = [&mut self.readers, &mut self.writers, &mut self.polls];
        for request in queues.into_iter().flat_map(|queue| queue.drain(..)) {
            done.push(request.fail(errno));
        }
    }

    /// Asks the set for one event that concerns anybody who waits.
    fn arm(&mut self, poller: &Poller, fd: RawFd) -> io::Result<()> {
        let wanted = self.wanted();
        if self.armed.is_some_and(|armed| wanted & !armed == 0) {
            return Ok(());
        }
        // SAFETY: whoever waits keeps the descriptor open until it is told, and it is told after
        // `forget`.
        let source = unsafe { BorrowedFd::borrow_raw(fd) };
        let modify = self.registered
            || match self.register(poller, source, wanted, false) {
                Ok(()) => false,
                // A copy of the descriptor kept an entry of this number alive.
                Err(error) if error.raw_os_error() == Some(libc::EEXIST) => true,
                Err(error) => return Err(error),
            };
        if modify {
            self.register(poller, source, wanted, true)?;
        }
        (self.registered, self.armed) = (true, Some(wanted));
        Ok(())
    }

    fn wanted(&self) -> i16 {
        let mut wanted = 0;
        if !self.readers.is_empty() {
            wanted |= POLLIN;
        }
        if !self.writers.is_empty() {
            wanted |= POLLOUT;
        }
        for request in &self.polls {
            if let Some((_, Side::Events(events))) = request.waits_for() {
                wanted |= events;
            }
        }
        wanted
    }

    fn register(
        &self,
        poller: &Poller,
        source: BorrowedFd<'_>,
        wanted: i16,
        modify: bool,
    ) -> io::Result<()> {
        let key = source.as_raw_fd() as usize;
        if self.polls.is_empty() {
            let event = Event::new(key, wanted & POLLIN != 0, wanted & POLLOUT != 0);
            return if modify {
                poller.modify(source, event)
            } else {
                // SAFETY: the descriptor leaves the set in `forget`, before it may be closed.
                unsafe { poller.add(&source, event) }
            };
        }
        // Somebody wants exactly these. To the poller "readable" includes urgent data, and it has
        // no word for POLLRDHUP: arming more than is wanted would wake again and again.
        let flags = u32::from(wanted.cast_unsigned());
        let flags = epoll::EventFlags::from_bits_retain(flags) | epoll::EventFlags::ONESHOT;
        let data = epoll::EventData::new_u64(key as u64);
        let change = if modify { epoll::modify } else { epoll::add };
        Ok(change(poller, source, data, flags)?)
    }
}

fn serve_in_turn(queue: &mut VecDeque<Request>, done: &mut Vec<Completion>) {
    while let Some(request) = queue.front_mut() {
        let Some(result) = request.attempt() else { break };
        done.push(Completion::last(request.token, result));
        queue.pop_front();
    }
}
