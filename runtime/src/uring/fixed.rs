//! The ring's table of registered buffers: which places are taken, and by what.

#![allow(unsafe_code, reason = "names memory to the kernel for good")]

use std::io;
use std::ptr;

use io_uring::IoUring;

use super::FIXED_MAX;

/// The places of a ring's table.
#[derive(Default)]
pub(super) struct Places {
    /// How many have been used so far.
    used: u16,
    free: Vec<u16>,
}

impl Places {
    /// Registers `len` bytes at `at` in a free place.
    ///
    /// # Safety
    /// The memory is valid now, and no operation names the place when it is not any more.
    ///
    /// # Errors
    /// `ResourceBusy` when all places are taken; the kernel's: `ENOMEM` for the limit on locked memory,
    /// `EFAULT` for more than 1 GiB.
    pub(super) unsafe fn register(
        &mut self,
        ring: &IoUring,
        at: *mut u8,
        len: usize,
    ) -> io::Result<u16> {
        let place = match self.free.pop() {
            Some(place) => place,
            None if self.used < FIXED_MAX => {
                self.used += 1;
                self.used - 1
            }
            None => return Err(io::ErrorKind::ResourceBusy.into()),
        };
        let memory = libc::iovec { iov_base: at.cast(), iov_len: len };
        // SAFETY: the caller's promise, unchanged.
        let done =
            unsafe { ring.submitter().register_buffers_update(place.into(), &[memory], None) };
        if let Err(error) = done {
            self.free.push(place);
            return Err(error);
        }
        Ok(place)
    }

    /// Empties a place. Operations that have begun keep the pages, though not the addresses.
    pub(super) fn unregister(&mut self, ring: &IoUring, place: u16) {
        let nothing = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        // SAFETY: no memory is named.
        let done =
            unsafe { ring.submitter().register_buffers_update(place.into(), &[nothing], None) };
        // A place that the kernel has not emptied is not used again.
        if done.is_ok() {
            self.free.push(place);
        }
    }
}
