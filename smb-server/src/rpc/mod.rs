//! Just enough DCE/RPC over named pipes for clients to list the shares.
//!
//! Sans-IO: bytes written to a [`Pipe`] come in, bytes read from it go out, and what is told about the server is a
//! [`ServerInfo`] made at the start. It opens no file, knows no session and checks no right. `pipe` keeps the state of
//! one open pipe, `dcerpc` knows the PDUs (C706 chapter 12, MS-RPCE), `ndr` the encoding of parameters (C706 chapter
//! 14), and `srvsvc` answers the calls (MS-SRVS).

mod dcerpc;
mod ndr;
mod pipe;
mod srvsvc;

#[cfg(test)]
mod tests;

pub use pipe::{Pipe, Read, RpcError};
pub use srvsvc::{ServerInfo, ShareInfo, ShareType};
