//! TCP listeners and streams.

use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::net::sockopt;
use socket2::{Domain, Protocol, Type};

use super::socket::{Connection, Socket, ip_address};
use crate::buf::{BufResult, IoBuf, IoBufMut};

/// How many connections the kernel completes before they are accepted.
const BACKLOG: i32 = 1024;

/// A socket that accepts connections.
pub struct TcpListener {
    socket: Socket,
}

impl TcpListener {
    /// Listens on `addr`, with `SO_REUSEADDR`; an IPv6 socket takes no IPv4 connections.
    ///
    /// # Errors
    /// Those of `socket`, `bind` and `listen`.
    pub fn bind(addr: SocketAddr) -> io::Result<Self> {
        let socket = new_socket(addr)?;
        socket.set_reuse_address(true)?;
        if addr.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        Ok(Self { socket: Socket::new(socket.into()) })
    }

    /// The address that this listens on, with the port that the kernel chose for port 0.
    ///
    /// # Errors
    /// Those of `getsockname`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Waits for a connection. A connection won by a dropped call is closed.
    ///
    /// # Errors
    /// Those of `accept4`. After most of them (`ECONNABORTED`, `EMFILE`, …) the listener still works;
    /// pause before trying again when descriptors have run out.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (socket, peer) = self.socket.accept().await?;
        Ok((TcpStream { socket: socket.into() }, ip_address(&peer)?))
    }
}

impl AsFd for TcpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpListener").field("fd", &self.socket.as_raw_fd()).finish()
    }
}

/// A connection. Its methods take `&self`: one task may receive while another sends.
///
/// Dropping it cancels what is in flight and closes it, so that the peer sees the end.
pub struct TcpStream {
    socket: Connection,
}

impl TcpStream {
    /// Connects to `addr`.
    ///
    /// # Errors
    /// Those of `socket` and `connect`.
    pub async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(new_socket(addr)?.into());
        socket.connect(addr.into()).await?;
        Ok(Self { socket: socket.into() })
    }

    /// Takes a connection over, from another runtime for example.
    ///
    /// # Errors
    /// When it cannot be made non-blocking.
    pub fn from_std(stream: std::net::TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { socket: Socket::new(stream.into()).into() })
    }

    /// Gives the connection out, for another core's runtime. It stays non-blocking.
    ///
    /// # Errors
    /// `ResourceBusy` if operations are in flight; the connection is closed then.
    pub fn into_std(self) -> io::Result<std::net::TcpStream> {
        self.socket.into_fd().map(Into::into).map_err(|_| io::ErrorKind::ResourceBusy.into())
    }

    /// The socket, for another type that owns it.
    pub(crate) fn into_connection(self) -> Connection {
        self.socket
    }

    /// Receives some bytes into the start of `buf`; 0 at the end of the stream.
    ///
    /// Not cancel safe: bytes that a dropped call has received are lost.
    ///
    /// # Errors
    /// Those of `recv`.
    pub async fn recv<B: IoBufMut>(&self, buf: B) -> BufResult<usize, B> {
        self.socket.recv(buf, 0).await
    }

    /// Receives until `buf` is full (all its [`IoBufMut::bytes_total`]).
    ///
    /// Not cancel safe: bytes that a dropped call has received are lost.
    ///
    /// # Errors
    /// Those of `recv`; `UnexpectedEof` if the stream ends before.
    pub async fn recv_exact<B: IoBufMut>(&self, buf: B) -> BufResult<(), B> {
        self.socket.recv_exact(buf).await
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

    /// Waits until the peer has ended its direction, or the connection is broken: to notice, while a
    /// request is being worked on and nobody receives, that nobody waits for its answer any more.
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

    /// Sends small segments at once (`TCP_NODELAY`), or lets the kernel gather them.
    ///
    /// # Errors
    /// Those of `setsockopt`.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        Ok(sockopt::set_tcp_nodelay(self, nodelay)?)
    }

    /// The other end's address.
    ///
    /// # Errors
    /// Those of `getpeername`; `NotConnected` once the peer is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.peer_addr()
    }

    /// This end's address.
    ///
    /// # Errors
    /// Those of `getsockname`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

impl AsFd for TcpStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpStream").field("fd", &self.socket.as_raw_fd()).finish()
    }
}

/// A socket for `addr`'s family. Non-blocking, as every socket here: readiness may lie.
fn new_socket(addr: SocketAddr) -> io::Result<socket2::Socket> {
    let socket =
        socket2::Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
