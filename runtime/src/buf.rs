//! Owned buffers: what an operation may read from or write to while its owner waits.
//!
//! The kernel works on a buffer after the future that asked for it may be gone, so a borrowed slice
//! cannot be used. A buffer goes into an operation by value and comes back with the result
//! ([`BufResult`]), on failure too. [`IoBufExt::slice`] passes a part of one.
//!
//! An operation that fills a buffer begins at its start and may use all of its capacity. It makes a
//! vector longer, never shorter: clear one that is used again, or go by the count.

#![allow(unsafe_code, reason = "declares the buffer contract and implements it for common types")]

mod either;
mod fixed;
mod vectored;

use std::io;
use std::ops::{Bound, RangeBounds};
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

pub use either::EitherBuf;
pub(crate) use fixed::Places;
pub use fixed::{FixedBuf, FixedPool, Registered};
pub use vectored::{IoBufs, IoBufsMut};
pub(crate) use vectored::{filled_all, vectors, vectors_mut};

/// A result and the buffer that went into the operation.
pub type BufResult<T, B> = (io::Result<T>, B);

/// A buffer that the kernel may read from.
///
/// # Safety
/// [`IoBuf::stable_ptr`] points at [`IoBuf::bytes_init`] initialised bytes, and keeps doing so when
/// the value is moved, until it is dropped or changed through a method of its own. What
/// [`IoBuf::registered`] tells is passed on from a [`FixedBuf`] that these bytes are a part of.
pub unsafe trait IoBuf: 'static {
    /// The first byte.
    fn stable_ptr(&self) -> *const u8;

    /// How many bytes from there on are initialised.
    fn bytes_init(&self) -> usize;

    /// Where the memory is registered with a ring, if it is.
    fn registered(&self) -> Option<Registered> {
        None
    }
}

/// A buffer that the kernel may write to.
///
/// # Safety
/// [`IoBufMut::stable_mut_ptr`] points at [`IoBufMut::bytes_total`] writable bytes that nobody else
/// refers to, and keeps doing so when the value is moved. The first [`IoBuf::bytes_init`] of them
/// are initialised; it is the same memory as [`IoBuf::stable_ptr`]'s.
pub unsafe trait IoBufMut: IoBuf {
    /// The first byte, for writing.
    fn stable_mut_ptr(&mut self) -> *mut u8;

    /// How many bytes can be written from there on, initialised or not.
    fn bytes_total(&self) -> usize;

    /// States that the first `n` bytes are initialised. Never shrinks what is.
    ///
    /// # Safety
    /// They are, and `n <= bytes_total()`.
    unsafe fn set_init(&mut self, n: usize);
}

/// Passing a part of a buffer.
pub trait IoBufExt: IoBuf + Sized {
    /// The part of this buffer within `range`. Where the operation writes, the range may reach into
    /// the uninitialised capacity, and an open end means all of it.
    ///
    /// # Panics
    /// If the range starts after [`IoBuf::bytes_init`] or after its end.
    fn slice(self, range: impl RangeBounds<usize>) -> Slice<Self> {
        let begin = match range.start_bound() {
            Bound::Included(&begin) => begin,
            Bound::Excluded(&before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&last) => last.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => usize::MAX,
        };
        assert!(begin <= end, "slice starts at {begin} but ends at {end}");
        assert!(begin <= self.bytes_init(), "slice starts at {begin}, after the initialised bytes");
        Slice { buf: self, begin, end }
    }
}

impl<B: IoBuf> IoBufExt for B {}

/// A part of a buffer; see [`IoBufExt::slice`].
#[derive(Debug)]
pub struct Slice<B> {
    buf: B,
    begin: usize,
    end: usize,
}

impl<B> Slice<B> {
    /// The whole buffer again.
    pub fn into_inner(self) -> B {
        self.buf
    }
}

