//! Work that blocks, on the runtime's pool of threads.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::task::{Poll, Waker};
use std::time::Instant;

use ringway_epoll::{Job, Refused, THREAD_PATIENCE, THREAD_RETRY};

use crate::answer::answer;
use crate::runtime::{self, Core};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::task::text_of;
use crate::time::sleep;
use crate::wake;

/// Runs `f` on a thread that may block, and waits for it. Nothing happens before the future is polled.
///
/// While the pool's queue is full this waits for a place in it. Dropping the future does not stop `f`
/// once it is queued; its result is then dropped.
///
/// # Errors
/// When `f` panics. When the pool has no thread and the system gives none for a second, its error:
/// `WouldBlock` for a limit on processes; `f` has not run then.
///
/// # Panics
/// Outside of a runtime.
pub async fn spawn_blocking<R: Send + 'static>(
    f: impl FnOnce() -> R + Send + 'static,
) -> io::Result<R> {
    let core = runtime::current();
    let (answer, promise) = answer();
    let leaving = Leaving(core.pool_queue.clone());
    let mut job: Option<Job> = Some(Box::new(move || {
        let _leaving = leaving;
        // Given back when nobody waits for it: dropped.
        let _ = promise.keep(catch_unwind(AssertUnwindSafe(f)));
    }));
    let patience = Instant::now() + THREAD_PATIENCE;
    while let Err(error) = core.pool_queue.enter(|| offer(&core, &mut job)).await {
        if Instant::now() >= patience {
            let text = format!("no thread can be started for blocking work: {error}");
            return Err(io::Error::new(error.kind(), text));
        }
        sleep(THREAD_RETRY).await;
    }
    match poll_fn(|cx| answer.poll(cx.waker())).await {
        Some(Ok(result)) => Ok(result),
        Some(Err(panic)) => {
            Err(io::Error::other(format!("blocking work panicked: {}", text_of(&*panic))))
        }
        None => Err(io::Error::other("the blocking pool has ended")),
    }
}

/// Offers the pool a job, which stays in its place if the pool does not take it.
fn offer(core: &Core, job: &mut Option<Job>) -> Poll<io::Result<()>> {
    let refused = match job.take().map(|next| core.ops.spawn_blocking(next)) {
        None | Some(Ok(())) => return Poll::Ready(Ok(())),
        Some(Err(refused)) => refused,
    };
    let (next, polled) = match refused {
        Refused::Full(next) => (next, Poll::Pending),
        Refused::NoThread(next, error) => (next, Poll::Ready(Err(error))),
    };
    *job = Some(next);
    polled
}

/// Who waits for a place in the pool's queue.
#[derive(Default)]
pub(crate) struct PoolQueue {
    waiting: Mutex<Waiting>,
    /// Somebody is in there; mostly nobody is, and that is seen without the lock.
    any: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    /// One for each future that waits, by its ticket: in the order of arrival.
    wakers: BTreeMap<u64, Waker>,
    next_ticket: u64,
}

impl PoolQueue {
    /// Tries to get in, and again whenever something has left, until `enter` is through. Cancel safe.
    pub(crate) async fn enter<T>(&self, mut enter: impl FnMut() -> Poll<T>) -> T {
        let mut place = Place { queue: self, ticket: None };
        poll_fn(|cx| {
            let entered = enter();
            if entered.is_ready() {
                return entered;
            }
            place.wait(cx.waker());
            // What left the queue between that failure and the wait has woken nobody. What leaves it
            // after a second failure does: it comes after it under the pool's lock, and so sees `any`.
            enter()
        })
        .await
    }

    /// Something has left the pool.
    pub(crate) fn wake(&self) {
        if self.any.load(Ordering::Acquire) {
            let mut waiting = self.waiting();
            self.any.store(false, Ordering::Relaxed);
            let woken = mem::take(&mut waiting.wakers);
            drop(waiting);
            wake::all(woken.into_values());
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One future's place among those who wait, however often it is polled.
struct Place<'a> {
    queue: &'a PoolQueue,
    ticket: Option<u64>,
}

impl Place<'_> {
    fn wait(&mut self, waker: &Waker) {
        let mut waiting = self.queue.waiting();
        let Waiting { wakers, next_ticket } = &mut *waiting;
        let ticket = *self.ticket.get_or_insert_with(|| {
            *next_ticket += 1;
            *next_ticket
        });
        let old = wakers.insert(ticket, waker.clone());
        self.queue.any.store(true, Ordering::Release);
        drop(waiting);
        // Not under the lock: a waker's drop may run a task's destructor, which may come back here.
        drop(old);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let waker = self.queue.waiting().wakers.remove(&ticket);
            drop(waker);
        }
    }
}

/// Tells that a place has come free in the queue when a job goes, however it does.
struct Leaving(Arc<PoolQueue>);

impl Drop for Leaving {
    fn drop(&mut self) {
        // On a thread of the pool, where nobody is concerned with others' wakers.
        wake::quietly(|| self.0.wake());
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Wake};

    use super::*;

    struct Another;

    impl Wake for Another {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn who_waits_is_in_the_queue_once_however_often_they_are_polled() {
        let queue = PoolQueue::default();
        let count = || queue.waiting().wakers.len();
        {
            let mut one = pin!(queue.enter(|| Poll::<()>::Pending));
            let mut other = pin!(queue.enter(|| Poll::<()>::Pending));
            for _ in 0..100 {
                let waker = Waker::from(Arc::new(Another));
                assert!(one.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
                assert!(other.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            }
            assert_eq!(count(), 2);
            queue.wake();
            assert_eq!(count(), 0);
            assert!(one.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            assert_eq!(count(), 1);
        }
        assert_eq!(count(), 0, "they have given up");
    }
}
