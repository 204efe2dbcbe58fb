//! Work that blocks, on the runtime's pool of threads.

use std::future::poll_fn;
use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::task::{Poll, Waker};

use ringway_epoll::Job;

use crate::answer::answer;
use crate::runtime;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::task::text_of;

/// Runs `f` on a thread that may block, and waits for it. Nothing happens before the future is polled.
///
/// While the pool's queue is full this waits for a place in it. Dropping the future does not stop `f`
/// once it is queued; its result is then dropped.
///
/// # Errors
/// When `f` panics.
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
    poll_fn(|cx| {
        core.pool_queue.poll_enter(cx.waker(), || match job.take() {
            Some(next) => core.ops.spawn_blocking(next).map_err(|refused| job = Some(refused)),
            None => Ok(()),
        })
    })
    .await;
    match poll_fn(|cx| answer.poll(cx.waker())).await {
        Some(Ok(result)) => Ok(result),
        Some(Err(panic)) => {
            Err(io::Error::other(format!("blocking work panicked: {}", text_of(&*panic))))
        }
        None => Err(io::Error::other("the blocking pool has ended")),
    }
}

/// Who waits for a place in the pool's queue.
#[derive(Default)]
pub(crate) struct PoolQueue {
    waiting: Mutex<Vec<Waker>>,
    /// Somebody is in there; mostly nobody is, and that is seen without the lock.
    any: AtomicBool,
}

impl PoolQueue {
    /// Tries to get in, and waits where that fails.
    pub(crate) fn poll_enter(
        &self,
        waker: &Waker,
        mut enter: impl FnMut() -> Result<(), ()>,
    ) -> Poll<()> {
        if enter().is_ok() {
            return Poll::Ready(());
        }
        self.wait(waker.clone());
        // What left the queue between that failure and the wait has woken nobody. What leaves it after
        // a second failure does: it comes after it under the pool's lock, and so sees `any`.
        match enter() {
            Ok(()) => Poll::Ready(()),
            Err(()) => Poll::Pending,
        }
    }

    fn wait(&self, waker: Waker) {
        self.waiting().push(waker);
        self.any.store(true, Ordering::Release);
    }

    /// Something has left the pool.
    pub(crate) fn wake(&self) {
        if self.any.load(Ordering::Acquire) {
            let mut waiting = self.waiting();
            self.any.store(false, Ordering::Relaxed);
            let woken = mem::take(&mut *waiting);
            drop(waiting);
            woken.into_iter().for_each(Waker::wake);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells that a place has come free in the queue when a job goes, however it does.
struct Leaving(Arc<PoolQueue>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.wake();
    }
}
