//! SESSION_SETUP: one step of authentication. MS-SMB2 2.2.5 and 2.2.6.

use bitflags::bitflags;

use super::codec::{Malformed, Reader, Writer};
use super::negotiate::{Capabilities, SecurityMode};

/// MS-SMB2 2.2.5.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionSetupRequest {
    pub flags: SessionSetupFlags,
    pub security_mode: SecurityMode,
    pub capabilities: Capabilities,
    pub channel: u32,
    pub previous_session_id: u64,
    pub security_buffer: Vec<u8>,
}

/// MS-SMB2 2.2.6. Also sent with `STATUS_MORE_PROCESSING_REQUIRED`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionSetupResponse {
    pub session_flags: SessionFlags,
    pub security_buffer: Vec<u8>,
}

bitflags! {
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct SessionSetupFlags: u8 {
        /// Bind this connection to an existing session as a further channel.
        const BINDING = 0x01;
    }
}

bitflags! {
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct SessionFlags: u16 {
        const IS_GUEST = 0x0001;
        const IS_NULL = 0x0002;
        const ENCRYPT_DATA = 0x0004;
    }
}
