//! Sockets.
//!
//! [`TcpListener`] and [`TcpStream`], [`UdpSocket`], [`UnixListener`], [`UnixStream`] and
//! [`UnixDatagram`]. All are non-blocking and belong to their thread; `into_std` and `from_std` take one
//! to another. Methods take `&self`, so that one task may receive while another sends.
//!
//! Addresses are addresses: names are for [`spawn_blocking`](crate::spawn_blocking) and
//! `ToSocketAddrs`.
//!
//! # Dropping a call
//!
//! A receive that is dropped may have taken bytes, a datagram or descriptors with it. A send may have
//! sent all, some or nothing, or may do so yet, and nobody learns which; a datagram goes whole or not at
//! all. A connection that a dropped call has made or accepted is closed. Waiting for readiness, peeking and
//! closing are cancel safe, and [`TcpStream::recv_stream`] and [`TcpListener::incoming`] lose nothing. A
//! [`CancelToken`](crate::cancel::CancelToken) ends a call and tells what came of it.

mod ancillary;
mod incoming;
mod listen;
mod message;
mod recv_buf;
mod recv_memory;
mod recv_pool;
mod recv_stream;
pub(crate) mod socket;
pub(crate) mod sockopt;
mod tcp;
mod udp;
mod unix;
pub(crate) mod zerocopy;

pub use incoming::Incoming;
pub use listen::ListenOptions;
pub use recv_buf::RecvBuf;
pub use recv_pool::RecvPool;
pub use recv_stream::RecvStream;
pub use tcp::{TcpListener, TcpStream};
pub(crate) use udp::Offload;
pub use udp::{Ecn, RecvMeta, SendMeta, UdpOptions, UdpSocket};
pub use unix::{FDS_MAX, UnixCredentials, UnixDatagram, UnixListener, UnixRecvMeta, UnixStream};
pub use zerocopy::{ZcDone, ZcNotify, ZcSent, ZcUsage};
