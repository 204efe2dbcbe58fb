//! A pool of receive buffers that connections share: memory is in use where there is data, not where
//! there is a connection.
//!
//! On a ring it is a group of provided buffers: the kernel picks one when data comes. Elsewhere it is a
//! list. Either way a buffer is used up piece by piece where it can be, and every piece is a share of it
//! ([`RecvBuf`](super::RecvBuf)); with the last share it is free again.

#![allow(unsafe_code, reason = "owns memory that the kernel writes to")]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::mem;
use std::rc::{Rc, Weak};
use std::task::Waker;

use ringway_driver::OpKind;
use tracing::debug;

use super::recv_buf::Inbox;
use super::recv_memory::Memory;
use super::socket::Socket;
use crate::runtime::Core;
use crate::uring::provided::{Group, Registration};

/// What a stream may hold of a small pool: one buffer to look at while it waits for the next.
const SHARE_MIN: u32 = 2;

/// The largest buffer: more than sockets keep for one receive.
const SIZE_MAX: usize = 16 << 20;

/// Receive buffers for any number of streams of one runtime; clones are the same pool.
///
/// It belongs to the runtime that it is first used on. Where that has provided buffers (Linux 5.19, and
/// a ring), the kernel picks a buffer for a connection when data for it arrives; where not, the runtime
/// does. An idle connection holds none.
///
/// When all buffers are in use, connections with more data wait, unnoticed by their peers until the
/// socket's own memory is full, until buffers come back. So whoever holds all of them and waits for more
/// waits for ever: copy what is to be kept. One stream has its share ([`RecvPool::share_max`]), so that a
/// slow one does not stop others.
///
/// The memory is freed with the last of the pool's handles, streams and buffers, after the kernel has
/// let go of it.
#[derive(Clone)]
pub struct RecvPool(Rc<Shared>);

impl RecvPool {
    /// The most buffers that a pool can have: the kernel's limit.
    pub const COUNT_MAX: u16 = Group::BUFFERS_MAX;

    /// A pool of `count` buffers of `size` bytes. Their memory is reserved now and taken when it is
    /// first used.
    ///
    /// # Errors
    /// `InvalidInput` for no buffers, more than [`RecvPool::COUNT_MAX`], or a size of zero or above
    /// 16 MiB.
    pub fn new(count: u16, size: usize) -> io::Result<Self> {
        if count == 0 || count > Self::COUNT_MAX || size == 0 || size > SIZE_MAX {
            let text = format!("a pool of {count} receive buffers of {size} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let buffer = Buffer { used: 0, shares: 0, open: true };
        let state = State {
            place: Place::Nowhere,
            size: size as u32,
            buffers: vec![buffer; usize::from(count)].into_boxed_slice(),
            free: (0..count).collect(),
            available: usize::from(count),
            freed: 0,
            line: Vec::new(),
        };
        Ok(Self(Rc::new(Shared {
            memory: Memory::new(usize::from(count) * size)?,
            size,
            share_max: Cell::new(u32::from(count / 4).max(SHARE_MIN)),
            state: RefCell::new(state),
        })))
    }

    /// How many buffers, at least one, a stream and those who got buffers from it hold at most; a quarter
    /// of them, at least two, if nothing is said. What the kernel receives beyond that, before it can be told to stop,
    /// is copied to memory of its own.
    #[must_use]
    pub fn share_max(self, buffers: u16) -> Self {
        self.0.share_max.set(u32::from(buffers).max(1));
        self
    }

    /// How many buffers further data can go to.
    #[must_use]
    pub fn available(&self) -> usize {
        self.0.state.borrow().available
    }

    pub(super) fn shared(&self) -> &Rc<Shared> {
        &self.0
    }
}

impl fmt::Debug for RecvPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.state.borrow();
        f.debug_struct("RecvPool")
            .field("count", &state.buffers.len())
            .field("size", &self.0.size)
            .field("available", &state.available)
            .field("provided", &matches!(state.place, Place::Ring { .. }))
            .finish()
    }
}

