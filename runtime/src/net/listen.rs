//! How a listener is made.

use std::io;
use std::net::SocketAddr;

use super::tcp::new_socket;

/// How many connections the kernel completes before they are accepted.
const BACKLOG: u32 = 1024;

/// What can be said about a listener before it listens.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    backlog: u32,
    reuse_port: bool,
    only_v6: bool,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self { backlog: BACKLOG, reuse_port: false, only_v6: true }
    }
}

impl ListenOptions {
    /// The defaults: a backlog of 1024, the port for this listener alone, an IPv6 socket for IPv6 alone.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many connections wait to be accepted before further ones are turned away. The kernel has a
    /// limit of its own, `net.core.somaxconn`.
    #[must_use]
    pub fn backlog(mut self, connections: u32) -> Self {
        self.backlog = connections;
        self
    }

    /// Lets several listeners of one user have the same address (`SO_REUSEPORT`): the kernel deals
    /// connections out among them. One listener on each of [`Cores`](crate::Cores) needs no hand-over
    /// of connections; those that wait for a listener are lost when it is closed.
    #[must_use]
    pub fn reuse_port(mut self, reuse: bool) -> Self {
        self.reuse_port = reuse;
        self
    }

    /// Whether a listener on an IPv6 address turns IPv4 connections away (`IPV6_V6ONLY`).
    #[must_use]
    pub fn only_v6(mut self, only: bool) -> Self {
        self.only_v6 = only;
        self
    }

    /// A socket that listens on `addr`.
    pub(super) fn listen(&self, addr: SocketAddr) -> io::Result<socket2::Socket> {
        let socket = new_socket(addr)?;
        socket.set_reuse_address(true)?;
        if self.reuse_port {
            socket.set_reuse_port(true)?;
        }
        if addr.is_ipv6() {
            socket.set_only_v6(self.only_v6)?;
        }
        socket.bind(&addr.into())?;
        socket.listen(i32::try_from(self.backlog).unwrap_or(i32::MAX))?;
        Ok(socket)
    }
}
