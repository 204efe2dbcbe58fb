//! An open file, directory or pipe. MS-SMB2 3.3.1.10.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use futures_channel::oneshot;
use futures_util::lock::Mutex as AsyncMutex;
use ringway::Identity;
use ringway::fs::Mapping;

use crate::datapath::ReadAhead;
use crate::security::Token;
use crate::transport::Kept;
use crate::vfs::name::Pattern;
use crate::vfs::{DirStream, Handle};
use crate::wire::access_mask::AccessMask;
use crate::wire::create::CreateOptions;
use crate::wire::file_id::FileId;

use super::{DirectoryWatch, Leasing, LockOwner, News, Oplock, PipeOpen, Share, Ticket, lock};

/// What a client holds by a FileId.
#[derive(Debug)]
pub struct Open {
    /// How the client names it.
    pub file_id: FileId,
    /// The tree connect it was opened through.
    pub tree_id: u32,
    /// What it may be used for.
    pub granted_access: AccessMask,
    /// How it was opened.
    pub options: CreateOptions,
    /// What it is.
    pub object: Object,
}

/// What can be opened.
#[derive(Debug)]
pub enum Object {
    /// A file or directory of a share.
    File(Box<FileOpen>),
    /// A named pipe of IPC$.
    Pipe(PipeOpen),
    /// The index of a share's quotas.
    Quotas(Arc<Share>),
}

/// An open file or directory.
#[derive(Debug)]
pub struct FileOpen {
    /// The file.
    pub handle: Arc<Handle>,
    /// Where it lies.
    pub share: Arc<Share>,
    /// As whom it was opened.
    pub identity: Option<Identity>,
    /// As what its user is known to descriptors.
    pub token: Arc<Token>,
    /// Its place among the file's openers, until it is closed.
    pub ticket: Mutex<Option<Ticket>>,
    /// Its part in the file's byte-range locks.
    pub locks: LockOwner,
    /// Its lease of the kernel, if it has got one.
    pub leasing: Leasing,
    /// What is kept of what has been mapped of it.
    pub mappings: Arc<Kept<Mapping>>,
    /// Its oplock, if it has got one.
    pub oplock: Mutex<Option<Oplock>>,
    /// Its watch of the directory, and how many bytes of changes that keeps, from the first CHANGE_NOTIFY
    /// until it is closed.
    pub watch: Mutex<Watching>,
    /// Times that the client has set by this open.
    pub sticky: Mutex<StickyTimes>,
    /// FileModeInformation.
    pub mode: Mode,
    /// Something was written that may not have reached the disk.
    pub dirty: AtomicBool,
    /// FilePositionInformation: kept for the client, used by nobody.
    pub position: AtomicU64,
    /// How it has been read, to read ahead.
    pub read_ahead: Mutex<ReadAhead>,
    /// How many EAs have been told by queries that go on where the one before ended.
    pub next_ea: AtomicUsize,
    /// How far a listing has come.
    pub enumeration: AsyncMutex<Option<Enumeration>>,
}

/// How an open is used: those create options that can be changed later, MS-FSCC 2.4.31.
#[derive(Debug)]
pub struct Mode(AtomicU32);

impl Mode {
    const OPTIONS: CreateOptions = CreateOptions::WRITE_THROUGH
        .union(CreateOptions::SEQUENTIAL_ONLY)
        .union(CreateOptions::NO_INTERMEDIATE_BUFFERING)
        .union(CreateOptions::SYNCHRONOUS_IO_ALERT)
        .union(CreateOptions::SYNCHRONOUS_IO_NONALERT)
        .union(CreateOptions::DELETE_ON_CLOSE);

    /// MS-FSA 2.1.5.15.9: the others are fixed.
    const SETTABLE: CreateOptions = CreateOptions::WRITE_THROUGH
        .union(CreateOptions::SEQUENTIAL_ONLY)
        .union(CreateOptions::SYNCHRONOUS_IO_ALERT)
        .union(CreateOptions::SYNCHRONOUS_IO_NONALERT);

    /// Of a new open.
    #[must_use]
    pub fn new(options: CreateOptions) -> Self {
        Self(AtomicU32::new((options & Self::OPTIONS).bits()))
    }

    /// As it is now.
    #[must_use]
    pub fn get(&self) -> CreateOptions {
        CreateOptions::from_bits_retain(self.0.load(Ordering::Relaxed))
    }

