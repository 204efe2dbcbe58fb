//! Reliable message pipes: whole messages in, whole messages out. No commands, no files, no policy.

mod tcp;

pub use tcp::{MessageReader, ReadError};
