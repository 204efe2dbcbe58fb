//! Where a client is.

use ringway::net::TcpStream;

/// Whether a client is on this host, as far as addresses tell: it comes from the one that it has connected to.
#[must_use]
pub fn is_near(stream: &TcpStream) -> bool {
    match (stream.peer_addr(), stream.local_addr()) {
        (Ok(peer), Ok(local)) => peer.ip() == local.ip(),
        _ => false,
    }
}
