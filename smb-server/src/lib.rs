//! An SMB3 file server.

pub mod auth;
pub mod config;
pub mod crypto;
pub mod protocol;
pub mod rpc;
pub mod wire;
