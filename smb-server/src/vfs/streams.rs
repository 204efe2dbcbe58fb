//! Named streams, each in an extended attribute of its file, as Samba has them: `user.DosStream.NAME:$DATA`,
//! with a NUL behind the contents. So they are small: the file system bounds them, and 64 KiB does.

use std::ffi::CString;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::LazyLock;

use futures_util::lock::{Mutex, MutexGuard};
use ringway::fs::File;

use super::{Error, FileKey, name, xattr};

const PREFIX: &str = "user.DosStream.";
const SUFFIX: &str = ":$DATA";

/// The longest name of an extended attribute, XATTR_NAME_MAX of the kernel.
const ATTRIBUTE_NAME_MAX: usize = 255;

/// The longest contents: the longest value of an extended attribute, less the NUL.
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

pub(crate) fn attribute(stream: &str) -> Result<CString, Error> {
    let name = format!("{PREFIX}{stream}{SUFFIX}");
    if name.len() > ATTRIBUTE_NAME_MAX {
        return Err(Error::NameTooLong);
    }
    CString::new(name).map_err(|_| Error::NameInvalid)
}

/// The names of all that there are.
pub(super) async fn names(file: &File) -> Result<Vec<String>, Error> {
    let names = xattr::names(file).await?;
    Ok(names.split(|byte| *byte == 0).filter_map(stream).collect())
}

pub(crate) fn stream(attribute: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(attribute).ok()?;
    let stream = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    super::path::is_stream_name(stream).then(|| stream.to_owned())
}

/// What a stream is really called, if it exists.
pub(super) async fn find(file: &File, wanted: &str) -> Result<Option<String>, Error> {
    let names = names(file).await?;
    let exact = names.iter().position(|name| name == wanted);
    let found = exact.or_else(|| names.iter().position(|name| name::equal(name, wanted)));
    Ok(found.and_then(|at| names.into_iter().nth(at)))
}

/// Bytes of content.
pub(super) async fn len(file: &File, stream: &str) -> Result<u64, Error> {
    let (result, _) = file.get_xattr(&attribute(stream)?, Vec::new()).await;
    Ok(result?.saturating_sub(1) as u64)
}

pub(super) async fn load(file: &File, stream: &str) -> Result<Vec<u8>, Error> {
    let value = Vec::with_capacity(LEN_MAX + 1);
    let (result, mut value) = file.get_xattr(&attribute(stream)?, value).await;
    result?;
    value.pop();
    Ok(value)
}

pub(super) async fn store(file: &File, stream: &str, mut contents: Vec<u8>) -> Result<(), Error> {
    contents.push(0);
    file.set_xattr(&attribute(stream)?, contents).await.map_err(xattr::error_of_set)
}

pub(super) async fn remove(file: &File, stream: &str) -> Result<(), Error> {
    Ok(file.remove_xattr(&attribute(stream)?).await?)
}
