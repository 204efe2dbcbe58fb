//! The operations, each in both worlds.

mod files;
mod sockets;

pub(crate) use sockets::{Stream, abort, later, listener, settled};
