//! What an I/O operation is and what a driver of the Ringway runtime promises.
//!
//! This crate is the contract between the runtime above and its backends below: the io_uring driver
//! (in `ringway`) and the epoll driver (`ringway-epoll`). It performs no I/O, owns no buffer and
//! knows no executor. Start from [`Op`], one kernel operation as plain data, and [`Driver`], which
//! takes operations in and gives [`Completion`]s back.

mod completion;
mod driver;
mod identity;
mod op;

pub use completion::{Completion, Token};
pub use driver::{Driver, Wake, Waker};
pub use identity::Identity;
pub use op::{Op, OpKind, Path};
