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
        let would_block = -libc::EAGAIN;
        let result = match self.at_once(op) {
            AtOnce::Never => would_block,
            AtOnce::Run => syscall::with_credentials(credentials, || {
                // SAFETY: the caller's promise.
                unsafe { syscall::run(op) }
            }),
            AtOnce::Try => syscall::with_credentials(credentials, || {
                // SAFETY: the caller's promise.
                unsafe { syscall::try_now(op) }.unwrap_or(would_block)
            }),
        };
        (result != would_block).then_some(result)
    }

    /// What is worth trying before a driver is asked.
    fn at_once(&self, op: &Op) -> AtOnce {
        match op {
            // Only memory is touched.
            Op::Shutdown { .. } | Op::Statfs { .. } => AtOnce::Run,
            // The inode is in memory; a journal may make it wait, rarely and shortly.
            Op::SetTimes { .. } | Op::Chmod { .. } => AtOnce::Run,
            // The value is in the inode, or else in one block beside it.
            Op::GetXattr { .. } => AtOnce::Run,
            // An inode in memory, data in the page cache, a name in the directory cache: 1.1 µs for
            // statx, which the ring sends to a kernel thread (15 µs); 2.2 µs for open and close,
            // against 3.2.
            Op::Statx { .. } | Op::Read { .. } | Op::OpenAt { .. } => AtOnce::Try,
            // The ring tries the same by itself.
            Op::Write { .. } if !self.ring.contains(OpKind::Write) => AtOnce::Try,
            _ => AtOnce::Never,
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
