//! UDP sockets. Not what QUIC or any protocol makes of them.
//!
//! Start from [`UdpSocket`]; [`RecvMeta`] and [`SendMeta`] say what goes with the data.

mod meta;
mod offload;
mod options;

use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use socket2::{SockAddr, SockRef};

use super::ancillary::Control;
use super::socket::{Socket, ip_address};
use super::sockopt;
use super::zerocopy::{self, ZcSent};
use crate::buf::{BufResult, IoBuf, IoBufExt, IoBufMut};
use crate::runtime;

pub use meta::{Ecn, RecvMeta, SendMeta};
pub(crate) use offload::Offload;
pub use options::UdpOptions;

/// A UDP socket. Its methods take `&self`: one task may receive while another sends.
///
/// A datagram is sent and received whole or, where the buffer is too small, cut; an empty one is a
/// datagram too.
pub struct UdpSocket {
    socket: Socket,
    /// IPv4 is what travels to who is not named.
    peer_v4: Cell<bool>,
    /// The kernel has refused for good to cut datagrams for this socket.
    gso_refused: Cell<bool>,
}

impl UdpSocket {
    /// A socket at `addr`; port 0 lets the kernel choose one. An IPv6 socket has nothing to do with
    /// IPv4.
    ///
    /// # Errors
    /// Those of `socket` and `bind`.
    pub fn bind(addr: SocketAddr) -> io::Result<Self> {
        Self::bind_with(addr, &UdpOptions::new())
    }

    /// A socket at `addr`, as `options` say.
    ///
    /// # Errors
    /// Those of `socket`, `setsockopt` and `bind`.
    pub fn bind_with(addr: SocketAddr, options: &UdpOptions) -> io::Result<Self> {
        Ok(Self::new(Socket::new(options.bind(addr)?.into()), addr))
    }

    /// Takes a socket over, from another runtime for example.
    ///
    /// # Errors
    /// When it cannot be made non-blocking, or has no address.
    pub fn from_std(socket: std::net::UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let addr = socket.peer_addr().or_else(|_| socket.local_addr())?;
        Ok(Self::new(Socket::new(socket.into()), addr))
    }

    /// Gives the socket out, for another core's runtime. It stays non-blocking.
    ///
    /// # Errors
    /// `ResourceBusy` if operations are in flight.
    pub fn into_std(self) -> io::Result<std::net::UdpSocket> {
        self.socket.into_fd().map(Into::into).map_err(|_| io::ErrorKind::ResourceBusy.into())
    }

    fn new(socket: Socket, speaks_as: SocketAddr) -> Self {
        let (peer_v4, gso_refused) = (Cell::new(is_v4(speaks_as)), Cell::new(false));
        Self { socket, peer_v4, gso_refused }
    }

    /// Makes `addr` the peer: what is sent goes there, and only what it sends is received. Nothing is
    /// asked of it.
    ///
    /// # Errors
    /// Those of `connect`.
    pub async fn connect(&self, addr: SocketAddr) -> io::Result<()> {
        self.socket.connect(addr.into()).await?;
        self.peer_v4.set(is_v4(addr));
        Ok(())
    }

    /// Receives a datagram into the start of `buf`; what does not fit is lost, untold.
    ///
    /// Not cancel safe: a datagram that a dropped call has received is lost. So it is with all that
    /// receive here.
    ///
    /// # Errors
    /// Those of `recv`; `ConnectionRefused` says that the peer took something sent before for nobody's.
    pub async fn recv<B: IoBufMut>(&self, buf: B) -> BufResult<usize, B> {
        self.socket.recv(buf, 0).await
    }

    /// Receives a datagram into the start of `buf`, or several with [`UdpSocket::set_gro`], and all that
    /// is told of it.
    ///
    /// # Errors
    /// Those of `recvmsg`; see [`UdpSocket::recv`].
    pub async fn recv_from<B: IoBufMut>(&self, buf: B) -> BufResult<RecvMeta, B> {
        self.recv_message(buf, 0).await
    }

    /// As [`UdpSocket::recv_from`], and leaves the datagram there. Cancel safe.
    ///
    /// # Errors
    /// Those of `recvmsg`; see [`UdpSocket::recv`].
    pub async fn peek_from<B: IoBufMut>(&self, buf: B) -> BufResult<RecvMeta, B> {
        self.recv_message(buf, libc::MSG_PEEK).await
    }

    async fn recv_message<B: IoBufMut>(&self, buf: B, flags: i32) -> BufResult<RecvMeta, B> {
        let (result, buf) = self.socket.recv_message(buf, meta::ROOM, flags).await;
        let meta = result.and_then(|received| {
            let (from, truncated) = (ip_address(&received.from)?, received.is_truncated());
            Ok(RecvMeta::new(from, received.len, truncated, &received.control))
        });
        (meta, buf)
    }

