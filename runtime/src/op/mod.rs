//! One operation as a future, and the ownership protocol behind it.
//!
//! Who may touch what, in the order of an operation's life:
//!
//! 1. *Idle.* The future owns the parts: descriptors, buffers, names. Nothing is submitted before the
//!    first poll.
//! 2. *At once.* Where the operation cannot block, the system call runs inside the first poll
//!    (`ladder`), and the parts never leave the future.
//! 3. *In flight.* The parts move to the heap and belong to the op table; the future holds a
//!    [`Token`]. The kernel, or a pool thread, may read and write what they own.
//! 4. *Completed.* The last completion came. The parts wait in the table for the future to take them.
//! 5. *Orphaned.* The future was dropped in flight. A cancel has been sent; the last completion frees
//!    the parts, and if it is a success that won a descriptor, closes that.
//!
//! Where a rung refuses an operation, the next one gets it, parts and all, before the future hears of
//! it; one that was interrupted goes to the same again. An operation with several completions ([`Multi`]) hands each of them out, and its parts after the
//! last.
//!
//! [`Ops`] is where drivers and table meet, and the only place that submits.

#![allow(unsafe_code, reason = "the one caller of the drivers' submit contract")]

mod multi;
mod submit;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::io;
use std::mem;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use ringway_driver::{Completion, Identity, Op, OpKind, Token};
use ringway_epoll::{Job, Refused, syscall};
use tracing::{debug, warn};

use crate::cancel;
use crate::drivers::{Drivers, Strains};
use crate::faults::{Fate, Injector};
use crate::features::OpSet;
use crate::ladder::{self, Ladder, Rung};
use crate::metrics::{FaultMetrics, Metrics, Tally};
use crate::policy::Refusals;
use crate::runtime::Core;
use crate::table::{About, Ended, Held, Next, Table};
use crate::uring::is_hashed;
use crate::uring::provided::{Group, Registration};
use crate::wake;

pub(crate) use multi::{Multi, submit_multi, submit_multi_into};
pub(crate) use submit::{begin, begin_apart, copy_now, poll, result, submit};

/// What the table holds for a token, as the type that went in.
fn concrete<H: Held>(held: Box<dyn Held>) -> Box<H> {
    let held: Box<dyn Any> = held;
    held.downcast().unwrap_or_else(|_| unreachable!("a token names one entry"))
}

/// The table entry of a future that waits.
struct InFlight {
    core: Rc<Core>,
    token: Token,
    over: bool,
    /// Lets a [`cancel::CancelToken`] find the operation.
    _cancellable: Option<cancel::Registration>,
}

impl InFlight {
    fn new(core: Rc<Core>, token: Token) -> Self {
        let cancellable = cancel::register(&core, token);
        Self { core, token, over: false, _cancellable: cancellable }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if !self.over {
            self.core.ops.orphan(self.token);
            self.core.tasks.remote().nudge();
        }
    }
}

/// The drivers and the table of what they have in flight.
pub(crate) struct Ops {
    ladder: Ladder,
    refusals: Refusals,
    faults: Option<Injector>,
    /// Operations with several completions that the kernel does not take after all.
    refused: Cell<OpSet>,
    /// Operations whose first refusal has been told.
    told_refused: Cell<OpSet>,
    told_strains: Cell<Strains>,
    /// When the drivers had their last turn: a clock for what need not be exact.
    now: Cell<Instant>,
    tally: Tally,
    state: RefCell<OpsState>,
}

struct OpsState {
    drivers: Drivers,
    table: Table,
    completions: Vec<Completion>,
}

/// How an operation begins.
pub(crate) enum Begun {
    /// It is done already.
    Done(i32),
    /// It is to be submitted to this rung.
    GoTo(Rung),
}

