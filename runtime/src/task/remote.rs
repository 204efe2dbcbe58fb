//! The side of a runtime that other threads may touch.

use std::sync::{Arc, PoisonError};
use std::task::Wake;

use super::current;
use super::raw::Woken;
use crate::sync::atomic::{AtomicU8, Ordering};
use crate::sync::{Mutex, MutexGuard};

/// The future of `block_on` was woken.
const MAIN: u8 = 1;
/// Tasks were woken.
const TASKS: u8 = 2;
/// The runtime sleeps, or is about to. While it is awake a wake-up costs no system call.
const ASLEEP: u8 = 4;

/// Takes wake-ups in from other threads, and ends the runtime's sleep if it sleeps.
///
/// Nothing is lost between sleep and wake-up because both are in one word: falling asleep is an
/// exchange that fails if anything is in it, and whoever is first to put something into it while the
/// runtime sleeps wakes the driver.
pub(crate) struct Remote {
    state: AtomicU8,
    inbox: Mutex<Inbox>,
    driver: ringway_driver::Waker,
}

#[derive(Default)]
struct Inbox {
    /// At most one entry for each task of the runtime.
    woken: Vec<Woken>,
    closed: bool,
}

/// What has come since it was looked for last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct News {
    pub(super) main: bool,
    pub(super) tasks: bool,
}

impl Remote {
    pub(crate) fn new(driver: ringway_driver::Waker) -> Arc<Self> {
        Arc::new(Self { state: AtomicU8::new(0), inbox: Mutex::default(), driver })
    }

    /// Takes a woken task in, or drops it if the runtime has ended.
    pub(super) fn push(&self, woken: Woken) {
        let mut inbox = self.inbox();
        if inbox.closed {
            drop(inbox);
            return drop(woken);
        }
        inbox.woken.push(woken);
        drop(inbox);
        self.rouse(TASKS);
    }

    pub(super) fn take_news(&self) -> News {
        // Mostly there is none, and looking costs less than taking.
        let idle = self.state.load(Ordering::Relaxed) == 0;
        let news = if idle { 0 } else { self.state.swap(0, Ordering::AcqRel) };
        News { main: news & MAIN != 0, tasks: news & TASKS != 0 }
    }

    /// Exchanges the woken tasks for `empty`.
    pub(super) fn take_woken(&self, empty: &mut Vec<Woken>) {
        std::mem::swap(&mut self.inbox().woken, empty);
    }

    /// The runtime has ended: drops what has come, and what is to come.
    pub(super) fn close(&self) {
        let mut inbox = self.inbox();
        inbox.closed = true;
        let woken = std::mem::take(&mut inbox.woken);
        drop(inbox);
        drop(woken);
    }

    /// Announces sleep. False if there is something to do instead.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.state.compare_exchange(0, ASLEEP, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Whether it sleeps, or is about to.
    pub(crate) fn is_asleep(&self) -> bool {
        self.state.load(Ordering::Relaxed) == ASLEEP
    }

    pub(crate) fn wake_up(&self) {
        self.state.fetch_and(!ASLEEP, Ordering::AcqRel);
    }

    /// There is something to do that the runtime's own thread has brought about. Its host may be about
    /// to sleep: what happens outside of a guest's turns is seen by nobody before the next.
    pub(crate) fn nudge(&self) {
        if self.state.load(Ordering::Relaxed) == ASLEEP {
            self.driver.wake();
        }
    }

    fn rouse(&self, news: u8) {
        if self.state.fetch_or(news, Ordering::AcqRel) == ASLEEP {
            self.driver.wake();
        }
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The waker of `block_on`'s future.
impl Wake for Remote {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let is_home = current::with(|tasks| match tasks {
            Some(tasks) if Arc::ptr_eq(tasks.remote(), self) => {
                tasks.wake_main();
                true
            }
            _ => false,
        });
        if !is_home {
            self.rouse(MAIN);
        }
    }
}
