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
            // Of an open inode only, like statx; a path goes to the pool.
            Op::AccessAt { .. } => AtOnce::Try,
            // The ring tries the same by itself.
            Op::Write { .. } if !self.ring.contains(OpKind::Write) => AtOnce::Try,
            // An append among them: in one piece, so not in the form that may write a part.
            _ => AtOnce::Never,
        }
    }

    /// The driver for `op`.
    ///
    /// A ring checks permissions as the thread that made it, so operations for somebody else stay off
    /// it.
    pub(crate) fn rung(&self, op: &Op, for_somebody: bool) -> Rung {
        if self.ring.contains(op.kind()) && !for_somebody {
            return Rung::Ring;
        }
        match op {
            // A stream, not a file.
            Op::Read { offset: u64::MAX, .. } | Op::Write { offset: u64::MAX, .. } => Rung::Ready,
            _ => without_ring(op.kind()),
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
        | OpKind::Append
        | OpKind::Fsync
        | OpKind::OpenAt
        | OpKind::Statx
        | OpKind::AccessAt
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

#[cfg(test)]
mod tests {
    use std::ptr;

    use super::*;

    const READ: Op = Op::Read { fd: -1, buf: ptr::null_mut(), len: 0, offset: 0 };
    const RECV: Op = Op::Recv { fd: -1, buf: ptr::null_mut(), len: 0, flags: 0 };

    #[test]
    fn without_a_ring_files_go_to_the_pool_and_streams_wait_until_ready() {
        let ladder = Ladder::new(OpSet::default());
        assert_eq!(ladder.rung(&READ, false), Rung::Pool);
        assert_eq!(ladder.rung(&RECV, false), Rung::Ready);
        let stream = Op::Read { fd: -1, buf: ptr::null_mut(), len: 0, offset: u64::MAX };
        assert_eq!(ladder.rung(&stream, false), Rung::Ready);
    }

    #[test]
    fn what_runs_for_somebody_else_stays_off_the_ring() {
        let ladder = Ladder::new(OpKind::ALL.into_iter().collect());
        assert_eq!(ladder.rung(&READ, false), Rung::Ring);
        assert_eq!(ladder.rung(&READ, true), Rung::Pool);
    }

    #[test]
    fn what_the_ring_lacks_goes_elsewhere() {
        let ladder = Ladder::new([OpKind::Recv].into_iter().collect());
        assert_eq!(ladder.rung(&RECV, false), Rung::Ring);
        assert_eq!(ladder.rung(&READ, false), Rung::Pool);
    }
}
