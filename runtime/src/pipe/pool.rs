//! Pipes that are used again, if they come back empty.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::rc::Rc;

use super::splice::{Sealed, try_splice};
use super::{PipeReader, PipeWriter, Spliceable, pipe_with_size};
use crate::permits::{Permit, Permits};

/// A bounded number of pipes of one size, for this thread's transfers. Clones are the same pool.
///
/// Making a large pipe costs several times what it costs to move something through it, and a user's
/// pipes have a limit altogether (16,384 pages), beyond which new ones have a page or two: so few
/// large ones that take turns are better than one per connection.
#[derive(Clone)]
pub struct PipePool(Rc<Shared>);

struct Shared {
    size: usize,
    /// One for each pipe that is out.
    permits: Permits,
    /// Empty, and of the full size.
    idle: RefCell<Vec<Pipe>>,
}

struct Pipe {
    reader: PipeReader,
    writer: PipeWriter,
    capacity: usize,
}

impl PipePool {
    /// A pipe's size where nothing else is asked for: what `/proc/sys/fs/pipe-max-size` grants without
    /// privilege unless somebody has changed it. Files sent through it cost what `sendfile` costs, and
    /// through 64 KiB a fifth to a third more, in system calls.
    pub const SIZE: usize = 1 << 20;

    /// How many pipes there are where nothing else is asked for. Of [`PipePool::SIZE`], those of eight
    /// cores together stay within a user's 16,384 pages.
    pub const PIPES_MAX: usize = 8;

    /// At most `pipes_max` pipes of `size` bytes each; they are made when they are first needed.
    ///
    /// # Panics
    /// If `pipes_max` is 0.
    #[must_use]
    pub fn new(size: usize, pipes_max: usize) -> Self {
        assert!(pipes_max > 0, "a pool without pipes");
        let permits = Permits::new(pipes_max);
        Self(Rc::new(Shared { size, permits, idle: RefCell::default() }))
    }

    /// An empty pipe; waits until there is one. First come, first served. Cancel safe.
    ///
    /// # Errors
    /// Those of `pipe2`.
    pub async fn get(&self) -> io::Result<PooledPipe> {
        self.pipe(self.0.permits.get().await)
    }

    /// An empty pipe, or `None` if all are out.
    ///
    /// # Errors
    /// Those of `pipe2`.
    pub fn try_get(&self) -> io::Result<Option<PooledPipe>> {
        self.0.permits.try_get().map(|permit| self.pipe(permit)).transpose()
    }

    /// Waits until somebody waits for a pipe.
    pub(super) async fn wanted(&self) {
        self.0.permits.wanted().await;
    }

    fn pipe(&self, permit: Permit) -> io::Result<PooledPipe> {
        let idle = self.0.idle.borrow_mut().pop();
        let pipe = match idle {
            Some(pipe) => pipe,
            None => Pipe::new(self.0.size)?,
        };
        Ok(PooledPipe {
            pipe: Some(pipe),
            pool: self.0.clone(),
            known_empty: false,
            _permit: permit,
        })
    }
}

impl Default for PipePool {
    /// [`PipePool::PIPES_MAX`] pipes of [`PipePool::SIZE`].
    fn default() -> Self {
        Self::new(Self::SIZE, Self::PIPES_MAX)
    }
}

impl fmt::Debug for PipePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipePool").field("size", &self.0.size).finish_non_exhaustive()
    }
}

impl Pipe {
    fn new(size: usize) -> io::Result<Self> {
        let (reader, writer) = pipe_with_size(size)?;
        let capacity = reader.capacity()?;
        Ok(Self { reader, writer, capacity })
    }

    /// Whether the next owner would find it as new. An operation that is still in flight might yet fill
    /// it: its caller may be gone, but what a kernel thread has begun goes on.
    fn is_as_new(&self, known_empty: bool) -> bool {
        let in_use = self.reader.descriptor().is_shared() || self.writer.descriptor().is_shared();
        !in_use && (known_empty || self.reader.is_empty().unwrap_or(false))
    }
}

/// A pipe out of a [`PipePool`].
///
/// When it is dropped it goes back, or, if anything is in it or may yet come, is destroyed: nobody
/// finds another's bytes. Whoever duplicates its descriptors has to see to that themselves.
pub struct PooledPipe {
    /// Gone only while it is dropped.
    pipe: Option<Pipe>,
    pool: Rc<Shared>,
    known_empty: bool,
    /// Goes back after the pipe.
    _permit: Permit,
}

impl PooledPipe {
    /// The end that bytes come out of.
    #[must_use]
    pub fn reader(&self) -> &PipeReader {
        &self.get().reader
    }

    /// The end that bytes go into.
    #[must_use]
    pub fn writer(&self) -> &PipeWriter {
        &self.get().writer
    }

    /// How many bytes it can hold, which may be less than what the pool was asked for: see
    /// [`pipe_with_size`].
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.get().capacity
    }

    /// Moves `len` bytes, which has to be all that went in, out of the pipe into a stream, and gives the pipe
    /// back. `more` says to a socket that the next bytes follow at once. Waits for the stream to have room;
    /// who waits costs no thread.
    ///
    /// Not cancel safe: how much a dropped call has moved is not told, and the rest is lost with the pipe.
    ///
    /// # Errors
    /// Those of [`splice`](super::splice); `WriteZero` if there is less in the pipe and nobody else fills it. How much
    /// was moved before an error is not told.
    pub async fn drain_to(
        mut self,
        to: &impl Spliceable,
        len: usize,
        more: bool,
    ) -> io::Result<()> {
        let from = Sealed::descriptor(self.reader());
        let mut done = 0;
        while done < len {
            match try_splice(from, to.descriptor(), len - done, more).await {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // The pool keeps the other end open: bytes that are not there would be waited for for ever.
                    if self.reader().is_empty()? {
                        return Err(io::ErrorKind::WriteZero.into());
                    }
                    to.descriptor().poll(libc::POLLOUT).await?;
                }
                Err(error) => return Err(error),
            }
        }
        self.state_empty();
        Ok(())
    }

    /// States that whatever went in has come out: that needs no system call to find out.
    pub(super) fn state_empty(&mut self) {
        self.known_empty = true;
    }

    fn get(&self) -> &Pipe {
        self.pipe.as_ref().unwrap_or_else(|| unreachable!("only a drop takes the pipe"))
    }
}

impl Drop for PooledPipe {
    fn drop(&mut self) {
        // One that was given less room is not kept: the next may get all of it.
        if let Some(pipe) = self.pipe.take()
            && pipe.capacity >= self.pool.size
            && pipe.is_as_new(self.known_empty)
        {
            self.pool.idle.borrow_mut().push(pipe);
        }
    }
}

impl fmt::Debug for PooledPipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledPipe").field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}
