//! Bytes that go out as they are, and never were in this program's memory.

use std::io;
use std::rc::Rc;

use ringway::net::TcpStream;

use super::{Leased, Mapped, Pin, Piped};

/// A piece of a message that lies somewhere else than its head.
#[derive(Debug)]
pub enum Elsewhere {
    /// In a pipe.
    Piped(Piped),
    /// In the page cache.
    Mapped(Mapped),
    /// There, and to be signed first, or sealed from there.
    Leased(Leased),
}

impl Elsewhere {
    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Piped(piped) => piped.len(),
            Self::Mapped(mapped) => mapped.len(),
            Self::Leased(leased) => leased.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many there are in all of several.
    #[must_use]
    pub fn total(pieces: &[Self]) -> usize {
        pieces.iter().map(Self::len).sum()
    }

    /// Who waits for them to arrive.
    #[must_use]
    pub fn pin(&self) -> Option<&Rc<Pin>> {
        match self {
            Self::Piped(piped) => piped.pin(),
            Self::Mapped(mapped) => mapped.pin(),
            Self::Leased(leased) => leased.pin(),
        }
    }

    /// Sends them. `more` follows at once.
    pub(super) async fn send(self, stream: &TcpStream, more: bool) -> io::Result<()> {
        match self {
            Self::Piped(piped) => piped.send(stream, more).await,
            Self::Mapped(mapped) => mapped.send(stream, more).await,
            Self::Leased(leased) => leased.unseen().send(stream, more).await,
        }
    }
}
