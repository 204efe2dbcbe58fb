//! An open file or directory.

mod beside;
mod names;

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use ringway::fs::{
    Access, AtFlags, Dir, FallocateFlags, File, SetTime, Statx, StatxFlags, Timespec,
};

use rustix::fs::{Gid, SeekFrom, Uid, chownat, seek};
use rustix::io::Errno;

use super::direct::Direct;
use super::dos_info::{DosInfo, SetChange};
use super::listing::DirStream;
use super::metadata::{FileKey, MASK, Metadata, Time};
use super::path::{to_client, unix};
use super::resolve::{Place, Tree, TreeId, is_empty};
use super::streams::{self, Alone, Contents, Size, Stored, StreamKey};
use super::volume::{Security, SpaceInfo};
use super::{Attributes, Error, Mapping, PosixAcl, SharePath, nt_acl, posix_acl};

pub use beside::{StreamContents, read_contents, write_contents};
pub(super) use names::{check_replaceable, entry_key, replaced};
use names::{home, key};

/// An open file or directory of a [`Volume`](super::Volume).
#[derive(Debug)]
pub struct Handle {
    /// The share's tree, as the user sees it who opened this.
    pub(super) tree: Tree,
    pub(super) file: File,
    /// The same past the page cache, once somebody has asked.
    pub(super) direct: OnceLock<Option<Direct>>,
    key: FileKey,
    pub(super) what: What,
    /// Deletions are not the user's to the kernel.
    deleted_by_process: AtomicBool,
    by_short_name: bool,
    /// As found on disk; a rename through this handle changes it.
    path: Mutex<SharePath>,
    /// The stream that this is, if it is not the unnamed one.
    stream: Option<Named>,
}

/// A named stream.
#[derive(Debug)]
struct Named {
    /// A rename through any handle of it changes it.
    name: Mutex<String>,
    /// Where it was last found in the store.
    stored: Mutex<Option<Stored>>,
}

/// What has been opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum What {
    /// A file, or a stream.
    File,
    Directory,
    /// A symbolic link, not followed.
    Link {
        /// Whether it leads to a directory, in the share.
        to_directory: bool,
    },
}

/// The descriptor of the directory that has a file's name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirectorySecurity {
    /// As it is kept, if there is one.
    pub descriptor: Option<Vec<u8>>,
    /// The name is a link there, and the file somewhere else.
    by_link: bool,
}

/// What to change about a file; `None` leaves things as they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Change {
    /// All of the attributes.
    pub attributes: Option<Attributes>,
    /// When it was made.
    pub created: Option<Time>,
    /// Last read.
    pub accessed: Option<Time>,
    /// Last written.
    pub modified: Option<Time>,
    /// Last changed. It is forgotten when something else changes the file later.
    pub changed: Option<Time>,
}

impl Handle {
    /// `by_short_name`: that is how the client has named it.
    pub(super) fn new(
        tree: Tree,
        path: SharePath,
        file: File,
        stat: &Statx,
        what: What,
        by_short_name: bool,
    ) -> Self {
        let (key, path) = (FileKey::of(stat), Mutex::new(path));
        let deleted_by_process = AtomicBool::new(false);
        Self {
            tree,
            file,
            direct: OnceLock::new(),
            key,
            what,
            deleted_by_process,
            by_short_name,
            path,
            stream: None,
        }
    }

    /// Waits until nobody else changes what extended attributes hold of this file, and keeps others from it.
    /// Not to be taken twice.
    pub async fn alone(&self) -> Alone {
        streams::alone(self.key).await
    }

    /// The file, for moving its contents; not those of a named stream.
    #[must_use]
    pub fn file(&self) -> Option<&File> {
        self.stream.is_none().then_some(&self.file)
    }

    /// The directory that this is, as the server itself sees it.
    pub(super) fn directory(&self) -> Dir {
        Dir::from_file(self.file.with_identity(None))
    }

    pub(super) fn mapping(&self) -> Mapping {
        self.tree.mapping
    }

    /// The name of the stream that this is, if it is not the unnamed one.
    #[must_use]
    pub fn stream(&self) -> Option<String> {
        let name = &self.stream.as_ref()?.name;
        Some(name.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Which stream it is.
    #[must_use]
    pub fn stream_key(&self) -> StreamKey {
        StreamKey::new(self.key, self.stream().as_deref())
    }

    /// Which stream of the same file has this name.
    #[must_use]
    pub fn stream_key_of(&self, name: &str) -> StreamKey {
        StreamKey::new(self.key, Some(name))
    }

    /// Whether it is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.what == What::Directory
    }

    /// Whether it is a symbolic link: itself, not what it leads to.
    #[must_use]
    pub fn is_link(&self) -> bool {
        matches!(self.what, What::Link { .. })
    }

    /// Which file it is.
    #[must_use]
    pub fn id(&self) -> FileKey {
        self.key
    }

    /// Its path in the share as clients have it, with backslashes, and its stream; empty for the root.
    #[must_use]
    pub fn path(&self) -> String {
        let path = to_client(self.share_path().components(), self.tree.mapping);
        match self.stream() {
            Some(stream) => format!("{path}:{stream}"),
            None => path,
        }
    }

    /// The name that clients know it by; the root has none.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        let path = self.share_path();
        path.split_last().map(|(_, last)| self.tree.mapping.to_client(last).into_owned())
    }

