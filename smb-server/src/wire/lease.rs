//! Leases as CREATE contexts and break messages carry them. MS-SMB2 2.2.13.2.8 and 2.2.13.2.10.

use bitflags::bitflags;

use super::codec::{Malformed, Reader, Writer};

/// Chosen by the client; with the client's GUID it names a lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseKey(pub [u8; 16]);

/// The `RqLs` context: asked for in a request, granted in a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    pub key: LeaseKey,
    pub state: LeaseState,
    pub flags: LeaseFlags,
    /// Present in the 52-byte form, absent in the 32-byte form.
    pub v2: Option<LeaseV2>,
}

/// What version 2 adds. MS-SMB2 2.2.13.2.10.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseV2 {
    /// Means something where [`LeaseFlags::PARENT_LEASE_KEY_SET`] is set.
    pub parent_key: LeaseKey,
    pub epoch: u16,
}

bitflags! {
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct LeaseState: u32 {
        const READ_CACHING = 0x01;
        const HANDLE_CACHING = 0x02;
        const WRITE_CACHING = 0x04;
    }
}

bitflags! {
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct LeaseFlags: u32 {
        const BREAK_IN_PROGRESS = 0x02;
        const PARENT_LEASE_KEY_SET = 0x04;
    }
}

impl LeaseKey {
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        r.array().map(Self)
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_bytes(&self.0);
    }
}

impl Lease {
    /// The data of the context: its length tells the version.
    pub fn decode(data: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(data, "RqLs context");
        let key = LeaseKey::decode(&mut r)?;
        let state = LeaseState::from_bits_retain(r.u32()?);
        let flags = LeaseFlags::from_bits_retain(r.u32()?);
        r.skip(8)?;
        let v2 = if r.remaining() == 0 { None } else { Some(LeaseV2::decode(&mut r)?) };
        r.finish()?;
        Ok(Self { key, state, flags, v2 })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        self.key.encode(w);
        w.put_u32(self.state.bits());
        w.put_u32(self.flags.bits());
        w.put_u64(0);
        if let Some(v2) = &self.v2 {
            v2.parent_key.encode(w);
            w.put_u16(v2.epoch);
            w.put_u16(0);
        }
    }
}

impl LeaseV2 {
    fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let parent_key = LeaseKey::decode(r)?;
        let epoch = r.u16()?;
        r.skip(2)?;
        Ok(Self { parent_key, epoch })
    }
}
