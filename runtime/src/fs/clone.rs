//! Bytes that two files share on the disk until one of them is written to.

#![allow(unsafe_code, reason = "makes the system call")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr;

use super::File;
use crate::blocking::spawn_blocking;

impl File {
    /// Makes `len` bytes from `offset` on the same as those of `source` from `source_offset` on, which
    /// moves no bytes: the two share their blocks. Nobody writes to either meanwhile. Always on the pool.
    ///
    /// # Errors
    /// Those of `FICLONERANGE`: `EOPNOTSUPP` on a file system that has no such thing, `EXDEV` between
    /// two, `EINVAL` for parts of a block that are not the end of both files, or for ranges of one file
    /// that overlap. Some of it may have happened where the disk or a quota is full.
    pub async fn clone_range(
        &self,
        offset: u64,
        source: &Self,
        source_offset: u64,
        len: u64,
    ) -> io::Result<()> {
        // For the kernel that means up to the end.
        if len == 0 {
            return Ok(());
        }
        let (source, target) = (source.clone(), self.clone());
        spawn_blocking(move || {
            clone_range(target.as_fd(), offset, source.as_fd(), source_offset, len)
        })
        .await?
    }
}

fn clone_range(
    target: BorrowedFd<'_>,
    offset: u64,
    source: BorrowedFd<'_>,
    source_offset: u64,
    len: u64,
) -> io::Result<()> {
    let range = libc::file_clone_range {
        src_fd: source.as_raw_fd().into(),
        src_offset: source_offset,
        src_length: len,
        dest_offset: offset,
    };
    // SAFETY: the kernel reads one `file_clone_range`, which is on the stack; both descriptors are borrowed
    // for longer than the call.
    let result =
        unsafe { libc::ioctl(target.as_raw_fd(), libc::FICLONERANGE, ptr::from_ref(&range)) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
