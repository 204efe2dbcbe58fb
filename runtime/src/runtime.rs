//! The runtime: its loop, its builder, and how code finds the runtime that it runs in.

#![allow(unsafe_code, reason = "lends a descriptor that a shared part owns")]

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::io;
use std::mem;
use std::os::fd::BorrowedFd;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use ringway_epoll::{Options, sigpipe};
use tracing::{debug, info, warn};

use crate::backend::{self, Backend};
use crate::blocking::PoolQueue;
use crate::buf::Places;
use crate::faults::Faults;
use crate::features::{Features, Mask};
use crate::guest::Guest;
use crate::metrics::Metrics;
use crate::net::Offload;
use crate::net::zerocopy::Book;
use crate::op::Ops;
use crate::policy::Policy;
use crate::task::{Remote, Tasks, Turn, coop};
use crate::time::{FAR, Timers};
use crate::wake;

/// How long a dropped runtime waits for the kernel and the pool to let go of buffers.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// How many polls there are between two looks at timers and drivers, as many as events of sockets that one look
/// takes in beside ready tasks: enough to make a batch of their
/// operations (with 64, 512 busy connections on the ring take some 3 % longer), few enough that a completion
/// does not wait long.
const BATCH: usize = 128;

/// Says how to make a runtime.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    backend: Backend,
    options: Options,
    mask: Mask,
    policy: Policy,
    faults: Faults,
}

impl Builder {
    /// The defaults: [`Backend::Auto`], 16 pool threads at most, 1024 jobs waiting for them at most.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Which backend. With [`Backend::Auto`] the variable `RINGWAY_BACKEND` overrides, then what the
    /// kernel takes decides; the lack of io_uring is no error. Any other is used or is an error.
    #[must_use]
    pub fn backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// The limits of each runtime's pool of blocking threads: how many there are, and how many jobs wait
    /// for one. Neither may be zero.
    #[must_use]
    pub fn blocking_pool(mut self, threads_max: usize, queue_max: usize) -> Self {
        self.options.pool_threads_max = threads_max;
        self.options.pool_queue_max = queue_max;
        self
    }

    /// The processors that threads of the pool may run on, where the runtime's own thread is bound to one.
    pub(crate) fn pool_cpus(mut self, cpus: Vec<usize>) -> Self {
        self.options.pool_cpus = cpus;
        self
    }

    /// What is to be absent, together with what the variable `RINGWAY_MASK` names.
    #[must_use]
    pub fn mask(mut self, mask: Mask) -> Self {
        self.mask = mask;
        self
    }

    /// How operations run where the defaults are not best.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// What is to go wrong, together with what the variable `RINGWAY_FAULTS` says, which comes above. For
    /// tests.
    #[must_use]
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// Makes a runtime, which belongs to the calling thread.
    ///
    /// # Errors
    /// When a backend that was asked for by name cannot run, with the reason; when
    /// `RINGWAY_BACKEND` names none, or `RINGWAY_MASK` or `RINGWAY_FAULTS` nothing known; when a limit is zero; when the
    /// process is out of descriptors.
    pub fn build(&self) -> io::Result<Runtime> {
        self.build_as(false)
    }

    /// Makes a runtime that works inside of a foreign loop on the calling thread. It sleeps in epoll,
    /// with a ring in the set where there is one and [`Backend::Epoll`] was not asked for.
    ///
    /// # Errors
    /// As [`Builder::build`], and `InvalidInput` for [`Backend::Uring`], which sleeps in the ring.
    pub fn build_guest(&self) -> io::Result<Guest> {
        Ok(Guest::new(self.build_as(true)?))
    }

    fn build_as(&self, guest: bool) -> io::Result<Runtime> {
        let (drivers, features) =
            backend::open(self.backend, guest, &self.options, self.mask, &self.policy)?;
        tell(&features);
        let faults = self.faults.clone().and(backend::faults_by_environment()?);
        let injector = faults.injector();
        if injector.is_some() {
            warn!(%faults, "operations will fail on purpose, as a test that was asked for");
        }
        let core = Core {
            tasks: Tasks::new(Remote::new(drivers.waker())),
            timers: Timers::new(),
            ops: Ops::new(drivers, features.ladder.clone(), self.policy.refusals(), injector),
            udp: Offload::new(&features),
            zero_copy: Rc::new(Book::new(&self.policy, &features)),
            pool_queue: Arc::default(),
            places: Arc::default(),
        };
        Ok(Runtime { core: Rc::new(core), features, drain_limit: DRAIN_LIMIT, ended: false })
    }
}

/// Runs futures on the thread that made it, and their operations.
///
/// Dropping it drops its tasks, cancels what they had in flight and waits, for at most five seconds,
/// until the kernel has let go of every buffer. What it does not let go of is leaked, with a warning
/// ([events](crate#events)): the kernel may still write to it.
pub struct Runtime {
    core: Rc<Core>,
    features: Features,
    drain_limit: Duration,
    ended: bool,
}

