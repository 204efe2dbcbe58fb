//! Moving bytes between a file and a pipe.
//!
//! `splice` has no form that does not wait for a disk. So it is made at once only where the page cache
//! has what it is to read (`resident`). The rest, and all that goes into a file, runs on the ring's
//! threads or the pool's, a few at a time.

#![allow(unsafe_code, reason = "makes operations out of descriptors")]

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use libc::{POLLIN, POLLOUT, SPLICE_F_MOVE};
use ringway_driver::{Identity, Op};

use super::File;
use super::resident::{Residence, resident, resident_len};
use crate::buf::op_len;
use crate::descriptor::Descriptor;
use crate::op;
use crate::permits::{Permit, Permits};
use crate::pipe::{PipeReader, PipeWriter};

thread_local! {
    /// How many splices of this thread's wait for disks at a time: one per processor, which is half of
    /// what a ring has threads for, and no more than half of the pool's by default. The rest of either
    /// is for other operations.
    static WAITING_FOR_DISKS: Permits =
        Permits::new(available_parallelism().map_or(2, usize::from).clamp(2, 8));
}

/// How far ahead [`Cached`] looks: one look for sixteen pipes of the default size.
const LOOK_AHEAD: u64 = 1 << 20;

/// How long what was found in the page cache is believed to be there: the kernel takes what nobody has
/// used for longest, which takes it seconds to get to even where memory is short.
const BELIEVED: Duration = Duration::from_millis(100);

impl File {
    /// Moves up to `len` bytes of the file, from byte `offset` on, into a pipe; tells how many, which
    /// is 0 at the file's end, or for a `len` of 0.
    ///
    /// A short count is usual: when the pipe has no more places. It waits for the pipe to have one.
    /// The pages are not copied: what comes out of the pipe is the file as it is by then.
    ///
    /// A dropped call may fill the pipe yet.
    ///
    /// # Errors
    /// Those of `splice`: `EINVAL` where the file system has no such thing, `BrokenPipe` for a pipe
    /// without readers.
    pub async fn splice_to(&self, offset: u64, to: &PipeWriter, len: usize) -> io::Result<usize> {
        self.splice_next(offset, to, len, len as u64, &mut Cached::default()).await
    }

    /// [`File::splice_to`] of what takes no waiting: it fails where the page cache has not all of the part, or
    /// the pipe no room, for the caller to read it another way.
    ///
    /// # Errors
    /// As there, and `WouldBlock`.
    pub async fn splice_cached_to(
        &self,
        offset: u64,
        to: &PipeWriter,
        len: usize,
    ) -> io::Result<usize> {
        let (to, offset) = (to.descriptor(), offset_in_file(offset)?);
        if len != 0 && !is_resident(self, offset, u64::from(op_len(len))) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.splice_out(offset, to, len, None).await
    }

    /// [`File::splice_to`] for one who will go on, up to `ahead` bytes from `offset` altogether, and
    /// keeps what is found out about those that follow.
    pub(crate) async fn splice_next(
        &self,
        offset: u64,
        to: &PipeWriter,
        len: usize,
        ahead: u64,
        cached: &mut Cached,
    ) -> io::Result<usize> {
        let (to, offset) = (to.descriptor(), offset_in_file(offset)?);
        if len == 0 {
            return Ok(0);
        }
        loop {
            let moved = if cached.covers(self, offset, len, ahead) {
                self.splice_out(offset, to, len, None).await
            } else {
                // A thread that finds the pipe full has been woken for nothing.
                to.poll(POLLOUT).await?;
                self.splice_out(offset, to, len, Some(disk_permit().await)).await
            };
            match moved {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => to.poll(POLLOUT).await?,
                moved => return moved,
            };
        }
    }

