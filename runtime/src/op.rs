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
//! [`Ops`] is where drivers and table meet, and the only place that submits.

#![allow(unsafe_code, reason = "the one caller of the drivers' submit contract")]

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ringway_driver::{Completion, Credentials, Op, Token};

use crate::drivers::Drivers;
use crate::ladder::Ladder;
use crate::runtime::{self, Core};
use crate::table::{Ended, Held, Table};

/// Makes an operation of `parts`.
///
/// `describe` builds the [`Op`]; it may be called twice, before and after `parts` have moved to their
/// last place, and the second answer counts. `finish` turns the parts and the kernel's answer into
/// what the caller gets; for an operation whose future is gone its output is dropped.
///
/// # Safety
/// Every descriptor and address in the described `Op` is owned by `parts` and stays valid and
/// unaliased while they live and do not move.
pub(crate) unsafe fn submit<D, P, F, T>(
    credentials: Option<Arc<Credentials>>,
    parts: D,
    describe: P,
    finish: F,
) -> Submit<D, P, F>
where
    D: 'static,
    P: FnMut(&mut D) -> Op + 'static,
    F: FnOnce(D, io::Result<u32>) -> T + 'static,
{
    Submit { state: State::Idle(Parts { parts, describe, finish, credentials }) }
}

/// See [`submit`]. Dropping it in flight cancels the operation.
pub(crate) struct Submit<D, P, F> {
    state: State<D, P, F>,
}

enum State<D, P, F> {
    /// Not polled yet.
    Idle(Parts<D, P, F>),
    /// The op table has the parts.
    InFlight(InFlight),
    /// The output has been given out.
    Done,
}

// Nothing in it is pinned: the parts have no stable address before they are in the table.
impl<D, P, F> Unpin for Submit<D, P, F> {}

impl<D, P, F, T> Future for Submit<D, P, F>
where
    D: 'static,
    P: FnMut(&mut D) -> Op + 'static,
    F: FnOnce(D, io::Result<u32>) -> T + 'static,
{
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match mem::replace(&mut self.state, State::Done) {
            State::Idle(parts) => match parts.start(runtime::current(), cx.waker()) {
                Started::Done(output) => Poll::Ready(output),
                Started::InFlight(flight) => {
                    self.state = State::InFlight(flight);
                    Poll::Pending
                }
            },
            State::InFlight(mut flight) => match flight.core.ops.poll(flight.token, cx.waker()) {
                Poll::Pending => {
                    self.state = State::InFlight(flight);
                    Poll::Pending
                }
                Poll::Ready((held, result)) => {
                    flight.over = true;
                    let parts: Box<dyn std::any::Any> = held;
                    let parts = parts.downcast::<Parts<D, P, F>>();
                    let parts = parts.unwrap_or_else(|_| unreachable!("a token names one entry"));
                    Poll::Ready(parts.finish(result))
                }
            },
            State::Done => panic!("an operation was polled after it had completed"),
        }
    }
}

/// The table entry of a future that waits.
struct InFlight {
    core: Rc<Core>,
    token: Token,
    over: bool,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if !self.over {
            self.core.ops.orphan(self.token);
        }
    }
}

/// An operation and all that it names.
struct Parts<D, P, F> {
    parts: D,
    describe: P,
    finish: F,
    credentials: Option<Arc<Credentials>>,
}

enum Started<T> {
    Done(T),
    InFlight(InFlight),
}

impl<D, P, F, T> Parts<D, P, F>
where
    D: 'static,
    P: FnMut(&mut D) -> Op + 'static,
    F: FnOnce(D, io::Result<u32>) -> T + 'static,
{
    fn start(mut self, core: Rc<Core>, waker: &Waker) -> Started<T> {
        let op = (self.describe)(&mut self.parts);
        // SAFETY: `submit`'s caller promised that `op` names what `parts` owns; `parts` is not moved
        // before the next statement, when the call is over.
        let at_once = unsafe { core.ops.try_now(&op, self.credentials.as_deref()) };
        if let Some(result) = at_once {
            return Started::Done(self.finish(result));
        }
        let credentials = self.credentials.clone();
        let token = core.ops.submit(Box::new(self), credentials, waker);
        Started::InFlight(InFlight { core, token, over: false })
    }

    fn finish(self, result: i32) -> T {
        (self.finish)(self.parts, Completion::last(Token::new(0, 0), result).result())
    }
}

