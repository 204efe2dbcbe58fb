//! Watching directories and files for changes, by inotify.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use libc::POLLIN;
use rustix::fs::inotify;
use rustix::io::Errno;

use crate::descriptor::Descriptor;

pub use inotify::{ReadFlags as ChangeFlags, WatchFlags};

/// How many bytes of events one read takes: some 50 with names of the longest kind, 1000 with short
/// ones. What stays behind comes with the next read; the kernel keeps up to
/// `/proc/sys/fs/inotify/max_queued_events` (16,384) of them.
const READ_MAX: usize = 16 << 10;

/// A number of files and directories that are being watched, and what happens to them.
///
/// Nothing is seen below the directories in a watched directory: each needs a watch of its own. Changes
/// by other hosts of a network file system are not seen at all.
pub struct Watch {
    inotify: Descriptor,
    /// Polled until the kernel has events; made anew each time.
    readable: Option<Pin<Box<dyn Future<Output = io::Result<i16>>>>>,
}

/// One thing that is being watched by a [`Watch`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct WatchId(i32);

/// What a [`Watch`] has to tell.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WatchEvent {
    /// Something happened to what is being watched, or to a name in it.
    Change {
        /// Where.
        id: WatchId,
        /// What: of what was asked for, or `UNMOUNT`; with `ISDIR` if `name` is a directory's.
        what: ChangeFlags,
        /// Not 0 if it is half of a renaming: the other half has the same.
        cookie: u32,
        /// In a watched directory, whose name it happened to.
        name: Option<OsString>,
    },
    /// This is not watched any more: it was removed, by [`Watch::remove`] or from the file system, or
    /// the file system was unmounted.
    Ended(WatchId),
    /// The kernel had to drop events, of any watch: look for yourself.
    Overflow,
}

impl Watch {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// Those of `inotify_init1`: `EMFILE` beyond `/proc/sys/fs/inotify/max_user_instances` (128).
    pub fn new() -> io::Result<Self> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        Ok(Self { inotify: Descriptor::new(inotify::init(flags)?), readable: None })
    }

    /// Watches an open file or directory; one that was opened with `PATH` will do. The watch is of the
    /// file, whatever its name becomes; the descriptor is not needed any more.
    ///
    /// Asking again for what is being watched gives the same id, and `what` replaces what was asked
    /// for before unless it has `MASK_ADD`.
    ///
    /// # Errors
    /// Those of `inotify_add_watch`: `EACCES` if the process may not read it, `ENOSPC` beyond
    /// `/proc/sys/fs/inotify/max_user_watches`; `NotFound` where `/proc` is not mounted.
    pub fn add(&self, file: impl AsFd, what: WatchFlags) -> io::Result<WatchId> {
        // The system call takes paths only; this one leads to the open file itself.
        let path = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
        let what = what.difference(WatchFlags::DONT_FOLLOW);
        Ok(WatchId(inotify::add_watch(&self.inotify, path, what)?))
    }

    /// Ends a watch. Events from before, and [`WatchEvent::Ended`], may still come.
    ///
    /// # Errors
    /// `InvalidInput` if it has ended already.
    pub fn remove(&self, id: WatchId) -> io::Result<()> {
        Ok(inotify::remove_watch(&self.inotify, id.0)?)
    }

    /// Waits for events; gives those that there are, in order and at least one. Cancel safe: a dropped
    /// call has taken none.
    ///
    /// # Errors
    /// Those of `poll` and `read`.
    pub async fn next(&mut self) -> io::Result<Vec<WatchEvent>> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// The events that there are, maybe none; not all of them, if they are many.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn take_ready(&self) -> io::Result<Vec<WatchEvent>> {
        match self.read() {
            Err(Errno::AGAIN) => Ok(Vec::new()),
            events => Ok(events?),
        }
    }

    /// Waiting takes nothing, and what is taken is given out at once.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Vec<WatchEvent>>> {
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
            let inotify = self.inotify.clone();
            self.readable = Some(Box::pin(async move { inotify.poll(POLLIN).await }));
        }
    }

    fn read(&self) -> Result<Vec<WatchEvent>, Errno> {
        let mut buf = Vec::with_capacity(READ_MAX);
        let mut reader = inotify::Reader::new(&self.inotify, buf.spare_capacity_mut());
        let mut events = vec![event(&reader.next()?)];
        while !reader.is_buffer_empty() {
            events.push(event(&reader.next()?));
        }
        Ok(events)
    }
}

fn event(event: &inotify::Event<'_>) -> WatchEvent {
    let (id, what) = (WatchId(event.wd()), event.events());
    if what.contains(ChangeFlags::QUEUE_OVERFLOW) {
        return WatchEvent::Overflow;
    }
    if what.contains(ChangeFlags::IGNORED) {
        return WatchEvent::Ended(id);
    }
    let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()).to_owned());
    WatchEvent::Change { id, what, cookie: event.cookie(), name }
}

impl Stream for Watch {
    type Item = io::Result<Vec<WatchEvent>>;

    /// Never ends.
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx).map(Some)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("fd", &self.inotify.as_raw_fd()).finish_non_exhaustive()
    }
}