    /// Whether this lies, by its path, below a directory of the same share.
    #[must_use]
    pub fn is_below(&self, directory: &Self) -> bool {
        let (path, above) = (self.share_path(), directory.share_path());
        let inside = path.components().len() > above.components().len()
            && path.components().starts_with(above.components());
        inside && self.is_in_tree_of(directory)
    }

    /// What clients call `path`, in the same tree, from this directory on, with backslashes; `None` if it does
    /// not lie below it.
    #[must_use]
    pub fn name_below(&self, path: &SharePath) -> Option<String> {
        let own = self.path.lock().unwrap_or_else(PoisonError::into_inner);
        let below = path.components().strip_prefix(own.components())?;
        (!below.is_empty()).then(|| to_client(below, self.tree.mapping))
    }

    /// Takes over the path of a handle of the same file that was renamed, if this had the same name.
    pub fn follow_rename(&self, from: &SharePath, renamed: &Self) {
        if !std::ptr::eq(self, renamed) && self.is_in_tree_of(renamed) && self.share_path() == *from
        {
            let to = renamed.share_path();
            *self.path.lock().unwrap_or_else(PoisonError::into_inner) = to;
        }
    }

    /// Takes over the name of a stream that was renamed, if this is it.
    pub fn follow_stream_rename(&self, from: &str, to: &str) {
        if let Some(Named { name, .. }) = &self.stream {
            let mut name = name.lock().unwrap_or_else(PoisonError::into_inner);
            if *name == from {
                to.clone_into(&mut name);
            }
        }
    }

    fn is_in_tree_of(&self, other: &Self) -> bool {
        self.tree_id() == other.tree_id()
    }

    /// Which tree it is in.
    #[must_use]
    pub fn tree_id(&self) -> TreeId {
        self.tree.id()
    }

