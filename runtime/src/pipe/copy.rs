//! Whole transfers between files and sockets, through a pipe out of a pool.
//!
//! What waits for a peer does not keep a pipe that another could use: a pipe is taken when there is
//! something to move, and one that is full of a file's pages, for a socket that takes no more, is given
//! up as soon as somebody asks for one. Only bytes that came from a socket have no other place to be.

use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::AsFd;
use std::pin::pin;
use std::task::Poll;

use libc::{POLLIN, POLLOUT};

use super::splice::{Sealed, splice_with, try_splice};
use super::{PipePool, PooledPipe, Spliceable};
use crate::descriptor::Descriptor;
use crate::fs::{Cached, File};
use crate::net::sockopt;

/// Sends `len` bytes of `file`, from byte `offset` on, without copying them; tells how many, which is
/// less where the file ends before.
///
/// The receiver gets the file as it is when the bytes leave this host, or, on this host, when they are
/// read. Dropping the call stops in between; how much was sent is not told.
///
/// # Errors
/// Those of `splice` and of [`PipePool::get`]. How much was sent before an error is not told.
pub async fn copy_file_to_socket(
    file: &File,
    offset: u64,
    len: u64,
    to: &impl Spliceable,
    pool: &PipePool,
) -> io::Result<u64> {
    let to = to.descriptor();
    let mut sending = Sending { file, to, pool, cached: Cached::default() };
    let mut sent = 0;
    while sent < len {
        let mut pipe = pool.get().await?;
        sending.cached.waited();
        let (more, stop) = sending.send(&pipe, offset.saturating_add(sent), len - sent).await?;
        sent += more;
        match stop {
            Stop::Done => {
                pipe.state_empty();
                break;
            }
            Stop::PipeWanted => {
                drop(pipe);
                to.poll(POLLOUT).await?;
            }
        }
    }
    if sent < len {
        // What was sent said that more follows, so the rest of it may be held back.
        let _ = sockopt::set(to.as_fd(), libc::SOL_TCP, libc::TCP_CORK, 0);
    }
    Ok(sent)
}

/// A file on its way into a socket.
struct Sending<'a> {
    file: &'a File,
    to: &'a Descriptor,
    pool: &'a PipePool,
    cached: Cached,
}

enum Stop {
    /// All is sent, or the file has ended; the pipe is empty.
    Done,
    /// The socket takes no more for now, and somebody else waits for the pipe.
    PipeWanted,
}

