//! A wake-up between two tasks of one core.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// One task waits for what another announces. An announcement that nobody waits for is kept for
/// the next wait; two are one.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    set: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
}

impl Signal {
    /// Ends the current wait, or else the next.
    pub(crate) fn notify(&self) {
        self.set.set(true);
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    /// Waits. Of several tasks that wait at once, only the last is sure to be woken.
    pub(crate) async fn wait(&self) {
        poll_fn(|cx| {
            if self.set.take() {
                return Poll::Ready(());
            }
            self.waiting.replace(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}