    /// Its path in the share.
    #[must_use]
    pub fn share_path(&self) -> SharePath {
        self.path.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is known about it now.
    ///
    /// # Errors
    /// Those of `statx`.
    pub async fn metadata(&self) -> Result<Metadata, Error> {
        self.metadata_by(&self.file.statx(MASK).await?).await
    }

    /// The same, by what the file system has just said.
    pub(super) async fn metadata_by(&self, stat: &Statx) -> Result<Metadata, Error> {
        let mut metadata = Metadata::new(stat, self.dos_info(stat).await);
        metadata.is_directory |= self.what == What::Link { to_directory: true };
        let Some(stream) = self.stream() else { return Ok(metadata) };
        let Size { len, allocated } = self.stream_size(&stream).await?;
        Ok(Metadata { size: len, allocation_size: allocated, is_directory: false, ..metadata })
    }

    pub(super) async fn dos_info(&self, stat: &Statx) -> DosInfo {
        let path = self.share_path();
        let name = path.split_last().map_or("", |(_, last)| last);
        DosInfo::read(&self.file, stat, name).await
    }

    /// Changes attributes and times. A symbolic link keeps none that are set.
    ///
    /// # Errors
    /// [`Error::AccessDenied`] to who is not the owner.
    pub async fn change(&self, change: &Change) -> Result<(), Error> {
        if self.is_link() {
            return Ok(());
        }
        if change.accessed.is_some() || change.modified.is_some() {
            self.file.set_times(set_time(change.accessed), set_time(change.modified)).await?;
        }
        if change.attributes.is_some() || change.created.is_some() || change.changed.is_some() {
            let _alone = self.alone().await;
            let stat = self.file.statx(MASK).await?;
            let mut info = self.dos_info(&stat).await;
            if let Some(attributes) = change.attributes {
                info.attributes = attributes | (info.attributes & Attributes::KEPT);
            }
            info.created = change.created.or(info.created);
            // Last, as all of the others are changes, too.
            info.changed = change.changed.map(|time| SetChange::new(time, &stat));
            info.write(&self.file, &stat).await?;
        }
        Ok(())
    }

    /// The security descriptor that is kept with it, if there is one.
    ///
    /// # Errors
    /// There is one, and it cannot be read.
    pub async fn security(&self) -> Result<Option<Vec<u8>>, Error> {
        nt_acl::load(&self.file, &self.tree).await
    }

    /// Keeps a security descriptor with it, whatever the user may otherwise do.
    ///
    /// # Errors
    /// Those of setting an extended attribute.
    pub async fn set_security(&self, security: &Security) -> Result<(), Error> {
        security.store(&self.file, &self.tree).await
    }

    /// What unix lets others do with it, if that is more than its mode says.
    ///
    /// # Errors
    /// Those of reading an extended attribute.
    pub async fn posix_acl(&self) -> Result<Option<PosixAcl>, Error> {
        posix_acl::load(&self.file).await
    }

    /// Gives it to another user or group, whatever the user may otherwise do.
    ///
    /// # Errors
    /// Those of `fchownat`; [`Error::Busy`] when no thread can be had for it.
    pub async fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> Result<(), Error> {
        let file = self.file.clone();
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        // Also for one that is opened only to be looked at.
        let chown = move || chownat(&file, "", uid, gid, AtFlags::EMPTY_PATH);
        let result = ringway::spawn_blocking(chown).await.map_err(|_| Error::Busy)?;
        Ok(result.map_err(io::Error::from)?)
    }

    /// A descriptor lets the user delete it: then it goes as the process, whatever unix would say.
    pub fn let_delete(&self) {
        self.deleted_by_process.store(true, Ordering::Relaxed);
    }

    /// The security descriptor that is kept with the directory that has its name; the share's own folder has
    /// none.
    ///
    /// # Errors
    /// It has lost that name; or there is one, and it cannot be read.
    pub async fn directory_security(&self) -> Result<DirectorySecurity, Error> {
        if self.share_path().components().is_empty() {
            return Ok(DirectorySecurity { descriptor: None, by_link: false });
        }
        let (place, by_link) = self.named_place().await?;
        let descriptor = nt_acl::load(place.parent.as_file(), &self.tree).await?;
        Ok(DirectorySecurity { descriptor, by_link })
    }

    /// The same of the directory that the file itself is in, should its name in the one that is `named` be a
    /// link, which anybody can make anywhere.
    ///
    /// # Errors
    /// So also; [`Error::NotFound`] if it has just been moved.
    pub async fn home_security(&self, named: DirectorySecurity) -> Result<Option<Vec<u8>>, Error> {
        if !named.by_link {
            return Ok(named.descriptor);
        }
        if key(&self.tree.root).await? == self.key {
            return Ok(None);
        }
        let (file, own) = (self.file.clone(), self.key);
        let home =
            ringway::spawn_blocking(move || home(&file)).await.map_err(|_| Error::Busy)??;
        let place = Place::new(Dir::from_file(File::from(home.0)), home.1);
        match entry_key(&place).await? == own {
            true => nt_acl::load(place.parent.as_file(), &self.tree).await,
            false => Err(Error::NotFound),
        }
    }

    /// Says whether what is never written, or zeroed, is to take no room.
    ///
    /// # Errors
    /// Those of setting an extended attribute.
    pub async fn set_sparse(&self, sparse: bool) -> Result<(), Error> {
        let _alone = self.alone().await;
        let stat = self.file.statx(MASK).await?;
        let mut info = self.dos_info(&stat).await;
        if info.attributes.contains(Attributes::SPARSE) != sparse {
            info.attributes.set(Attributes::SPARSE, sparse);
            info.changed = None;
            info.write(&self.file, &stat).await?;
        }
        Ok(())
    }

    /// Makes zeros of what there is of a range; the file does not become longer.
    ///
    /// # Errors
    /// Those of `fallocate`.
    pub async fn zero(&self, offset: u64, length: u64) -> Result<(), Error> {
        let metadata = self.metadata().await?;
        let end = offset.saturating_add(length).min(metadata.size);
        let Some(length) = end.checked_sub(offset).filter(|length| *length != 0) else {
            return Ok(());
        };
        let Some(file) = self.changing().await? else {
            // No longer than the stream was, which was no longer than an attribute.
            let zeros = usize::try_from(length).map_or_else(|_| Vec::new(), |len| vec![0; len]);
            return self.write_stream(Some(offset), zeros.into()).await;
        };
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if metadata.attributes.contains(Attributes::SPARSE) {
            return Ok(file.allocate(hole, offset, length).await?);
        }
        let zeros = FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE;
        match file.allocate(zeros, offset, length).await.map_err(Error::from) {
            // Zeros without room for them are zeros too.
            Err(Error::NotSupported) => Ok(file.allocate(hole, offset, length).await?),
            result => result,
        }
    }

    /// The parts of a range that take room, in order, `most` of them at most.
    ///
    /// # Errors
    /// Those of `lseek`; [`Error::Busy`] when no thread can be had for it.
    pub async fn allocated(
        &self,
        range: Range<u64>,
        most: usize,
    ) -> Result<Vec<Range<u64>>, Error> {
        let file = match self.stream.is_some() {
            false => self.file.clone(),
            true => match self.contents().await? {
                Contents::Attribute(_) => return Ok(vec![range]),
                Contents::Stored(stored) => stored.file,
            },
        };
        // It may have to read what the file system knows of the file.
        let found = ringway::spawn_blocking(move || allocated(&file, range, most)).await;
        Ok(found.map_err(|_| Error::Busy)??)
    }

    /// Cuts the file off or extends it with zeros.
    ///
    /// # Errors
    /// Those of `ftruncate`.
    pub async fn set_len(&self, size: u64) -> Result<(), Error> {
        if self.stream.is_some() {
            return self.set_stream_len(size).await;
        }
        Ok(self.file.set_len(size).await?)
    }

    /// Reserves room for `size` bytes without changing what the file holds; where the file system
    /// has no such thing, nothing.
    ///
    /// # Errors
    /// [`Error::NoSpace`].
    pub async fn allocate(&self, size: u64) -> Result<(), Error> {
        let Some(file) = self.changing().await?.filter(|_| size != 0) else { return Ok(()) };
        match file.allocate(FallocateFlags::KEEP_SIZE, 0, size).await.map_err(Error::from) {
            Err(Error::NotSupported) => Ok(()),
            result => result,
        }
    }

    /// Makes sure that there is room for new contents of `size` bytes while the old ones are still there.
    ///
    /// # Errors
    /// [`Error::NoSpace`]: nothing is lost.
    pub async fn check_room(&self, size: u64) -> Result<(), Error> {
        if size == 0 || self.stream.is_some() {
            return Ok(());
        }
        let own = self.file.statx(StatxFlags::BLOCKS).await?.stx_blocks.saturating_mul(512);
        let space = SpaceInfo::of(&self.file).await?;
        // What surely does not fit is not begun: some of it would stay reserved. A file system that does not
        // know its size may have room.
        if space.total_bytes != 0 && size.saturating_sub(own) > space.free_bytes {
            return Err(Error::NoSpace);
        }
        // A quota is known only by trying.
        self.allocate(size).await
    }

    /// Makes sure that the user may set READONLY, which takes the permission to write away: that is the owner's
    /// to do.
    ///
    /// # Errors
    /// [`Error::AccessDenied`] to who is not.
    pub async fn check_read_only(&self) -> Result<(), Error> {
        let stat = self.file.statx(MASK).await?;
        Ok(self.file.chmod(u32::from(stat.stx_mode) & 0o7777).await?)
    }

    /// Returns when everything written is on the disk.
    ///
    /// # Errors
    /// Those of `fsync`.
    pub async fn sync(&self) -> Result<(), Error> {
        if self.stream.is_some()
            && let Contents::Stored(stored) = self.contents().await?
        {
            stored.file.sync_all().await?;
        }
        Ok(self.file.sync_all().await?)
    }

    /// Whether this is the share's own folder.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.stream.is_none() && self.share_path().components().is_empty()
    }

