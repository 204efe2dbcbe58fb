//! Files and directories.
//!
//! [`File`] and [`Dir`] are handles that may be cloned and sent between threads; an operation runs on
//! the runtime of the thread that polls it. Paths are always relative to a [`Dir`].
//!
//! A handle may carry an [`Identity`](crate::Identity): the kernel's permission checks for what goes
//! through it are then made for that identity, without changing who the process is. Reading, listing
//! and syncing an open file, and asking what it is, are nobody's: what they need was checked when it
//! was opened. On a ring an identity costs next to nothing (Linux 5.6); elsewhere each operation that has
//! one, a write among them, takes some 20 µs more.
//!
//! # Dropping a call
//!
//! A call that only looks (reading at an offset, listing, `statx`) may be dropped and made again; its
//! buffer is lost. A call that changes something may change it yet, and nobody learns whether it did.
//! A [`CancelToken`](crate::cancel::CancelToken) ends a call and tells.
//!
//! # What the kernel must have
//!
//! Linux 5.6, for `openat2`. [`File::access`] needs 5.8.

mod advice;
mod apart;
mod bus_error;
mod clone;
mod dir;
mod dir_entries;
mod fanotify_events;
mod file;
mod filesystem_watch;
mod lease;
mod leased;
mod mapping;
mod open_how;
mod opened;
mod resident;
mod splice;
mod vectored;
mod watch;
mod xattr;
mod xattr_at;

pub use advice::SyncRange;
pub use dir::Dir;
pub use dir_entries::{DirEntries, DirEntry, dir_entries};
pub use fanotify_events::{FileHandle, FilesystemChange, FilesystemEvent, NamedPlace};
pub use file::{File, SetTime};
pub use filesystem_watch::FilesystemWatch;
pub use lease::{LeaseBreaks, ReadLease};
pub use leased::LeasedMapping;
pub use mapping::Mapping;
pub use open_how::OpenHow;
pub use rustix::fs::{
    Access, Advice, AtFlags, FallocateFlags, FileType, Mode, OFlags, RenameFlags, ResolveFlags,
    StatFs, Statx, StatxAttributes, StatxFlags, StatxTimestamp, Timespec,
};
pub(crate) use splice::Cached;
pub use watch::{ChangeFlags, Watch, WatchEvent, WatchFlags, WatchId};
pub use xattr_at::list_xattr_at;
