//! A share: a name for a folder.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::ShareOptions;
use crate::vfs::Volume;
use crate::wire::access_mask::AccessMask;

/// One folder under the name that clients connect to. MS-SMB2 3.3.1.6.
#[derive(Debug)]
pub struct Share {
    /// As configured; compared without regard to case.
    pub name: String,
    /// For messages.
    pub path: PathBuf,
    /// How it is served.
    pub options: ShareOptions,
    /// Its files.
    pub volume: Volume,
    /// The user and group id that own the folder.
    pub owner: (u32, u32),
}

impl Share {
    /// Opens the folder. Blocks; for the start.
    ///
    /// # Errors
    /// The folder cannot be opened.
    pub fn open(name: &str, path: &Path, options: ShareOptions) -> io::Result<Self> {
        let metadata = std::fs::metadata(path)?;
        let volume = Volume::open_root(path, options.mapping)?;
        let owner = (metadata.uid(), metadata.gid());
        Ok(Self { name: name.to_owned(), path: path.to_owned(), options, volume, owner })
    }

    /// The most that anyone can be granted here.
    #[must_use]
    pub fn maximal_access(&self) -> AccessMask {
        if self.options.read_only { READ_ACCESS } else { AccessMask::FILE_ALL }
    }
}

/// The rights that change nothing.
pub const READ_ACCESS: AccessMask = AccessMask::from_bits_retain(0x0012_00a9);
