//! What can be said about a UDP socket before it has an address.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};

/// See [`UdpSocket::bind_with`](super::UdpSocket::bind_with).
#[derive(Clone, Debug)]
pub struct UdpOptions {
    reuse_port: bool,
    reuse_addr: bool,
    broadcast: bool,
    only_v6: bool,
    recv_buffer: Option<usize>,
    send_buffer: Option<usize>,
}

impl Default for UdpOptions {
    fn default() -> Self {
        Self {
            reuse_port: false,
            reuse_addr: false,
            broadcast: false,
            only_v6: true,
            recv_buffer: None,
            send_buffer: None,
        }
    }
}

impl UdpOptions {
    /// The defaults: the port for this socket alone, an IPv6 socket for IPv6 alone, the system's buffer
    /// sizes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets several sockets of one user have the same address (`SO_REUSEPORT`): the kernel deals
    /// datagrams out among them by sender, for example to one on each of [`Cores`](crate::Cores).
    #[must_use]
    pub fn reuse_port(mut self, reuse: bool) -> Self {
        self.reuse_port = reuse;
        self
    }

    /// Lets several sockets have the same address (`SO_REUSEADDR`), as members of a multicast group on
    /// one host do.
    #[must_use]
    pub fn reuse_addr(mut self, reuse: bool) -> Self {
        self.reuse_addr = reuse;
        self
    }

    /// Allows sending to broadcast addresses (`SO_BROADCAST`).
    #[must_use]
    pub fn broadcast(mut self, allow: bool) -> Self {
        self.broadcast = allow;
        self
    }

    /// Whether a socket on an IPv6 address leaves IPv4 alone (`IPV6_V6ONLY`).
    #[must_use]
    pub fn only_v6(mut self, only: bool) -> Self {
        self.only_v6 = only;
        self
    }

    /// How many bytes wait at most to be received (`SO_RCVBUF`), up to `net.core.rmem_max`; what comes
    /// beyond is dropped. The kernel counts twice as much, for its own overhead.
    #[must_use]
    pub fn recv_buffer(mut self, bytes: usize) -> Self {
        self.recv_buffer = Some(bytes);
        self
    }

    /// How many bytes wait at most to leave (`SO_SNDBUF`), up to `net.core.wmem_max`.
    #[must_use]
    pub fn send_buffer(mut self, bytes: usize) -> Self {
        self.send_buffer = Some(bytes);
        self
    }

    /// A non-blocking socket at `addr`.
    pub(super) fn bind(&self, addr: SocketAddr) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        socket.set_reuse_port(self.reuse_port)?;
        socket.set_reuse_address(self.reuse_addr)?;
        socket.set_broadcast(self.broadcast)?;
        if addr.is_ipv6() {
            socket.set_only_v6(self.only_v6)?;
        }
        if let Some(bytes) = self.recv_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(bytes) = self.send_buffer {
            socket.set_send_buffer_size(bytes)?;
        }
        socket.bind(&addr.into())?;
        Ok(socket)
    }
}
