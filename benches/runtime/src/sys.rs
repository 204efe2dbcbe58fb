//! What the runtimes' jobs ask of the kernel beyond what measuring does.

#![allow(unsafe_code, reason = "system calls without a safe wrapper")]

use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;

pub(crate) use measure::sys::*;

/// `SO_ZEROCOPY`.
pub(crate) fn allow_zero_copy(socket: &TcpStream) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option is an int, and is only read.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ZEROCOPY,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `send` with `MSG_ZEROCOPY`. The caller leaves `bytes` as they are until the end of the process.
pub(crate) fn send_zero_copy(socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_ZEROCOPY | libc::MSG_NOSIGNAL;
    // SAFETY: `bytes` is only read. That it is read later too harms nobody: at worst other bytes go out.
    let sent = unsafe { libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Waits for notifications of zero-copy sends; tells of how many sends the kernel has let go.
pub(crate) fn zero_copies_done(socket: &TcpStream) -> io::Result<u32> {
    let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events: 0, revents: 0 };
    let mut control = [0_u64; 16];
    // SAFETY: all zeroes are a valid header, one without buffers.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&control) as _;
    // SAFETY: one entry; the header names `control`, with its size, which lives through the call.
    let received = unsafe {
        libc::poll(&raw mut poll, 1, -1);
        libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_ERRQUEUE)
    };
    if received < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has filled the header; a message of the error queue has one control message,
    // of this type, in memory that is aligned for it.
    let range = unsafe {
        let first = libc::CMSG_FIRSTHDR(&raw const header);
        (!first.is_null()).then(|| libc::CMSG_DATA(first).cast::<libc::sock_extended_err>().read())
    };
    let Some(range) = range else { return Err(io::ErrorKind::ConnectionReset.into()) };
    Ok(range.ee_data - range.ee_info + 1)
}
