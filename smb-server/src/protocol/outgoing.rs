//! Messages for the client in the order in which they leave, and the signing and sealing of the large ones, which may
//! be done by another thread before their turn comes.
//!
//! What is small is protected as it is made. What is large waits as it is: for its turn, or for somebody who takes it
//! as a [`Job`]. A job that nobody has begun when its turn comes is done then and there, so that nobody waits for a
//! thread that has other things to do.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::buffers::Buffer;
use crate::crypto::seal::{SealError, Sealer};
use crate::crypto::sign::{SignError, Signer};
use crate::wire::frame::PREFIX;

use super::message::Transmit;
use super::reply::{HEADROOM, put_prefix};

/// The shortest message that waits. To have another thread do something takes two wake-ups, 10 to 100 µs together;
/// to seal as much as this takes some 60 µs with the quickest cipher, and several times that with others.
pub(super) const APART_MIN: usize = 256 * 1024;

/// See the module.
#[derive(Default)]
pub(super) struct Outgoing {
    places: VecDeque<Place>,
    /// The number of the first of them.
    first: u64,
    /// How many of them wait.
    waiting: usize,
    /// The bytes in all of them.
    bytes: usize,
}

enum Place {
    /// To be sent as it is.
    Ready(Transmit),
    /// To be protected first.
    Waiting(Unprotected),
    /// Somebody is to protect it, or does.
    Away(Lent, usize),
    /// It cannot be sent.
    Lost(usize),
}

/// A message until somebody begins to protect it.
type Lent = Arc<Mutex<Option<Unprotected>>>;

/// A message with room in front, and what it is to be protected with.
pub(super) struct Unprotected {
    buffer: Buffer,
    key: Key,
}

/// What a message is protected with.
pub(super) enum Key {
    /// It is one response.
    Sign(Arc<Signer>),
    /// For a session.
    Seal(Arc<Sealer>, u64),
}

/// Why a message cannot be protected.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
enum ProtectError {
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// Names one job of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JobId(u64);

/// A message to be signed or sealed, on any thread.
pub struct Job {
    id: JobId,
    message: Lent,
}

/// What has come of a [`Job`].
pub struct Done(Result<Protected, ProtectError>);

/// A message from `start` on.
struct Protected {
    buffer: Buffer,
    start: usize,
}

impl Job {
    /// By which its outcome finds its way back.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.id
    }

    /// Does it. `None`: its turn had come before.
    #[must_use]
    pub fn run(self) -> Option<Done> {
        take(&self.message).map(|message| Done(message.protect()))
    }
}

impl Unprotected {
    pub(super) fn new(buffer: Buffer, key: Key) -> Self {
        Self { buffer, key }
    }

    fn protect(self) -> Result<Protected, ProtectError> {
        let Self { mut buffer, key } = self;
        let start = match key {
            Key::Sign(signer) => {
                signer.sign(buffer.get_mut(HEADROOM..).unwrap_or_default())?;
                HEADROOM - PREFIX
            }
            Key::Seal(sealer, session_id) => {
                sealer.seal(buffer.get_mut(PREFIX..).unwrap_or_default(), session_id)?;
                0
            }
        };
        put_prefix(&mut buffer, start, 0);
        Ok(Protected { buffer, start })
    }
}

impl Place {
    fn size(&self) -> usize {
        match self {
            Self::Ready(transmit) => transmit.size(),
            Self::Waiting(message) => message.buffer.len(),
            Self::Away(_, size) | Self::Lost(size) => *size,
        }
    }
}

impl Outgoing {
    /// Adds a message that is as it is to be sent.
    pub(super) fn push(&mut self, transmit: Transmit) {
        self.push_place(Place::Ready(transmit));
    }

    /// Adds one that is not.
    pub(super) fn push_unprotected(&mut self, message: Unprotected) {
        self.waiting += 1;
        self.push_place(Place::Waiting(message));
    }

    fn push_place(&mut self, place: Place) {
        self.bytes = self.bytes.saturating_add(place.size());
        self.places.push_back(place);
    }

    /// The bytes of memory that they hold.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The next to be sent; `None` also while somebody is at it.
    pub(super) fn pop(&mut self) -> Option<Transmit> {
        loop {
            let place = self.places.pop_front()?;
            let size = place.size();
            let result = match place {
                Place::Ready(transmit) => Some(transmit),
                Place::Waiting(message) => {
                    self.waiting -= 1;
                    finished(message.protect())
                }
                Place::Away(lent, size) => match take(&lent) {
                    Some(message) => finished(message.protect()),
                    None => {
                        self.places.push_front(Place::Away(lent, size));
                        return None;
                    }
                },
                Place::Lost(_) => None,
            };
            self.first += 1;
            self.bytes = self.bytes.saturating_sub(size);
            if result.is_some() {
                return result;
            }
        }
    }

    /// The next to be sent, if it is as it is to be sent and `wanted` says so of it.
    pub(super) fn pop_if(&mut self, wanted: impl FnOnce(&Transmit) -> bool) -> Option<Transmit> {
        match self.places.front() {
            Some(Place::Ready(transmit)) if wanted(transmit) => self.pop(),
            _ => None,
        }
    }

    /// Whether there is one to be protected before its turn, behind the first `left`.
    pub(super) fn has_job(&self, left: usize) -> bool {
        self.waiting > left
    }

    /// The first such.
    pub(super) fn take_job(&mut self, left: usize) -> Option<Job> {
        let is_waiting = |(_, place): &(u64, &mut Place)| matches!(place, Place::Waiting(_));
        let (id, place) = (self.first..).zip(&mut self.places).filter(is_waiting).nth(left)?;
        let size = place.size();
        let lent = Lent::default();
        let before = std::mem::replace(place, Place::Away(Arc::clone(&lent), size));
        if let Place::Waiting(message) = before {
            self.waiting -= 1;
            *lent.lock().unwrap_or_else(PoisonError::into_inner) = Some(message);
        }
        Some(Job { id: JobId(id), message: lent })
    }

    /// What has come of a job; `None`: whoever took it has not done it.
    pub(super) fn settle(&mut self, job: JobId, done: Option<Done>) {
        // If not, its turn has come before.
        let index = job.0.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        let Some(place) = index.and_then(|index| self.places.get_mut(index)) else { return };
        let Place::Away(lent, size) = place else { return };
        let (message, size) = (take(lent), *size);
        *place = match (message, done) {
            (Some(message), _) => {
                self.waiting += 1;
                Place::Waiting(message)
            }
            (None, Some(Done(result))) => finished(result).map_or(Place::Lost(size), Place::Ready),
            (None, None) => {
                tracing::error!("a response was lost on another thread and is not sent");
                Place::Lost(size)
            }
        };
    }
}

fn take(lent: &Lent) -> Option<Unprotected> {
    lent.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn finished(result: Result<Protected, ProtectError>) -> Option<Transmit> {
    match result {
        Ok(Protected { buffer, start }) => Some(Transmit { buffer, start, tail: Vec::new() }),
        Err(error) => {
            tracing::error!(%error, "a response could not be protected and is not sent");
            None
        }
    }
}
