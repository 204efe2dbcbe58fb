//! The future that a task runs: the caller's, made to end by abort and to keep panics to itself.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use pin_project::{pin_project, pinned_drop};

use super::Alive;
use super::join::{Join, JoinError};

pub(super) fn new<F: Future>(future: F, alive: Alive) -> (Spawned<F>, Rc<Join<F::Output>>) {
    let join = Rc::new(Join::default());
    (Spawned { future: Some(future), join: join.clone(), _alive: alive }, join)
}

#[pin_project(PinnedDrop)]
pub(super) struct Spawned<F: Future> {
    /// `None` once it is over; it is dropped before its end is told.
    #[pin]
    future: Option<F>,
    join: Rc<Join<F::Output>>,
    _alive: Alive,
}

impl<F: Future> Future for Spawned<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let polled = match this.future.as_mut().as_pin_mut() {
            _ if this.join.is_aborted() => Ok(Poll::Ready(None)),
            Some(future) => catch_unwind(AssertUnwindSafe(|| future.poll(cx).map(Some))),
            None => return Poll::Ready(()),
        };
        let output = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(Some(output))) => Ok(output),
            Ok(Poll::Ready(None)) => Err(JoinError::aborted()),
            Err(panic) => Err(JoinError::panicked(panic)),
        };
        let dropped = catch_unwind(AssertUnwindSafe(|| this.future.set(None)));
        this.join.finish(dropped.map_err(JoinError::panicked).and(output));
        Poll::Ready(())
    }
}

#[pinned_drop]
impl<F: Future> PinnedDrop for Spawned<F> {
    /// A task that is dropped unfinished was aborted, by its runtime's end.
    fn drop(self: Pin<&mut Self>) {
        let mut this = self.project();
        if this.future.is_some() {
            let dropped = catch_unwind(AssertUnwindSafe(|| this.future.set(None)));
            let error = dropped.map_or_else(JoinError::panicked, |()| JoinError::aborted());
            this.join.finish(Err(error));
        }
    }
}
