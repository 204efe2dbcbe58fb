//! An open file.

#![allow(unsafe_code, reason = "makes operations out of descriptors and buffers")]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use ringway_driver::{Identity, Op, Path};
use rustix::fs::{Access, FallocateFlags, OFlags, StatFs, Statx, StatxFlags, Timespec};

use super::opened::Opened;
use crate::buf::{BufResult, IoBuf, IoBufMut, empty_all, fill_all, filled, op_len};
use crate::op::{self, Begun};
use crate::runtime;
use crate::task::coop;

/// An open file, directory or other object with a path. Clones share one description.
#[derive(Clone, Debug)]
pub struct File {
    pub(super) fd: Arc<Opened>,
    pub(super) identity: Option<Identity>,
    /// See [`File::apart`].
    pub(super) apart: bool,
}

/// What to do with one of a file's times.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetTime {
    /// Leave it.
    Omit,
    /// Set it to the kernel's clock.
    Now,
    /// Set it to this.
    At(Timespec),
}

impl File {
    /// The same open file, used with another identity; `None` is the process's own. What the file
    /// was opened for stays.
    #[must_use]
    pub fn with_identity(&self, identity: Option<Identity>) -> Self {
        Self { identity, ..self.clone() }
    }

    /// The identity that operations through it run as, if not the process's own: that of the [`Dir`]
    /// that it was opened through.
    ///
    /// [`Dir`]: super::Dir
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        self.identity.clone()
    }

    /// Reads into the start of `buf` from byte `offset` of the file; 0 at its end.
    ///
    /// # Errors
    /// Those of `pread`: `ESPIPE` for what has no positions, as a FIFO, whose place is in a
    /// [`PipeReader`](crate::pipe::PipeReader).
    pub async fn read_at<B: IoBufMut>(&self, mut buf: B, offset: u64) -> BufResult<usize, B> {
        if let Err(error) = self.fd.check_positions() {
            return (Err(error), buf);
        }
        if let Some(permit) = self.worker() {
            return self.read_by_worker(permit, buf, offset).await;
        }
        coop::proceed().await;
        let mut rung = None;
        if !self.fd.is_direct {
            // Mostly the bytes are cached, and then nothing need be shared with an operation.
            // SAFETY: file and buffer are ours during the call.
            match unsafe { op::begin(&read(self.fd.as_raw_fd(), &mut buf, offset), None) } {
                // SAFETY: a read's result is how many bytes it wrote from the buffer's start.
                Begun::Done(answer) => return unsafe { filled(op::result(answer), buf) },
                Begun::GoTo(next) => rung = Some(next),
            }
        }
        // SAFETY: file and buffer belong to the parts; a read's result is how many bytes it wrote from
        // the buffer's start.
        let read = unsafe {
            op::submit(
                None,
                (self.fd.clone(), buf),
                move |(fd, buf)| read(fd.as_raw_fd(), buf, offset),
                |(_, buf), result| filled(result, buf),
            )
        };
        match rung {
            Some(rung) => read.going_to(rung).await,
            None => read.waiting(true).await,
        }
    }

    /// Reads from byte `offset` of the file until `buf` is full (all its [`IoBufMut::bytes_total`]).
    ///
    /// # Errors
    /// Those of `pread`; `UnexpectedEof` if the file ends before.
    pub async fn read_exact_at<B: IoBufMut>(&self, buf: B, offset: u64) -> BufResult<(), B> {
        fill_all(buf, async |part, done| match offset.checked_add(done as u64) {
            Some(at) => self.read_at(part, at).await,
            None => (Err(io::ErrorKind::UnexpectedEof.into()), part),
        })
        .await
    }

    /// Writes some of `buf`'s initialised bytes at byte `offset` of the file, as this handle's identity:
    /// its quota and its right to the reserve of the file system count, and its own file loses
    /// its setuid bit.
    ///
    /// # Errors
    /// Those of `pwrite`: `ESPIPE` for what has no positions.
    pub async fn write_at<B: IoBuf>(&self, buf: B, offset: u64) -> BufResult<usize, B> {
        if let Err(error) = self.fd.check_positions() {
            return (Err(error), buf);
        }
        if let Some(permit) = self.worker() {
            return self.write_by_worker(permit, buf, offset).await;
        }
        // SAFETY: file and buffer belong to the parts.
        let write = unsafe {
            op::submit(
                self.identity.clone(),
                (self.fd.clone(), buf),
                move |(fd, buf)| write(fd.as_raw_fd(), buf, offset),
                |(_, buf), result| (result.map(|n| n as usize), buf),
            )
        };
        write.waiting(self.fd.is_direct).await
    }

    /// [`read_at`](File::read_at) into a buffer of a [`FixedPool`](crate::buf::FixedPool), whose pages
    /// the ring knows already. Any other buffer will do, without that.
    ///
    /// # Errors
    /// Those of `pread`.
    pub async fn read_fixed_at<B: IoBufMut>(&self, buf: B, offset: u64) -> BufResult<usize, B> {
        // To whom a copy is left, it is memory like any other.
        let Some(index) = registered(&buf).filter(|_| !self.apart) else {
            return self.read_at(buf, offset).await;
        };
        if let Err(error) = self.fd.check_positions() {
            return (Err(error), buf);
        }
        // SAFETY: as for `read_at`; the buffer keeps its registration.
        let read = unsafe {
            op::submit(
                None,
                (self.fd.clone(), buf),
                move |(fd, buf)| Op::ReadFixed {
                    fd: fd.as_raw_fd(),
                    buf: buf.stable_mut_ptr(),
                    len: op_len(buf.bytes_total()),
                    offset: file_offset(offset),
                    index,
                },
                |(_, buf), result| filled(result, buf),
            )
        };
        read.waiting(self.fd.is_direct).await
    }

    /// [`write_at`](File::write_at) from a buffer of a [`FixedPool`](crate::buf::FixedPool), whose pages
    /// the ring knows already. Any other buffer will do, without that.
    ///
    /// # Errors
    /// Those of `pwrite`.
    pub async fn write_fixed_at<B: IoBuf>(&self, buf: B, offset: u64) -> BufResult<usize, B> {
        let Some(index) = registered(&buf).filter(|_| !self.apart) else {
            return self.write_at(buf, offset).await;
        };
        if let Err(error) = self.fd.check_positions() {
            return (Err(error), buf);
        }
        // SAFETY: as for `write_at`; the buffer keeps its registration.
        let write = unsafe {
            op::submit(
                self.identity.clone(),
                (self.fd.clone(), buf),
                move |(fd, buf)| Op::WriteFixed {
                    fd: fd.as_raw_fd(),
                    buf: buf.stable_ptr(),
                    len: op_len(buf.bytes_init()),
                    offset: file_offset(offset),
                    index,
                },
                |(_, buf), result| (result.map(|n| n as usize), buf),
            )
        };
        write.waiting(self.fd.is_direct).await
    }

    /// Writes all of `buf`'s initialised bytes from byte `offset` of the file on.
    ///
    /// # Errors
    /// Those of `pwrite`. How much was written before an error is not told.
    pub async fn write_all_at<B: IoBuf>(&self, buf: B, offset: u64) -> BufResult<(), B> {
        empty_all(buf, async |part, done| match offset.checked_add(done as u64) {
            Some(at) => self.write_at(part, at).await,
            None => (Err(io::ErrorKind::FileTooLarge.into()), part),
        })
        .await
    }

    /// Writes some of `buf`'s initialised bytes at the end of the file, wherever that is by then.
    ///
    /// What is written is the beginning of `buf`, in one piece: no other append comes in between. It
    /// may be less than all of `buf`, as when the file system is full; appending the rest could then
    /// put it behind somebody else's. A dropped call may still write.
    ///
    /// # Errors
    /// Those of `pwritev2`.
    pub async fn append<B: IoBuf>(&self, buf: B) -> BufResult<usize, B> {
        if let Err(error) = self.fd.check_positions() {
            return (Err(error), buf);
        }
        // SAFETY: file and buffer belong to the parts.
        let append = unsafe {
            op::submit(
                self.identity.clone(),
                (self.fd.clone(), buf),
                |(fd, buf)| Op::Append {
                    fd: fd.as_raw_fd(),
                    buf: buf.stable_ptr(),
                    len: op_len(buf.bytes_init()),
                },
                |(_, buf), result| (result.map(|n| n as usize), buf),
            )
        };
        append.await
    }

    /// Waits until data and metadata are on stable storage.
    ///
    /// # Errors
    /// Those of `fsync`.
    pub async fn sync_all(&self) -> io::Result<()> {
        self.sync(false).await
    }

    /// Waits until the data, and what metadata is needed to read it, are on stable storage.
    ///
    /// # Errors
    /// Those of `fdatasync`.
    pub async fn sync_data(&self) -> io::Result<()> {
        self.sync(true).await
    }

    /// What the file system knows about this file; `mask` says what is wanted.
    ///
    /// # Errors
    /// Those of `statx`.
    pub fn statx(&self, mask: StatxFlags) -> impl Future<Output = io::Result<Statx>> {
        let parts = || self.fd.clone();
        // An open file tells everybody. SAFETY: the file belongs to the parts, the name is static.
        unsafe { statx(None, itself(&self.fd), libc::AT_EMPTY_PATH, mask, parts, itself) }
    }

    /// Whether this handle's identity may do `mode` to the file by its permissions as they are now,
    /// whatever the file was opened for; `O_PATH` will do.
    ///
    /// # Errors
    /// Those of `faccessat2`: `EACCES` if it may not, `EROFS` where nobody may write, `ENOSYS` before
    /// Linux 5.8.
    pub async fn access(&self, mode: Access) -> io::Result<()> {
        let (mode, flags) = (mode.bits().cast_signed(), libc::AT_EMPTY_PATH);
        self.simple(move |dir| Op::AccessAt { path: Path { dir, name: c"".as_ptr() }, mode, flags })
            .await
    }

    /// Makes the file `len` bytes long.
    ///
    /// # Errors
    /// Those of `ftruncate`.
    pub async fn set_len(&self, len: u64) -> io::Result<()> {
        self.simple(move |fd| Op::Truncate { fd, len }).await
    }

    /// Reserves, frees or moves storage in a range of bytes, as `mode` says.
    ///
    /// # Errors
    /// Those of `fallocate`.
    pub async fn allocate(&self, mode: FallocateFlags, offset: u64, len: u64) -> io::Result<()> {
        let mode = mode.bits().cast_signed();
        self.simple(move |fd| Op::Allocate { fd, mode, offset, len }).await
    }

    /// Changes the times of last access and last modification.
    ///
    /// # Errors
    /// Those of `futimens`.
    pub async fn set_times(&self, accessed: SetTime, modified: SetTime) -> io::Result<()> {
        // SAFETY: file and times belong to the parts.
        let set_times = unsafe {
            op::submit(
                self.identity.clone(),
                (self.fd.clone(), [accessed.to_raw(), modified.to_raw()]),
                |(fd, times)| Op::SetTimes { fd: fd.as_raw_fd(), times: times.as_ptr() },
                |_, result| result.map(drop),
            )
        };
        set_times.await
    }

    /// Changes the permission bits.
    ///
    /// # Errors
    /// Those of `fchmod`.
    pub async fn chmod(&self, mode: u32) -> io::Result<()> {
        self.simple(move |fd| Op::Chmod { fd, mode }).await
    }

    /// What the file system that holds this file says about itself.
    ///
    /// # Errors
    /// Those of `fstatfs`.
    pub async fn statfs(&self) -> io::Result<StatFs> {
        const { assert!(size_of::<StatFs>() == size_of::<libc::statfs>()) };
        // SAFETY: file and result belong to the parts; both types are the kernel's `statfs`, integers
        // only, and zero where the kernel does not write.
        let statfs = unsafe {
            op::submit(
                None,
                (self.fd.clone(), MaybeUninit::<StatFs>::zeroed()),
                |(fd, out)| Op::Statfs { fd: fd.as_raw_fd(), out: out.as_mut_ptr().cast() },
                |(_, out), result| result.map(|_| out.assume_init()),
            )
        };
        statfs.await
    }

    /// Reads the next entries of a directory into `buf`'s capacity; 0 at the end. What was in `buf` is
    /// lost. [`dir_entries`](super::dir_entries) reads them.
    ///
    /// # Errors
    /// Those of `getdents64`: `EINVAL` if the next entry does not fit; 512 bytes always do.
    pub async fn read_dir(&self, mut buf: Vec<u8>) -> BufResult<usize, Vec<u8>> {
        buf.clear();
        // SAFETY: file and buffer belong to the parts; the result is how many bytes were written from
        // the buffer's start.
        let getdents = unsafe {
            op::submit(
                None,
                (self.fd.clone(), buf),
                |(fd, buf)| Op::Getdents {
                    fd: fd.as_raw_fd(),
                    buf: buf.as_mut_ptr(),
                    len: op_len(buf.capacity()),
                },
                |(_, buf), result| filled(result, buf),
            )
        };
        getdents.await
    }

    /// Lets [`File::read_dir`] start again from the first entry.
    ///
    /// # Errors
    /// Those of `lseek`.
    pub fn rewind(&self) -> io::Result<()> {
        rustix::fs::seek(&self.fd, rustix::fs::SeekFrom::Start(0))?;
        Ok(())
    }

    /// Closes this handle, and the file with it unless clones or operations still hold it.
    ///
    /// Dropping a handle does the same on the spot; this does it where a slow file system is not in
    /// the way of other tasks, and tells about errors of earlier writes.
    ///
    /// # Errors
    /// Those of `close`. The descriptor is gone in any case.
    pub async fn close(self) -> io::Result<()> {
        let Some(opened) = Arc::into_inner(self.fd) else { return Ok(()) };
        let fd = opened.into_fd();
        // SAFETY: the parts own the descriptor until the operation has taken it from them.
        let close = unsafe { op::submit(None, fd, |fd| Op::Close { fd: fd.as_raw_fd() }, closed) };
        close.await
    }

    async fn sync(&self, data_only: bool) -> io::Result<()> {
        self.nobodys().simple(move |fd| Op::Fsync { fd, data_only }).await
    }

    /// For what needs nobody's permission.
    pub(super) fn nobodys(&self) -> Self {
        self.with_identity(None)
    }

    /// An operation on the descriptor alone, on behalf of this handle's identity.
    pub(super) async fn simple(&self, op: impl Fn(RawFd) -> Op + 'static) -> io::Result<()> {
        // SAFETY: the file belongs to the parts, and `op` names nothing else that could end.
        let simple = unsafe {
            op::submit(
                self.identity.clone(),
                self.fd.clone(),
                move |fd| op(fd.as_raw_fd()),
                |_, result| result.map(drop),
            )
        };
        simple.await
    }
}

