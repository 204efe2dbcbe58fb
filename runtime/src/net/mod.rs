//! Sockets.
//!
//! [`TcpListener`] and [`TcpStream`], [`UdpSocket`], [`UnixListener`], [`UnixStream`] and
//! [`UnixDatagram`]. All are non-blocking and belong to their thread; `into_std` and `from_std` take one
//! to another. Methods take `&self`, so that one task may receive while another sends.
//!
//! Addresses are addresses: names are for [`spawn_blocking`](crate::spawn_blocking) and
//! `ToSocketAddrs`. A receive that is dropped may have taken bytes, or a datagram, with it.
//! [`TcpStream::recv_stream`] and [`TcpListener::incoming`] lose nothing.

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