impl Ops {
    pub(crate) fn new(
        drivers: Drivers,
        ladder: Ladder,
        refusals: Refusals,
        faults: Option<Injector>,
    ) -> Self {
        let state = OpsState { drivers, table: Table::default(), completions: Vec::new() };
        let (now, tally) = (Cell::new(Instant::now()), Tally::default());
        Self {
            ladder,
            refusals,
            faults,
            refused: Cell::default(),
            told_refused: Cell::default(),
            told_strains: Cell::default(),
            now,
            tally,
            state: RefCell::new(state),
        }
    }

    /// Runs `op` now if that is its first rung and cannot block the loop for long.
    ///
    /// # Safety
    /// What `op` names is valid and unaliased during the call.
    #[inline]
    unsafe fn begin(&self, op: &Op, credentials: Option<&Identity>) -> Begun {
        let for_somebody = credentials.is_some();
        let Some(mut rung) = self.ladder.first(op, for_somebody) else {
            return Begun::Done(-libc::EOPNOTSUPP);
        };
        if self.refusals.next()
            && let Some(next) = self.ladder.after(rung, op, for_somebody)
        {
            self.tally.count_refusal(op.kind(), rung);
            rung = next;
        }
        if !matches!(rung, Rung::Ready | Rung::Inline) {
            return Begun::GoTo(rung);
        }
        let disturbed;
        let op = match self.disturbed(op, rung) {
            None => op,
            Some(Ok(op)) => {
                disturbed = op;
                &disturbed
            }
            Some(Err(result)) => return Begun::Done(result),
        };
        if rung == Rung::Ready {
            // SAFETY: the caller's promise; a part of what `op` names is valid, too.
            let done = unsafe { self.state.borrow_mut().drivers.try_ready(op, credentials) };
            let Some(result) = done else { return Begun::GoTo(rung) };
            self.tally.count(op.kind(), rung, result, Duration::ZERO);
            return Begun::Done(result);
        }
        // SAFETY: the caller's promise, unchanged.
        if let Some(result) = unsafe { ladder::run_inline(op, credentials) } {
            self.tally.count(op.kind(), rung, result, Duration::ZERO);
            return Begun::Done(result);
        }
        let next = self.ladder.after(rung, op, for_somebody);
        next.map_or(Begun::Done(-libc::EAGAIN), Begun::GoTo)
    }

    /// How `op`, which is about a file, begins where it is not to take this thread's time.
    fn begin_apart(&self, op: &Op, credentials: Option<&Identity>) -> Begun {
        let for_somebody = credentials.is_some();
        let rung = self.ladder.apart(op, for_somebody);
        match self.driver_after(rung, op, for_somebody).filter(|_| self.refusals.next()) {
            None => Begun::GoTo(rung),
            Some(next) => {
                self.tally.count_refusal(op.kind(), rung);
                Begun::GoTo(next)
            }
        }
    }

    /// The first rung on which the thread does not wait for `op`, whatever that waits for.
    fn first_to_wait(&self, op: &Op, for_somebody: bool) -> Option<Rung> {
        match self.ladder.first(op, for_somebody)? {
            Rung::Inline => self.ladder.after(Rung::Inline, op, for_somebody),
            rung => Some(rung),
        }
    }

    /// Tries `op` now, whatever its first rung; `None` if it would block, or is known to.
    ///
    /// # Safety
    /// What `op` names is valid and unaliased during the call.
    pub(crate) unsafe fn try_now(&self, op: &Op) -> Option<i32> {
        let ready = self.ladder.first(op, false) == Some(Rung::Ready);
        let disturbed;
        let op = match self.disturbed(op, if ready { Rung::Ready } else { Rung::Inline }) {
            None => op,
            Some(Ok(op)) => {
                disturbed = op;
                &disturbed
            }
            Some(Err(result)) => return Some(result),
        };
        let (rung, result) = match ready {
            // SAFETY: the caller's promise, unchanged.
            true => (Rung::Ready, unsafe { self.state.borrow_mut().drivers.try_ready(op, None) }),
            // SAFETY: the caller's promise, unchanged.
            false => (Rung::Inline, unsafe { syscall::try_now(op) }),
        };
        let result = result.filter(|&result| result != -libc::EAGAIN)?;
        self.tally.count(op.kind(), rung, result, Duration::ZERO);
        Some(result)
    }