    /// Whether nothing is left in the directory, be it presentable to clients or not.
    ///
    /// # Errors
    /// [`Error::AccessDenied`] to who may not list it.
    pub async fn is_empty(&self) -> Result<bool, Error> {
        is_empty(&Dir::from_file(self.file.clone()).with_identity(self.tree.root.identity())).await
    }

    /// Whether it has lost its last name.
    ///
    /// # Errors
    /// Those of `statx`.
    pub async fn is_unlinked(&self) -> Result<bool, Error> {
        Ok(self.file.statx(StatxFlags::NLINK).await?.stx_nlink == 0)
    }

    /// Whether the file system would let the user read or write the contents.
    pub async fn may(&self, access: Access) -> bool {
        self.file.access(access).await.is_ok()
    }

    /// Lists the directory from its beginning.
    ///
    /// # Errors
    /// [`Error::NotADirectory`].
    pub fn read_dir(&self) -> Result<DirStream, Error> {
        match self.is_directory() {
            true => Ok(DirStream::new(&self.tree, &self.file, self.share_path())),
            false => Err(Error::NotADirectory),
        }
    }
}

/// The position of the descriptor is nobody's: reads and writes say where.
pub(super) fn allocated(
    file: &File,
    range: Range<u64>,
    most: usize,
) -> io::Result<Vec<Range<u64>>> {
    let mut found = Vec::new();
    let mut at = range.start;
    while at < range.end && found.len() < most {
        let start = match seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            // Nothing but a hole is left, or the file has become shorter.
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        if start >= range.end {
            break;
        }
        let end = seek(file, SeekFrom::Hole(start))?.min(range.end);
        found.push(start..end);
        at = end;
    }
    Ok(found)
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
