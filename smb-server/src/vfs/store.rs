//! The place for what fits no extended attribute: a directory in the share's own folder, with a name that no client
//! can see or say, and which only the process gets into. Being in the share, it is in its backups and snapshots.
//!
//! It holds files by name; what they are is for others to say.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use nix::unistd::geteuid;
use ringway::fs::{AtFlags, Dir, File, Mode, OFlags, OpenHow, RenameFlags, ResolveFlags, SetTime};
use rustix::fs::{Gid, Uid, fchown, statat};

use super::Error;
use super::metadata::MASK;

/// It begins with what no client can say.
pub(super) const NAME: &str = ":usmbd:store";

/// Nobody but the process gets in, and so at nothing that is in it, whoever owns that.
const FOLDER_MODE: u32 = 0o700;

/// What the place holds, each in a directory of its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Section {
    /// Contents of named streams.
    Streams,
    /// Security descriptors.
    Descriptors,
}

/// The place of one share, and those of the other shares, in which may be what has been moved here, or what was made
/// through a share whose folder is in this one or has this in it.
#[derive(Clone, Debug)]
pub(super) struct Store {
    own: Place,
    others: Arc<OnceLock<Vec<Place>>>,
}

#[derive(Clone, Debug)]
struct Place {
    /// The share's folder, as the process sees it.
    root: Dir,
    /// It was there at the start, or has been made since.
    is_there: Arc<AtomicBool>,
}

impl Section {
    pub(super) const ALL: [Self; 2] = [Self::Streams, Self::Descriptors];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Streams => "streams",
            Self::Descriptors => "descriptors",
        }
    }

    /// By the first two characters of a name, so that no directory becomes huge.
    fn folder(self, name: &str) -> String {
        format!("{}/{}", self.name(), name.get(..2).unwrap_or(name))
    }

    fn path(self, name: &str) -> String {
        format!("{}/{name}", self.folder(name))
    }
}

impl Store {
    /// That of the share with this folder. Blocks; for the start.
    pub(super) fn new(root: &Dir) -> Self {
        let is_there = statat(root.as_file(), NAME, AtFlags::SYMLINK_NOFOLLOW).is_ok();
        let (root, is_there) = (root.with_identity(None), Arc::new(is_there.into()));
        Self { own: Place { root, is_there }, others: Arc::default() }
    }

    /// Says which others there are. Once, at the start.
    pub(super) fn know_others<'a>(&self, others: impl Iterator<Item = &'a Self>) {
        let others = others.map(|other| other.own.clone()).collect();
        self.others.get_or_init(|| others);
    }

    fn places(&self) -> impl Iterator<Item = &Place> {
        std::iter::once(&self.own).chain(self.others.get().into_iter().flatten())
    }

    /// Whether it is worth looking for what a file may have there. Who is told no may leave something behind that
    /// another program has put there meanwhile.
    pub(super) fn may_hold(&self) -> bool {
        self.places().any(|place| place.is_there.load(Ordering::Relaxed))
    }

    /// Opens what has this name, if there is such a thing; to be written, too, where that can be had.
    pub(super) async fn open(&self, section: Section, name: &str) -> Result<Option<File>, Error> {
        if let Some(file) = self.own.open(section, name).await? {
            return Ok(Some(file));
        }
        for other in self.places().skip(1) {
            if let Ok(Some(file)) = other.open(section, name).await {
                return Ok(Some(file));
            }
        }
        Ok(None)
    }

    /// Makes an empty file of a name that is new.
    ///
    /// # Errors
    /// Those of a full disk; any other where the share can have no such place.
    pub(super) async fn create(&self, section: Section, name: &str) -> Result<File, Error> {
        let store = self.own.made().await?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let how = within(flags).mode(Mode::RUSR | Mode::WUSR);
        let create = async || store.open_at(section.path(name), &how).await.map_err(Error::of_open);
        match create().await {
            Err(Error::NotFound) => {}
            result => return result,
        }
        make_directory(&store, section.name()).await?;
        make_directory(&store, &section.folder(name)).await?;
        create().await
    }

    /// Makes a file of this name with these contents, which are on the disk before they have it; or says that they
    /// are in use again, if it is there.
    ///
    /// # Errors
    /// Those of [`Self::create`].
    pub(super) async fn write(
        &self,
        section: Section,
        name: &str,
        contents: Vec<u8>,
    ) -> Result<(), Error> {
        let number = getrandom::u64().map_err(io::Error::other)?;
        let unfinished = format!("{name}.{number:016x}");
        let file = self.create(section, &unfinished).await?;
        let mut result = file.write_all_at(contents, 0).await.0;
        if result.is_ok() {
            result = file.sync_all().await;
        }
        let store = self.own.made().await?;
        let (from, to) = (section.path(&unfinished), section.path(name));
        if result.is_ok() {
            result = store.rename_at(&from, &store, &to, RenameFlags::empty()).await;
        }
        if result.is_err() {
            // The first error is the one to tell.
            let _ = store.unlink_at(&from, false).await;
        }
        Ok(result?)
    }

    /// Removes what has this name. What cannot be removed is left for a sweep.
    pub(super) async fn remove(&self, section: Section, name: &str) {
        for place in self.places() {
            match place.remove(section, name).await {
                Ok(()) => return,
                Err(Error::NotFound) => {}
                Err(error) => tracing::debug!(%error, name, "something unused stays in a store"),
            }
        }
    }
}

