//! Socket options that no crate of the house has a word for.

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
    let (mut value, mut len): (c_int, _) = (0, size_of::<c_int>() as socklen_t);
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: both out parameters are on the stack, and `len` is the size of `value`.
    let result =
        unsafe { libc::getsockopt(fd, level, option, (&raw mut value).cast(), &raw mut len) };
    if result == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}

/// `getsockopt(SO_PEERCRED)`.
pub(crate) fn peer_credentials(fd: impl AsFd) -> io::Result<ucred> {
    let mut value = ucred { pid: 0, uid: 0, gid: 0 };
    let (fd, mut len) = (fd.as_fd().as_raw_fd(), size_of::<ucred>() as socklen_t);
    let (level, option) = (libc::SOL_SOCKET, libc::SO_PEERCRED);
    // SAFETY: both out parameters are on the stack, and `len` is the size of `value`.
    let result =
        unsafe { libc::getsockopt(fd, level, option, (&raw mut value).cast(), &raw mut len) };
    if result == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}