impl<D, P, F, T> Held for Parts<D, P, F>
where
    D: 'static,
    P: FnMut(&mut D) -> Op + 'static,
    F: FnOnce(D, io::Result<u32>) -> T + 'static,
{
    fn describe(&mut self) -> Op {
        (self.describe)(&mut self.parts)
    }

    fn abandon(self: Box<Self>, result: i32) {
        drop(self.finish(result));
    }
}

/// The drivers and the table of what they have in flight.
pub(crate) struct Ops {
    ladder: Ladder,
    state: RefCell<OpsState>,
}

struct OpsState {
    drivers: Drivers,
    table: Table,
    completions: Vec<Completion>,
}

impl Ops {
    pub(crate) fn new(drivers: Drivers, ladder: Ladder) -> Self {
        let state = OpsState { drivers, table: Table::default(), completions: Vec::new() };
        Self { ladder, state: RefCell::new(state) }
    }

    /// Runs `op` now if that cannot block the loop for long; gives its result.
    ///
    /// # Safety
    /// What `op` names is valid and unaliased during the call.
    unsafe fn try_now(&self, op: &Op, credentials: Option<&Credentials>) -> Option<i32> {
        // SAFETY: the caller's promise, unchanged.
        unsafe { self.ladder.try_now(op, credentials) }
    }

    /// The one place where operations go to a driver.
    fn submit(
        &self,
        held: Box<dyn Held>,
        credentials: Option<Arc<Credentials>>,
        waker: &Waker,
    ) -> Token {
        let mut state = self.state.borrow_mut();
        let OpsState { drivers, table, .. } = &mut *state;
        let (token, op) = table.insert(held, waker.clone());
        let rung = self.ladder.rung(&op, credentials.is_some());
        table.set_rung(token, rung);
        // SAFETY: `op` names what the table entry owns (`submit`'s contract with its caller). The
        // entry stays at its address, untouched, until `turn` has seen the completion with
        // `more == false` (`Table::complete`); if that never comes it is leaked. Tokens differ while
        // their entries live.
        unsafe { drivers.submit(token, op, credentials, rung) };
        token
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

    fn orphan(&self, token: Token) {
        let mut state = self.state.borrow_mut();
        let OpsState { drivers, table, .. } = &mut *state;
        let ended = table.orphan(token, |rung| drivers.cancel(token, rung));
        drop(state);
        ended.run();
    }

    /// One turn of the drivers: sends, and sleeps up to `timeout`. [`Ops::deliver`] is to follow.
    pub(crate) fn turn(&self, timeout: Option<Duration>) -> io::Result<()> {
        let OpsState { drivers, completions, .. } = &mut *self.state.borrow_mut();
        drivers.turn(timeout, completions)
    }

    /// Delivers what the turn brought; tells how much.
    pub(crate) fn deliver(&self) -> usize {
        let mut completions = mem::take(&mut self.state.borrow_mut().completions);
        let count = completions.len();
        for completion in completions.drain(..) {
            let ended = self.state.borrow_mut().table.complete(completion);
            ended.run();
        }
        self.state.borrow_mut().completions = completions;
        count
    }

    /// How many operations still owe their last completion.
    pub(crate) fn in_flight(&self) -> usize {
        self.state.borrow().table.in_flight()
    }

    /// Asks for everything to end early.
    pub(crate) fn cancel_all(&self) {
        let mut state = self.state.borrow_mut();
        let OpsState { drivers, table, .. } = &mut *state;
        table.for_each_in_flight(|token, rung| drivers.cancel(token, rung));
    }

    /// Gives `job` to the blocking pool, or gives it back when the pool's queue is full.
    pub(crate) fn spawn_blocking(
        &self,
        job: Box<dyn FnOnce() + Send>,
    ) -> Result<(), Box<dyn FnOnce() + Send>> {
        self.state.borrow().drivers.spawn_blocking(job)
    }
}

impl Ended {
    /// Runs what the end of an operation asks for. Not under a borrow: it may run anything.
    fn run(self) {
        match self {
            Self::Nothing => {}
            Self::Wake(waker) => waker.wake(),
            Self::Forget(waker) => drop(waker),
            Self::Abandon(held, result) => held.abandon(result),
        }
    }
}
