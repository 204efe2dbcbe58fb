//! The payload of FSCTL_VALIDATE_NEGOTIATE_INFO: what was negotiated, said again under a signature.
//! MS-SMB2 2.2.31.4 and 2.2.32.6.

use super::codec::{Malformed, Reader, Writer};
use super::dialect::Dialect;
use super::guid::Guid;
use super::negotiate::{Capabilities, SecurityMode};

/// The input. MS-SMB2 2.2.31.4.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValidateNegotiateInfoRequest {
    pub capabilities: Capabilities,
    pub client_guid: Guid,
    pub security_mode: SecurityMode,
    pub dialects: Vec<Dialect>,
}

/// The output. MS-SMB2 2.2.32.6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ValidateNegotiateInfoResponse {
    pub capabilities: Capabilities,
    pub server_guid: Guid,
    pub security_mode: SecurityMode,
    pub dialect: Dialect,
}
