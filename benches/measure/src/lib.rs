//! What the benches share: which cores do what and how far apart they are, what a process uses, whether a sample was
//! disturbed, medians and ratios, and which machine it is.

pub mod arguments;
pub mod calm;
pub mod cores;
pub mod host;
pub mod pairs;
pub mod phase;
pub mod run;
pub mod spread;
pub mod sys;
pub mod syscalls;
pub mod text;
