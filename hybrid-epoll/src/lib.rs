//! Completions out of readiness, and the bounded pool of threads for what can only block.
//!
//! [`EpollDriver`] keeps the contract of [`ringway_driver::Driver`] without a ring, or beside one:
//!
//! 1. **now**: an operation is tried when it is submitted, in a form that does not block
//!    ([`syscall::try_now`]), unless its descriptor is known not to be ready;
//! 2. **ready**: if it would have blocked on a socket, pipe or other stream, it waits in epoll, in
//!    the order of arrival, and is tried again (`readiness`);
//! 3. **pool**: everything else goes to a thread that may block (`offload`, [`syscall::run`]).
//!
//! Whichever it was, its completion is delivered by the next [`Driver::turn`], never by `submit`.
//! [`EpollDriver::try_now`] is the first step without a submission. What is known of descriptors is
//! kept between operations for those that are adopted ([`Driver::adopt`]).
//!
//! The crate knows no ring: it can watch one's descriptor ([`EpollDriver::watch_ring`]), and its own
//! can be watched ([`EpollDriver::as_fd`]). It has no timers and no tasks.
//!
//! Nothing here raises `SIGPIPE`, whatever the program has made of it (`sigpipe`).

#![allow(unsafe_code, reason = "takes operations over from `Driver::submit`")]

mod cached;
mod credentials;
mod descriptor;
mod notifier;
mod offload;
mod readiness;
mod request;
mod set;
pub mod sigpipe;
mod slot;
pub mod syscall;
mod waiting;

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringway_driver::{Completion, Driver, Identity, Op, Token, Waker};

use readiness::Readiness;
use request::{Request, Side};

pub use offload::{Job, Pool, Refused, Strain};

/// How soon to try again when the system has no thread to give and none is there to wait for.
pub const THREAD_RETRY: Duration = Duration::from_millis(50);

/// For how long to try again: a burst of processes that the limit on them stops is over by then, and a
/// limit that stays is better told.
pub const THREAD_PATIENCE: Duration = Duration::from_secs(1);

/// How many turns in a row may do without a look at the set because they have something to deliver:
/// enough to make its price small, few enough that others' readiness does not wait long.
const SKIPS_MAX: u32 = 3;

/// How many operations are answered at once between two turns: two for each poll that the runtime makes in
/// between, and about a millisecond of system calls. More go by way of a submission.
const AT_ONCE_MAX: u32 = 256;

/// Limits of the blocking pool.
#[derive(Clone, Debug)]
pub struct Options {
    /// The most threads at a time; at least 1.
    pub pool_threads_max: usize,
    /// The most jobs that wait for a thread; at least 1. Operations beyond it wait in the driver,
    /// closures come back to their owner.
    pub pool_queue_max: usize,
    /// The processors that its threads may run on, by number; if there are none, those of the thread that starts
    /// them.
    pub pool_cpus: Vec<usize>,
}

impl Default for Options {
    /// 16 threads: each driver has a pool, there is a driver per core, and a disk's queue is full with
    /// fewer. 1024 jobs: more than a burst of one core's connections, less than 100 KiB.
    fn default() -> Self {
        Self { pool_threads_max: 16, pool_queue_max: 1024, pool_cpus: Vec::new() }
    }
}

