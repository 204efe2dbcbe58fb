//! Streams that fit no extended attribute: their contents are a file of the [store](crate::vfs::store), under a number
//! that nobody can guess. In place of the attribute with the contents, their file has one with the number, which is a pointer.
//!
//! What is stored says which file it belongs to. Who copies that without SMB copies the pointer and not the contents,
//! so a copy reads what belongs to another, and gets its own before it changes any.

use std::ffi::CStr;
use std::io;

use nix::unistd::geteuid;
use ringway::fs::{Access, File, Statx, StatxFlags};
use rustix::fs::{copy_file_range, ioctl_ficlone};

use crate::vfs::handle::allocated;
use crate::vfs::metadata::{MASK, time};
use crate::vfs::store::{Section, give_to, unstorable};
use crate::vfs::{Error, xattr};

use super::{Contents, PREFIX, SUFFIX, Size, Streams, named};

/// In front of a stream's name, in that of its pointer. Short, so that each name that fits behind [`PREFIX`] does here.
pub(super) const SECURITY: &str = "security.usmbd.ads.";

/// Anybody who may write a file can set this, and point at anything. So it counts only where all users are one to the
/// kernel.
pub(super) const USER: &str = "user.usmbd.ads.";

const _: () = assert!(SECURITY.len() <= PREFIX.len() + SUFFIX.len());

/// Of a stored file: which file it belongs to.
const BASE: &CStr = c"user.usmbd.base";

/// Of pointers, and of what says to whom something belongs.
const VERSION: u8 = 1;

/// What is in the place of the contents for as long as a pointer has no room beside them, in front of the pointer. It
/// is no secret, so it counts only for what belongs to the file.
const INTERIM: &[u8] = b"\0usmbd: stored\0";

const POINTER_LEN: usize = 1 + 16;

/// How many parts of a file are looked for at once when it is copied.
const PARTS: usize = 1024;

/// The number of a stored stream.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct Id([u8; 16]);

/// A stream's contents in the store.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(in crate::vfs) id: Id,
    /// Used as whoever uses the file that has the stream, so that his quota is what bounds it.
    pub(in crate::vfs) file: File,
    /// It belongs to that file.
    is_own: bool,
    /// So it does, and the user may change it. As of a file's contents that is asked once.
    is_changeable: bool,
}

impl Id {
    fn new() -> Result<Self, Error> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(io::Error::other)?;
        Ok(Self(id))
    }

    /// Of its file.
    pub(in crate::vfs) fn name(self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.0))
    }

    fn pointer(self) -> Vec<u8> {
        [&[VERSION], self.0.as_slice()].concat()
    }

    pub(in crate::vfs) fn of_pointer(value: &[u8]) -> Option<Self> {
        let id = value.strip_prefix(&[VERSION])?;
        Some(Self(id.try_into().ok()?))
    }

    fn interim(self) -> Vec<u8> {
        [INTERIM, &self.pointer()].concat()
    }

    pub(in crate::vfs) fn of_interim(value: &[u8]) -> Option<Self> {
        Self::of_pointer(value.strip_prefix(INTERIM)?)
    }
}

impl Stored {
    pub(in crate::vfs) async fn size(&self) -> Result<Size, Error> {
        let stat = self.file.statx(MASK).await?;
        Ok(Size { len: stat.stx_size, allocated: stat.stx_blocks.saturating_mul(512) })
    }
}

/// The stream whose pointer an attribute is, if it counts.
pub(crate) fn pointed_to(attribute: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(attribute).ok()?;
    let by_user = || name.strip_prefix(USER).filter(|_| !geteuid().is_root());
    let stream = name.strip_prefix(SECURITY).or_else(by_user)?;
    crate::vfs::path::is_stream_name(stream).then(|| stream.to_owned())
}

/// Whether an attribute of this length may be no contents.
pub(super) fn may_be_interim(len: usize) -> bool {
    len == INTERIM.len() + POINTER_LEN
}

