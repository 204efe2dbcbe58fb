//! An operation with one answer, as a future.

#![allow(unsafe_code, reason = "declares the contract of operations, and keeps its at-once part")]

use std::future::Future;
use std::io;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ringway_driver::{Completion, Identity, Op, Token};

use super::{Begun, InFlight, concrete};
use crate::cancel;
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
            State::Idle(parts) if coop::poll_proceed(cx).is_pending() => {
                self.state = State::Idle(parts);
                Poll::Pending
            }
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
                    Poll::Ready(concrete::<Parts<D, P, F>>(held).finish(result))
                }
            },
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
        if cancel::is_cancelled() {
            return Started::Done(self.finish(-libc::ECANCELED));
        }
        let op = (self.describe)(&mut self.parts);
        // SAFETY: `submit`'s caller promised that `op` names what `parts` owns; `parts` is not moved
        // before the next statement, when the call is over.
        match unsafe { core.ops.begin(&op, self.credentials.as_ref()) } {
            Begun::Done(result) => Started::Done(self.finish(result)),
            Begun::GoTo(rung) => {
                let credentials = self.credentials.clone();
                let token = core.ops.submit(Box::new(self), credentials, Some(waker), rung);
                Started::InFlight(InFlight::new(core, token))
            }
        }
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

    fn credentials(&self) -> Option<Identity> {
        self.credentials.clone()
    }

    fn abandon(self: Box<Self>, result: i32) {
        drop(self.finish(result));
    }
}
