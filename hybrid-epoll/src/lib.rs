//! Completions out of readiness, and the bounded pool of threads for what can only block.
//!
//! [`EpollDriver`] keeps the contract of [`ringway_driver::Driver`] without a ring, or beside one:
//!
//! 1. **now**: an operation is tried when it is submitted, in a form that does not block
//!    ([`syscall::try_now`]);
//! 2. **ready**: if it would have blocked on a socket, pipe or other stream, it waits in epoll, in
//!    the order of arrival, and is tried again (`readiness`);
//! 3. **pool**: everything else goes to a thread that may block (`offload`, [`syscall::run`]).
//!
//! Whichever it was, its completion is delivered by the next [`Driver::turn`], never by `submit`.
//! The crate knows no ring: it can watch one's descriptor ([`EpollDriver::watch_ring`]), and its own
//! can be watched ([`EpollDriver::as_fd`]). It has no timers and no tasks.
//!
//! `Write` to a pipe without readers raises `SIGPIPE`, which Rust's runtime ignores from the start; a
//! program with a `main` of its own has to. Sends to sockets never raise it.

#![allow(unsafe_code, reason = "takes operations over from `Driver::submit`")]

mod cached;
mod credentials;
mod descriptor;
mod offload;
mod readiness;
mod request;
pub mod syscall;

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use polling::Poller;
use ringway_driver::{Completion, Credentials, Driver, Op, Token, Wake, Waker};

use readiness::Readiness;
use request::{Request, take};

pub use offload::{Full, Job, Pool};

/// How soon to try again when the system has no thread to give and none is there to wait for.
const THREAD_RETRY: Duration = Duration::from_millis(50);

/// Limits of the blocking pool.
#[derive(Clone, Debug)]
pub struct Options {
    /// The most threads at a time; at least 1.
    pub pool_threads_max: usize,
    /// The most jobs that wait for a thread; at least 1. Operations beyond it wait in the driver,
    /// closures come back to their owner.
    pub pool_queue_max: usize,
}

impl Default for Options {
    /// 16 threads: each driver has a pool, there is a driver per core, and a disk's queue is full with
    /// fewer. 1024 jobs: more than a burst of one core's connections, less than 100 KiB.
    fn default() -> Self {
        Self { pool_threads_max: 16, pool_queue_max: 1024 }
    }
}

/// The driver that parks in epoll, with a ring's descriptor in the set or without one.
///
/// Dropping it cancels what waits, and waits itself (on the thread that drops it) for the operations
/// that pool threads are at: after that, nothing uses memory that operations pointed at.
pub struct EpollDriver {
    readiness: Readiness,
    pool: Pool,
    /// What the pool's queue had no room for, oldest first.
    backlog: VecDeque<Request>,
    /// Completions that the next turn delivers.
    ready: Vec<Completion>,
    in_flight: usize,
    /// Somebody sleeps on the epoll descriptor instead of in `turn`.
    watched: Cell<bool>,
}

impl EpollDriver {
    /// A driver with nothing in flight.
    ///
    /// # Errors
    /// `InvalidInput` for a limit of zero; the system's error when it has no descriptors to give.
    pub fn new(options: &Options) -> io::Result<Self> {
        if options.pool_threads_max == 0 || options.pool_queue_max == 0 {
            let reason = "the blocking pool needs at least one thread and one place to queue";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        let readiness = Readiness::new()?;
        let pool = Pool::new(options, readiness.poller());
        Ok(Self {
            readiness,
            pool,
            backlog: VecDeque::new(),
            ready: Vec::new(),
            in_flight: 0,
            watched: Cell::new(false),
        })
    }

    /// Puts a ring's descriptor into the set: [`Driver::turn`] returns early while it is readable.
    ///
    /// # Errors
    /// Those of `epoll_ctl`, `AlreadyExists` for a second time among them.
    pub fn watch_ring(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.readiness.watch_ring(fd)
    }

    /// Whether a turn has found the ring readable since this was asked last.
    pub fn take_ring_ready(&mut self) -> bool {
        self.readiness.take_ring_ready()
    }

    /// The epoll descriptor, for a ring or a foreign loop to watch: readable whenever a turn with a
    /// zero timeout would make progress, and sometimes when it would not.
    ///
    /// From the first call on, operations that end inside `submit` make it readable too, at the
    /// price of a system call per turn.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.watched.set(true);
        self.tell_watcher();
        self.readiness.poller().as_fd()
    }

