//! Bytes in a pipe, on their way out.

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
