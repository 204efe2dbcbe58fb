//! The drivers of one runtime and its three ways to sleep.
//!
//! Every runtime has an epoll driver: it takes wake-ups from other threads, waits for readiness and
//! has the pool. Uring adds a ring and sleeps in it, with the epoll descriptor watched by the ring.
//! Hybrid adds a ring and sleeps in epoll, with the ring's descriptor in the set.

#![allow(unsafe_code, reason = "passes `Driver::submit` on")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use ringway_driver::{Completion, Driver, Identity, Op, Token, Wake, Waker};
use ringway_epoll::{EpollDriver, Job, Refused, Strain, THREAD_RETRY, sigpipe};
use rustix::event::{EventfdFlags, eventfd};

use crate::ladder::Rung;
use crate::metrics::Metrics;
use crate::table::About;
use crate::uring::provided::{Group, Registration};
use crate::uring::{By, UringDriver};

/// While operations wait for the pool, which is full or has got no threads from the system, the epoll
/// driver gets a turn this often even if its descriptor does not ask for one.
const POOL_RETRY: Duration = THREAD_RETRY;

/// Where the thread sleeps, and the ring if there is one.
pub(crate) enum Parking {
    Uring(UringDriver),
    Hybrid(UringDriver),
    Epoll,
}

/// What the drivers have come up against so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Strains {
    pub(crate) pool: Strain,
    /// The completion queue was too short.
    pub(crate) overflow: bool,
}

/// See the module.
pub(crate) struct Drivers {
    /// Before what it refers to.
    parking: Parking,
    epoll: EpollDriver,
    /// Where the thread sleeps in the ring, what others write to to wake it.
    ring_wake: Option<Arc<OwnedFd>>,
}

impl Drivers {
    /// # Errors
    /// When the ring cannot be put into the epoll set.
    pub(crate) fn new(mut epoll: EpollDriver, mut parking: Parking) -> io::Result<Self> {
        let mut ring_wake = None;
        match &mut parking {
            Parking::Epoll => {}
            Parking::Hybrid(ring) => epoll.watch_ring(ring.as_fd())?,
            Parking::Uring(ring) => {
                let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
                let wake = Arc::new(eventfd(0, flags)?);
                ring.wake_by(wake.as_fd());
                ring_wake = Some(wake);
            }
        }
        Ok(Self { parking, epoll, ring_wake })
    }

    /// [`Driver::submit`] of the driver that `rung` names.
    ///
    /// # Safety
    /// As there.
    pub(crate) unsafe fn submit(
        &mut self,
        token: Token,
        op: Op,
        credentials: Option<Identity>,
        rung: Rung,
    ) {
        match (rung, &mut self.parking) {
            (Rung::Ring, Parking::Uring(ring) | Parking::Hybrid(ring)) => {
                // SAFETY: the caller's promise, unchanged.
                unsafe { ring.submit(token, op, credentials, By::Ring) }
            }
            (Rung::Worker, Parking::Uring(ring) | Parking::Hybrid(ring)) => {
                // SAFETY: the caller's promise, unchanged.
                unsafe { ring.submit(token, op, credentials, By::Worker) }
            }
            // SAFETY: the caller's promise, unchanged.
            (Rung::Pool | Rung::Worker, _) => unsafe {
                self.epoll.submit_blocking(token, op, credentials)
            },
            // SAFETY: the caller's promise, unchanged.
            (Rung::Ring | Rung::Ready | Rung::Inline, _) => unsafe {
                self.epoll.submit(token, op, credentials)
            },
        }
    }

    /// [`Driver::cancel`] of the driver that has the operation; nothing where that would be a danger
    /// ([`is_hashed`](crate::uring::is_hashed)).
    pub(crate) fn cancel(&mut self, token: Token, about: About) {
        match (about.rung, &mut self.parking) {
            (Rung::Ring | Rung::Worker, Parking::Uring(ring) | Parking::Hybrid(ring)) => {
                if !about.hashed {
                    ring.cancel(token);
                }
            }
            _ => self.epoll.cancel(token),
        }
    }

    /// Whether `op` can be done at once by a descriptor that epoll is said to be ready; see
    /// [`EpollDriver::try_now`].
    ///
    /// # Safety
    /// As for [`Driver::submit`], for the length of the call.
    pub(crate) unsafe fn try_ready(
        &mut self,
        op: &Op,
        credentials: Option<&Identity>,
    ) -> Option<i32> {
        // SAFETY: the caller's promise, unchanged.
        unsafe { self.epoll.try_now(op, credentials) }
    }

    /// [`Driver::adopt`], where sockets wait in epoll; otherwise nothing is kept, and this is false.
    pub(crate) fn adopt(&mut self, fd: RawFd) -> bool {
        let here = matches!(self.parking, Parking::Epoll);
        if here {
            self.epoll.adopt(fd);
        }
        here
    }

    /// [`Driver::forget`].
    pub(crate) fn forget(&mut self, fd: RawFd) {
        self.epoll.forget(fd);
    }