/// A part of a buffer that holds received bytes: one share of it, to be given back once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    id: u16,
    start: u32,
    len: u32,
}

impl Piece {
    /// Appends `next` if it lies right behind; the two are one share then, and it is for the caller to
    /// give the other one back.
    pub(super) fn join(&mut self, next: Self) -> bool {
        let behind = next.id == self.id && next.start == self.start + self.len;
        if behind {
            self.len += next.len;
        }
        behind
    }

    pub(super) fn id(self) -> u16 {
        self.id
    }
}

/// What one attempt to receive without a ring came to.
pub(super) enum Received {
    Piece(Piece),
    /// In memory of its own, while the pool's is with a ring.
    Own(Box<[u8]>),
    End,
    NoBuffer,
}

/// The pool, as its handles, streams and buffers share it.
pub(super) struct Shared {
    memory: Memory,
    size: usize,
    share_max: Cell<u32>,
    state: RefCell<State>,
}

struct State {
    place: Place,
    size: u32,
    buffers: Box<[Buffer]>,
    /// The open buffers of a pool without a ring. The first one is being used up.
    free: VecDeque<u16>,
    /// How many buffers are open.
    available: usize,
    /// How often a buffer has become free.
    freed: u64,
    /// Streams that wait for that.
    line: Vec<Weak<Inbox>>,
}

#[derive(Clone, Copy)]
struct Buffer {
    /// How many bytes from the start have been received into it.
    used: u32,
    /// How many pieces of it are held.
    shares: u32,
    /// More can be received into it.
    open: bool,
}

enum Place {
    /// Not used yet.
    Nowhere,
    /// On a runtime without provided buffers, or after the end of one.
    List,
    /// With the kernel.
    Ring { core: Weak<Core>, group: Group, registration: Registration },
}

impl Shared {
    /// Makes the pool known to the runtime if it is not; `None` where receives do not pick from it.
    ///
    /// # Errors
    /// `InvalidInput` when it belongs to another runtime.
    pub(super) fn attach(&self, core: &Rc<Core>) -> io::Result<Option<Registration>> {
        let mut state = self.state.borrow_mut();
        match &state.place {
            Place::Ring { core: owner, registration, .. } => {
                if owner.as_ptr() == Rc::as_ptr(core) {
                    return Ok(Some(*registration));
                }
                if owner.strong_count() > 0 {
                    let text = "a RecvPool belongs to the runtime that it was first used on";
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
                }
                state.take_back();
                Ok(None)
            }
            Place::List => Ok(None),
            Place::Nowhere => {
                let settled = state.settle(core, &self.memory);
                drop(state);
                Ok(settled.unwrap_or_else(|error| {
                    let errno = error.raw_os_error();
                    debug!(errno, %error, "receive buffers are not provided to the ring");
                    None
                }))
            }
        }
    }

    /// How many buffers one stream may hold.
    pub(super) fn limit(&self) -> u32 {
        self.share_max.get()
    }

    pub(super) fn available(&self) -> usize {
        self.state.borrow().available
    }

    pub(super) fn freed(&self) -> u64 {
        self.state.borrow().freed
    }

    /// Lets `inbox` be woken when a buffer becomes free.
    pub(super) fn wait_in_line(&self, inbox: &Rc<Inbox>) {
        if inbox.enter_line() {
            return;
        }
        let line = &mut self.state.borrow_mut().line;
        // Before it grows, those who are gone leave.
        if line.len() == line.capacity() {
            line.retain(|inbox| inbox.strong_count() > 0);
        }
        line.push(Rc::downgrade(inbox));
    }

