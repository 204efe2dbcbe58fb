//! A ring's place in its thread's table of rings: entering by it spares the kernel a look-up of the
//! descriptor.
//!
//! The io-uring crate knows such places, but keeps them in a value that does not outlive one use.

#![allow(unsafe_code, reason = "makes the system calls")]

use std::io;
use std::os::fd::AsRawFd;

use io_uring::IoUring;
use io_uring::types::SubmitArgs;

/// `IORING_REGISTER_RING_FDS` and its `IORING_REGISTER_USE_ANY`.
const REGISTER_RING_FDS: libc::c_long = 20;
const ANY_PLACE: u32 = u32::MAX;

/// `IORING_ENTER_REGISTERED_RING`.
const ENTER_REGISTERED_RING: u32 = 1 << 4;

/// The place. The kernel frees it when the thread ends, and it is of no use to other threads; a ring
/// here never leaves its thread.
#[derive(Debug)]
pub(super) struct RegisteredRing {
    place: u32,
}

/// The kernel's `io_uring_rsrc_update`.
#[repr(C)]
struct Update {
    offset: u32,
    reserved: u32,
    data: u64,
}

impl RegisteredRing {
    /// # Errors
    /// Those of `io_uring_register`: `EINVAL` before Linux 5.18, `EBUSY` when all 16 places are taken.
    pub(super) fn register(ring: &IoUring) -> io::Result<Self> {
        let fd = ring.as_raw_fd();
        let mut update = Update { offset: ANY_PLACE, reserved: 0, data: fd as u64 };
        // SAFETY: one structure of the kernel's layout, on the stack.
        let count = unsafe {
            let update = &raw mut update;
            libc::syscall(libc::SYS_io_uring_register, fd, REGISTER_RING_FDS, update, 1)
        };
        match count {
            1 => Ok(Self { place: update.offset }),
            -1 => Err(io::Error::last_os_error()),
            _ => Err(io::ErrorKind::Other.into()),
        }
    }

    /// `io_uring_enter`; `flags` has `EXT_ARG`.
    pub(super) fn enter(
        &self,
        submit: u32,
        want: u32,
        flags: u32,
        args: &SubmitArgs<'_, '_>,
    ) -> io::Result<usize> {
        let flags = flags | ENTER_REGISTERED_RING;
        // SAFETY: with EXT_ARG the argument is the kernel's `io_uring_getevents_arg`, which `SubmitArgs`
        // is transparent to, and it lives through the call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                self.place,
                submit,
                want,
                flags,
                std::ptr::from_ref(args),
                size_of::<SubmitArgs<'_, '_>>(),
            )
        };
        usize::try_from(result).map_err(|_| io::Error::last_os_error())
    }
}

impl RegisteredRing {
    /// Gives the place back: a thread has sixteen, and may have many runtimes one after the other.
    pub(super) fn unregister(&self, ring: &IoUring) {
        const UNREGISTER_RING_FDS: libc::c_long = 21;
        let mut update = Update { offset: self.place, reserved: 0, data: 0 };
        // SAFETY: one structure of the kernel's layout, on the stack. It fails only for a place that
        // is not taken.
        unsafe {
            let (fd, update) = (ring.as_raw_fd(), &raw mut update);
            libc::syscall(libc::SYS_io_uring_register, fd, UNREGISTER_RING_FDS, update, 1);
        }
    }
}
