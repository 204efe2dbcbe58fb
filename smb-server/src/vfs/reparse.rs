//! Reparse points that are none to unix: their data in the extended attribute `user.SmbReparse` of the file, as
//! Samba has them, and an attribute of DOS that says so.

use std::ffi::CStr;

use ringway::fs::File;

use super::{Error, xattr};

const XATTR: &CStr = c"user.SmbReparse";

/// MAXIMUM_REPARSE_DATA_BUFFER_SIZE, MS-FSCC 2.1.2.2.
pub(super) const LEN_MAX: usize = 16 * 1024;

/// The tag of symbolic links, MS-FSCC 2.1.2.1.
pub(super) const SYMLINK: u32 = 0xa000_000c;

/// The data, tag and all; `None` if there is none.
pub(super) async fn load(file: &File) -> Result<Option<Vec<u8>>, Error> {
    let (result, data) = file.get_xattr(XATTR, Vec::with_capacity(LEN_MAX)).await;
    match result {
        Ok(_) => Ok(Some(data)),
        Err(error) => match error.raw_os_error() {
            Some(libc::ENODATA | libc::EOPNOTSUPP) => Ok(None),
            _ => Err(error.into()),
        },
    }
}

pub(super) async fn store(file: &File, data: Vec<u8>) -> Result<(), Error> {
    file.set_xattr(XATTR, data).await.map_err(xattr::error_of_set)
}

pub(super) async fn remove(file: &File) -> Result<(), Error> {
    Ok(file.remove_xattr(XATTR).await?)
}

/// The tag of what has this path, not followed. Blocks.
pub(super) fn tag_at(path: &str) -> Option<u32> {
    let mut data = vec![0; LEN_MAX];
    let len = rustix::fs::lgetxattr(path, XATTR, &mut data).ok()?;
    tag_of(data.get(..len)?)
}

/// What the data begins with. 0 and 1 are no tags.
pub(super) fn tag_of(data: &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(*data.first_chunk()?)).filter(|tag| *tag > 1)
}