/// What a driver and its pool are at, at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Threads of the pool; never more than [`Options::pool_threads_max`].
    pub threads: usize,
    /// Threads without work.
    pub idle: usize,
    /// Operations and closures that wait for a thread; never more than [`Options::pool_queue_max`].
    pub queued: usize,
    /// Operations and closures that threads are at.
    pub running: usize,
    /// Operations that the pool's queue has no room for.
    pub backlog: usize,
    /// Operations that wait for a descriptor to become ready.
    pub waiting: usize,
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
    /// Since when the backlog has been there for want of any thread.
    starved: Option<Instant>,
    /// Completions that the next turn delivers.
    ready: Vec<Completion>,
    in_flight: usize,
    /// What [`Self::try_now`] has just found not ready.
    tried: Option<(RawFd, Side)>,
    /// Answers of [`Self::try_now`] since the last turn.
    at_once: u32,
    /// Turns since the last that looked at the set.
    skipped: u32,
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
        let pool = Pool::new(options, readiness.notifier());
        Ok(Self {
            readiness,
            pool,
            backlog: VecDeque::new(),
            starved: None,
            ready: Vec::new(),
            in_flight: 0,
            tried: None,
            at_once: 0,
            skipped: 0,
        })
    }

    /// As [`Driver::turn`]. `busy`: whoever takes the turns has other work at hand, beside which sockets
    /// are not to wait long; such a turn takes more of what is ready at once.
    ///
    /// # Errors
    /// As [`Driver::turn`].
    pub fn turn_beside(
        &mut self,
        busy: bool,
        timeout: Option<Duration>,
        out: &mut Vec<Completion>,
    ) -> io::Result<()> {
        (self.tried, self.at_once) = (None, 0);
        sigpipe::begin_turn();
        self.feed();
        if self.may_skip() {
            self.skipped += 1;
        } else {
            self.skipped = 0;
            // Whatever the pool has finished, it has notified of.
            if self.readiness.wait(self.patience(timeout), busy, &mut self.ready)? {
                self.pool.collect(&mut self.ready);
                self.feed();
            }
        }
        self.in_flight -= self.ready.len();
        out.append(&mut self.ready);
        Ok(())
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
    /// zero timeout would make progress, and sometimes when it would not. Whoever watches it for edges
    /// takes turns until [`has_more`](Self::has_more) is false, and only then sleeps.
    ///
    /// From the first call on, operations that end inside `submit` make it readable too, at the
    /// price of a system call per turn.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        let fd = self.readiness.watched();
        self.tell_watcher();
        fd
    }

    /// Whether the last turn took as many events as it takes at a time; if there are more, the next finds
    /// them.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.readiness.has_more()
    }

    /// As [`Driver::submit`], but straight to the pool, whatever the operation.
    ///
    /// While the pool has no thread at all and the system gives none, it waits up to
    /// [`THREAD_PATIENCE`]; then its result is the system's error, `-EAGAIN`. A `Close` closes.
    ///
    /// One that waits for a peer holds its thread, and a drop of the driver, for as long. A socket or
    /// pipe with `O_NONBLOCK` answers `-EAGAIN` instead of waiting ([`syscall::run`]).
    ///
    /// # Safety
    /// As for [`Driver::submit`].
    pub unsafe fn submit_blocking(&mut self, token: Token, op: Op, credentials: Option<Identity>) {
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

    /// What there is to do. Takes the pool's lock for a moment.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let (backlog, waiting) = (self.backlog.len(), self.readiness.waiting());
        Stats { backlog, waiting, ..self.pool.stats() }
    }

    /// What the pool has come up against so far. Costs next to nothing.
    #[must_use]
    pub fn strain(&self) -> Strain {
        self.pool.strain()
    }

    /// Runs `op` now if its descriptor is ready and nobody waits there before it; gives its result.
    ///
    /// `None`: it is to be submitted. Nothing has happened then, and a submission that follows at once
    /// does not try again what was tried here in vain. There is an end to what is answered at once
    /// between two turns, so that a busy descriptor does not keep the others waiting.
    ///
    /// # Safety
    /// As for [`Driver::submit`], for the length of the call.
    #[must_use]
    pub unsafe fn try_now(&mut self, op: &Op, credentials: Option<&Identity>) -> Option<i32> {
        self.tried = None;
        if self.at_once >= AT_ONCE_MAX || request::leaves_a_beginning(op) {
            return None;
        }
        let place = request::waits_for(op).filter(|_| !request::needs_a_thread(op));
        if place.is_some_and(|(fd, side)| !self.readiness.welcomes(fd, side)) {
            return None;
        }
        // SAFETY: the caller's promise.
        let answer = unsafe { request::attempt(op, credentials) };
        self.at_once += u32::from(answer.is_some());
        let Some((fd, side)) = place else { return answer };
        // SAFETY: the caller's promise.
        let short = answer.is_some_and(|result| unsafe { request::is_short(op, result) });
        self.readiness.note(fd, side, answer, short);
        if answer.is_none() {
            self.tried = Some((fd, side));
        }
        answer
    }

    /// Behind those that wait for the same descriptor already, or at once if there are none.
    fn start(&mut self, mut request: Request) {
        let tried = self.tried.take();
        let place = request.waits_for().filter(|_| !request::needs_a_thread(request.op()));
        if let Some(result) = self.first_attempt(&mut request, place, tried) {
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

    /// Unless it is known to be in vain: by `tried`, or by what is known of the descriptor.
    fn first_attempt(
        &mut self,
        request: &mut Request,
        place: Option<(RawFd, Side)>,
        tried: Option<(RawFd, Side)>,
    ) -> Option<i32> {
        let Some((fd, side)) = place else { return request.attempt() };
        // A connection attempt has to be begun, whatever the descriptor is ready for.
        let begins = matches!(request.op(), Op::Connect { .. });
        if !begins && (place == tried || !self.readiness.welcomes(fd, side)) {
            return None;
        }
        let answer = request.attempt();
        let short = answer.is_some_and(|result| request.is_short(result));
        self.readiness.note(fd, side, answer, short);
        answer
    }

    fn offload(&mut self, request: Request) {
        self.backlog.push_back(request);
        self.feed();
    }

    /// Gives the pool what it has room for. What it has had no thread for, for too long, fails.
    fn feed(&mut self) {
        let Err(error) = self.pool.feed(&mut self.backlog) else { return self.starved = None };
        if self.starved.get_or_insert_with(Instant::now).elapsed() < THREAD_PATIENCE {
            return;
        }
        self.starved = None;
        let errno = error.raw_os_error().unwrap_or(libc::EAGAIN);
        for request in mem::take(&mut self.backlog) {
            let completion = match request.op() {
                // Nobody would ever close it, and this waits for a file system at most.
                Op::Close { .. } => request.run(),
                _ => request.fail(errno),
            };
            self.finish(completion);
        }
    }

    fn finish(&mut self, completion: Completion) {
        self.ready.push(completion);
        self.tell_watcher();
    }

    fn tell_watcher(&self) {
        if self.readiness.is_watched() && !self.ready.is_empty() {
            self.readiness.notifier().notify();
        }
    }

    /// Whether a turn has enough to deliver without a look at the set. Not if the last look has left
    /// something there, and never for one who sleeps on the set's descriptor, which only that look makes
    /// quiet again.
    fn may_skip(&self) -> bool {
        !self.ready.is_empty()
            && self.skipped < SKIPS_MAX
            && !self.readiness.has_more()
            && !self.readiness.is_watched()
    }

    /// How long a turn may sleep.
    fn patience(&self, timeout: Option<Duration>) -> Option<Duration> {
        if !self.ready.is_empty() {
            Some(Duration::ZERO)
        } else if self.starved.is_some() {
            Some(timeout.map_or(THREAD_RETRY, |timeout| timeout.min(THREAD_RETRY)))
        } else {
            timeout
        }
    }
}

impl Driver for EpollDriver {
    unsafe fn submit(&mut self, token: Token, op: Op, credentials: Option<Identity>) {
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

    fn adopt(&mut self, fd: RawFd) {
        self.readiness.adopt(fd, &mut self.ready);
        self.tell_watcher();
    }

    fn forget(&mut self, fd: RawFd) {
        self.tried = None;
        self.readiness.forget(fd, &mut self.ready);
        self.tell_watcher();
    }

    fn turn(&mut self, timeout: Option<Duration>, out: &mut Vec<Completion>) -> io::Result<()> {
        self.turn_beside(false, timeout, out)
    }

    fn waker(&self) -> Waker {
        Arc::clone(self.readiness.notifier()) as Waker
    }
}

impl Drop for EpollDriver {
    fn drop(&mut self) {
        self.pool.close();
    }
}

/// Takes the request called `token` out of `queue`.
fn take(queue: &mut VecDeque<Request>, token: Token) -> Option<Request> {
    let at = queue.iter().position(|request| request.token == token)?;
    queue.remove(at)
}
