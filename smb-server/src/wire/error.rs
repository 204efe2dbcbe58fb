//! The body of a response that failed. MS-SMB2 2.2.2.

use super::codec::{Malformed, Reader, Writer};

/// MS-SMB2 2.2.2. The status stands in the header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorResponse {
    /// How many error contexts `data` is, in 3.1.1; else 0.
    pub error_context_count: u8,
    pub data: Vec<u8>,
}
