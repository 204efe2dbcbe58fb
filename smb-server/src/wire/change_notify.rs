//! CHANGE_NOTIFY: tells when a directory changes. MS-SMB2 2.2.35 and 2.2.36.

use bitflags::bitflags;

use super::codec::{Malformed, Reader, Writer};
use super::file_id::FileId;

/// MS-SMB2 2.2.35.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChangeNotifyRequest {
    pub flags: ChangeNotifyFlags,
    pub output_buffer_length: u32,
    pub file_id: FileId,
    pub completion_filter: CompletionFilter,
}

/// MS-SMB2 2.2.36.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeNotifyResponse {
    /// A chain of [`notify_info`](super::fscc::notify_info) entries.
    pub output: Vec<u8>,
}

bitflags! {
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct ChangeNotifyFlags: u16 {
        const WATCH_TREE = 0x0001;
    }
}

bitflags! {
    /// MS-SMB2 2.2.35, CompletionFilter.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct CompletionFilter: u32 {
        const FILE_NAME = 0x0000_0001;
        const DIR_NAME = 0x0000_0002;
        const ATTRIBUTES = 0x0000_0004;
        const SIZE = 0x0000_0008;
        const LAST_WRITE = 0x0000_0010;
        const LAST_ACCESS = 0x0000_0020;
        const CREATION = 0x0000_0040;
        const EA = 0x0000_0080;
        const SECURITY = 0x0000_0100;
        const STREAM_NAME = 0x0000_0200;
        const STREAM_SIZE = 0x0000_0400;
        const STREAM_WRITE = 0x0000_0800;
    }
}

impl ChangeNotifyRequest {
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::body(message, 32, "CHANGE_NOTIFY request")?;
        let request = Self {
            flags: ChangeNotifyFlags::from_bits_retain(r.u16()?),
            output_buffer_length: r.u32()?,
            file_id: FileId::decode(&mut r)?,
            completion_filter: CompletionFilter::from_bits_retain(r.u32()?),
        };
        r.skip(4)?;
        Ok(request)
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u16(32);
        w.put_u16(self.flags.bits());
        w.put_u32(self.output_buffer_length);
        self.file_id.encode(w);
        w.put_u32(self.completion_filter.bits());
        w.put_u32(0);
    }
}

impl ChangeNotifyResponse {
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let output = Reader::output_body(message, "CHANGE_NOTIFY response")?.to_vec();
        Ok(Self { output })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_output_body(&self.output);
    }
}
