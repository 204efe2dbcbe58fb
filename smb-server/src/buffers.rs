//! Memory for large messages, used again: fresh memory of that size costs as much in page faults as it takes to fill
//! it. Each thread keeps some of what its transfers are done with.

use std::cell::RefCell;

use bytes::Bytes;

/// What is shorter is the allocator's, which is quick with it.
pub(crate) const KEPT_MIN: usize = 64 * 1024;

/// How much memory a thread keeps: sixteen transfers of a mebibyte and two of the largest.
const KEPT_MAX: usize = 32 * 1024 * 1024;

/// How many times larger than asked for a buffer may be: little is not to keep much from being used.
const WASTE_MAX: usize = 4;

thread_local! {
    static KEPT: RefCell<Kept> = RefCell::default();
}

#[derive(Default)]
struct Kept {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

/// An empty buffer with room for `capacity` bytes.
#[must_use]
pub(crate) fn take(capacity: usize) -> Vec<u8> {
    let kept = (capacity >= KEPT_MIN).then(|| KEPT.with_borrow_mut(|kept| kept.take(capacity)));
    kept.flatten().unwrap_or_else(|| Vec::with_capacity(capacity))
}

/// Gives back a buffer that nobody needs any more, whoever made it.
pub(crate) fn give_back(buffer: Vec<u8>) {
    if buffer.capacity() >= KEPT_MIN {
        KEPT.with_borrow_mut(|kept| kept.put(buffer));
    }
}

impl Kept {
    fn take(&mut self, capacity: usize) -> Option<Vec<u8>> {
        let range = capacity..=capacity.saturating_mul(WASTE_MAX);
        // The last that came back is the likeliest to be in the processor's cache.
        let found = self.buffers.iter().rposition(|it| range.contains(&it.capacity()))?;
        let buffer = self.buffers.remove(found);
        self.bytes -= buffer.capacity();
        Some(buffer)
    }

    fn put(&mut self, mut buffer: Vec<u8>) {
        let bytes = self.bytes.saturating_add(buffer.capacity());
        if bytes <= KEPT_MAX {
            buffer.clear();
            self.bytes = bytes;
            self.buffers.push(buffer);
        }
    }
}

/// The bytes of a buffer, which comes back when nobody needs any of them any more.
#[must_use]
pub(crate) fn into_bytes(buffer: Vec<u8>) -> Bytes {
    if buffer.capacity() < KEPT_MIN {
        return Bytes::from(buffer);
    }
    Bytes::from_owner(Lent(buffer))
}

struct Lent(Vec<u8>);

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        give_back(std::mem::take(&mut self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_a_thread_of_its_own(test: impl FnOnce() + Send + 'static) {
        std::thread::spawn(test).join().unwrap();
    }

    #[test]
    fn a_large_buffer_is_used_again_and_comes_empty() {
        on_a_thread_of_its_own(|| {
            let mut buffer = take(1 << 20);
            buffer.extend_from_slice(b"secret");
            let address = buffer.as_ptr();
            drop(into_bytes(buffer).slice(1..3));
            let again = take(1 << 20);
            assert_eq!((again.as_ptr(), again.len()), (address, 0));
            give_back(again);
            let (little, more, some) = (take(1000), take(2 << 20), take(300_000));
            assert_ne!(little.as_ptr(), address, "little does not take much");
            assert_ne!(more.as_ptr(), address, "it is too small");
            assert_eq!(some.as_ptr(), address);
        });
    }

    #[test]
    fn what_is_kept_is_bounded() {
        on_a_thread_of_its_own(|| {
            let buffers: Vec<_> = (0..64).map(|_| take(1 << 20)).collect();
            buffers.into_iter().for_each(give_back);
            KEPT.with_borrow(|kept| {
                let bytes: usize = kept.buffers.iter().map(Vec::capacity).sum();
                assert_eq!(bytes, kept.bytes);
                assert!(bytes <= KEPT_MAX && kept.buffers.len() >= 31);
            });
            give_back(vec![0; 1000]);
            KEPT.with_borrow(|kept| assert!(kept.buffers.len() <= 32));
        });
    }
}
