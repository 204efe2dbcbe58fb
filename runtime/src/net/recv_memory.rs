//! The memory of a pool of receive buffers. Who may touch which part of it is `recv_pool`'s to know.

#![allow(unsafe_code, reason = "hands parts of one allocation to many, the kernel among them")]

use std::alloc::{self, Layout};
use std::io;
use std::mem;
use std::ptr::NonNull;
use std::slice;

/// The buffers' memory, one behind the other.
pub(super) struct Memory {
    start: NonNull<u8>,
    layout: Layout,
}

impl Memory {
    /// `len` zeroed bytes, which take no room before they are used.
    pub(super) fn new(len: usize) -> io::Result<Self> {
        /// With more, the allocator would write the zeroes itself.
        const ALIGN: usize = 16;
        let layout = Layout::from_size_align(len, ALIGN).ok().filter(|layout| layout.size() > 0);
        let layout = layout.ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: the layout is not empty.
        let start = NonNull::new(unsafe { alloc::alloc_zeroed(layout) });
        Ok(Self { start: start.ok_or(io::ErrorKind::OutOfMemory)?, layout })
    }

    pub(super) fn at(&self, offset: usize) -> *mut u8 {
        assert!(offset < self.layout.size(), "a buffer outside of its pool");
        // SAFETY: within the allocation.
        unsafe { self.start.as_ptr().add(offset) }
    }

    /// # Safety
    /// Nobody writes to these bytes during the borrow.
    pub(super) unsafe fn slice(&self, offset: usize, len: usize) -> &[u8] {
        assert!(len <= self.layout.size() - offset, "a piece outside of its pool");
        // SAFETY: within the allocation, initialised since its making, and unwritten (the caller).
        unsafe { slice::from_raw_parts(self.at(offset), len) }
    }

    /// # Safety
    /// Nobody else refers to these bytes during the borrow.
    #[expect(clippy::mut_from_ref, reason = "many hold parts of one allocation")]
    pub(super) unsafe fn slice_mut(&self, offset: usize, len: usize) -> &mut [u8] {
        assert!(len <= self.layout.size() - offset, "a buffer outside of its pool");
        // SAFETY: within the allocation, initialised since its making, and unaliased (the caller).
        unsafe { slice::from_raw_parts_mut(self.at(offset), len) }
    }

    /// Never frees it.
    pub(super) fn leak(&mut self) {
        let leaked = Self { start: NonNull::dangling(), layout: Layout::new::<()>() };
        mem::forget(mem::replace(self, leaked));
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.layout.size() > 0 {
            // SAFETY: allocated in `new` with this layout. The pool goes after its pieces, which borrow
            // it, and after the kernel has let go of it (`Shared::drop`).
            unsafe { alloc::dealloc(self.start.as_ptr(), self.layout) }
        }
    }
}
