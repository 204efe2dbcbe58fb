//! Identities that the ring knows by number, so that an entry can run on somebody's behalf.
//!
//! A number stands for credentials as they were when the ring was told: user, groups, capabilities,
//! keyrings and the security module's label. The kernel goes on taking it when the process has long
//! lost the right to act for anybody. So an identity is forgotten as soon as the thread is seen to
//! have other capabilities than it had then, and what could not be done by a switch is not done here.

use std::collections::{HashMap, VecDeque};
use std::thread;

use io_uring::IoUring;
use ringway_driver::Identity;
use ringway_epoll::syscall;
use rustix::thread::{CapabilitySets, capabilities};

/// How many the ring is told of at a time: more than most servers have users at work at once. Each
/// holds a few hundred bytes in the kernel; it takes 65,535.
const KNOWN_MAX: usize = 1024;

/// How many are forgotten at a time to make room: entries that wait have to go to the kernel first,
/// and that is to be rare.
const FORGOTTEN: usize = KNOWN_MAX / 4;

/// The identities of one ring.
pub(super) struct Personalities {
    known: HashMap<Identity, u16>,
    /// Oldest first.
    order: VecDeque<Identity>,
    /// What the thread could do when the ring was told of them.
    privileges: Option<CapabilitySets>,
    deferred: bool,
}

impl Personalities {
    /// `deferred`: the kernel carries the ring's work on in `io_uring_enter` only.
    pub(super) fn new(deferred: bool) -> Self {
        Self { known: HashMap::new(), order: VecDeque::new(), privileges: None, deferred }
    }

    /// The number of an identity that is known, and may still be had. Costs a system call, 0.2 µs.
    ///
    /// # Errors
    /// The kernel's negated errno.
    pub(super) fn get(&mut self, ring: &IoUring, identity: &Identity) -> Result<Option<u16>, i32> {
        let privileges = capabilities(None).map_err(|error| -error.raw_os_error())?;
        if self.privileges != Some(privileges) {
            self.forget(ring, self.order.len());
            self.privileges = Some(privileges);
        }
        Ok(self.known.get(identity).copied())
    }

    pub(super) fn is_full(&self) -> bool {
        self.known.len() >= KNOWN_MAX
    }

    /// Tells the ring of an identity: it takes the one that the calling thread has, so a thread takes
    /// it on for the length of that call. Nothing is submitted or reaped meanwhile.
    ///
    /// A ring whose work the kernel carries on whenever this thread leaves a system call (seen on 6.18:
    /// the second of two linked operations) would carry it on under the borrowed identity. For such
    /// a ring another thread, which nothing was submitted from, does it.
    ///
    /// # Errors
    /// `-EPERM` if this process may not act for others; the kernel's negated errno.
    pub(super) fn register(&mut self, ring: &IoUring, identity: Identity) -> Result<u16, i32> {
        let result = if self.deferred {
            register_here(ring, &identity)
        } else {
            thread::scope(|scope| {
                let register = || register_here(ring, &identity);
                let thread = thread::Builder::new().spawn_scoped(scope, register);
                thread.map_or(-libc::EAGAIN, |thread| thread.join().unwrap_or(-libc::EAGAIN))
            })
        };
        let number = u16::try_from(result).map_err(|_| result)?;
        self.order.push_back(identity.clone());
        self.known.insert(identity, number);
        Ok(number)
    }

    /// Operations that have been submitted keep the identity; the numbers become free.
    pub(super) fn forget_oldest(&mut self, ring: &IoUring) {
        self.forget(ring, FORGOTTEN);
    }

    fn forget(&mut self, ring: &IoUring, count: usize) {
        for identity in self.order.drain(..count.min(self.order.len())) {
            if let Some(number) = self.known.remove(&identity) {
                // It fails only for a number that is not known.
                let _ = ring.submitter().unregister_personality(number);
            }
        }
    }
}

/// The number, or a negated errno.
fn register_here(ring: &IoUring, identity: &Identity) -> i32 {
    syscall::with_credentials(Some(identity), || match ring.submitter().register_personality() {
        Ok(number) => number.into(),
        Err(error) => -error.raw_os_error().unwrap_or(libc::EIO),
    })
}