    /// Registers memory with the ring.
    ///
    /// # Safety
    /// As for [`Places::register`](crate::uring::fixed::Places::register).
    pub(crate) unsafe fn register_fixed(&mut self, at: *mut u8, len: usize) -> io::Result<u16> {
        match &mut self.parking {
            // SAFETY: the caller's promise, unchanged.
            Parking::Uring(ring) | Parking::Hybrid(ring) => unsafe { ring.register_fixed(at, len) },
            Parking::Epoll => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    pub(crate) fn unregister_fixed(&mut self, place: u16) {
        if let Parking::Uring(ring) | Parking::Hybrid(ring) = &mut self.parking {
            ring.unregister_fixed(place);
        }
    }

    /// [`Driver::turn`] of them all; `busy` as in [`EpollDriver::turn_beside`].
    pub(crate) fn turn(
        &mut self,
        busy: bool,
        timeout: Option<Duration>,
        out: &mut Vec<Completion>,
    ) -> io::Result<()> {
        match &mut self.parking {
            Parking::Epoll => self.epoll.turn_beside(busy, timeout, out),
            Parking::Uring(ring) => {
                // The epoll driver says so itself, where each turn is one of its.
                sigpipe::begin_turn();
                let stalled = self.epoll.backlog() > 0;
                let timeout = if stalled { Some(at_most(timeout, POOL_RETRY)) } else { timeout };
                ring.watch(self.epoll.as_fd().as_raw_fd());
                ring.turn(busy, timeout, out)?;
                if ring.take_watched_ready() || stalled {
                    self.epoll.turn_beside(busy, Some(Duration::ZERO), out)?;
                }
                Ok(())
            }
            Parking::Hybrid(ring) => {
                ring.turn(busy, Some(Duration::ZERO), out)?;
                let timeout = if out.is_empty() { timeout } else { Some(Duration::ZERO) };
                self.epoll.turn_beside(busy, timeout, out)?;
                if self.epoll.take_ring_ready() {
                    ring.turn(busy, Some(Duration::ZERO), out)?;
                }
                Ok(())
            }
        }
    }

    /// Lets the ring pick receive buffers from `group`.
    ///
    /// # Errors
    /// `Unsupported` where there is no ring, or it has no such groups; the kernel's.
    ///
    /// # Safety
    /// As for [`UringDriver::register_group`].
    pub(crate) unsafe fn register_group(&mut self, group: &Group) -> io::Result<Registration> {
        match &mut self.parking {
            // SAFETY: the caller's promise.
            Parking::Uring(ring) | Parking::Hybrid(ring) => unsafe { ring.register_group(group) },
            Parking::Epoll => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Ends what [`Drivers::register_group`] began.
    pub(crate) fn unregister_group(&mut self, registration: Registration) -> io::Result<()> {
        match &mut self.parking {
            Parking::Uring(ring) | Parking::Hybrid(ring) => ring.unregister_group(registration),
            Parking::Epoll => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    pub(crate) fn waker(&self) -> Waker {
        match &self.ring_wake {
            Some(wake) => Arc::new(RingWaker(wake.clone())),
            None => self.epoll.waker(),
        }
    }

    /// Whether the last turn may have left events in the epoll set, of which its descriptor does not tell
    /// again.
    pub(crate) fn has_more(&self) -> bool {
        self.epoll.has_more()
    }

    /// The descriptor of the epoll set, readable when a turn would find something.
    pub(crate) fn epoll_fd(&self) -> RawFd {
        self.epoll.as_fd().as_raw_fd()
    }

    pub(crate) fn strains(&self) -> Strains {
        let overflow = match &self.parking {
            Parking::Uring(ring) | Parking::Hybrid(ring) => ring.has_overflowed(),
            Parking::Epoll => false,
        };
        Strains { pool: self.epoll.strain(), overflow }
    }

    /// Adds what waits here to `metrics`.
    pub(crate) fn measure(&self, metrics: &mut Metrics) {
        if let Parking::Uring(ring) | Parking::Hybrid(ring) = &self.parking {
            metrics.ring_backlog = ring.backlog();
        }
        let stats = self.epoll.stats();
        metrics.pool_backlog = stats.backlog;
        metrics.pool_threads = stats.threads;
    }

    /// Gives `job` to the pool, or back if that does not take it.
    pub(crate) fn spawn_blocking(&self, job: Job) -> Result<(), Refused> {
        self.epoll.pool().execute(job)
    }
}

/// Wakes a thread that sleeps in its ring: at once, by a system call of the waking thread's. A message
/// from its own ring, if it has one, would spare that call and yet cost more, and would leave only when
/// its batch does (ARCHITECTURE.md, *Tasks*).
struct RingWaker(Arc<OwnedFd>);

impl Wake for RingWaker {
    fn wake(&self) {
        #[expect(clippy::host_endian_bytes, reason = "eventfd(2) has it so")]
        // It fails only after 2^64 wake-ups.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }
}

fn at_most(timeout: Option<Duration>, limit: Duration) -> Duration {
    timeout.map_or(limit, |timeout| timeout.min(limit))
}
