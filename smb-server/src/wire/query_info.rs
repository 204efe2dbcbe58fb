//! QUERY_INFO: attributes of a file, of its volume, its security, its quotas. MS-SMB2 2.2.37 and
//! 2.2.38.

use bitflags::bitflags;

use super::codec::{Malformed, Reader, Writer};
use super::file_id::FileId;

/// MS-SMB2 2.2.37.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryInfoRequest {
    pub info_type: InfoType,
    /// A [`FileInfoClass`](super::fscc::info_class::FileInfoClass) or an
    /// [`FsInfoClass`](super::fscc::info_class::FsInfoClass), as `info_type` says.
    pub info_class: u8,
    pub output_buffer_length: u32,
    /// [`SecurityInformation`] for security; flags for extended attributes.
    pub additional_information: u32,
    pub flags: QueryInfoFlags,
    pub file_id: FileId,
    pub input: Vec<u8>,
}

/// MS-SMB2 2.2.38.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryInfoResponse {
    pub output: Vec<u8>,
}

open_enum! {
    /// MS-SMB2 2.2.37, InfoType.
    pub struct InfoType(u8) {
        FILE = 0x01,
        FILESYSTEM = 0x02,
        SECURITY = 0x03,
        QUOTA = 0x04,
    }
}

bitflags! {
    /// How to walk a chain of extended attributes.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct QueryInfoFlags: u32 {
        const RESTART_SCAN = 0x0000_0001;
        const RETURN_SINGLE_ENTRY = 0x0000_0002;
        const INDEX_SPECIFIED = 0x0000_0004;
    }
}

bitflags! {
    /// Which parts of a security descriptor are meant.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct SecurityInformation: u32 {
        const OWNER = 0x0000_0001;
        const GROUP = 0x0000_0002;
        const DACL = 0x0000_0004;
        const SACL = 0x0000_0008;
        const LABEL = 0x0000_0010;
        const ATTRIBUTE = 0x0000_0020;
        const SCOPE = 0x0000_0040;
        const BACKUP = 0x0001_0000;
    }
}

impl QueryInfoRequest {
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::body(message, 41, "QUERY_INFO request")?;
        let info_type = InfoType(r.u8()?);
        let info_class = r.u8()?;
        let output_buffer_length = r.u32()?;
        let input_offset = r.u16()?;
        r.skip(2)?;
        let input_length = r.u32()?;
        let additional_information = r.u32()?;
        let flags = QueryInfoFlags::from_bits_retain(r.u32()?);
        let file_id = FileId::decode(&mut r)?;
        let input = r.window(input_offset, input_length)?.to_vec();
        Ok(Self {
            info_type,
            info_class,
            output_buffer_length,
            additional_information,
            flags,
            file_id,
            input,
        })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u16(41);
        w.put_u8(self.info_type.0);
        w.put_u8(self.info_class);
        w.put_u32(self.output_buffer_length);
        let offset = w.reserve_u16();
        w.put_u16(0);
        let length = w.reserve_u32();
        w.put_u32(self.additional_information);
        w.put_u32(self.flags.bits());
        self.file_id.encode(w);
        w.attach_if_any(offset, length, &self.input);
        w.pad_if_empty(&self.input);
    }
}

impl QueryInfoResponse {
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let output = Reader::output_body(message, "QUERY_INFO response")?.to_vec();
        Ok(Self { output })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_output_body(&self.output);
    }
}
