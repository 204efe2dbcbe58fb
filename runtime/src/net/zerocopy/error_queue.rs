//! `MSG_ZEROCOPY`: sends whose notifications come through the socket's error queue.
//!
//! The kernel numbers a socket's successful sends and tells ranges of numbers whose buffers are free.
//! Sends are system calls of their own here, made and numbered in one step, so that the numbers are the
//! kernel's. While any is outstanding, the socket stays open, with its buffers, in the runtime's
//! [`Book`], and a task reads its queue.

#![allow(unsafe_code, reason = "makes the system call and reads its control messages")]

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::mem;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use libc::{c_int, cmsghdr, msghdr, sock_extended_err};
use rustix::event::{PollFd, PollFlags, Timespec};

use super::budget::{Book, Charge};
use super::message::{Outgoing, Part, Payload};
use super::notify::{Hold, Log, Notice, ZcUsage};
use super::ranges::Ranges;
use crate::net::socket::Socket;
use crate::net::sockopt;
use crate::runtime::Core;
use crate::{time, wake};

/// `SO_EE_ORIGIN_ZEROCOPY`.
const ORIGIN_ZEROCOPY: u8 = 5;

/// `SO_EE_CODE_ZEROCOPY_COPIED`.
const CODE_COPIED: u8 = 1;

/// How long to wait where readiness says nothing: a hang-up or a pending error is told again and again,
/// whatever the queue has. Doubled up to the second.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(64);

/// A socket's queue, and what waits for its word.
#[derive(Default)]
pub(super) struct ErrorQueue {
    /// Whether `SO_ZEROCOPY` is on and the numbers are ours.
    usable: OnceCell<bool>,
    outstanding: RefCell<Ranges<Sent>>,
    /// A task of the socket's present runtime reads it.
    has_reader: Cell<bool>,
    /// An error that came through the queue, for the next send to tell.
    error: Cell<Option<i32>>,
}

/// A send that the kernel has not let go of.
struct Sent {
    keep: Rc<dyn Any>,
    charge: Charge,
    notice: Rc<Notice>,
}

impl ErrorQueue {
    /// Whether sends can go this way. Asking prepares the socket.
    ///
    /// Not if somebody has sent this way before: the kernel's count goes on, and we do not know it.
    pub(super) fn is_usable(&self, socket: &Socket) -> bool {
        let prepare = || {
            let (level, option) = (libc::SOL_SOCKET, libc::SO_ZEROCOPY);
            sockopt::get(socket, level, option).is_ok_and(|on| on == 0)
                && sockopt::set(socket, level, option, 1).is_ok()
        };
        *self.usable.get_or_init(prepare)
    }

    /// An error that nobody has been told.
    pub(super) fn take_error(&self) -> Option<io::Error> {
        self.error.take().map(io::Error::from_raw_os_error)
    }

    /// How many sends are outstanding.
    pub(super) fn len(&self) -> usize {
        self.outstanding.borrow().len()
    }

