//! Files as far as the kernel's caches reach: what is not there is left to a thread that may wait.

#![allow(unsafe_code, reason = "makes the system calls")]

use std::os::fd::RawFd;

use libc::c_int;
use ringway_driver::{Op, Path};

use crate::descriptor::{self, TRANSFER_MAX, set_status_flags};
use crate::syscall::{run, unless_refused};

/// No architecture has smaller pages, and larger ones are multiples of it.
const PAGE_MIN: u64 = 4096;

/// All of the range, or up to the end of the file, if it is in the page cache.
///
/// A cached beginning is not returned on its own: callers take a short read of a file for its end.
///
/// # Safety
/// As for [`descriptor::read`].
#[inline(always)]
pub(crate) unsafe fn read(fd: RawFd, buf: *mut u8, len: u32, offset: u64) -> Option<i32> {
    let len = len.min(TRANSFER_MAX);
    let mut done: u32 = 0;
    loop {
        let at = offset.wrapping_add(done.into());
        // SAFETY: `done <= len`, so the rest lies within the caller's buffer.
        let result = unsafe {
            descriptor::read(fd, buf.add(done as usize), len - done, at, libc::RWF_NOWAIT)
        };
        let count = unless_refused(result, || None)?;
        match u32::try_from(count) {
            Ok(count) => done += count,
            Err(_) if done == 0 => return Some(count),
            Err(_) => return None,
        }
        if count == 0 {
            return descriptor::ends_by(fd, at).then_some(done.cast_signed());
        }
        // The cache has whole pages, so what ends within one ends with the file.
        let within_a_page = !(at.wrapping_add(count as u64)).is_multiple_of(PAGE_MIN);
        if done == len || within_a_page {
            return Some(done.cast_signed());
        }
    }
}

/// [`read`] into several parts.
///
/// # Safety
/// As for [`descriptor::read_vectored`].
pub(crate) unsafe fn read_vectored(
    fd: RawFd,
    iov: *const libc::iovec,
    count: u32,
    offset: u64,
) -> Option<i32> {
    // SAFETY: the caller names `count` vectors.
    let parts = unsafe { std::slice::from_raw_parts(iov, count as usize) };
    let wanted: usize = parts.iter().map(|part| part.iov_len).sum();
    // SAFETY: handed down.
    let result = unsafe { descriptor::read_vectored(fd, iov, count, offset, libc::RWF_NOWAIT) };
    let count = unless_refused(result, || None)?;
    let Ok(done) = u32::try_from(count) else { return Some(count) };
    if done as usize >= wanted.min(TRANSFER_MAX as usize) {
        return Some(count);
    }
    // Short: the end of the file, or of what is cached?
    descriptor::ends_by(fd, offset.wrapping_add(done.into())).then_some(count)
}

/// Opens what can be found without leaving the caches.
///
/// # Safety
/// The path's name and `how` are valid.
pub(crate) unsafe fn open(path: Path, how: *const libc::open_how) -> Option<i32> {
    // SAFETY: handed down.
    if !unsafe { may_open(how) } {
        return None;
    }
    // SAFETY: the caller keeps `how` valid.
    let mut cached = unsafe { *how };
    cached.resolve |= libc::RESOLVE_CACHED;
    // Opening a FIFO, or a file that another holds a lease on, can wait even so. O_NONBLOCK
    // prevents it and is taken off again; where it cannot matter, openat2 may refuse it. Only a FIFO
    // opened for reading is told apart by that: it comes without waiting for a writer.
    let patient = (libc::O_NONBLOCK | libc::O_PATH | libc::O_DIRECTORY) as u64;
    let hurry = cached.flags & patient == 0;
    if hurry {
        cached.flags |= libc::O_NONBLOCK as u64;
    }
    // SAFETY: the path is the caller's, `cached` lives until the call has returned.
    let fd = unsafe { run(&Op::OpenAt { path, how: &raw const cached }) };
    if fd >= 0 && hurry {
        set_status_flags(fd, (cached.flags as c_int) & !libc::O_NONBLOCK);
    }
    // EINVAL: a kernel before RESOLVE_CACHED, or a request that is wrong in any form. ENXIO: a FIFO
    // without a reader.
    let unsettled = [libc::EAGAIN, libc::EINVAL, libc::ENXIO].contains(&-fd);
    (!unsettled).then_some(fd)
}

/// Looks at what can be found without leaving the caches: by a descriptor that only names it, whose
/// inode is in memory.
///
/// # Safety
/// The path's name is valid, and `out` for writing.
pub(crate) unsafe fn statx(
    path: Path,
    flags: c_int,
    mask: u32,
    out: *mut libc::statx,
) -> Option<i32> {
    // Of an open file the kernel does not check them.
    if flags & !STATX_FLAGS != 0 {
        return None;
    }
    let follow = if flags & libc::AT_SYMLINK_NOFOLLOW == 0 { 0 } else { libc::O_NOFOLLOW };
    // SAFETY: three integers, for which zero is a value.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (libc::O_PATH | libc::O_CLOEXEC | follow) as u64;
    how.resolve = libc::RESOLVE_CACHED;
    // SAFETY: the path is the caller's, `how` lives until the call has returned.
    let dir = unsafe { run(&Op::OpenAt { path, how: &raw const how }) };
    if dir < 0 {
        let is_statxs_own =
            [libc::ENOENT, libc::ENOTDIR, libc::EACCES, libc::ELOOP].contains(&-dir);
        return is_statxs_own.then_some(dir);
    }
    let flags = flags & !libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH;
    let itself = Path { dir, name: c"".as_ptr() };
    // SAFETY: the name is static, `out` the caller's.
    let result = unsafe { run(&Op::Statx { path: itself, flags, mask, out }) };
    // SAFETY: the descriptor was opened above and is nobody else's. It names without having opened, so
    // there is nothing that closing it could wait for.
    unsafe { libc::close(dir) };
    Some(result)
}

/// The flags that statx(2) has for a path; others are an error.
const STATX_FLAGS: c_int = libc::AT_SYMLINK_NOFOLLOW
    | libc::AT_NO_AUTOMOUNT
    | libc::AT_EMPTY_PATH
    | libc::AT_STATX_FORCE_SYNC
    | libc::AT_STATX_DONT_SYNC;

/// Whether the kernel looks into its caches at all: not to make or cut a file (openat2(2)).
///
/// # Safety
/// `how` is valid.
pub(crate) unsafe fn may_open(how: *const libc::open_how) -> bool {
    // SAFETY: the caller's promise.
    let flags = unsafe { (*how).flags };
    let o_tmpfile = libc::O_TMPFILE as u64;
    flags & (libc::O_CREAT | libc::O_TRUNC) as u64 == 0 && flags & o_tmpfile != o_tmpfile
}
