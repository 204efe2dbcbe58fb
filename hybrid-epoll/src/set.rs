//! The epoll set: what is in it, and the one system call that waits for it.
//!
//! The set and its registrations are [`polling`]'s, but for what that has no word for (`EPOLLRDHUP`,
//! events exactly as asked). The wait is made here: `polling`'s own arms a timer and its notifier for
//! every sleep, which are four more system calls. Those two are in the set too, disarmed.

#![allow(unsafe_code, reason = "makes a system call, borrows descriptors by number")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::ptr;
use std::time::Duration;

use libc::{POLLIN, POLLOUT};
use polling::{Event, PollMode, Poller};
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

pub(crate) use epoll::EventFlags as Flags;

/// The key of a watched ring. Keys of descriptors are their numbers; `usize::MAX` is `polling`'s own.
pub(crate) const RING: u64 = RING_KEY as u64;
const RING_KEY: usize = usize::MAX - 1;
const NOTIFIER_KEY: usize = usize::MAX - 2;

/// How many events a wait can bring: as many as the runtime polls tasks between two turns (its `BATCH`).
pub(crate) const EVENTS_MAX: usize = 128;

pub(crate) struct Set {
    poller: Poller,
    /// What the last wait has brought is in front.
    events: Box<[epoll::Event; EVENTS_MAX]>,
    /// Not yet known to be missing: it sleeps to the nanosecond (Linux 5.11).
    has_pwait2: bool,
}

impl Set {
    /// With `notifier` in it.
    pub(crate) fn new(notifier: BorrowedFd<'_>) -> io::Result<Self> {
        let poller = Poller::new()?;
        let event = Event::readable(NOTIFIER_KEY);
        // SAFETY: the notifier is in use as long as anybody can wait, and epoll itself forgets a
        // descriptor whose last copy is closed.
        unsafe { poller.add_with_mode(notifier.as_raw_fd(), event, PollMode::Edge)? };
        let none = epoll::Event { flags: Flags::empty(), data: epoll::EventData::new_u64(0) };
        Ok(Self { poller, events: Box::new([none; EVENTS_MAX]), has_pwait2: true })
    }

    /// Readable when there are events.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }

    /// Puts a ring in, for as long as it is readable.
    pub(crate) fn add_ring(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let event = Event::readable(RING_KEY);
        // SAFETY: epoll itself forgets a descriptor whose last copy is closed, so nothing is left
        // behind by a ring that goes first.
        unsafe { self.poller.add_with_mode(fd.as_raw_fd(), event, PollMode::Level) }
    }

    /// Puts `fd` in for good: whatever changes is an event, once.
    ///
    /// `fd` is open, and is removed before it is closed.
    pub(crate) fn add_edges(&self, fd: RawFd) -> io::Result<()> {
        let flags = Flags::IN | Flags::OUT | Flags::RDHUP | Flags::PRI | Flags::ET;
        match self.change(fd, flags, false) {
            // It was in already, for one event or by a copy of the descriptor.
            Err(Errno::EXIST) => Ok(self.change(fd, flags, true)?),
            result => Ok(result?),
        }
    }

    /// Asks for one event among `wanted` (`POLL*`) on `fd`; `exact`: for no others but errors.
    /// `known`: `fd` is in already.
    ///
    /// `fd` is open, and is removed before it is closed.
    pub(crate) fn arm(&self, fd: RawFd, wanted: i16, exact: bool, known: bool) -> io::Result<()> {
        match self.arm_once(fd, wanted, exact, known) {
            // A copy of the descriptor kept an entry of this number alive.
            Err(error) if !known && error.raw_os_error() == Some(libc::EEXIST) => {
                self.arm_once(fd, wanted, exact, true)
            }
            result => result,
        }
    }

    fn arm_once(&self, fd: RawFd, wanted: i16, exact: bool, known: bool) -> io::Result<()> {
        if exact {
            // To `polling` "readable" includes urgent data, and it has no word for POLLRDHUP: arming
            // more than is wanted would wake again and again.
            let flags = Flags::from_bits_retain(u32::from(wanted.cast_unsigned()));
            return Ok(self.change(fd, flags | Flags::ONESHOT, known)?);
        }
        let event = Event::new(fd as usize, wanted & POLLIN != 0, wanted & POLLOUT != 0);
        if known {
            self.poller.modify_with_mode(borrow(fd), event, PollMode::Oneshot)
        } else {
            // SAFETY: the caller removes the descriptor before it is closed.
            unsafe { self.poller.add_with_mode(fd, event, PollMode::Oneshot) }
        }
    }

