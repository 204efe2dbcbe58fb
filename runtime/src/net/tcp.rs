//! TCP listeners and streams.

use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use rustix::net::sockopt;
use socket2::{Domain, Protocol, Type};

use super::incoming::Incoming;
use super::listen::ListenOptions;
use super::recv_pool::RecvPool;
use super::recv_stream::RecvStream;
use super::socket::{Connection, Socket, ip_address};
use super::sockopt::out_queue;
use super::zerocopy::{self, ZcSent};
use crate::buf::{BufResult, IoBuf, IoBufMut, IoBufs};
use crate::descriptor::Descriptor;
use crate::fs::Mapping;

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
        Self::bind_with(addr, &ListenOptions::new())
    }

    /// Listens on `addr` as `options` say, always with `SO_REUSEADDR`.
    ///
    /// # Errors
    /// Those of `socket`, `bind` and `listen`.
    pub fn bind_with(addr: SocketAddr, options: &ListenOptions) -> io::Result<Self> {
        Ok(Self { socket: Socket::new(options.listen(addr)?.into()) })
    }

    /// The connections, as a stream without an end: where the kernel has it (Linux 5.19, and a ring), one
    /// operation accepts them all, and elsewhere one after the other is accepted. They come without their
    /// peers' addresses, which that does not tell; [`TcpStream::peer_addr`] asks the kernel, and may come
    /// too late for a peer that is gone.
    ///
    /// Cancel safe. Connections that it has won and nobody has taken are closed when it is dropped.
    /// After an error it goes on with the next call; after one that says that descriptors or memory have
    /// run out, not before 50 ms have passed.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming::new(&self.socket)
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
    /// Connects to `addr`. A connection that a dropped call has made is closed. There is no limit on the
    /// time but the system's, which is minutes; see [`timeout`](crate::time::timeout).
    ///
    /// # Errors
    /// Those of `socket` and `connect`.
    pub async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(new_socket(addr)?.into());
        socket.connect(addr.into()).await?;
        Ok(Self { socket: socket.into() })
    }

    pub(super) fn from_socket(socket: Socket) -> Self {
        Self { socket: socket.into() }
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

    pub(crate) fn descriptor(&self) -> &Descriptor {
        self.socket.descriptor()
    }

    /// Receives some bytes into the start of `buf`; 0 at the end of the stream.
    ///
    /// Not cancel safe: bytes that a dropped call has received are lost.
    ///
    /// # Errors
    /// Those of `recv`.
    pub fn recv<B: IoBufMut>(&self, buf: B) -> impl Future<Output = BufResult<usize, B>> {
        self.socket.recv(buf, 0)
    }

    /// Receives until `buf` is full (all its [`IoBufMut::bytes_total`]).
    ///
    /// Not cancel safe: bytes that a dropped call has received are lost.
    ///
    /// # Errors
    /// Those of `recv`; `UnexpectedEof` if the stream ends before.
    pub fn recv_exact<B: IoBufMut>(&self, buf: B) -> impl Future<Output = BufResult<(), B>> {
        self.socket.recv_exact(buf)
    }

    /// All that comes, as a stream of buffers from `pool`; it ends where the peer's direction ends. Where
    /// the kernel has it (Linux 6.0, and a ring), one operation receives it all, into a buffer that the
    /// kernel picks when there is something; elsewhere the runtime waits for readiness and picks one. A
    /// connection that waits has none.
    ///
    /// Its items are `recv`'s errors, after which it ends; `InvalidInput` for a pool of another runtime.
    /// It waits while the pool has no buffer, and while its own share is held
    /// ([`RecvPool::share_max`]).
    ///
    /// Nothing is lost when its `next` is dropped. What it has received and nobody has taken is lost with
    /// the stream itself: it is not for a part of a connection, nor for two at a time. Dropping the
    /// connection ends it.
    pub fn recv_stream(&self, pool: &RecvPool) -> RecvStream {
        RecvStream::new(&self.socket, pool)
    }

    /// Waits until [`TcpStream::try_recv`] may have an answer. Cancel safe.
    ///
    /// # Errors
    /// Those of `poll`.
    pub async fn readable(&self) -> io::Result<()> {
        self.socket.poll(libc::POLLIN).await.map(drop)
    }

    /// Receives what is there, without waiting; 0 at the end of the stream.
    ///
    /// # Errors
    /// Those of `recv`; `WouldBlock` if there is nothing.
    pub fn try_recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.try_recv(buf)
    }

    /// Waits until [`TcpStream::try_send`] may have an answer. Cancel safe.
    ///
    /// # Errors
    /// Those of `poll`.
    pub async fn writable(&self) -> io::Result<()> {
        self.socket.poll(libc::POLLOUT).await.map(drop)
    }

    /// Sends some of `bytes`, as much as the kernel takes without waiting.
    ///
    /// # Errors
    /// Those of `send`; `WouldBlock` if it takes nothing.
    pub fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.try_send(bytes)
    }

    /// Sends some of `buf`'s initialised bytes.
    ///
    /// Not cancel safe: a dropped call may have sent some, or send them yet.
    ///
    /// # Errors
    /// Those of `send`; a closed connection is `BrokenPipe`, never a signal.
    pub fn send<B: IoBuf>(&self, buf: B) -> impl Future<Output = BufResult<usize, B>> {
        self.socket.send(buf, 0)
    }

    /// Sends all of `buf`'s initialised bytes.
    ///
    /// Not cancel safe: how much a dropped call has sent is not told.
    ///
    /// # Errors
    /// Those of `send`. How much went out before an error is not told.
    pub fn send_all<B: IoBuf>(&self, buf: B) -> impl Future<Output = BufResult<(), B>> {
        self.socket.send_all(buf)
    }

    /// [`send_all`](TcpStream::send_all) of what is not the end: the kernel may keep it back for a moment, to
    /// go out together with what follows, which is to be sent at once.
    ///
    /// # Errors
    /// As there.
    pub fn send_all_more<B: IoBuf>(&self, buf: B) -> impl Future<Output = BufResult<(), B>> {
        self.socket.send_all_more(buf)
    }

    /// Sends the bytes in `range` of a mapping, copied out of the page cache by the kernel, at once as far as the socket
    /// takes them: whoever has just looked at them has them at hand. `more` says that the next bytes follow at once.
    ///
    /// Pages that are not in the cache are read meanwhile, by this thread; [`File::cached_len`](crate::fs::File::cached_len) tells. Never
    /// without a copy: the socket's queue would have pages that others write to.
    ///
    /// Not cancel safe: how much a dropped call has sent is not told. It may go on for a moment, and the memory
    /// stays as long.
    ///
    /// # Errors
    /// Those of `send`: `EFAULT` where the file has been cut off meanwhile, never a signal; `InvalidInput` for a range
    /// that is not within the mapping. How much went out before an error is not told.
    pub async fn send_mapped(
        &self,
        mapping: &Mapping,
        range: Range<usize>,
        more: bool,
    ) -> io::Result<()> {
        let part = mapping.part(range)?;
        match more {
            true => self.socket.send_all_more(part).await.0,
            false => self.socket.send_all_now(part).await.0,
        }
    }

    /// Sends some of `buf`'s initialised bytes without copying them, if that is worth it and can be
    /// ([`ZeroCopyPolicy`](crate::ZeroCopyPolicy)), and by copying otherwise. The buffer comes back
    /// through [`ZcSent::notify`], not to be waited for before the next send: the kernel may want it
    /// until the peer has acknowledged the bytes. On a ring it needs Linux 6.0, or 6.1 for several
    /// buffers; without one it is `MSG_ZEROCOPY`, of Linux 4.14.
    ///
    /// Dropping the call at any point is sound; what has gone out stays sent. Send from one task at a
    /// time, as always with a stream.
    ///
    /// # Errors
    /// Those of `send`, in [`ZcSent::result`]. The buffer comes back all the same.
    pub async fn send_zc<B: IoBuf>(&self, buf: B) -> ZcSent<B> {
        zerocopy::send(&self.socket, buf).await
    }

    /// [`send_zc`](TcpStream::send_zc) of all of `buf`'s initialised bytes: as one, with one
    /// notification, however many sends it takes.
    ///
    /// # Errors
    /// As there. How much went out before an error is not told.
    pub async fn send_zc_all<B: IoBuf>(&self, buf: B) -> ZcSent<B> {
        zerocopy::send_all(&self.socket, buf).await
    }

    /// [`send_zc`](TcpStream::send_zc) of some of the bytes of several buffers, in order: a head and a
    /// payload, say. Up to 1024 buffers go in one send.
    ///
    /// # Errors
    /// As there.
    pub async fn sendmsg_zc<V: IoBufs>(&self, bufs: V) -> ZcSent<V> {
        zerocopy::send_msg(&self.socket, bufs).await
    }

    /// [`send_zc_all`](TcpStream::send_zc_all) of several buffers, in order.
    ///
    /// # Errors
    /// As there.
    pub async fn sendmsg_zc_all<V: IoBufs>(&self, bufs: V) -> ZcSent<V> {
        zerocopy::send_msg_all(&self.socket, bufs).await
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

    /// Ends the connection when sent bytes stay unacknowledged for so long (`TCP_USER_TIMEOUT`, in
    /// milliseconds; zero: the system's limit, about 15 minutes). It bounds how long a peer that has
    /// vanished keeps the buffers of zero-copy sends.
    ///
    /// # Errors
    /// Those of `setsockopt`; `InvalidInput` for more than 2^32 milliseconds.
    pub fn set_user_timeout(&self, limit: Duration) -> io::Result<()> {
        let millis = u32::try_from(limit.as_millis());
        let millis = millis.map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(sockopt::set_tcp_user_timeout(self, millis)?)
    }

    /// How many bytes have been sent and not been acknowledged by the peer, or not been sent yet (`SIOCOUTQ`).
    ///
    /// # Errors
    /// Those of `ioctl`.
    pub fn unacknowledged(&self) -> io::Result<usize> {
        Ok(usize::try_from(out_queue(self)?).unwrap_or_default())
    }

    /// Ends the connection at once, with a reset. What the peer has not acknowledged is thrown away: when this
    /// returns, the kernel has let go of all that was to be sent. What waits in either direction ends, and the
    /// peer sees `ConnectionReset`.
    ///
    /// # Errors
    /// Those of `connect` to nobody. The connection is reset at the latest when it is dropped.
    pub fn reset(&self) -> io::Result<()> {
        sockopt::set_socket_linger(self, Some(Duration::ZERO))?;
        Ok(rustix::net::connect_unspec(self)?)
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

impl From<TcpStream> for Connection {
    /// The socket, for another type that owns it.
    fn from(stream: TcpStream) -> Self {
        stream.socket
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
pub(super) fn new_socket(addr: SocketAddr) -> io::Result<socket2::Socket> {
    let socket =
        socket2::Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
