//! Tasks: what runs beside each other on one thread.
//!
//! [`spawn`] starts one and gives a [`JoinHandle`]. A task runs until it waits for something or calls
//! [`yield_now`]; tasks take turns in the order in which they were woken. Wakers may go to any thread.

// `raw` has a task's memory, `remote` what other threads may touch; here are the run queue and the
// register of tasks that lets a runtime drop them all. None of it knows of I/O.

pub(crate) mod coop;
mod current;
mod join;
mod raw;
mod remote;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::{Poll, Waker};

use slab::Slab;

use crate::wake;
pub(crate) use join::text_of;
pub use join::{JoinError, JoinHandle};
use raw::{Local, Typed, Woken};
pub(crate) use remote::Remote;

/// Runs `future` on this thread's runtime, beside the others.
///
/// Dropping the handle lets the task go on; [`JoinHandle::abort`] ends it. A panic in it ends only it.
///
/// # Panics
/// Outside [`Runtime::block_on`](crate::Runtime::block_on) and of what runs in it.
#[inline]
pub fn spawn<F: Future + 'static>(future: F) -> JoinHandle<F::Output> {
    current::with(|tasks| match tasks {
        Some(tasks) => tasks.spawn(future),
        None => {
            panic!("there is no ringway runtime on this thread: spawn inside of Runtime::block_on")
        }
    })
}

/// Lets the other tasks that are ready have their turns first. Cancel safe.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Who is to be polled.
pub(crate) enum Turn {
    /// The future of `block_on`.
    Main,
    Task(Ready),
}

/// A task that has left the run queue.
pub(crate) struct Ready(Local);

pub(crate) struct Tasks {
    /// Who is ready, in turn.
    queue: RefCell<VecDeque<Turn>>,
    /// Each task that is not over.
    alive: RefCell<Slab<Local>>,
    /// [`Turn::Main`] is in the queue.
    main: Cell<bool>,
    /// Nothing runs any more.
    ended: Cell<bool>,
    remote: Arc<Remote>,
    /// Empty; kept for its memory.
    arriving: Cell<Vec<Woken>>,
}

impl Tasks {
    pub(crate) fn new(remote: Arc<Remote>) -> Self {
        Self {
            queue: RefCell::default(),
            alive: RefCell::default(),
            main: Cell::new(false),
            ended: Cell::new(false),
            remote,
            arriving: Cell::default(),
        }
    }

    /// Calls `f`, during which these are the thread's tasks.
    pub(crate) fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        current::within(self, f)
    }

    pub(crate) fn remote(&self) -> &Arc<Remote> {
        &self.remote
    }

    #[inline]
    fn spawn<F: Future + 'static>(&self, future: F) -> JoinHandle<F::Output> {
        JoinHandle::new(self.start(future))
    }

    /// Starts a task that is the runtime's own: nobody misses it at the end.
    pub(crate) fn spawn_own<F: Future + 'static>(&self, future: F) -> JoinHandle<F::Output> {
        let task = self.start(future);
        task.local().make_own();
        JoinHandle::new(task)
    }

    #[inline]
    fn start<F: Future + 'static>(&self, future: F) -> Typed<F::Output> {
        let task = Typed::new(future, &self.remote);
        let key = self.alive.borrow_mut().insert(task.local().clone());
        task.local().set_key(key);
        task.local().schedule(self);
        task
    }

    /// To the end of the run queue.
    #[inline]
    fn push(&self, task: Local) {
        self.queue.borrow_mut().push_back(Turn::Task(Ready(task)));
    }

    /// A waker for the future of `block_on`.
    pub(crate) fn main_waker(&self) -> Waker {
        Waker::from(self.remote.clone())
    }

    pub(crate) fn wake_main(&self) {
        if !self.main.replace(true) {
            self.queue.borrow_mut().push_back(Turn::Main);
        }
    }

    /// Takes in what was woken on other threads.
    pub(crate) fn collect(&self) {
        let news = self.remote.take_news();
        if news.main {
            self.wake_main();
        }
        if news.tasks {
            let mut woken = self.arriving.take();
            self.remote.take_woken(&mut woken);
            woken.drain(..).for_each(|woken| woken.arrive(self));
            self.arriving.set(woken);
        }
    }

    /// Whose turn it is.
    #[inline]
    pub(crate) fn next(&self) -> Option<Turn> {
        let next = self.queue.borrow_mut().pop_front();
        if let Some(Turn::Main) = next {
            self.main.set(false);
        }
        next
    }

    /// Polls a task. It keeps its panics to itself.
    #[inline]
    pub(crate) fn run(&self, Ready(task): Ready) {
        if task.run() {
            self.forget(&task);
            // Last, for whoever waits may have a waker that panics.
            task.tell();
        }
    }

    #[inline]
    fn forget(&self, task: &Local) {
        let task = self.alive.borrow_mut().try_remove(task.key());
        drop(task);
    }

    /// Whether anything on this thread is ready.
    pub(crate) fn has_work(&self) -> bool {
        !self.queue.borrow().is_empty()
    }

    /// Whether tasks are started in vain.
    pub(crate) fn have_ended(&self) -> bool {
        self.ended.get()
    }

    /// Drops every task, and tells how many there were that were not the runtime's own. Only from
    /// outside of tasks, at the end.
    pub(crate) fn drop_all(&self) -> usize {
        let mut dropped = 0;
        loop {
            // A destructor may start further tasks.
            let alive: Vec<_> = self.alive.borrow().iter().map(|(_, task)| task.clone()).collect();
            if alive.is_empty() {
                break;
            }
            for task in alive {
                let ended = task.end();
                dropped += usize::from(ended && !task.is_own());
                self.forget(&task);
                if ended {
                    // The others have to go, whatever a waker does.
                    wake::quietly(|| task.tell());
                }
            }
        }
        let queue = self.queue.take();
        self.main.set(false);
        drop(queue);
        self.remote.close();
        self.ended.set(true);
        dropped
    }
}

impl Drop for Tasks {
    /// A future must not outlive its runtime in a waker's hands, on whatever thread.
    fn drop(&mut self) {
        self.drop_all();
    }
}