    /// As [`Driver::submit`], but straight to the pool, whatever the operation.
    ///
    /// One that waits for a peer holds its thread, and a drop of the driver, for as long. A socket or
    /// pipe with `O_NONBLOCK` answers `-EAGAIN` instead of waiting ([`syscall::run`]).
    ///
    /// # Safety
    /// As for [`Driver::submit`].
    pub unsafe fn submit_blocking(
        &mut self,
        token: Token,
        op: Op,
        credentials: Option<Arc<Credentials>>,
    ) {
        self.in_flight += 1;
        // SAFETY: the caller's promise, kept until the completion.
        self.offload(unsafe { Request::new(token, op, credentials) });
    }

    /// A handle that runs closures on the same bounded pool.
    #[must_use]
    pub fn pool(&self) -> Pool {
        self.pool.clone()
    }

    /// How many operations wait because the pool's queue is full.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.backlog.len()
    }

    /// Behind those that wait for the same descriptor already, or at once if there are none.
    fn start(&mut self, mut request: Request) {
        let place = request.waits_for();
        let queues = place.is_some_and(|(fd, side)| self.readiness.has_queue(fd, side));
        if !queues && let Some(result) = request.attempt() {
            return self.finish(Completion::last(request.token, result));
        }
        let Some((fd, side)) = place else { return self.offload(request) };
        match self.readiness.park(request, fd, side) {
            Ok(()) => {}
            // epoll knows no files: they are "ready" and block all the same.
            Err((request, error)) if error.raw_os_error() == Some(libc::EPERM) => {
                self.offload(request);
            }
            Err((request, error)) => {
                self.finish(request.fail(error.raw_os_error().unwrap_or(libc::EIO)));
            }
        }
    }

    fn offload(&mut self, request: Request) {
        self.backlog.push_back(request);
        self.pool.feed(&mut self.backlog);
    }

    fn finish(&mut self, completion: Completion) {
        self.ready.push(completion);
        self.tell_watcher();
    }

    fn tell_watcher(&self) {
        if self.watched.get() && !self.ready.is_empty() {
            // Writing to an event descriptor that is open and not full does not fail.
            let _ = self.readiness.poller().notify();
        }
    }

    /// How long a turn may sleep.
    fn patience(&self, timeout: Option<Duration>) -> Option<Duration> {
        if !self.ready.is_empty() {
            Some(Duration::ZERO)
        } else if !self.backlog.is_empty() && self.pool.has_no_threads() {
            Some(timeout.map_or(THREAD_RETRY, |timeout| timeout.min(THREAD_RETRY)))
        } else {
            timeout
        }
    }
}

impl Driver for EpollDriver {
    unsafe fn submit(&mut self, token: Token, op: Op, credentials: Option<Arc<Credentials>>) {
        self.in_flight += 1;
        // SAFETY: the caller's promise, kept until the completion.
        self.start(unsafe { Request::new(token, op, credentials) });
    }

    fn cancel(&mut self, token: Token) {
        let request = self
            .readiness
            .take(token)
            .or_else(|| take(&mut self.backlog, token))
            .or_else(|| self.pool.take_back(token));
        if let Some(request) = request {
            self.finish(request.fail(libc::ECANCELED));
        }
    }

    fn in_flight(&self) -> usize {
        self.in_flight
    }

    fn turn(&mut self, timeout: Option<Duration>, out: &mut Vec<Completion>) -> io::Result<()> {
        self.pool.feed(&mut self.backlog);
        self.readiness.wait(self.patience(timeout), &mut self.ready)?;
        self.pool.collect(&mut self.ready);
        self.pool.feed(&mut self.backlog);
        self.in_flight -= self.ready.len();
        out.append(&mut self.ready);
        Ok(())
    }

    fn waker(&self) -> Waker {
        Arc::new(PollerWaker(Arc::clone(self.readiness.poller())))
    }
}

impl Drop for EpollDriver {
    fn drop(&mut self) {
        self.pool.abandon_requests();
    }
}

/// Wakes by the poller's own notification, which writes nothing while one is pending.
struct PollerWaker(Arc<Poller>);

impl Wake for PollerWaker {
    fn wake(&self) {
        // Writing to an event descriptor that is open and not full does not fail.
        let _ = self.0.notify();
    }
}
