//! Reading and writing several buffers at once.

#![allow(unsafe_code, reason = "makes operations out of descriptors and buffers")]

use std::os::fd::AsRawFd;

use ringway_driver::Op;

use super::File;
use super::file::file_offset;
use crate::buf::{BufResult, IoBufs, IoBufsMut, filled_all, vectors, vectors_mut};
use crate::op;

impl File {
    /// Reads into `bufs`, one after the other, from byte `offset` of the file; 0 at its end. More than
    /// 1024 buffers are a short read.
    ///
    /// # Errors
    /// Those of `preadv`.
    pub async fn read_vectored_at<V: IoBufsMut>(
        &self,
        bufs: V,
        offset: u64,
    ) -> BufResult<usize, V> {
        if let Err(error) = self.fd.check_positions() {
            return (Err(error), bufs);
        }
        // SAFETY: file, buffers and the list of them belong to the parts; a read's result is how many
        // bytes it wrote from the buffers' start.
        let read = unsafe {
            op::submit(
                None,
                (self.fd.clone(), bufs, Vec::new()),
                move |(fd, bufs, list)| {
                    *list = vectors_mut(bufs);
                    let (iov, count) = (list.as_ptr(), list.len() as u32);
                    Op::ReadV { fd: fd.as_raw_fd(), iov, count, offset: file_offset(offset) }
                },
                |(_, bufs, _), result| filled_all(result, bufs),
            )
        };
        read.waiting(self.fd.is_direct).await
    }

    /// Writes some of the initialised bytes of `bufs`, one after the other, at byte `offset` of the
    /// file, as this handle's identity: see [`File::write_at`]. More than 1024 buffers are a short
    /// write.
    ///
    /// # Errors
    /// Those of `pwritev`.
    pub async fn write_vectored_at<V: IoBufs>(&self, bufs: V, offset: u64) -> BufResult<usize, V> {
        if let Err(error) = self.fd.check_positions() {
            return (Err(error), bufs);
        }
        // SAFETY: file, buffers and the list of them belong to the parts.
        let write = unsafe {
            op::submit(
                self.identity.clone(),
                (self.fd.clone(), bufs, Vec::new()),
                move |(fd, bufs, list)| {
                    *list = vectors(bufs);
                    let (iov, count) = (list.as_ptr(), list.len() as u32);
                    Op::WriteV { fd: fd.as_raw_fd(), iov, count, offset: file_offset(offset) }
                },
                |(_, bufs, _), result| (result.map(|n| n as usize), bufs),
            )
        };
        write.waiting(self.fd.is_direct).await
    }
}
