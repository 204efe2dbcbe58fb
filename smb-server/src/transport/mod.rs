//! Reliable message pipes: whole messages in, whole messages out. No commands, no files, no policy.

mod piped;
mod rest;
mod tcp;

pub use piped::Piped;
pub use rest::Rest;
pub use tcp::{Intake, Message, MessageReader, ReadError, send};
