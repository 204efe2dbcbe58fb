//! What the page cache is to do with a part of a file: begin to write it, wait for that, read it ahead,
//! drop it.

use std::io;

use ringway_driver::Op;
use rustix::fs::Advice;

use super::File;

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