    /// What becomes of an operation that is about to be done at once on `rung`, or its answer; `None` where nothing
    /// is to go wrong.
    fn disturbed(&self, op: &Op, rung: Rung) -> Option<Result<Op, i32>> {
        let injector = self.faults.as_ref()?;
        let disturbed = injector.at_once(op);
        if let Err(result) = disturbed {
            self.tally.count(op.kind(), rung, result, Duration::ZERO);
        }
        Some(disturbed)
    }

    /// How many of `len` bytes an operation of `kind` is to try to move.
    pub(crate) fn cut(&self, kind: OpKind, len: usize) -> usize {
        self.faults.as_ref().map_or(len, |faults| faults.cut(kind, len))
    }

    /// How often something was made to go wrong; `None` where nothing is to.
    pub(crate) fn faults(&self) -> Option<FaultMetrics> {
        self.faults.as_ref().map(Injector::measure)
    }

    /// Whether sockets are received from when epoll says so.
    pub(crate) fn receives_when_ready(&self) -> bool {
        self.ladder.rungs(OpKind::Recv).first() == Some(Rung::Ready)
    }

    /// The one place where operations go to a driver.
    fn submit(
        &self,
        held: Box<dyn Held>,
        credentials: Option<Identity>,
        waker: Option<&Waker>,
        rung: Rung,
    ) -> Token {
        let mut state = self.state.borrow_mut();
        let (for_somebody, started) = (credentials.is_some(), self.now.get());
        let (token, op) = state.table.insert(held, waker.cloned(), |op| {
            let may_climb = self.driver_after(rung, op, for_somebody).is_some();
            let hashed = is_hashed(op);
            About { kind: op.kind(), rung, for_somebody, started, may_climb, hashed }
        });
        // SAFETY: `op` names what the table entry owns (`submit`'s contract with its caller). The
        // entry stays at its address, untouched, until `turn` has seen the completion with
        // `more == false` (`Table::complete`); if that never comes it is leaked. Tokens differ while
        // their entries live.
        unsafe { self.pass_on(&mut state, token, op, credentials, rung, false) };
        token
    }

    /// Gives an operation to its driver, unless something is to go wrong.
    ///
    /// # Safety
    /// As for [`Drivers::submit`].
    unsafe fn pass_on(
        &self,
        state: &mut OpsState,
        token: Token,
        op: Op,
        credentials: Option<Identity>,
        rung: Rung,
        interrupted: bool,
    ) {
        let fate = self.faults.as_ref().map(|faults| faults.submitted(op, interrupted));
        let (op, cancelled) = match fate {
            None => (op, false),
            Some(Fate::Runs(op)) => (op, false),
            Some(Fate::IsCancelled(op)) => (op, true),
            Some(Fate::Fails(result)) => {
                return state.completions.push(Completion::last(token, result));
            }
        };
        // SAFETY: the caller's promise; a part of what `op` names is valid, too.
        unsafe { state.drivers.submit(token, op, credentials, rung) };
        if cancelled && let Some(about) = state.table.cancel(token) {
            state.drivers.cancel(token, about);
        }
    }

    /// Gives an operation that was interrupted to the same driver again.
    fn repeat(&self, token: Token, op: Op) {
        let mut state = self.state.borrow_mut();
        let credentials = state.table.credentials(token);
        let Some(rung) = state.table.about(token).map(|about| about.rung) else { return };
        // SAFETY: as in `submit`: the entry is the same, and the driver is done with it.
        unsafe { self.pass_on(&mut state, token, op, credentials, rung, true) };
    }

