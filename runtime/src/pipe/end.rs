//! The two ends of a pipe.

#![allow(unsafe_code, reason = "makes operations out of descriptors and buffers")]

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use ringway_driver::Op;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with};

use crate::buf::{BufResult, IoBuf, IoBufMut, empty_all, fill_all, filled, op_len};
use crate::descriptor::Descriptor;
use crate::op;

/// What `Read` and `Write` say for "no offset".
const STREAM: u64 = u64::MAX;

/// A new pipe, of the kernel's default size: 64 KiB, or less for a user who has many.
///
/// # Errors
/// Those of `pipe2`.
pub fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    Ok((PipeReader { end: Descriptor::new(reader) }, PipeWriter { end: Descriptor::new(writer) }))
}

/// A new pipe that holds `size` bytes, or as many as it is given: [`PipeReader::capacity`] tells.
///
/// Without privilege that is at most `/proc/sys/fs/pipe-max-size`, and the default size, or a page or
/// two, for a user whose pipes take more than `/proc/sys/fs/pipe-user-pages-soft`.
///
/// # Errors
/// Those of `pipe2`.
pub fn pipe_with_size(size: usize) -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = pipe()?;
    // A refusal leaves the pipe as it was.
    let _ = fcntl_setpipe_size(&reader, size);
    Ok((reader, writer))
}

/// The end of a pipe that bytes come out of.
pub struct PipeReader {
    end: Descriptor,
}

impl PipeReader {
    /// Takes a pipe's end over, a child's standard output for example, and makes it non-blocking, also
    /// for whom it is shared with.
    ///
    /// # Errors
    /// Those of `fcntl`.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { end: nonblocking(fd)? })
    }

    /// Reads some bytes into the start of `buf`; 0 when all writers are gone.
    ///
    /// Not cancel safe: bytes that a dropped call has read are lost.
    ///
    /// # Errors
    /// Those of `read`.
    pub async fn read<B: IoBufMut>(&self, buf: B) -> BufResult<usize, B> {
        // SAFETY: descriptor and buffer belong to the parts; a read's result is how many bytes it
        // wrote from the buffer's start.
        let read = unsafe {
            op::submit(
                None,
                (self.end.for_operation(), buf),
                |(end, buf)| Op::Read {
                    fd: end.as_raw_fd(),
                    buf: buf.stable_mut_ptr(),
                    len: op_len(buf.bytes_total()),
                    offset: STREAM,
                },
                |(_, buf), result| filled(result, buf),
            )
        };
        read.await
    }

    /// Reads until `buf` is full (all its [`IoBufMut::bytes_total`]).
    ///
    /// Not cancel safe: bytes that a dropped call has read are lost.
    ///
    /// # Errors
    /// Those of `read`; `UnexpectedEof` if the writers go before.
    pub async fn read_exact<B: IoBufMut>(&self, buf: B) -> BufResult<(), B> {
        fill_all(buf, async |part, _| self.read(part).await).await
    }

    /// How many bytes the pipe can hold: so many if they are whole pages, else fewer.
    ///
    /// # Errors
    /// Those of `fcntl`.
    pub fn capacity(&self) -> io::Result<usize> {
        Ok(fcntl_getpipe_size(self)?)
    }

    /// How many bytes are in the pipe.
    ///
    /// # Errors
    /// Those of `ioctl`.
    pub fn len(&self) -> io::Result<u64> {
        Ok(rustix::io::ioctl_fionread(self)?)
    }

    /// Whether the pipe is empty.
    ///
    /// # Errors
    /// Those of `ioctl`.
    pub fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    pub(crate) fn descriptor(&self) -> &Descriptor {
        &self.end
    }
}

/// The end of a pipe that bytes go into.
pub struct PipeWriter {
    end: Descriptor,
}

impl PipeWriter {
    /// Takes a pipe's end over, a child's standard input for example, and makes it non-blocking, also
    /// for whom it is shared with.
    ///
    /// # Errors
    /// Those of `fcntl`.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { end: nonblocking(fd)? })
    }

    /// Writes some of `buf`'s initialised bytes.
    ///
    /// Not cancel safe: a dropped call may have written some, or write them yet.
    ///
    /// # Errors
    /// Those of `write`; `BrokenPipe` when all readers are gone, never a signal.
    pub async fn write<B: IoBuf>(&self, buf: B) -> BufResult<usize, B> {
        // SAFETY: descriptor and buffer belong to the parts.
        let write = unsafe {
            op::submit(
                None,
                (self.end.for_operation(), buf),
                |(end, buf)| Op::Write {
                    fd: end.as_raw_fd(),
                    buf: buf.stable_ptr(),
                    len: op_len(buf.bytes_init()),
                    offset: STREAM,
                },
                |(_, buf), result| (result.map(|n| n as usize), buf),
            )
        };
        write.await
    }

    /// Writes all of `buf`'s initialised bytes.
    ///
    /// Not cancel safe: how much a dropped call has written is not told.
    ///
    /// # Errors
    /// Those of `write`. How much was written before an error is not told.
    pub async fn write_all<B: IoBuf>(&self, buf: B) -> BufResult<(), B> {
        empty_all(buf, async |part, _| self.write(part).await).await
    }

    /// See [`PipeReader::capacity`].
    ///
    /// # Errors
    /// Those of `fcntl`.
    pub fn capacity(&self) -> io::Result<usize> {
        Ok(fcntl_getpipe_size(self)?)
    }

    pub(crate) fn descriptor(&self) -> &Descriptor {
        &self.end
    }
}

fn nonblocking(fd: OwnedFd) -> io::Result<Descriptor> {
    let flags = fcntl_getfl(&fd)?;
    fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?;
    Ok(Descriptor::new(fd))
}

impl AsFd for PipeReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }
}

impl AsFd for PipeWriter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }
}

impl fmt::Debug for PipeReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipeReader").field("fd", &self.end.as_raw_fd()).finish()
    }
}

impl fmt::Debug for PipeWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipeWriter").field("fd", &self.end.as_raw_fd()).finish()
    }
}
