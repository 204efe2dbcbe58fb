//! One operation under way, and how far it has come.

#![allow(unsafe_code, reason = "runs the operation that `Driver::submit` was given")]

use std::os::fd::RawFd;

use libc::{
    MSG_CMSG_CLOEXEC, MSG_DONTWAIT, MSG_ERRQUEUE, MSG_NOSIGNAL, MSG_OOB, MSG_PEEK, MSG_WAITALL,
    c_int,
};
use ringway_driver::{Completion, Identity, Op, Token};

use crate::descriptor::{self, TRANSFER_MAX};
use crate::syscall::{self, STREAM, with_credentials};

/// A submitted operation. Whoever holds one owes its completion.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) token: Token,
    op: Op,
    credentials: Option<Identity>,
    /// Bytes that an earlier attempt has received already (`MSG_WAITALL`).
    done: u32,
    /// A `Connect` that has been begun.
    connecting: bool,
}

/// What an operation that could not go on waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    /// Its turn, among those that take from the descriptor.
    Reader,
    /// Its turn, among those that give to it.
    Writer,
    /// These events; no turn, for it leaves them as they are.
    Events(i16),
}

impl Request {
    /// # Safety
    /// As for `Driver::submit`: what `op` names stays valid while the request exists.
    pub(crate) unsafe fn new(token: Token, op: Op, credentials: Option<Identity>) -> Self {
        Self { token, op, credentials, done: 0, connecting: false }
    }

    pub(crate) fn op(&self) -> &Op {
        &self.op
    }

    /// See [`waits_for`].
    pub(crate) fn waits_for(&self) -> Option<(RawFd, Side)> {
        waits_for(&self.op)
    }

    /// Goes on as far as it can without blocking: the result, or `None` if there is more to wait for.
    pub(crate) fn attempt(&mut self) -> Option<i32> {
        loop {
            let result = match self.op {
                Op::Connect { fd, .. } if self.connecting => descriptor::connected(fd)?,
                _ => self.attempt_once()?,
            };
            if !self.wants_more_than(result) {
                return Some(self.total(result));
            }
        }
    }

    fn attempt_once(&mut self) -> Option<i32> {
        // SAFETY: promised to `Request::new`.
        let answer = unsafe { attempt(&self.op, self.credentials.as_ref()) };
        self.connecting = answer.is_none() && matches!(self.op, Op::Connect { .. });
        answer
    }

    /// See [`is_short`]; of the attempt that gave `result`.
    pub(crate) fn is_short(&self, result: i32) -> bool {
        // SAFETY: promised to `Request::new`.
        unsafe { is_short(&self.op, result) }
    }

    /// Runs to the end, blocking.
    pub(crate) fn run(self) -> Completion {
        let result = with_credentials(self.credentials.as_ref(), || {
            // SAFETY: promised to `Request::new`.
            unsafe { syscall::run(&self.op) }
        });
        Completion::last(self.token, self.total(result))
    }

    /// Ends without another attempt. Bytes that were received are not lost: they are the result.
    pub(crate) fn fail(&self, errno: i32) -> Completion {
        Completion::last(self.token, self.total(-errno))
    }

    /// Keeps a `Recv` with `MSG_WAITALL` going; the flag itself does nothing on a call that may not
    /// block, and means nothing to datagrams.
    fn wants_more_than(&mut self, result: i32) -> bool {
        let Op::Recv { fd, buf, len, flags } = &mut self.op else { return false };
        let Ok(count) = u32::try_from(result) else { return false };
        if *flags & (MSG_WAITALL | MSG_PEEK) != MSG_WAITALL
            || count == 0
            || count >= *len
            || !descriptor::is_stream_socket(*fd)
        {
            return false;
        }
        *buf = buf.wrapping_add(count as usize);
        *len -= count;
        self.done += count;
        true
    }

    fn total(&self, result: i32) -> i32 {
        let done = self.done.cast_signed();
        if done == 0 { result } else { done.saturating_add(result.max(0)) }
    }
}

