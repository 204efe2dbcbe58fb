//! Tasks of one thread: spawning, the run queue, and wake-ups from other threads.
//!
//! It knows nothing of I/O. A task's memory is `async-task`'s; here is the queue that it is scheduled
//! to, and the register of tasks that lets a runtime drop them all.

pub(crate) mod coop;
mod join;
mod remote;
mod spawned;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use async_task::Runnable;
use slab::Slab;

use crate::runtime::{self, Core};

pub(crate) use join::text_of;
pub use join::{JoinError, JoinHandle};
pub(crate) use remote::Remote;

/// How many tasks run between two looks at timers and drivers: enough to make a batch of their
/// operations, few enough that a completion does not wait long.
const BATCH: usize = 64;

/// Runs `future` on this thread's runtime, beside the others.
///
/// Dropping the handle lets the task go on; [`JoinHandle::abort`] ends it. A panic in it ends only it.
///
/// # Panics
/// Outside [`Runtime::block_on`](crate::Runtime::block_on) and of what runs in it.
pub fn spawn<F: Future + 'static>(future: F) -> JoinHandle<F::Output> {
    Tasks::spawn(&runtime::current(), future)
}

pub(crate) struct Tasks {
    queue: RefCell<VecDeque<Runnable>>,
    /// A waker of each task that is not over.
    alive: RefCell<Slab<Waker>>,
    pub(crate) remote: Arc<Remote>,
}

impl Tasks {
    pub(crate) fn new(remote: Arc<Remote>) -> Self {
        Self { queue: RefCell::default(), alive: RefCell::default(), remote }
    }

    fn spawn<F: Future + 'static>(core: &Rc<Core>, future: F) -> JoinHandle<F::Output> {
        let tasks = &core.tasks;
        let key = tasks.alive.borrow_mut().insert(Waker::noop().clone());
        let (spawned, join) = spawned::new(future, Alive { core: Rc::downgrade(core), key });
        let remote = tasks.remote.clone();
        let schedule = move |runnable| schedule(&remote, runnable);
        let (runnable, task) = async_task::spawn_local(spawned, schedule);
        let waker = runnable.waker();
        tasks.alive.borrow_mut()[key] = waker.clone();
        task.detach();
        runnable.schedule();
        JoinHandle::new(join, waker)
    }

    /// Runs a batch of tasks. They catch their own panics.
    pub(crate) fn run(&self) {
        self.remote.drain_to(&mut self.queue.borrow_mut());
        for _ in 0..BATCH {
            let next = self.queue.borrow_mut().pop_front();
            let Some(runnable) = next else { return };
            coop::refill();
            runnable.run();
        }
    }

    /// Whether there is something for [`Tasks::run`] to do.
    pub(crate) fn has_work(&self) -> bool {
        !self.queue.borrow().is_empty()
    }

    /// Drops every task, and tells how many there were. Only from outside of tasks.
    pub(crate) fn drop_all(&self) -> usize {
        let mut dropped = 0;
        loop {
            let wakers: Vec<_> = self.alive.borrow().iter().map(|(_, w)| w.clone()).collect();
            if wakers.is_empty() {
                return dropped;
            }
            // Each task comes to the queue, by this wake or by an earlier one from another thread that
            // may be about to put it there; hence the loop.
            wakers.into_iter().for_each(Waker::wake);
            self.remote.drain_to(&mut self.queue.borrow_mut());
            let runnables = std::mem::take(&mut *self.queue.borrow_mut());
            if runnables.is_empty() {
                std::thread::yield_now();
            }
            dropped += runnables.len();
            drop(runnables);
        }
    }
}

/// An entry of the register; its drop takes the task off.
pub(crate) struct Alive {
    core: std::rc::Weak<Core>,
    key: usize,
}

impl Drop for Alive {
    fn drop(&mut self) {
        if let Some(core) = self.core.upgrade() {
            let waker = core.tasks.alive.borrow_mut().try_remove(self.key);
            drop(waker);
        }
    }
}

/// To the thread's own queue without a lock, from elsewhere with one.
fn schedule(remote: &Arc<Remote>, runnable: Runnable) {
    let mut runnable = Some(runnable);
    runtime::with_current(|core| {
        if Arc::ptr_eq(&core.tasks.remote, remote) {
            core.tasks.queue.borrow_mut().extend(runnable.take());
        }
    });
    if let Some(runnable) = runnable {
        remote.push(runnable);
    }
}
