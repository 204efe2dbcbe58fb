//! What every socket here can do, whatever its family: the operations behind the public types.

#![allow(unsafe_code, reason = "makes operations out of descriptors and buffers")]

use std::io;
use std::mem::ManuallyDrop;
use std::net::{Shutdown, SocketAddr};
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use ringway_driver::Op;
use rustix::io::retry_on_intr;
use rustix::net::{RecvFlags, SendFlags};
use socket2::{SockAddr, SockAddrStorage};

use super::zerocopy;
use crate::buf::{BufResult, IoBuf, IoBufMut, empty_all, fill_all, filled, op_len};
use crate::descriptor::Descriptor;
use crate::op;
use crate::runtime::{self, Core};

/// A socket; clones are the same one.
#[derive(Clone)]
pub(crate) struct Socket(Descriptor);

impl Socket {
    /// Takes a non-blocking descriptor over.
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self(Descriptor::new(fd))
    }

    /// See [`Descriptor::without_events`].
    pub(crate) fn without_events(fd: OwnedFd) -> Self {
        Self(Descriptor::without_events(fd))
    }

    /// The descriptor alone, for another runtime.
    ///
    /// # Errors
    /// Itself, while operations or clones hold it.
    pub(crate) fn into_fd(self) -> Result<OwnedFd, Self> {
        self.0.into_fd().map_err(Self)
    }

    /// The descriptor, for operations that are not about sockets alone.
    pub(crate) fn descriptor(&self) -> &Descriptor {
        &self.0
    }

    /// A clone for an operation's parts, which the driver has been told about.
    pub(crate) fn for_operation(&self) -> Self {
        Self(self.0.for_operation())
    }

    /// `accept`; the connection's socket and the peer's address.
    pub(crate) async fn accept(&self) -> io::Result<(Self, SockAddr)> {
        let peer = SockAddrStorage::zeroed();
        let len = peer.size_of();
        // SAFETY: socket, address and length belong to the parts, and `SockAddrStorage` is a
        // transparent `sockaddr_storage`. The result is a descriptor that nobody else has, with an
        // address of the length that the kernel wrote, which is never more than the storage's.
        let accept = unsafe {
            op::submit(
                None,
                (self.for_operation(), peer, len),
                |(socket, peer, len)| Op::Accept {
                    fd: socket.as_raw_fd(),
                    addr: peer.view_as(),
                    addr_len: len,
                },
                |(_, peer, len), result| {
                    let socket = OwnedFd::from_raw_fd(result?.cast_signed());
                    Ok((Self::new(socket), SockAddr::new(peer, len)))
                },
            )
        };
        accept.await
    }

    /// `connect`.
    pub(crate) async fn connect(&self, addr: SockAddr) -> io::Result<()> {
        // SAFETY: socket and address belong to the parts; a box keeps the address where it is.
        let connect = unsafe {
            op::submit(
                None,
                (self.for_operation(), Box::new(addr)),
                |(socket, addr)| Op::Connect {
                    fd: socket.as_raw_fd(),
                    addr: addr.as_ptr().cast(),
                    addr_len: addr.len(),
                },
                |_, result| result.map(drop),
            )
        };
        connect.await
    }

    // What moves bytes is no `async fn`, here and up to the public types: each is a layer of its caller's future,
    // through which the buffer would be moved in and out.

    /// `recv` into the start of `buf`, with `flags`.
    pub(crate) fn recv<B: IoBufMut>(
        &self,
        buf: B,
        flags: i32,
    ) -> impl Future<Output = BufResult<usize, B>> + use<B> {
        // SAFETY: socket and buffer belong to the parts; a receive's result is how many bytes it wrote
        // from the buffer's start (callers leave MSG_TRUNC alone).
        unsafe {
            op::submit(
                None,
                (self.clone(), buf),
                move |(socket, buf)| Op::Recv {
                    fd: socket.0.adopted(),
                    buf: buf.stable_mut_ptr(),
                    len: op_len(buf.bytes_total()),
                    flags,
                },
                |(_, buf), result| filled(result, buf),
            )
        }
    }

    /// Receives until `buf` is full; `UnexpectedEof` if the stream ends before.
    pub(crate) fn recv_exact<B: IoBufMut>(
        &self,
        buf: B,
    ) -> impl Future<Output = BufResult<(), B>> + use<'_, B> {
        fill_all(buf, |part, _| self.recv(part, 0))
    }

    /// `send` of `buf`'s initialised bytes, with `flags`.
    pub(crate) fn send<B: IoBuf>(
        &self,
        buf: B,
        flags: i32,
    ) -> impl Future<Output = BufResult<usize, B>> + use<B> {
        // SAFETY: socket and buffer belong to the parts.
        unsafe {
            op::submit(
                None,
                (self.clone(), buf),
                move |(socket, buf)| Op::Send {
                    fd: socket.0.adopted(),
                    buf: buf.stable_ptr(),
                    len: op_len(buf.bytes_init()),
                    flags,
                },
                |(_, buf), result| (result.map(|n| n as usize), buf),
            )
        }
    }

    /// Sends all of `buf`'s initialised bytes.
    pub(crate) fn send_all<B: IoBuf>(
        &self,
        buf: B,
    ) -> impl Future<Output = BufResult<(), B>> + use<'_, B> {
        empty_all(buf, |part, _| self.send(part, 0))
    }

    /// [`send_all`](Self::send_all), and more follows at once.
    pub(crate) fn send_all_more<B: IoBuf>(
        &self,
        buf: B,
    ) -> impl Future<Output = BufResult<(), B>> + use<'_, B> {
        empty_all(buf, |part, _| self.send_now(part, libc::MSG_MORE))
    }

    /// [`send_all`](Self::send_all), tried at once: many bytes are copied while this core may still have them at hand, and
    /// not after whatever else it does until the ring is entered.
    pub(crate) fn send_all_now<B: IoBuf>(
        &self,
        buf: B,
    ) -> impl Future<Output = BufResult<(), B>> + use<'_, B> {
        empty_all(buf, |part, _| self.send_now(part, 0))
    }

    /// Some of it; at once, if that needs no waiting. There is nothing that what has more behind it could be submitted
    /// together with, since that has to wait for it.
    async fn send_now<B: IoBuf>(&self, buf: B, flags: i32) -> BufResult<usize, B> {
        let fd = self.0.adopted();
        let op = Op::Send { fd, buf: buf.stable_ptr(), len: op_len(buf.bytes_init()), flags };
        // SAFETY: socket and buffer stay where they are until that has ended.
        match unsafe { op::copy_now(&op) }.await {
            Some(result) => (result, buf),
            None => self.send(buf, flags).await,
        }
    }

    /// See [`Descriptor::poll`].
    pub(crate) async fn poll(&self, events: i16) -> io::Result<i16> {
        self.0.poll(events).await
    }

    /// Waits until the peer has ended its direction of the stream, or the connection is broken, while
    /// nobody receives. Bytes that still wait to be received do not end the wait.
    pub(crate) async fn hang_up(&self) -> io::Result<()> {
        loop {
            let ready = self.poll(libc::POLLRDHUP).await?;
            // A notification about a zero-copy send is told as an error, too.
            let zero_copy = self.0.zero_copy().get().filter(|_| ready == libc::POLLERR);
            if !zero_copy.is_some_and(|zero_copy| zero_copy.explains_error(self)) {
                return Ok(());
            }
        }
    }

    /// What zero-copy sends have to remember.
    pub(crate) fn zero_copy(&self) -> &zerocopy::OnSocket {
        self.0.zero_copy().get_or_init(Box::default)
    }

    /// Waits until there is something to receive, be it the end, and leaves it there.
    ///
    /// # Errors
    /// The socket's, which are not told a second time.
    pub(crate) async fn receivable(&self) -> io::Result<()> {
        if !runtime::current().ops.receives_when_ready() {
            return self.poll(libc::POLLIN).await.map(drop);
        }
        // A receive, even one that takes nothing, is tried when the driver knows of something, and not
        // before; a poll asks the kernel twice.
        // SAFETY: socket and byte belong to the parts.
        let peek = unsafe {
            op::submit(
                None,
                (self.for_operation(), 0_u8),
                |(socket, byte)| Op::Recv {
                    fd: socket.as_raw_fd(),
                    buf: &raw mut *byte,
                    len: 1,
                    flags: libc::MSG_PEEK,
                },
                |_, result| result.map(drop),
            )
        };
        peek.await
    }

    /// As [`Socket::try_recv`], with what the driver of `core` knows of the socket, and tells it.
    pub(crate) fn recv_now(&self, core: &Core, buf: &mut [u8]) -> io::Result<usize> {
        let socket = self.for_operation();
        let (buf, len) = (buf.as_mut_ptr(), op_len(buf.len()));
        let op = Op::Recv { fd: socket.as_raw_fd(), buf, len, flags: 0 };
        // SAFETY: socket and buffer are borrowed for the length of the call.
        match unsafe { core.ops.try_now(&op) } {
            None => Err(io::ErrorKind::WouldBlock.into()),
            Some(result) => usize::try_from(result)
                .map_err(|_| io::Error::from_raw_os_error(result.wrapping_neg())),
        }
    }

    /// `recv` without waiting.
    pub(crate) fn try_recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        let flags = RecvFlags::DONTWAIT;
        let (_, len) = retry_on_intr(|| rustix::net::recv(self, &mut *buf, flags))?;
        Ok(len)
    }

    /// `send` without waiting.
    pub(crate) fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        Ok(retry_on_intr(|| rustix::net::send(self, bytes, flags))?)
    }

    /// `shutdown`.
    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let how = match how {
            Shutdown::Read => rustix::net::Shutdown::Read,
            Shutdown::Write => rustix::net::Shutdown::Write,
            Shutdown::Both => rustix::net::Shutdown::Both,
        };
        Ok(rustix::net::shutdown(self, how)?)
    }

    /// This end's address.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        rustix::net::getsockname(self)?.try_into().map_err(|_| not_an_ip_address())
    }

    /// The other end's address.
    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        let addr = rustix::net::getpeername(self)?;
        addr.and_then(|addr| addr.try_into().ok()).ok_or_else(not_an_ip_address)
    }
}

/// The public owner's handle of a connected socket.
///
/// When it goes while operations are in flight, which hold the socket too, it ends the connection:
/// closing under them would tell the peer nothing.
pub(crate) struct Connection(Socket);

impl Connection {
    /// The descriptor alone, for another runtime.
    ///
    /// # Errors
    /// Itself, while operations hold the socket.
    pub(crate) fn into_fd(self) -> Result<OwnedFd, Self> {
        let this = ManuallyDrop::new(self);
        // SAFETY: the value is not used again, nor dropped.
        let socket = unsafe { ptr::read(&raw const this.0) };
        socket.into_fd().map_err(Self)
    }
}

impl From<Socket> for Connection {
    fn from(socket: Socket) -> Self {
        Self(socket)
    }
}

impl Deref for Connection {
    type Target = Socket;

    fn deref(&self) -> &Socket {
        &self.0
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.0.descriptor().is_shared() {
            let _ = self.0.shutdown(Shutdown::Both);
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// An address that should be an IP address.
pub(crate) fn ip_address(addr: &SockAddr) -> io::Result<SocketAddr> {
    addr.as_socket().ok_or_else(not_an_ip_address)
}

fn not_an_ip_address() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not an IP address")
}
