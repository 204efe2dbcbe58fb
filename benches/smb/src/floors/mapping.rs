//! A file in memory, out of which only the kernel reads.

#![allow(unsafe_code, reason = "a mapping is made and given back by hand, and is never a slice")]

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// All of a file, as it was long when it was mapped.
pub(super) struct Mapping {
    address: *mut c_void,
    length: usize,
}

impl Mapping {
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        // SAFETY: the kernel chooses where, so nothing else is there.
        let address = unsafe {
            mmap(std::ptr::null_mut(), length, ProtFlags::READ, MapFlags::SHARED, file, 0)?
        };
        Ok(Self { address, length })
    }

    /// Sends a part of it. Where the file has been cut off meanwhile, that is an error of the call.
    pub(super) fn send(&self, socket: &TcpStream, offset: u64, length: usize) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let is_within = start.checked_add(length).is_some_and(|end| end <= self.length);
        if !is_within {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut done = 0;
        while done < length {
            // SAFETY: `start + done .. start + length` is within the mapping, which lives as long as `self`; it is
            // the kernel that reads, and it copes with pages that are not there any more.
            let sent = unsafe {
                let from = self.address.cast::<u8>().add(start + done);
                libc::send(socket.as_raw_fd(), from.cast(), length - done, libc::MSG_NOSIGNAL)
            };
            done += usize::try_from(sent).map_err(|_| io::Error::last_os_error())?;
        }
        Ok(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `of`, with this length, and nobody has a pointer into it.
        let _ = unsafe { munmap(self.address, self.length) };
    }
}
