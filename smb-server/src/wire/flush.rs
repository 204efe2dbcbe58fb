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

impl FlushRequest {
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::body(message, 24, "FLUSH request")?;
        let reserved1 = r.u16()?;
        r.skip(4)?;
        Ok(Self { reserved1, file_id: FileId::decode(&mut r)? })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u16(24);
        w.put_u16(self.reserved1);
        w.put_u32(0);
        self.file_id.encode(w);
    }
}

impl FlushResponse {
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        Reader::empty_body(message, "FLUSH response").map(|()| Self)
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_empty_body();
    }
}
