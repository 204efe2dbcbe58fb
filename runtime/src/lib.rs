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
//! Who knows tokio may begin with the [`guide`].
//!
//! # What is where
//!
//! | | |
//! |---|---|
//! | [`Runtime`], [`Builder`] | one runtime, on the thread that made it |
//! | [`Cores`], [`cores`] | a runtime on each core |
//! | [`Guest`] | a runtime inside of a loop that somebody else runs |
//! | [`spawn`], [`task`] | tasks |
//! | [`spawn_blocking`] | work that blocks, on a bounded pool of threads |
//! | [`buf`] | the buffers that operations own |
//! | [`net`] | TCP, UDP and Unix sockets |
//! | [`fs`] | files and directories |
//! | [`pipe`] | pipes, and moving bytes without a copy in user space |
//! | [`time`] | sleeping, ticking and giving up |
//! | [`signal`], [`process`] | signals and child processes |
//! | [`AsyncFd`] | readiness of foreign descriptors |
//! | [`cancel`] | ending operations early, and learning what came of it |
//! | `compat` | the I/O traits of other ecosystems |
//! | [`Features`], [`Feature`], [`Backend`] | what was found and chosen, and why |
//! | [`Mask`], [`Policy`], [`ZeroCopyPolicy`] | what is to be absent, tried first, or bounded |
//! | [`Faults`], [`Fault`] | what is to go wrong, in tests |
//! | [`metrics()`], [`Metrics`] | what was done, and by which way |
//!
//! # Cargo features
//!
//! None is on by default, and none changes how anything runs.
//!
//! | feature | gives `compat::PollStream` |
//! |---|---|
//! | `futures-io` | `AsyncRead`, `AsyncBufRead` and `AsyncWrite` of futures |
//! | `tokio` | tokio's `AsyncRead` and `AsyncWrite`, without a runtime of tokio's |
//! | `hyper` | hyper's `Read` and `Write`; and beside it an executor and a timer |
//!
//! # From outside
//!
//! `RINGWAY_BACKEND` names a [`Backend`] for programs that ask for none. `RINGWAY_MASK` makes features
//! and operations of the ring absent ([`Mask`]). `RINGWAY_FAULTS` lets operations fall short, be interrupted or
//! fail by chance ([`Faults`]): how does a program fare when the kernel is unkind?
//!
//! # Events
//!
//! Ringway tells what an operator may want to know by [`tracing`](https://docs.rs/tracing), and writes
//! nothing anywhere by itself. Targets are the modules' paths, so `ringway=debug` is all of it. What is
//! said of operations is said once, not for each, so that it costs nothing to leave it on.
//!
//! | level | when | fields |
//! |---|---|---|
//! | error | a task has panicked that nobody waits for | `panic`: its text |
//! | warn | a runtime has ended and operations have not: what they own is leaked | `cancelled`, `drained`, `leaked` |
//! | warn | the ring's completion queue was too short; once | |
//! | warn | all threads of the blocking pool are at work and more work waits; once | |
//! | warn | the blocking pool's queue is full; once | |
//! | warn | the system gives the pool no thread; once for each reason | `errno` |
//! | warn | a runtime was made in which operations fail on purpose ([`Faults`]) | `faults` |
//! | info | such a runtime has ended | `faults`: how often |
//! | info | a runtime was made without the ring that it could have used | `backend`, `chosen_by`, `reasons` |
//! | debug | a runtime was made | `backend`, `chosen_by` |
//! | debug | a feature is missing, as [`Features`] has it; for each | `backend`, `feature`, `reason` |
//! | debug | an operation was refused by its first rung and goes on to the next; once for each kind | `op`, `rung`, `errno` |
//! | debug | a pool of buffers could not be registered, or provided, and works without | `errno`, `error` |
//! | debug | a zero-copy send was refused and goes another way; once for each `rung` | `op`, `rung`, `errno` |
//! | debug | a budget for zero copy is used up, so bytes are copied; once | `fd`, `bytes` |
//! | debug | a socket's sends were copied all the same, so zero copy is off there; for each socket | `fd` |
//! | debug | a runtime has ended | `cancelled`, `drained`, `leaked` |
//!
//! "Once" is once for each runtime. An operation's own error may look like a refusal (`EINVAL`): the last
//! rung says it again, and its caller hears that. A subscriber is called on the runtime's thread, at
//! moments when it may use the runtime, and blocks it for as long as it takes.
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
//! # Forking
//!
//! Starting programs is fine: descriptors are closed on exec. A child that was forked and has not called
//! `exec` must not use its parent's runtimes, nor drop them: it does not have the ring's memory.
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
mod faults;
mod features;
pub mod fs;
mod guest;
#[doc = include_str!("../docs/from-tokio.md")]
pub mod guide {}
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
mod random;
mod runtime;
pub mod signal;
mod sockets;
mod sync;
mod table;
pub mod task;
pub mod time;
mod uring;
mod wake;

pub use async_fd::AsyncFd;
pub use backend::{Backend, UnknownBackend};
pub use blocking::spawn_blocking;
pub use cores::Cores;
pub use faults::{Chance, Fault, Faults, UnknownFault};
pub use features::{Feature, Features, Mask, Support, UnknownFeature};
pub use guest::Guest;
pub use ladder::Rung;
pub use metrics::{FaultMetrics, Metrics, OpMetrics, ZeroCopyMetrics};
pub use policy::{Policy, ZeroCopyPolicy};
pub use ringway_driver::{Identity, OpKind};
pub use runtime::{Builder, Runtime, ShutdownReport, metrics};
pub use task::{JoinError, JoinHandle, spawn};
