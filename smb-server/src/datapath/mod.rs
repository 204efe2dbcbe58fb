//! How bulk bytes move between files and messages: the one place where they do.
//!
//! A command describes a transfer by a [`Source`] or a [`Sink`]; here it is carried out. There is
//! one route so far, which suits every file, dialect and transport: a READ is read into a buffer
//! with room in front for all headers, so that head and payload are one range to sign, seal and
//! send; a WRITE goes to the file from the message it arrived in, after that was verified.

mod copy;
mod server_copy;

use std::sync::Arc;

use bytes::Bytes;

use crate::state::Open;

pub use copy::{read, write};
pub use server_copy::copy_range;

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
}

/// Where the bytes of a WRITE go.
#[derive(Debug)]
pub struct Sink {
    /// An open file.
    pub open: Arc<Open>,
    /// Where they begin; `None`: at the end of the file.
    pub offset: Option<u64>,
    /// The bytes.
    pub bytes: Bytes,
    /// They are on the disk before the reply.
    pub through: bool,
}
