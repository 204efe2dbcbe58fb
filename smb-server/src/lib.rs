//! An SMB3 file server.

pub mod auth;
pub mod crypto;
pub mod protocol;
pub mod wire;
