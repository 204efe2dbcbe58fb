//! What one send names to the kernel: a part of the caller's buffers, and who keeps them.

#![allow(
    unsafe_code,
    reason = "describes sends to the runtime, and makes MSG_ZEROCOPY ones itself"
)]

use std::any::Any;
use std::io;
use std::mem;
use std::os::fd::AsRawFd;
use std::ptr;
use std::rc::Rc;
use std::task::Waker;

use libc::{c_int, iovec, msghdr};
use ringway_driver::{Completion, Op, OpKind};

use super::budget::Charge;
use super::notify::ZcUsage;
use crate::buf::{IoBuf, IoBufs, Registered, op_len};
use crate::net::socket::Socket;
use crate::op::{self, Multi};
use crate::runtime::Core;
use crate::table::Arrival;

/// The most parts that one message may have (the kernel's `UIO_MAXIOV`). What is beyond makes the send a
/// short one.
const PARTS_MAX: usize = 1024;

/// Buffers that are to go out in one piece, behind the pointer that keeps them.
pub(super) struct Payload {
    keep: Rc<dyn Any>,
    pieces: Vec<Piece>,
    total: usize,
}

#[derive(Clone, Copy)]
struct Piece {
    at: *const u8,
    len: usize,
    registered: Option<Registered>,
}

impl Payload {
    pub(super) fn one<B: IoBuf>(buf: &Rc<B>) -> Self {
        Self { keep: buf.clone(), total: buf.bytes_init(), pieces: vec![Piece::of(&**buf)] }
    }

    pub(super) fn several<V: IoBufs>(bufs: &Rc<V>) -> Self {
        let mut pieces = Vec::new();
        bufs.each(&mut |buf| pieces.push(Piece::of(buf)));
        pieces.retain(|piece| piece.len > 0);
        let total = pieces.iter().fold(0_usize, |total, piece| total.saturating_add(piece.len));
        Self { keep: bufs.clone(), pieces, total }
    }

    /// How many bytes there are.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// Another pointer that keeps the buffers.
    pub(super) fn keep(&self) -> Rc<dyn Any> {
        self.keep.clone()
    }

    /// At most `limit` bytes from `skip` on.
    pub(super) fn part(&self, mut skip: usize, mut limit: usize) -> Part {
        let mut part = Part { parts: Vec::new(), registered: None };
        for piece in &self.pieces {
            if skip >= piece.len {
                skip -= piece.len;
                continue;
            }
            let len = (piece.len - skip).min(limit);
            if len == 0 || part.parts.len() == PARTS_MAX {
                break;
            }
            let at = piece.at.wrapping_add(skip).cast_mut().cast();
            part.parts.push(iovec { iov_base: at, iov_len: len });
            part.registered = piece.registered.filter(|_| part.parts.len() == 1);
            (skip, limit) = (0, limit - len);
        }
        part
    }
}

impl Piece {
    fn of(buf: &(impl IoBuf + ?Sized)) -> Self {
        Self { at: buf.stable_ptr(), len: buf.bytes_init(), registered: buf.registered() }
    }
}

/// Some of a [`Payload`]'s bytes.
#[derive(Clone)]
pub(super) struct Part {
    parts: Vec<iovec>,
    registered: Option<Registered>,
}

impl Part {
    /// How many bytes it has.
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.iov_len).sum()
    }

    /// The number by which `core`'s ring knows the memory: of a single buffer only, for messages have no
    /// such form.
    pub(super) fn registered_with(&self, core: &Rc<Core>) -> Option<u16> {
        self.registered.filter(|_| self.parts.len() == 1)?.with(core)
    }

    /// Which zero-copy operation sends it.
    pub(super) fn kind(&self) -> OpKind {
        if self.parts.len() == 1 { OpKind::SendZc } else { OpKind::SendMsgZc }
    }
}

/// One send: all that its operation names, and who keeps it.
pub(super) struct Outgoing {
    socket: Socket,
    _keep: Rc<dyn Any>,
    parts: Vec<iovec>,
    header: msghdr,
    flags: c_int,
    fixed: Option<u16>,
    charge: Option<Charge>,
    sent: bool,
    usage: Option<ZcUsage>,
}

