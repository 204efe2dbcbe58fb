//! A share: a name for a folder.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::ShareOptions;
use crate::vfs::{Snapshots, Volume};
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
    /// Its previous versions, if there are to be any.
    pub snapshots: Option<Arc<Snapshots>>,
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
        let snapshots = options.snapshots.as_ref().map(|in_| Arc::new(Snapshots::new(in_, path)));
        Ok(Self { name: name.to_owned(), path: path.to_owned(), options, volume, owner, snapshots })
    }

    /// The share with the files of a snapshot, which nobody changes.
    #[must_use]
    pub fn as_it_was(&self, volume: Volume) -> Self {
        Self {
            name: self.name.clone(),
            path: self.path.clone(),
            options: ShareOptions { read_only: true, ..self.options.clone() },
            volume,
            owner: self.owner,
            snapshots: self.snapshots.clone(),
        }
    }

    /// The most that anyone can be granted here.
    #[must_use]
    pub fn maximal_access(&self) -> AccessMask {
        if self.options.read_only { READ_ACCESS } else { AccessMask::FILE_ALL }
    }
}

/// The rights that change nothing.
pub const READ_ACCESS: AccessMask = AccessMask::from_bits_retain(0x0012_00a9);
