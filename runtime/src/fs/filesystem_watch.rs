//! Watching a whole file system for changes, by fanotify.

#![allow(unsafe_code, reason = "makes the system calls")]

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use libc::POLLIN;
use rustix::io::Errno;

use super::fanotify_events::{FileHandle, FilesystemChange, FilesystemEvent, fanotify_events};
use crate::descriptor::Descriptor;

/// How many bytes of events one read takes: some 600. What stays behind comes with the next read; the
/// kernel keeps up to `/proc/sys/fs/fanotify/max_queued_events` (16,384) of them.
const READ_MAX: usize = 64 << 10;

/// The bytes of a file handle before the handle itself: its length and its type.
const HANDLE_HEAD: usize = 8;

/// The longest that a file handle is: `MAX_HANDLE_SZ`.
const HANDLE_MAX: usize = 128;

/// What is asked for. `ONDIR` among it says that it is asked for of directories, too.
const MASK: FilesystemChange = FilesystemChange::all();

/// What happens to the names on one file system, whoever does it by whatever path.
///
/// Told are names in directories, those by [`FileHandle`]; [`FileHandle::open`] leads back to the
/// directory. Changes by other hosts of a network file system are not seen.
///
/// This takes Linux 5.17, `CAP_SYS_ADMIN` and `CAP_DAC_READ_SEARCH`, and a file system that has handles.
pub struct FilesystemWatch {
    group: Descriptor,
    /// On the file system.
    on: OwnedFd,
    /// Polled until the kernel has events; made anew each time.
    readable: Option<Pin<Box<dyn Future<Output = io::Result<i16>>>>>,
}

impl FilesystemWatch {
    /// Prepares to watch the file system of an open file or directory, after trying whether everything that
    /// this takes is there. Nothing is told before [`start`](Self::start).
    ///
    /// # Errors
    /// Those of `fanotify_init`, `fanotify_mark`, `name_to_handle_at` and `open_by_handle_at`, which mostly
    /// say that something is missing; `EMFILE` beyond `/proc/sys/fs/fanotify/max_user_groups` (128).
    pub fn new(on: impl AsFd) -> io::Result<Self> {
        let on = on.as_fd().try_clone_to_owned()?;
        let group = Descriptor::new(init()?);
        let watch = Self { group, on, readable: None };
        watch.start()?;
        watch.stop()?;
        FileHandle::of(&watch.on)?.open(&watch.on)?;
        while watch.read().is_ok() {}
        Ok(watch)
    }

    /// Watches from now on.
    ///
    /// # Errors
    /// Those of `fanotify_mark`.
    pub fn start(&self) -> io::Result<()> {
        self.mark(libc::FAN_MARK_ADD)
    }

    /// Watches no longer. Events from before may still come.
    ///
    /// # Errors
    /// Those of `fanotify_mark`.
    pub fn stop(&self) -> io::Result<()> {
        self.mark(libc::FAN_MARK_REMOVE)
    }

    fn mark(&self, what: libc::c_uint) -> io::Result<()> {
        let flags = what | libc::FAN_MARK_FILESYSTEM;
        let (group, on) = (self.group.as_raw_fd(), self.on.as_raw_fd());
        // SAFETY: both descriptors are open, for `self` owns them; without a path the second is what is
        // marked, and no memory is named.
        let done = unsafe { libc::fanotify_mark(group, flags, MASK.bits(), on, std::ptr::null()) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Waits for events; gives those that there are, in order. Cancel safe: a dropped call has taken none.
    ///
    /// # Errors
    /// Those of `poll` and `read`.
    pub async fn next(&mut self) -> io::Result<Vec<FilesystemEvent>> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// The events that there are, maybe none; not all of them, if they are many.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn take(&self) -> io::Result<Vec<FilesystemEvent>> {
        match self.read() {
            Err(Errno::AGAIN) => Ok(Vec::new()),
            events => Ok(events?),
        }
    }

    /// Waiting takes nothing, and what is taken is given out at once.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Vec<FilesystemEvent>>> {
        loop {
            if let Some(readable) = &mut self.readable {
                let Poll::Ready(ready) = readable.as_mut().poll(cx) else { return Poll::Pending };
                self.readable = None;
                ready?;
            }
            match self.read() {
                Err(Errno::AGAIN) => {}
                events => return Poll::Ready(Ok(events?)),
            }
            let group = self.group.clone();
            self.readable = Some(Box::pin(async move { group.poll(POLLIN).await }));
        }
    }

