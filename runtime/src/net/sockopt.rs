//! Socket options, and the like, that no crate of the house has a word for.

#![allow(unsafe_code, reason = "makes the system calls")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use libc::{c_int, socklen_t, ucred};

/// `setsockopt` of a number.
pub(crate) fn set(fd: impl AsFd, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
    let (fd, len) = (fd.as_fd().as_raw_fd(), size_of::<c_int>() as socklen_t);
    // SAFETY: the value is on the stack, and `len` is its size.
    let result = unsafe { libc::setsockopt(fd, level, option, (&raw const value).cast(), len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `getsockopt` of a number.
pub(crate) fn get(fd: impl AsFd, level: c_int, option: c_int) -> io::Result<c_int> {
    // SAFETY: every number is a `c_int`.
    unsafe { read(fd, level, option, 0) }
}

/// `ioctl(SIOCOUTQ)`: how much a stream still holds of what it is to send.
pub(crate) fn out_queue(fd: impl AsFd) -> io::Result<c_int> {
    let mut count = 0;
    // SAFETY: the number is on the stack.
    let result = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    if result == 0 { Ok(count) } else { Err(io::Error::last_os_error()) }
}

/// `getsockopt(SO_PEERCRED)`.
pub(crate) fn peer_credentials(fd: impl AsFd) -> io::Result<ucred> {
    let nobody = ucred { pid: 0, uid: 0, gid: 0 };
    // SAFETY: three numbers.
    unsafe { read(fd, libc::SOL_SOCKET, libc::SO_PEERCRED, nobody) }
}

/// `getsockopt` of whatever the option is, in place of `value`.
///
/// # Safety
/// Any bytes are a `T`.
unsafe fn read<T>(fd: impl AsFd, level: c_int, option: c_int, mut value: T) -> io::Result<T> {
    let (fd, mut len) = (fd.as_fd().as_raw_fd(), size_of::<T>() as socklen_t);
    // SAFETY: both out parameters are on the stack, and `len` is the size of `value`.
    let result =
        unsafe { libc::getsockopt(fd, level, option, (&raw mut value).cast(), &raw mut len) };
    if result == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}