    /// `false` if there is no such mode, or it cannot be set.
    pub fn set(&self, mode: CreateOptions) -> bool {
        let synchronous =
            CreateOptions::SYNCHRONOUS_IO_ALERT | CreateOptions::SYNCHRONOUS_IO_NONALERT;
        let settable = Self::SETTABLE.contains(mode) && !mode.contains(synchronous);
        if settable {
            let fixed = self.get().difference(Self::SETTABLE);
            self.0.store((fixed | mode).bits(), Ordering::Relaxed);
        }
        settable
    }
}

/// Times that what is done by an open leaves as they are, since it has set them. MS-FSA 2.1.1.6,
/// UserSetModificationTime and UserSetChangeTime.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StickyTimes {
    /// The last write.
    pub modified: bool,
    /// The last change.
    pub changed: bool,
}

/// A listing under way: MS-SMB2 3.3.5.18 keeps pattern and place with the open.
#[derive(Debug)]
pub struct Enumeration {
    /// Where the entries come from.
    pub stream: DirStream,
    /// Fixed by the first request.
    pub pattern: Pattern,
    /// An entry that did not fit into the last response.
    pub held_back: Option<crate::vfs::DirEntry>,
    /// Whether anything has been found.
    pub found: bool,
}

/// Whether an open watches its directory.
#[derive(Debug, Default)]
pub enum Watching {
    /// Nobody has asked.
    #[default]
    Never,
    /// With room for so many bytes of changes.
    Since(DirectoryWatch, usize),
    /// The open is being closed.
    Ended,
}

/// One wait for changes in a directory.
#[derive(Debug)]
pub struct Waiting {
    /// To be waited for first, where it is the first wait: then no change is missed any more.
    pub seeing: Option<oneshot::Receiver<()>>,
    /// The changes.
    pub news: oneshot::Receiver<News>,
    /// The room that the watch has for them.
    pub room: usize,
}

impl FileOpen {
    /// The next changes in the directory, which is watched from now on if it was not before.
    pub fn watch(&self, begin: impl FnOnce() -> (DirectoryWatch, usize)) -> Waiting {
        let mut watching = lock(&self.watch);
        if let Watching::Never = *watching {
            let (watch, room) = begin();
            *watching = Watching::Since(watch, room);
        }
        match &*watching {
            Watching::Since(watch, room) => {
                Waiting { seeing: watch.seeing(), news: watch.next(), room: *room }
            }
            // Without a sender, it has ended already.
            Watching::Never | Watching::Ended => {
                Waiting { seeing: None, news: oneshot::channel().1, room: 0 }
            }
        }
    }

    /// The changes after those that its watch has told.
    pub fn next_news(&self) -> oneshot::Receiver<News> {
        match &*lock(&self.watch) {
            Watching::Since(watch, _) => watch.next(),
            // Without a sender, it has ended already.
            Watching::Never | Watching::Ended => oneshot::channel().1,
        }
    }

    /// Watches no longer; who waits for changes hears so.
    pub fn end_watch(&self) {
        let ended = std::mem::replace(&mut *lock(&self.watch), Watching::Ended);
        drop(ended);
    }

    /// Keeps an oplock until the file is closed.
    pub fn keep_oplock(&self, oplock: Oplock) {
        *lock(&self.oplock) = Some(oplock);
    }

    /// Gives the oplock up, if there is one.
    pub fn release_oplock(&self) {
        drop(lock(&self.oplock).take());
    }

    /// Does something with the oplock, if there is one.
    pub fn with_oplock<T>(&self, act: impl FnOnce(&Oplock) -> T) -> Option<T> {
        lock(&self.oplock).as_ref().map(act)
    }

    /// Looks at, or changes, which times are left alone.
    pub fn with_sticky<T>(&self, act: impl FnOnce(&mut StickyTimes) -> T) -> T {
        act(&mut lock(&self.sticky))
    }

    /// The place among the openers, to give it up; `None` if that has been done.
    pub fn take_ticket(&self) -> Option<Ticket> {
        lock(&self.ticket).take()
    }

    /// Does something with the place among the openers; `None` if the file is being closed.
    pub fn with_ticket<T>(&self, act: impl FnOnce(&Ticket) -> T) -> Option<T> {
        lock(&self.ticket).as_ref().map(act)
    }
}

impl Open {
    /// The file or directory, if it is one.
    #[must_use]
    pub fn file(&self) -> Option<&FileOpen> {
        match &self.object {
            Object::File(file) => Some(file),
            Object::Pipe(_) | Object::Quotas(_) => None,
        }
    }

    /// Whether any of `access` was granted.
    #[must_use]
    pub fn may(&self, access: AccessMask) -> bool {
        self.granted_access.intersects(access)
    }
}
