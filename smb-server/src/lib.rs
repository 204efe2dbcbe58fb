//! .
pub mod auth;
pub mod crypto;
