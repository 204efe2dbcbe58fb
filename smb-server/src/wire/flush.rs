//! FLUSH: what was written reaches the disk. MS-SMB2 2.2.17 and 2.2.18.

use super::codec::{Malformed, Reader, Writer};
use super::file_id::FileId;

/// MS-SMB2 2.2.17.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlushRequest {
    /// Reserved in the specification; macOS asks for a full sync with 0xFFFF.
    pub reserved1: u16,
    pub file_id: FileId,
}

/// MS-SMB2 2.2.18.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlushResponse;
