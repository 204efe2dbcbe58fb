//! What a file has beside its contents: extended attributes that clients set, and named streams.

use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, OnceLock, PoisonError};

use bytes::{Buf, Bytes};
use ringway::buf::{IoBufExt, IoBufMut};
use ringway::fs::File;

use crate::vfs::dos_info::DosInfo;
use crate::vfs::metadata::{MASK, Metadata};
use crate::vfs::streams::{self, Contents, Size, Stored, StreamInfo, Streams};
use crate::vfs::volume::Disposition;
use crate::vfs::{Ea, Error, ea};

use super::{Handle, Named, What};

/// What a stream holds.
#[derive(Debug)]
pub enum StreamContents {
    /// Some of its bytes.
    Bytes(Vec<u8>),
    /// It is what this file holds.
    File(File),
}

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
        let streams = self.named();
        for name in streams.names().await? {
            // One that is gone meanwhile is not told.
            if let Ok(Size { len: size, allocated }) = streams.size(&name).await {
                found.push(StreamInfo { name, size, allocated });
            }
        }
        Ok(found)
    }

    pub(in crate::vfs) fn named(&self) -> Streams<'_> {
        Streams::of(&self.file, &self.tree.store)
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
        let streams = self.named();
        for name in streams.names().await? {
            match streams.remove(&name).await {
                Err(Error::NotFound) => {}
                result => result?,
            }
        }
        Ok(())
    }

    // ---- the contents of a stream

    /// The file that has this stream's contents, or else at most `length` bytes of them.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it has been removed.
    pub async fn stream_contents(
        &self,
        offset: u64,
        length: usize,
    ) -> Result<StreamContents, Error> {
        let mut contents = match self.contents().await? {
            Contents::Stored(stored) => return Ok(StreamContents::File(stored.file)),
            Contents::Attribute(contents) => contents,
        };
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(contents.len());
        contents.drain(..start);
        contents.truncate(length);
        Ok(StreamContents::Bytes(contents))
    }

    /// At most `length` bytes of this stream.
    ///
    /// # Errors
    /// So also.
    pub async fn read_stream(&self, offset: u64, length: usize) -> Result<Vec<u8>, Error> {
        let file = match self.stream_contents(offset, length).await? {
            StreamContents::Bytes(bytes) => return Ok(bytes),
            StreamContents::File(file) => file,
        };
        read_contents(&file, offset, length, Vec::with_capacity(length)).await
    }

    /// What this stream holds, or where that is.
    pub(super) async fn contents(&self) -> Result<Contents, Error> {
        let stream = self.stream().ok_or(Error::NotSupported)?;
        if let Some(stored) = self.stored_still(&stream).await? {
            return Ok(Contents::Stored(stored));
        }
        let contents = self.named().contents(&stream).await?;
        if let Contents::Stored(stored) = &contents {
            self.note_stored(stored);
        }
        Ok(contents)
    }

    pub(super) async fn stream_size(&self, stream: &str) -> Result<Size, Error> {
        match self.stored_still(stream).await? {
            Some(stored) => stored.size().await,
            None => self.named().size(stream).await,
        }
    }

    /// Where this stream was last found in the store.
    pub(super) fn last_stored(&self) -> Option<Stored> {
        let stored = &self.stream.as_ref()?.stored;
        stored.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note_stored(&self, found: &Stored) {
        if let Some(Named { stored, .. }) = &self.stream {
            *stored.lock().unwrap_or_else(PoisonError::into_inner) = Some(found.clone());
        }
    }

    /// The same, if it is still there.
    async fn stored_still(&self, stream: &str) -> Result<Option<Stored>, Error> {
        let Some(stored) = self.last_stored() else { return Ok(None) };
        let pointer = self.named().pointer(stream).await?;
        Ok(Some(stored).filter(|stored| pointer == Some(stored.id)))
    }

    /// What this stream holds, for who changes it and is [alone](Self::alone): nothing of another file's.
    async fn own_contents(&self, stream: &str) -> Result<Contents, Error> {
        match self.contents().await? {
            Contents::Stored(stored) => {
                let own = self.named().own(stream, stored).await?;
                self.note_stored(&own);
                Ok(Contents::Stored(own))
            }
            contents => Ok(contents),
        }
    }

    /// The file whose contents these are, to change them; `None` if they are in an extended attribute.
    pub(in crate::vfs) async fn changing(&self) -> Result<Option<File>, Error> {
        let Some(stream) = self.stream() else { return Ok(Some(self.file.clone())) };
        let _alone = self.alone().await;
        match self.own_contents(&stream).await? {
            Contents::Stored(stored) => Ok(Some(stored.file)),
            Contents::Attribute(_) => Ok(None),
        }
    }

    /// Writes to this stream; without an offset, at its end.
    ///
    /// # Errors
    /// [`Error::NoSpace`] for what there is no room for; then the stream is as it was, unless it was stored.
    pub async fn write_stream(&self, offset: Option<u64>, bytes: Bytes) -> Result<(), Error> {
        let alone = self.alone().await;
        let stream = self.stream().ok_or(Error::NotSupported)?;
        match self.own_contents(&stream).await? {
            Contents::Stored(stored) => {
                // Writers of a file need not wait for each other.
                drop(alone);
                write_contents(&stored.file, offset, bytes).await
            }
            Contents::Attribute(contents) => {
                let start = offset.unwrap_or(contents.len() as u64);
                if let Some(changed) = with(&contents, start, &bytes) {
                    match self.named().put_attribute(&stream, changed).await {
                        Err(Error::NoSpace) => {}
                        result => return result,
                    }
                }
                let change = async |file: &File| write_contents(file, Some(start), bytes).await;
                self.move_out(&stream, contents, change).await
            }
        }
    }

    pub(super) async fn set_stream_len(&self, size: u64) -> Result<(), Error> {
        let _alone = self.alone().await;
        let stream = self.stream().ok_or(Error::NotSupported)?;
        if size == 0 {
            return self.named().empty(&stream).await;
        }
        match self.own_contents(&stream).await? {
            Contents::Stored(stored) => Ok(stored.file.set_len(size).await?),
            Contents::Attribute(contents) => {
                if let Some(len) = usize::try_from(size).ok().filter(|len| *len <= streams::LEN_MAX)
                {
                    let mut changed = contents.clone();
                    changed.resize(len, 0);
                    match self.named().put_attribute(&stream, changed).await {
                        Err(Error::NoSpace) => {}
                        result => return result,
                    }
                }
                let change = async |file: &File| Ok(file.set_len(size).await?);
                self.move_out(&stream, contents, change).await
            }
        }
    }

    async fn move_out(
        &self,
        stream: &str,
        contents: Vec<u8>,
        change: impl AsyncFnOnce(&File) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let stored = self.named().move_out(stream, contents, change).await?;
        self.note_stored(&stored);
        Ok(())
    }

    /// Gives this stream another name, in place of the one that has that if `replace`.
    ///
    /// # Errors
    /// [`Error::Exists`] if the name is taken and not to be replaced.
    pub async fn rename_stream(&self, to: &str, replace: bool) -> Result<(), Error> {
        let _alone = self.alone().await;
        let from = self.stream().ok_or(Error::NotSupported)?;
        let streams = self.named();
        let there = streams.find(to).await?.filter(|there| *there != from);
        if there.is_some() && !replace {
            return Err(Error::Exists);
        }
        if from == to {
            return Ok(());
        }
        streams.rename(&from, to, there.as_deref()).await?;
        if let Some(Named { name, .. }) = &self.stream {
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
        let found = self.named().find(wanted).await?;
        let created = found.is_none();
        let name = match (found, disposition) {
            (Some(_), Disposition::Create) => return Err(Error::Exists),
            (None, Disposition::Open) => return Err(Error::NotFound),
            (Some(name), _) => name,
            (None, _) => {
                self.named().put(wanted, Vec::new()).await?;
                wanted.to_owned()
            }
        };
        let handle = Self {
            tree: self.tree.clone(),
            file: self.file.clone(),
            direct: OnceLock::new(),
            key: self.key,
            what: What::File,
            deleted_by_process: AtomicBool::new(false),
            by_short_name: false,
            path: Mutex::new(self.share_path()),
            stream: Some(Named { name: Mutex::new(name), stored: Mutex::default() }),
        };
        Ok((handle, created))
    }
}

/// Reads as many of `length` bytes as there are, and room for them, to the end of a buffer.
///
/// # Errors
/// Those of `pread`.
pub async fn read_contents<B: IoBufMut>(
    file: &File,
    offset: u64,
    length: usize,
    mut buffer: B,
) -> Result<B, Error> {
    let start = buffer.bytes_init();
    let end = start.saturating_add(length);
    while buffer.bytes_init() < end {
        let at = buffer.bytes_init();
        let from = offset.saturating_add((at - start) as u64);
        let (result, slice) = file.read_at(buffer.slice(at..end), from).await;
        buffer = slice.into_inner();
        if result? == 0 {
            break;
        }
    }
    Ok(buffer)
}

/// Writes to a file; without an offset, at its end. Where that is, the kernel says: whoever else appends, nobody's
/// bytes are lost.
///
/// # Errors
/// The file system's; some of the bytes may have been written.
pub async fn write_contents(
    file: &File,
    offset: Option<u64>,
    mut bytes: Bytes,
) -> Result<(), Error> {
    if let Some(offset) = offset {
        return Ok(file.write_all_at(bytes, offset).await.0?);
    }
    while !bytes.is_empty() {
        let (result, rest) = file.append(bytes).await;
        let count = result?;
        if count == 0 {
            return Err(io::Error::from(io::ErrorKind::WriteZero).into());
        }
        bytes = rest;
        bytes.advance(count);
    }
    Ok(())
}

/// Contents with others written at `start`; `None` if that is more than fits an attribute.
fn with(contents: &[u8], start: u64, bytes: &[u8]) -> Option<Vec<u8>> {
    let start = usize::try_from(start).ok()?;
    let end = start.checked_add(bytes.len()).filter(|end| *end <= streams::LEN_MAX)?;
    let mut changed = contents.to_vec();
    if changed.len() < end {
        changed.resize(end, 0);
    }
    changed.get_mut(start..end)?.copy_from_slice(bytes);
    Some(changed)
}
