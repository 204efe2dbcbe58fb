//! One operation under way, and how far it has come.

#![allow(unsafe_code, reason = "runs the operation that `Driver::submit` was given")]

use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::sync::Arc;

use libc::{MSG_PEEK, MSG_WAITALL};
use ringway_driver::{Completion, Credentials, Op, Token};

use crate::descriptor;
use crate::syscall::{self, STREAM, with_credentials};

/// A submitted operation. Whoever holds one owes its completion.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) token: Token,
    op: Op,
    credentials: Option<Arc<Credentials>>,
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
    pub(crate) unsafe fn new(token: Token, op: Op, credentials: Option<Arc<Credentials>>) -> Self {
        Self { token, op, credentials, done: 0, connecting: false }
    }

    /// The descriptor to wait for and what for; `None`: readiness says nothing about this one.
    pub(crate) fn waits_for(&self) -> Option<(RawFd, Side)> {
        match self.op {
            Op::Accept { fd, .. }
            | Op::Recv { fd, .. }
            | Op::RecvMsg { fd, .. }
            | Op::Read { fd, offset: STREAM, .. } => Some((fd, Side::Reader)),
            Op::Connect { fd, .. }
            | Op::Send { fd, .. }
            | Op::SendMsg { fd, .. }
            | Op::Write { fd, offset: STREAM, .. } => Some((fd, Side::Writer)),
            Op::Poll { fd, events } => Some((fd, Side::Events(events))),
            _ => None,
        }
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
        if self.credentials.is_some() && !unsafe { syscall::has_form_now(&self.op) } {
            return None;
        }
        let mut answer = None;
        let switched = with_credentials(self.credentials.as_deref(), || {
            // SAFETY: promised to `Request::new`.
            answer = unsafe { syscall::try_now(&self.op) };
            0
        });
        if switched < 0 {
            return Some(switched);
        }
        self.connecting = answer.is_none() && matches!(self.op, Op::Connect { .. });
        answer
    }

    /// Runs to the end, blocking.
    pub(crate) fn run(self) -> Completion {
        let result = with_credentials(self.credentials.as_deref(), || {
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

/// Takes the request called `token` out of `queue`.
pub(crate) fn take(queue: &mut VecDeque<Request>, token: Token) -> Option<Request> {
    let at = queue.iter().position(|request| request.token == token)?;
    queue.remove(at)
}
