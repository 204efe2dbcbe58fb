//! An open file or directory.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use ringway::fs::{
    Access, AtFlags, Dir, FallocateFlags, File, Mode, OFlags, RenameFlags, ResolveFlags, SetTime,
    Statx, StatxFlags, Timespec,
};

use rustix::fs::{Gid, SeekFrom, Uid, chownat, seek};
use rustix::io::Errno;

use super::dos_info::{DosInfo, SetChange};
use super::listing::DirStream;
use super::metadata::{FileKey, FileKind, MASK, Metadata, Time, kind};
use super::path::{to_client, unix};
use super::resolve::{self, Place, Tree, TreeId, beneath, is_empty};
use super::streams::{self, Alone, StreamInfo, StreamKey};
use super::volume::{Disposition, Guard, Replaced, Security};
use super::{Attributes, Ea, Error, Mapping, PosixAcl, SharePath, ea, nt_acl, posix_acl};

/// An open file or directory of a [`Volume`](super::Volume).
#[derive(Debug)]
pub struct Handle {
    /// The share's tree, as the user sees it who opened this.
    pub(super) tree: Tree,
    pub(super) file: File,
    key: FileKey,
    what: What,
    /// Deletions are not the user's to the kernel.
    deleted_by_process: AtomicBool,
    by_short_name: bool,
    /// As found on disk; a rename through this handle changes it.
    path: Mutex<SharePath>,
    /// The name of the stream that this is, if it is not the unnamed one; so also.
    stream: Option<Mutex<String>>,
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

/// What has a name already.
enum Occupant {
    None,
    /// The very entry that is to be renamed, perhaps in another case.
    Itself,
    /// Another hard link to the same file.
    SameFile,
    Other,
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
        Self { tree, file, key, what, deleted_by_process, by_short_name, path, stream: None }
    }

