//! The header before an encrypted message. MS-SMB2 2.2.41.

use bitflags::bitflags;

use super::codec::{Malformed, Reader, Writer};

/// MS-SMB2 2.2.41.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransformHeader {
    pub signature: [u8; 16],
    /// 11 bytes with CCM, 12 with GCM; the others are 0.
    pub nonce: [u8; 16],
    /// Of the message before encryption, in bytes.
    pub original_message_size: u32,
    /// 3.1.1. In 3.0.x the same bytes say the algorithm, and its only one is 1 as well.
    pub flags: TransformFlags,
    pub session_id: u64,
}

bitflags! {
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct TransformFlags: u16 {
        const ENCRYPTED = 0x0001;
    }
}