/// What became of a runtime's work when it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ShutdownReport {
    /// Tasks that were dropped before their end.
    pub cancelled: usize,
    /// Operations that were in flight and have ended, `MSG_ZEROCOPY` sends among them, which end with
    /// their notification.
    pub drained: usize,
    /// Those that did not end in time; what they own is leaked.
    pub leaked: usize,
}

impl ShutdownReport {
    fn tell(&self) {
        let Self { cancelled, drained, leaked } = self;
        if *leaked > 0 {
            warn!(cancelled, drained, leaked, "operations did not end; what they own is leaked");
        } else {
            debug!(cancelled, drained, leaked, "a runtime has ended");
        }
    }
}

impl Runtime {
    /// Runs `future` to its end, and the tasks that were spawned beside it. Tasks that are not over
    /// then stay, and go on in the next call.
    ///
    /// # Panics
    /// When called inside of a runtime, and when `future` panics. When somebody else's waker, which was
    /// given to a future of this runtime, panics as it is woken: nothing is lost by that, and the next
    /// call goes on.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        within(&self.core, || self.core.run(future))
    }

    /// How this runtime runs, and why.
    #[must_use]
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// What it has done so far, and what it is at.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.core.metrics()
    }

    /// As dropping it, with another limit in place of five seconds, and tells what became of its work.
    pub fn shutdown(mut self, grace: Duration) -> ShutdownReport {
        self.drain_limit = grace;
        self.end()
    }

    pub(crate) fn core(&self) -> &Rc<Core> {
        &self.core
    }

    /// The descriptor of the epoll set that the runtime sleeps in.
    pub(crate) fn epoll_fd(&self) -> BorrowedFd<'_> {
        let fd = self.core.ops.epoll_fd();
        // SAFETY: the set lives as long as the core, which `self` keeps.
        unsafe { BorrowedFd::borrow_raw(fd) }
    }

    /// Once: what has leaked then is not waited for again.
    fn end(&mut self) -> ShutdownReport {
        if mem::replace(&mut self.ended, true) {
            return ShutdownReport::default();
        }
        let entered = enter_quietly(&self.core);
        let report = self.core.tasks.enter(|| self.core.end(self.drain_limit));
        if report.leaked > 0 {
            // Table, drivers and ring stay for ever, and with them all that the kernel may write to.
            mem::forget(self.core.clone());
        }
        // Whoever listens finds the runtime around this one, if there is one.
        drop(entered);
        report.tell();
        if let Some(faults) = self.core.ops.faults() {
            info!(%faults, "operations have failed on purpose");
        }
        report
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("features", &self.features).finish_non_exhaustive()
    }
}

/// Tells how a new runtime runs. That there is no ring where one was wanted is worth an operator's while.
fn tell(features: &Features) {
    let Features { backend, chosen_by, .. } = features;
    let reasons = features.reasons.join("; ");
    match reasons.is_empty() {
        true => debug!(%backend, chosen_by, "a runtime was made"),
        false => info!(%backend, chosen_by, reasons, "a runtime was made, and not as wanted"),
    }
    for (feature, reason) in features.missing() {
        debug!(%backend, ?feature, reason, "a feature is missing");
    }
}

/// The parts of a runtime. Futures in flight hold it, so it may outlive the [`Runtime`].
pub(crate) struct Core {
    pub(crate) tasks: Tasks,
    pub(crate) timers: Timers,
    pub(crate) ops: Ops,
    /// What the kernel does for UDP sockets.
    pub(crate) udp: Offload,
    pub(crate) zero_copy: Rc<Book>,
    pub(crate) pool_queue: Arc<PoolQueue>,
    /// Names the ring's table of registered buffers.
    pub(crate) places: Arc<Places>,
}

