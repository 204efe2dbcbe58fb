//! Small calls on one descriptor: transfers with flags, and questions that do not block unless told to.

#![allow(unsafe_code, reason = "makes the system calls")]

use std::io;
use std::mem::size_of;
use std::os::fd::RawFd;
use std::ptr;

use libc::{c_int, c_void, iovec};

use crate::sigpipe;
use crate::syscall::STREAM;

/// The most that one read or write moves (the kernel's `MAX_RW_COUNT`); fits a result.
pub(crate) const TRANSFER_MAX: u32 = 0x7fff_f000;

/// What the C library returned, as a [`ringway_driver::Completion`] has it.
#[inline(always)]
pub(crate) fn outcome(result: i64) -> i32 {
    if result == -1 {
        return -io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
    }
    i32::try_from(result).unwrap_or(i32::MAX)
}

/// The events that are ready, within `timeout` milliseconds; a negated errno.
pub(crate) fn poll(fd: RawFd, events: i16, timeout: c_int) -> i32 {
    let mut entry = libc::pollfd { fd, events, revents: 0 };
    // SAFETY: one entry, on the stack.
    let result = outcome(unsafe { libc::poll(&raw mut entry, 1, timeout) }.into());
    if entry.revents & libc::POLLNVAL != 0 {
        return -libc::EBADF;
    }
    if result < 0 { result } else { i32::from(entry.revents.cast_unsigned()) }
}

/// The error that a socket has kept, negated, or 0; asking takes it.
pub(crate) fn socket_error(fd: RawFd) -> i32 {
    match socket_option(fd, libc::SO_ERROR) {
        Ok(errno) => -errno,
        Err(result) => result,
    }
}

/// What became of a connection attempt that was left to itself; `None` while it lasts.
pub(crate) fn connected(fd: RawFd) -> Option<i32> {
    (poll(fd, libc::POLLOUT, 0) != 0).then(|| socket_error(fd))
}

/// Whether `fd` is a stream socket: one where `MSG_WAITALL` has a meaning.
pub(crate) fn is_stream_socket(fd: RawFd) -> bool {
    socket_option(fd, libc::SO_TYPE) == Ok(libc::SOCK_STREAM)
}

fn socket_option(fd: RawFd, name: c_int) -> Result<c_int, i32> {
    let (mut value, mut len): (c_int, _) = (0, size_of::<c_int>() as libc::socklen_t);
    // SAFETY: both out parameters are on the stack, and `len` is the size of `value`.
    let result = unsafe {
        libc::getsockopt(fd, libc::SOL_SOCKET, name, (&raw mut value).cast(), &raw mut len)
    };
    if result == 0 { Ok(value) } else { Err(outcome(result.into())) }
}

/// Regular files, directories and block devices: always "ready", and yet they wait for a disk.
pub(crate) fn is_file(fd: RawFd) -> bool {
    let is_file = |stat: libc::stat| {
        matches!(stat.st_mode & libc::S_IFMT, libc::S_IFREG | libc::S_IFDIR | libc::S_IFBLK)
    };
    status(fd).is_some_and(is_file)
}

/// Whether a file has no bytes from `at` on. A read that does not wait may not be believed when it says
/// so: on Linux 5.10 "nothing" is also what it says of bytes that are not in the cache.
pub(crate) fn ends_by(fd: RawFd, at: u64) -> bool {
    let ends = |stat: libc::stat| {
        stat.st_mode & libc::S_IFMT == libc::S_IFREG
            && u64::try_from(stat.st_size).is_ok_and(|size| size <= at)
    };
    status(fd).is_some_and(ends)
}

/// `fstat`.
fn status(fd: RawFd) -> Option<libc::stat> {
    // SAFETY: `fstat` fills the structure if it succeeds; zero is a valid value of each field.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the structure is on the stack.
    let result = unsafe { libc::fstat(fd, &raw mut stat) };
    (result == 0).then_some(stat)
}

pub(crate) fn is_nonblocking(fd: RawFd) -> bool {
    let flags = status_flags(fd);
    flags < 0 || flags & libc::O_NONBLOCK != 0
}

