//! LOCK: locks and unlocks byte ranges. MS-SMB2 2.2.26 and 2.2.27.

use bitflags::bitflags;

use super::codec::{Malformed, Reader, Writer};
use super::file_id::FileId;

/// MS-SMB2 2.2.26.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockRequest {
    /// The low 4 bits are a number, the others an index: see [`Self::sequence_number`].
    pub lock_sequence: u32,
    pub file_id: FileId,
    /// At least one, or the request is malformed.
    pub locks: Vec<LockElement>,
}

/// One range. MS-SMB2 2.2.26.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LockElement {
    pub offset: u64,
    pub length: u64,
    pub flags: LockFlags,
}

/// MS-SMB2 2.2.27.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LockResponse;

bitflags! {
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct LockFlags: u32 {
        const SHARED_LOCK = 0x0000_0001;
        const EXCLUSIVE_LOCK = 0x0000_0002;
        const UNLOCK = 0x0000_0004;
        const FAIL_IMMEDIATELY = 0x0000_0010;
    }
}
