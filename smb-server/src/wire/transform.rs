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

impl TransformHeader {
    pub const SIZE: usize = 52;
    /// The first four bytes.
    pub const PROTOCOL_ID: [u8; 4] = [0xfd, b'S', b'M', b'B'];
    /// What the cipher authenticates besides the message: everything from the nonce on.
    pub const ASSOCIATED_DATA: std::ops::Range<usize> = 20..52;

    /// Reads the header at the start of `message`; the sealed bytes follow it.
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(message, "transform header");
        if r.array()? != Self::PROTOCOL_ID {
            return Err(r.malformed());
        }
        let signature = r.array()?;
        let nonce = r.array()?;
        let original_message_size = r.u32()?;
        r.skip(2)?;
        let flags = TransformFlags::from_bits_retain(r.u16()?);
        let session_id = r.u64()?;
        Ok(Self { signature, nonce, original_message_size, flags, session_id })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_bytes(&Self::PROTOCOL_ID);
        w.put_bytes(&self.signature);
        w.put_bytes(&self.nonce);
        w.put_u32(self.original_message_size);
        w.put_u16(0);
        w.put_u16(self.flags.bits());
        w.put_u64(self.session_id);
    }
}
