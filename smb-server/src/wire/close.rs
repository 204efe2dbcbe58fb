//! CLOSE: gives a handle back. MS-SMB2 2.2.15 and 2.2.16.

use bitflags::bitflags;

use super::codec::{Malformed, Reader, Writer};
use super::file_id::FileId;
use super::filetime::FileTime;
use super::fscc::attributes::FileAttributes;

/// MS-SMB2 2.2.15.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CloseRequest {
    pub flags: CloseFlags,
    pub file_id: FileId,
}

/// MS-SMB2 2.2.16. All but `flags` is 0 unless the attributes were asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CloseResponse {
    pub flags: CloseFlags,
    pub creation_time: FileTime,
    pub last_access_time: FileTime,
    pub last_write_time: FileTime,
    pub change_time: FileTime,
    pub allocation_size: u64,
    pub end_of_file: u64,
    pub file_attributes: FileAttributes,
}

bitflags! {
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct CloseFlags: u16 {
        /// Answer with the attributes as they are after the close.
        const POSTQUERY_ATTRIB = 0x0001;
    }
}

impl CloseRequest {
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::body(message, 24, "CLOSE request")?;
        let flags = CloseFlags::from_bits_retain(r.u16()?);
        r.skip(4)?;
        Ok(Self { flags, file_id: FileId::decode(&mut r)? })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u16(24);
        w.put_u16(self.flags.bits());
        w.put_u32(0);
        self.file_id.encode(w);
    }
}

impl CloseResponse {
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::body(message, 60, "CLOSE response")?;
        let flags = CloseFlags::from_bits_retain(r.u16()?);
        r.skip(4)?;
        Ok(Self {
            flags,
            creation_time: FileTime::decode(&mut r)?,
            last_access_time: FileTime::decode(&mut r)?,
            last_write_time: FileTime::decode(&mut r)?,
            change_time: FileTime::decode(&mut r)?,
            allocation_size: r.u64()?,
            end_of_file: r.u64()?,
            file_attributes: FileAttributes::from_bits_retain(r.u32()?),
        })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u16(60);
        w.put_u16(self.flags.bits());
        w.put_u32(0);
        self.creation_time.encode(w);
        self.last_access_time.encode(w);
        self.last_write_time.encode(w);
        self.change_time.encode(w);
        w.put_u64(self.allocation_size);
        w.put_u64(self.end_of_file);
        w.put_u32(self.file_attributes.bits());
    }
}
