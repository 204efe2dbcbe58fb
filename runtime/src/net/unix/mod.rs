//! Unix sockets: local streams and datagrams, and the descriptors that travel on them.
//!
//! Addresses are the standard library's: paths, and names in the abstract namespace
//! (`SocketAddrExt::from_abstract_name`). A path stays when its socket is gone; who binds it removes
//! what a predecessor has left.

mod address;
mod credentials;
mod datagram;
mod passing;
mod stream;

pub use credentials::UnixCredentials;
pub use datagram::UnixDatagram;
pub use passing::{FDS_MAX, UnixRecvMeta};
pub use stream::{UnixListener, UnixStream};

use std::io;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// How long to wait before another try, where a local socket's queue is full and nothing will tell when
/// it is not: a listener's backlog, or the queue of a datagram's receiver that one is not connected to.
/// The timers' resolution.
const PAUSE: Duration = Duration::from_millis(1);

/// A non-blocking socket.
fn new_socket(kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, kind, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Two that are connected.
fn new_pair(kind: Type) -> io::Result<(Socket, Socket)> {
    let (one, other) = Socket::pair(Domain::UNIX, kind, None)?;
    one.set_nonblocking(true)?;
    other.set_nonblocking(true)?;
    Ok((one, other))
}

/// Whether a socket says that it cannot now.
fn is_again<T>(result: &io::Result<T>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}