impl Core {
    /// The loop.
    fn run<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        let waker = self.tasks.main_waker();
        self.tasks.wake_main();
        self.timers.forget_now();
        loop {
            if let Poll::Ready(output) = self.run_batch(future.as_mut(), &waker) {
                return output;
            }
            self.turn();
            self.timers.fire();
        }
    }

    /// Polls what is ready until nothing is or the batch is full: the drivers get their turn in time,
    /// and the operations of a batch go to the kernel together.
    pub(crate) fn run_batch<F: Future>(
        &self,
        mut future: Pin<&mut F>,
        waker: &Waker,
    ) -> Poll<F::Output> {
        self.tasks.collect();
        for _ in 0..BATCH {
            coop::refill();
            match self.tasks.next() {
                None => break,
                Some(Turn::Task(task)) => self.tasks.run(task),
                Some(Turn::Main) => {
                    if let Poll::Ready(output) =
                        future.as_mut().poll(&mut Context::from_waker(waker))
                    {
                        return Poll::Ready(output);
                    }
                }
            }
        }
        Poll::Pending
    }

    /// Lets the drivers work; sleeps if there is nothing to run.
    fn turn(&self) {
        let sleeps = !self.tasks.has_work() && self.tasks.remote().fall_asleep();
        let timeout = if sleeps { self.timers.until_next() } else { Some(Duration::ZERO) };
        let turned = self.turn_within(timeout);
        if sleeps {
            self.tasks.remote().wake_up();
        }
        if let Err(error) = turned {
            panic!("the runtime's driver broke: {error}");
        }
    }

    /// One turn of the drivers, sleeping up to `timeout`; tells how many completions there were.
    pub(crate) fn turn_within(&self, timeout: Option<Duration>) -> io::Result<usize> {
        let turned = self.ops.turn(self.tasks.has_work(), timeout);
        self.timers.forget_now();
        // First, for a waker may panic: then the delivery goes on in the next turn, this would not.
        if self.ops.has_news() {
            self.pool_queue.wake();
        }
        let delivered = self.ops.deliver();
        turned.map(|()| delivered)
    }

    /// Drops tasks, cancels operations, and waits for those up to `limit`.
    fn end(&self, limit: Duration) -> ShutdownReport {
        let cancelled = self.tasks.drop_all();
        self.ops.cancel_all();
        let owed = self.owed();
        // Whether anything is owed or not: the book holds sockets until it has been looked at.
        wake::quietly(|| self.zero_copy.look());
        // The clock cannot count to the end of every `Duration`.
        let deadline = Instant::now() + limit.min(FAR);
        while self.owed() > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            let nap = self.zero_copy.next_look().map_or(left, |look| look.min(left));
            if left.is_zero() || self.ops.turn(false, Some(nap)).is_err() {
                break;
            }
            // Whoever waits beyond the runtime's end may panic when woken, which stops nothing here.
            wake::quietly(|| self.ops.deliver());
            wake::quietly(|| self.zero_copy.look());
        }
        let leaked = self.owed();
        ShutdownReport { cancelled, drained: owed.saturating_sub(leaked), leaked }
    }

    fn metrics(&self) -> Metrics {
        let mut metrics = self.ops.metrics();
        self.zero_copy.measure(&mut metrics);
        metrics
    }

    /// What the kernel has not let go of.
    fn owed(&self) -> usize {
        self.ops.in_flight() + self.zero_copy.in_error_queues()
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
}

/// The runtime that the calling code runs in.
///
/// # Panics
/// When there is none.
pub(crate) fn current() -> Rc<Core> {
    borrow_current(Rc::clone)
}

/// As [`current`], for the length of a call that neither enters nor leaves a runtime, nor tells an event,
/// whose subscriber might.
pub(crate) fn borrow_current<R>(f: impl FnOnce(&Rc<Core>) -> R) -> R {
    CURRENT.with_borrow(|core| {
        f(core.as_ref().expect(
            "there is no ringway runtime on this thread: call this inside of Runtime::block_on",
        ))
    })
}

/// Whether the calling code runs in a runtime, and that is not `core`.
pub(crate) fn is_other(core: &Rc<Core>) -> bool {
    CURRENT.with_borrow(|current| current.as_ref().is_some_and(|own| !Rc::ptr_eq(own, core)))
}

/// Calls `f` with the runtime that the calling code runs in, if there is one.
pub(crate) fn with_current(f: impl FnOnce(&Rc<Core>)) {
    let core = CURRENT.try_with(|current| current.borrow().clone());
    if let Ok(Some(core)) = core {
        f(&core);
    }
}

/// Calls `f`, during which `core` is the thread's runtime.
///
/// # Panics
/// Inside of a runtime.
pub(crate) fn within<R>(core: &Rc<Core>, f: impl FnOnce() -> R) -> R {
    let _entered = enter(core);
    core.tasks.enter(f)
}

/// What the runtime that the calling code runs in has done so far, and what it is at.
///
/// # Panics
/// Outside of a runtime.
#[must_use]
pub fn metrics() -> Metrics {
    current().metrics()
}

/// The time during which a runtime is the thread's current one.
struct Entered {
    before: Option<Rc<Core>>,
}

fn enter(core: &Rc<Core>) -> Entered {
    let entered = enter_quietly(core);
    assert!(entered.before.is_none(), "Runtime::block_on was called inside of a ringway runtime");
    entered
}

/// Without refusing to nest: for the end of a runtime, which may come inside of another.
fn enter_quietly(core: &Rc<Core>) -> Entered {
    // What this thread has found out before may be long ago.
    sigpipe::begin_turn();
    Entered { before: CURRENT.replace(Some(core.clone())) }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let left = CURRENT.replace(self.before.take());
        drop(left);
    }
}
