//! What is known about one descriptor, and who waits for it.
//!
//! A slot makes no guess: *ready* means "worth a try", and *not ready* that the kernel has said "would
//! block" (or shown that it would) since its last event, so that another event will come.

#![allow(unsafe_code, reason = "asks a socket for an option")]

use std::mem::size_of;
use std::os::fd::RawFd;

use libc::{c_int, socklen_t};

use crate::request::Side;
use crate::set::Flags;
use crate::waiting::Queue;

/// The room that the kernel has for the name of a protocol on top of TCP.
const ULP_NAME_MAX: usize = 16;

/// One per descriptor number, used or not, hence small.
#[derive(Default)]
pub(crate) struct Slot {
    pub(crate) readers: Queue,
    pub(crate) writers: Queue,
    pub(crate) polls: Queue,
    /// The owner will say when it closes the descriptor: what is known stays true until then.
    pub(crate) adopted: bool,
    pub(crate) in_set: bool,
    /// Not adopted: the events that the set is armed for; `None` after it has fired.
    pub(crate) armed: Option<i16>,
    readable: bool,
    writable: bool,
    /// Behind the data there is something else, of which no other event may tell: the end of the
    /// stream, an error, urgent data.
    more_than_data: bool,
    nature: Nature,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Nature {
    #[default]
    NotAsked,
    /// A plain byte stream: a receive that does not fill its buffer has emptied the queue.
    Tcp,
    /// Anything else. Local streams are among it: a receive stops at a passed descriptor.
    Other,
}

impl Slot {
    /// Nothing is known yet, so everything is worth a try; where somebody waits it has been made.
    pub(crate) fn adopt(&mut self) {
        (self.adopted, self.armed) = (true, None);
        (self.readable, self.writable) = (self.readers.is_empty(), self.writers.is_empty());
        (self.more_than_data, self.nature) = (false, Nature::NotAsked);
    }

    pub(crate) fn queue(&mut self, side: Side) -> &mut Queue {
        match side {
            Side::Reader => &mut self.readers,
            Side::Writer => &mut self.writers,
            Side::Events(_) => &mut self.polls,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.readers.is_empty() && self.writers.is_empty() && self.polls.is_empty()
    }

    /// Whether a newcomer's attempt has a chance and overtakes nobody.
    pub(crate) fn welcomes(&self, side: Side) -> bool {
        match side {
            Side::Reader => self.readers.is_empty() && (self.readable || !self.adopted),
            Side::Writer => self.writers.is_empty() && (self.writable || !self.adopted),
            Side::Events(_) => true,
        }
    }

    pub(crate) fn is_ready(&self, side: Side) -> bool {
        match side {
            Side::Reader => self.readable,
            Side::Writer => self.writable,
            Side::Events(_) => true,
        }
    }

    /// The set has reported `flags`.
    pub(crate) fn hear(&mut self, flags: Flags) {
        let end = Flags::RDHUP | Flags::HUP | Flags::ERR;
        self.readable |= flags.intersects(end | Flags::IN | Flags::PRI);
        self.writable |= flags.intersects(Flags::OUT | Flags::HUP | Flags::ERR);
        self.more_than_data |= flags.intersects(end | Flags::PRI);
    }

    /// An attempt would have blocked.
    pub(crate) fn note_empty(&mut self, side: Side) {
        match side {
            // What else there was has been found: whatever comes now is an event again.
            Side::Reader => (self.readable, self.more_than_data) = (false, false),
            Side::Writer => self.writable = false,
            Side::Events(_) => {}
        }
    }

    /// A receive from `fd` got less than it asked for, which spares the attempt that would block.
    ///
    /// There is no such shortcut for sending: a send also stops short of memory that cannot be read,
    /// and then no event follows.
    pub(crate) fn note_short(&mut self, fd: RawFd) {
        if !self.adopted || self.more_than_data {
            return;
        }
        if self.nature == Nature::NotAsked {
            self.nature = if is_plain_tcp(fd) { Nature::Tcp } else { Nature::Other };
        }
        if self.nature == Nature::Tcp {
            self.readable = false;
        }
    }
}

/// TCP without a protocol on top of it in the kernel (TLS has records, at which a receive stops).
fn is_plain_tcp(fd: RawFd) -> bool {
    let mut protocol: c_int = 0;
    let mut len = size_of::<c_int>() as socklen_t;
    let value = (&raw mut protocol).cast();
    // SAFETY: value and length are on the stack, and the length is the value's size.
    let known =
        unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_PROTOCOL, value, &raw mut len) };
    if known != 0 || protocol != libc::IPPROTO_TCP {
        return false;
    }
    let mut name = [0_u8; ULP_NAME_MAX];
    let (value, mut len) = (name.as_mut_ptr().cast(), ULP_NAME_MAX as socklen_t);
    // SAFETY: name and length are on the stack, and the length is the name's size.
    let known =
        unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_ULP, value, &raw mut len) };
    // No name: nothing on top.
    known == 0 && len == 0
}
