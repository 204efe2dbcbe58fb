//! Unix listeners and streams.

use std::fmt;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::SocketAddr;
use std::path::Path;

use socket2::{SockAddr, Type};

use super::{
    PAUSE, UnixCredentials, UnixRecvMeta, address, is_again, new_pair, new_socket, passing,
};
use crate::buf::{BufResult, IoBuf, IoBufMut};
use crate::net::socket::{Connection, Socket};
use crate::time::sleep;

/// How many connections wait to be accepted before others wait to connect. The kernel has a limit of
/// its own, `net.core.somaxconn`.
const BACKLOG: i32 = 1024;

/// A Unix socket that accepts connections.
pub struct UnixListener {
    socket: Socket,
}

impl UnixListener {
    /// Listens on `path`, which is made.
    ///
    /// # Errors
    /// Those of `socket`, `bind` and `listen`; `AddrInUse` if the path is there; `InvalidInput` for one
    /// that is no address, as it is with more than 107 bytes.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::bind_to(&address::of_path(path.as_ref())?)
    }

    /// Listens on `addr`, which may be abstract.
    ///
    /// # Errors
    /// As [`UnixListener::bind`].
    pub fn bind_addr(addr: &SocketAddr) -> io::Result<Self> {
        Self::bind_to(&address::to_kernel(addr)?)
    }

    fn bind_to(addr: &SockAddr) -> io::Result<Self> {
        let socket = new_socket(Type::STREAM)?;
        socket.bind(addr)?;
        socket.listen(BACKLOG)?;
        Ok(Self { socket: Socket::new(socket.into()) })
    }

    /// Takes a listener over, for example one that was there when the process began.
    ///
    /// # Errors
    /// When it cannot be made non-blocking.
    pub fn from_std(listener: std::os::unix::net::UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self { socket: Socket::new(listener.into()) })
    }

    /// Gives the listener out, for another core's runtime. It stays non-blocking.
    ///
    /// # Errors
    /// `ResourceBusy` if operations are in flight; the listener is closed then.
    pub fn into_std(self) -> io::Result<std::os::unix::net::UnixListener> {
        self.socket.into_fd().map(Into::into).map_err(|_| io::ErrorKind::ResourceBusy.into())
    }

    /// Waits for a connection; clients are rarely bound to an address. A connection won by a dropped
    /// call is closed.
    ///
    /// # Errors
    /// Those of `accept4`. After most of them the listener still works; pause before trying again when
    /// descriptors have run out.
    pub async fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let (socket, peer) = self.socket.accept().await?;
        Ok((UnixStream { socket: socket.into() }, address::from_kernel(&peer)?))
    }

    /// The address that this listens on.
    ///
    /// # Errors
    /// Those of `getsockname`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        address::local(self)
    }
}

impl AsFd for UnixListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl fmt::Debug for UnixListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnixListener").field("fd", &self.socket.as_raw_fd()).finish()
    }
}

/// A local connection. Its methods take `&self`: one task may receive while another sends.
///
/// Dropping it cancels what is in flight and closes it, so that the peer sees the end.
pub struct UnixStream {
    socket: Connection,
}

impl UnixStream {
    /// Connects to the listener at `path`. While its backlog is full, this tries again each millisecond.
    ///
    /// # Errors
    /// Those of `socket` and `connect`; `InvalidInput` for a path that is no address.
    pub async fn connect(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::connect_to(address::of_path(path.as_ref())?).await
    }

    /// Connects to the listener at `addr`; see [`UnixStream::connect`].
    ///
    /// # Errors
    /// As there.
    pub async fn connect_addr(addr: &SocketAddr) -> io::Result<Self> {
        Self::connect_to(address::to_kernel(addr)?).await
    }

    async fn connect_to(addr: SockAddr) -> io::Result<Self> {
        let socket = Socket::new(new_socket(Type::STREAM)?.into());
        loop {
            let connected = socket.connect(addr.clone()).await;
            if !is_again(&connected) {
                return connected.map(|()| Self { socket: socket.into() });
            }
            sleep(PAUSE).await;
        }
    }

