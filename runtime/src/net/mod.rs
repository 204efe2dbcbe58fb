//! Sockets.

mod socket;
pub(crate) mod sockopt;
mod tcp;
pub(crate) mod zerocopy;

pub use tcp::{TcpListener, TcpStream};
pub use zerocopy::{ZcDone, ZcNotify, ZcSent, ZcUsage};
