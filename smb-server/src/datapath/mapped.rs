//! The mapped route: the kernel copies from the page cache to the socket, out of a mapping.
//!
//! How much there is is found out before the head is made, and that the page cache has all of it. What is read again and
//! again through one open is mapped once, and stays so until the file is closed.
//!
//! What is to be signed is so there, too, if the bytes stay as they are until they have been sent; what is to be encrypted
//! is sealed from there into a buffer, if they stay so until then.

use std::sync::Arc;

use ringway::fs::{File, Mapping};

use super::plan::Need;
use super::stable::Stable;
use crate::transport::{Elsewhere, Kept, Mapped};

/// Maps a range of a file, as far as the file goes, or finds the mapping that was `kept` of it; to be signed or sealed
/// where its pages are stable. Nothing if the file ends before.
pub(super) fn read(
    file: &File,
    (offset, length): (u64, usize),
    stable: Option<&Stable>,
    kept: Option<&Arc<Kept<Mapping>>>,
) -> Result<Option<Elsewhere>, Need> {
    let count = match file.cached_len(offset, length).ok_or(Need::Cached)? {
        0 => return Ok(None),
        count => count,
    };
    let mapped = match stable {
        Some(stable) => stable.map(file, (offset, count), kept.is_some()).map(Elsewhere::Leased),
        None => Mapped::new(file, (offset, count), kept).map(Elsewhere::Mapped),
    };
    mapped.map(Some).ok_or(Need::Mapping)
}
