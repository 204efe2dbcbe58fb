//! Waiting for a task of another core.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project::pin_project;

use crate::answer::{Answer, Promise, answer};
use crate::task::JoinError;

/// The output of a task that runs on another core, once there is one. Cancel safe; dropping the
/// handle lets the task go on by itself.
///
/// # Panics
/// When it is polled after it has completed.
pub struct RemoteHandle<T> {
    answer: Answer<Result<T, JoinError>>,
}

impl<T> RemoteHandle<T> {
    /// Whether the task is over.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.answer.is_given()
    }
}

impl<T> Future for RemoteHandle<T> {
    /// An error if the task panicked, or its core was shut down before its end.
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let given = self.answer.poll(cx.waker());
        given.map(|output| output.unwrap_or_else(|| Err(JoinError::aborted())))
    }
}

impl<T> fmt::Debug for RemoteHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteHandle").field("finished", &self.is_finished()).finish()
    }
}

/// The task's side of a [`RemoteHandle`].
pub(super) struct Outcome<T> {
    promise: Promise<Result<T, JoinError>>,
}

pub(super) fn channel<T>() -> (RemoteHandle<T>, Outcome<T>) {
    let (answer, promise) = answer();
    (RemoteHandle { answer }, Outcome { promise })
}

impl<T> Outcome<T> {
    /// Runs `future` and tells the handle what comes of it.
    pub(super) async fn of(self, future: impl Future<Output = T>) {
        let output = Catch { future }.await;
        if let Err(Err(error)) = self.promise.keep(output) {
            error.report();
        }
    }
}

/// Makes a panic an output.
#[pin_project]
struct Catch<F> {
    #[pin]
    future: F,
}

impl<F: Future> Future for Catch<F> {
    type Output = Result<F::Output, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let future = self.project().future;
        match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(JoinError::panicked(panic))),
        }
    }
}
