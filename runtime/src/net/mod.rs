//! Sockets.

pub(crate) mod socket;
pub(crate) mod sockopt;
mod tcp;

pub use tcp::{TcpListener, TcpStream};
