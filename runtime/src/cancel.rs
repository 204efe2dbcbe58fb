//! Ending operations early, and learning what came of it.
//!
//! Dropping a future ends its operation and loses the answer. A [`CancelToken`] asks the operations
//! below a future to end, and leaves the future to see how they did: one that was cancelled answers
//! `ECANCELED` and gives its buffer back; one that was quicker answers as if nothing had been asked. So
//! does one that writes to a file while the ring has it: some kernels would lose others with it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use pin_project::pin_project;
use ringway_driver::Token;
use slab::Slab;

use crate::runtime::Core;
use crate::wake;

/// Cancels the operations that futures run under it ([`CancelToken::run`]). Clones are the same token;
/// a [`child`](CancelToken::child) is cancelled with its parent, but not the other way round.
#[derive(Clone, Default)]
pub struct CancelToken {
    shared: Rc<Shared>,
}

#[derive(Default)]
struct Shared {
    cancelled: Cell<bool>,
    in_flight: RefCell<Slab<(Weak<Core>, Token)>>,
    waiting: RefCell<Slab<Waker>>,
    children: RefCell<Vec<Weak<Self>>>,
}

impl CancelToken {
    /// A token of its own.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A token that is cancelled when this one is, if not before.
    #[must_use]
    pub fn child(&self) -> Self {
        let child = Self::new();
        child.shared.cancelled.set(self.is_cancelled());
        let mut children = self.shared.children.borrow_mut();
        children.retain(|child| child.strong_count() > 0);
        children.push(Rc::downgrade(&child.shared));
        child
    }

    /// Asks every operation that is in flight under this token, or its children, to end, and lets
    /// those that begin later answer `ECANCELED` at once. Cannot be taken back.
    pub fn cancel(&self) {
        self.shared.cancel();
    }

    /// Whether it was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.shared.cancelled.get()
    }

    /// Waits until it is cancelled. Cancel safe.
    pub async fn cancelled(&self) {
        let mut entry = Waiting { shared: &self.shared, key: None };
        poll_fn(|cx| entry.poll(cx)).await;
    }

    /// Runs `future` with its operations under this token. Tasks that it spawns are not. Where one
    /// token's future runs inside of another's, the inner one counts alone; make it a child if both
    /// should.
    pub fn run<F: Future>(&self, future: F) -> Run<F> {
        Run { future, token: self.clone() }
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_flight = self.shared.in_flight.borrow().len();
        f.debug_struct("CancelToken")
            .field("cancelled", &self.is_cancelled())
            .field("in_flight", &in_flight)
            .finish()
    }
}

impl Shared {
    fn cancel(&self) {
        let mut wakers = Vec::new();
        self.cancel_into(&mut wakers);
        wake::all(wakers);
    }

    /// Those whom `wakers` is given are to be woken.
    fn cancel_into(&self, wakers: &mut Vec<Waker>) {
        if self.cancelled.replace(true) {
            return;
        }
        // Ended operations take themselves off when their futures see it, not here.
        let in_flight: Vec<_> =
            self.in_flight.borrow().iter().map(|(_, operation)| operation.clone()).collect();
        for (core, token) in in_flight {
            if let Some(core) = core.upgrade() {
                core.ops.cancel(token);
                core.tasks.remote().nudge();
            }
        }
        wakers.extend(self.waiting.borrow_mut().drain());
        let children = self.children.take();
        children.iter().filter_map(Weak::upgrade).for_each(|child| child.cancel_into(wakers));
    }
}

/// Who waits in [`CancelToken::cancelled`]; its drop takes it off.
struct Waiting<'a> {
    shared: &'a Shared,
    key: Option<usize>,
}

impl Waiting<'_> {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.shared.cancelled.get() {
            self.key = None;
            return Poll::Ready(());
        }
        let mut waiting = self.shared.waiting.borrow_mut();
        let old = match self.key {
            Some(key) => Some(std::mem::replace(&mut waiting[key], cx.waker().clone())),
            None => {
                self.key = Some(waiting.insert(cx.waker().clone()));
                None
            }
        };
        drop(waiting);
        drop(old);
        Poll::Pending
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let waker = self.shared.waiting.borrow_mut().try_remove(key);
            drop(waker);
        }
    }
}

/// See [`CancelToken::run`].
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Run<F> {
    #[pin]
    future: F,
    token: CancelToken,
}

impl<F: Future> Future for Run<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _outer = Outer(CURRENT.replace(Some(this.token.shared.clone())));
        this.future.poll(cx)
    }
}

/// Puts the token of before back, also when a future panics.
struct Outer(Option<Rc<Shared>>);

impl Drop for Outer {
    fn drop(&mut self) {
        let inner = CURRENT.replace(self.0.take());
        drop(inner);
    }
}

thread_local! {
    /// The token of the future that is being polled.
    static CURRENT: RefCell<Option<Rc<Shared>>> = const { RefCell::new(None) };
}

/// Whether an operation that begins now is to answer `ECANCELED`.
pub(crate) fn is_cancelled() -> bool {
    CURRENT.with_borrow(|current| current.as_ref().is_some_and(|shared| shared.cancelled.get()))
}

/// Puts an operation in flight under the current token, if there is one.
pub(crate) fn register(core: &Rc<Core>, token: Token) -> Option<Registration> {
    CURRENT.with_borrow(|current| {
        let shared = current.clone()?;
        let key = shared.in_flight.borrow_mut().insert((Rc::downgrade(core), token));
        Some(Registration { shared, key })
    })
}

/// An operation's place under a token, until its future has its answer.
pub(crate) struct Registration {
    shared: Rc<Shared>,
    key: usize,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let operation = self.shared.in_flight.borrow_mut().try_remove(self.key);
        drop(operation);
    }
}
