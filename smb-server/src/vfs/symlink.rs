//! Symbolic links as reparse points. One that leads to a file or directory of the share is followed, by the
//! kernel, unless a client wants the link; any other is for the client to make sense of.

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ringway::Identity;
use ringway::fs::{Dir, File, OFlags, RenameFlags};

use super::handle::entry_key;
use super::link::unseen_name;
use super::metadata::{FileKind, MASK, kind};
use super::path::component;
use super::resolve::{FILE_MODE, Place, beneath, place};
use super::volume::{Volume, create_directory, place_path, what};
use super::{Attributes, Error, Handle, Mapping, SharePath, reparse};

/// What makes a file a reparse point.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReparsePoint {
    /// It is a symbolic link on disk, to this, as unix has it.
    Link(String),
    /// The data that a client has set, tag and all.
    Stored(Vec<u8>),
}

/// A symbolic link that a path cannot be followed through.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkInTheWay {
    /// Where it leads, as unix has it.
    pub target: String,
    /// How many components of the path are behind it.
    pub behind: usize,
}

/// Opens a link itself.
///
/// # Errors
/// [`Error::Invalid`] for what is none.
pub(super) async fn open(root: &Dir, path: &Path) -> Result<File, Error> {
    let how = beneath(OFlags::PATH | OFlags::NOFOLLOW);
    let file = root.open_at(path, &how).await.map_err(Error::of_open)?;
    match kind(&file.statx(MASK).await?) {
        FileKind::Symlink => Ok(file),
        _ => Err(Error::Invalid),
    }
}

/// Whether a link leads to a directory of the share.
pub(super) async fn leads_to_directory(root: &Dir, path: &SharePath) -> bool {
    root.open_at(path.to_unix(), &beneath(OFlags::PATH | OFlags::DIRECTORY)).await.is_ok()
}

/// Names on unix are bytes; what is no text is shown as near to it as can be.
async fn target(dir: &Dir, name: &str) -> Result<String, Error> {
    let target = dir.readlink_at(name).await?;
    Ok(String::from_utf8_lossy(target.as_os_str().as_bytes()).into_owned())
}

/// The target of a link in `folder`, as a client of Windows has it, as unix has it: if it is relative, can be
/// spelled, and does not leave the share.
#[must_use]
pub fn unix_target(target: &str, folder: &SharePath, mapping: Mapping) -> Option<String> {
    let mut parts = Vec::new();
    let mut depth = folder.components().len();
    for part in target.strip_suffix('\\').unwrap_or(target).split('\\') {
        let on_disk = match part {
            "." => Cow::Borrowed(part),
            ".." => {
                depth = depth.checked_sub(1)?;
                Cow::Borrowed(part)
            }
            part => {
                depth += 1;
                component(part, mapping).ok()?
            }
        };
        parts.push(on_disk);
    }
    Some(parts.join("/"))
}

impl Handle {
    /// What makes this a reparse point, if it is one.
    ///
    /// # Errors
    /// Those of `readlink` and of reading extended attributes.
    pub async fn reparse_point(&self) -> Result<Option<ReparsePoint>, Error> {
        if self.is_link() {
            // No name below it: the link itself.
            let target = target(&Dir::from_file(self.file.clone()), "").await?;
            return Ok(Some(ReparsePoint::Link(target)));
        }
        if self.metadata().await?.reparse_tag.is_none() {
            return Ok(None);
        }
        Ok(reparse::load(&self.file).await?.map(ReparsePoint::Stored))
    }

    /// Makes a reparse point of it, or another one, by data that say nothing to unix.
    ///
    /// # Errors
    /// Those of setting extended attributes; [`Error::AccessDenied`] of a symbolic link, which has none.
    pub async fn set_reparse_point(&self, data: Vec<u8>) -> Result<(), Error> {
        let _alone = self.alone().await;
        reparse::store(&self.file, data).await?;
        self.mark_reparse_point(true).await
    }

    /// Makes it an ordinary file again: the end of [`Self::set_reparse_point`].
    ///
    /// # Errors
    /// Those of removing extended attributes.
    pub async fn remove_reparse_point(&self) -> Result<(), Error> {
        let _alone = self.alone().await;
        reparse::remove(&self.file).await?;
        self.mark_reparse_point(false).await
    }

    /// Puts a link to `target` in the place of this file or directory, which is empty, or of this link. This
    /// stays what it is, and has lost its name; the link is what is given back.
    ///
    /// # Errors
    /// [`Error::NotEmpty`] of what has contents, streams or another name; [`Error::Escapes`] for a link that
    /// would lead out of the share. Then nothing has changed.
    pub async fn become_link(&self, target: &str) -> Result<Self, Error> {
        let place = self.own_place().await?;
        let new = place.beside(unseen_name()?);
        new.parent.symlink_at(target, &new.name).await?;
        let path = place_path(&new).to_unix();
        let followed = self.tree.root.open_at(path, &beneath(OFlags::PATH)).await;
        if let Err(Error::Escapes) = followed.map_err(Error::of_open) {
            new.parent.unlink_at(&new.name, false).await?;
            return Err(Error::Escapes);
        }
        self.give_way(&place, &new, false).await?;
        let how = beneath(OFlags::PATH | OFlags::NOFOLLOW);
        let file = place.parent.open_at(&place.name, &how).await.map_err(Error::of_open)?;
        self.successor(&place, file).await
    }

