//! Reliable message pipes: whole messages in, whole messages out. No commands, no files, no policy.

mod piped;
mod tcp;

pub use piped::Piped;
pub use tcp::{MessageReader, ReadError, send};
