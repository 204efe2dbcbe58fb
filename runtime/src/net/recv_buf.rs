//! What a stream has received and who holds it.

#![allow(unsafe_code, reason = "a received buffer can be sent without a copy")]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::rc::Rc;
use std::task::Waker;

use ringway_driver::Completion;

use super::recv_pool::{Piece, Received, Shared};
use crate::buf::IoBuf;
use crate::table::Arrival;
use crate::wake;

/// Received bytes, at least one: a share of a buffer of a [`RecvPool`](super::RecvPool), which its drop
/// gives back.
///
/// It may be held across awaits, outlive its stream, and be sent as it is. See the pool for what holding
/// many of them means.
pub struct RecvBuf {
    part: Part,
    inbox: Rc<Inbox>,
}

enum Part {
    Share(Piece),
    Own(Box<[u8]>),
}

impl Deref for RecvBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.part {
            Part::Share(piece) => self.inbox.pool.bytes(piece),
            Part::Own(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for RecvBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

// SAFETY: the bytes are in a pool's memory or a box's, which do not move with the handle; they were
// received, so initialised; and nobody writes to them while it lives.
unsafe impl IoBuf for RecvBuf {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len()
    }
}

impl Drop for RecvBuf {
    fn drop(&mut self) {
        let mut wake = Vec::new();
        self.inbox.held.set(self.inbox.held.get() - 1);
        self.inbox.give_back(&self.part, &mut wake);
        wake.extend(self.inbox.take_waker());
        wake::all(wake);
    }
}

impl fmt::Debug for RecvBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvBuf").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// What one stream has received, between its operations, itself and those who hold its buffers.
pub(super) struct Inbox {
    pool: Rc<Shared>,
    queue: RefCell<VecDeque<Part>>,
    /// How many parts are in the queue and in hands.
    held: Cell<u32>,
    /// The last answer of an operation that has ended, if it was no bytes.
    end: Cell<Option<i32>>,
    /// The stream is gone.
    abandoned: Cell<bool>,
    /// The operation was asked to end because too much is held.
    stopped: Cell<bool>,
    /// It is in the pool's line for a buffer.
    in_line: Cell<bool>,
    /// The stream, while it waits for a buffer to come back.
    waker: RefCell<Option<Waker>>,
}

impl Inbox {
    pub(super) fn new(pool: Rc<Shared>) -> Self {
        Self {
            pool,
            queue: RefCell::default(),
            held: Cell::new(0),
            end: Cell::new(None),
            abandoned: Cell::new(false),
            stopped: Cell::new(false),
            in_line: Cell::new(false),
            waker: RefCell::default(),
        }
    }

    pub(super) fn pool(&self) -> &Shared {
        &self.pool
    }

    /// The oldest bytes that were not taken.
    pub(super) fn pop(self: &Rc<Self>) -> Option<RecvBuf> {
        let part = self.queue.borrow_mut().pop_front()?;
        Some(RecvBuf { part, inbox: self.clone() })
    }

    /// Whether the stream may have more.
    pub(super) fn has_room(&self) -> bool {
        self.held.get() < self.pool.limit()
    }

    /// How the last operation has ended, if not with bytes, and forgets that. `ECANCELED` is not told if
    /// this inbox has asked for it.
    pub(super) fn take_end(&self) -> Option<i32> {
        let stopped = self.stopped.take();
        self.end.take().filter(|&end| !(stopped && end == -libc::ECANCELED))
    }

    /// A completion of the stream's operation.
    pub(super) fn arrive(&self, completion: Completion, wake: &mut Vec<Waker>) -> Arrival {
        let len = match u32::try_from(completion.result) {
            Ok(len) if len > 0 => len,
            _ => {
                if let Some(id) = completion.buffer_id {
                    self.pool.wasted(id, wake);
                }
                self.end.set(Some(completion.result));
                return Arrival::Taken;
            }
        };
        let taken = completion.buffer_id.ok_or_else(|| io::ErrorKind::InvalidData.into());
        let taken = taken.and_then(|id| {
            self.pool.received(id, len, completion.buffer_more, |piece| self.push(piece, wake))
        });
        if taken.is_err() {
            self.end.set(Some(-libc::EIO));
            return Arrival::Enough;
        }
        if self.has_room() {
            return Arrival::Taken;
        }
        self.stopped.set(true);
        Arrival::Enough
    }

    fn push(&self, piece: Piece, wake: &mut Vec<Waker>) {
        let mut queue = self.queue.borrow_mut();
        if let Some(Part::Share(last)) = queue.back_mut()
            && last.join(piece)
        {
            self.pool.release(piece.id(), wake);
            return;
        }
        let part = if self.has_room() {
            Part::Share(piece)
        } else {
            let bytes = self.pool.bytes(&piece).into();
            self.pool.release(piece.id(), wake);
            Part::Own(bytes)
        };
        self.held.set(self.held.get() + 1);
        queue.push_back(part);
    }

    /// Bytes that were received without a ring.
    pub(super) fn accept(self: &Rc<Self>, received: Received) -> Option<RecvBuf> {
        let part = match received {
            Received::Piece(piece) => Part::Share(piece),
            Received::Own(bytes) => Part::Own(bytes),
            Received::End | Received::NoBuffer => return None,
        };
        self.held.set(self.held.get() + 1);
        Some(RecvBuf { part, inbox: self.clone() })
    }

    /// Lets the stream be woken when one of its buffers comes back.
    pub(super) fn set_waker(&self, waker: &Waker) {
        let old = self.waker.borrow_mut().replace(waker.clone());
        drop(old);
    }

    pub(super) fn take_waker(&self) -> Option<Waker> {
        self.waker.borrow_mut().take()
    }

    /// Notes that it is in the pool's line; tells whether it was.
    pub(super) fn enter_line(&self) -> bool {
        self.in_line.replace(true)
    }

    /// It is its turn: who is to be woken.
    pub(super) fn leave_line(&self) -> Option<Waker> {
        self.in_line.set(false);
        self.take_waker()
    }

    /// The stream is gone: gives back what it has not taken, and what comes yet when that is all.
    pub(super) fn abandon(&self) {
        self.abandoned.set(true);
        self.clear();
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.get()
    }

    /// Gives back what nobody has taken.
    pub(super) fn clear(&self) {
        let queue = self.queue.take();
        let mut wake = Vec::new();
        self.held.set(self.held.get() - queue.len() as u32);
        queue.iter().for_each(|part| self.give_back(part, &mut wake));
        wake::all(wake);
    }

    fn give_back(&self, part: &Part, wake: &mut Vec<Waker>) {
        if let Part::Share(piece) = part {
            self.pool.release(piece.id(), wake);
        }
    }
}
