//! usmbd: an SMB3 file server in user space, on the Ringway runtime.
//!
//! The layers, each using only those below it and to its left:
//!
//! | layer | job | never |
//! |---|---|---|
//! | [`server`], `connection` | listens, drives connections: transport to protocol to commands and back | knows a message's contents |
//! | [`monitor`] | sees what others change in watched directories | decides what clients are told |
//! | [`datapath`] | moves bulk bytes between files and messages | decides who may |
//! | [`command`] | one handler per command: request to reply or NTSTATUS | sees bytes or header fields |
//! | [`state`] | sessions, tree connects, opens, share modes; the only locks | does I/O under a lock |
//! | [`vfs`] | files as SMB sees them: names and case, attributes, listings | knows wire types or NTSTATUS |
//! | [`rpc`] | the services behind named pipes | does I/O |
//! | [`transport`] | whole messages over a socket | knows commands, opens files |
//! | [`protocol`] | the connection as a machine: negotiate, sessions, credits, compounds, signing and sealing order | awaits |
//! | [`auth`], [`crypto`] | tokens in, identity out; sign, seal, derive | does I/O |
//! | [`wire`] | bytes to typed messages and back | I/O, clock, panic, unsafe |
//!
//! Start from [`server::Server`] and [`config::Config`] to run one, from [`protocol`] to understand it.

pub mod auth;
mod buffers;
mod calendar;
pub mod command;
pub mod config;
mod connection;
pub mod cores;
pub mod crypto;
pub mod datapath;
#[doc(hidden)]
pub mod fuzzing;
mod memory;
pub mod monitor;
pub mod protocol;
pub mod rpc;
pub mod security;
pub mod server;
mod signal;
pub mod state;
pub mod transport;
pub mod vfs;
pub mod wire;