    /// Sends `buf`'s initialised bytes to the connected peer as one datagram. It waits while the
    /// socket's buffer is full.
    ///
    /// # Errors
    /// Those of `send`: `EMSGSIZE` if it is too long; `ConnectionRefused` as in [`UdpSocket::recv`], and
    /// then this datagram was not sent.
    pub async fn send<B: IoBuf>(&self, buf: B) -> BufResult<usize, B> {
        self.socket.send(buf, 0).await
    }

    /// Sends `buf`'s initialised bytes to the connected peer as one datagram, without copying them if that
    /// is worth it and can be ([`ZeroCopyPolicy`](crate::ZeroCopyPolicy)), and by copying otherwise, whole
    /// either way. The buffer comes back through [`ZcSent::notify`].
    ///
    /// The kernel copies what is longer than one packet of the device (its MTU), and on loopback
    /// everything. On a ring it needs Linux 6.0; without one it is `MSG_ZEROCOPY`, of Linux 5.0.
    ///
    /// Dropping the call is sound; the datagram is then sent or not.
    ///
    /// # Errors
    /// As [`UdpSocket::send`], in [`ZcSent::result`]. The buffer comes back all the same.
    pub async fn send_zc<B: IoBuf>(&self, buf: B) -> ZcSent<B> {
        zerocopy::send_datagram(&self.socket, buf).await
    }

    /// Sends `buf`'s initialised bytes to `addr` as one datagram. It waits while the socket's buffer is
    /// full.
    ///
    /// # Errors
    /// Those of `sendmsg`: `EMSGSIZE` if it is too long.
    pub async fn send_to<B: IoBuf>(&self, buf: B, addr: SocketAddr) -> BufResult<usize, B> {
        self.send_message(buf, Some(addr), Control::default()).await
    }

    /// Sends `buf`'s initialised bytes to `addr`, or to the connected peer, as datagrams of
    /// `segment_size` bytes each, of which the last may be shorter. The kernel cuts, many at a time,
    /// where it can ([`Feature::UdpGso`](crate::Feature::UdpGso), and the socket's device).
    ///
    /// # Errors
    /// Those of `sendmsg`; how many went out before is not told. `InvalidInput` for a size of 0.
    pub async fn send_segments<B: IoBuf>(
        &self,
        buf: B,
        segment_size: usize,
        addr: Option<SocketAddr>,
    ) -> BufResult<(), B> {
        let segment_size = Some(segment_size);
        let meta = SendMeta { to: addr, segment_size, ..SendMeta::default() };
        self.send_with(buf, &meta).await
    }

    /// Sends `buf`'s initialised bytes as `meta` says: one datagram, or several.
    ///
    /// # Errors
    /// Those of `sendmsg`; how many went out before is not told. `InvalidInput` for a segment size of 0.
    pub async fn send_with<B: IoBuf>(&self, mut buf: B, meta: &SendMeta) -> BufResult<(), B> {
        let total = buf.bytes_init();
        let segment_size = meta.segment_size.unwrap_or(total.max(1));
        if segment_size == 0 {
            return (Err(io::ErrorKind::InvalidInput.into()), buf);
        }
        let (mut sent, batch) = (0_usize, offload::batch(segment_size));
        loop {
            let part = sent..total.min(sent.saturating_add(batch));
            sent = part.end;
            let result;
            (result, buf) = self.send_batch(buf, part, segment_size, meta).await;
            if result.is_err() || sent == total {
                return (result, buf);
            }
        }
    }

    /// Sends `part` of `buf`, cut by the kernel, or if it refuses, here.
    async fn send_batch<B: IoBuf>(
        &self,
        mut buf: B,
        part: Range<usize>,
        segment_size: usize,
        meta: &SendMeta,
    ) -> BufResult<(), B> {
        let cut = u16::try_from(segment_size).ok().filter(|_| part.len() > segment_size);
        if let Some(segment_size) = cut
            && self.cuts()
        {
            let control = meta.control(self.sends_v4(meta), Some(segment_size));
            let (result, sent) = self.send_message(buf.slice(part.clone()), meta.to, control).await;
            buf = sent.into_inner();
            match result {
                Err(error) if offload::is_refusal(&error) => {
                    self.gso_refused.set(offload::is_final(&error));
                }
                result => return (result.map(drop), buf),
            }
        }
        self.send_one_by_one(buf, part, segment_size, meta).await
    }

    async fn send_one_by_one<B: IoBuf>(
        &self,
        mut buf: B,
        part: Range<usize>,
        segment_size: usize,
        meta: &SendMeta,
    ) -> BufResult<(), B> {
        let mut begin = part.start;
        loop {
            let end = part.end.min(begin.saturating_add(segment_size));
            let control = meta.control(self.sends_v4(meta), None);
            let (result, sent) = self.send_message(buf.slice(begin..end), meta.to, control).await;
            buf = sent.into_inner();
            begin = end;
            if result.is_err() || begin == part.end {
                return (result.map(drop), buf);
            }
        }
    }

