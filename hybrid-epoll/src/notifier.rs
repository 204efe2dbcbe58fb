//! Ends an epoll wait from other threads, with a system call only when there is a sleeper to wake.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU8, Ordering};

use ringway_driver::Wake;
use rustix::event::{EventfdFlags, eventfd};

/// What a write adds to the descriptor's count.
#[expect(clippy::host_endian_bytes, reason = "eventfd(2): an integer in the machine's order")]
const ONE: [u8; 8] = 1_u64.to_ne_bytes();

/// Nobody sleeps: whoever is at work looks here before it does.
const AWAKE: u8 = 0;
/// Somebody sleeps, or is about to: a notification has to be an event.
const ASLEEP: u8 = 1;
/// There was a notification since [`Notifier::wake_up`] asked last.
const NOTIFIED: u8 = 2;

/// An event descriptor, to be watched edge-triggered: every write is an event of its own, so nobody
/// reads it. (It would fill up after 2^64 writes.)
pub(crate) struct Notifier {
    state: AtomicU8,
    event: OwnedFd,
}

impl Notifier {
    pub(crate) fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { state: AtomicU8::new(AWAKE), event })
    }

    pub(crate) fn event(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    /// The current or the next sleep ends at once.
    pub(crate) fn notify(&self) {
        // Sequentially consistent, like `fall_asleep`: what the caller did before this is seen by the
        // other side after `wake_up`, or there is an event.
        if self.state.swap(NOTIFIED, Ordering::SeqCst) == ASLEEP {
            // Writing to an event descriptor that is open and not full does not fail.
            let _ = rustix::io::write(&self.event, &ONE);
        }
    }

    /// Announces sleep; false if a notification came before.
    pub(crate) fn fall_asleep(&self) -> bool {
        let order = Ordering::SeqCst;
        self.state.compare_exchange(AWAKE, ASLEEP, order, order) != Err(NOTIFIED)
    }

    /// The sleep is over, or did not take place; tells whether there was a notification.
    ///
    /// With `watched` somebody else goes on sleeping on the set: every notification is an event.
    pub(crate) fn wake_up(&self, watched: bool) -> bool {
        let state = if watched { ASLEEP } else { AWAKE };
        self.state.swap(state, Ordering::SeqCst) == NOTIFIED
    }
}

impl Wake for Notifier {
    fn wake(&self) {
        self.notify();
    }
}
