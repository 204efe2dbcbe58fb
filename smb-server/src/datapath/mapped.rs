//! The mapped route: the kernel copies from the page cache to the socket, out of a mapping that only it reads.
//!
//! How much there is is found out before the head is made, and that the page cache has all of it. Each READ has a
//! mapping of its own: one that is kept for the next READ saves next to nothing, if the pages of this one are found in one
//! go, and would hold files that clients have closed.
//!
//! Where a signature is wanted it is computed there, too, if the bytes stay as they are until they have been sent.

use ringway::fs::File;

use super::plan::Need;
use super::stable::Stable;
use crate::transport::{Leased, Mapped};

/// Maps a range of a file, as far as the file goes; nothing if it ends before.
pub(super) fn read(file: &File, offset: u64, length: usize) -> Result<Option<Mapped>, Need> {
    match file.cached_len(offset, length).ok_or(Need::Cached)? {
        0 => Ok(None),
        count => Mapped::new(file, offset, count).map(Some).ok_or(Need::Mapping),
    }
}

/// The same, to be signed.
pub(super) fn leased(
    file: &File,
    offset: u64,
    length: usize,
    stable: &Stable,
) -> Result<Option<Leased>, Need> {
    match file.cached_len(offset, length).ok_or(Need::Cached)? {
        0 => Ok(None),
        count => stable.map(file, offset, count).map(Some).ok_or(Need::Mapping),
    }
}
