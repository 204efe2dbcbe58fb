//! What the benches share: how far apart the cores are, what a process uses, medians, and which machine it is.

pub mod host;
pub mod phase;
pub mod spread;
pub mod sys;
