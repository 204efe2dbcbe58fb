//! Cooperation: a limit on what one poll of a task may complete at once.
//!
//! An operation that need not wait never gives the thread away by itself: a task that reads a cached
//! file in a loop would keep it. Whatever completes at once asks [`poll_proceed`] first.

use std::cell::Cell;
use std::future::poll_fn;
use std::task::{Context, Poll};

/// How many operations one poll may complete at once: some 100 µs of small ones.
const BUDGET: u8 = 128;

std::thread_local! {
    static LEFT: Cell<u8> = const { Cell::new(BUDGET) };
}

/// Gives the poll that is about to begin its budget.
pub(crate) fn refill() {
    LEFT.set(BUDGET);
}

/// Whether to go on. If not, the task has been woken and is to return [`Poll::Pending`]: others come
/// first.
///
/// It refuses once, not for the rest of the poll: the refusal travels up through whatever awaits it
/// and ends the poll, while an executor within the task, which only ever polls again, goes on.
pub(crate) fn poll_proceed(cx: &Context<'_>) -> Poll<()> {
    match LEFT.get().checked_sub(1) {
        Some(left) => {
            LEFT.set(left);
            Poll::Ready(())
        }
        None => {
            refill();
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    }
}

/// [`poll_proceed`] as a future.
pub(crate) fn proceed() -> impl Future<Output = ()> {
    poll_fn(|cx| poll_proceed(cx))
}

/// How many bytes are copied for what one operation costs otherwise, about a microsecond.
const BYTES: usize = 8 * 1024;

/// Comes after an operation that has copied so many bytes at once, and lets others go first if that was all that one poll
/// may do: before the next such operation whoever does it may have work of his own that belongs together with it.
pub(crate) fn copied(bytes: usize) -> impl Future<Output = ()> {
    let operations = u8::try_from(bytes / BYTES).unwrap_or(u8::MAX);
    LEFT.set(LEFT.get().saturating_sub(operations));
    proceed()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_spent_budget_refuses_once_and_wakes() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let cx = Context::from_waker(&waker);
        refill();
        for _ in 0..2 {
            for _ in 0..BUDGET {
                assert!(poll_proceed(&cx).is_ready());
            }
            assert_eq!(count.0.swap(0, Ordering::Relaxed), 0);
            assert!(poll_proceed(&cx).is_pending());
            assert_eq!(count.0.swap(0, Ordering::Relaxed), 1);
        }
    }

    #[test]
    fn many_bytes_spend_it_all_at_once() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut spent = |bytes| {
            let mut copied = std::pin::pin!(copied(bytes));
            let first = copied.as_mut().poll(&mut cx);
            first.is_pending() && copied.poll(&mut cx).is_ready()
        };
        refill();
        assert!(!spent(0));
        assert!(!spent(64 << 10));
        assert!(spent(1 << 20));
        assert!(!spent(512 << 10));
        assert!(spent(512 << 10));
        assert!(spent(usize::MAX));
    }

    #[test]
    fn each_poll_begins_with_a_whole_budget() {
        let cx = Context::from_waker(Waker::noop());
        refill();
        for _ in 0..10 {
            (0..BUDGET).for_each(|_| assert!(poll_proceed(&cx).is_ready()));
            refill();
        }
    }
}
