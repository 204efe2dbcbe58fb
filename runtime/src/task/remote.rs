//! The side of a runtime that other threads may touch.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake;

use async_task::Runnable;

/// Takes woken tasks in from other threads, and ends the runtime's sleep if it sleeps.
pub(crate) struct Remote {
    /// At most one entry for each task of the runtime.
    queue: Mutex<VecDeque<Runnable>>,
    /// The future of `block_on` was woken.
    main: AtomicBool,
    /// The runtime sleeps, or is about to and will look at the above once more. While it is awake a
    /// wake-up costs no system call.
    asleep: AtomicBool,
    driver: ringway_driver::Waker,
}

impl Remote {
    pub(crate) fn new(driver: ringway_driver::Waker) -> Arc<Self> {
        let (main, asleep) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Self { queue: Mutex::default(), main, asleep, driver })
    }

    pub(super) fn push(&self, runnable: Runnable) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).push_back(runnable);
        self.rouse();
    }

    pub(super) fn drain_to(&self, local: &mut VecDeque<Runnable>) {
        local.append(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Whether the future of `block_on` was woken since this was asked last.
    pub(crate) fn take_main(&self) -> bool {
        self.main.swap(false, Ordering::AcqRel)
    }

    /// Announces sleep. False if there is something to do instead.
    pub(crate) fn fall_asleep(&self) -> bool {
        // Sequentially consistent, like `rouse`: of an announcement here and a push there, at least
        // one side sees the other's.
        self.asleep.store(true, Ordering::SeqCst);
        let idle = !self.main.load(Ordering::SeqCst)
            && self.queue.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        if !idle {
            self.wake_up();
        }
        idle
    }

    pub(crate) fn wake_up(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }

    fn rouse(&self) {
        if self.asleep.swap(false, Ordering::SeqCst) {
            self.driver.wake();
        }
    }
}

/// The waker of `block_on`'s future.
impl Wake for Remote {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.main.swap(true, Ordering::SeqCst) {
            self.rouse();
        }
    }
}
