//! Bytes to typed messages of MS-SMB2 and back, one command per file, request and response
//! together. No I/O, no clock, no policy: what a value *means* is decided elsewhere. Start from
//! [`header::Header`] and, for the way every message is read and written, [`codec::Reader`] and
//! [`codec::Writer`].
//!
//! The conventions, the same in every file:
//!
//! * `decode(message)` takes one whole SMB2 message *from its 64-byte header on*, because every
//!   offset in SMB2 counts from there. `encode(&mut writer)` appends the body behind a header
//!   already written. Both directions exist for requests and responses, so that a client can be
//!   scripted.
//! * A wrong `StructureSize`, an offset or a length that leaves the message, a count that lies:
//!   that is [`codec::Malformed`]. A value that is merely unknown survives as the number it is, so
//!   codes are newtypes with constants and flags keep their unknown bits.
//! * Bulk data is described, not carried: [`write::WriteRequest`] says in which range of the
//!   message its payload lies, [`read::ReadResponse`] encodes only what precedes the payload. Small
//!   variable parts are owned.
//! * Fields and constants have the names of the specification, in Rust's case.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation
    )
)]
#![allow(
    missing_docs,
    reason = "fields and constants are MS-SMB2's and MS-FSCC's, documented there"
)]

#[macro_use]
mod open_enum;

pub mod access_mask;
pub mod cancel;
pub mod change_notify;
pub mod close;
pub mod codec;
pub mod compression;
pub mod copychunk;
pub mod create;
pub mod create_context;
pub mod dialect;
pub mod duplicate_extents;
pub mod echo;
pub mod error;
pub mod file_id;
pub mod filetime;
pub mod flush;
pub mod frame;
pub mod fscc;
pub mod guid;
pub mod header;
pub mod ioctl;
pub mod lease;
pub mod lock;
pub mod logoff;
pub mod negotiate;
pub mod negotiate_context;
pub mod oplock_break;
pub mod query_directory;
pub mod query_info;
pub mod read;
pub mod reparse;
pub mod security;
pub mod session_setup;
pub mod set_info;
pub mod smb1_negotiate;
pub mod snapshots;
pub mod sparse;
pub mod status;
pub mod transform;
pub mod tree_connect;
pub mod tree_disconnect;
pub mod trim;
pub mod utf16;
pub mod validate_negotiate;
pub mod write;

#[cfg(test)]
mod tests;
