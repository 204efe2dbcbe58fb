//! How to open a file: the arguments of `openat2`.

#![allow(unsafe_code, reason = "`open_how` can only be made by zeroing it")]

use rustix::fs::{Mode, OFlags, ResolveFlags};

/// The arguments of `openat2`. `O_CLOEXEC` is always set.
///
/// An open whose path is in the caches and that creates or truncates nothing is done at once. Others
/// wait on the ring or on a thread of the pool; there, a file that another holds a lease on keeps an
/// open without `NONBLOCK` waiting until the lease is given up. Opening a FIFO does not wait for its
/// other end on every backend: say `NONBLOCK`, so that it does on none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenHow {
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
}

impl OpenHow {
    /// Opens with `flags`; a file that this creates gets mode 0.
    #[must_use]
    pub const fn new(flags: OFlags) -> Self {
        Self { flags, mode: Mode::empty(), resolve: ResolveFlags::empty() }
    }

    /// The mode of a file that this creates, less the process's umask.
    #[must_use]
    pub const fn mode(self, mode: Mode) -> Self {
        Self { mode, ..self }
    }

    /// Limits to where the path may lead.
    #[must_use]
    pub const fn resolve(self, resolve: ResolveFlags) -> Self {
        Self { resolve, ..self }
    }

    /// Whether what is opened goes past the page cache.
    pub(super) fn is_direct(&self) -> bool {
        self.flags.contains(OFlags::DIRECT)
    }

    /// As the kernel has it. `openat2` refuses a mode where nothing is created.
    pub(crate) fn to_raw(self) -> libc::open_how {
        let creates = self.flags.contains(OFlags::CREATE) || self.flags.contains(OFlags::TMPFILE);
        // SAFETY: three integers, for which zero is a value.
        let mut how: libc::open_how = unsafe { std::mem::zeroed() };
        how.flags = u64::from((self.flags | OFlags::CLOEXEC).bits());
        how.mode = if creates { u64::from(self.mode.bits()) } else { 0 };
        how.resolve = self.resolve.bits();
        how
    }
}
