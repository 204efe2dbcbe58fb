//! A pool of buffers that are registered with the runtime's ring, where that can be had.
//!
//! Registered memory has its pages looked up and pinned once, not for every operation. Where the ring,
//! the kernel or the limit on locked memory does not take it, the same buffers are ordinary memory.
//!
//! Pool and buffers may go to other threads. Only the ring's own thread can tell the ring that memory is gone:
//! a place of its table that was given up elsewhere is left in [`Places`] until then.

#![allow(unsafe_code, reason = "owns the pool's memory and hands parts of it out")]

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::io;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::slice;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use tracing::debug;

use super::{IoBuf, IoBufMut};
use crate::runtime::{self, Core};

/// Buffers begin at page boundaries: so no two share a page, and `O_DIRECT` takes them.
const PAGE: usize = 4096;

/// A fixed number of buffers of one size, in one piece of memory: registered with the runtime's ring
/// where that can be had (Linux 5.19, and a ring), ordinary memory elsewhere.
///
/// Pool, buffers and runtime may go in any order, on any thread: the memory stays until the last buffer
/// is back, and buffers in flight are the op table's. Memory that is freed on a thread other than its
/// ring's stays pinned until the ring's runtime makes the next pool, or ends.
pub struct FixedPool {
    shared: Arc<Shared>,
}

struct Shared {
    memory: NonNull<u8>,
    /// How much memory it is, in bytes.
    total: usize,
    size: usize,
    stride: usize,
    registration: Option<(Arc<Places>, u16)>,
    state: Mutex<State>,
}

// SAFETY: the memory is this value's alone, and its bytes belong to the buffers, one each; everything else
// is `Sync` by itself.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

struct State {
    /// The numbers of those that are in nobody's hands.
    free: Vec<usize>,
    waiting: VecDeque<(u64, Waker)>,
    next_ticket: u64,
}

/// Names a runtime's table of registered buffers, and takes its places back from any thread.
#[derive(Debug, Default)]
pub(crate) struct Places {
    given_up: Mutex<Vec<u16>>,
}

impl Places {
    /// What is free, and has to be emptied.
    fn take(&self) -> Vec<u16> {
        std::mem::take(&mut *lock(&self.given_up))
    }
}