    /// What the kernel says that it has received: `len` bytes into buffer `id` and, if it may fill
    /// several, those after it. To be told in the order of the completions. `more`: the kernel goes on
    /// with the buffer.
    ///
    /// # Errors
    /// When that does not go with what the kernel was given.
    pub(super) fn received(
        &self,
        id: u16,
        len: u32,
        more: bool,
        mut each: impl FnMut(Piece),
    ) -> io::Result<()> {
        let (mut id, mut left) = (id, len);
        loop {
            let mut state = self.state.borrow_mut();
            let bundle = match &state.place {
                Place::Ring { registration, .. } => registration.bundle,
                Place::Nowhere | Place::List => false,
            };
            let room = state.room(id).ok_or_else(unknown_buffer)?;
            if left > room && !bundle {
                return Err(unknown_buffer());
            }
            let part = left.min(room);
            let piece = state.fill(id, part, more);
            left -= part;
            let next = state.after(id);
            drop(state);
            each(piece);
            if left == 0 {
                return Ok(());
            }
            id = next;
        }
    }

    /// The kernel names buffer `id` and has received nothing. One that is used up piece by piece stays
    /// with it (where a completion's flags say otherwise, they are wrong: seen in 6.19); another is used
    /// up.
    pub(super) fn wasted(&self, id: u16, wake: &mut Vec<Waker>) {
        let mut state = self.state.borrow_mut();
        let piecewise = match &state.place {
            Place::Ring { registration, .. } => registration.incremental,
            Place::Nowhere | Place::List => true,
        };
        if !piecewise && state.room(id).is_some() {
            let piece = state.fill(id, 0, false);
            state.release(piece.id, &self.memory, wake);
        }
    }

    /// Receives what `socket` has, without waiting, if the pool is not with a ring into one of its
    /// buffers.
    pub(super) fn receive(&self, socket: &Socket, core: &Core) -> io::Result<Received> {
        let mut state = self.state.borrow_mut();
        if matches!(state.place, Place::Ring { .. }) {
            drop(state);
            let mut bytes = vec![0; self.size];
            let len = socket.recv_now(core, &mut bytes)?;
            bytes.truncate(len);
            return Ok(if len == 0 { Received::End } else { Received::Own(bytes.into()) });
        }
        let Some(&id) = state.free.front() else { return Ok(Received::NoBuffer) };
        let used = state.rewind(id);
        // SAFETY: the buffer is open and in the list, so bytes from `used` on are in no piece, nor with
        // the kernel, and the state stays borrowed while they are referred to.
        let room = unsafe {
            self.memory.slice_mut(self.at(id) + used as usize, self.size - used as usize)
        };
        let len = socket.recv_now(core, room)?;
        if len == 0 {
            return Ok(Received::End);
        }
        let full = len == self.size - used as usize;
        let piece = state.fill(id, len as u32, !full);
        if full {
            state.free.pop_front();
        }
        Ok(Received::Piece(piece))
    }

    /// The bytes of a piece that is held.
    pub(super) fn bytes(&self, piece: &Piece) -> &[u8] {
        // SAFETY: `fill` has counted the piece: its bytes have been written, and nobody writes there
        // before the piece's share is given back, which ends the borrow.
        unsafe { self.memory.slice(self.at(piece.id) + piece.start as usize, piece.len as usize) }
    }

    /// Gives a share of buffer `id` back. Who is to be woken for it goes to `wake`.
    pub(super) fn release(&self, id: u16, wake: &mut Vec<Waker>) {
        self.state.borrow_mut().release(id, &self.memory, wake);
    }

    fn at(&self, id: u16) -> usize {
        usize::from(id) * self.size
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let Place::Ring { core, group, registration } =
            mem::replace(&mut self.state.get_mut().place, Place::List)
        else {
            return;
        };
        // Without a runtime the ring is closed and idle: it waits for its operations, or is leaked, and
        // operations that pick from the group hold the pool.
        let Some(core) = core.upgrade() else { return };
        if core.ops.unregister_group(registration).is_err() {
            // The kernel may still use both.
            mem::forget(group);
            self.memory.leak();
        }
    }
}