impl Place {
    async fn existing(&self) -> Result<Option<Dir>, Error> {
        let how = within(OFlags::RDONLY | OFlags::DIRECTORY);
        let folder = match self.root.open_at(NAME, &how).await.map_err(Error::of_open) {
            Err(Error::NotFound) => return Ok(None),
            result => result?,
        };
        let stat = folder.statx(MASK).await?;
        match is_ours(stat.stx_uid, stat.stx_mode.into()) {
            true => Ok(Some(Dir::from_file(folder))),
            false => {
                tracing::warn!(
                    "what is called {NAME} in a share is not used: it is another user's"
                );
                Err(Error::AccessDenied)
            }
        }
    }

    async fn made(&self) -> Result<Dir, Error> {
        if let Some(folder) = self.existing().await? {
            return Ok(folder);
        }
        make_directory(&self.root, NAME).await?;
        self.is_there.store(true, Ordering::Relaxed);
        self.existing().await?.ok_or(Error::NotFound)
    }

    async fn open(&self, section: Section, name: &str) -> Result<Option<File>, Error> {
        let Some(folder) = self.existing().await? else { return Ok(None) };
        let open = async |flags| folder.open_at(section.path(name), &within(flags)).await;
        let opened = match open(OFlags::RDWR).await.map_err(Error::of_open) {
            Err(Error::ReadOnly | Error::AccessDenied) => {
                open(OFlags::RDONLY).await.map_err(Error::of_open)
            }
            result => result,
        };
        match opened {
            Err(Error::NotFound) => Ok(None),
            result => result.map(Some),
        }
    }

    async fn remove(&self, section: Section, name: &str) -> Result<(), Error> {
        let folder = self.existing().await?.ok_or(Error::NotFound)?;
        Ok(folder.unlink_at(section.path(name), false).await?)
    }
}

/// Whether a place with this owner and these permissions is ours alone.
pub(super) fn is_ours(uid: u32, mode: u32) -> bool {
    uid == geteuid().as_raw() && mode & 0o777 & !FOLDER_MODE == 0
}

/// Nothing in it is a link.
fn within(flags: OFlags) -> OpenHow {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    OpenHow::new(flags | OFlags::NOFOLLOW).resolve(resolve)
}

async fn make_directory(parent: &Dir, path: &str) -> Result<(), Error> {
    match parent.mkdir_at(path, FOLDER_MODE).await.map_err(Error::from) {
        Err(Error::Exists) => Ok(()),
        result => result,
    }
}

/// Gives a file of the store to whoever owns what it belongs to, whose quota it counts against then.
pub(super) async fn give_to(file: &File, uid: u32, gid: u32) -> Result<(), Error> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let file = file.clone();
    let chown = move || fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    let result = ringway::spawn_blocking(chown).await.map_err(|_| Error::Busy)?;
    Ok(result.map_err(io::Error::from)?)
}

/// Says that a file is in use again: what is new is left alone by a sweep.
pub(super) async fn refresh(file: &File) -> Result<(), Error> {
    Ok(file.set_times(SetTime::Omit, SetTime::Now).await?)
}

/// The failure to store something, as that of its attribute where there is no place for it at all.
pub(super) fn unstorable(error: Error) -> Error {
    match error {
        Error::NoSpace
        | Error::QuotaExceeded
        | Error::TooManyOpenFiles
        | Error::NoMemory
        | Error::Busy => error,
        error => {
            tracing::warn!(%error, "what fits no extended attribute cannot be stored");
            Error::NoSpace
        }
    }
}
