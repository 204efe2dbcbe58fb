//! Just enough DCE/RPC over named pipes for clients to list the shares and to show who is behind a SID.
//!
//! Sans-IO: bytes written to a [`Pipe`] come in, bytes read from it go out, and what is told about the server is a
//! [`ServerInfo`] made at the start. It opens no file and knows no session. `pipe` keeps the state of one open pipe,
//! `dcerpc` knows the PDUs (C706 chapter 12, MS-RPCE), `ndr` the encoding of parameters (C706 chapter 14), `service`
//! what lies behind which pipe, and `srvsvc` (MS-SRVS) and `lsarpc` (MS-LSAT) answer the calls.

mod dcerpc;
mod lsarpc;
mod ndr;
mod pipe;
mod service;
mod srvsvc;

#[cfg(test)]
mod tests;

pub use pipe::{Pipe, Read, RpcError};
pub use srvsvc::{ServerInfo, ShareInfo, ShareType};