/// The descriptor that an operation waits for and what for; `None`: readiness says nothing about this
/// one, or it never waits.
pub(crate) fn waits_for(op: &Op) -> Option<(RawFd, Side)> {
    match *op {
        Op::Recv { flags, .. } | Op::RecvMsg { flags, .. } if never_waits(flags) => None,
        Op::Send { flags, .. } | Op::SendMsg { flags, .. } if flags & MSG_DONTWAIT != 0 => None,
        Op::Accept { fd, .. }
        | Op::Recv { fd, .. }
        | Op::RecvMsg { fd, .. }
        | Op::Read { fd, offset: STREAM, .. }
        | Op::ReadV { fd, offset: STREAM, .. } => Some((fd, Side::Reader)),
        Op::Connect { fd, .. }
        | Op::Send { fd, .. }
        | Op::SendMsg { fd, .. }
        | Op::Write { fd, offset: STREAM, .. }
        | Op::WriteV { fd, offset: STREAM, .. } => Some((fd, Side::Writer)),
        Op::Poll { fd, events } => Some((fd, Side::Events(events))),
        _ => None,
    }
}

/// Whether only a thread can do it although it is about a stream: there is no form of it that takes
/// what a blocking one has room for.
pub(crate) fn needs_a_thread(op: &Op) -> bool {
    matches!(*op, Op::WriteV { fd, offset: STREAM, .. } if !descriptor::is_nonblocking(fd))
}

/// Receiving from the error queue or out of band takes no turn: it answers at once (recv(2)).
fn never_waits(flags: c_int) -> bool {
    flags & (MSG_DONTWAIT | MSG_ERRQUEUE | MSG_OOB) != 0
}

/// One try in the form that does not block; `None` if it would, or if there is no such form.
///
/// # Safety
/// As for [`syscall::run`].
pub(crate) unsafe fn attempt(op: &Op, credentials: Option<&Identity>) -> Option<i32> {
    // SAFETY: the caller's promise.
    if credentials.is_some() && !unsafe { syscall::has_form_now(op) } {
        return None;
    }
    let mut answer = None;
    let switched = with_credentials(credentials, || {
        // SAFETY: the caller's promise.
        answer = unsafe { syscall::try_now(op) };
        0
    });
    if switched < 0 { Some(switched) } else { answer }
}

/// Whether an attempt that would block may have begun something all the same, so that only a
/// [`Request`] can go on with it.
pub(crate) fn leaves_a_beginning(op: &Op) -> bool {
    match *op {
        Op::Connect { .. } => true,
        Op::Recv { flags, .. } => flags & MSG_WAITALL != 0,
        _ => false,
    }
}

/// Whether `result` is less than a plain receive asked for: all there was, if this is a byte stream.
///
/// Not with ancillary data, at which a receive stops, nor with flags that change what is taken.
///
/// # Safety
/// As for [`syscall::run`].
pub(crate) unsafe fn is_short(op: &Op, result: i32) -> bool {
    let plain = |flags: c_int| flags & !(MSG_CMSG_CLOEXEC | MSG_NOSIGNAL) == 0;
    let asked = match *op {
        Op::Recv { len, flags, .. } if plain(flags) => len as usize,
        Op::RecvMsg { msg, flags, .. } if plain(flags) => {
            // SAFETY: the caller's promise covers the message and its vector.
            let (control, parts) = unsafe {
                let msg = &*msg;
                let parts = match msg.msg_iovlen {
                    0 => &[],
                    len => std::slice::from_raw_parts(msg.msg_iov, len),
                };
                (msg.msg_control, parts)
            };
            if !control.is_null() {
                return false;
            }
            parts.iter().fold(0, |sum: usize, part| sum.saturating_add(part.iov_len))
        }
        _ => return false,
    };
    // No call moves more than `TRANSFER_MAX`, however much there is.
    let asked = asked.min(TRANSFER_MAX as usize);
    usize::try_from(result).is_ok_and(|count| 0 < count && count < asked)
}