    /// Two ends of one connection.
    ///
    /// # Errors
    /// Those of `socketpair`.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = new_pair(Type::STREAM)?;
        let own = |socket: socket2::Socket| Self { socket: Socket::new(socket.into()).into() };
        Ok((own(one), own(other)))
    }

    /// Takes a connection over, from another runtime for example.
    ///
    /// # Errors
    /// When it cannot be made non-blocking.
    pub fn from_std(stream: std::os::unix::net::UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { socket: Socket::new(stream.into()).into() })
    }

    /// Gives the connection out, for another core's runtime. It stays non-blocking.
    ///
    /// # Errors
    /// `ResourceBusy` if operations are in flight; the connection is closed then.
    pub fn into_std(self) -> io::Result<std::os::unix::net::UnixStream> {
        self.socket.into_fd().map(Into::into).map_err(|_| io::ErrorKind::ResourceBusy.into())
    }

    /// Receives some bytes into the start of `buf`; 0 at the end of the stream. Descriptors that were
    /// passed with them are closed.
    ///
    /// Not cancel safe: bytes that a dropped call has received are lost.
    ///
    /// # Errors
    /// Those of `recv`.
    pub async fn recv<B: IoBufMut>(&self, buf: B) -> BufResult<usize, B> {
        self.socket.recv(buf, 0).await
    }

    /// Receives until `buf` is full (all its [`IoBufMut::bytes_total`]); see [`UnixStream::recv`].
    ///
    /// # Errors
    /// Those of `recv`; `UnexpectedEof` if the stream ends before.
    pub async fn recv_exact<B: IoBufMut>(&self, buf: B) -> BufResult<(), B> {
        self.socket.recv_exact(buf).await
    }

    /// Receives some bytes into the start of `buf`, and up to `fds_max` descriptors that were passed with
    /// them, [`FDS_MAX`](super::FDS_MAX) at most: a receive ends with the bytes that descriptors came
    /// with. Further ones are closed, and [`UnixRecvMeta::fds_truncated`] says so.
    ///
    /// Not cancel safe: what a dropped call has received is lost, its descriptors closed.
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

    /// Sends some of `buf`'s initialised bytes.
    ///
    /// # Errors
    /// Those of `send`; a closed connection is `BrokenPipe`, never a signal.
    pub async fn send<B: IoBuf>(&self, buf: B) -> BufResult<usize, B> {
        self.socket.send(buf, 0).await
    }

    /// Sends all of `buf`'s initialised bytes.
    ///
    /// # Errors
    /// Those of `send`. How much went out before an error is not told.
    pub async fn send_all<B: IoBuf>(&self, buf: B) -> BufResult<(), B> {
        self.socket.send_all(buf).await
    }

    /// Sends some of `buf`'s initialised bytes, and passes `fds` with them; the receiver gets duplicates.
    /// What it did not send of `buf` is to be sent without them.
    ///
    /// # Errors
    /// Those of `sendmsg`, and of duplicating a descriptor; `InvalidInput` without a byte for the
    /// descriptors to go with, and for more than [`FDS_MAX`](super::FDS_MAX).
    pub async fn send_with_fds<B: IoBuf>(
        &self,
        buf: B,
        fds: &[BorrowedFd<'_>],
    ) -> BufResult<usize, B> {
        if buf.bytes_init() == 0 && !fds.is_empty() {
            return (Err(io::ErrorKind::InvalidInput.into()), buf);
        }
        passing::send(&self.socket, buf, None, fds, 0).await
    }

    /// Waits until the peer has ended its direction, or the connection is broken, while nobody receives.
    /// Bytes that were sent before stay to be received. Cancel safe.
    ///
    /// # Errors
    /// Those of `poll`.
    pub async fn hang_up(&self) -> io::Result<()> {
        self.socket.hang_up().await
    }

    /// Ends one direction or both; what waits in it ends too.
    ///
    /// # Errors
    /// Those of `shutdown`.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.shutdown(how)
    }

    /// Who is at the other end.
    ///
    /// # Errors
    /// Those of `getsockopt`.
    pub fn peer_cred(&self) -> io::Result<UnixCredentials> {
        UnixCredentials::of_peer(self)
    }

    /// The other end's address.
    ///
    /// # Errors
    /// Those of `getpeername`.
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

impl AsFd for UnixStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl fmt::Debug for UnixStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnixStream").field("fd", &self.socket.as_raw_fd()).finish()
    }
}
