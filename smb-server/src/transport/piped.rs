//! Bytes in a pipe, on their way out.

use std::io;
use std::rc::Rc;

use ringway::net::TcpStream;
use ringway::pipe::{PipeReader, PooledPipe};

use super::Pin;

/// Bytes in a pipe: pages of a file, mostly. All that the pipe holds.
#[derive(Debug)]
pub struct Piped {
    pipe: PooledPipe,
    len: usize,
    pin: Option<Rc<Pin>>,
}

impl Piped {
    /// The bytes in a pipe that nobody else puts any into.
    #[must_use]
    pub fn new(pipe: PooledPipe, len: usize) -> Self {
        Self { pipe, len, pin: None }
    }

    /// The same, which are to stay as they are until they have arrived.
    #[must_use]
    pub fn pinned(self, pin: &Rc<Pin>) -> Self {
        Self { pin: Some(Rc::clone(pin)), ..self }
    }

    /// The end of the pipe that they come out of.
    #[must_use]
    pub fn reader(&self) -> &PipeReader {
        self.pipe.reader()
    }

    /// Who waits for them to arrive.
    #[must_use]
    pub fn pin(&self) -> Option<&Rc<Pin>> {
        self.pin.as_ref()
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