// SAFETY: a sub-range of what `B` promises: `begin <= bytes_init` was checked when the slice was
// made, and since then the buffer is private and can only have become more initialised.
unsafe impl<B: IoBuf> IoBuf for Slice<B> {
    fn stable_ptr(&self) -> *const u8 {
        // SAFETY: `begin` is within the buffer's initialised bytes (above), so within its allocation.
        unsafe { self.buf.stable_ptr().add(self.begin) }
    }

    fn bytes_init(&self) -> usize {
        self.buf.bytes_init().min(self.end).saturating_sub(self.begin)
    }

    fn registered(&self) -> Option<Registered> {
        self.buf.registered()
    }
}

// SAFETY: as for `IoBuf`; `bytes_total` is cut to the same sub-range.
unsafe impl<B: IoBufMut> IoBufMut for Slice<B> {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        // SAFETY: `begin` is within the buffer's initialised bytes, so within its allocation.
        unsafe { self.buf.stable_mut_ptr().add(self.begin) }
    }

    fn bytes_total(&self) -> usize {
        self.buf.bytes_total().min(self.end).saturating_sub(self.begin)
    }

    unsafe fn set_init(&mut self, n: usize) {
        // SAFETY: the caller vouches for `n` bytes from `begin` on, those before `begin` are
        // initialised since the slice was made, and `n` is within this slice, so within the buffer.
        unsafe { self.buf.set_init(self.begin + n) }
    }
}

// SAFETY: a vector's heap memory does not move with it, and its first `len` bytes are initialised.
unsafe impl IoBuf for Vec<u8> {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len()
    }
}

// SAFETY: a vector owns `capacity` writable bytes.
unsafe impl IoBufMut for Vec<u8> {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.as_mut_ptr()
    }

    fn bytes_total(&self) -> usize {
        self.capacity()
    }

    unsafe fn set_init(&mut self, n: usize) {
        if n > self.len() {
            // SAFETY: the caller says that `n` bytes are initialised and `n <= capacity`.
            unsafe { self.set_len(n) }
        }
    }
}

// SAFETY: boxed bytes do not move with the box and are all initialised.
unsafe impl IoBuf for Box<[u8]> {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len()
    }
}

// SAFETY: the box owns its bytes alone.
unsafe impl IoBufMut for Box<[u8]> {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.as_mut_ptr()
    }

    fn bytes_total(&self) -> usize {
        self.len()
    }

    unsafe fn set_init(&mut self, _: usize) {}
}

// SAFETY: the bytes live on the heap or for ever, immutable while any `Bytes` refers to them.
unsafe impl IoBuf for Bytes {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len()
    }
}

// SAFETY: the bytes live on the heap and do not move with the handle.
unsafe impl IoBuf for BytesMut {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len()
    }
}

// SAFETY: a `BytesMut` is the only handle to its `capacity` bytes.
unsafe impl IoBufMut for BytesMut {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.as_mut_ptr()
    }

    fn bytes_total(&self) -> usize {
        self.capacity()
    }

    unsafe fn set_init(&mut self, n: usize) {
        if n > self.len() {
            // SAFETY: the caller says that `n` bytes are initialised and `n <= capacity`.
            unsafe { self.set_len(n) }
        }
    }
}

// SAFETY: static bytes live for ever.
unsafe impl IoBuf for &'static [u8] {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len()
    }
}

// SAFETY: the inner buffer stays where it is while this handle lives, and behind a shared handle
// nobody can call the methods that change it.
unsafe impl<B: IoBuf> IoBuf for Arc<B> {
    fn stable_ptr(&self) -> *const u8 {
        (**self).stable_ptr()
    }

    fn bytes_init(&self) -> usize {
        (**self).bytes_init()
    }

    fn registered(&self) -> Option<Registered> {
        (**self).registered()
    }
}

// SAFETY: as for `Arc`.
unsafe impl<B: IoBuf> IoBuf for Rc<B> {
    fn stable_ptr(&self) -> *const u8 {
        (**self).stable_ptr()
    }

    fn bytes_init(&self) -> usize {
        (**self).bytes_init()
    }

    fn registered(&self) -> Option<Registered> {
        (**self).registered()
    }
}

