//! QUERY_DIRECTORY: the entries of a directory, a buffer full at a time. MS-SMB2 2.2.33 and 2.2.34.

use bitflags::bitflags;

use super::codec::{Malformed, Reader, Writer};
use super::file_id::FileId;
use super::fscc::info_class::FileInfoClass;
use super::utf16::Utf16;

/// MS-SMB2 2.2.33.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryDirectoryRequest {
    pub info_class: FileInfoClass,
    pub flags: QueryDirectoryFlags,
    pub file_index: u32,
    pub file_id: FileId,
    pub output_buffer_length: u32,
    pub pattern: Utf16,
}

/// MS-SMB2 2.2.34.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryDirectoryResponse {
    /// A chain of [`dir_info`](super::fscc::dir_info) entries.
    pub output: Vec<u8>,
}

bitflags! {
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct QueryDirectoryFlags: u8 {
        const RESTART_SCANS = 0x01;
        const RETURN_SINGLE_ENTRY = 0x02;
        const INDEX_SPECIFIED = 0x04;
        const REOPEN = 0x10;
    }
}

impl QueryDirectoryRequest {
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::body(message, 33, "QUERY_DIRECTORY request")?;
        let info_class = FileInfoClass(r.u8()?);
        let flags = QueryDirectoryFlags::from_bits_retain(r.u8()?);
        let file_index = r.u32()?;
        let file_id = FileId::decode(&mut r)?;
        let pattern = (r.u16()?, r.u16()?);
        let output_buffer_length = r.u32()?;
        let pattern = Utf16::decode(r.window(pattern.0, pattern.1)?)?;
        Ok(Self { info_class, flags, file_index, file_id, output_buffer_length, pattern })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u16(33);
        w.put_u8(self.info_class.0);
        w.put_u8(self.flags.bits());
        w.put_u32(self.file_index);
        self.file_id.encode(w);
        let (offset, length) = (w.reserve_u16(), w.reserve_u16());
        w.put_u32(self.output_buffer_length);
        let pattern = self.pattern.to_bytes();
        w.attach(offset, length, &pattern);
        w.pad_if_empty(&pattern);
    }
}

impl QueryDirectoryResponse {
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let output = Reader::output_body(message, "QUERY_DIRECTORY response")?.to_vec();
        Ok(Self { output })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_output_body(&self.output);
    }
}
