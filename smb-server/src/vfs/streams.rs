//! Named streams, each in an extended attribute of its file, as Samba has them: `user.DosStream.NAME:$DATA`,
//! with a NUL behind the contents. One that does not fit there is [stored](stored) elsewhere.

mod stored;

use std::ffi::CString;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io;
use std::sync::LazyLock;

use futures_util::lock::{Mutex, MutexGuard};
use ringway::fs::File;

use super::store::Store;
use super::{Error, FileKey, name, xattr};

pub(crate) use stored::pointed_to;
pub(super) use stored::{Id, Stored};

const PREFIX: &str = "user.DosStream.";
const SUFFIX: &str = ":$DATA";

/// The longest name of an extended attribute, XATTR_NAME_MAX of the kernel.
const ATTRIBUTE_NAME_MAX: usize = 255;

/// The longest contents in an attribute: the longest value of one, less the NUL.
pub(super) const LEN_MAX: usize = 65_535;

/// A stream of a file, for what concerns each apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct StreamKey {
    /// The file.
    pub file: FileKey,
    /// 0 for the unnamed one, for others a hash of the name in any case. Two of one file that had the same
    /// would be taken for one, and get in each other's way.
    pub stream: u64,
}

/// A stream that a file has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamInfo {
    /// Its name, without colons and type.
    pub name: String,
    /// Bytes of content.
    pub size: u64,
    /// Bytes that it takes.
    pub allocated: u64,
}

impl StreamKey {
    /// The contents of a file.
    #[must_use]
    pub fn unnamed(file: FileKey) -> Self {
        Self { file, stream: 0 }
    }

    pub(super) fn new(file: FileKey, stream: Option<&str>) -> Self {
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        let hash = |name| hasher.hash_one(name::folded(name)).max(1);
        Self { file, stream: stream.map_or(0, hash) }
    }
}

/// While it lives, nobody else changes what extended attributes hold of a file.
pub type Alone = MutexGuard<'static, ()>;

/// Nobody else changes this file's extended attributes meanwhile: changing one is reading it, and writing it
/// whole.
pub(super) async fn alone(file: FileKey) -> Alone {
    const STRIPES: usize = 64;
    static LOCKS: LazyLock<[Mutex<()>; STRIPES]> =
        LazyLock::new(|| std::array::from_fn(|_| Mutex::default()));
    // The remainder is below the number of stripes.
    let stripe = usize::try_from(file.ino % STRIPES as u64).unwrap_or(0);
    LOCKS[stripe].lock().await
}

/// The named streams of a file.
pub(super) struct Streams<'a> {
    file: &'a File,
    store: &'a Store,
}

/// Where a stream's contents are.
pub(super) enum Contents {
    /// In an attribute: these.
    Attribute(Vec<u8>),
    /// In a file of the store.
    Stored(Stored),
}

/// How long a stream is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Size {
    /// Bytes of content.
    pub(super) len: u64,
    /// Bytes that it takes.
    pub(super) allocated: u64,
}

pub(crate) fn attribute(stream: &str) -> Result<CString, Error> {
    named(PREFIX, stream, SUFFIX)
}

fn named(prefix: &str, stream: &str, suffix: &str) -> Result<CString, Error> {
    let name = format!("{prefix}{stream}{suffix}");
    if name.len() > ATTRIBUTE_NAME_MAX {
        return Err(Error::NameTooLong);
    }
    CString::new(name).map_err(|_| Error::NameInvalid)
}

pub(crate) fn stream(attribute: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(attribute).ok()?;
    let stream = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    super::path::is_stream_name(stream).then(|| stream.to_owned())
}

/// Whether an attribute is a stream's, or its pointer, be it one that does not count.
pub(super) fn is_of_stream(attribute: &[u8]) -> bool {
    [PREFIX, stored::SECURITY, stored::USER]
        .iter()
        .any(|prefix| attribute.starts_with(prefix.as_bytes()))
}

impl<'a> Streams<'a> {
    pub(super) fn of(file: &'a File, store: &'a Store) -> Self {
        Self { file, store }
    }

