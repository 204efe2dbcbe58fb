//! An operation with one answer, as a future.

#![allow(unsafe_code, reason = "declares the contract of operations, and keeps its at-once part")]

use std::future::Future;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use ringway_driver::{Completion, Identity, Op, Token};

use super::{Begun, InFlight, concrete};
use crate::cancel;
use crate::ladder::Rung;
use crate::runtime::{self, Core};
use crate::table::Held;
use crate::task::coop;

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
    credentials: Option<Identity>,
    parts: D,
    describe: P,
    finish: F,
) -> Submit<D, P, F>
where
    D: 'static,
    P: FnMut(&mut D) -> Op + 'static,
    F: FnOnce(D, io::Result<u32>) -> T + 'static,
{
    Submit { state: State::Idle(Parts { parts, describe, finish, credentials }, None) }
}

/// Runs the operation at once if that is its first way and does not block: what [`submit`]'s future
/// begins with. [`coop::proceed`] comes before it.
///
/// # Safety
/// What `op` names is valid and unaliased during the call.
pub(crate) unsafe fn begin(op: &Op, credentials: Option<&Identity>) -> Begun {
    if cancel::is_cancelled() {
        return Begun::Done(-libc::ECANCELED);
    }
    // SAFETY: the caller's promise, unchanged.
    runtime::borrow_current(|core| unsafe { core.ops.begin(op, credentials) })
}

/// Runs an operation that copies bytes at once, whatever its first way, and lets others go first if they were many; `None`
/// if it would block.
///
/// # Safety
/// What `op` names is valid and unaliased until the future has ended.
pub(crate) async unsafe fn copy_now(op: &Op) -> Option<io::Result<usize>> {
    let answer = match cancel::is_cancelled() {
        true => -libc::ECANCELED,
        // SAFETY: the caller's promise, unchanged.
        false => runtime::borrow_current(|core| unsafe { core.ops.try_now(op) })?,
    };
    let result = result(answer).map(|count| count as usize);
    coop::copied(*result.as_ref().unwrap_or(&0)).await;
    Some(result)
}

/// As [`begin`], for an operation on a file that is left to another thread.
pub(crate) fn begin_apart(op: &Op, credentials: Option<&Identity>) -> Begun {
    if cancel::is_cancelled() {
        return Begun::Done(-libc::ECANCELED);
    }
    runtime::borrow_current(|core| core.ops.begin_apart(op, credentials))
}

/// The kernel's answer as the caller of an operation gets it.
pub(crate) fn result(result: i32) -> io::Result<u32> {
    Completion::last(Token::new(0, 0), result).result()
}

/// Waits for any of the `POLL*` `events` of a descriptor, or an error or hang-up; tells which. Moves
/// nothing. Whoever owns the descriptor stays for as long as the operation.
pub(crate) async fn poll<D: AsFd + 'static>(owner: D, events: i16) -> io::Result<i16> {
    // SAFETY: the descriptor's owner belongs to the parts.
    let poll = unsafe {
        submit(
            None,
            owner,
            move |owner| Op::Poll { fd: owner.as_fd().as_raw_fd(), events },
            |_, result| result.map(|ready| ready as i16),
        )
    };
    poll.await
}

/// See [`submit`]. Dropping it in flight cancels the operation.
pub(crate) struct Submit<D, P, F> {
    state: State<D, P, F>,
}

enum State<D, P, F> {
    /// Not polled yet. A rung if it is known already where it goes.
    Idle(Parts<D, P, F>, Option<Rung>),
    /// The op table has the parts.
    InFlight(InFlight),
    /// The output has been given out.
    Done,
}

impl<D, P: FnMut(&mut D) -> Op, F> Submit<D, P, F> {
    /// If `waits`, no attempt is made at once: it is known to wait for a device, in every form.
    pub(crate) fn waiting(mut self, waits: bool) -> Self {
        if let State::Idle(parts, to) = &mut self.state
            && waits
            && !cancel::is_cancelled()
        {
            let op = (parts.describe)(&mut parts.parts);
            let for_somebody = parts.credentials.is_some();
            *to = runtime::borrow_current(|core| core.ops.first_to_wait(&op, for_somebody));
        }
        self
    }

    /// Goes to `rung` at its first poll: [`begin`] has made the first attempt, and sent it there.
    pub(crate) fn going_to(mut self, rung: Rung) -> Self {
        if let State::Idle(_, to) = &mut self.state {
            *to = Some(rung);
        }
        self
    }
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
        match &mut self.state {
            State::Idle(parts, rung) => {
                let begun = match *rung {
                    Some(rung) => Begun::GoTo(rung),
                    None => {
                        ready!(coop::poll_proceed(cx));
                        parts.begin()
                    }
                };
                // They move only now, when an attempt to do it at once is over.
                let State::Idle(parts, _) = mem::replace(&mut self.state, State::Done) else {
                    unreachable!("it was idle just now")
                };
                match begun {
                    Begun::Done(result) => Poll::Ready(parts.finish(result)),
                    Begun::GoTo(rung) => {
                        let flight = parts.submit(runtime::current(), cx.waker(), rung);
                        self.state = State::InFlight(flight);
                        Poll::Pending
                    }
                }
            }
            State::InFlight(flight) => {
                let (held, result) = ready!(flight.core.ops.poll(flight.token, cx.waker()));
                flight.over = true;
                self.state = State::Done;
                Poll::Ready(concrete::<Parts<D, P, F>>(held).finish(result))
            }
            State::Done => panic!("an operation was polled after it had completed"),
        }
    }
}

/// An operation and all that it names.
struct Parts<D, P, F> {
    parts: D,
    describe: P,
    finish: F,
    credentials: Option<Identity>,
}

impl<D, P, F, T> Parts<D, P, F>
where
    D: 'static,
    P: FnMut(&mut D) -> Op + 'static,
    F: FnOnce(D, io::Result<u32>) -> T + 'static,
{
    fn begin(&mut self) -> Begun {
        let op = (self.describe)(&mut self.parts);
        // SAFETY: `submit`'s caller promised that `op` names what `parts` owns, and they are borrowed
        // until the call is over.
        unsafe { begin(&op, self.credentials.as_ref()) }
    }

    fn submit(self, core: Rc<Core>, waker: &Waker, rung: Rung) -> InFlight {
        let credentials = self.credentials.clone();
        let token = core.ops.submit(Box::new(self), credentials, Some(waker), rung);
        InFlight::new(core, token)
    }

    fn finish(self, answer: i32) -> T {
        (self.finish)(self.parts, result(answer))
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

    fn credentials(&self) -> Option<Identity> {
        self.credentials.clone()
    }

    fn abandon(self: Box<Self>, result: i32) {
        drop(self.finish(result));
    }
}
