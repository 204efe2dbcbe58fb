//! Extended attributes of an open file.

#![allow(unsafe_code, reason = "makes operations out of descriptors, names and buffers")]

use std::ffi::CStr;
use std::io;
use std::os::fd::AsRawFd;

use ringway_driver::Op;

use super::File;
use crate::buf::{BufResult, filled, op_len};
use crate::op;

impl File {
    /// Reads the extended attribute `name` into `buf`'s capacity. With no capacity, only tells how
    /// long the value is.
    ///
    /// # Errors
    /// Those of `fgetxattr`: `ENODATA` if there is none, `ERANGE` if it does not fit.
    pub async fn get_xattr(&self, name: &CStr, mut buf: Vec<u8>) -> BufResult<usize, Vec<u8>> {
        buf.clear();
        // SAFETY: file, name and buffer belong to the parts; unless the value was only measured, the
        // result is how many bytes were written from the buffer's start.
        let get = unsafe {
            op::submit(
                self.identity.clone(),
                (self.fd.clone(), name.to_owned(), buf),
                |(fd, name, buf)| Op::GetXattr {
                    fd: fd.as_raw_fd(),
                    name: name.as_ptr(),
                    buf: buf.as_mut_ptr(),
                    len: op_len(buf.capacity()),
                },
                |(_, _, buf), result| filled_or_measured(result, buf),
            )
        };
        get.await
    }

    /// Sets the extended attribute `name`, new or not.
    ///
    /// # Errors
    /// Those of `fsetxattr`.
    pub async fn set_xattr(&self, name: &CStr, value: Vec<u8>) -> io::Result<()> {
        // SAFETY: file, name and value belong to the parts.
        let set = unsafe {
            op::submit(
                self.identity.clone(),
                (self.fd.clone(), name.to_owned(), value),
                |(fd, name, value)| Op::SetXattr {
                    fd: fd.as_raw_fd(),
                    name: name.as_ptr(),
                    buf: value.as_ptr(),
                    len: op_len(value.len()),
                    flags: 0,
                },
                |_, result| result.map(drop),
            )
        };
        set.await
    }

    /// Reads the names of the extended attributes into `buf`'s capacity, each with a NUL behind it.
    /// With no capacity, only tells how long they are.
    ///
    /// # Errors
    /// Those of `flistxattr`: `ERANGE` if they do not fit.
    pub async fn list_xattr(&self, mut buf: Vec<u8>) -> BufResult<usize, Vec<u8>> {
        buf.clear();
        // SAFETY: file and buffer belong to the parts; unless the list was only measured, the result is
        // how many bytes were written from the buffer's start.
        let list = unsafe {
            op::submit(
                self.identity.clone(),
                (self.fd.clone(), buf),
                |(fd, buf)| Op::ListXattr {
                    fd: fd.as_raw_fd(),
                    buf: buf.as_mut_ptr(),
                    len: op_len(buf.capacity()),
                },
                |(_, buf), result| filled_or_measured(result, buf),
            )
        };
        list.await
    }

    /// Removes the extended attribute `name`.
    ///
    /// # Errors
    /// Those of `fremovexattr`: `ENODATA` if there is none.
    pub async fn remove_xattr(&self, name: &CStr) -> io::Result<()> {
        // SAFETY: file and name belong to the parts.
        let remove = unsafe {
            op::submit(
                self.identity.clone(),
                (self.fd.clone(), name.to_owned()),
                |(fd, name)| Op::RemoveXattr { fd: fd.as_raw_fd(), name: name.as_ptr() },
                |_, result| result.map(drop),
            )
        };
        remove.await
    }
}

/// Ends an operation that writes nothing, and only tells how much it would, where there is no room.
///
/// # Safety
/// As for [`filled`] otherwise.
unsafe fn filled_or_measured(result: io::Result<u32>, buf: Vec<u8>) -> BufResult<usize, Vec<u8>> {
    match result {
        Ok(len) if buf.capacity() == 0 => (Ok(len as usize), buf),
        // SAFETY: the caller's promise.
        result => unsafe { filled(result, buf) },
    }
}
