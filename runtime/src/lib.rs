//! An async runtime for Linux: io_uring where the kernel has it, epoll where it has not.
//!
//! One binary runs everywhere: what the kernel can do is probed when a runtime is made, and
//! [`Features`] says what was found, chosen and why. Start from [`Runtime`], or from [`Cores`] for one
//! runtime per core. It is made for network daemons; it has no work stealing, and its tasks are not
//! `Send`.
//!
//! ```no_run
//! use ringway::net::TcpListener;
//!
//! # fn main() -> std::io::Result<()> {
//! let runtime = ringway::Builder::new().build()?;
//! runtime.block_on(async {
//!     let listener = TcpListener::bind(([127, 0, 0, 1], 7).into())?;
//!     loop {
//!         let (stream, _) = listener.accept().await?;
//!         ringway::spawn(async move { stream.send_all(b"hello\n".as_slice()).await });
//!     }
//! })
//! # }
//! ```
//!
//! # What belongs to a thread, and what does not
//!
//! A runtime, its tasks and its operations belong to one thread. [`fs::File`] and [`fs::Dir`] may go
//! from thread to thread; a [`net::TcpStream`] goes by way of `into_std` and `from_std`.
//! [`spawn`], [`time::sleep`] and every operation find the runtime of the thread that polls them, and
//! panic where there is none.
//!
//! # Dropping a future
//!
//! An operation is submitted when its future is first polled, and a buffer goes into it by value
//! ([`buf`]). Dropping the future at any point is sound: the operation is cancelled, its buffer is
//! freed when the kernel has let go of it, a descriptor that it wins after all is closed. But what it
//! has already done stays done: a dropped receive may have taken bytes from the stream.
//!
//! # Inside
//!
//! An operation is plain data ([`ringway_driver::Op`]). For each, `ladder` picks how it runs: at
//! once, on the ring, when epoll says it is ready, or on a thread. `op` has the ownership protocol.

mod answer;
mod async_fd;
mod backend;
mod blocking;
pub mod buf;
pub mod cancel;
#[cfg(any(feature = "futures-io", feature = "tokio", feature = "hyper"))]
pub mod compat;
pub mod cores;
mod descriptor;
mod drivers;
mod features;
pub mod fs;
mod guest;
mod ladder;
mod mailbox;
mod metrics;
#[cfg(all(test, loom))]
mod models;
pub mod net;
mod op;
mod permits;
pub mod pipe;
mod policy;
pub mod process;
mod runtime;
pub mod signal;
mod sockets;
mod sync;
mod table;
pub mod task;
pub mod time;
mod uring;

pub use async_fd::AsyncFd;
pub use backend::{Backend, UnknownBackend};
pub use blocking::spawn_blocking;
pub use cores::Cores;
pub use features::{Feature, Features, Mask, Support, UnknownFeature};
pub use guest::Guest;
pub use ladder::Rung;
pub use metrics::{Metrics, OpMetrics, ZeroCopyMetrics};
pub use policy::{Policy, ZeroCopyPolicy};
pub use ringway_driver::{Identity, OpKind};
pub use runtime::{Builder, Runtime, ShutdownReport, metrics};
pub use task::{JoinError, JoinHandle, spawn};
