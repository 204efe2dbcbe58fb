//! Unix datagram sockets.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::SocketAddr;
use std::path::Path;

use socket2::{SockAddr, Type};

use super::{
    PAUSE, UnixCredentials, UnixRecvMeta, address, is_again, new_pair, new_socket, passing,
};
use crate::buf::{BufResult, IoBuf, IoBufMut};
use crate::net::socket::Socket;
use crate::time::sleep;

/// A local datagram socket. Its methods take `&self`: one task may receive while another sends.
///
/// Datagrams arrive whole and in order, and none is dropped: a full queue makes senders wait.
pub struct UnixDatagram {
    socket: Socket,
}

impl UnixDatagram {
    /// A socket at `path`, which is made.
    ///
    /// # Errors
    /// Those of `socket` and `bind`; `AddrInUse` if the path is there; `InvalidInput` for one that is no
    /// address, as it is with more than 107 bytes.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::bind_to(&address::of_path(path.as_ref())?)
    }

    /// A socket at `addr`, which may be abstract.
    ///
    /// # Errors
    /// As [`UnixDatagram::bind`].
    pub fn bind_addr(addr: &SocketAddr) -> io::Result<Self> {
        Self::bind_to(&address::to_kernel(addr)?)
    }

    fn bind_to(addr: &SockAddr) -> io::Result<Self> {
        let socket = new_socket(Type::DGRAM)?;
        socket.bind(addr)?;
        Ok(Self::new(socket.into()))
    }

    /// A socket without an address, which can send.
    ///
    /// # Errors
    /// Those of `socket`.
    pub fn unbound() -> io::Result<Self> {
        Ok(Self::new(new_socket(Type::DGRAM)?.into()))
    }

    /// Two that are connected with each other.
    ///
    /// # Errors
    /// Those of `socketpair`.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = new_pair(Type::DGRAM)?;
        Ok((Self::new(one.into()), Self::new(other.into())))
    }

    /// Takes a socket over, from another runtime for example.
    ///
    /// # Errors
    /// When it cannot be made non-blocking.
    pub fn from_std(socket: std::os::unix::net::UnixDatagram) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self::new(socket.into()))
    }

    /// Gives the socket out, for another core's runtime. It stays non-blocking.
    ///
    /// # Errors
    /// `ResourceBusy` if operations are in flight.
    pub fn into_std(self) -> io::Result<std::os::unix::net::UnixDatagram> {
        self.socket.into_fd().map(Into::into).map_err(|_| io::ErrorKind::ResourceBusy.into())
    }

    /// A queue that is full or not is the receiver's: this socket has no event when that changes.
    fn new(fd: OwnedFd) -> Self {
        Self { socket: Socket::without_events(fd) }
    }

    /// Makes the socket at `path` the peer: what is sent goes there, and only what it sends is received.
    ///
    /// # Errors
    /// Those of `connect`; `InvalidInput` for a path that is no address.
    pub async fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.socket.connect(address::of_path(path.as_ref())?).await
    }

    /// Makes the socket at `addr` the peer; see [`UnixDatagram::connect`].
    ///
    /// # Errors
    /// As there.
    pub async fn connect_addr(&self, addr: &SocketAddr) -> io::Result<()> {
        self.socket.connect(address::to_kernel(addr)?).await
    }

    /// Receives a datagram into the start of `buf`; what does not fit is lost, untold, and descriptors
    /// that were passed with it are closed.
    ///
    /// Not cancel safe: a datagram that a dropped call has received is lost. So it is with all that
    /// receive here.
    ///
    /// # Errors
    /// Those of `recv`.
    pub async fn recv<B: IoBufMut>(&self, buf: B) -> BufResult<usize, B> {
        self.socket.recv(buf, 0).await
    }

    /// Receives a datagram into the start of `buf`, and who sent it. Descriptors that were passed with it
    /// are closed.
    ///
    /// # Errors
    /// Those of `recvmsg`.
    pub async fn recv_from<B: IoBufMut>(&self, buf: B) -> BufResult<UnixRecvMeta, B> {
        self.recv_with_fds(buf, 0).await
    }

    /// Receives a datagram into the start of `buf`, and up to `fds_max` descriptors that were passed with
    /// it, [`FDS_MAX`](super::FDS_MAX) at most. Further ones are closed, and
    /// [`UnixRecvMeta::fds_truncated`] says so.
    ///
    /// # Errors
    /// Those of `recvmsg`.
    pub async fn recv_with_fds<B: IoBufMut>(
        &self,
        buf: B,
        fds_max: usize,
    ) -> BufResult<UnixRecvMeta, B> {
        passing::recv(&self.socket, buf, fds_max).await
    }

    /// Sends `buf`'s initialised bytes to the connected peer as one datagram. It waits while the peer's
    /// queue is full.
    ///
    /// # Errors
    /// Those of `send`: `EMSGSIZE` if it is too long; `ConnectionRefused` if the peer is gone.
    pub async fn send<B: IoBuf>(&self, buf: B) -> BufResult<usize, B> {
        self.send_message(buf, None, &[]).await
    }

    /// As [`UnixDatagram::send`], and passes `fds`; the receiver gets duplicates.
    ///
    /// # Errors
    /// Those of `sendmsg`, and of duplicating a descriptor; `InvalidInput` for more than
    /// [`FDS_MAX`](super::FDS_MAX).
    pub async fn send_with_fds<B: IoBuf>(
        &self,
        buf: B,
        fds: &[BorrowedFd<'_>],
    ) -> BufResult<usize, B> {
        self.send_message(buf, None, fds).await
    }

    /// Sends `buf`'s initialised bytes to the socket at `path` as one datagram. While its queue is full,
    /// this tries again each millisecond; who sends much should connect.
    ///
    /// # Errors
    /// Those of `sendmsg`: `EMSGSIZE` if it is too long; `ConnectionRefused` if nobody has the path's
    /// socket; `InvalidInput` for a path that is no address.
    pub async fn send_to<B: IoBuf>(&self, buf: B, path: impl AsRef<Path>) -> BufResult<usize, B> {
        match address::of_path(path.as_ref()) {
            Ok(addr) => self.send_message(buf, Some(&addr), &[]).await,
            Err(error) => (Err(error), buf),
        }
    }

    /// Sends to the socket at `addr`; see [`UnixDatagram::send_to`].
    ///
    /// # Errors
    /// As there.
    pub async fn send_to_addr<B: IoBuf>(&self, buf: B, addr: &SocketAddr) -> BufResult<usize, B> {
        match address::to_kernel(addr) {
            Ok(addr) => self.send_message(buf, Some(&addr), &[]).await,
            Err(error) => (Err(error), buf),
        }
    }

    /// Sends to `to`, or to the peer, when there is room.
    ///
    /// The kernel is never asked to wait. A ring of 6.18 that waits for a full queue sends an empty
    /// datagram in the end: its first attempt has used the data up.
    async fn send_message<B: IoBuf>(
        &self,
        mut buf: B,
        to: Option<&SockAddr>,
        fds: &[BorrowedFd<'_>],
    ) -> BufResult<usize, B> {
        loop {
            let result;
            let flags = libc::MSG_DONTWAIT;
            (result, buf) = passing::send(&self.socket, buf, to.cloned(), fds, flags).await;
            if !is_again(&result) {
                return (result, buf);
            }
            if to.is_some() {
                // Readiness would lie: this socket can send, it is another that cannot take.
                sleep(PAUSE).await;
            } else if let Err(error) = self.socket.poll(libc::POLLOUT).await {
                return (Err(error), buf);
            }
        }
    }

    /// Who is at the other end of a pair.
    ///
    /// # Errors
    /// Those of `getsockopt`.
    pub fn peer_cred(&self) -> io::Result<UnixCredentials> {
        UnixCredentials::of_peer(self)
    }

    /// The connected peer's address.
    ///
    /// # Errors
    /// Those of `getpeername`; `NotConnected` without one.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        address::peer(self)
    }

    /// This end's address.
    ///
    /// # Errors
    /// Those of `getsockname`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        address::local(self)
    }
}

impl AsFd for UnixDatagram {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl fmt::Debug for UnixDatagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnixDatagram").field("fd", &self.socket.as_raw_fd()).finish()
    }
}
