//! Bytes that go out as they are, and never were in this program's memory.

use std::io;

use ringway::net::TcpStream;
use ringway::pipe::PooledPipe;

/// Bytes in a pipe: pages of a file, mostly. All that the pipe holds.
#[derive(Debug)]
pub struct Piped {
    pipe: PooledPipe,
    len: usize,
}

impl Piped {
    /// The bytes in a pipe that nobody else puts any into.
    #[must_use]
    pub fn new(pipe: PooledPipe, len: usize) -> Self {
        Self { pipe, len }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// How many there are in all of several.
    #[must_use]
    pub fn total(pieces: &[Self]) -> usize {
        pieces.iter().map(Self::len).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Sends them. `more` follows at once.
    pub(super) async fn send(self, stream: &TcpStream, more: bool) -> io::Result<()> {
        self.pipe.drain_to(stream, self.len, more).await
    }
}
