//! The descriptor behind a file, and what is known of its nature.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::OnceLock;

/// What the handles of one open file share.
#[derive(Debug)]
pub(super) struct Opened {
    fd: OwnedFd,
    /// Its bytes go past the page cache, so each read and write waits for a device.
    pub(super) is_direct: bool,
    /// Whether it can be read and written at a position, once that has been asked.
    has_positions: OnceLock<bool>,
}

impl Opened {
    pub(super) fn new(fd: OwnedFd, is_direct: bool) -> Self {
        Self { fd, is_direct, has_positions: OnceLock::new() }
    }

    pub(super) fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// Refuses streams: pipes, sockets, terminals. A ring takes any offset for them and moves their bytes
    /// all the same, where `pread` and `pwrite` say that there is no such thing.
    ///
    /// # Errors
    /// `ESPIPE`.
    pub(super) fn check_positions(&self) -> io::Result<()> {
        let has_positions = self.has_positions.get_or_init(|| {
            // Of no bytes: the kernel says that first, and then has nothing to do.
            rustix::io::preadv(&self.fd, &mut [], 0) != Err(rustix::io::Errno::SPIPE)
        });
        if *has_positions { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ESPIPE)) }
    }
}

impl AsFd for Opened {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Opened {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