    fn change(&self, fd: RawFd, flags: Flags, known: bool) -> Result<(), Errno> {
        let data = epoll::EventData::new_u64(fd as u64);
        let change = if known { epoll::modify } else { epoll::add };
        change(self.as_fd(), borrow(fd), data, flags)
    }

    pub(crate) fn remove(&self, fd: RawFd) {
        // If the descriptor was closed against the contract, the set has forgotten it already.
        let _ = self.poller.delete(borrow(fd));
    }

    /// Sleeps until there are events or `timeout` has passed, and tells how many it has brought: up to
    /// `most`, which is 1 to [`EVENTS_MAX`]. Those that stay behind come first the next time. An
    /// interrupted sleep ends without events.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>, most: usize) -> io::Result<usize> {
        let most = most.clamp(1, EVENTS_MAX);
        let waited = match timeout {
            Some(timeout) if self.has_pwait2 && !timeout.is_zero() => {
                self.wait_exactly(timeout, most)
            }
            timeout => self.wait_milliseconds(timeout, most),
        };
        match waited {
            Ok(count) => Ok(count),
            Err(Errno::INTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// The key and the flags of event `index` of those that the last wait has brought.
    pub(crate) fn event(&self, index: usize) -> Option<(u64, Flags)> {
        let event = *self.events.get(index)?;
        Some((event.data.u64(), event.flags))
    }

    /// Rounds up. A sleep that is longer than epoll can count (24 days) ends early.
    fn wait_milliseconds(
        &mut self,
        timeout: Option<Duration>,
        most: usize,
    ) -> Result<usize, Errno> {
        let longest = Duration::from_millis(i32::MAX as u64);
        let timeout = timeout.map(|timeout| timespec(timeout.min(longest)));
        epoll::wait(self.poller.as_fd(), &mut self.events[..most], timeout.as_ref())
    }

    fn wait_exactly(&mut self, timeout: Duration, most: usize) -> Result<usize, Errno> {
        let (events, timespec) = (&mut self.events[..most], timespec(timeout));
        // SAFETY: the list has room for as many events as are asked for, in the kernel's layout, and
        // the time is on the stack. There is no signal mask.
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.poller.as_raw_fd(),
                events.as_mut_ptr(),
                events.len(),
                &raw const timespec,
                ptr::null::<libc::sigset_t>(),
                size_of::<u64>(),
            )
        };
        if let Ok(count) = usize::try_from(count) {
            return Ok(count);
        }
        match Errno::from_io_error(&io::Error::last_os_error()) {
            // EPERM: a filter that does not know the call. epoll itself has no such error.
            Some(Errno::NOSYS | Errno::PERM) => {
                self.has_pwait2 = false;
                self.wait_milliseconds(Some(timeout), most)
            }
            error => Err(error.unwrap_or(Errno::IO)),
        }
    }
}

fn timespec(time: Duration) -> Timespec {
    let seconds = time.as_secs().try_into().unwrap_or(i64::MAX);
    Timespec { tv_sec: seconds, tv_nsec: time.subsec_nanos().into() }
}

fn borrow<'a>(fd: RawFd) -> BorrowedFd<'a> {
    // SAFETY: those who wait for a descriptor, or have adopted it, keep it open; it does not leave
    // this module's calls.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::notifier::Notifier;

    #[test]
    fn a_short_sleep_is_neither_cut_short_nor_stretched_to_a_millisecond() {
        let notifier = Notifier::new().unwrap();
        let mut set = Set::new(notifier.event()).unwrap();
        let sleep = Duration::from_micros(150);
        let mut shortest = Duration::MAX;
        for _ in 0..50 {
            let start = Instant::now();
            assert_eq!(set.wait(Some(sleep), 1).unwrap(), 0);
            shortest = shortest.min(start.elapsed());
        }
        assert!(shortest >= sleep);
        assert!(!set.has_pwait2 || shortest < Duration::from_millis(1), "{shortest:?}");
    }

    #[test]
    fn without_the_exact_call_sleeps_are_rounded_up() {
        let notifier = Notifier::new().unwrap();
        let mut set = Set::new(notifier.event()).unwrap();
        set.has_pwait2 = false;
        let start = Instant::now();
        assert_eq!(set.wait(Some(Duration::from_nanos(1_000_001)), 1).unwrap(), 0);
        assert!(start.elapsed() >= Duration::from_millis(2));
    }
}
