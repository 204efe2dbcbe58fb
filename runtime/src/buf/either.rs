//! A buffer that is one of two kinds.

#![allow(unsafe_code, reason = "implements the buffer contract by passing it on")]

use std::ops::{Deref, DerefMut};

use super::{IoBuf, IoBufMut, Registered};

/// One of two kinds of buffer: one of a [`FixedPool`](super::FixedPool), say, or a vector where the pool has
/// none left.
#[derive(Debug)]
#[expect(missing_docs, reason = "they are what they are called")]
pub enum EitherBuf<L, R> {
    Left(L),
    Right(R),
}

impl<L, R> Deref for EitherBuf<L, R>
where
    L: Deref<Target = [u8]>,
    R: Deref<Target = [u8]>,
{
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Left(buf) => buf,
            Self::Right(buf) => buf,
        }
    }
}

impl<L, R> DerefMut for EitherBuf<L, R>
where
    L: DerefMut<Target = [u8]>,
    R: DerefMut<Target = [u8]>,
{
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Left(buf) => buf,
            Self::Right(buf) => buf,
        }
    }
}

// SAFETY: which of the two it is changes only when the value is, and each keeps the contract by itself.
unsafe impl<L: IoBuf, R: IoBuf> IoBuf for EitherBuf<L, R> {
    fn stable_ptr(&self) -> *const u8 {
        match self {
            Self::Left(buf) => buf.stable_ptr(),
            Self::Right(buf) => buf.stable_ptr(),
        }
    }

    fn bytes_init(&self) -> usize {
        match self {
            Self::Left(buf) => buf.bytes_init(),
            Self::Right(buf) => buf.bytes_init(),
        }
    }

    fn registered(&self) -> Option<Registered> {
        match self {
            Self::Left(buf) => buf.registered(),
            Self::Right(buf) => buf.registered(),
        }
    }
}

// SAFETY: as for `IoBuf`.
unsafe impl<L: IoBufMut, R: IoBufMut> IoBufMut for EitherBuf<L, R> {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        match self {
            Self::Left(buf) => buf.stable_mut_ptr(),
            Self::Right(buf) => buf.stable_mut_ptr(),
        }
    }

    fn bytes_total(&self) -> usize {
        match self {
            Self::Left(buf) => buf.bytes_total(),
            Self::Right(buf) => buf.bytes_total(),
        }
    }

    unsafe fn set_init(&mut self, n: usize) {
        match self {
            // SAFETY: the caller's promise, of the same bytes.
            Self::Left(buf) => unsafe { buf.set_init(n) },
            // SAFETY: as above.
            Self::Right(buf) => unsafe { buf.set_init(n) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{FixedBuf, FixedPool};
    use super::*;

    #[test]
    fn it_is_the_buffer_that_it_has() {
        let mut fixed = FixedPool::new(1, 100).unwrap().try_get().unwrap();
        fixed.extend_from_slice(b"abc");
        for mut buf in [EitherBuf::Left(fixed), EitherBuf::<FixedBuf, _>::Right(b"abc".to_vec())] {
            assert_eq!((&*buf, buf.bytes_init()), (b"abc".as_slice(), 3));
            assert_eq!(buf.stable_mut_ptr().cast_const(), buf.stable_ptr());
            buf[0] = b'x';
            assert_eq!(&*buf, b"xbc");
        }
    }
}