impl Streams<'_> {
    /// What a stream's pointer leads to.
    pub(super) async fn by_pointer(&self, stream: &str) -> Result<Option<Stored>, Error> {
        match self.pointer(stream).await? {
            Some(id) => self.open(id).await,
            None => Ok(None),
        }
    }

    /// What is to be found by what there is in place of contents.
    pub(super) async fn by_interim(&self, value: &[u8]) -> Result<Option<Stored>, Error> {
        match Id::of_interim(value) {
            Some(id) => Ok(self.open(id).await?.filter(|stored| stored.is_own)),
            None => Ok(None),
        }
    }

    /// Where a stream's pointer leads, if it has one that counts.
    pub(in crate::vfs) async fn pointer(&self, stream: &str) -> Result<Option<Id>, Error> {
        let mut found = self.pointer_in(SECURITY, stream).await?;
        if found.is_none() && !geteuid().is_root() {
            found = self.pointer_in(USER, stream).await?;
        }
        Ok(found.and_then(|value| Id::of_pointer(&value)))
    }

    async fn pointer_in(&self, prefix: &str, stream: &str) -> Result<Option<Vec<u8>>, Error> {
        // A name that is too long for a pointer has none.
        let Ok(name) = named(prefix, stream, "") else { return Ok(None) };
        Ok(xattr::value_as_process(self.file, &name, POINTER_LEN).await?)
    }

    async fn open(&self, id: Id) -> Result<Option<Stored>, Error> {
        let Some(file) = self.store.open(Section::Streams, &id.name()).await? else {
            return Ok(None);
        };
        let belongs_to = xattr::value(&file, BASE).await?;
        let is_own = belongs_to == Some(identity(&self.file.statx(MASK).await?));
        let file = file.with_identity(self.file.identity());
        Ok(Some(Stored { id, file, is_own, is_changeable: false }))
    }

    /// Moves a stream out of its attribute, if it has one, into the store. It has what it had, and then is changed.
    ///
    /// # Errors
    /// Then it is where and what it was.
    pub(in crate::vfs) async fn move_out(
        &self,
        stream: &str,
        contents: Vec<u8>,
        change: impl AsyncFnOnce(&File) -> Result<(), Error>,
    ) -> Result<Stored, Error> {
        self.may_change().await?;
        let stored = self.new_stored().await?;
        let moved = async {
            stored.file.write_all_at(contents, 0).await.0?;
            change(&stored.file).await?;
            self.point(stream, stored.id).await
        };
        self.or_removed(moved.await, stored).await
    }

    /// What may be changed for this file: what it points to, or a copy, if that belongs to another.
    ///
    /// # Errors
    /// [`Error::AccessDenied`] to who may not change the file.
    pub(in crate::vfs) async fn own(&self, stream: &str, stored: Stored) -> Result<Stored, Error> {
        if stored.is_changeable {
            return Ok(stored);
        }
        self.may_change().await?;
        if stored.is_own {
            return Ok(Stored { is_changeable: true, ..stored });
        }
        let own = self.new_stored().await?;
        let copied = async {
            copy(&stored.file, &own.file).await?;
            self.point(stream, own.id).await
        };
        self.or_removed(copied.await, own).await
    }

    async fn or_removed(&self, result: Result<(), Error>, stored: Stored) -> Result<Stored, Error> {
        match result {
            Ok(()) => Ok(stored),
            Err(error) => {
                self.store.remove(Section::Streams, &stored.id.name()).await;
                Err(error)
            }
        }
    }

    /// An empty one, which belongs to this file and its owner, and which nothing points to, for who may change the file.
    async fn new_stored(&self) -> Result<Stored, Error> {
        let (id, stat) = (Id::new()?, self.file.statx(MASK).await?);
        let file = self.store.create(Section::Streams, &id.name()).await.map_err(unstorable)?;
        let made = async {
            file.set_xattr(BASE, identity(&stat)).await.map_err(xattr::error_of_set)?;
            give_to(&file, stat.stx_uid, stat.stx_gid).await
        };
        let made = made.await;
        let file = file.with_identity(self.file.identity());
        self.or_removed(made, Stored { id, file, is_own: true, is_changeable: true }).await
    }

    /// Sets a stream's pointer in the place of its attribute.
    async fn point(&self, stream: &str, id: Id) -> Result<(), Error> {
        match self.set_pointer(stream, id).await {
            // There is no room for it beside the attribute, in whose place is some for both, one after the other.
            Err(Error::NoSpace) => {
                let name = super::attribute(stream)?;
                let interim = self.file.set_xattr(&name, id.interim()).await;
                interim.map_err(xattr::error_of_set)?;
                if self.set_pointer(stream, id).await.is_err() {
                    return Ok(());
                }
            }
            result => result.map_err(unstorable)?,
        }
        self.remove_attribute(stream).await.map(drop)
    }

    /// As the process, for who may change the file.
    async fn set_pointer(&self, stream: &str, id: Id) -> Result<(), Error> {
        let file = self.file.with_identity(None);
        let set = async |prefix| {
            let set = file.set_xattr(&named(prefix, stream, "")?, id.pointer()).await;
            set.map_err(xattr::error_of_set)
        };
        match set(SECURITY).await {
            Err(Error::AccessDenied) if !geteuid().is_root() => set(USER).await,
            result => result,
        }
    }

    /// Removes a stream, and what is stored of it.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none.
    pub(in crate::vfs) async fn remove(&self, stream: &str) -> Result<(), Error> {
        let stored = self.stored(stream).await?;
        self.unname(stream).await?;
        self.dispose(stored).await;
        Ok(())
    }

    /// What is stored of a stream, if it is.
    async fn stored(&self, stream: &str) -> Result<Option<Stored>, Error> {
        match self.contents(stream).await {
            Ok(Contents::Stored(stored)) => Ok(Some(stored)),
            // Nothing but a pointer may be left, or one beside the contents.
            Ok(Contents::Attribute(_)) | Err(Error::NotFound) => self.by_pointer(stream).await,
            Err(error) => Err(error),
        }
    }

    /// Takes attribute and pointer from a file.
    async fn unname(&self, stream: &str) -> Result<(), Error> {
        let pointed = self.unpoint(stream).await?;
        match self.remove_attribute(stream).await? || pointed {
            true => Ok(()),
            false => Err(Error::NotFound),
        }
    }

    /// Takes its pointer, be it one that does not count or leads nowhere.
    async fn unpoint(&self, stream: &str) -> Result<bool, Error> {
        let (file, mut pointed) = (self.file.with_identity(None), false);
        for prefix in [SECURITY, USER] {
            if self.pointer_in(prefix, stream).await?.is_some() {
                self.may_change().await?;
                let removed = file.remove_xattr(&named(prefix, stream, "")?).await;
                pointed |= super::present(removed)?.is_some();
            }
        }
        Ok(pointed)
    }

    /// Removes what nothing in this file points to any more, unless it belongs to another.
    async fn dispose(&self, stored: Option<Stored>) {
        if let Some(stored) = stored.filter(|stored| stored.is_own) {
            self.store.remove(Section::Streams, &stored.id.name()).await;
        }
    }

    /// Empties a stream. As a new one it begins in an attribute.
    pub(in crate::vfs) async fn empty(&self, stream: &str) -> Result<(), Error> {
        let before = self.stored(stream).await?;
        match (self.put_attribute(stream, Vec::new()).await, before) {
            (Err(Error::NoSpace), Some(before)) => {
                let own = self.own(stream, before).await?;
                Ok(own.file.set_len(0).await?)
            }
            (result, before) => {
                result?;
                self.unpoint(stream).await?;
                self.dispose(before).await;
                Ok(())
            }
        }
    }

    /// Gives a stream another name, which none has but perhaps in another case, or in place of the one that has it.
    pub(in crate::vfs) async fn rename(
        &self,
        from: &str,
        to: &str,
        there: Option<&str>,
    ) -> Result<(), Error> {
        let replaced = match there {
            Some(there) => self.stored(there).await?,
            None => None,
        };
        match self.contents(from).await? {
            Contents::Attribute(contents) => {
                self.put(to, contents).await?;
                let outdated = replaced.as_ref().map(|replaced| replaced.id);
                if outdated.is_some() && self.pointer(to).await? == outdated {
                    self.unpoint(to).await?;
                }
            }
            Contents::Stored(stored) => {
                // What there may be of a pointer counts only for what is its own.
                let own = self.own(from, stored).await?;
                self.point(to, own.id).await?;
            }
        }
        // In another case it is another attribute.
        for old in there.into_iter().filter(|there| *there != to).chain([from]) {
            self.unname(old).await?;
        }
        self.dispose(replaced).await;
        Ok(())
    }

    /// The file may have lost its last name: then what is stored of its streams goes.
    pub(in crate::vfs) async fn end(&self) {
        if let Err(error) = self.try_end().await {
            tracing::debug!(%error, "streams of a file that is gone stay in the store");
        }
    }

    async fn try_end(&self) -> Result<(), Error> {
        if !self.store.may_hold() {
            return Ok(());
        }
        let names = xattr::names_as_process(self.file).await?;
        let mut streams = names.split(|byte| *byte == 0).filter_map(pointed_to).peekable();
        if streams.peek().is_none() {
            return Ok(());
        }
        if self.file.statx(StatxFlags::NLINK).await?.stx_nlink != 0 {
            return Ok(());
        }
        for stream in streams {
            let stored = self.by_pointer(&stream).await?;
            self.dispose(stored).await;
        }
        Ok(())
    }

    /// What the kernel asks before it changes an attribute, and not where the process does.
    async fn may_change(&self) -> Result<(), Error> {
        Ok(self.file.access(Access::WRITE_OK).await?)
    }
}

