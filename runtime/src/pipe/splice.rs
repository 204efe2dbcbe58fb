//! Moving bytes between streams: one system call that does not wait, and a wait for the side that
//! was not ready.

#![allow(unsafe_code, reason = "makes operations out of descriptors")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use ringway_driver::Op;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use super::{PipeReader, PipeWriter};
use crate::buf::op_len;
use crate::descriptor::Descriptor;
use crate::net::TcpStream;
use crate::op;
use crate::task::yield_now;

/// A stream whose descriptor does not block: what [`splice`] takes.
pub trait Spliceable: AsFd + Sealed {}

impl<S: AsFd + Sealed> Spliceable for S {}

/// Keeps [`Spliceable`] to the types of this crate, which are all non-blocking.
#[doc(hidden)]
pub trait Sealed {
    #[expect(private_interfaces, reason = "nobody outside can name it")]
    fn descriptor(&self) -> &Descriptor;
}

macro_rules! spliceable {
    ($($stream:ty),*) => {$(
        impl Sealed for $stream {
            #[expect(private_interfaces, reason = "see the trait")]
            fn descriptor(&self) -> &Descriptor {
                <$stream>::descriptor(self)
            }
        }
    )*};
}

spliceable!(PipeReader, PipeWriter, TcpStream);

/// Moves up to `len` bytes from one stream to another, of which one is a pipe; tells how many, which
/// is 0 at the end of `from`, or for a `len` of 0.
///
/// A short count is usual: a pipe has a limited number of places, and a network's small segments take
/// one each. It waits for `from` to have bytes and `to` to have room; who waits costs no thread.
///
/// Cancel safe: a dropped call has moved bytes only if it could have answered.
///
/// # Errors
/// Those of `splice`: `EINVAL` if neither is a pipe, `BrokenPipe` if `to` has nobody to read it.
pub async fn splice(from: &impl Spliceable, to: &impl Spliceable, len: usize) -> io::Result<usize> {
    splice_with(from.descriptor(), to.descriptor(), len, false).await
}

/// Duplicates up to `len` bytes of what is in one pipe into another; tells how many, which is 0 when
/// `from` is empty and has no writers any more. They stay in `from`: take them out before the next
/// `tee`, which would begin with them again.
///
/// A short count is usual: when `to` has less room. Cancel safe, as [`splice`] is.
///
/// # Errors
/// Those of `tee`: `BrokenPipe` if `to` has nobody to read it.
pub async fn tee(from: &PipeReader, to: &PipeWriter, len: usize) -> io::Result<usize> {
    let (from, to) = (from.descriptor(), to.descriptor());
    until_ready(from, to, len, async || try_tee(from, to, len).await).await
}

/// [`splice`]; `more` says to a socket that the next bytes follow at once.
pub(super) async fn splice_with(
    from: &Descriptor,
    to: &Descriptor,
    len: usize,
    more: bool,
) -> io::Result<usize> {
    until_ready(from, to, len, async || try_splice(from, to, len, more).await).await
}

/// One attempt; `WouldBlock` if one of them is not ready.
pub(super) async fn try_splice(
    from: &Descriptor,
    to: &Descriptor,
    len: usize,
    more: bool,
) -> io::Result<usize> {
    let flags = libc::SPLICE_F_MOVE | if more { libc::SPLICE_F_MORE } else { 0 };
    let len = op_len(len);
    // SAFETY: both descriptors belong to the parts.
    let splice = unsafe {
        op::submit(
            None,
            (from.for_operation(), to.for_operation()),
            move |(from, to)| Op::Splice {
                from: from.as_raw_fd(),
                from_offset: u64::MAX,
                to: to.as_raw_fd(),
                to_offset: u64::MAX,
                len,
                flags,
                resident: true,
            },
            |_, result| result.map(|n| n as usize),
        )
    };
    splice.await
}

async fn try_tee(from: &Descriptor, to: &Descriptor, len: usize) -> io::Result<usize> {
    let len = op_len(len);
    // SAFETY: both descriptors belong to the parts.
    let tee = unsafe {
        op::submit(
            None,
            (from.for_operation(), to.for_operation()),
            move |(from, to)| Op::Tee { from: from.as_raw_fd(), to: to.as_raw_fd(), len, flags: 0 },
            |_, result| result.map(|n| n as usize),
        )
    };
    tee.await
}

/// Makes attempts, and waits between them.
async fn until_ready(
    from: &Descriptor,
    to: &Descriptor,
    len: usize,
    attempt: impl AsyncFn() -> io::Result<usize>,
) -> io::Result<usize> {
    if len == 0 {
        return Ok(0);
    }
    loop {
        match attempt().await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait(from, to).await?,
            result => return result,
        }
    }
}

/// Waits for the side that is not ready: the kernel does not say which it was.
async fn wait(from: &Descriptor, to: &Descriptor) -> io::Result<()> {
    let mut both = [PollFd::new(from, PollFlags::IN), PollFd::new(to, PollFlags::OUT)];
    match rustix::event::poll(&mut both, Some(&rustix::event::Timespec::default())) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let [readable, writable] = both.map(|fd| !fd.revents().is_empty());
    if !readable {
        from.poll(libc::POLLIN).await?;
    } else if !writable {
        to.poll(libc::POLLOUT).await?;
    } else {
        // It has changed since; or the socket has room but no memory, and others may free some.
        yield_now().await;
    }
    Ok(())
}
