//! What the page cache is to do with a part of a file: begin to write it, wait for that, read it ahead,
//! drop it.

use std::io;
use std::num::NonZeroU64;

use ringway_driver::Op;
use rustix::fs::Advice;

use super::File;
use super::resident::resident_len;
use crate::blocking::spawn_blocking;

/// How much [`File::read_ahead`] asks for at once. The kernel takes no more of one such advice than it reads ahead by
/// itself, or a request to the device holds, whichever is more, and drops the rest. By default it reads 128 KiB ahead.
const PIECE: u64 = 128 << 10;

/// The steps of [`File::sync_range`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SyncRange {
    /// Begins to write what is dirty and not being written already; waits for nothing.
    Start,
    /// Waits until what was being written is, writes the rest, and waits for that too.
    Wait,
}

impl File {
    /// Writes the pages of `len` bytes from `offset` on to the device; a `len` of 0 means up to the
    /// end. To keep what is dirty small: it makes nothing safe. Neither metadata nor the device's own
    /// cache are written; [`File::sync_data`] does that.
    ///
    /// # Errors
    /// Those of `sync_file_range`.
    pub async fn sync_range(&self, offset: u64, len: u32, how: SyncRange) -> io::Result<()> {
        let flags = match how {
            SyncRange::Start => libc::SYNC_FILE_RANGE_WRITE,
            SyncRange::Wait => {
                libc::SYNC_FILE_RANGE_WAIT_BEFORE
                    | libc::SYNC_FILE_RANGE_WRITE
                    | libc::SYNC_FILE_RANGE_WAIT_AFTER
            }
        };
        self.nobodys().simple(move |fd| Op::SyncRange { fd, offset, len, flags }).await
    }

    /// Has the kernel begin to read what the page cache has not of `len` bytes from `offset` on, all of them; tells
    /// whether there was anything to read. Returns when the reads are on their way, which a device with a
    /// full queue may keep it from.
    ///
    /// # Errors
    /// Those of `posix_fadvise`; `WouldBlock` when no thread can be had for it.
    pub async fn read_ahead(&self, offset: u64, len: u64) -> io::Result<bool> {
        if len == 0 || resident_len(self, offset, len).is_some() {
            return Ok(false);
        }
        let file = self.clone();
        spawn_blocking(move || will_need(&file, offset, len)).await?.map(|()| true)
    }

    /// Says how `len` bytes from `offset` on will be used; a `len` of 0 means up to the end. Reading
    /// ahead (`WillNeed`) and dropping pages (`DontNeed`) happen here and now, the rest changes what
    /// later reads do.
    ///
    /// # Errors
    /// Those of `posix_fadvise`.
    pub async fn advise(&self, offset: u64, len: u32, advice: Advice) -> io::Result<()> {
        let advice = advice as libc::c_int;
        self.nobodys().simple(move |fd| Op::Advise { fd, offset, len, advice }).await
    }
}

/// Asks piece by piece.
fn will_need(file: &File, offset: u64, len: u64) -> io::Result<()> {
    let end = offset.saturating_add(len);
    let mut at = offset;
    while at < end {
        let piece = NonZeroU64::new(PIECE.min(end - at));
        rustix::fs::fadvise(file, at, piece, Advice::WillNeed)?;
        at = at.saturating_add(PIECE);
    }
    Ok(())
}
