//! Completions out of readiness, and the bounded pool of threads for what can only block.

#![allow(unsafe_code, reason = "takes operations over from `Driver::submit`")]

mod credentials;
mod offload;
pub mod syscall;

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use ringway_driver::{Completion, Credentials, Driver, Op, Token, Waker};

pub use offload::{Full, Job, Pool};

/// Limits of the blocking pool.
#[derive(Clone, Debug)]
pub struct Options {
    /// The most threads at a time; at least 1.
    pub pool_threads_max: usize,
    /// The most jobs that wait for a thread; at least 1.
    pub pool_queue_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { pool_threads_max: 16, pool_queue_max: 1024 }
    }
}

/// The driver that parks in epoll, with a ring's descriptor in the set or without one.
#[derive(Debug)]
pub struct EpollDriver {}

impl EpollDriver {
    /// A driver with nothing in flight.
    ///
    /// # Errors
    /// `InvalidInput` for a zero limit; the kernel's error when it gives no epoll descriptor.
    pub fn new(options: &Options) -> io::Result<Self> {
        let _ = options;
        todo!()
    }

    /// Puts a ring's descriptor into the set: [`Driver::turn`] returns early while it is readable.
    ///
    /// # Errors
    /// Those of `epoll_ctl`.
    pub fn watch_ring(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let _ = fd;
        todo!()
    }

    /// Whether a turn has found the ring readable since this was asked last.
    pub fn take_ring_ready(&mut self) -> bool {
        todo!()
    }

    /// The epoll descriptor: readable whenever `turn` with a zero timeout would make progress.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        todo!()
    }

    /// As [`Driver::submit`], but straight to the pool, whatever the operation.
    ///
    /// # Safety
    /// As for [`Driver::submit`].
    pub unsafe fn submit_blocking(
        &mut self,
        token: Token,
        op: Op,
        credentials: Option<Arc<Credentials>>,
    ) {
        let _ = (token, op, credentials);
        todo!()
    }

    /// Runs closures on the same bounded pool.
    #[must_use]
    pub fn pool(&self) -> Pool {
        todo!()
    }

    /// How many operations wait because the pool's queue is full.
    #[must_use]
    pub fn backlog(&self) -> usize {
        todo!()
    }
}

impl Driver for EpollDriver {
    unsafe fn submit(&mut self, token: Token, op: Op, credentials: Option<Arc<Credentials>>) {
        let _ = (token, op, credentials);
        todo!()
    }

    fn cancel(&mut self, token: Token) {
        let _ = token;
        todo!()
    }

    fn in_flight(&self) -> usize {
        todo!()
    }

    fn turn(&mut self, timeout: Option<Duration>, out: &mut Vec<Completion>) -> io::Result<()> {
        let _ = (timeout, out);
        todo!()
    }

    fn waker(&self) -> Waker {
        todo!()
    }
}
