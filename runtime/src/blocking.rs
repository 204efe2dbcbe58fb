//! Work that blocks, on the runtime's pool of threads.

use std::future::poll_fn;
use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use ringway_epoll::Job;

use crate::runtime;
use crate::task::text_of;

/// Runs `f` on a thread that may block, and waits for it.
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
    let answer = Arc::new(Answer { state: Mutex::new(State::Pending(None)) });
    let promise = Promise { answer: answer.clone(), queue: core.pool_queue.clone() };
    let mut job: Option<Job> = Some(Box::new(move || {
        let result = catch_unwind(AssertUnwindSafe(f));
        promise.keep(result.map_err(|panic| {
            io::Error::other(format!("blocking work panicked: {}", text_of(&*panic)))
        }));
    }));
    poll_fn(|cx| {
        let Some(next) = job.take() else { return Poll::Ready(()) };
        // Before trying: if the queue is full then, the end of what is in it comes later.
        core.pool_queue.wait(cx.waker().clone());
        match core.ops.spawn_blocking(next) {
            Ok(()) => Poll::Ready(()),
            Err(refused) => {
                job = Some(refused);
                Poll::Pending
            }
        }
    })
    .await;
    poll_fn(|cx| answer.poll(cx.waker())).await
}

/// Who waits for a place in the pool's queue.
#[derive(Default)]
pub(crate) struct PoolQueue {
    waiting: Mutex<Vec<Waker>>,
}

impl PoolQueue {
    fn wait(&self, waker: Waker) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(waker);
    }

    /// Something has left the pool.
    pub(crate) fn wake(&self) {
        let waiting = mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// A result on its way from a pool thread.
struct Answer<R> {
    state: Mutex<State<R>>,
}

enum State<R> {
    Pending(Option<Waker>),
    Done(io::Result<R>),
    Taken,
}

impl<R> Answer<R> {
    fn poll(&self, waker: &Waker) -> Poll<io::Result<R>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match mem::replace(&mut *state, State::Taken) {
            State::Done(result) => Poll::Ready(result),
            State::Pending(_) | State::Taken => {
                *state = State::Pending(Some(waker.clone()));
                Poll::Pending
            }
        }
    }

    /// The first answer counts.
    fn set(&self, result: io::Result<R>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Pending(waker) = &mut *state {
            let waker = waker.take();
            *state = State::Done(result);
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// The duty to answer, on the pool's side.
struct Promise<R> {
    answer: Arc<Answer<R>>,
    queue: Arc<PoolQueue>,
}

impl<R> Promise<R> {
    fn keep(self, result: io::Result<R>) {
        self.answer.set(result);
    }
}

impl<R> Drop for Promise<R> {
    fn drop(&mut self) {
        self.answer.set(Err(io::Error::other("the blocking pool has ended")));
        self.queue.wake();
    }
}
