//! The directories below an open one, gone through as the server itself and not as a user.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

use ringway::fs::{Dir, FileType, OFlags};

use super::resolve::{Scan, beneath};
use super::{Error, Handle, Mapping};

/// The directories below an open one.
#[derive(Clone, Debug)]
pub struct Subtree {
    top: Dir,
    mapping: Mapping,
}

impl Subtree {
    /// Those below `directory`.
    #[must_use]
    pub fn of(directory: &Handle) -> Self {
        Self { top: directory.directory(), mapping: directory.mapping() }
    }

    /// Opens the directory that is called `below` from the top on, with backslashes; nothing: the top itself.
    ///
    /// # Errors
    /// Those of `openat2`.
    pub async fn open(&self, below: &str) -> io::Result<Dir> {
        let path: PathBuf = match below {
            "" => PathBuf::from("."),
            below => {
                let names = below.split('\\').map(|name| self.mapping.to_disk(name));
                names.map(Cow::into_owned).collect()
            }
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        Ok(Dir::from_file(self.top.open_at(&path, &beneath(flags)).await?))
    }

    /// Gives the presentable names in a directory, as clients have them, and whether each may be a directory's, to `take` until that
    /// says that it has enough.
    ///
    /// # Errors
    /// Those of opening and of listing.
    pub async fn list(
        &self,
        dir: &Dir,
        mut take: impl FnMut(&str, bool) -> bool,
    ) -> Result<(), Error> {
        let mut scan = Scan::new(dir, self.mapping);
        while scan.next_batch().await? {
            for entry in scan.entries() {
                let directory = matches!(entry.file_type, FileType::Directory | FileType::Unknown);
                if !take(&self.mapping.to_client(entry.name), directory) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
