//! The name of an open file: whether it still has it, another in its place, and its end.

use std::io;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Instant;

use ringway::fs::{
    Access, AtFlags, Dir, File, Mode, OFlags, RenameFlags, ResolveFlags, StatxFlags,
};

use crate::vfs::metadata::{FileKey, FileKind, MASK, kind};
use crate::vfs::resolve::{self, Place, Tree, beneath};
use crate::vfs::streams::Streams;
use crate::vfs::volume::{Guard, Replaced, place_path};
use crate::vfs::{Error, SharePath, nt_acl};

use super::Handle;

/// What has a name already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Occupant {
    None,
    /// The very entry that is to be renamed, perhaps in another case.
    Itself,
    /// Another hard link to the same file.
    SameFile,
    Other,
}

impl Handle {
    /// Whether the name it was opened by still leads to it. Others may, if this one does not.
    ///
    /// # Errors
    /// Those of looking the name up.
    pub async fn has_its_name(&self) -> Result<bool, Error> {
        if let Some(stream) = self.stream()
            && self.named().find(&stream).await?.is_none()
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

    /// Gives the file another name, in place of what has that name if `replace`, and if `guard` agrees. Tells
    /// which other file's name is gone by that.
    ///
    /// # Errors
    /// [`Error::Exists`] if the name is taken and not to be replaced; [`Error::AccessDenied`] if a
    /// directory has it.
    pub async fn rename(
        &self,
        to: &SharePath,
        replace: bool,
        guard: &dyn Guard,
    ) -> Result<Option<SharePath>, Error> {
        let (parents, last) = to.split_last().ok_or(Error::AccessDenied)?;
        let from = self.place().await?;
        let target = resolve::place(&self.tree, parents, last).await?;
        // What is replaced under its short name leaves its long one behind, as by a tunnel.
        let last = if target.by_short_name { &target.name } else { last };
        let directory = nt_acl::load(target.parent.as_file(), &self.tree).await?;
        // It keeps the descriptor that it has.
        guard.admit(directory.as_deref(), self.is_directory())?;
        let occupant = self.occupant(&from, &target).await?;
        match occupant {
            Occupant::None => {
                rename(&from, &target.parent, &target.name, RenameFlags::NOREPLACE).await?;
            }
            Occupant::Itself => correct_case(&from, last).await?,
            Occupant::SameFile => {
                self.check_replaceable(&target, replace).await?;
                guard.replace(directory.as_deref(), &replaced(&self.tree, &target).await?.0)?;
                // For two names of one file rename(2) does nothing.
                from.parent.unlink_at(&from.name, false).await?;
                correct_case(&target, last).await?;
            }
            Occupant::Other => {
                self.check_replaceable(&target, replace).await?;
                let (replaced, file) = replaced(&self.tree, &target).await?;
                guard.replace(directory.as_deref(), &replaced)?;
                rename(&from, &target.parent, &target.name, RenameFlags::empty()).await?;
                Streams::of(&file, &self.tree.store).end().await;
                correct_case(&target, last).await?;
            }
        }
        self.note_gone(&from).await;
        let replaced = (occupant == Occupant::Other).then(|| place_path(&target));
        let mut components = target.parents.clone();
        components.push(last.to_owned());
        let mut path = self.path.lock().unwrap_or_else(PoisonError::into_inner);
        *path = SharePath::from_components(components);
        Ok(replaced)
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
        if same_directory && crate::vfs::name::equal(&from.name, &target.name) {
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
            return self.named().remove(&stream).await;
        }
        let (mut place, by_link) = self.named_place().await?;
        // The descriptor says nothing of a link to the file.
        if self.deleted_by_process.load(Ordering::Relaxed) && !by_link {
            place.parent = place.parent.with_identity(None);
        }
        // Opened through a link, it is the link that goes, as it is the link that has the name.
        let directory = self.is_directory() && !by_link;
        place.parent.unlink_at(&place.name, directory).await?;
        if !by_link {
            self.named().end().await;
        }
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
    pub(in crate::vfs) async fn place(&self) -> Result<Place, Error> {
        Ok(self.named_place().await?.0)
    }

    /// So also, and whether its name there is a link that leads to it.
    pub(super) async fn named_place(&self) -> Result<(Place, bool), Error> {
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

/// Where the kernel has an open file: its directory, as the process sees it, and its name. Blocks.
pub(super) fn home(file: &File) -> io::Result<(std::os::fd::OwnedFd, String)> {
    let path = std::fs::read_link(crate::vfs::xattr::path(file))?;
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
pub(in crate::vfs) async fn check_replaceable(target: &Place) -> Result<(), Error> {
    let stat = target.parent.statx_at(&target.name, AtFlags::SYMLINK_NOFOLLOW, MASK).await?;
    let read_only = kind(&stat) == FileKind::Regular
        && u32::from(stat.stx_mode) & crate::vfs::attributes::OWNER_WRITE == 0;
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
pub(in crate::vfs) async fn entry_key(place: &Place) -> Result<FileKey, Error> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    Ok(FileKey::of(&place.parent.statx_at(&place.name, flags, StatxFlags::INO).await?))
}

pub(super) async fn key(dir: &Dir) -> Result<FileKey, Error> {
    Ok(FileKey::of(&dir.as_file().statx(StatxFlags::INO).await?))
}

/// What has a place's name, and the file to look at. Not followed if it is a link: the link goes.
pub(in crate::vfs) async fn replaced(
    tree: &Tree,
    place: &Place,
) -> Result<(Replaced, File), Error> {
    let how = beneath(OFlags::PATH | OFlags::NOFOLLOW);
    let file = place.parent.open_at(&place.name, &how).await.map_err(Error::of_open)?;
    let stat = file.statx(MASK).await?;
    let descriptor = match kind(&stat) {
        FileKind::Symlink => None,
        _ => nt_acl::load(&file, tree).await?,
    };
    Ok((Replaced { descriptor, uid: stat.stx_uid, gid: stat.stx_gid }, file))
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