    /// Gives an operation that was refused with `result` to the next driver in line.
    fn submit_again(&self, token: Token, op: Op, result: i32) {
        let mut state = self.state.borrow_mut();
        let table = &mut state.table;
        let credentials = table.credentials(token);
        let Some(about) = table.about(token) else { return };
        let (kind, refused_by) = (about.kind, about.rung);
        self.tally.count_refusal(kind, refused_by);
        let next = self.driver_after(about.rung, &op, about.for_somebody);
        // There is one, or the operation would not have been refused; the pool takes everything.
        about.rung = next.unwrap_or(Rung::Pool);
        about.may_climb = self.driver_after(about.rung, &op, about.for_somebody).is_some();
        let rung = about.rung;
        // SAFETY: as in `submit`: the entry is the same, and the driver that refused is done with it.
        unsafe { self.pass_on(&mut state, token, op, credentials, rung, false) };
        drop(state);
        self.tell_refusal(kind, refused_by, Some(-result));
    }

    /// Once for each kind: a kernel that does not take it will not take it a million times.
    fn tell_refusal(&self, kind: OpKind, rung: Rung, errno: Option<i32>) {
        let told = self.told_refused.get();
        if !told.contains(kind) {
            self.told_refused.set(told.with(kind));
            debug!(op = ?kind, %rung, errno, "an operation was refused, and goes another way");
        }
    }

    /// Tells of what is new in `seen`.
    #[cold]
    fn tell_strains(&self, seen: Strains) {
        let Strains { pool: told, overflow } = self.told_strains.replace(seen);
        if seen.overflow && !overflow {
            warn!("the ring had more completions than its queue holds; they come late");
        }
        if seen.pool.all_threads && !told.all_threads {
            warn!("all threads that the blocking pool may have are at work; more work waits");
        }
        if seen.pool.full_queue && !told.full_queue {
            warn!("the queue of the blocking pool is full; who has more work waits");
        }
        if let Some(errno) = seen.pool.no_thread
            && told.no_thread != seen.pool.no_thread
        {
            warn!(errno, "the system gives the blocking pool no further thread");
        }
    }

    /// The rung to go to when the ring refuses. What others answer counts.
    fn driver_after(&self, rung: Rung, op: &Op, for_somebody: bool) -> Option<Rung> {
        if !matches!(rung, Rung::Ring | Rung::Worker) {
            return None;
        }
        let next = |&rung: &Rung| self.ladder.after(rung, op, for_somebody);
        std::iter::successors(next(&rung), next).find(|&rung| rung != Rung::Inline)
    }

    fn poll(&self, token: Token, waker: &Waker) -> Poll<(Box<dyn Held>, i32)> {
        let mut state = self.state.borrow_mut();
        match state.table.take(token) {
            Some(done) => Poll::Ready(done),
            None => {
                let old = state.table.set_waker(token, waker);
                drop(state);
                // A waker's drop may run a task's destructor, which may come back here.
                drop(old);
                Poll::Pending
            }
        }
    }

    fn next(&self, token: Token, waker: &Waker) -> Next {
        let mut state = self.state.borrow_mut();
        let next = state.table.next(token);
        if matches!(next, Next::Pending) {
            let old = state.table.set_waker(token, waker);
            drop(state);
            drop(old);
        }
        next
    }

    fn take_parts(&self, token: Token) -> Option<Box<dyn Held>> {
        self.state.borrow_mut().table.take_parts(token)
    }

    fn orphan(&self, token: Token) {
        let mut state = self.state.borrow_mut();
        let OpsState { drivers, table, .. } = &mut *state;
        let ended = table.orphan(token, |about| drivers.cancel(token, about));
        drop(state);
        ended.run();
    }

    /// As [`Ops::orphan`], of an operation that is to end by itself.
    fn release(&self, token: Token) {
        let ended = self.state.borrow_mut().table.orphan(token, |_| ());
        ended.run();
    }

