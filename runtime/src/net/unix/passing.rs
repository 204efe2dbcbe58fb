//! Data with descriptors: what streams and datagrams have in common.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::SocketAddr;

use socket2::SockAddr;

use super::address;
use crate::buf::{BufResult, IoBuf, IoBufMut};
use crate::net::ancillary::{Control, last};
use crate::net::message::Received;
use crate::net::socket::Socket;

/// How many descriptors one message can pass: the kernel's `SCM_MAX_FD`.
pub const FDS_MAX: usize = 253;

/// What came with a message on a Unix socket.
#[derive(Debug)]
#[non_exhaustive]
pub struct UnixRecvMeta {
    /// Bytes of data in the buffer.
    pub len: usize,
    /// Who sent it: of a stream's, and of a socket's that is not bound, without a name.
    pub from: SocketAddr,
    /// The datagram was longer than the buffer, and the rest of it is lost.
    pub truncated: bool,
    /// The descriptors that were passed; they are closed on exec, and whether they block is for their
    /// sender to say.
    pub fds: Vec<OwnedFd>,
    /// There were more descriptors than were asked for, or than this process may have; they are closed.
    pub fds_truncated: bool,
}

impl UnixRecvMeta {
    fn new(mut received: Received, fds_max: usize) -> io::Result<Self> {
        let fds_truncated = received.is_control_truncated() || received.fds.len() > fds_max;
        received.fds.truncate(fds_max);
        Ok(Self {
            len: received.len,
            from: address::from_kernel(&received.from)?,
            truncated: received.is_truncated(),
            fds: received.fds,
            fds_truncated,
        })
    }
}

/// Receives into the start of `buf`, and up to `fds_max` descriptors.
pub(super) async fn recv<B: IoBufMut>(
    socket: &Socket,
    buf: B,
    fds_max: usize,
) -> BufResult<UnixRecvMeta, B> {
    let fds_max = fds_max.min(FDS_MAX);
    // Padding would be room for one more.
    let room = if fds_max == 0 { 0 } else { last(fds_max * size_of::<RawFd>()) };
    let (result, buf) = socket.recv_message(buf, room, 0).await;
    (result.and_then(|received| UnixRecvMeta::new(received, fds_max)), buf)
}

/// Sends `buf`'s initialised bytes to `to`, or to the peer, and `fds` with them.
///
/// The descriptors are duplicated first: a borrow need not last as long as the operation of a future
/// that was dropped.
pub(super) async fn send<B: IoBuf>(
    socket: &Socket,
    buf: B,
    to: Option<SockAddr>,
    fds: &[BorrowedFd<'_>],
    flags: i32,
) -> BufResult<usize, B> {
    if fds.len() > FDS_MAX {
        return (Err(io::ErrorKind::InvalidInput.into()), buf);
    }
    let fds: Vec<_> = match fds.iter().map(BorrowedFd::try_clone_to_owned).collect() {
        Ok(fds) => fds,
        Err(error) => return (Err(error), buf),
    };
    let control = rights(&fds);
    socket.send_message(buf, to, control, fds, flags).await
}

#[expect(clippy::host_endian_bytes, reason = "the kernel's structures are the host's")]
fn rights(fds: &[OwnedFd]) -> Control {
    let mut control = Control::default();
    if !fds.is_empty() {
        let numbers: Vec<u8> = fds.iter().flat_map(|fd| fd.as_raw_fd().to_ne_bytes()).collect();
        control.push(libc::SOL_SOCKET, libc::SCM_RIGHTS, &numbers);
    }
    control
}