    fn read(&self) -> Result<Vec<FilesystemEvent>, Errno> {
        let mut buf = vec![0; READ_MAX];
        let len = rustix::io::read(&self.group, &mut buf)?;
        Ok(fanotify_events(buf.get(..len).unwrap_or_default()))
    }
}

fn init() -> io::Result<OwnedFd> {
    let flags = libc::FAN_CLASS_NOTIF
        | libc::FAN_CLOEXEC
        | libc::FAN_NONBLOCK
        | libc::FAN_REPORT_DFID_NAME_TARGET;
    // SAFETY: takes numbers only.
    let fd = unsafe { libc::fanotify_init(flags, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has made this descriptor just now, for nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `struct file_handle` with room for the longest.
#[repr(C)]
struct RawHandle {
    len: libc::c_uint,
    kind: libc::c_int,
    bytes: [u8; HANDLE_MAX],
}

const _: () = assert!(std::mem::offset_of!(RawHandle, bytes) == HANDLE_HEAD);

impl FileHandle {
    /// The handle of an open file or directory. Blocks where the file system does.
    ///
    /// # Errors
    /// Those of `name_to_handle_at`: `EOPNOTSUPP` where the file system has no handles.
    pub fn of(file: impl AsFd) -> io::Result<Self> {
        let mut raw =
            RawHandle { len: HANDLE_MAX as libc::c_uint, kind: 0, bytes: [0; HANDLE_MAX] };
        let mut mount = 0;
        let file = file.as_fd().as_raw_fd();
        // SAFETY: the path is a string; the handle is a `file_handle` with room for as many bytes as its
        // length says, and it and the mount's number outlive the call.
        let done = unsafe {
            libc::name_to_handle_at(
                file,
                c"".as_ptr(),
                (&raw mut raw).cast(),
                &raw mut mount,
                libc::AT_EMPTY_PATH,
            )
        };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
        let bytes = usize::try_from(raw.len).ok().and_then(|len| raw.bytes.get(..len));
        let bytes = bytes.ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { kind: raw.kind, bytes: bytes.into() })
    }

    /// Opens what has this handle with `O_PATH`, on the file system and in the mount of `on`. Blocks where the
    /// file system does.
    ///
    /// # Errors
    /// Those of `open_by_handle_at`: `ESTALE` if there is no such thing any more, `EPERM` without
    /// `CAP_DAC_READ_SEARCH`.
    pub fn open(&self, on: impl AsFd) -> io::Result<OwnedFd> {
        let mut raw = RawHandle { len: 0, kind: self.kind, bytes: [0; HANDLE_MAX] };
        let room = raw.bytes.get_mut(..self.bytes.len()).ok_or(io::ErrorKind::InvalidInput)?;
        room.copy_from_slice(&self.bytes);
        raw.len = self.bytes.len() as libc::c_uint;
        let flags = libc::O_PATH | libc::O_CLOEXEC;
        let on = on.as_fd().as_raw_fd();
        // SAFETY: `on` is open meanwhile; the handle is a `file_handle` with as many bytes as it says, and
        // outlives the call.
        let fd = unsafe { libc::open_by_handle_at(on, (&raw mut raw).cast(), flags) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has made this descriptor just now, for nobody else.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

impl fmt::Debug for FilesystemWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilesystemWatch")
            .field("fd", &self.group.as_raw_fd())
            .finish_non_exhaustive()
    }
}
