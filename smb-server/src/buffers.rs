//! Memory for what is received and sent. Where there is much of it, it is made of whole pages, the ring knows it, and it
//! is used again: fresh memory of that size costs as much in page faults as it takes to fill it.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use bytes::Bytes;
use ringway::buf::{EitherBuf, FixedBuf, FixedPool, IoBufExt, Slice};

/// What is shorter is the allocator's, which is quick with it.
pub(crate) const LARGE_MIN: usize = 64 * 1024;

/// How much memory a thread keeps: thirty transfers of a mebibyte, or three of the largest. All of it that the ring
/// knows is locked; where a limit on that is lower, the ring knows less.
const KEPT_MAX: usize = 32 * 1024 * 1024;

/// No machine has smaller pages, and no disk wants memory that is aligned to more.
pub(crate) const PAGE: usize = 4096;

/// No head is longer.
const HEAD_MAX: usize = 256;

/// How long kept pieces are, behind a page for heads: what clients transfer at once, and at most four times as much as
/// is asked for.
const SIZES: [usize; 5] = [64 << 10, 256 << 10, 1 << 20, 4 << 20, 8 << 20];

/// Of a thread's kept memory, or the allocator's.
pub(crate) type Memory = EitherBuf<FixedBuf, Vec<u8>>;

thread_local! {
    static KEPT: RefCell<Kept> = RefCell::default();
}

/// Bytes in memory that can grow.
#[derive(Debug)]
pub struct Buffer {
    memory: Memory,
    /// Where they begin in it.
    start: usize,
}

impl Buffer {
    /// An empty one with room for a head and `len` bytes more. If those are many, the first behind the head is at the
    /// beginning of a page.
    #[must_use]
    pub(crate) fn with_room(head: usize, len: usize) -> Self {
        if len < LARGE_MIN {
            return Vec::with_capacity(head.saturating_add(len)).into();
        }
        let room = head.next_multiple_of(PAGE).saturating_add(len);
        let kept = KEPT.with_borrow_mut(|kept| kept.take(room));
        let mut memory = match kept {
            Some(piece) => EitherBuf::Left(piece),
            // More by what it may begin within a page.
            None => EitherBuf::Right(Vec::with_capacity(room.saturating_add(PAGE))),
        };
        let behind = memory.as_ptr().addr().saturating_add(head);
        let start = behind.next_multiple_of(PAGE).saturating_sub(behind);
        resize(&mut memory, start);
        Self { memory, start }
    }

    /// Makes it so long; what is new is zero.
    pub(crate) fn resize(&mut self, len: usize) {
        resize(&mut self.memory, self.start.saturating_add(len));
    }

    /// The same for whoever writes to all that is new, for what that is nobody knows.
    pub(crate) fn resize_stale(&mut self, len: usize) {
        let len = self.start.saturating_add(len);
        match &mut self.memory {
            EitherBuf::Left(piece) if len <= piece.capacity() => piece.resize_stale(len),
            memory => resize(memory, len),
        }
    }

    /// Adds bytes at the end.
    pub(crate) fn extend_from_slice(&mut self, bytes: &[u8]) {
        match &mut self.memory {
            EitherBuf::Left(piece) if bytes.len() <= piece.capacity() - piece.len() => {
                piece.extend_from_slice(bytes);
            }
            // It was made for less.
            EitherBuf::Left(piece) => self.memory = EitherBuf::Right([&**piece, bytes].concat()),
            EitherBuf::Right(memory) => memory.extend_from_slice(bytes),
        }
    }

    /// Lets `append` add bytes at the end of the memory.
    ///
    /// # Errors
    /// Those of `append`.
    pub(crate) async fn appended<E>(
        self,
        append: impl AsyncFnOnce(Memory) -> Result<Memory, E>,
    ) -> Result<Self, E> {
        Ok(Self { memory: append(self.memory).await?, start: self.start })
    }

    /// Where the first page begins behind `from`, if no more than a head lies before it.
    pub(crate) fn payload(&self, from: usize) -> Option<usize> {
        let bytes = self.get(from..)?;
        let head = bytes.as_ptr().align_offset(PAGE);
        let is_one = (1..=HEAD_MAX).contains(&head) && head <= bytes.len();
        is_one.then(|| from.saturating_add(head))
    }