/// Nothing panics while one of these is held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// So many bytes of zeros, which take memory when they are first written to, in pages of the usual size.
///
/// Not in huge ones: of a zero-copy send out of registered memory the kernel counts, for each piece, all that lies
/// before it in its page (Linux 6.18, `io_sg_from_iter`). On a large page that is up to 2 MiB for a segment, more than
/// a receiver on this host has room for; it shrinks its window to almost nothing, and the connection stands still.
fn allocate_pages(total: usize) -> io::Result<NonNull<u8>> {
    let (prot, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
    // SAFETY: the kernel chooses the address, so nothing else is there.
    let memory = unsafe { mmap_anonymous(ptr::null_mut(), total, prot, flags)? };
    // Fails where there are no huge pages.
    // SAFETY: it changes what the pages are made of, and not what is in them.
    let _ = unsafe { madvise(memory, total, Advice::LinuxNoHugepage) };
    NonNull::new(memory.cast()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

/// Where memory is registered with a ring.
#[derive(Clone, Copy, Debug)]
pub struct Registered {
    /// Only to be compared: the memory keeps it from becoming another's.
    places: *const Places,
    place: u16,
}

impl Registered {
    /// The number by which `core`'s ring knows the memory, if that is the ring.
    pub(crate) fn with(self, core: &Rc<Core>) -> Option<u16> {
        (self.places == Arc::as_ptr(&core.places)).then_some(self.place)
    }
}

impl FixedPool {
    /// `count` buffers of `size` bytes, registered with the calling code's runtime if that can be.
    ///
    /// Registered memory counts against `RLIMIT_MEMLOCK` for users whom limits bind, and a pool of more
    /// than 1 GiB is not registered.
    ///
    /// # Errors
    /// `InvalidInput` if there would be no bytes, or more than fit into memory; `OutOfMemory`.
    pub fn new(count: usize, size: usize) -> io::Result<Self> {
        let mut shared = Shared::allocate(count, size)?;
        runtime::with_current(|core| {
            core.places.take().into_iter().for_each(|place| core.ops.unregister_fixed(place));
            // SAFETY: the memory is valid until `Shared::drop`, which gives the place up first.
            let place = unsafe { core.ops.register_fixed(shared.memory.as_ptr(), shared.total) };
            match place {
                Ok(place) => shared.registration = Some((Arc::clone(&core.places), place)),
                Err(error) => {
                    let errno = error.raw_os_error();
                    debug!(errno, %error, "a pool of buffers is not registered, and works without");
                }
            }
        });
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Whether the ring knows the buffers.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        self.shared.registered().is_some()
    }

    /// How many buffers could be had now.
    #[must_use]
    pub fn available(&self) -> usize {
        self.shared.state().free.len()
    }

    /// A buffer, empty, if one is free.
    #[must_use]
    pub fn try_get(&self) -> Option<FixedBuf> {
        let number = self.shared.state().free.pop()?;
        Some(FixedBuf { shared: self.shared.clone(), number, len: 0 })
    }

    /// A buffer, empty, as soon as one is free; those who wait get theirs in turn. Cancel safe.
    pub async fn get(&self) -> FixedBuf {
        Get { pool: self, ticket: None }.await
    }
}

impl fmt::Debug for FixedPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FixedPool")
            .field("size", &self.shared.size)
            .field("available", &self.available())
            .field("registered", &self.is_registered())
            .finish()
    }
}

impl Shared {
    fn allocate(count: usize, size: usize) -> io::Result<Self> {
        let stride = size.checked_next_multiple_of(PAGE).filter(|stride| *stride > 0);
        let total = stride.and_then(|stride| stride.checked_mul(count)).filter(|&total| total > 0);
        let total = total.filter(|total| isize::try_from(*total).is_ok());
        let (Some(stride), Some(total)) = (stride, total) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        Ok(Self {
            memory: allocate_pages(total)?,
            total,
            size,
            stride,
            registration: None,
            state: Mutex::new(State {
                free: (0..count).rev().collect(),
                waiting: VecDeque::new(),
                next_ticket: 0,
            }),
        })
    }

    fn registered(&self) -> Option<Registered> {
        let (places, place) = self.registration.as_ref()?;
        Some(Registered { places: Arc::as_ptr(places), place: *place })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Takes a buffer back.
    fn put(&self, number: usize) {
        self.state().free.push(number);
        self.wake_next();
    }

    fn wake_next(&self) {
        let next = self.state().waiting.pop_front();
        if let Some((_, waker)) = next {
            waker.wake();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some((places, place)) = self.registration.take() {
            let mut place = Some(place);
            runtime::with_current(|core| {
                if Arc::ptr_eq(&core.places, &places)
                    && let Some(place) = place.take()
                {
                    core.ops.unregister_fixed(place);
                }
            });
            lock(&places.given_up).extend(place);
        }
        // SAFETY: mapped with this length. Every buffer holds this value, and operations hold their
        // buffers until the kernel is done, so nobody uses the memory. The ring, if it still is, has been
        // told, or has a place left that no operation names any more; the pages in it are pinned by
        // themselves, whatever becomes of the addresses.
        let _ = unsafe { munmap(self.memory.as_ptr().cast(), self.total) };
    }
}

/// Waits for a buffer.
struct Get<'a> {
    pool: &'a FixedPool,
    /// The place in the queue; who is woken loses it.
    ticket: Option<u64>,
}

impl Get<'_> {
    /// Whether it was in the queue.
    fn leave_queue(&mut self) -> bool {
        let Some(ticket) = self.ticket.take() else { return false };
        let mut state = self.pool.shared.state();
        let place = state.waiting.iter().position(|(other, _)| *other == ticket);
        let entry = place.and_then(|place| state.waiting.remove(place));
        drop(state);
        entry.is_some()
    }
}

impl Future for Get<'_> {
    type Output = FixedBuf;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<FixedBuf> {
        if let Some(buf) = self.pool.try_get() {
            self.leave_queue();
            return Poll::Ready(buf);
        }
        let waker = cx.waker().clone();
        let mut state = self.pool.shared.state();
        // Another thread may have given one back meanwhile.
        if let Some(number) = state.free.pop() {
            drop(state);
            self.leave_queue();
            return Poll::Ready(FixedBuf { shared: self.pool.shared.clone(), number, len: 0 });
        }
        let mine = state.waiting.iter_mut().find(|(other, _)| Some(*other) == self.ticket);
        let replaced = match mine {
            Some((_, waiting)) => Some(std::mem::replace(waiting, waker)),
            None => {
                let ticket = state.next_ticket;
                state.next_ticket += 1;
                state.waiting.push_back((ticket, waker));
                drop(state);
                self.ticket = Some(ticket);
                return Poll::Pending;
            }
        };
        drop(state);
        drop(replaced);
        Poll::Pending
    }
}

