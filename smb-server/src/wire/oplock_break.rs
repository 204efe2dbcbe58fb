//! OPLOCK_BREAK: an oplock or a lease is taken back, the client acknowledges, the server answers.
//! MS-SMB2 2.2.23 to 2.2.25. Which of two forms a message has, its `StructureSize` tells.

use bitflags::bitflags;

use super::access_mask::AccessMask;
use super::codec::{Malformed, Reader, Writer};
use super::create::{OplockLevel, ShareAccess};
use super::file_id::FileId;
use super::lease::{LeaseFlags, LeaseKey, LeaseState};

/// What the server says unasked, with [`Header::UNSOLICITED`](super::header::Header::UNSOLICITED) as its
/// message id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakNotification {
    Oplock(OplockBreak),
    Lease(LeaseBreak),
}

/// The client's acknowledgement, and with the same layout the server's response to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakAcknowledgment {
    Oplock(OplockBreak),
    Lease(LeaseAcknowledgment),
}

/// MS-SMB2 2.2.23.1, 2.2.24.1 and 2.2.25.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OplockBreak {
    pub oplock_level: OplockLevel,
    pub file_id: FileId,
}

/// MS-SMB2 2.2.23.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseBreak {
    pub new_epoch: u16,
    pub flags: LeaseBreakFlags,
    pub lease_key: LeaseKey,
    pub current_lease_state: LeaseState,
    pub new_lease_state: LeaseState,
    pub break_reason: u32,
    pub access_mask_hint: AccessMask,
    pub share_mask_hint: ShareAccess,
}

/// MS-SMB2 2.2.24.2 and 2.2.25.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseAcknowledgment {
    pub flags: LeaseFlags,
    pub lease_key: LeaseKey,
    pub lease_state: LeaseState,
}

bitflags! {
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct LeaseBreakFlags: u32 {
        const ACK_REQUIRED = 0x01;
    }
}
