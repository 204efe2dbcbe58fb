//! One result on its way from one thread to another.

use std::sync::{Arc, PoisonError};
use std::task::{Poll, Waker};

use crate::sync::{Mutex, MutexGuard};

/// Where the result is awaited, and the duty to give one.
pub(crate) fn answer<T>() -> (Answer<T>, Promise<T>) {
    let state = Arc::new(Mutex::new(State::Pending(None)));
    (Answer { state: state.clone() }, Promise { state })
}

pub(crate) struct Answer<T> {
    state: Arc<Mutex<State<T>>>,
}

enum State<T> {
    Pending(Option<Waker>),
    /// `None`: the promise was dropped.
    Given(Option<T>),
    Taken,
}

impl<T> Answer<T> {
    /// The result, once; `None` when the promise was dropped.
    pub(crate) fn poll(&self, waker: &Waker) -> Poll<Option<T>> {
        let mut state = lock(&self.state);
        let old = match &mut *state {
            State::Pending(Some(old)) if old.will_wake(waker) => None,
            State::Pending(old) => old.replace(waker.clone()),
            State::Given(result) => {
                let result = result.take();
                *state = State::Taken;
                return Poll::Ready(result);
            }
            State::Taken => panic!("an answer was polled after it had been taken"),
        };
        drop(state);
        drop(old);
        Poll::Pending
    }

    /// Whether there is a result, or was one.
    pub(crate) fn is_given(&self) -> bool {
        !matches!(*lock(&self.state), State::Pending(_))
    }
}

/// Its drop is an answer too.
pub(crate) struct Promise<T> {
    state: Arc<Mutex<State<T>>>,
}

impl<T> Promise<T> {
    /// Gives the result; back, if nobody waits for it any more.
    pub(crate) fn keep(self, result: T) -> Result<(), T> {
        if Arc::strong_count(&self.state) == 1 {
            return Err(result);
        }
        self.give(Some(result));
        Ok(())
    }

    fn give(&self, result: Option<T>) {
        let mut state = lock(&self.state);
        if let State::Pending(waker) = &mut *state {
            let waker = waker.take();
            *state = State::Given(result);
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        self.give(None);
    }
}

fn lock<T>(state: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_given_once_and_a_dropped_promise_is_an_answer() {
        let (answer, promise) = answer();
        assert!(answer.poll(Waker::noop()).is_pending());
        assert!(!answer.is_given());
        assert_eq!(promise.keep(7), Ok(()));
        assert!(answer.is_given());
        assert_eq!(answer.poll(Waker::noop()), Poll::Ready(Some(7)));

        let (answer, promise) = super::answer::<u8>();
        drop(promise);
        assert_eq!(answer.poll(Waker::noop()), Poll::Ready(None));
    }

    #[test]
    fn a_result_that_nobody_waits_for_comes_back() {
        let (answer, promise) = answer();
        drop(answer);
        assert_eq!(promise.keep(7), Err(7));
    }
}
