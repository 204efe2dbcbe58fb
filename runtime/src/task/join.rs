//! Waiting for a task.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tracing::error;

use super::raw::Typed;

/// What comes of a task.
pub(super) type Output<T> = Result<T, JoinError>;

/// A task's output, once it has one. Cancel safe; dropping the handle lets the task go on by itself.
///
/// # Panics
/// When it is polled after it has completed.
pub struct JoinHandle<T> {
    task: Typed<T>,
}

impl<T> JoinHandle<T> {
    pub(super) fn new(task: Typed<T>) -> Self {
        Self { task }
    }

    /// Ends the task at its next turn, dropping its future. No effect on one that is over.
    pub fn abort(&self) {
        self.task.abort();
    }

    /// Whether the task is over.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.local().is_over()
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(output) = self.task.take_output() {
            return Poll::Ready(output);
        }
        assert!(!self.is_finished(), "a join handle was polled after it had completed");
        self.task.set_waiter(cx.waker());
        Poll::Pending
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("finished", &self.is_finished()).finish()
    }
}

/// Why a task has no output.
pub struct JoinError {
    panic: Option<Box<dyn Any + Send>>,
}

impl JoinError {
    pub(crate) fn aborted() -> Self {
        Self { panic: None }
    }

    pub(crate) fn panicked(payload: Box<dyn Any + Send>) -> Self {
        Self { panic: Some(payload) }
    }

    /// For a task that nobody waits for: tells that it panicked, if it did.
    pub(crate) fn report(&self) {
        if let Some(payload) = &self.panic {
            error!(panic = text_of(&**payload), "a task that nobody waits for has panicked");
        }
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

impl From<JoinError> for std::io::Error {
    fn from(error: JoinError) -> Self {
        Self::other(error.to_string())
    }
}

/// A panic's message, if it is text.
pub(crate) fn text_of(payload: &(dyn Any + Send)) -> &str {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "(not a text)",
    }
}
