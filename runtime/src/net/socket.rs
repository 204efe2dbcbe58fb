//! What every socket here can do, whatever its family: the operations behind the public types.

#![allow(unsafe_code, reason = "makes operations out of descriptors and buffers")]

use std::cell::OnceCell;
use std::io;
use std::mem::ManuallyDrop;
use std::net::{Shutdown, SocketAddr};
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::rc::{Rc, Weak};

use ringway_driver::Op;
use socket2::{SockAddr, SockAddrStorage};

use super::zerocopy;
use crate::buf::{BufResult, IoBuf, IoBufExt, IoBufMut, filled, op_len};
use crate::op;
use crate::runtime::{self, Core};

/// A socket; clones are the same one. It is non-blocking, for readiness may lie.
#[derive(Clone)]
pub(crate) struct Socket(Rc<Shared>);

/// The descriptor, and the runtime that knows about it.
struct Shared {
    fd: OwnedFd,
    /// Set by the first operation, where the driver wants to be told of the descriptor's end.
    adopted_by: OnceCell<Weak<Core>>,
    /// Made by the first zero-copy send.
    zero_copy: OnceCell<Box<zerocopy::OnSocket>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(core) = self.adopted_by.get().and_then(Weak::upgrade) {
            core.ops.forget(self.fd.as_raw_fd());
        }
    }
}

impl Socket {
    /// Takes a non-blocking descriptor over.
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self(Rc::new(Shared { fd, adopted_by: OnceCell::new(), zero_copy: OnceCell::new() }))
    }

    /// The descriptor alone, for another runtime.
    ///
    /// # Errors
    /// Itself, while operations or clones hold it.
    pub(crate) fn into_fd(self) -> Result<OwnedFd, Self> {
        let mut shared = Rc::try_unwrap(self.0).map_err(Self)?;
        let fd = shared.fd.as_raw_fd();
        if let Some(core) = shared.adopted_by.get().and_then(Weak::upgrade) {
            core.ops.forget(fd);
        }
        drop(shared.zero_copy.take());
        let shared = ManuallyDrop::new(shared);
        // SAFETY: the value is not used again, nor dropped; of the other fields one is empty and one a
        // cell of a weak reference, leaked at worst.
        Ok(unsafe { ptr::read(&raw const shared.fd) })
    }

    /// A clone for an operation's parts, which the driver has been told about.
    pub(crate) fn for_operation(&self) -> Self {
        self.0.adopted_by.get_or_init(|| {
            let core = runtime::current();
            if core.ops.adopt(self.as_raw_fd()) { Rc::downgrade(&core) } else { Weak::new() }
        });
        self.clone()
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

    /// `recv` into the start of `buf`, with `flags`.
    pub(crate) async fn recv<B: IoBufMut>(&self, buf: B, flags: i32) -> BufResult<usize, B> {
        // SAFETY: socket and buffer belong to the parts; a receive's result is how many bytes it wrote
        // from the buffer's start (callers leave MSG_TRUNC alone).
        let recv = unsafe {
            op::submit(
                None,
                (self.for_operation(), buf),
                move |(socket, buf)| Op::Recv {
                    fd: socket.as_raw_fd(),
                    buf: buf.stable_mut_ptr(),
                    len: op_len(buf.bytes_total()),
                    flags,
                },
                |(_, buf), result| filled(result, buf),
            )
        };
        recv.await
    }

    /// Receives until `buf` is full; `UnexpectedEof` if the stream ends before.
    pub(crate) async fn recv_exact<B: IoBufMut>(&self, mut buf: B) -> BufResult<(), B> {
        let total = buf.bytes_total();
        let mut done = 0;
        while done < total {
            let (result, part) = self.recv(buf.slice(done..total), 0).await;
            buf = part.into_inner();
            match result {
                Ok(0) => return (Err(io::ErrorKind::UnexpectedEof.into()), buf),
                Ok(n) => done += n,
                Err(error) => return (Err(error), buf),
            }
        }
        (Ok(()), buf)
    }

    /// `send` of `buf`'s initialised bytes, with `flags`.
    pub(crate) async fn send<B: IoBuf>(&self, buf: B, flags: i32) -> BufResult<usize, B> {
        // SAFETY: socket and buffer belong to the parts.
        let send = unsafe {
            op::submit(
                None,
                (self.for_operation(), buf),
                move |(socket, buf)| Op::Send {
                    fd: socket.as_raw_fd(),
                    buf: buf.stable_ptr(),
                    len: op_len(buf.bytes_init()),
                    flags,
                },
                |(_, buf), result| (result.map(|n| n as usize), buf),
            )
        };
        send.await
    }

    /// Sends all of `buf`'s initialised bytes.
    pub(crate) async fn send_all<B: IoBuf>(&self, mut buf: B) -> BufResult<(), B> {
        let total = buf.bytes_init();
        let mut done = 0;
        while done < total {
            let (result, part) = self.send(buf.slice(done..), 0).await;
            buf = part.into_inner();
            match result {
                Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), buf),
                Ok(n) => done += n,
                Err(error) => return (Err(error), buf),
            }
        }
        (Ok(()), buf)
    }

    /// Waits for any of the `POLL*` `events`, or an error or hang-up; tells which. Moves nothing.
    pub(crate) async fn poll(&self, events: i16) -> io::Result<i16> {
        // SAFETY: the socket belongs to the parts.
        let poll = unsafe {
            op::submit(
                None,
                self.for_operation(),
                move |socket| Op::Poll { fd: socket.as_raw_fd(), events },
                |_, result| result.map(|ready| ready as i16),
            )
        };
        poll.await
    }

    /// Waits until the peer has ended its direction of the stream, or the connection is broken, while
    /// nobody receives. Bytes that still wait to be received do not end the wait.
    pub(crate) async fn hang_up(&self) -> io::Result<()> {
        loop {
            let ready = self.poll(libc::POLLRDHUP).await?;
            // A notification about a zero-copy send is told as an error, too.
            let zero_copy = self.0.zero_copy.get().filter(|_| ready == libc::POLLERR);
            if !zero_copy.is_some_and(|zero_copy| zero_copy.explains_error(self)) {
                return Ok(());
            }
        }
    }

    /// What zero-copy sends have to remember.
    pub(crate) fn zero_copy(&self) -> &zerocopy::OnSocket {
        self.0.zero_copy.get_or_init(Box::default)
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
        if Rc::strong_count(&self.0.0) > 1 {
            let _ = self.0.shutdown(Shutdown::Both);
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.fd.as_raw_fd()
    }
}

/// An address that should be an IP address.
pub(crate) fn ip_address(addr: &SockAddr) -> io::Result<SocketAddr> {
    addr.as_socket().ok_or_else(not_an_ip_address)
}

fn not_an_ip_address() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not an IP address")
}
