//! A part of a file as memory that stays as it is, since a lease keeps writers waiting: this program may look at it.

#![allow(unsafe_code, reason = "looks at memory that is mapped from a file")]

use std::io;
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::bus_error::caught;
use super::{Mapping, ReadLease};

/// How long after a lease was found broken it is counted on. The kernel's least patience with whoever holds it is a second.
const COUNTED_ON: Duration = Duration::from_millis(500);

/// A part of a file, to be looked at and to be sent. Made by [`ReadLease::map`]. Clones are the same memory.
#[derive(Clone, Debug)]
pub struct LeasedMapping {
    mapping: Mapping,
    lease: LeaseId,
}

/// Names a lease for ever.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LeaseId(u64);

impl LeaseId {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl LeasedMapping {
    /// How many bytes it has.
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.mapping.len()
    }

    /// The same memory, to be sent, and for whoever may have to [detach](Mapping::detach) it.
    #[must_use]
    pub fn mapping(&self) -> &Mapping {
        &self.mapping
    }
}

impl ReadLease {
    /// Maps `len` bytes from byte `offset` on, as [`File::map`](super::File::map), with a page of memory in front.
    ///
    /// # Errors
    /// Those of `mmap`; `InvalidInput` for an `offset` that begins no page, or for no bytes.
    pub fn map(&self, offset: u64, len: usize) -> io::Result<LeasedMapping> {
        let mapping = self.file().map_behind_page(offset, len)?;
        Ok(LeasedMapping { mapping, lease: self.id() })
    }

    /// Lets `look` see `head` and then the bytes of the mapping, as one. It is to look and not to wait: after half a second
    /// the kernel may let a writer in that has been waiting. Who else looks at the same memory is waited for, so it is not to look
    /// at that again.
    ///
    /// As long as the lease is held, a send of the mapping sends what was seen.
    ///
    /// # Errors
    /// `WouldBlock` if somebody has been waiting to write for so long; `EIO` where the disk could not give what the page
    /// cache had let go of, now or before; `InvalidInput` for another lease's mapping, or a `head` that is longer than a
    /// page.
    pub fn look<T>(
        &self,
        mapping: &LeasedMapping,
        head: &[u8],
        look: impl FnOnce(&[u8]) -> T,
    ) -> io::Result<T> {
        let LeasedMapping { mapping, lease } = mapping;
        let page = rustix::param::page_size();
        if *lease != self.id() || head.len() > page {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let (payload, len) = (mapping.address(), mapping.len());
        let area = payload.addr()..payload.addr() + len.next_multiple_of(page);
        let start = payload.wrapping_sub(head.len());
        mapping.look(|| {
            if self.broken_since().is_some_and(|since| since.elapsed() > COUNTED_ON) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            // SAFETY: in front of the payload lies a page that may be written to, and the head is no longer. Nobody else
            // has to do with that page but who looks: neither sends nor copies of the mapping do.
            unsafe { start.copy_from_nonoverlapping(head.as_ptr(), head.len()) };
            caught(area, || {
                // SAFETY: both parts are mapped, one behind the other, and initialised. The second does not change: nobody
                // has the file open for writing, or mapped so, while the lease is held, and from when somebody wants to
                // the kernel gives us a second at least; who puts a copy there does not while somebody looks. What the
                // disk cannot give becomes zeros, and nothing of it is used.
                look(unsafe { slice::from_raw_parts(start, head.len() + len) })
            })
        })
    }
}
