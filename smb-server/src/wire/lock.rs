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
    /// At least one, or there is nothing to do.
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

impl LockRequest {
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::body(message, 48, "LOCK request")?;
        let lock_count = r.u16()?;
        let lock_sequence = r.u32()?;
        let file_id = FileId::decode(&mut r)?;
        let locks =
            (0..lock_count).map(|_| LockElement::decode(&mut r)).collect::<Result<_, _>>()?;
        Ok(Self { lock_sequence, file_id, locks })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u16(48);
        w.put_length_u16(self.locks.len());
        w.put_u32(self.lock_sequence);
        self.file_id.encode(w);
        self.locks.iter().for_each(|lock| lock.encode(w));
    }

    /// The number that tells a replay from a new request, 0 to 15.
    pub fn sequence_number(&self) -> u32 {
        self.lock_sequence & 0xf
    }

    /// Which entry of the open's table of sequence numbers is meant; 0 if none.
    pub fn sequence_index(&self) -> u32 {
        self.lock_sequence >> 4
    }
}

impl LockElement {
    fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (offset, length) = (r.u64()?, r.u64()?);
        let flags = LockFlags::from_bits_retain(r.u32()?);
        r.skip(4)?;
        Ok(Self { offset, length, flags })
    }

    fn encode(&self, w: &mut Writer<'_>) {
        w.put_u64(self.offset);
        w.put_u64(self.length);
        w.put_u32(self.flags.bits());
        w.put_u32(0);
    }
}

impl LockResponse {
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        Reader::empty_body(message, "LOCK response").map(|()| Self)
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_empty_body();
    }
}
