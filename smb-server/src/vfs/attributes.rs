//! DOS attributes on a unix file system.
//!
//! READONLY of a file is the absence of the owner's write permission; of a directory, where that would mean
//! something else, it is stored, as the others are ([`dos_info`](super::dos_info)), but for COMPRESSED, which is the file
//! system's. A file of which nothing is stored has ARCHIVE (nobody has backed it up yet), and HIDDEN if its name begins with a dot.

use bitflags::bitflags;
use ringway::fs::{Statx, StatxAttributes};

use super::metadata::{FileKind, kind};

bitflags! {
    /// The attributes that a file keeps; the numbers are those of MS-FSCC 2.6.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Attributes: u32 {
        /// It is not to be changed or deleted.
        const READONLY = 0x01;
        /// It is left out of ordinary listings.
        const HIDDEN = 0x02;
        /// The operating system's own.
        const SYSTEM = 0x04;
        /// Changed since the last backup.
        const ARCHIVE = 0x20;
        /// What was never written takes no room. Nobody sets it but [`Handle::set_sparse`](super::Handle).
        const SPARSE = 0x200;
        /// What is written is compressed; of a directory, what new files in it get. The file system's own, which
        /// [`Handle::set_compressed`](super::Handle) sets.
        const COMPRESSED = 0x800;
        /// It is something else than what it holds. Nobody sets it but who makes it so.
        const REPARSE_POINT = 0x400;
    }
}

/// The permission whose absence is READONLY.
pub(super) const OWNER_WRITE: u32 = 0o200;

impl Attributes {
    /// Those that are kept here; the file system says the others.
    pub(super) const STORED: Self = Self::all().difference(Self::COMPRESSED);

    /// What a client does not change by setting attributes.
    pub(super) const KEPT: Self = Self::SPARSE.union(Self::REPARSE_POINT);

    /// Those of a file of which none are stored.
    pub(super) fn default_for(stat: &Statx, name: &str) -> Self {
        let mut attributes = Self::empty();
        attributes.set(Self::ARCHIVE, kind(stat) == FileKind::Regular);
        attributes.set(Self::REPARSE_POINT, kind(stat) == FileKind::Symlink);
        attributes.set(Self::HIDDEN, name.starts_with('.') && name != "." && name != "..");
        attributes
    }

    /// With those that the file system keeps.
    pub(super) fn with_stat(mut self, stat: &Statx) -> Self {
        self.set(Self::COMPRESSED, stat.stx_attributes.contains(StatxAttributes::COMPRESSED));
        if kind(stat) == FileKind::Regular {
            self.set(Self::READONLY, u32::from(stat.stx_mode) & OWNER_WRITE == 0);
        }
        self
    }
}