impl Sending<'_> {
    /// Sends what it can, and tells how much; the rest is in the file still, wherever else it may be.
    async fn send(&mut self, pipe: &PooledPipe, offset: u64, len: u64) -> io::Result<(u64, Stop)> {
        let mut sent = 0;
        while sent < len {
            let (at, left) = (offset.saturating_add(sent), len - sent);
            let at_most = usize::try_from(left).unwrap_or(usize::MAX).min(pipe.capacity());
            let filled = self.file.splice_next(at, pipe.writer(), at_most, left, &mut self.cached);
            let filled = filled.await?;
            if filled == 0 {
                break;
            }
            let drained = self.drain(pipe, filled, (filled as u64) < left).await?;
            sent += drained as u64;
            if drained < filled {
                return Ok((sent, Stop::PipeWanted));
            }
        }
        Ok((sent, Stop::Done))
    }

    /// Moves `len` bytes out of `pipe`, or fewer if the socket takes no more and the pipe is wanted.
    async fn drain(&mut self, pipe: &PooledPipe, len: usize, more: bool) -> io::Result<usize> {
        let from = Sealed::descriptor(pipe.reader());
        let mut done = 0;
        while done < len {
            match try_splice(from, self.to, len - done, more).await {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let writable = writable_first(self.to, self.pool).await?;
                    self.cached.waited();
                    if !writable {
                        break;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }
}

/// Waits for room in a socket; false if somebody waits for a pipe before there is any.
async fn writable_first(to: &Descriptor, pool: &PipePool) -> io::Result<bool> {
    let mut writable = pin!(to.poll(POLLOUT));
    let mut wanted = pin!(pool.wanted());
    poll_fn(|cx| {
        if let Poll::Ready(ready) = writable.as_mut().poll(cx) {
            return Poll::Ready(ready.map(|_| true));
        }
        wanted.as_mut().poll(cx).map(|()| Ok(false))
    })
    .await
}

/// Writes up to `len` bytes that a socket brings into `file`, from byte `offset` on, without copying
/// them through this program; tells how many, which is less where the stream ends before.
///
/// Dropping the call stops in between; bytes that were received and not written are lost.
///
/// # Errors
/// Those of `splice` and of [`PipePool::get`]; `EINVAL` for a file that was opened with `APPEND`. How
/// much was written before an error is not told.
pub async fn copy_socket_to_file(
    from: &impl Spliceable,
    file: &File,
    offset: u64,
    len: u64,
    pool: &PipePool,
) -> io::Result<u64> {
    let write = async |pipe: &PooledPipe, filled: usize, done: u64| {
        let mut written = 0;
        while written < filled {
            let at = offset.saturating_add(done).saturating_add(written as u64);
            match file.splice_from(pipe.reader(), at, filled - written).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                n => written += n,
            }
        }
        Ok(())
    };
    copy_from(from.descriptor(), len, pool, write).await
}

/// Passes up to `len` bytes from one socket on to another, without copying them through this program;
/// tells how many, which is less where the stream ends before: `u64::MAX` means all of it. Does not
/// pass the end on: [`shutdown`](crate::net::TcpStream::shutdown) does.
///
/// While the receiver takes nothing, bytes for it keep a pipe; who serves more connections than the
/// pool has pipes bounds that time. Dropping the call stops in between; bytes that were received and
/// not sent are lost.
///
/// # Errors
/// Those of `splice` and of [`PipePool::get`]. How much was sent before an error is not told.
pub async fn copy_socket_to_socket(
    from: &impl Spliceable,
    to: &impl Spliceable,
    len: u64,
    pool: &PipePool,
) -> io::Result<u64> {
    let to = to.descriptor();
    let send = async |pipe: &PooledPipe, filled: usize, _: u64| {
        let mut sent = 0;
        while sent < filled {
            let reader = Sealed::descriptor(pipe.reader());
            match splice_with(reader, to, filled - sent, false).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                n => sent += n,
            }
        }
        Ok(())
    };
    copy_from(from.descriptor(), len, pool, send).await
}

/// Takes bytes from a socket into pipes, and has `empty` move them on, given how many there are and how
/// many went before.
async fn copy_from(
    from: &Descriptor,
    len: u64,
    pool: &PipePool,
    empty: impl AsyncFn(&PooledPipe, usize, u64) -> io::Result<()>,
) -> io::Result<u64> {
    let mut done = 0;
    while done < len {
        let pipe = pool.get().await?;
        loop {
            let left = usize::try_from(len - done).unwrap_or(usize::MAX);
            match fill(from, &pipe, left).await {
                Ok(0) => return Ok(done),
                Ok(filled) => {
                    empty(&pipe, filled, done).await?;
                    done += filled as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        drop(pipe);
        from.poll(POLLIN).await?;
    }
    Ok(done)
}

/// Takes what is there, up to `len` bytes and as far as the empty `pipe` has places; `WouldBlock` if
/// there is nothing, 0 at the end of the stream or for a `len` of 0.
///
/// Not one splice only: it stops at every gap between segments, and moving on may cost a thread.
async fn fill(from: &Descriptor, pipe: &PooledPipe, len: usize) -> io::Result<usize> {
    let to = Sealed::descriptor(pipe.writer());
    let len = len.min(pipe.capacity());
    let mut filled = 0;
    while filled < len {
        match try_splice(from, to, len - filled, false).await {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if filled > 0 && error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
