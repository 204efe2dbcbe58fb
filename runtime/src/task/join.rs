//! Waiting for a task.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// A task's output, once it has one. Dropping the handle lets the task go on by itself.
pub struct JoinHandle<T> {
    join: Rc<Join<T>>,
    task: Waker,
}

impl<T> JoinHandle<T> {
    pub(super) fn new(join: Rc<Join<T>>, task: Waker) -> Self {
        Self { join, task }
    }

    /// Ends the task at its next turn, dropping its future. No effect on one that is over.
    pub fn abort(&self) {
        self.join.aborted.set(true);
        self.task.wake_by_ref();
    }

    /// Whether the task is over.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.join.over.get()
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(output) = self.join.output.take() {
            return Poll::Ready(output);
        }
        assert!(!self.join.over.get(), "a join handle was polled after it had completed");
        let old = self.join.waiter.replace(Some(cx.waker().clone()));
        drop(old);
        Poll::Pending
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("finished", &self.is_finished()).finish()
    }
}

/// What a task and its handle share.
pub(super) struct Join<T> {
    output: Cell<Option<Result<T, JoinError>>>,
    waiter: RefCell<Option<Waker>>,
    aborted: Cell<bool>,
    over: Cell<bool>,
}

impl<T> Default for Join<T> {
    fn default() -> Self {
        let (aborted, over) = (Cell::new(false), Cell::new(false));
        Self { output: Cell::new(None), waiter: RefCell::new(None), aborted, over }
    }
}

impl<T> Join<T> {
    pub(super) fn is_aborted(&self) -> bool {
        self.aborted.get()
    }

    pub(super) fn finish(self: &Rc<Self>, output: Result<T, JoinError>) {
        self.over.set(true);
        let nobody_waits = Rc::strong_count(self) == 1;
        if let Err(JoinError { panic: Some(payload) }) = &output
            && nobody_waits
        {
            eprintln!("ringway: a task that nobody waits for panicked: {}", text_of(&**payload));
        }
        self.output.set(Some(output));
        let waiter = self.waiter.borrow_mut().take();
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }
}

/// Why a task has no output.
pub struct JoinError {
    panic: Option<Box<dyn Any + Send>>,
}

impl JoinError {
    pub(super) fn aborted() -> Self {
        Self { panic: None }
    }

    pub(super) fn panicked(payload: Box<dyn Any + Send>) -> Self {
        Self { panic: Some(payload) }
    }

    /// Whether the task panicked. If not, it was aborted or its runtime has ended.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        self.panic.is_some()
    }

    /// What the task panicked with.
    #[must_use]
    pub fn into_panic(self) -> Option<Box<dyn Any + Send>> {
        self.panic
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.panic {
            Some(payload) => write!(f, "the task panicked: {}", text_of(&**payload)),
            None => f.write_str("the task was aborted"),
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl std::error::Error for JoinError {}

/// A panic's message, if it is text.
pub(crate) fn text_of(payload: &(dyn Any + Send)) -> &str {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "(not a text)",
    }
}
