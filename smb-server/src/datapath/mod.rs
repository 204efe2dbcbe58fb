//! How bulk bytes move between files and messages: the one place where they do.
//!
//! A command describes a transfer by a [`Source`] or a [`Sink`]; here it is carried out, by the [`Route`] that
//! the table in [`plan`] has for it, and counted.

mod copied;
mod counters;
mod direct;
pub mod host;
mod mapped;
pub mod plan;
mod read_ahead;
mod scale;
mod server_copy;
mod spliced;
mod stable;
mod teed;
mod transfer;

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use crate::protocol::Protection;
use crate::state::Open;
use crate::transport::Rest;

pub use counters::{Count, Counters, RowCount};
pub use plan::Route;
pub use read_ahead::ReadAhead;
pub use server_copy::copy_range;
pub use stable::Receiver;
pub use transfer::{read, write};

/// The bytes that a READ wants.
#[derive(Debug)]
pub struct Source {
    /// An open file.
    pub open: Arc<Open>,
    /// Where they begin.
    pub offset: u64,
    /// How many at most.
    pub length: u32,
    /// Fewer than this are an end of file.
    pub minimum_count: u32,
    /// What they are sent in.
    pub message: Message,
    /// Whom they are sent to.
    pub receiver: Rc<Receiver>,
}

/// Bytes that a client sends.
#[derive(Debug)]
pub enum Incoming {
    /// They are here.
    Here(Bytes),
    /// They are on their way.
    Rest(Rest),
}

impl Incoming {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Here(bytes) => bytes.len(),
            Self::Rest(rest) => rest.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them, in memory.
    ///
    /// # Errors
    /// The connection ends before.
    pub async fn bytes(self) -> io::Result<Bytes> {
        match self {
            Self::Here(bytes) => Ok(bytes),
            Self::Rest(rest) => rest.receive().await.map(Bytes::from),
        }
    }
}

/// The message that bytes come or go in.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    /// What it has around it.
    pub protection: Protection,
    /// Whether it has nothing else in it.
    pub alone: bool,
}

/// Where the bytes of a WRITE go.
#[derive(Debug)]
pub struct Sink {
    /// An open file.
    pub open: Arc<Open>,
    /// Where they begin; `None`: at the end of the file.
    pub offset: Option<u64>,
    /// The bytes.
    pub bytes: Incoming,
    /// They are on the disk before the reply.
    pub through: bool,
    /// What they came in.
    pub message: Message,
}
