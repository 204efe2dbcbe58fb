//! Reliable message pipes: whole messages in, whole messages out. No commands, no policy, and of files only bytes to
//! send.

mod elsewhere;
mod kept;
mod mapped;
mod near;
mod off_host;
mod pin;
mod piped;
mod rest;
mod rtnetlink;
mod tcp;

pub use elsewhere::Elsewhere;
pub use kept::Kept;
pub use mapped::{Leased, Mapped};
pub use near::is_near;
pub use off_host::is_off_host;
pub use pin::{Pin, Until};
pub use piped::Piped;
pub use rest::Rest;
pub use tcp::{Intake, Message, MessageReader, ReadError, send};
