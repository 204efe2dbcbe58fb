//! What the benches of the SMB server share: a client that speaks to any server, and the servers that are measured,
//! started and weighed.

pub mod client;
pub mod servers;