    /// Whether the last completion of an operation with several has come.
    fn is_over(&self, token: Token) -> bool {
        self.state.borrow().table.is_over(token)
    }

    /// Whether a ladder above this one is to pass its first rung over; see
    /// [`Policy::refuse_first_rung`](crate::Policy::refuse_first_rung).
    pub(crate) fn refuses(&self) -> bool {
        self.refusals.next()
    }

    /// Registers memory with the ring; the number by which the ring knows it.
    ///
    /// # Safety
    /// The memory is valid now, and no operation names the place when it is not any more.
    ///
    /// # Errors
    /// `Unsupported` without such a ring; those of `io_uring_register`.
    pub(crate) unsafe fn register_fixed(&self, at: *mut u8, len: usize) -> io::Result<u16> {
        // SAFETY: the caller's promise, unchanged.
        unsafe { self.state.borrow_mut().drivers.register_fixed(at, len) }
    }

    pub(crate) fn unregister_fixed(&self, place: u16) {
        self.state.borrow_mut().drivers.unregister_fixed(place);
    }

    /// Asks for an early end of one operation, whose future learns what came of it.
    pub(crate) fn cancel(&self, token: Token) {
        let OpsState { drivers, table, .. } = &mut *self.state.borrow_mut();
        if let Some(about) = table.cancel(token) {
            drivers.cancel(token, about);
        }
    }