impl Outgoing {
    pub(super) fn new(socket: &Socket, payload: &Payload, part: &Part) -> Self {
        Self {
            socket: socket.for_operation(),
            _keep: payload.keep.clone(),
            parts: part.parts.clone(),
            // SAFETY: numbers and null pointers: a message without name, parts and control data.
            header: unsafe { mem::zeroed() },
            flags: 0,
            fixed: None,
            charge: None,
            sent: false,
            usage: None,
        }
    }

    /// Of what was sent, if anything was, once it is over.
    pub(super) fn usage(&self) -> Option<ZcUsage> {
        self.usage.filter(|_| self.sent)
    }

    /// A copying send.
    pub(super) async fn send(self) -> io::Result<usize> {
        // SAFETY: socket and header belong to the parts, the vectors are on the heap and belong to them
        // too, and the bytes to what `_keep` keeps: `Payload`'s pieces are its own.
        let send = unsafe { op::submit(None, self, Self::plain, |_, result| result) };
        send.await.map(|sent| sent as usize)
    }

    /// The same at once, if that needs no waiting.
    pub(super) async fn send_now(mut self) -> io::Result<usize> {
        let op = self.plain();
        // SAFETY: all that it names belongs to `self`, which stays where it is until that has ended.
        match unsafe { op::copy_now(&op) }.await {
            Some(result) => result,
            None => self.send().await,
        }
    }

    /// A zero-copy send on the ring. The first completion is its result.
    pub(super) fn send_on_ring(
        mut self,
        fixed: Option<u16>,
        flags: c_int,
        charge: Charge,
    ) -> Multi<Self> {
        (self.fixed, self.flags, self.charge) = (fixed, flags, Some(charge));
        // SAFETY: as for `send`. The kernel only reads, and writes to nothing of it.
        unsafe { op::submit_multi_into(self, Self::zero_copy, Self::see) }
    }

    /// A `MSG_ZEROCOPY` send, now or not at all.
    pub(super) fn send_to_error_queue(&mut self) -> io::Result<usize> {
        let flags = libc::MSG_ZEROCOPY | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        let (fd, header) = (self.socket.as_raw_fd(), self.header());
        // SAFETY: everything that the header names lives through the call; what the kernel keeps of it
        // afterwards is pages, and who keeps their bytes is the caller's matter.
        let sent = unsafe { libc::sendmsg(fd, header, flags) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    /// The header, which is at its last place.
    fn header(&mut self) -> *const msghdr {
        self.header.msg_iov = self.parts.as_mut_ptr();
        self.header.msg_iovlen = self.parts.len() as _;
        &raw const self.header
    }

    fn plain(&mut self) -> Op {
        let (fd, flags) = (self.socket.as_raw_fd(), self.flags);
        match *self.parts {
            [] => Op::Send { fd, buf: ptr::dangling(), len: 0, flags },
            [iovec { iov_base, iov_len }] => {
                Op::Send { fd, buf: iov_base.cast(), len: op_len(iov_len), flags }
            }
            _ => Op::SendMsg { fd, msg: self.header(), flags },
        }
    }

    fn zero_copy(&mut self) -> Op {
        let (fd, flags, fixed) = (self.socket.as_raw_fd(), self.flags, self.fixed);
        match *self.parts {
            [iovec { iov_base, iov_len }] => {
                Op::SendZc { fd, buf: iov_base.cast(), len: op_len(iov_len), flags, fixed }
            }
            _ => Op::SendMsgZc { fd, msg: self.header(), flags },
        }
    }

    /// Keeps the account while the operation lasts, whoever waits for it or does not.
    fn see(&mut self, completion: Completion, _: &mut Vec<Waker>) -> Arrival {
        let Some(charge) = &mut self.charge else { return Arrival::Kept };
        if !completion.notification {
            let sent = usize::try_from(completion.result).unwrap_or(0);
            charge.set(if completion.more { sent } else { 0 });
            self.sent = sent > 0;
            // If nothing is to follow, the kernel has let go of the bytes already.
            self.usage = Some(ZcUsage::Copied).filter(|_| !completion.more);
        } else if self.sent {
            let usage = charge.usage_of(completion.copied);
            charge.settle(usage);
            self.usage = Some(usage);
        }
        Arrival::Kept
    }
}