    /// Opens a stream of this; tells whether it is new.
    pub(super) async fn open_stream(
        &self,
        wanted: &str,
        disposition: Disposition,
    ) -> Result<(Self, bool), Error> {
        let _alone = self.alone().await;
        let found = streams::find(&self.file, wanted).await?;
        let created = found.is_none();
        let name = match (found, disposition) {
            (Some(_), Disposition::Create) => return Err(Error::Exists),
            (None, Disposition::Open) => return Err(Error::NotFound),
            (Some(name), _) => name,
            (None, _) => {
                streams::store(&self.file, wanted, Vec::new()).await?;
                wanted.to_owned()
            }
        };
        let handle = Self {
            tree: self.tree.clone(),
            file: self.file.clone(),
            key: self.key,
            what: What::File,
            deleted_by_process: AtomicBool::new(false),
            by_short_name: false,
            path: Mutex::new(self.share_path()),
            stream: Some(Mutex::new(name)),
        };
        Ok((handle, created))
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
        let name = self.stream.as_ref()?;
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
        if let Some(name) = &self.stream {
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
        let size = streams::len(&self.file, &stream).await?;
        Ok(Metadata { size, allocation_size: size, is_directory: false, ..metadata })
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
        nt_acl::load(&self.file).await
    }

    /// Keeps a security descriptor with it, whatever the user may otherwise do.
    ///
    /// # Errors
    /// Those of setting an extended attribute.
    pub async fn set_security(&self, security: &Security) -> Result<(), Error> {
        security.store(&self.file).await
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
    pub async fn directory_security(&self) -> Result<Option<Vec<u8>>, Error> {
        if self.share_path().components().is_empty() {
            return Ok(None);
        }
        let place = self.place().await?;
        nt_acl::load(place.parent.as_file()).await
    }

    /// The same of the directory that the file itself is in, should its name be a link, which anybody can make
    /// anywhere.
    ///
    /// # Errors
    /// So also; [`Error::NotFound`] if it has just been moved.
    pub async fn home_security(&self) -> Result<Option<Vec<u8>>, Error> {
        if self.share_path().components().is_empty() {
            return Ok(None);
        }
        let (place, by_link) = self.named_place().await?;
        if !by_link {
            return nt_acl::load(place.parent.as_file()).await;
        }
        if key(&self.tree.root).await? == self.key {
            return Ok(None);
        }
        let (file, own) = (self.file.clone(), self.key);
        let home =
            ringway::spawn_blocking(move || home(&file)).await.map_err(|_| Error::Busy)??;
        let place = Place::new(Dir::from_file(File::from(home.0)), home.1);
        match entry_key(&place).await? == own {
            true => nt_acl::load(place.parent.as_file()).await,
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
        if self.stream.is_some() {
            // No longer than the stream was, which was no longer than an attribute.
            let zeros = usize::try_from(length).map_or_else(|_| Vec::new(), |len| vec![0; len]);
            return self.write_stream(Some(offset), &zeros).await;
        }
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if metadata.attributes.contains(Attributes::SPARSE) {
            return Ok(self.file.allocate(hole, offset, length).await?);
        }
        let zeros = FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE;
        match self.file.allocate(zeros, offset, length).await.map_err(Error::from) {
            // Zeros without room for them are zeros too.
            Err(Error::NotSupported) => Ok(self.file.allocate(hole, offset, length).await?),
            result => result,
        }
    }

    /// The parts of a range that take room, in order, `most` of them at most.
    ///
    /// # Errors
    /// Those of `lseek`; [`Error::Busy`] when no thread can be had for it.
    pub async fn allocated(
        self: &Arc<Self>,
        range: Range<u64>,
        most: usize,
    ) -> Result<Vec<Range<u64>>, Error> {
        if self.stream.is_some() {
            return Ok(vec![range]);
        }
        let handle = Arc::clone(self);
        // It may have to read what the file system knows of the file.
        let found = ringway::spawn_blocking(move || allocated(&handle.file, range, most)).await;
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
        if size == 0 || self.stream.is_some() {
            return Ok(());
        }
        match self.file.allocate(FallocateFlags::KEEP_SIZE, 0, size).await.map_err(Error::from) {
            Err(Error::NotSupported) => Ok(()),
            result => result,
        }
    }

    /// Returns when everything written is on the disk.
    ///
    /// # Errors
    /// Those of `fsync`.
    pub async fn sync(&self) -> Result<(), Error> {
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

    /// Whether the name it was opened by still leads to it. Others may, if this one does not.
    ///
    /// # Errors
    /// Those of looking the name up.
    pub async fn has_its_name(&self) -> Result<bool, Error> {
        if let Some(stream) = self.stream()
            && streams::find(&self.file, &stream).await?.is_none()
        {
            return Ok(false);
        }
        if self.share_path().components().is_empty() {
            return Ok(true);
        }
        match self.place().await {
            Ok(_) => Ok(true),
            Err(Error::NotFound | Error::PathNotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the file system would let the user read or write the contents.
    pub async fn may(&self, access: Access) -> bool {
        self.file.access(access).await.is_ok()
    }

    /// Whether the user may remove the name, because a descriptor says so or the file system: that takes permission to write to
    /// its directory, and in a sticky one to own the file or the directory.
    pub async fn may_remove(&self) -> bool {
        if self.stream.is_some() {
            return self.may(Access::WRITE_OK).await;
        }
        if self.deleted_by_process.load(Ordering::Relaxed)
            && matches!(self.named_place().await, Ok((_, false)))
        {
            return true;
        }
        self.removal().await.unwrap_or(false)
    }

    async fn removal(&self) -> Result<bool, Error> {
        let place = self.place().await?;
        if place.parent.access(Access::WRITE_OK | Access::EXEC_OK).await.is_err() {
            return Ok(false);
        }
        let parent = place.parent.as_file().statx(MASK).await?;
        if u32::from(parent.stx_mode) & libc::S_ISVTX == 0 {
            return Ok(true);
        }
        let user = match self.tree.root.identity() {
            Some(identity) => identity.uid(),
            None => rustix::process::geteuid().as_raw(),
        };
        let owner = self.file.statx(MASK).await?.stx_uid;
        Ok(user == 0 || user == owner || user == parent.stx_uid)
    }

    // ---- extended attributes

    /// How long the list of its EAs is, as clients are told it; 0 if it has none. A stream has those of its
    /// file.
    pub async fn ea_size(&self) -> u32 {
        ea::size(&self.file).await
    }

    /// Its EAs.
    ///
    /// # Errors
    /// [`Error::AccessDenied`] to who may not read the file.
    pub async fn eas(&self) -> Result<Vec<Ea>, Error> {
        if self.is_link() {
            return Ok(Vec::new());
        }
        ea::load(&self.file).await
    }

    /// Sets these EAs, or removes those that are to hold nothing; all of them or none.
    ///
    /// # Errors
    /// [`Error::EaTooLarge`] if it cannot have so much; [`Error::NoEas`] if it can have none.
    pub async fn change_eas(&self, changes: &[Ea]) -> Result<(), Error> {
        let _alone = self.alone().await;
        ea::change(&self.file, changes).await
    }

    /// Gives it these EAs in place of those that it has.
    ///
    /// # Errors
    /// Those of [`Self::change_eas`].
    pub async fn replace_eas(&self, eas: &[Ea]) -> Result<(), Error> {
        let _alone = self.alone().await;
        ea::replace(&self.file, eas).await
    }

    // ---- streams

    /// The named streams of the file that this is, or is a stream of.
    ///
    /// # Errors
    /// Those of reading extended attributes.
    pub async fn streams(&self) -> Result<Vec<StreamInfo>, Error> {
        let mut found = Vec::new();
        if self.is_link() {
            return Ok(found);
        }
        for name in streams::names(&self.file).await? {
            // One that is gone meanwhile is not told.
            if let Ok(size) = streams::len(&self.file, &name).await {
                found.push(StreamInfo { name, size });
            }
        }
        Ok(found)
    }

    /// What is known about the unnamed stream of the file that this is, or is a stream of; a directory has
    /// none.
    ///
    /// # Errors
    /// Those of `statx`.
    pub async fn unnamed_stream(&self) -> Result<Option<Metadata>, Error> {
        let stat = self.file.statx(MASK).await?;
        let metadata = Metadata::new(&stat, DosInfo::default_for(&stat, ""));
        Ok((!metadata.is_directory).then_some(metadata))
    }

    /// Removes all named streams of this file.
    ///
    /// # Errors
    /// Those of removing extended attributes; some may be gone.
    pub async fn remove_streams(&self) -> Result<(), Error> {
        let _alone = self.alone().await;
        for name in streams::names(&self.file).await? {
            streams::remove(&self.file, &name).await?;
        }
        Ok(())
    }

    /// At most `length` bytes of this stream.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it has been removed.
    pub async fn read_stream(&self, offset: u64, length: usize) -> Result<Vec<u8>, Error> {
        let stream = self.stream().ok_or(Error::NotSupported)?;
        let mut contents = streams::load(&self.file, &stream).await?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(contents.len());
        contents.drain(..start);
        contents.truncate(length);
        Ok(contents)
    }

    /// Writes to this stream; without an offset, at its end.
    ///
    /// # Errors
    /// [`Error::NoSpace`] for what is longer than a stream can be; then nothing is written.
    pub async fn write_stream(&self, offset: Option<u64>, bytes: &[u8]) -> Result<(), Error> {
        self.change_stream(|contents| {
            let start = match offset {
                Some(offset) => usize::try_from(offset).map_err(|_| Error::NoSpace)?,
                None => contents.len(),
            };
            let end = start.checked_add(bytes.len()).filter(|end| *end <= streams::LEN_MAX);
            let end = end.ok_or(Error::NoSpace)?;
            if contents.len() < end {
                contents.resize(end, 0);
            }
            contents.splice(start..end, bytes.iter().copied());
            Ok(())
        })
        .await
    }

    async fn set_stream_len(&self, size: u64) -> Result<(), Error> {
        let size = usize::try_from(size).ok().filter(|size| *size <= streams::LEN_MAX);
        let size = size.ok_or(Error::NoSpace)?;
        self.change_stream(|contents| {
            contents.resize(size, 0);
            Ok(())
        })
        .await
    }

    async fn change_stream(
        &self,
        change: impl FnOnce(&mut Vec<u8>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let _alone = self.alone().await;
        let stream = self.stream().ok_or(Error::NotSupported)?;
        let mut contents = streams::load(&self.file, &stream).await?;
        change(&mut contents)?;
        streams::store(&self.file, &stream, contents).await
    }

    /// Gives this stream another name, in place of the one that has that if `replace`.
    ///
    /// # Errors
    /// [`Error::Exists`] if the name is taken and not to be replaced.
    pub async fn rename_stream(&self, to: &str, replace: bool) -> Result<(), Error> {
        let _alone = self.alone().await;
        let from = self.stream().ok_or(Error::NotSupported)?;
        let there = streams::find(&self.file, to).await?.filter(|there| *there != from);
        if there.is_some() && !replace {
            return Err(Error::Exists);
        }
        if from == to {
            return Ok(());
        }
        let contents = streams::load(&self.file, &from).await?;
        streams::store(&self.file, to, contents).await?;
        // In another case it is another attribute.
        for old in there.iter().filter(|there| *there != to).chain([&from]) {
            streams::remove(&self.file, old).await?;
        }
        if let Some(name) = &self.stream {
            to.clone_into(&mut name.lock().unwrap_or_else(PoisonError::into_inner));
        }
        Ok(())
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

    /// Gives the file another name, in place of what has that name if `replace`, and if `guard` agrees.
    ///
    /// # Errors
    /// [`Error::Exists`] if the name is taken and not to be replaced; [`Error::AccessDenied`] if a
    /// directory has it.
    pub async fn rename(
        &self,
        to: &SharePath,
        replace: bool,
        guard: &dyn Guard,
    ) -> Result<(), Error> {
        let (parents, last) = to.split_last().ok_or(Error::AccessDenied)?;
        let from = self.place().await?;
        let target = resolve::place(&self.tree, parents, last).await?;
        // What is replaced under its short name leaves its long one behind, as by a tunnel.
        let last = if target.by_short_name { &target.name } else { last };
        let directory = nt_acl::load(target.parent.as_file()).await?;
        // It keeps the descriptor that it has.
        guard.admit(directory.as_deref(), self.is_directory())?;
        match self.occupant(&from, &target).await? {
            Occupant::None => {
                rename(&from, &target.parent, &target.name, RenameFlags::NOREPLACE).await?;
            }
            Occupant::Itself => correct_case(&from, last).await?,
            Occupant::SameFile => {
                self.check_replaceable(&target, replace).await?;
                guard.replace(directory.as_deref(), &replaced(&target).await?)?;
                // For two names of one file rename(2) does nothing.
                from.parent.unlink_at(&from.name, false).await?;
                correct_case(&target, last).await?;
            }
            Occupant::Other => {
                self.check_replaceable(&target, replace).await?;
                guard.replace(directory.as_deref(), &replaced(&target).await?)?;
                rename(&from, &target.parent, &target.name, RenameFlags::empty()).await?;
                correct_case(&target, last).await?;
            }
        }
        self.note_gone(&from).await;
        let mut components = target.parents.clone();
        components.push(last.to_owned());
        let mut path = self.path.lock().unwrap_or_else(PoisonError::into_inner);
        *path = SharePath::from_components(components);
        Ok(())
    }

    /// What has the name that this is to get.
    async fn occupant(&self, from: &Place, target: &Place) -> Result<Occupant, Error> {
        if !target.exists {
            return Ok(Occupant::None);
        }
        match self.key_at(target).await {
            Ok(key) if key == self.key => {}
            // Also a link that leads nowhere.
            Ok(_) | Err(Error::NotFound | Error::NotADirectory | Error::TooManyLinks) => {
                return Ok(Occupant::Other);
            }
            Err(error) => return Err(error),
        }
        let same_directory = key(&from.parent).await? == key(&target.parent).await?;
        if same_directory && super::name::equal(&from.name, &target.name) {
            return Ok(Occupant::Itself);
        }
        // One of the two may be a symbolic link to the other, which must not take its place.
        let names = [entry_key(from).await?, entry_key(target).await?];
        if names == [self.key; 2] { Ok(Occupant::SameFile) } else { Err(Error::AccessDenied) }
    }

    async fn check_replaceable(&self, target: &Place, replace: bool) -> Result<(), Error> {
        match (replace, self.is_directory()) {
            (false, _) => Err(Error::Exists),
            (true, true) => Err(Error::AccessDenied),
            (true, false) => check_replaceable(target).await,
        }
    }

    /// Removes the name that this handle has.
    ///
    /// # Errors
    /// [`Error::NotFound`] if another file has it by now; [`Error::NotEmpty`].
    pub async fn remove(&self) -> Result<(), Error> {
        if let Some(stream) = self.stream() {
            let _alone = self.alone().await;
            return streams::remove(&self.file, &stream).await;
        }
        let (mut place, by_link) = self.named_place().await?;
        // The descriptor says nothing of a link to the file.
        if self.deleted_by_process.load(Ordering::Relaxed) && !by_link {
            place.parent = place.parent.with_identity(None);
        }
        // Opened through a link, it is the link that goes, as it is the link that has the name.
        let directory = self.is_directory() && !by_link;
        place.parent.unlink_at(&place.name, directory).await?;
        self.note_gone(&place).await;
        Ok(())
    }

    /// Notes that the name is free. MS-FSA 2.1.1.2, KeyByShortName: only who uses short names wants the long
    /// one back by it.
    async fn note_gone(&self, place: &Place) {
        if self.by_short_name
            && let Ok(directory) = key(&place.parent).await
        {
            let client_name = self.tree.mapping.to_client(&place.name);
            self.tree.tunnel.note(directory, &place.name, &client_name, Instant::now());
        }
    }

    /// Where it is, if it still is there. The user's rights to its directory are not asked for here: what is
    /// done with the place is done with them.
    ///
    /// Looked up as the process, which costs a fraction: the user has gone this way before, when this was
    /// opened, and where it leads elsewhere by now, it does not lead to this.
    pub(super) async fn place(&self) -> Result<Place, Error> {
        Ok(self.named_place().await?.0)
    }

    /// So also, and whether its name there is a link that leads to it.
    async fn named_place(&self) -> Result<(Place, bool), Error> {
        let path = self.share_path();
        let (parents, last) = path.split_last().ok_or(Error::AccessDenied)?;
        let tree = Tree { root: self.tree.root.with_identity(None), ..self.tree.clone() };
        let mut place = Place::of_known(&tree, parents, last).await?;
        let mut by_link = self.is_at(&place).await?;
        if by_link.is_none() {
            // In another case, perhaps.
            place = resolve::place(&tree, parents, last).await?;
            by_link = if place.exists { self.is_at(&place).await? } else { None };
        }
        let by_link = by_link.ok_or(Error::NotFound)?;
        place.parent = place.parent.with_identity(self.tree.root.identity());
        Ok((place, by_link))
    }

    /// If this has a place's name, whether by way of a link there.
    async fn is_at(&self, place: &Place) -> Result<Option<bool>, Error> {
        let followed = match entry_key(place).await {
            Ok(key) if key == self.key => return Ok(Some(false)),
            Ok(_) if self.is_link() => return Ok(None),
            Ok(_) => key_of(place).await,
            Err(error) => Err(error),
        };
        match followed {
            Err(Error::NotFound) => Ok(None),
            result => Ok((result? == self.key).then_some(true)),
        }
    }

    /// Which file a place's name means to who opens it as this was opened.
    async fn key_at(&self, place: &Place) -> Result<FileKey, Error> {
        if self.is_link() { entry_key(place).await } else { key_of(place).await }
    }
}

/// The position of the descriptor is nobody's: reads and writes say where.
fn allocated(file: &File, range: Range<u64>, most: usize) -> io::Result<Vec<Range<u64>>> {
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

/// Where the kernel has an open file: its directory, as the process sees it, and its name. Blocks.
fn home(file: &File) -> io::Result<(std::os::fd::OwnedFd, String)> {
    let path = std::fs::read_link(super::xattr::path(file))?;
    let (directory, name) = (path.parent(), path.file_name().and_then(|name| name.to_str()));
    let (Some(directory), Some(name)) = (directory, name) else {
        return Err(io::ErrorKind::NotFound.into());
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS;
    let directory = rustix::fs::openat2(rustix::fs::CWD, directory, flags, Mode::empty(), resolve)?;
    Ok((directory, name.to_owned()))
}

/// MS-FSA 2.1.5.15.11: a directory is not replaced, and neither is a read-only file.
pub(super) async fn check_replaceable(target: &Place) -> Result<(), Error> {
    let stat = target.parent.statx_at(&target.name, AtFlags::SYMLINK_NOFOLLOW, MASK).await?;
    let read_only = kind(&stat) == FileKind::Regular
        && u32::from(stat.stx_mode) & super::attributes::OWNER_WRITE == 0;
    match kind(&stat) == FileKind::Directory || read_only {
        true => Err(Error::AccessDenied),
        false => Ok(()),
    }
}

/// Which file a place's name leads to. Only compared, so a link that leads out does no harm.
async fn key_of(place: &Place) -> Result<FileKey, Error> {
    let stat = place.parent.statx_at(&place.name, AtFlags::empty(), StatxFlags::INO).await?;
    Ok(FileKey::of(&stat))
}

/// Which file a place's name is, be it a link.
pub(super) async fn entry_key(place: &Place) -> Result<FileKey, Error> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    Ok(FileKey::of(&place.parent.statx_at(&place.name, flags, StatxFlags::INO).await?))
}

async fn key(dir: &Dir) -> Result<FileKey, Error> {
    Ok(FileKey::of(&dir.as_file().statx(StatxFlags::INO).await?))
}

/// What has a place's name. Not followed if it is a link: the link goes.
pub(super) async fn replaced(place: &Place) -> Result<Replaced, Error> {
    let how = beneath(OFlags::PATH | OFlags::NOFOLLOW);
    let file = place.parent.open_at(&place.name, &how).await.map_err(Error::of_open)?;
    let stat = file.statx(MASK).await?;
    let descriptor = match kind(&stat) {
        FileKind::Symlink => None,
        _ => nt_acl::load(&file).await?,
    };
    Ok(Replaced { descriptor, uid: stat.stx_uid, gid: stat.stx_gid })
}

/// Gives an entry its own name in the case that the client wrote.
async fn correct_case(place: &Place, name: &str) -> Result<(), Error> {
    if place.name == name {
        return Ok(());
    }
    rename(place, &place.parent, name, RenameFlags::NOREPLACE).await
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