    /// Sends; waits for room as a send does.
    pub(super) async fn send(
        &self,
        core: &Rc<Core>,
        socket: &Socket,
        payload: &Payload,
        part: &Part,
        mut charge: Charge,
        log: &mut Log,
    ) -> io::Result<usize> {
        let mut outgoing = Outgoing::new(socket, payload, part);
        let mut pause = Pause::default();
        loop {
            match outgoing.send_to_error_queue() {
                Ok(sent) => {
                    charge.set(sent);
                    let notice = Rc::<Notice>::default();
                    log.hold(Hold::Queue(notice.clone()));
                    let sent_one = Sent { keep: payload.keep(), charge, notice };
                    self.outstanding.borrow_mut().push(sent_one);
                    self.read_on(core, socket);
                    return Ok(sent);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let ready = socket.poll(libc::POLLOUT).await?;
                    // Notifications are told as an error, together with room or without.
                    if ready & libc::POLLOUT == 0 && self.drain(socket) == 0 {
                        pause.wait().await;
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Sees to it that the queue is read until nothing is outstanding.
    fn read_on(&self, core: &Rc<Core>, socket: &Socket) {
        if self.has_reader.replace(true) {
            return;
        }
        let key = core.zero_copy.sockets.borrow_mut().insert(socket.clone());
        let (book, reading) = (core.zero_copy.clone(), Reading(socket.clone()));
        // If the runtime ends first, the socket stays in the book, which looks after it.
        drop(core.tasks.spawn_own(async move {
            reading.0.zero_copy().queue.read(&reading.0).await;
            drop(reading);
            let kept = book.sockets.borrow_mut().try_remove(key);
            drop(kept);
        }));
    }

    async fn read(&self, socket: &Socket) {
        let mut pause = Pause::default();
        while self.len() > 0 {
            // POLLERR is told unasked.
            let polled = socket.poll(0).await;
            if self.drain(socket) > 0 {
                pause = Pause::default();
            } else if self.len() > 0 || polled.is_err() {
                pause.wait().await;
            }
        }
    }

    /// Takes everything out of the queue; how many messages there were.
    pub(super) fn drain(&self, socket: &Socket) -> usize {
        let mut count = 0;
        while let Some(message) = receive(socket) {
            count += 1;
            match message {
                Message::Free { lo, hi, copied } => {
                    let free = self.outstanding.borrow_mut().take(lo, hi);
                    // Not under the borrow: dropping a buffer, or waking, may run anything.
                    let settle = |sent: Sent| sent.settle(ZcUsage::of(copied));
                    let wakers: Vec<_> = free.into_iter().filter_map(settle).collect();
                    wake::all(wakers);
                }
                Message::Error(errno) => self.error.set(Some(errno)),
                Message::Other => {}
            }
        }
        count
    }

    /// Whether a `POLLERR` that was just seen came from notifications, and from nothing else.
    pub(super) fn explains_error(&self, socket: &Socket) -> bool {
        if self.usable.get() != Some(&true) {
            return false;
        }
        self.drain(socket);
        let mut now = [PollFd::new(socket, PollFlags::RDHUP)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let polled = rustix::event::poll(&mut now, Some(&at_once));
        self.error.get().is_none() && matches!(polled, Ok(0))
    }
}

/// A socket whose queue a task reads. The task may end with its runtime, before its first turn even, and
/// the socket go on in another, which then has to read it.
struct Reading(Socket);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.zero_copy().queue.has_reader.set(false);
    }
}

impl Drop for ErrorQueue {
    fn drop(&mut self) {
        // The book keeps sockets with anything outstanding; if it did not, the buffers would still be
        // the kernel's.
        if self.len() > 0 {
            mem::forget(self.outstanding.take());
        }
    }
}

impl Sent {
    /// The kernel has let go of it: who is to be woken.
    fn settle(self, usage: ZcUsage) -> Option<Waker> {
        let Self { keep, mut charge, notice } = self;
        charge.settle(usage);
        // Before the notice: who is told finds the buffer its own.
        drop(keep);
        notice.tell(usage)
    }
}

impl Book {
    /// How many tasks read error queues.
    pub(crate) fn readers(&self) -> usize {
        self.sockets.borrow().len()
    }

    /// How many sends are outstanding in error queues.
    pub(crate) fn in_error_queues(&self) -> usize {
        self.sockets.borrow().iter().map(|(_, socket)| socket.zero_copy().queue.len()).sum()
    }

    /// How soon to [`look`](Book::look), when no tasks run any more.
    pub(crate) fn next_look(&self) -> Option<Duration> {
        (self.readers() > 0).then_some(PAUSE_MIN)
    }

    /// Reads the error queues in the place of their tasks.
    pub(crate) fn look(&self) {
        let sockets: Vec<_> =
            self.sockets.borrow().iter().map(|(key, socket)| (key, socket.clone())).collect();
        for (key, socket) in sockets {
            let queue = &socket.zero_copy().queue;
            queue.drain(&socket);
            if queue.len() == 0 {
                let kept = self.sockets.borrow_mut().try_remove(key);
                drop(kept);
            }
        }
    }
}

/// Pauses that grow.
struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(PAUSE_MIN)
    }
}

impl Pause {
    async fn wait(&mut self) {
        time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(PAUSE_MAX);
    }
}

/// What comes through an error queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Message {
    /// The buffers of these sends are free.
    Free { lo: u32, hi: u32, copied: bool },
    /// The network's.
    Error(i32),
    /// Of no concern here: a timestamp.
    Other,
}

/// Room for control data: two addresses' worth more than what is asked for, for options that a socket's
/// owner may have set. What does not fit is cut off.
#[repr(C, align(8))]
struct Control([u8; 256]);

/// The next message of the queue; `None` if there is none.
fn receive(socket: &Socket) -> Option<Message> {
    let mut control = Control([0; 256]);
    // SAFETY: numbers and null pointers.
    let mut header: msghdr = unsafe { mem::zeroed() };
    header.msg_control = (&raw mut control).cast();
    header.msg_controllen = size_of::<Control>() as _;
    let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
    loop {
        // SAFETY: the header names `control`, with its size; both live through the call.
        let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) };
        if received >= 0 {
            return Some(decode(&control.0[..header.msg_controllen.min(size_of::<Control>())]));
        }
        if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return None;
        }
    }
}

