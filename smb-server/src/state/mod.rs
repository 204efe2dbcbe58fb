//! The objects that outlive a request, named as MS-SMB2 3.3.1 names them, and the only locks.
//!
//! [`Server`] holds the shares and the global tables; a [`Session`] its tree connects and opens; an
//! [`Open`] one file, directory or pipe. All are `Send + Sync` and shared by `Arc`: a connection
//! stays on its core, but its sessions' files may be looked at from any. Locks are short: nobody
//! awaits and no I/O happens under one (the enumeration of a directory, which is one request's at a
//! time anyway, the turns of `times` and look-ups of accounts have locks that may be awaited).

mod account;
mod kernel_leases;
mod locks;
mod open;
mod oplocks;
mod own_changes;
mod pipe;
mod server;
mod session;
mod share;
mod sharing;
mod times;
mod watches;

pub use account::{Account, Accounts, SystemAccounts};
pub use kernel_leases::{KernelLease, KernelLeases, Leased, Leasing};
pub use locks::{ByteRange, LockOwner, Locks, PendingLock, Refusal, Released};
pub use open::{Enumeration, FileOpen, Mode, Object, Open, StickyTimes, Waiting, Watching};
pub use oplocks::{Grantee, NotAcknowledged, Notice, Notices, Oplock, Oplocks};
pub use own_changes::Fate;
pub use pipe::PipeOpen;
pub use server::{NoWay, Server};
pub use session::{Refused, Session, SessionLimits, Target, TreeConnect};
pub use share::{READ_ACCESS, Share};
pub use sharing::{Conflict, Deletion, READS, Sharing, Ticket, WRITES};
pub use times::{Changing, Keeping, Times};
pub use watches::{Change, DirectoryWatch, News, Seen, WatchRequest, Watches};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks; a thread that panicked while it held the lock leaves tables that are still consistent,
/// since every change to them is one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