impl State {
    /// The first use of the pool decides where it is.
    ///
    /// # Errors
    /// When there is a ring that could pick from it, and does not take it: it is a list then.
    fn settle(&mut self, core: &Rc<Core>, memory: &Memory) -> io::Result<Option<Registration>> {
        self.place = Place::List;
        if !core.ops.has_multi(OpKind::RecvMulti) {
            return Ok(None);
        }
        let group = Group::new((self.buffers.len() as u16).next_power_of_two());
        // SAFETY: group and memory belong to the pool, whose drop unregisters the group, or finds the
        // ring closed and idle, or leaks them.
        let registration = unsafe { core.ops.register_group(&group) }?;
        self.place = Place::Ring { core: Rc::downgrade(core), group, registration };
        for id in mem::take(&mut self.free) {
            self.give(id, memory);
        }
        Ok(Some(registration))
    }

    /// Hands a free buffer to where the next bytes come from.
    fn give(&mut self, id: u16, memory: &Memory) {
        match &mut self.place {
            Place::Ring { group, .. } => {
                let at = usize::from(id) * self.size as usize;
                // SAFETY: the buffer lies within the pool's memory, no piece of it is held, and it is not
                // with the kernel: it was never given, or `fill` has found it closed.
                unsafe { group.give(id, memory.at(at), self.size) };
                group.publish();
            }
            // The one used last is in the cache.
            Place::List | Place::Nowhere => self.free.push_front(id),
        }
    }

    /// The ring is gone; what it had is free.
    fn take_back(&mut self) {
        self.place = Place::List;
        let open = self.buffers.iter().enumerate().filter(|(_, buffer)| buffer.open);
        self.free = open.map(|(id, _)| id as u16).collect();
    }

    /// How much more fits into an open buffer.
    fn room(&self, id: u16) -> Option<u32> {
        let buffer = self.buffers.get(usize::from(id)).filter(|buffer| buffer.open)?;
        self.size.checked_sub(buffer.used)
    }

    /// The buffer that the kernel goes on with behind `id`.
    fn after(&self, id: u16) -> u16 {
        match &self.place {
            Place::Ring { group, .. } => group.after(id),
            Place::Nowhere | Place::List => id,
        }
    }

    /// Begins an open buffer of the list anew if nobody holds a piece of it; tells where.
    fn rewind(&mut self, id: u16) -> u32 {
        let buffer = &mut self.buffers[usize::from(id)];
        if buffer.shares == 0 {
            buffer.used = 0;
        }
        buffer.used
    }

    /// Counts `len` more bytes in an open buffer, which have [`State::room`], as a share.
    fn fill(&mut self, id: u16, len: u32, more: bool) -> Piece {
        let buffer = &mut self.buffers[usize::from(id)];
        let start = buffer.used;
        buffer.used += len;
        buffer.shares += 1;
        if !more {
            buffer.open = false;
            self.available -= 1;
        }
        Piece { id, start, len }
    }

    fn release(&mut self, id: u16, memory: &Memory, wake: &mut Vec<Waker>) {
        let buffer = &mut self.buffers[usize::from(id)];
        buffer.shares -= 1;
        if buffer.shares > 0 || buffer.open {
            return;
        }
        buffer.used = 0;
        buffer.open = true;
        self.available += 1;
        self.freed += 1;
        self.give(id, memory);
        let line = self.line.drain(..).filter_map(|inbox| inbox.upgrade());
        wake.extend(line.filter_map(|inbox| inbox.leave_line()));
    }
}

fn unknown_buffer() -> io::Error {
    io::Error::other("the kernel names a receive buffer that it does not have")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_for_a_buffer_is_as_long_as_there_are_streams_in_it() {
        let pool = RecvPool::new(1, 16).unwrap();
        let stream = || Rc::new(Inbox::new(pool.shared().clone()));
        let waiting = stream();
        for _ in 0..1000 {
            pool.shared().wait_in_line(&waiting);
            pool.shared().wait_in_line(&stream());
        }
        let line = pool.shared().state.borrow().line.len();
        assert!(line < 10, "{line} places for one stream that waits");
    }
}
