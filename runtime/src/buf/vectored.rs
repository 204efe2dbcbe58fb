//! Several owned buffers as one operation takes them: scatter and gather.
//!
//! A vector, an array or a tuple of buffers will do. They are filled and read in their order, as if
//! they were one.

#![allow(unsafe_code, reason = "declares the contract of several buffers and implements it")]

use std::io;

use libc::iovec;

use super::{BufResult, IoBuf, IoBufMut};

/// The most parts that the kernel takes at once, `UIO_MAXIOV`. More are a short read or write.
const PARTS_MAX: usize = 1024;

/// Buffers that the kernel may read from.
///
/// # Safety
/// [`IoBufs::each`] shows buffers of this value, the same ones every time, as long as it lives and
/// wherever it moves, until it is changed through a method of its own.
pub unsafe trait IoBufs: 'static {
    /// Shows every buffer, in order.
    fn each(&self, show: &mut dyn FnMut(&dyn IoBuf));
}

/// Buffers that the kernel may write to.
///
/// # Safety
/// As for [`IoBufs`], and of the same buffers in the same order; no two share memory.
pub unsafe trait IoBufsMut: IoBufs {
    /// Shows every buffer, in order.
    fn each_mut(&mut self, show: &mut dyn FnMut(&mut dyn IoBufMut));
}

// SAFETY: a vector shows its elements; their memory does not move with them (`IoBuf`).
unsafe impl<B: IoBuf> IoBufs for Vec<B> {
    fn each(&self, show: &mut dyn FnMut(&dyn IoBuf)) {
        self.iter().for_each(|buf| show(buf));
    }
}

// SAFETY: as above; nobody else refers to what an `IoBufMut` writes to, so no two share it.
unsafe impl<B: IoBufMut> IoBufsMut for Vec<B> {
    fn each_mut(&mut self, show: &mut dyn FnMut(&mut dyn IoBufMut)) {
        self.iter_mut().for_each(|buf| show(buf));
    }
}

// SAFETY: as for a vector.
unsafe impl<B: IoBuf, const N: usize> IoBufs for [B; N] {
    fn each(&self, show: &mut dyn FnMut(&dyn IoBuf)) {
        self.iter().for_each(|buf| show(buf));
    }
}

// SAFETY: as for a vector.
unsafe impl<B: IoBufMut, const N: usize> IoBufsMut for [B; N] {
    fn each_mut(&mut self, show: &mut dyn FnMut(&mut dyn IoBufMut)) {
        self.iter_mut().for_each(|buf| show(buf));
    }
}

macro_rules! tuples {
    ($(($($buf:ident $at:tt),*))*) => {$(
        // SAFETY: as for a vector.
        unsafe impl<$($buf: IoBuf),*> IoBufs for ($($buf,)*) {
            fn each(&self, show: &mut dyn FnMut(&dyn IoBuf)) {
                $(show(&self.$at);)*
            }
        }

        // SAFETY: as for a vector.
        unsafe impl<$($buf: IoBufMut),*> IoBufsMut for ($($buf,)*) {
            fn each_mut(&mut self, show: &mut dyn FnMut(&mut dyn IoBufMut)) {
                $(show(&mut self.$at);)*
            }
        }
    )*};
}

tuples! {
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
}

/// What the kernel is to read of `bufs`: their initialised bytes.
pub(crate) fn vectors(bufs: &impl IoBufs) -> Vec<iovec> {
    let mut vectors = Vec::new();
    bufs.each(&mut |buf| {
        let base = buf.stable_ptr().cast_mut().cast();
        vectors.push(iovec { iov_base: base, iov_len: buf.bytes_init() });
    });
    vectors.truncate(PARTS_MAX);
    vectors
}

/// Where the kernel is to write in `bufs`: all that they have room for.
pub(crate) fn vectors_mut(bufs: &mut impl IoBufsMut) -> Vec<iovec> {
    let mut vectors = Vec::new();
    bufs.each_mut(&mut |buf| {
        let base = buf.stable_mut_ptr().cast();
        vectors.push(iovec { iov_base: base, iov_len: buf.bytes_total() });
    });
    vectors.truncate(PARTS_MAX);
    vectors
}

/// Ends an operation that filled `bufs` from their start, one after the other.
///
/// # Safety
/// `result`, if it is a count, is how many bytes of [`vectors_mut`] were just written.
pub(crate) unsafe fn filled_all<V: IoBufsMut>(
    result: io::Result<u32>,
    mut bufs: V,
) -> BufResult<usize, V> {
    let result = result.map(|n| n as usize);
    if let Ok(mut left) = result {
        bufs.each_mut(&mut |buf| {
            let here = left.min(buf.bytes_total());
            left -= here;
            // SAFETY: the caller's promise; a buffer is filled before the next one is begun.
            unsafe { buf.set_init(here) }
        });
    }
    (result, bufs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buf::IoBufExt;

    #[test]
    fn what_came_fills_one_buffer_after_the_other() {
        let bufs = (Vec::with_capacity(4), vec![b'-'; 3].slice(1..), Vec::with_capacity(8));
        let mut bufs = bufs;
        let room: Vec<_> = vectors_mut(&mut bufs).iter().map(|part| part.iov_len).collect();
        assert_eq!(room, [bufs.0.capacity(), 2, bufs.2.capacity()]);
        for (part, bytes) in vectors_mut(&mut bufs).iter().zip(["abcd", "ef", "g"]) {
            // SAFETY: each part has room for its bytes.
            unsafe { part.iov_base.cast::<u8>().copy_from(bytes.as_ptr(), bytes.len()) }
        }
        // SAFETY: seven bytes have just been written.
        let (result, bufs) = unsafe { filled_all(Ok(7), bufs) };
        assert_eq!(result.unwrap(), 7);
        assert_eq!(
            (bufs.0, bufs.1.into_inner(), bufs.2),
            (b"abcd".into(), b"-ef".into(), b"g".into())
        );
    }

    #[test]
    fn only_initialised_bytes_are_read() {
        let mut half = Vec::with_capacity(16);
        half.extend_from_slice(b"half");
        let bufs = [half, Vec::new(), b"all".to_vec()];
        let lens: Vec<_> = vectors(&bufs).iter().map(|part| part.iov_len).collect();
        assert_eq!(lens, [4, 0, 3]);
    }

    #[test]
    fn more_parts_than_the_kernel_takes_are_cut_off() {
        assert_eq!(vectors(&vec![Vec::new(); 3000]).len(), 1024);
    }
}
