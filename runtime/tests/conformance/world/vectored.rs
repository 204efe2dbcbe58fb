//! Operations on files with several buffers, and those on the page cache.

#![allow(unsafe_code, reason = "makes the system calls that no crate has as they are")]

use std::io::{self, IoSlice, IoSliceMut};
use std::num::NonZeroU64;
use std::os::fd::{AsFd, AsRawFd};

use ringway::fs::{File, SyncRange};
use rustix::fs::{Advice, fadvise};

use crate::case::{Bytes, Stage, World};

impl Stage {
    pub(crate) async fn read_vectored(
        &self,
        file: &File,
        lens: &[usize],
        offset: u64,
    ) -> io::Result<(usize, Vec<Bytes<Vec<u8>>>)> {
        let mut bufs: Vec<_> = lens.iter().map(|&len| vec![0; len]).collect();
        let count = match self.world {
            World::Ringway => {
                let (count, back) = file.read_vectored_at(bufs, offset).await;
                bufs = back;
                count?
            }
            World::Kernel => {
                let mut parts: Vec<_> = bufs.iter_mut().map(|buf| IoSliceMut::new(buf)).collect();
                rustix::io::preadv(file, &mut parts, offset)?
            }
        };
        Ok((count, bufs.into_iter().map(Bytes).collect()))
    }

    pub(crate) async fn write_vectored(
        &self,
        file: &File,
        parts: &[&[u8]],
        offset: u64,
    ) -> io::Result<usize> {
        match self.world {
            World::Ringway => {
                let bufs: Vec<_> = parts.iter().map(|part| part.to_vec()).collect();
                file.write_vectored_at(bufs, offset).await.0
            }
            World::Kernel => {
                let parts: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
                Ok(rustix::io::pwritev(file, &parts, offset)?)
            }
        }
    }

    pub(crate) async fn sync_range(
        &self,
        file: &File,
        offset: u64,
        len: u32,
        how: SyncRange,
    ) -> io::Result<()> {
        match self.world {
            World::Ringway => file.sync_range(offset, len, how).await,
            World::Kernel => {
                let around = libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
                let flags = match how {
                    SyncRange::Start => libc::SYNC_FILE_RANGE_WRITE,
                    SyncRange::Wait => libc::SYNC_FILE_RANGE_WRITE | around,
                };
                let (fd, offset) = (file.as_fd().as_raw_fd(), offset.cast_signed());
                // SAFETY: numbers only.
                match unsafe { libc::sync_file_range(fd, offset, len.into(), flags) } {
                    0 => Ok(()),
                    _ => Err(io::Error::last_os_error()),
                }
            }
        }
    }

    pub(crate) async fn advise(
        &self,
        file: &File,
        offset: u64,
        len: u32,
        advice: Advice,
    ) -> io::Result<()> {
        match self.world {
            World::Ringway => file.advise(offset, len, advice).await,
            World::Kernel => Ok(fadvise(file, offset, NonZeroU64::new(len.into()), advice)?),
        }
    }
}