/// Calls `some` on what is left of `buf`'s initialised bytes, and how many went before, until all have
/// gone. `WriteZero` if it moves none.
pub(crate) fn empty_all<B: IoBuf>(
    buf: B,
    some: impl AsyncFnMut(Slice<B>, usize) -> BufResult<usize, Slice<B>>,
) -> impl Future<Output = BufResult<(), B>> {
    let total = buf.bytes_init();
    move_all(buf, total, io::ErrorKind::WriteZero, some)
}

/// Calls `some` on what is left to fill of `buf`, and how many bytes came before, until it is full.
/// `UnexpectedEof` if none come.
pub(crate) fn fill_all<B: IoBufMut>(
    buf: B,
    some: impl AsyncFnMut(Slice<B>, usize) -> BufResult<usize, Slice<B>>,
) -> impl Future<Output = BufResult<(), B>> {
    let total = buf.bytes_total();
    move_all(buf, total, io::ErrorKind::UnexpectedEof, some)
}

async fn move_all<B: IoBuf>(
    mut buf: B,
    total: usize,
    none: io::ErrorKind,
    mut some: impl AsyncFnMut(Slice<B>, usize) -> BufResult<usize, Slice<B>>,
) -> BufResult<(), B> {
    let mut done = 0;
    while done < total {
        let (result, part) = some(buf.slice(done..total), done).await;
        buf = part.into_inner();
        match result {
            Ok(0) => return (Err(none.into()), buf),
            Ok(n) => done += n,
            Err(error) => return (Err(error), buf),
        }
    }
    (Ok(()), buf)
}

/// What one operation can move: the kernel's own limit for a read or write, a page short of 2 GiB.
const LEN_MAX: usize = 0x7fff_f000;

/// A buffer's length as operations carry it. More than the limit is a short read or write.
pub(crate) fn op_len(bytes: usize) -> u32 {
    bytes.min(LEN_MAX) as u32
}

/// Ends an operation that filled `buf` from its start.
///
/// # Safety
/// `result`, if it is a count, is how many bytes at the start of `buf` were just written.
pub(crate) unsafe fn filled<B: IoBufMut>(
    result: io::Result<u32>,
    mut buf: B,
) -> BufResult<usize, B> {
    let result = result.map(|n| n as usize);
    if let Ok(n) = result {
        // SAFETY: the caller's promise; and the kernel was given `bytes_total` as the limit.
        unsafe { buf.set_init(n) }
    }
    (result, buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_to_read_from_ends_with_the_initialised_bytes() {
        let mut vec = Vec::with_capacity(16);
        vec.extend_from_slice(b"abcdef");
        let slice = vec.slice(2..);
        assert_eq!(slice.bytes_init(), 4);
        assert_eq!(slice.bytes_total(), slice.into_inner().capacity() - 2);
    }

    #[test]
    fn initialising_a_slice_extends_the_buffer_and_never_shrinks_it() {
        let mut vec = Vec::with_capacity(16);
        vec.extend_from_slice(b"abc");
        let mut slice = vec.slice(3..8);
        for i in 0..2 {
            // SAFETY: the slice has five bytes of spare capacity.
            unsafe { slice.stable_mut_ptr().add(i).write(b'x') }
        }
        // SAFETY: two bytes have just been written.
        unsafe { slice.set_init(2) };
        // SAFETY: none is always initialised.
        unsafe { slice.set_init(0) };
        assert_eq!(slice.into_inner(), b"abcxx");
    }

    #[test]
    fn slices_nest() {
        let slice = b"0123456789".as_slice().slice(2..8).slice(1..=3);
        assert_eq!((slice.bytes_init(), slice.begin, slice.end), (3, 1, 4));
        // SAFETY: the slice says that three bytes are initialised there.
        assert_eq!(unsafe { std::slice::from_raw_parts(slice.stable_ptr(), 3) }, b"345");
    }

    #[test]
    #[should_panic(expected = "after the initialised bytes")]
    fn a_slice_cannot_skip_uninitialised_bytes() {
        let _ = Vec::with_capacity(16).slice(1..);
    }
}
