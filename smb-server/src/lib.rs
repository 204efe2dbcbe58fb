//! .

pub mod wire;
