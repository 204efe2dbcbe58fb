//! Which way an operation runs: one table, with its reasons.
//!
//! First come the operations that are done at once ([`Ladder::try_now`]); the others go to a driver
//! by their [`Rung`]. Times are of one kernel (6.18), as system call against ring.

#![allow(unsafe_code, reason = "runs operations as system calls")]

use ringway_driver::{Credentials, Op, OpKind};
use ringway_epoll::syscall;

use crate::features::OpSet;

/// Where an operation goes that is not done at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rung {
    /// An entry on the ring.
    Ring,
    /// Tried, and tried again when epoll says that the descriptor is ready.
    Ready,
    /// A thread that may block.
    Pool,
}

/// The table, for one runtime.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ladder {
    /// What the ring takes; empty without a ring.
    ring: OpSet,
}

/// What comes before a driver.
enum AtOnce {
    /// Nothing.
    Never,
    /// The form that does not block, which may say that it would.
    Try,
    /// The system call itself.
    Run,
}

impl Ladder {
    pub(crate) fn new(ring: OpSet) -> Self {
        Self { ring }
    }

    /// Runs `op` at once if the table says so and it does not block.
    ///
    /// # Safety
    /// As for [`Driver::submit`](ringway_driver::Driver::submit), for the length of the call.
    pub(crate) unsafe fn try_now(&self, op: &Op, credentials: Option<&Credentials>) -> Option<i32> {
        // SAFETY, both: the caller's promise.
        match at_once(op) {
            AtOnce::Never => None,
            AtOnce::Run => {
                Some(syscall::with_credentials(credentials, || unsafe { syscall::run(op) }))
            }
            AtOnce::Try => {
                let would_block = -libc::EAGAIN;
                let result = syscall::with_credentials(credentials, || {
                    unsafe { syscall::try_now(op) }.unwrap_or(would_block)
                });
                (result != would_block).then_some(result)
            }
        }
    }

    /// The driver for `op`.
    ///
    /// A ring checks permissions as the thread that made it, so operations for somebody else stay off
    /// it.
    pub(crate) fn rung(&self, op: &Op, for_somebody: bool) -> Rung {
        let kind = op.kind();
        match without_ring(kind) {
            _ if self.ring.contains(kind) && !for_somebody => Rung::Ring,
            rung => rung,
        }
    }
}

/// What is worth trying before a driver is asked.
fn at_once(op: &Op) -> AtOnce {
    match op {
        // Only memory is touched. (The ring sends statx to a kernel thread: 15 µs against 1.1.)
        Op::Shutdown { .. } | Op::Statfs { .. } => AtOnce::Run,
        Op::Statx { flags, .. } if flags & libc::AT_EMPTY_PATH != 0 => AtOnce::Run,
        // The inode is in memory; a journal may make it wait, rarely and shortly.
        Op::SetTimes { .. } | Op::Chmod { .. } => AtOnce::Run,
        // A value is in the inode or in one block beside it.
        Op::GetXattr { .. } => AtOnce::Run,
        // Data in the page cache, a name in the directory cache: 0.5 µs and 2.2 µs, against 3.2 for
        // an open on the ring.
        Op::Read { .. } | Op::OpenAt { .. } => AtOnce::Try,
        // Walking a path may read directories from a disk.
        Op::Statx { .. } => AtOnce::Try,
        _ => AtOnce::Never,
    }
}

/// Where operations go when the ring does not take them.
fn without_ring(kind: OpKind) -> Rung {
    match kind {
        OpKind::Nop
        | OpKind::Accept
        | OpKind::Connect
        | OpKind::Recv
        | OpKind::Send
        | OpKind::RecvMsg
        | OpKind::SendMsg
        | OpKind::Poll
        | OpKind::Shutdown => Rung::Ready,
        OpKind::Close
        | OpKind::Read
        | OpKind::Write
        | OpKind::Fsync
        | OpKind::OpenAt
        | OpKind::Statx
        | OpKind::Truncate
        | OpKind::Allocate
        | OpKind::MkdirAt
        | OpKind::UnlinkAt
        | OpKind::RenameAt
        | OpKind::ReadlinkAt
        | OpKind::Getdents
        | OpKind::SetTimes
        | OpKind::Chmod
        | OpKind::GetXattr
        | OpKind::SetXattr
        | OpKind::Statfs => Rung::Pool,
    }
}