impl From<OwnedFd> for File {
    fn from(fd: OwnedFd) -> Self {
        let flags = rustix::fs::fcntl_getfl(&fd);
        let is_direct = flags.is_ok_and(|flags| flags.contains(OFlags::DIRECT));
        Self { fd: Arc::new(Opened::new(fd, is_direct)), identity: None, apart: false }
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// `offset` as operations on files carry it. The largest number would say that there is none; the one
/// before it is as far beyond every file, and refused as such.
pub(super) fn file_offset(offset: u64) -> u64 {
    offset.min(u64::MAX - 1)
}

/// The number by which this runtime's ring knows `buf`.
fn registered(buf: &impl IoBuf) -> Option<u16> {
    buf.registered()?.with(&runtime::current())
}

/// Ends a close: the kernel has taken the descriptor, unless the operation was cancelled before.
fn closed(fd: OwnedFd, result: io::Result<u32>) -> io::Result<()> {
    if result.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::ECANCELED)) {
        drop(fd);
        return Ok(());
    }
    let _ = fd.into_raw_fd();
    result.map(drop)
}

impl SetTime {
    fn to_raw(self) -> libc::timespec {
        match self {
            Self::Omit => libc::timespec { tv_sec: 0, tv_nsec: libc::UTIME_OMIT },
            Self::Now => libc::timespec { tv_sec: 0, tv_nsec: libc::UTIME_NOW },
            Self::At(at) => libc::timespec { tv_sec: at.tv_sec, tv_nsec: at.tv_nsec },
        }
    }
}