impl Drop for Get<'_> {
    fn drop(&mut self) {
        // One that was woken and did not take passes it on.
        if self.ticket.is_some() && !self.leave_queue() && self.pool.available() > 0 {
            self.pool.shared.wake_next();
        }
    }
}

/// A buffer of a [`FixedPool`], to which it returns when it is dropped.
///
/// It has a length, as a vector has, and a capacity that does not change.
pub struct FixedBuf {
    shared: Arc<Shared>,
    number: usize,
    len: usize,
}

impl FixedBuf {
    /// How many bytes fit.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.size
    }

    /// Forgets what is in it.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Adds `bytes` at the end.
    ///
    /// # Panics
    /// If they do not fit.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let (start, room) = (self.len, self.capacity() - self.len);
        assert!(bytes.len() <= room, "{} bytes do not fit into {room}", bytes.len());
        self.len += bytes.len();
        self[start..].copy_from_slice(bytes);
    }

    /// Makes it `len` bytes long; bytes that come by that are `value`.
    ///
    /// # Panics
    /// If they do not fit.
    pub fn resize(&mut self, len: usize, value: u8) {
        let (start, room) = (self.len, self.capacity());
        assert!(len <= room, "{len} bytes do not fit into {room}");
        self.len = len;
        if let Some(new) = self.get_mut(start..) {
            new.fill(value);
        }
    }

    /// Makes it `len` bytes long, for whoever writes to all that come by that: they are zeros, or what the pool's buffers
    /// had in that place before.
    ///
    /// # Panics
    /// If they do not fit.
    pub fn resize_stale(&mut self, len: usize) {
        let room = self.capacity();
        assert!(len <= room, "{len} bytes do not fit into {room}");
        self.len = len;
    }

    fn start(&self) -> *mut u8 {
        // SAFETY: numbers are below the count that the memory was allocated for.
        unsafe { self.shared.memory.as_ptr().add(self.number * self.shared.stride) }
    }
}

impl Deref for FixedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the buffer's own part of the memory, initialised when it was allocated; numbers are
        // given out to one at a time.
        unsafe { slice::from_raw_parts(self.start(), self.len) }
    }
}

impl DerefMut for FixedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `deref`, and the borrow is exclusive.
        unsafe { slice::from_raw_parts_mut(self.start(), self.len) }
    }
}

impl Drop for FixedBuf {
    fn drop(&mut self) {
        self.shared.put(self.number);
    }
}

impl fmt::Debug for FixedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FixedBuf").field("len", &self.len).finish_non_exhaustive()
    }
}

// SAFETY: the memory does not move with the handle, and `len` never exceeds `size` bytes of it, which
// are initialised. The registration is that of the memory that it lies in.
unsafe impl IoBuf for FixedBuf {
    fn stable_ptr(&self) -> *const u8 {
        self.start()
    }