    /// The names of all that there are.
    pub(super) async fn names(&self) -> Result<Vec<String>, Error> {
        let (mut names, stored) = self.listed().await?;
        names.extend(stored);
        Ok(names)
    }

    /// Those with an attribute, and those that have but a pointer.
    async fn listed(&self) -> Result<(Vec<String>, Vec<String>), Error> {
        let attributes = xattr::names(self.file).await?;
        let attributes = attributes.split(|byte| *byte == 0);
        let names: Vec<_> = attributes.clone().filter_map(stream).collect();
        let stored = attributes.filter_map(pointed_to).filter(|name| !names.contains(name));
        let mut stored: Vec<_> = stored.collect();
        stored.dedup();
        Ok((names, stored))
    }

    /// What a stream is really called, if it exists.
    pub(super) async fn find(&self, wanted: &str) -> Result<Option<String>, Error> {
        let (names, stored) = self.listed().await?;
        let is_there = |name: &&String| *name == wanted;
        let same = |name: &&String| name::equal(name, wanted);
        let all = || names.iter().chain(&stored);
        let Some(found) = all().find(is_there).or_else(|| all().find(same)).cloned() else {
            return Ok(None);
        };
        // What is stored may not have come along with the file.
        match names.contains(&found) || self.by_pointer(&found).await?.is_some() {
            true => Ok(Some(found)),
            false => Ok(None),
        }
    }

    /// How long a stream is.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none, or none any more.
    pub(super) async fn size(&self, stream: &str) -> Result<Size, Error> {
        let (result, _) = self.file.get_xattr(&attribute(stream)?, Vec::new()).await;
        match present(result)? {
            Some(len) if !stored::may_be_interim(len) => {
                let len = len.saturating_sub(1) as u64;
                Ok(Size { len, allocated: len })
            }
            _ => match self.contents(stream).await? {
                Contents::Attribute(contents) => {
                    let len = contents.len() as u64;
                    Ok(Size { len, allocated: len })
                }
                Contents::Stored(stored) => stored.size().await,
            },
        }
    }

    /// What a stream holds, or where that is. An attribute counts before what is stored: where there are both, a
    /// move to or fro was cut off, or somebody who knows attributes only has written since.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none, or none any more.
    pub(super) async fn contents(&self, stream: &str) -> Result<Contents, Error> {
        let value = Vec::with_capacity(LEN_MAX + 1);
        let (result, mut value) = self.file.get_xattr(&attribute(stream)?, value).await;
        if present(result)?.is_some() {
            if let Some(stored) = self.by_interim(&value).await? {
                return Ok(Contents::Stored(stored));
            }
            value.pop();
            return Ok(Contents::Attribute(value));
        }
        self.by_pointer(stream).await?.map(Contents::Stored).ok_or(Error::NotFound)
    }

    /// Gives a stream these contents, new or not: in an attribute, or else in the store.
    pub(super) async fn put(&self, stream: &str, contents: Vec<u8>) -> Result<(), Error> {
        match self.put_attribute(stream, contents.clone()).await {
            Err(Error::NoSpace) => {
                self.move_out(stream, contents, async |_| Ok(())).await.map(drop)
            }
            result => result,
        }
    }

    pub(super) async fn put_attribute(
        &self,
        stream: &str,
        mut contents: Vec<u8>,
    ) -> Result<(), Error> {
        if contents.len() > LEN_MAX {
            return Err(Error::NoSpace);
        }
        contents.push(0);
        let name = attribute(stream)?;
        self.file.set_xattr(&name, contents).await.map_err(xattr::error_of_set)
    }

    async fn remove_attribute(&self, stream: &str) -> Result<bool, Error> {
        present(self.file.remove_xattr(&attribute(stream)?).await).map(|found| found.is_some())
    }
}

/// What was asked of an attribute, if there is one.
fn present<T>(result: io::Result<T>) -> Result<Option<T>, Error> {
    match result {
        Err(error) if error.raw_os_error() == Some(libc::ENODATA) => Ok(None),
        result => Ok(Some(result?)),
    }
}
