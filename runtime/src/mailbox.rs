//! Work sent to another core, the only way to talk to its runtime.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::PoisonError;
use std::task::{Poll, Waker};

use crate::sync::{Mutex, MutexGuard};

/// How many jobs may wait. A core that has so many waiting is stuck.
const JOBS_MAX: usize = 65_536;

/// Work for a core: starts a task there.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// The core takes no more work: it is shutting down, or stuck with a full mailbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the core takes no more work")
    }
}

impl std::error::Error for Closed {}

/// Many senders, one receiver.
#[derive(Default)]
pub(crate) struct Mailbox {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    receiver: Option<Waker>,
    closed: bool,
}

impl Mailbox {
    /// # Errors
    /// When it is closed or full.
    pub(crate) fn send(&self, job: Job) -> Result<(), Closed> {
        let mut state = self.lock();
        if state.closed || state.jobs.len() >= JOBS_MAX {
            return Err(Closed);
        }
        state.jobs.push_back(job);
        let receiver = state.receiver.take();
        drop(state);
        if let Some(receiver) = receiver {
            receiver.wake();
        }
        Ok(())
    }

    /// The next job; `None` when it is closed, whatever still waits.
    pub(crate) async fn receive(&self) -> Option<Job> {
        poll_fn(|cx| {
            let mut state = self.lock();
            if state.closed {
                return Poll::Ready(None);
            }
            if let Some(job) = state.jobs.pop_front() {
                return Poll::Ready(Some(job));
            }
            state.receiver = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Ends receiving. Jobs that still wait are dropped.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let jobs = std::mem::take(&mut state.jobs);
        let receiver = state.receiver.take();
        drop(state);
        drop(jobs);
        if let Some(receiver) = receiver {
            receiver.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mailbox")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_or_closed_mailbox_refuses() {
        let mailbox = Mailbox::default();
        for _ in 0..JOBS_MAX {
            assert_eq!(mailbox.send(Box::new(|| ())), Ok(()));
        }
        assert_eq!(mailbox.send(Box::new(|| ())), Err(Closed));
        mailbox.close();
        assert_eq!(mailbox.send(Box::new(|| ())), Err(Closed));
        assert!(mailbox.lock().jobs.is_empty());
    }
}
