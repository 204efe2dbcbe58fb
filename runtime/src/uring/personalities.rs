//! Identities that the ring knows by number, so that an entry can run on somebody's behalf.

use std::collections::{HashMap, VecDeque};

use io_uring::IoUring;
use ringway_driver::Identity;
use ringway_epoll::syscall;

/// How many the ring is told of at a time: more than most servers have users at work at once. Each
/// holds a few hundred bytes in the kernel; it takes 65,535.
const KNOWN_MAX: usize = 1024;

/// The identities of one ring, oldest first.
#[derive(Default)]
pub(super) struct Personalities {
    known: HashMap<Identity, u16>,
    order: VecDeque<Identity>,
}

impl Personalities {
    pub(super) fn get(&self, credentials: &Identity) -> Option<u16> {
        self.known.get(credentials).copied()
    }

    pub(super) fn is_full(&self) -> bool {
        self.known.len() >= KNOWN_MAX
    }

    /// Tells the ring of an identity: it takes the one that the thread has, so the thread takes it on
    /// for the length of that call. Nothing is submitted meanwhile.
    ///
    /// # Errors
    /// `-EPERM` if this process may not act for others; the kernel's negated errno.
    pub(super) fn register(&mut self, ring: &IoUring, credentials: Identity) -> Result<u16, i32> {
        let result = syscall::with_credentials(Some(&credentials), || {
            match ring.submitter().register_personality() {
                Ok(number) => i32::from(number),
                Err(error) => -error.raw_os_error().unwrap_or(libc::EIO),
            }
        });
        let number = u16::try_from(result).map_err(|_| result)?;
        self.order.push_back(credentials.clone());
        self.known.insert(credentials, number);
        Ok(number)
    }

    /// Operations that have been submitted keep the identity; the number becomes free.
    pub(super) fn forget_oldest(&mut self, ring: &IoUring) {
        let oldest = self.order.pop_front();
        if let Some(number) = oldest.and_then(|oldest| self.known.remove(&oldest)) {
            // It fails only for a number that is not known.
            let _ = ring.submitter().unregister_personality(number);
        }
    }
}
