//! Rings of provided buffers: memory that the kernel picks from when data comes.
//!
//! It knows the layout and the registration; who gets which buffer, and when it comes back, is
//! `net::recv_pool`'s.

#![allow(unsafe_code, reason = "shares memory with the kernel")]

use std::alloc::{self, Layout};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;
use slab::Slab;

/// `IOU_PBUF_RING_INC`: a buffer is used up piece by piece.
const INCREMENTAL: u16 = 2;

/// The kernel wants a page's alignment.
const PAGE: usize = 4096;

/// A group of provided buffers, registered or not: the memory of its ring, not of the buffers.
///
/// Dropping it frees the ring's memory; it must have been unregistered, or its ring closed and idle.
pub(crate) struct Group {
    entries: NonNull<BufRingEntry>,
    layout: Layout,
    mask: u16,
    tail: u16,
    /// The buffer that was given last.
    last: u16,
    /// By buffer: the one that was given after it.
    after: Box<[u16]>,
}

impl Group {
    /// The group of trials.
    pub(super) const TRIAL: u16 = u16::MAX;

    /// The first number that a group gets. Some kernels (5.19 to 6.8 by their sources, seen on 6.1) keep
    /// what they know of lower ones when such a group is unregistered: the next group of that number
    /// would begin where the other has ended, with buffers that nobody has given.
    const FIRST: u16 = 64;

    /// The most buffers in a group (the kernel's limit).
    pub(crate) const BUFFERS_MAX: u16 = 1 << 15;

    /// Room for `count` buffers with numbers below that, a power of two up to [`Group::BUFFERS_MAX`].
    pub(crate) fn new(count: u16) -> Self {
        assert!(count.is_power_of_two() && count <= Self::BUFFERS_MAX, "{count} buffers");
        let size = usize::from(count) * size_of::<BufRingEntry>();
        let layout = Layout::from_size_align(size, PAGE).unwrap_or_else(|_| unreachable!("small"));
        // SAFETY: the layout is not empty, for there is at least one entry.
        let memory = unsafe { alloc::alloc_zeroed(layout) };
        let Some(entries) = NonNull::new(memory.cast()) else { alloc::handle_alloc_error(layout) };
        let after = vec![0; usize::from(count)].into_boxed_slice();
        Self { entries, layout, mask: count - 1, tail: 0, last: 0, after }
    }

    /// Where the kernel finds it.
    pub(super) fn address(&self) -> u64 {
        self.entries.as_ptr() as u64
    }

    pub(super) fn count(&self) -> u16 {
        self.mask + 1
    }

    /// Hands buffer `id` to the kernel, once [`Group::publish`] says so. No more may be out at a time
    /// than there is room for.
    ///
    /// # Safety
    /// `buf` is valid for writing `len` bytes, and nobody else's, until a completion names `id`.
    pub(crate) unsafe fn give(&mut self, id: u16, buf: *mut u8, len: u32) {
        let at = usize::from(self.tail & self.mask);
        // SAFETY: the mask keeps `at` within the allocation. The kernel reads entries before the tail
        // only, and this one is behind it.
        let entry = unsafe { &mut *self.entries.as_ptr().add(at) };
        entry.set_addr(buf as u64);
        entry.set_len(len);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        if let Some(after) = self.after.get_mut(usize::from(self.last)) {
            *after = id;
        }
        self.last = id;
    }

    /// The buffer that was given after `id`, which has not been given again since: the one that the
    /// kernel goes on with when `id` is full.
    pub(crate) fn after(&self, id: u16) -> u16 {
        self.after.get(usize::from(id)).copied().unwrap_or_default()
    }

    /// Makes what was given visible to the kernel.
    pub(crate) fn publish(&mut self) {
        // SAFETY: the tail lies in the first entry, aligned for a `u16`, and lives as long as the
        // allocation; both sides access it atomically.
        let tail = unsafe {
            let tail = BufRingEntry::tail(self.entries.as_ptr());
            AtomicU16::from_ptr(tail.cast_mut())
        };
        tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout; the kernel has let go of it (see the type).
        unsafe { alloc::dealloc(self.entries.as_ptr().cast(), self.layout) }
    }
}

/// A group's number in its ring, and what the kernel does with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registration {
    pub(crate) id: u16,
    /// Buffers are used up piece by piece.
    pub(crate) incremental: bool,
    /// One receive may fill several.
    pub(crate) bundle: bool,
}

/// The groups of one ring.
pub(super) struct Groups {
    ids: Slab<()>,
    incremental: bool,
    bundle: bool,
}

impl Groups {
    /// Bundles only where buffers are not used up piece by piece: together they came out of order in
    /// some kernels (6.13 to 6.15), and large buffers that are used up piece by piece need none.
    pub(super) fn new(incremental: bool, bundle: bool) -> Self {
        Self { ids: Slab::new(), incremental, bundle: bundle && !incremental }
    }

    /// # Safety
    /// `group` lives until it is unregistered, or the ring is closed and idle.
    pub(super) unsafe fn register(
        &mut self,
        ring: &IoUring,
        group: &Group,
    ) -> io::Result<Registration> {
        let place = self.ids.vacant_entry();
        let id = u16::try_from(place.key()).ok().and_then(|key| key.checked_add(Group::FIRST));
        let id = id.filter(|&id| id != Group::TRIAL);
        let id = id.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOSPC))?;
        // SAFETY: the caller's promise.
        unsafe { register(ring, group, id, self.incremental)? };
        place.insert(());
        Ok(Registration { id, incremental: self.incremental, bundle: self.bundle })
    }

    pub(super) fn unregister(&mut self, ring: &IoUring, group: Registration) -> io::Result<()> {
        ring.submitter().unregister_buf_ring(group.id)?;
        self.ids.try_remove((group.id - Group::FIRST).into());
        Ok(())
    }
}

/// Registers `group` as number `id` with `ring`.
///
/// # Safety
/// `group` lives until it is unregistered, or the ring is closed and idle.
pub(super) unsafe fn register(
    ring: &IoUring,
    group: &Group,
    id: u16,
    incremental: bool,
) -> io::Result<()> {
    let flags = if incremental { INCREMENTAL } else { 0 };
    let submitter = ring.submitter();
    // SAFETY: the memory is a zeroed array of `count` entries, aligned to a page, and stays (above).
    unsafe { submitter.register_buf_ring_with_flags(group.address(), group.count(), id, flags) }
}

/// Whether the kernel takes such groups.
pub(super) fn trial(ring: &IoUring, incremental: bool) -> io::Result<()> {
    let group = Group::new(1);
    // SAFETY: unregistered below, before it is dropped.
    unsafe { register(ring, &group, Group::TRIAL, incremental)? };
    ring.submitter().unregister_buf_ring(Group::TRIAL)
}
