//! Messages: data with an address and control messages, as `recvmsg` and `sendmsg` move them.

#![allow(unsafe_code, reason = "makes operations out of descriptors, buffers and headers")]

use std::mem;
use std::os::fd::{AsRawFd, OwnedFd};

use libc::{c_int, iovec, msghdr, socklen_t};
use ringway_driver::Op;
use socket2::{SockAddr, SockAddrStorage};

use super::ancillary::Control;
use super::socket::Socket;
use crate::buf::{BufResult, IoBuf, IoBufMut, filled, op_len};
use crate::op;

/// What came with the data of a message.
pub(crate) struct Received {
    /// Bytes of data in the buffer.
    pub(crate) len: usize,
    /// Who sent it; without a family where that is not told.
    pub(crate) from: SockAddr,
    /// What the kernel says beside; passed descriptors are not to be taken from here.
    pub(crate) control: Control,
    /// Descriptors that came with it; closed on exec.
    pub(crate) fds: Vec<OwnedFd>,
    flags: c_int,
}

impl Received {
    /// Whether the data was longer than the buffer; the rest is lost.
    pub(crate) fn is_truncated(&self) -> bool {
        self.flags & libc::MSG_TRUNC != 0
    }

    /// Whether there was no room for some of the control messages; descriptors in them are closed.
    pub(crate) fn is_control_truncated(&self) -> bool {
        self.flags & libc::MSG_CTRUNC != 0
    }
}

impl Socket {
    /// `recvmsg` into the start of `buf`, with room for `control` bytes of control messages.
    pub(crate) async fn recv_message<B: IoBufMut>(
        &self,
        buf: B,
        control: usize,
        flags: c_int,
    ) -> BufResult<Received, B> {
        let flags = flags | libc::MSG_CMSG_CLOEXEC;
        let addr = SockAddrStorage::zeroed();
        let addr_len = addr.size_of();
        let envelope = Box::new(Envelope::new(addr, addr_len, Control::room(control)));
        // SAFETY: socket, buffer and envelope belong to the parts, and a box keeps the envelope where it
        // is. The result is how many bytes were written from the buffer's start (callers leave
        // MSG_TRUNC alone).
        let recv = unsafe {
            op::submit(
                None,
                (self.for_operation(), buf, envelope),
                move |(socket, buf, envelope)| Op::RecvMsg {
                    fd: socket.as_raw_fd(),
                    msg: envelope.seal(buf.stable_mut_ptr(), buf.bytes_total()),
                    flags,
                },
                |(_, buf, envelope), result| {
                    let (result, buf) = filled(result, buf);
                    // The kernel has answered well, and this is the one time that its answer is read.
                    (result.map(|len| envelope.open(len)), buf)
                },
            )
        };
        recv.await
    }

    /// `sendmsg` of `buf`'s initialised bytes to `to`, or to the peer. `fds` are what the numbers in
    /// `control` stand for: they stay open until the kernel has taken them.
    pub(crate) async fn send_message<B: IoBuf>(
        &self,
        buf: B,
        to: Option<SockAddr>,
        control: Control,
        fds: Vec<OwnedFd>,
        flags: c_int,
    ) -> BufResult<usize, B> {
        let (addr_len, addr) = match to {
            Some(to) => (to.len(), to.as_storage()),
            None => (0, SockAddrStorage::zeroed()),
        };
        let envelope = Box::new(Envelope::new(addr, addr_len, control));
        // SAFETY: socket, buffer, envelope and passed descriptors belong to the parts, and a box keeps
        // the envelope where it is. The kernel reads from the buffer only.
        let send = unsafe {
            op::submit(
                None,
                (self.for_operation(), buf, envelope, fds),
                move |(socket, buf, envelope, _)| Op::SendMsg {
                    fd: socket.as_raw_fd(),
                    msg: envelope.seal(buf.stable_ptr().cast_mut(), buf.bytes_init()),
                    flags,
                },
                |(_, buf, ..), result| (result.map(|n| n as usize), buf),
            )
        };
        send.await
    }
}

/// A `msghdr` and all that it points at but the data.
struct Envelope {
    header: msghdr,
    data: iovec,
    addr: SockAddrStorage,
    addr_len: socklen_t,
    control: Control,
}

impl Envelope {
    fn new(addr: SockAddrStorage, addr_len: socklen_t, control: Control) -> Self {
        // SAFETY: structures of numbers and of pointers that may be null.
        let (header, data) = unsafe { (mem::zeroed(), mem::zeroed()) };
        Self { header, data, addr, addr_len, control }
    }

    /// Points the header at everything, for the kernel, from where this is now; it is not to be moved
    /// or touched until the kernel has answered.
    fn seal(&mut self, data: *mut u8, len: usize) -> *mut msghdr {
        let control = self.control.as_mut_bytes();
        let (control, control_len) = (control.as_mut_ptr(), control.len());
        // All from one borrow, so that none of them ends another's.
        let this: *mut Self = self;
        // SAFETY: `this` is a borrow that lasts through the block, which makes no other.
        unsafe {
            (*this).data = iovec { iov_base: data.cast(), iov_len: op_len(len) as usize };
            let header = &raw mut (*this).header;
            if (*this).addr_len > 0 {
                (*header).msg_name = (&raw mut (*this).addr).cast();
            }
            (*header).msg_namelen = (*this).addr_len;
            (*header).msg_iov = &raw mut (*this).data;
            (*header).msg_iovlen = 1;
            if control_len > 0 {
                (*header).msg_control = control.cast();
            }
            (*header).msg_controllen = control_len as _;
            (*header).msg_flags = 0;
            header
        }
    }

    /// What the kernel has written.
    ///
    /// # Safety
    /// A receive into this has succeeded with `len` bytes.
    unsafe fn open(self, len: usize) -> Received {
        let Self { header, addr, addr_len, mut control, .. } = self;
        control.truncate(header.msg_controllen);
        // SAFETY: the kernel has written an address of this length, which it cuts to the storage's and
        // reports uncut; and the control messages, which are read once, for they are owned here.
        let (from, fds) = unsafe {
            (SockAddr::new(addr, header.msg_namelen.min(addr_len)), control.descriptors())
        };
        Received { len, from, control, fds, flags: header.msg_flags }
    }
}
