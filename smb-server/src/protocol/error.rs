//! Why a connection ends without a reply.

use crate::wire::codec::Malformed;

use super::credits::OutOfWindow;

/// The connection is beyond saving; it is closed and nothing is sent.
#[derive(Debug, thiserror::Error)]
pub enum Disconnect {
    /// The bytes are not a message of this protocol.
    #[error("malformed message: {0}")]
    Malformed(#[from] Malformed),
    /// A MessageId that the client does not hold.
    #[error(transparent)]
    OutOfWindow(#[from] OutOfWindow),
    /// A message that this state of the connection does not allow.
    #[error("protocol violation: {0}")]
    Violation(&'static str),
    /// An encrypted message that does not open: wrong key, changed bytes, or no such session.
    #[error("encrypted message refused: {0}")]
    Seal(&'static str),
    /// The negotiation that the client saw is not the one that took place.
    #[error("negotiation was tampered with: {0}")]
    Downgrade(&'static str),
    /// The client's address has so many failed logons to hear of that it gets no further try.
    #[error("too many failed logons from this address")]
    Guessing,
    /// No session was set up in the time allowed.
    #[error("no session within the time allowed")]
    Unauthenticated,
}