/// A read into the start of `buf`.
pub(super) fn read(fd: RawFd, buf: &mut impl IoBufMut, offset: u64) -> Op {
    let len = op_len(buf.bytes_total());
    Op::Read { fd, buf: buf.stable_mut_ptr(), len, offset: file_offset(offset) }
}

/// A write of what `buf` has.
pub(super) fn write(fd: RawFd, buf: &impl IoBuf, offset: u64) -> Op {
    let len = op_len(buf.bytes_init());
    Op::Write { fd, buf: buf.stable_ptr(), len, offset: file_offset(offset) }
}

fn itself(fd: &Arc<Opened>) -> Path {
    Path { dir: fd.as_raw_fd(), name: c"".as_ptr() }
}

/// `statx`, of a descriptor or of a path: `at` for now, and what `path` gives out of `parts` later.
///
/// # Safety
/// `at` belongs to somebody for as long as the future lives. What `path` gives out belongs to its
/// argument, or to nobody.
pub(super) async unsafe fn statx<D: 'static>(
    identity: Option<&Identity>,
    at: Path,
    flags: i32,
    mask: StatxFlags,
    parts: impl FnOnce() -> D,
    path: impl Fn(&D) -> Path + 'static,
) -> io::Result<Statx> {
    const { assert!(size_of::<Statx>() == size_of::<libc::statx>()) };
    let describe = move |path, out: *mut Statx| {
        let (mask, out) = (mask.bits(), out.cast());
        Op::Statx { path, flags, mask, out }
    };
    coop::proceed().await;
    let rung = {
        // Nearly always the answer comes at once: then nothing need be shared, and it is not moved about.
        let mut out = MaybeUninit::<Statx>::zeroed();
        // SAFETY: the caller's promise, and the result is ours during the call.
        match unsafe { op::begin(&describe(at, out.as_mut_ptr()), identity) } {
            // SAFETY: both types are the kernel's `statx`, integers only, and zero where neither the kernel nor
            // a C library that stands in for it writes.
            Begun::Done(answer) => return op::result(answer).map(|_| unsafe { out.assume_init() }),
            Begun::GoTo(rung) => rung,
        }
    };
    let parts = (parts(), Box::new(MaybeUninit::<Statx>::zeroed()));
    // SAFETY: the caller's promise, and the result belongs to the parts; see above for what is in it.
    let statx = unsafe {
        op::submit(
            identity.cloned(),
            parts,
            move |(parts, out)| describe(path(parts), out.as_mut_ptr()),
            |(_, out), result| result.map(|_| *out.assume_init()),
        )
    };
    statx.going_to(rung).await
}