    fn bytes_init(&self) -> usize {
        self.len
    }

    fn registered(&self) -> Option<Registered> {
        self.shared.registered()
    }
}

// SAFETY: one handle per number, so nobody else refers to these bytes.
unsafe impl IoBufMut for FixedBuf {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.start()
    }

    fn bytes_total(&self) -> usize {
        self.shared.size
    }

    unsafe fn set_init(&mut self, n: usize) {
        self.len = self.len.max(n);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[test]
    fn buffers_come_back_when_dropped_and_outlive_the_pool() {
        let pool = FixedPool::new(2, 100).unwrap();
        let (mut one, two) = (pool.try_get().unwrap(), pool.try_get().unwrap());
        assert!(pool.try_get().is_none());
        assert_ne!(one.stable_ptr(), two.stable_ptr());
        drop(two);
        assert_eq!(pool.available(), 1);
        drop(pool);
        one.extend_from_slice(b"still here");
        assert_eq!((&*one, one.capacity()), (b"still here".as_slice(), 100));
    }

    #[test]
    fn a_buffer_grows_and_shrinks_within_its_capacity() {
        let mut buf = FixedPool::new(1, 10).unwrap().try_get().unwrap();
        buf.extend_from_slice(b"0123456789");
        buf.resize(3, b'x');
        assert_eq!(&*buf, b"012");
        buf.resize(6, b'x');
        assert_eq!(&*buf, b"012xxx", "what was there does not come back");
    }

    #[test]
    fn a_buffer_comes_back_from_another_thread_to_who_waits() {
        let pool = FixedPool::new(1, 100).unwrap();
        let buf = pool.try_get().unwrap();
        let mut waiting = pin!(pool.get());
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(cx).is_pending());
        std::thread::spawn(move || drop(buf)).join().unwrap();
        assert!(waiting.as_mut().poll(cx).is_ready());
    }

    #[test]
    fn its_pages_are_of_the_usual_size() {
        let Ok(choice) = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled")
        else {
            return eprintln!("SKIPPED: no huge pages");
        };
        let pool = FixedPool::new(4, 1 << 20).unwrap();
        let mut buf = pool.try_get().unwrap();
        buf.resize(1 << 20, 1);
        let (address, maps) = (buf.as_ptr().addr(), std::fs::read_to_string("/proc/self/smaps"));
        let maps = maps.unwrap();
        let holds = |line: &&str| {
            let range = line.split_once(' ').and_then(|(range, _)| range.split_once('-'));
            let number = |text: &str| usize::from_str_radix(text, 16).ok();
            let range = range.and_then(|(from, to)| Some(number(from)?..number(to)?));
            range.is_some_and(|range| range.contains(&address))
        };
        let flags = maps.lines().skip_while(|line| !holds(line));
        let flags = flags.skip(1).find(|line| line.starts_with("VmFlags:")).unwrap();
        assert!(flags.split(' ').any(|flag| flag == "nh"), "{flags}, where {choice}");
    }

    #[test]
    fn no_bytes_and_more_than_memory_are_refused() {
        for (count, size) in [(0, 1), (1, 0), (usize::MAX, 2), (2, usize::MAX)] {
            let error = FixedPool::new(count, size).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{count} of {size}");
        }
    }

    #[test]
    fn who_gives_up_after_being_woken_passes_the_buffer_on() {
        let pool = FixedPool::new(1, 1).unwrap();
        let only = pool.try_get().unwrap();
        let cx = &mut Context::from_waker(Waker::noop());
        let mut first = Box::pin(pool.get());
        let mut second = pin!(pool.get());
        assert!(first.as_mut().poll(cx).is_pending() && second.as_mut().poll(cx).is_pending());
        drop(only);
        assert_eq!(pool.shared.state().waiting.len(), 1, "the first was woken");
        drop(first);
        assert!(pool.shared.state().waiting.is_empty(), "and the second in its place");
        assert!(second.as_mut().poll(cx).is_ready());
    }
}
