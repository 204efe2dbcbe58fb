//! OPLOCK_BREAK: an oplock or a lease is taken back, the client acknowledges, the server answers.
//! MS-SMB2 2.2.23 to 2.2.25. Which of two forms a message has, its `StructureSize` tells.

use bitflags::bitflags;

use super::access_mask::AccessMask;
use super::codec::{Malformed, Reader, Writer};
use super::create::{OplockLevel, ShareAccess};
use super::file_id::FileId;
use super::header::Header;
use super::lease::{LeaseFlags, LeaseKey, LeaseState};

/// What the server says unasked, with [`Header::UNSOLICITED`] as its
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

const OPLOCK_SIZE: u16 = 24;
const LEASE_BREAK_SIZE: u16 = 44;
const LEASE_ACKNOWLEDGMENT_SIZE: u16 = 36;

impl BreakNotification {
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        match structure_size(message)? {
            LEASE_BREAK_SIZE => LeaseBreak::decode(message).map(Self::Lease),
            _ => OplockBreak::decode(message).map(Self::Oplock),
        }
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        match self {
            Self::Oplock(oplock) => oplock.encode(w),
            Self::Lease(lease) => lease.encode(w),
        }
    }
}

impl BreakAcknowledgment {
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        match structure_size(message)? {
            LEASE_ACKNOWLEDGMENT_SIZE => LeaseAcknowledgment::decode(message).map(Self::Lease),
            _ => OplockBreak::decode(message).map(Self::Oplock),
        }
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        match self {
            Self::Oplock(oplock) => oplock.encode(w),
            Self::Lease(lease) => lease.encode(w),
        }
    }
}

fn structure_size(message: &[u8]) -> Result<u16, Malformed> {
    let mut r = Reader::new(message, "OPLOCK_BREAK");
    r.skip(Header::SIZE)?;
    r.u16()
}

impl OplockBreak {
    fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::body(message, OPLOCK_SIZE, "OPLOCK_BREAK")?;
        let oplock_level = OplockLevel(r.u8()?);
        r.skip(5)?;
        Ok(Self { oplock_level, file_id: FileId::decode(&mut r)? })
    }

    fn encode(&self, w: &mut Writer<'_>) {
        w.put_u16(OPLOCK_SIZE);
        w.put_u8(self.oplock_level.0);
        w.put_zeros(5);
        self.file_id.encode(w);
    }
}

impl LeaseBreak {
    fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::body(message, LEASE_BREAK_SIZE, "lease break")?;
        Ok(Self {
            new_epoch: r.u16()?,
            flags: LeaseBreakFlags::from_bits_retain(r.u32()?),
            lease_key: LeaseKey::decode(&mut r)?,
            current_lease_state: LeaseState::from_bits_retain(r.u32()?),
            new_lease_state: LeaseState::from_bits_retain(r.u32()?),
            break_reason: r.u32()?,
            access_mask_hint: AccessMask::from_bits_retain(r.u32()?),
            share_mask_hint: ShareAccess::from_bits_retain(r.u32()?),
        })
    }

    fn encode(&self, w: &mut Writer<'_>) {
        w.put_u16(LEASE_BREAK_SIZE);
        w.put_u16(self.new_epoch);
        w.put_u32(self.flags.bits());
        self.lease_key.encode(w);
        w.put_u32(self.current_lease_state.bits());
        w.put_u32(self.new_lease_state.bits());
        w.put_u32(self.break_reason);
        w.put_u32(self.access_mask_hint.bits());
        w.put_u32(self.share_mask_hint.bits());
    }
}

impl LeaseAcknowledgment {
    fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::body(message, LEASE_ACKNOWLEDGMENT_SIZE, "lease acknowledgment")?;
        r.skip(2)?;
        let acknowledgment = Self {
            flags: LeaseFlags::from_bits_retain(r.u32()?),
            lease_key: LeaseKey::decode(&mut r)?,
            lease_state: LeaseState::from_bits_retain(r.u32()?),
        };
        r.skip(8)?;
        Ok(acknowledgment)
    }

    fn encode(&self, w: &mut Writer<'_>) {
        w.put_u16(LEASE_ACKNOWLEDGMENT_SIZE);
        w.put_u16(0);
        w.put_u32(self.flags.bits());
        self.lease_key.encode(w);
        w.put_u32(self.lease_state.bits());
        w.put_u64(0);
    }
}
