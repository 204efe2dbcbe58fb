//! The mapped route: the kernel copies from the page cache to the socket, out of a mapping that only it reads.
//!
//! How much there is is found out before the head is made, and that the page cache has all of it. Each READ has a
//! mapping of its own: from 512 KiB up, one that is kept for the next READ saves a tenth or so, and would hold files that
//! clients have closed.

use ringway::fs::File;

use super::plan::Need;
use crate::transport::Mapped;

/// Maps a range of a file, as far as the file goes; nothing if it ends before.
pub(super) fn read(file: &File, offset: u64, length: usize) -> Result<Option<Mapped>, Need> {
    match file.cached_len(offset, length).ok_or(Need::Cached)? {
        0 => Ok(None),
        count => Mapped::new(file, offset, count).map(Some).ok_or(Need::Mapping),
    }
}