    /// Puts an empty file, or a directory if it leads to one, in the place of this link; so also.
    ///
    /// # Errors
    /// Those of making it. Then nothing has changed.
    pub async fn become_ordinary(&self) -> Result<Self, Error> {
        let place = self.own_place().await?;
        let new = place.beside(unseen_name()?);
        let to_directory = self.metadata().await?.is_directory;
        let file = match to_directory {
            true => create_directory(&new).await?,
            false => {
                let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
                let how = beneath(flags).mode(FILE_MODE);
                new.parent.open_at(&new.name, &how).await.map_err(Error::of_open)?
            }
        };
        self.give_way(&place, &new, to_directory).await?;
        self.successor(&place, file).await
    }

    /// Where it has its name, if it was not opened through a link that has it.
    async fn own_place(&self) -> Result<Place, Error> {
        let place = self.place().await?;
        if entry_key(&place).await? == self.id() { Ok(place) } else { Err(Error::NotFound) }
    }

    /// Takes what is new, and may be a directory, into the place of this, and removes this. Or else removes what
    /// is new.
    async fn give_way(&self, place: &Place, new: &Place, is_directory: bool) -> Result<(), Error> {
        let mut result = self.check_replaceable_by_link().await;
        if result.is_ok() {
            result = exchange(place, &new.name).await;
        }
        if result.is_ok() {
            let Err(error) = self.remove_as(new).await else { return Ok(()) };
            // Somebody else's has got there, or it is not empty any more.
            exchange(place, &new.name).await?;
            result = Err(error);
        }
        // If it stays behind, the first error still is the one to tell.
        let _ = new.parent.unlink_at(&new.name, is_directory).await;
        result
    }

    /// Nothing would be lost.
    async fn check_replaceable_by_link(&self) -> Result<(), Error> {
        if self.is_link() {
            return Ok(());
        }
        let empty = match self.is_directory() {
            true => self.is_empty().await?,
            false => {
                let metadata = self.metadata().await?;
                metadata.size == 0 && metadata.links == 1
            }
        };
        match empty && self.streams().await?.is_empty() {
            true => Ok(()),
            false => Err(Error::NotEmpty),
        }
    }

    /// Removes this by another name than it is known to have.
    async fn remove_as(&self, place: &Place) -> Result<(), Error> {
        if entry_key(place).await? != self.id() {
            return Err(Error::NotFound);
        }
        self.check_replaceable_by_link().await?;
        Ok(place.parent.unlink_at(&place.name, self.is_directory()).await?)
    }

    /// What has taken its place.
    async fn successor(&self, place: &Place, file: File) -> Result<Self, Error> {
        let (path, stat) = (place_path(place), file.statx(MASK).await?);
        let what = what(&self.tree.root, &path, &stat).await?;
        Ok(Self::new(self.tree.clone(), path, file, &stat, what, false))
    }

    async fn mark_reparse_point(&self, is_one: bool) -> Result<(), Error> {
        let stat = self.file.statx(MASK).await?;
        let mut info = self.dos_info(&stat).await;
        info.attributes.set(Attributes::REPARSE_POINT, is_one);
        Ok(info.write(&self.file, &stat).await?)
    }
}

/// Two names of one directory change places, so that neither is ever without a file.
async fn exchange(place: &Place, name: &str) -> Result<(), Error> {
    Ok(place.parent.rename_at(&place.name, &place.parent, name, RenameFlags::EXCHANGE).await?)
}

impl Volume {
    /// The first link on a path that leads nowhere, in a circle, or out of the share.
    ///
    /// # Errors
    /// Those of looking at the directories before it.
    pub async fn link_in_the_way(
        &self,
        who: Option<&Identity>,
        path: &SharePath,
    ) -> Result<Option<LinkInTheWay>, Error> {
        let tree = self.tree_for(who);
        let mut parents = Vec::new();
        for (at, component) in path.components().iter().enumerate() {
            let place = place(&tree, &parents, component).await?;
            let on_disk = place_path(&place).to_unix();
            match tree.root.open_at(on_disk, &beneath(OFlags::PATH)).await.map_err(Error::of_open) {
                Ok(_) => parents.push(place.name),
                Err(_) if place.exists => {
                    let behind = path.components().len() - at - 1;
                    return match target(&place.parent, &place.name).await {
                        Ok(target) => Ok(Some(LinkInTheWay { target, behind })),
                        // No link, or none any more.
                        Err(Error::Invalid | Error::NotFound) => Ok(None),
                        Err(error) => Err(error),
                    };
                }
                Err(_) => return Ok(None),
            }
        }
        Ok(None)
    }
}