/// Finds the extended error among control messages.
fn decode(mut control: &[u8]) -> Message {
    while let Some(head) = read::<cmsghdr>(control) {
        let len = head.cmsg_len.min(control.len());
        let Some(data) = control.get(size_of::<cmsghdr>()..len) else { break };
        let kind = (head.cmsg_level, head.cmsg_type);
        if is_extended_error(kind)
            && let Some(error) = read::<sock_extended_err>(data)
        {
            return Message::of(&error);
        }
        control = control.get(len.next_multiple_of(size_of::<usize>())..).unwrap_or_default();
    }
    Message::Other
}

fn is_extended_error(kind: (c_int, c_int)) -> bool {
    kind == (libc::SOL_IP, libc::IP_RECVERR) || kind == (libc::SOL_IPV6, libc::IPV6_RECVERR)
}

impl Message {
    fn of(error: &sock_extended_err) -> Self {
        match error.ee_origin {
            ORIGIN_ZEROCOPY if error.ee_errno == 0 => Self::Free {
                lo: error.ee_info,
                hi: error.ee_data,
                copied: error.ee_code & CODE_COPIED != 0,
            },
            libc::SO_EE_ORIGIN_LOCAL | libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6 => {
                Self::Error(error.ee_errno.cast_signed())
            }
            _ => Self::Other,
        }
    }
}

/// A structure of numbers from the start of `bytes`.
fn read<T: Numbers>(bytes: &[u8]) -> Option<T> {
    let bytes = bytes.get(..size_of::<T>())?;
    // SAFETY: as many bytes as the type has, any of which make a value of it (`Numbers`).
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// Types that any bytes are a value of.
///
/// # Safety
/// That.
unsafe trait Numbers {}

// SAFETY: integers only.
unsafe impl Numbers for cmsghdr {}

// SAFETY: integers only.
unsafe impl Numbers for sock_extended_err {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Control data as the kernel lays it out (cmsg(3), struct sock_extended_err in errqueue.h): 16
    /// bytes of head, then errno, origin, type, code, pad, info, data; an address follows.
    fn control(
        level: c_int,
        kind: c_int,
        errno: u32,
        origin: u8,
        code: u8,
        lo: u32,
        hi: u32,
    ) -> Vec<u8> {
        let mut bytes = 48_u64.to_le_bytes().to_vec();
        bytes.extend([level.to_le_bytes(), kind.to_le_bytes(), errno.to_le_bytes()].concat());
        bytes.extend([origin, 0, code, 0]);
        bytes.extend([lo.to_le_bytes(), hi.to_le_bytes()].concat());
        bytes.extend([0; 16]);
        bytes
    }

    fn ipv4(errno: u32, origin: u8, code: u8, lo: u32, hi: u32) -> Vec<u8> {
        control(0, 11, errno, origin, code, lo, hi)
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn notifications_are_told_from_errors_and_from_timestamps() {
        let free = |lo, hi, copied| Message::Free { lo, hi, copied };
        assert_eq!(decode(&ipv4(0, 5, 1, 0, 2)), free(0, 2, true));
        assert_eq!(decode(&ipv4(0, 5, 0, u32::MAX, 3)), free(u32::MAX, 3, false));
        assert_eq!(decode(&control(41, 25, 0, 5, 0, 7, 7)), free(7, 7, false), "IPv6");
        let unreachable = libc::EHOSTUNREACH.cast_unsigned();
        assert_eq!(decode(&ipv4(unreachable, 2, 0, 0, 0)), Message::Error(libc::EHOSTUNREACH));
        let timestamp = libc::ENOMSG.cast_unsigned();
        assert_eq!(decode(&ipv4(timestamp, 4, 0, 0, 0)), Message::Other);
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn the_extended_error_is_found_behind_other_control_data_and_not_past_its_end() {
        // A message of 4 bytes, with 4 of padding.
        let mut other = 20_u64.to_le_bytes().to_vec();
        other.extend([1_i32.to_le_bytes(), 2_i32.to_le_bytes(), [9; 4], [0; 4]].concat());
        let behind = [other, ipv4(0, 5, 1, 4, 4)].concat();
        assert_eq!(decode(&behind), Message::Free { lo: 4, hi: 4, copied: true });
        for len in 0..24 + 32 {
            assert_eq!(decode(&behind[..len]), Message::Other, "{len} bytes");
        }
        let mut zero = behind;
        zero[..8].fill(0);
        assert_eq!(decode(&zero), Message::Other, "a length of nothing");
    }
}
