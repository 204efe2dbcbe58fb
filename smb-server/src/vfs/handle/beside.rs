//! What a file has beside its contents: extended attributes that clients set, and named streams.

use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

use crate::vfs::dos_info::DosInfo;
use crate::vfs::metadata::{MASK, Metadata};
use crate::vfs::streams::{self, StreamInfo};
use crate::vfs::volume::Disposition;
use crate::vfs::{Ea, Error, ea};

use super::{Handle, What};

impl Handle {
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

    pub(super) async fn set_stream_len(&self, size: u64) -> Result<(), Error> {
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

    /// Opens a stream of this; tells whether it is new.
    pub(in crate::vfs) async fn open_stream(
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
}