/// `O_NONBLOCK` and the like; negative for no descriptor.
pub(crate) fn status_flags(fd: RawFd) -> c_int {
    // SAFETY: takes and gives numbers only.
    unsafe { libc::fcntl(fd, libc::F_GETFL) }
}

/// Of `flags` the kernel takes those that can change after opening, and ignores the rest.
pub(crate) fn set_status_flags(fd: RawFd, flags: c_int) {
    // SAFETY: takes numbers only. It cannot fail on an open descriptor and flags that it had.
    unsafe { libc::fcntl(fd, libc::F_SETFL, flags) };
}

/// `preadv2`; offset -1, which `u64::MAX` becomes, is the stream's own position.
///
/// # Safety
/// `buf` is valid for writing `len` bytes.
#[inline(always)]
pub(crate) unsafe fn read(fd: RawFd, buf: *mut u8, len: u32, offset: u64, flags: c_int) -> i32 {
    let part = iovec { iov_base: buf.cast(), iov_len: len.min(TRANSFER_MAX) as usize };
    // SAFETY: one vector, on the stack, that names the caller's buffer.
    outcome(unsafe { libc::preadv2(fd, &raw const part, 1, offset.cast_signed(), flags) } as i64)
}

/// `pwritev2`, likewise.
///
/// # Safety
/// `buf` is valid for reading `len` bytes.
pub(crate) unsafe fn write(fd: RawFd, buf: *const u8, len: u32, offset: u64, flags: c_int) -> i32 {
    let base: *mut c_void = buf.cast_mut().cast();
    let part = iovec { iov_base: base, iov_len: len.min(TRANSFER_MAX) as usize };
    // SAFETY: one vector, on the stack, that names the caller's buffer; it is only read.
    unsafe { write_vectored(fd, &raw const part, 1, offset, flags) }
}

/// `preadv2` into several parts.
///
/// # Safety
/// `iov` names `count` vectors, each valid for writing.
pub(crate) unsafe fn read_vectored(
    fd: RawFd,
    iov: *const iovec,
    count: u32,
    offset: u64,
    flags: c_int,
) -> i32 {
    let count = c_int::try_from(count).unwrap_or(c_int::MAX);
    // SAFETY: the caller's promise.
    outcome(unsafe { libc::preadv2(fd, iov, count, offset.cast_signed(), flags) } as i64)
}

/// `pwritev2`, likewise.
///
/// # Safety
/// `iov` names `count` vectors, each valid for reading.
pub(crate) unsafe fn write_vectored(
    fd: RawFd,
    iov: *const iovec,
    count: u32,
    offset: u64,
    flags: c_int,
) -> i32 {
    let count = c_int::try_from(count).unwrap_or(c_int::MAX);
    let write = || {
        // SAFETY: the caller's promise.
        outcome(unsafe { libc::pwritev2(fd, iov, count, offset.cast_signed(), flags) } as i64)
    };
    if offset == STREAM { sigpipe::without(write) } else { write() }
}

/// `splice`; an offset of `u64::MAX` means none. The kernel's copy of an offset is its own: nobody's
/// memory changes.
pub(crate) fn splice(
    from: RawFd,
    from_offset: u64,
    to: RawFd,
    to_offset: u64,
    len: u32,
    flags: u32,
) -> i32 {
    let (mut at, mut onto) = (from_offset.cast_signed(), to_offset.cast_signed());
    let at = if from_offset == STREAM { ptr::null_mut() } else { &raw mut at };
    let onto = if to_offset == STREAM { ptr::null_mut() } else { &raw mut onto };
    // SAFETY: the offsets are on the stack, or null.
    let splice =
        || outcome(unsafe { libc::splice(from, at, to, onto, len as usize, flags) } as i64);
    // Only a stream can be without anybody to read it.
    if to_offset == STREAM { sigpipe::without(splice) } else { splice() }
}

/// `tee`.
pub(crate) fn tee(from: RawFd, to: RawFd, len: u32, flags: u32) -> i32 {
    // SAFETY: takes numbers only.
    sigpipe::without(|| outcome(unsafe { libc::tee(from, to, len as usize, flags) } as i64))
}