/// Which file it is, on whatever device: no other has the same inode number and was made at the same time.
fn identity(stat: &Statx) -> Vec<u8> {
    let (seconds, nanoseconds) = time(&stat.stx_btime);
    let mut value = vec![VERSION];
    value.extend_from_slice(&stat.stx_ino.to_le_bytes());
    value.extend_from_slice(&seconds.to_le_bytes());
    value.extend_from_slice(&nanoseconds.to_le_bytes());
    value
}

/// By sharing blocks, where the file system does that. What takes no room takes none in the copy.
async fn copy(from: &File, to: &File) -> Result<(), Error> {
    let len = from.statx(MASK).await?.stx_size;
    to.set_len(len).await?;
    let (from, to) = (from.clone(), to.clone());
    let copied = ringway::spawn_blocking(move || match ioctl_ficlone(&to, &from) {
        Ok(()) => Ok(()),
        Err(_) => copy_parts(&from, &to, len),
    });
    Ok(copied.await.map_err(|_| Error::Busy)??)
}

fn copy_parts(from: &File, to: &File, len: u64) -> io::Result<()> {
    let mut at = 0;
    loop {
        let parts = allocated(from, at..len, PARTS)?;
        let Some(last) = parts.last() else { return Ok(()) };
        at = last.end;
        for part in parts {
            let (mut read, mut written) = (part.start, part.start);
            while read < part.end {
                let rest = usize::try_from(part.end - read).unwrap_or(usize::MAX);
                // It has become shorter.
                if copy_file_range(from, Some(&mut read), to, Some(&mut written), rest)? == 0 {
                    break;
                }
            }
        }
    }
}
