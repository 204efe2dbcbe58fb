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

#[cfg(test)]
mod tests {
    use super::*;

    /// A message whose body has this `StructureSize` and then bytes that count up: 0x02, 0x03, …
    fn message(structure_size: u8) -> Vec<u8> {
        let mut message = vec![0; Header::SIZE];
        message.extend([structure_size, 0]);
        message.extend(2..structure_size);
        message
    }

    #[test]
    fn a_lease_break_has_the_fields_of_ms_smb2_2_2_23_2() {
        let message = message(44);
        let Ok(BreakNotification::Lease(lease)) = BreakNotification::decode(&message) else {
            panic!("44 bytes are a lease break");
        };
        assert_eq!(lease.new_epoch, 0x0302);
        assert_eq!(lease.flags.bits(), 0x0706_0504);
        assert_eq!((lease.lease_key.0[0], lease.lease_key.0[15]), (8, 23));
        assert_eq!(lease.current_lease_state.bits(), 0x1b1a_1918);
        assert_eq!(lease.new_lease_state.bits(), 0x1f1e_1d1c);
        assert_eq!(lease.break_reason, 0x2322_2120);
        assert_eq!(lease.access_mask_hint.bits(), 0x2726_2524);
        assert_eq!(lease.share_mask_hint.bits(), 0x2b2a_2928);
        let mut out = vec![0; Header::SIZE];
        BreakNotification::Lease(lease).encode(&mut Writer::at(&mut out, 0));
        assert_eq!(out, message);
    }

    #[test]
    fn a_lease_acknowledgment_has_the_fields_of_ms_smb2_2_2_24_2() {
        let message = message(36);
        let Ok(BreakAcknowledgment::Lease(lease)) = BreakAcknowledgment::decode(&message) else {
            panic!("36 bytes are an acknowledgment for a lease");
        };
        assert_eq!(lease.flags.bits(), 0x0706_0504);
        assert_eq!((lease.lease_key.0[0], lease.lease_key.0[15]), (8, 23));
        assert_eq!(lease.lease_state.bits(), 0x1b1a_1918);
        assert!(BreakAcknowledgment::decode(&message[..message.len() - 1]).is_err());
    }

    #[test]
    fn any_other_size_is_malformed() {
        for size in [23, 25, 36, 45] {
            assert!(BreakNotification::decode(&message(size)).is_err(), "{size}");
        }
        for size in [23, 25, 44, 45] {
            assert!(BreakAcknowledgment::decode(&message(size)).is_err(), "{size}");
        }
    }
}
