//! The operations, each in both worlds.

mod files;
mod messages;
mod pipes;
mod sockets;
mod vectored;

pub(crate) use sockets::{Listener, Stream, abort, later, listener, settled};
