//! An open file or directory.

use std::sync::{Mutex, PoisonError};

use ringway::fs::{AtFlags, Dir, FallocateFlags, File, RenameFlags, SetTime, Statx, StatxFlags, Timespec};

use super::listing::DirStream;
use super::metadata::{FileKey, FileKind, MASK, Metadata, Time, kind};
use super::path::unix;
use super::resolve::{Place, place};
use super::{Attributes, Error, SharePath};

/// An open file or directory of a [`Volume`].
#[derive(Debug)]
pub struct Handle {
    /// The share's root, as the user sees it who opened this.
    root: Dir,
    file: File,
    key: FileKey,
    is_directory: bool,
    /// As found on disk; a rename through this handle changes it.
    path: Mutex<SharePath>,
}

/// What to change about a file; `None` leaves things as they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Change {
    /// All of the attributes.
    pub attributes: Option<Attributes>,
    /// Last read.
    pub accessed: Option<Time>,
    /// Last written.
    pub modified: Option<Time>,
}

impl Handle {
    pub(super) fn new(root: Dir, path: SharePath, file: File, stat: &Statx) -> Self {
        let is_directory = kind(stat) == FileKind::Directory;
        Self { root, file, key: FileKey::of(stat), is_directory, path: Mutex::new(path) }
    }

    /// The file, for moving its contents.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Whether it is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.is_directory
    }

    /// Which file it is.
    #[must_use]
    pub fn id(&self) -> FileKey {
        self.key
    }

    /// Its path in the share, with backslashes; empty for the root.
    #[must_use]
    pub fn path(&self) -> String {
        self.share_path().to_string()
    }

    fn share_path(&self) -> SharePath {
        self.path.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is known about it now.
    ///
    /// # Errors
    /// Those of `statx`.
    pub async fn metadata(&self) -> Result<Metadata, Error> {
        let stat = self.file.statx(MASK).await?;
        let path = self.share_path();
        let name = path.split_last().map_or("", |(_, last)| last);
        Ok(Metadata::new(&stat, Attributes::read(&self.file, &stat, name).await))
    }

    /// Changes attributes and times. The time of creation belongs to the file system.
    ///
    /// # Errors
    /// [`Error::AccessDenied`] to who is not the owner.
    pub async fn change(&self, change: &Change) -> Result<(), Error> {
        if let Some(attributes) = change.attributes {
            let stat = self.file.statx(MASK).await?;
            attributes.write(&self.file, &stat).await?;
        }
        if change.accessed.is_some() || change.modified.is_some() {
            self.file.set_times(set_time(change.accessed), set_time(change.modified)).await?;
        }
        Ok(())
    }

    /// Cuts the file off or extends it with zeros.
    ///
    /// # Errors
    /// Those of `ftruncate`.
    pub async fn set_len(&self, size: u64) -> Result<(), Error> {
        Ok(self.file.set_len(size).await?)
    }

    /// Reserves room for `size` bytes without changing what the file holds.
    ///
    /// # Errors
    /// [`Error::NotSupported`] where the file system cannot.
    pub async fn allocate(&self, size: u64) -> Result<(), Error> {
        if size == 0 {
            return Ok(());
        }
        Ok(self.file.allocate(FallocateFlags::KEEP_SIZE, 0, size).await?)
    }

    /// Returns when everything written is on the disk.
    ///
    /// # Errors
    /// Those of `fsync`.
    pub async fn sync(&self) -> Result<(), Error> {
        Ok(self.file.sync_all().await?)
    }

    /// Lists the directory from its beginning.
    ///
    /// # Errors
    /// [`Error::NotADirectory`].
    pub fn read_dir(&self) -> Result<DirStream, Error> {
        match self.is_directory {
            true => Ok(DirStream::new(&self.root, &self.file, self.share_path())),
            false => Err(Error::NotADirectory),
        }
    }

    /// Gives the file another name, in place of what has that name if `replace`.
    ///
    /// # Errors
    /// [`Error::Exists`] if the name is taken and not to be replaced; [`Error::AccessDenied`] if a
    /// directory has it.
    pub async fn rename(&self, to: &SharePath, replace: bool) -> Result<(), Error> {
        let (parents, last) = to.split_last().ok_or(Error::AccessDenied)?;
        let from = self.place().await?;
        let target = place(&self.root, parents, last).await?;
        let itself = target.exists && key_of(&target).await? == self.key;
        if target.exists && !itself {
            self.check_replaceable(&target, replace).await?;
        }
        let flags = if target.exists { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        if !itself {
            rename(&from, &target.parent, &target.name, flags).await?;
        }
        // What is left is the case: the new name is the one that the client wrote.
        let current = if itself { &from } else { &target };
        if current.name != last {
            rename(current, &target.parent, last, RenameFlags::NOREPLACE).await?;
        }
        let mut components = target.parents;
        components.push(last.to_owned());
        let mut path = self.path.lock().unwrap_or_else(PoisonError::into_inner);
        *path = SharePath::from_components(components);
        Ok(())
    }

    async fn check_replaceable(&self, target: &Place, replace: bool) -> Result<(), Error> {
        if !replace {
            return Err(Error::Exists);
        }
        let stat = target.parent.statx_at(&target.name, AtFlags::SYMLINK_NOFOLLOW, MASK).await?;
        // MS-FSA 2.1.5.15.11: a directory is not replaced.
        match kind(&stat) {
            FileKind::Directory => Err(Error::AccessDenied),
            _ => Ok(()),
        }
    }

    /// Removes the name that this handle has.
    ///
    /// # Errors
    /// [`Error::NotFound`] if another file has it by now; [`Error::NotEmpty`].
    pub async fn remove(&self) -> Result<(), Error> {
        let place = self.place().await?;
        Ok(place.parent.unlink_at(&place.name, self.is_directory).await?)
    }

    /// Where it is, if it still is there.
    async fn place(&self) -> Result<Place, Error> {
        let path = self.share_path();
        let (parents, last) = path.split_last().ok_or(Error::AccessDenied)?;
        let place = place(&self.root, parents, last).await?;
        let same = place.exists && key_of(&place).await? == self.key;
        if same { Ok(place) } else { Err(Error::NotFound) }
    }
}

/// Which file a place's name leads to. Only compared, so a link that leads out does no harm.
async fn key_of(place: &Place) -> Result<FileKey, Error> {
    let stat = place.parent.statx_at(&place.name, AtFlags::empty(), StatxFlags::INO).await?;
    Ok(FileKey::of(&stat))
}

async fn rename(from: &Place, to_dir: &Dir, to: &str, flags: RenameFlags) -> Result<(), Error> {
    match from.parent.rename_at(&from.name, to_dir, to, flags).await {
        // Not every file system knows NOREPLACE. The target was looked for just now.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) && !flags.is_empty() => {
            Ok(from.parent.rename_at(&from.name, to_dir, to, RenameFlags::empty()).await?)
        }
        result => Ok(result?),
    }
}

fn set_time(time: Option<Time>) -> SetTime {
    match time {
        None => SetTime::Omit,
        Some((seconds, nanoseconds)) => {
            SetTime::At(Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() })
        }
    }
}

/// A path as the kernel takes it, for messages about what is open.
impl std::fmt::Display for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", unix(self.share_path().components()).display())
    }
}
