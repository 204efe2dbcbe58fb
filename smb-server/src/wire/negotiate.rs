//! NEGOTIATE: dialect, capabilities and, since 3.1.1, contexts. MS-SMB2 2.2.3 and 2.2.4.

use bitflags::bitflags;

use super::codec::{Malformed, Reader, Writer};
use super::dialect::Dialect;
use super::filetime::FileTime;
use super::guid::Guid;
use super::negotiate_context::NegotiateContext;

/// MS-SMB2 2.2.3.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NegotiateRequest {
    pub security_mode: SecurityMode,
    pub capabilities: Capabilities,
    pub client_guid: Guid,
    pub dialects: Vec<Dialect>,
    /// On the wire only where `dialects` has 3.1.1.
    pub contexts: Vec<NegotiateContext>,
}

/// MS-SMB2 2.2.4.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NegotiateResponse {
    pub security_mode: SecurityMode,
    pub dialect: Dialect,
    pub server_guid: Guid,
    pub capabilities: Capabilities,
    pub max_transact_size: u32,
    pub max_read_size: u32,
    pub max_write_size: u32,
    pub system_time: FileTime,
    pub server_start_time: FileTime,
    pub security_buffer: Vec<u8>,
    /// On the wire only where `dialect` is 3.1.1.
    pub contexts: Vec<NegotiateContext>,
}

bitflags! {
    /// Whether a side can sign and whether it insists. 16 bits in NEGOTIATE, 8 in SESSION_SETUP.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct SecurityMode: u16 {
        const SIGNING_ENABLED = 0x0001;
        const SIGNING_REQUIRED = 0x0002;
    }
}

bitflags! {
    /// What a side can do, as far as it is not said in contexts.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Capabilities: u32 {
        const DFS = 0x0000_0001;
        const LEASING = 0x0000_0002;
        const LARGE_MTU = 0x0000_0004;
        const MULTI_CHANNEL = 0x0000_0008;
        const PERSISTENT_HANDLES = 0x0000_0010;
        const DIRECTORY_LEASING = 0x0000_0020;
        /// Only in 3.0 and 3.0.2; 3.1.1 has a context for it.
        const ENCRYPTION = 0x0000_0040;
        const NOTIFICATIONS = 0x0000_0080;
    }
}
