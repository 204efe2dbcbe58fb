//! What is done with the blocks that hold a file's contents: sharing them, giving them back, compressing them.

use std::io;
use std::ops::Range;

use ringway::fs::{Dir, FallocateFlags, File};
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

use super::Error;
use super::abilities::Abilities;
use super::handle::Handle;

/// FS_NOCOMP_FL of linux/fs.h: it is not to be compressed, whatever the mount options say.
pub(super) const NO_COMPRESSION: IFlags = IFlags::from_bits_retain(0x0000_0400);

impl Handle {
    /// What the file system can do that this lies on.
    pub async fn abilities(&self) -> Abilities {
        let directory = match self.is_directory() {
            true => Dir::from_file(self.file.clone()),
            false => match self.place().await {
                Ok(place) => place.parent,
                // It has lost its name.
                Err(_) => self.tree.root.clone(),
            },
        };
        self.tree.abilities.of(&directory).await
    }

    /// In what units the file system keeps this.
    ///
    /// # Errors
    /// Those of `fstatfs`.
    pub async fn block_size(&self) -> Result<u64, Error> {
        block_size(&self.file).await
    }

    /// Has a range share the blocks of one of `source`. Both consist of whole blocks, or end where their files do.
    ///
    /// # Errors
    /// [`Error::NotSupported`] by a file system that cannot, and for named streams; [`Error::CrossDevice`] between
    /// two; [`Error::Invalid`] for parts of blocks, and for files that the file system keeps in different ways.
    pub async fn clone_range(
        &self,
        offset: u64,
        source: &Self,
        source_offset: u64,
        length: u64,
    ) -> Result<(), Error> {
        let (Some(target), Some(source)) = (self.file(), source.file()) else {
            return Err(Error::NotSupported);
        };
        Ok(target.clone_range(offset, source, source_offset, length).await?)
    }

    /// Gives the blocks of a range back, which is zeros then. A named stream in an extended attribute has none of its
    /// own, and keeps what it holds.
    ///
    /// # Errors
    /// [`Error::NotSupported`] by a file system that cannot.
    pub async fn trim(&self, range: Range<u64>) -> Result<(), Error> {
        let Some(file) = self.changing().await? else { return Ok(()) };
        let Some(length) = range.end.checked_sub(range.start).filter(|length| *length != 0) else {
            return Ok(());
        };
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(file.allocate(hole, range.start, length).await?)
    }

    /// Says whether what is written from now on is to be compressed; of a directory, whether new files in it are to
    /// be.
    ///
    /// # Errors
    /// [`Error::NotSupported`] for a file that the file system does not compress.
    pub async fn set_compressed(&self, compressed: bool) -> Result<(), Error> {
        let _alone = self.alone().await;
        set_compressed(&self.file, compressed).await
    }
}

/// Done as the process: who may write to a file may say so, and unix lets its owner only.
pub(super) async fn set_compressed(file: &File, compressed: bool) -> Result<(), Error> {
    let changed = change_flags(file, move |had| match compressed {
        true => had.difference(NO_COMPRESSION) | IFlags::COMPRESSED,
        false => had.difference(IFlags::COMPRESSED),
    });
    match changed.await {
        // As one that is overwritten in place.
        Err(Error::Invalid) => Err(Error::NotSupported),
        result => result,
    }
}

/// Changes inode flags, if that changes any.
pub(super) async fn change_flags(
    file: &File,
    change: impl FnOnce(IFlags) -> IFlags + Send + 'static,
) -> Result<(), Error> {
    let file = file.clone();
    let changed = ringway::spawn_blocking(move || {
        let had = ioctl_getflags(&file)?;
        let wanted = change(had);
        if wanted == had { Ok(()) } else { ioctl_setflags(&file, wanted) }
    });
    Ok(changed.await.map_err(|_| Error::Busy)?.map_err(io::Error::from)?)
}

pub(super) async fn block_size(file: &File) -> Result<u64, Error> {
    let unit = u64::try_from(file.statfs().await?.f_bsize).unwrap_or_default();
    Ok(if unit == 0 { 4096 } else { unit })
}
