//! .
pub mod config;