    fn sends_v4(&self, meta: &SendMeta) -> bool {
        meta.to.map_or(self.peer_v4.get(), is_v4)
    }

    fn cuts(&self) -> bool {
        runtime::current().udp.gso && !self.gso_refused.get()
    }

    async fn send_message<B: IoBuf>(
        &self,
        buf: B,
        to: Option<SocketAddr>,
        control: Control,
    ) -> BufResult<usize, B> {
        let to = to.map(SockAddr::from);
        self.socket.send_message(buf, to, control, Vec::new(), 0).await
    }

    /// Lets one receive take several datagrams of one sender and one size (`UDP_GRO`); the buffer should
    /// have room for 64 KiB then, and the receiver is to look at [`RecvMeta::segment_size`]. Tells whether
    /// it is so now: without [`Feature::UdpGro`](crate::Feature::UdpGro) each receive takes one.
    ///
    /// # Errors
    /// Those of `setsockopt`.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn set_gro(&self, join: bool) -> io::Result<bool> {
        let join = join && runtime::current().udp.gro;
        if join || runtime::current().udp.gro {
            sockopt::set(self, libc::SOL_UDP, libc::UDP_GRO, join.into())?;
        }
        Ok(join)
    }

    /// Asks for [`RecvMeta::ecn`].
    ///
    /// # Errors
    /// Those of `setsockopt`.
    pub fn set_recv_ecn(&self, tell: bool) -> io::Result<()> {
        self.set_on_both(tell, libc::IP_RECVTOS, libc::IPV6_RECVTCLASS)
    }

    /// Asks for [`RecvMeta::to`].
    ///
    /// # Errors
    /// Those of `setsockopt`.
    pub fn set_recv_destination(&self, tell: bool) -> io::Result<()> {
        self.set_on_both(tell, libc::IP_PKTINFO, libc::IPV6_RECVPKTINFO)
    }

    /// An IPv6 socket may also get IPv4 datagrams, which are told of in IPv4's words.
    fn set_on_both(&self, on: bool, v4: i32, v6: i32) -> io::Result<()> {
        if self.local_addr()?.is_ipv6() {
            sockopt::set(self, libc::SOL_IPV6, v6, on.into())?;
        }
        sockopt::set(self, libc::SOL_IP, v4, on.into())
    }

    /// Allows sending to broadcast addresses, or not.
    ///
    /// # Errors
    /// Those of `setsockopt`.
    pub fn set_broadcast(&self, allow: bool) -> io::Result<()> {
        SockRef::from(self).set_broadcast(allow)
    }

    /// How many bytes wait at most to be received; see [`UdpOptions::recv_buffer`].
    ///
    /// # Errors
    /// Those of `setsockopt`.
    pub fn set_recv_buffer(&self, bytes: usize) -> io::Result<()> {
        SockRef::from(self).set_recv_buffer_size(bytes)
    }

    /// How many bytes wait at most to leave; see [`UdpOptions::send_buffer`].
    ///
    /// # Errors
    /// Those of `setsockopt`.
    pub fn set_send_buffer(&self, bytes: usize) -> io::Result<()> {
        SockRef::from(self).set_send_buffer_size(bytes)
    }

    /// Joins a multicast group on the interface that has the address `interface`, or on one that the
    /// kernel chooses (`0.0.0.0`).
    ///
    /// # Errors
    /// Those of `setsockopt`.
    pub fn join_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        SockRef::from(self).join_multicast_v4(&group, &interface)
    }

    /// Leaves a group that was joined so.
    ///
    /// # Errors
    /// Those of `setsockopt`.
    pub fn leave_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        SockRef::from(self).leave_multicast_v4(&group, &interface)
    }

    /// Joins a multicast group on the interface with the index `interface`, or on one that the kernel
    /// chooses (0).
    ///
    /// # Errors
    /// Those of `setsockopt`.
    pub fn join_multicast_v6(&self, group: Ipv6Addr, interface: u32) -> io::Result<()> {
        SockRef::from(self).join_multicast_v6(&group, interface)
    }

    /// Leaves a group that was joined so.
    ///
    /// # Errors
    /// Those of `setsockopt`.
    pub fn leave_multicast_v6(&self, group: Ipv6Addr, interface: u32) -> io::Result<()> {
        SockRef::from(self).leave_multicast_v6(&group, interface)
    }

    /// This end's address.
    ///
    /// # Errors
    /// Those of `getsockname`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The connected peer's address.
    ///
    /// # Errors
    /// Those of `getpeername`; `NotConnected` without one.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.peer_addr()
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpSocket").field("fd", &self.socket.as_raw_fd()).finish()
    }
}

/// Whether datagrams to `addr` are IPv4, be it through an IPv6 socket.
fn is_v4(addr: SocketAddr) -> bool {
    addr.ip().to_canonical().is_ipv4()
}
