//! Bytes of a file that the kernel copies from the page cache to the socket, and this program never looks at.
//!
//! They are copied when they are sent: where the file has been cut off by then, the message that has promised them
//! cannot be finished. What the page cache has let go of meanwhile is read first, so that nobody waits for a disk here.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use ringway::buf::IoBufExt;
use ringway::fs::{File, Mapping};
use ringway::net::TcpStream;

use crate::buffers::Buffer;

/// How many mappings there are at most, of all connections: a sixtieth of the areas that a process may have, in each of
/// which there are 8 MiB at most. Who finds none left copies.
const MAPPINGS_MAX: usize = 1024;

/// How much is sent before the page cache is asked again.
const PIECE: usize = 1 << 20;

static MAPPINGS: AtomicUsize = AtomicUsize::new(0);

/// Bytes in the page cache.
#[derive(Debug)]
pub struct Mapped {
    mapping: Mapping,
    file: File,
    offset: u64,
    _place: Place,
}

impl Mapped {
    /// The `len` bytes of a file from `offset` on, which there are; `None` if they cannot be mapped.
    #[must_use]
    pub fn new(file: &File, offset: u64, len: usize) -> Option<Self> {
        let place = Place::take()?;
        let mapping = file.map(offset, len).ok()?;
        Some(Self { mapping, file: file.clone(), offset, _place: place })
    }

    /// How many there are.
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.mapping.len()
    }

    /// Sends them. `more` follows at once.
    ///
    /// # Errors
    /// The socket's; `UnexpectedEof` if the file has been cut off.
    pub(super) async fn send(self, stream: &TcpStream, more: bool) -> io::Result<()> {
        let len = self.len();
        for start in (0..len).step_by(PIECE) {
            let end = len.min(start.saturating_add(PIECE));
            self.send_piece(stream, start, end, more || end < len).await.map_err(told)?;
        }
        Ok(())
    }

    async fn send_piece(
        &self,
        stream: &TcpStream,
        start: usize,
        end: usize,
        more: bool,
    ) -> io::Result<()> {
        let (at, count) = (self.offset.saturating_add(start as u64), end - start);
        if self.file.cached_len(at, count) == Some(count) {
            return stream.send_mapped(&self.mapping, start..end, more).await;
        }
        let buffer = Buffer::with_room(0, count).into_slice(0).slice(..count);
        let (read, buffer) = self.file.read_exact_at(buffer, at).await;
        read?;
        match more {
            true => stream.send_all_more(buffer).await.0,
            false => stream.send_all(buffer).await.0,
        }
    }
}

/// The same, whether it was the kernel that found pages missing, or a read the file's end.
fn told(error: io::Error) -> io::Error {
    let cut_off =
        error.raw_os_error() == Some(libc::EFAULT) || error.kind() == io::ErrorKind::UnexpectedEof;
    match cut_off {
        true => {
            io::Error::new(io::ErrorKind::UnexpectedEof, "a file was cut off while it was sent")
        }
        false => error,
    }
}

/// One of the mappings that there may be.
#[derive(Debug)]
struct Place;

impl Place {
    fn take() -> Option<Self> {
        // The count is of nothing but itself, so nothing has to be seen in the order in which it happens.
        let taken = MAPPINGS.fetch_add(1, Ordering::Relaxed);
        let place = Self;
        (taken < MAPPINGS_MAX).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        MAPPINGS.fetch_sub(1, Ordering::Relaxed);
    }
}
