//! Reliable message pipes: whole messages in, whole messages out. No commands, no policy, and of files only bytes to
//! send.

mod elsewhere;
mod mapped;
mod near;
mod piped;
mod rest;
mod tcp;

pub use elsewhere::Elsewhere;
pub use mapped::Mapped;
pub use near::is_near;
pub use piped::Piped;
pub use rest::Rest;
pub use tcp::{Intake, Message, MessageReader, ReadError, send};
