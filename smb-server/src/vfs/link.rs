//! Hard links: another name of an open file.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use ringway::fs::{AtFlags, Dir, RenameFlags};

use super::handle::{check_replaceable, entry_key, replaced};
use super::path::UNSEEN;
use super::resolve::place;
use super::streams::Streams;
use super::volume::{Guard, place_path};
use super::{Error, Handle, SharePath, nt_acl};

impl Handle {
    /// Gives the file one more name, in place of what has that name if `replace`, and if `guard` agrees.
    /// MS-FSA 2.1.5.15.6. Tells the name with the directories as on disk, and whether another file has lost it.
    ///
    /// # Errors
    /// [`Error::IsDirectory`] of a directory, which has one name only; [`Error::Exists`] if the name is taken
    /// and not to be replaced; [`Error::NotFound`] if the file has lost its last name.
    pub async fn link(
        &self,
        to: &SharePath,
        replace: bool,
        guard: &dyn Guard,
    ) -> Result<(SharePath, bool), Error> {
        if self.is_directory() {
            return Err(Error::IsDirectory);
        }
        let (parents, last) = to.split_last().ok_or(Error::AccessDenied)?;
        let target = place(&self.tree, parents, last).await?;
        let directory = nt_acl::load(target.parent.as_file(), &self.tree).await?;
        // It keeps the descriptor that it has.
        guard.admit(directory.as_deref(), false)?;
        let mut replaces = false;
        if !target.exists {
            self.link_at(&target.parent, &target.name).await?;
            target.note_created(&self.tree).await;
        } else if !replace {
            return Err(Error::Exists);
        } else if entry_key(&target).await? != self.id() {
            check_replaceable(&target).await?;
            let (replaced, file) = replaced(&self.tree, &target).await?;
            guard.replace(directory.as_deref(), &replaced)?;
            self.link_over(&target.parent, &target.name).await?;
            Streams::of(&file, &self.tree.store).end().await;
            replaces = true;
        }
        Ok((place_path(&target), replaces))
    }

    /// By way of `/proc`, so that it is the open file whatever its name leads to by now.
    async fn link_at(&self, dir: &Dir, name: &str) -> Result<(), Error> {
        let file = format!("/proc/self/fd/{}", self.file.as_fd().as_raw_fd());
        Ok(dir.link_at(file, dir, name, AtFlags::SYMLINK_FOLLOW).await?)
    }

    /// What has the name keeps it until the file does.
    async fn link_over(&self, dir: &Dir, name: &str) -> Result<(), Error> {
        let unseen = unseen_name()?;
        self.link_at(dir, &unseen).await?;
        let renamed = dir.rename_at(&unseen, dir, name, RenameFlags::empty()).await;
        // It is still there after a failure, and where `name` has become a name of the file meanwhile.
        let _ = dir.unlink_at(&unseen, false).await;
        Ok(renamed?)
    }
}

/// A name for what is being made, that no client can see or say, and nobody else has.
pub(super) fn unseen_name() -> Result<String, Error> {
    let number = getrandom::u64().map_err(io::Error::other)?;
    Ok(format!("{UNSEEN}{number:016x}"))
}