    /// Moves up to `len` bytes out of a pipe into the file, at byte `offset`; tells how many, which is
    /// 0 when the pipe is empty and has no writers any more, or for a `len` of 0.
    ///
    /// A short count is usual: when there is no more in the pipe. It waits until there is something.
    ///
    /// Not cancel safe: bytes that a dropped call has moved are out of the pipe.
    ///
    /// # Errors
    /// Those of `splice`: `EINVAL` for a file that was opened with `APPEND`.
    pub async fn splice_from(
        &self,
        from: &PipeReader,
        offset: u64,
        len: usize,
    ) -> io::Result<usize> {
        let (end, offset) = (from.descriptor(), offset_in_file(offset)?);
        if len == 0 {
            return Ok(0);
        }
        loop {
            if from.is_empty()? {
                end.poll(POLLIN).await?;
            }
            // Never at once, quick as it mostly is (5 µs for 64 KiB, 45 for 1 MiB): it takes the file's
            // lock and its journal's, and is put to sleep when there is too much to write back.
            match self.splice_in(end, offset, len, disk_permit().await).await {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                moved => return moved,
            }
        }
    }

    /// One attempt; with a permit, by a thread that may wait for a disk.
    async fn splice_out(
        &self,
        offset: u64,
        to: &Descriptor,
        len: usize,
        permit: Option<Permit>,
    ) -> io::Result<usize> {
        let (len, resident) = (op_len(len), permit.is_none());
        let parts = (self.fd.clone(), to.for_operation(), permit);
        // Reading an open file is nobody's.
        attempt(None, parts, move |(file, to, _)| {
            splice(file.as_raw_fd(), offset, to.as_raw_fd(), u64::MAX, len, resident)
        })
        .await
    }

    /// One attempt, by a thread that may wait for a disk.
    async fn splice_in(
        &self,
        from: &Descriptor,
        offset: u64,
        len: usize,
        permit: Permit,
    ) -> io::Result<usize> {
        let len = op_len(len);
        let parts = (self.fd.clone(), from.for_operation(), permit);
        attempt(self.identity.clone(), parts, move |(file, from, _)| {
            splice(from.as_raw_fd(), u64::MAX, file.as_raw_fd(), offset, len, false)
        })
        .await
    }
}

/// What is known to be in the page cache, from where it was asked about last.
#[derive(Debug, Default)]
pub(crate) struct Cached {
    up_to: u64,
    /// When.
    asked: Option<Instant>,
}

impl Cached {
    /// Whether a splice of this part has nothing to wait for. Looks further ahead, so that not every
    /// part has to be asked about.
    fn covers(&mut self, file: &File, offset: u64, len: usize, ahead: u64) -> bool {
        let len = u64::from(op_len(len));
        if offset.saturating_add(len) <= self.up_to {
            return true;
        }
        let ahead = ahead.min(LOOK_AHEAD);
        if ahead > len && resident(file, offset, ahead) == Residence::All {
            (self.up_to, self.asked) = (offset.saturating_add(ahead), Some(Instant::now()));
            return true;
        }
        is_resident(file, offset, len)
    }

    /// The caller has waited. When that was long, the kernel may have found other use for the memory.
    pub(crate) fn waited(&mut self) {
        if self.asked.is_some_and(|asked| asked.elapsed() > BELIEVED) {
            *self = Self::default();
        }
    }
}

/// At the file's end there is nothing to wait for.
fn is_resident(file: &File, offset: u64, len: u64) -> bool {
    resident_len(file, offset, len).is_some()
}

/// An operation on descriptors alone.
async fn attempt<D: 'static>(
    identity: Option<Identity>,
    parts: D,
    op: impl Fn(&D) -> Op + 'static,
) -> io::Result<usize> {
    // SAFETY: the callers name only what `parts` owns.
    let attempt = unsafe {
        op::submit(identity, parts, move |parts| op(parts), |_, result| result.map(|n| n as usize))
    };
    attempt.await
}

/// The permit belongs to the operation's parts: it is free again when the thread is.
async fn disk_permit() -> Permit {
    WAITING_FOR_DISKS.with(Permits::get).await
}

/// The highest number means "none" to the operation, and to the kernel a file has no such places.
fn offset_in_file(offset: u64) -> io::Result<u64> {
    let fits = i64::try_from(offset).is_ok();
    if fits { Ok(offset) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

fn splice(
    from: RawFd,
    from_offset: u64,
    to: RawFd,
    to_offset: u64,
    len: u32,
    resident: bool,
) -> Op {
    Op::Splice { from, from_offset, to, to_offset, len, flags: SPLICE_F_MOVE, resident }
}