    /// One turn of the drivers: sends, and sleeps up to `timeout`. `busy`: there is other work to go on
    /// with. [`Ops::deliver`] is to follow.
    pub(crate) fn turn(&self, busy: bool, timeout: Option<Duration>) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        let OpsState { drivers, completions, table } = &mut *state;
        // Some are left of a delivery that somebody's panic has ended.
        let left = !completions.is_empty() || table.has_to_wake();
        let timeout = if left { Some(Duration::ZERO) } else { timeout };
        let turned = drivers.turn(busy, timeout, completions);
        self.now.set(Instant::now());
        let strains = drivers.strains();
        drop(state);
        if strains != self.told_strains.get() {
            self.tell_strains(strains);
        }
        turned
    }

    /// Whether the last turn may have left something to be found by another.
    pub(crate) fn has_more(&self) -> bool {
        self.state.borrow().drivers.has_more()
    }

    /// Whether [`Ops::deliver`] has anything to do.
    pub(crate) fn has_news(&self) -> bool {
        !self.state.borrow().completions.is_empty()
    }

    /// Delivers what the turn brought; tells how much. If a waker or a buffer's destructor panics, the
    /// rest is for the next call.
    pub(crate) fn deliver(&self) -> usize {
        let completions = mem::take(&mut self.state.borrow_mut().completions);
        let count = completions.len();
        let mut delivery = Delivery { ops: self, completions, next: 0 };
        while let Some(&completion) = delivery.completions.get(delivery.next) {
            delivery.next += 1;
            match self.complete(completion) {
                Ended::Again(token, op) if completion.result == -libc::EINTR => {
                    self.repeat(token, op);
                }
                Ended::Again(token, op) => self.submit_again(token, op, completion.result),
                ended => ended.run(),
            }
        }
        drop(delivery);
        let to_wake = self.state.borrow_mut().table.take_to_wake();
        wake::all(to_wake);
        count
    }

    fn complete(&self, completion: Completion) -> Ended {
        let OpsState { drivers, table, .. } = &mut *self.state.borrow_mut();
        let about = table.about(completion.token).copied();
        let ended = table.complete(completion, |about| drivers.cancel(completion.token, about));
        if let Some(about) = about
            && !matches!(ended, Ended::Again(..))
            && !completion.notification
        {
            let latency = match about.kind {
                // How long nobody came is not how long it took.
                OpKind::AcceptMulti | OpKind::RecvMulti => Duration::ZERO,
                _ => self.now.get().saturating_duration_since(about.started),
            };
            self.tally.count(about.kind, about.rung, completion.result, latency);
        }
        ended
    }

    /// Whether the ring is to be asked for an operation of `kind`, one with several completions. If not,
    /// its caller has another way, this time at least.
    pub(crate) fn takes_multi(&self, kind: OpKind) -> bool {
        if !self.has_multi(kind) {
            return false;
        }
        let refused = self.refusals.next();
        if refused {
            self.tally.count_refusal(kind, Rung::Ring);
        }
        !refused
    }

    /// Whether the ring takes operations of `kind`, as far as is known.
    pub(crate) fn has_multi(&self, kind: OpKind) -> bool {
        self.ladder.rungs(kind).first() == Some(Rung::Ring) && !self.refused.get().contains(kind)
    }

    /// The kernel has refused an operation of `kind`, which worked in another way: it is not to be asked
    /// again.
    pub(crate) fn note_refusal(&self, kind: OpKind) {
        self.tally.count_refusal(kind, Rung::Ring);
        self.refused.set(self.refused.get().with(kind));
        self.tell_refusal(kind, Rung::Ring, None);
    }

    /// See [`Drivers::register_group`].
    ///
    /// # Safety
    /// As there.
    pub(crate) unsafe fn register_group(&self, group: &Group) -> io::Result<Registration> {
        // SAFETY: the caller's promise.
        unsafe { self.state.borrow_mut().drivers.register_group(group) }
    }

    pub(crate) fn unregister_group(&self, registration: Registration) -> io::Result<()> {
        self.state.borrow_mut().drivers.unregister_group(registration)
    }

    /// The owner of `fd` will call [`Ops::forget`] before it is closed; false if there is no need.
    pub(crate) fn adopt(&self, fd: RawFd) -> bool {
        self.state.borrow_mut().drivers.adopt(fd)
    }

    pub(crate) fn forget(&self, fd: RawFd) {
        self.state.borrow_mut().drivers.forget(fd);
    }

    /// The descriptor of the epoll set; it lives as long as this.
    pub(crate) fn epoll_fd(&self) -> RawFd {
        self.state.borrow().drivers.epoll_fd()
    }

    /// How many operations still owe their last completion.
    pub(crate) fn in_flight(&self) -> usize {
        self.state.borrow().table.in_flight()
    }

    /// Asks for everything to end early.
    pub(crate) fn cancel_all(&self) {
        let mut state = self.state.borrow_mut();
        let OpsState { drivers, table, .. } = &mut *state;
        table.for_each_in_flight(|token, about| drivers.cancel(token, about));
    }

    /// Counters so far, and what waits now.
    pub(crate) fn metrics(&self) -> Metrics {
        let state = self.state.borrow();
        let mut metrics = self.tally.snapshot();
        metrics.in_flight = state.table.in_flight();
        state.drivers.measure(&mut metrics);
        metrics.faults = self.faults().unwrap_or_default();
        metrics
    }

    /// Gives `job` to the blocking pool, or gives it back if that does not take it.
    pub(crate) fn spawn_blocking(&self, job: Job) -> Result<(), Refused> {
        self.state.borrow().drivers.spawn_blocking(job)
    }
}

/// Completions on their way. Its drop puts back what has not been delivered.
struct Delivery<'a> {
    ops: &'a Ops,
    completions: Vec<Completion>,
    next: usize,
}

impl Drop for Delivery<'_> {
    fn drop(&mut self) {
        self.completions.drain(..self.next);
        let kept = &mut self.ops.state.borrow_mut().completions;
        self.completions.append(kept);
        *kept = mem::take(&mut self.completions);
    }
}

impl Ended {
    /// Runs what the end of an operation asks for. Not under a borrow: it may run anything.
    fn run(self) {
        match self {
            Self::Nothing | Self::Again(..) => {}
            Self::Wake(waker) => waker.wake(),
            Self::Forget(waker) => drop(waker),
            Self::Abandon(held, result) => held.abandon(result),
        }
    }
}