    /// The bytes from `from` on, for an operation.
    ///
    /// # Panics
    /// If there are fewer.
    #[must_use]
    pub(crate) fn into_slice(self, from: usize) -> Slice<Memory> {
        self.memory.slice(self.start.saturating_add(from)..)
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self { memory: EitherBuf::Right(bytes), start: 0 }
    }
}

impl From<Buffer> for Bytes {
    fn from(buffer: Buffer) -> Self {
        match buffer {
            Buffer { memory: EitherBuf::Right(bytes), start: 0 } => bytes.into(),
            buffer => Self::from_owner(buffer),
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.memory.get(self.start..).unwrap_or_default()
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.memory.get_mut(self.start..).unwrap_or_default()
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

fn resize(memory: &mut Memory, len: usize) {
    match memory {
        EitherBuf::Left(piece) if len <= piece.capacity() => piece.resize(len, 0),
        EitherBuf::Left(piece) => {
            let mut bytes = piece.to_vec();
            bytes.resize(len, 0);
            *memory = EitherBuf::Right(bytes);
        }
        EitherBuf::Right(bytes) => bytes.resize(len, 0),
    }
}

/// What a thread keeps: pools of one piece each, made when there was no other, so that memory which was never needed is
/// not there.
#[derive(Default)]
struct Kept {
    pools: Vec<(usize, FixedPool)>,
    bytes: usize,
}

impl Kept {
    fn take(&mut self, room: usize) -> Option<FixedBuf> {
        let size = SIZES.into_iter().map(|size| PAGE + size).find(|size| room <= *size)?;
        // Always the first that is free: few pieces are used while few are needed, and those are in the processor's
        // cache.
        let mut fitting = self.pools.iter().filter(|(of, _)| *of == size);
        let free = fitting.find_map(|(_, pool)| pool.try_get());
        free.or_else(|| self.make(size))
    }

    fn make(&mut self, size: usize) -> Option<FixedBuf> {
        while self.bytes.saturating_add(size) > KEPT_MAX {
            // Of the free pieces none has this size.
            let unused = self.pools.iter().position(|(_, pool)| pool.available() > 0)?;
            let (less, _) = self.pools.remove(unused);
            self.bytes = self.bytes.saturating_sub(less);
        }
        let pool = FixedPool::new(1, size).ok()?;
        let piece = pool.try_get();
        self.bytes = self.bytes.saturating_add(size);
        self.pools.push((size, pool));
        piece
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn on_a_thread_of_its_own(test: impl FnOnce() + Send + 'static) {
        std::thread::spawn(test).join().unwrap();
    }

    #[test]
    fn a_large_buffer_is_used_again_and_comes_empty() {
        on_a_thread_of_its_own(|| {
            let mut buffer = Buffer::with_room(0, MIB);
            buffer.extend_from_slice(b"secret");
            let address = buffer.as_ptr();
            drop(Bytes::from(buffer).slice(1..3));
            let again = Buffer::with_room(0, MIB);
            assert_eq!((again.as_ptr(), again.len()), (address, 0));
            drop(again);
            let (little, more) = (Buffer::with_room(0, 1000), Buffer::with_room(0, 2 * MIB));
            assert_ne!(little.as_ptr(), address, "little does not take much");
            assert_ne!(more.as_ptr(), address, "it is too small");
            assert_eq!(Buffer::with_room(0, 300_000).as_ptr(), address);
        });
    }

    #[test]
    fn a_payload_lies_behind_its_head_where_a_page_begins() {
        for head in [1, 84, HEAD_MAX] {
            let mut buffer = Buffer::with_room(head, MIB);
            buffer.resize(head + 10);
            assert_eq!(buffer.payload(0), Some(head));
            assert_eq!(buffer.payload(head / 2), Some(head));
            assert_eq!(buffer.payload(head), None);
            assert_eq!(buffer.payload(head + 11), None);
            buffer.resize(head - 1);
            assert_eq!(buffer.payload(0), None);
        }
        let mut without = Buffer::with_room(0, MIB);
        without.resize(PAGE + 10);
        assert_eq!(without.payload(0), None);
    }

    #[test]
    fn what_a_buffer_held_is_not_in_it_when_it_is_used_again() {
        on_a_thread_of_its_own(|| {
            let mut buffer = Buffer::with_room(100, MIB);
            buffer.resize(100_000);
            buffer.fill(b'x');
            drop(buffer);
            let mut again = Buffer::with_room(0, MIB);
            again.resize(100_000);
            assert!(again.iter().all(|byte| *byte == 0));
            let all = again.into_slice(0).into_inner();
            assert!(all.iter().all(|byte| *byte == 0), "nor in front of it");
        });
    }

    #[test]
    fn many_bytes_begin_with_a_page_behind_their_head() {
        on_a_thread_of_its_own(|| {
            let mut kept = Vec::new();
            // Until the thread keeps no more.
            for head in (0..60).map(|index| index * 97 % 300) {
                let mut buffer = Buffer::with_room(head, MIB);
                buffer.resize(head);
                let place = buffer.as_ptr();
                buffer.extend_from_slice(&vec![7; MIB]);
                assert_eq!(buffer.as_ptr(), place, "there was room");
                assert_eq!(buffer[head..].as_ptr().addr() % PAGE, 0);
                assert_eq!(buffer.len(), head + MIB);
                kept.push(buffer);
            }
        });
    }

    #[test]
    fn nobody_else_has_a_buffer_while_somebody_does() {
        on_a_thread_of_its_own(|| {
            let mut buffers: Vec<_> = (0..40).map(|_| Buffer::with_room(0, 100_000)).collect();
            for (buffer, value) in buffers.iter_mut().zip(0..) {
                buffer.resize(100_000);
                buffer.fill(value);
            }
            for (buffer, value) in buffers.iter().zip(0..) {
                assert!(buffer.iter().all(|byte| *byte == value));
            }
        });
    }

    #[test]
    fn what_is_kept_is_bounded_and_made_when_it_is_needed() {
        on_a_thread_of_its_own(|| {
            let kept = || KEPT.with_borrow(|kept| (kept.pools.len(), kept.bytes));
            drop(Buffer::with_room(0, 1000));
            assert_eq!(kept(), (0, 0));
            drop([(); 3].map(|()| Buffer::with_room(0, MIB)));
            assert_eq!(kept(), (3, 3 * (MIB + PAGE)));
            drop([(); 64].map(|()| Buffer::with_room(0, MIB)));
            let (pieces, bytes) = kept();
            assert!(pieces == 31 && bytes <= KEPT_MAX);
            // More than one piece holds.
            drop(Buffer::with_room(0, 9 * MIB));
            assert_eq!(kept(), (pieces, bytes));
        });
    }

    #[test]
    fn pieces_that_nobody_uses_make_room_for_others() {
        on_a_thread_of_its_own(|| {
            let mut small: Vec<_> = (0..31).map(|_| Buffer::with_room(0, MIB)).collect();
            let sizes =
                || KEPT.with_borrow(|kept| kept.pools.iter().map(|it| it.0).collect::<Vec<_>>());
            drop(Buffer::with_room(0, 8 * MIB));
            assert_eq!(sizes(), [MIB + PAGE; 31], "all are in use");
            small.truncate(20);
            drop(Buffer::with_room(0, 8 * MIB));
            let now = sizes();
            assert_eq!(now.iter().filter(|size| **size == MIB + PAGE).count(), 23);
            assert!(now.contains(&(8 * MIB + PAGE)) && now.iter().sum::<usize>() <= KEPT_MAX);
        });
    }

    #[test]
    fn a_buffer_that_outgrows_its_piece_keeps_its_bytes() {
        on_a_thread_of_its_own(|| {
            let mut buffer = Buffer::with_room(3, 100_000);
            buffer.extend_from_slice(b"abc");
            buffer.resize(MIB);
            buffer.extend_from_slice(b"d");
            assert_eq!(
                (&buffer[..4], buffer[MIB], buffer.len()),
                (b"abc\0".as_slice(), b'd', MIB + 1)
            );
        });
    }

    #[test]
    fn a_buffer_comes_back_from_another_thread() {
        on_a_thread_of_its_own(|| {
            let buffer = Buffer::with_room(0, MIB);
            let address = buffer.as_ptr().addr();
            std::thread::spawn(move || drop(buffer)).join().unwrap();
            assert_eq!(Buffer::with_room(0, MIB).as_ptr().addr(), address);
        });
    }
}
