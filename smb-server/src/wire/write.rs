//! WRITE: bytes into a file. MS-SMB2 2.2.21 and 2.2.22.

use std::ops::Range;

use bitflags::bitflags;

use super::codec::{Malformed, Reader, Writer, window};
use super::file_id::FileId;
use super::read::Channel;

/// MS-SMB2 2.2.21. The payload is not part of it: `data` says where it lies in the message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteRequest {
    pub data: Range<usize>,
    pub offset: u64,
    pub file_id: FileId,
    pub channel: Channel,
    pub remaining_bytes: u32,
    pub flags: WriteFlags,
    /// RDMA buffer descriptors, where `channel` says so.
    pub channel_info: Vec<u8>,
}

/// MS-SMB2 2.2.22.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteResponse {
    pub count: u32,
    pub remaining: u32,
}

bitflags! {
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct WriteFlags: u32 {
        const WRITE_THROUGH = 0x0000_0001;
        const UNBUFFERED = 0x0000_0002;
    }
}

impl WriteRequest {
    /// Bytes of the body before the variable parts.
    pub const FIXED: usize = 48;

    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        Self::decode_head(message, message.len())
    }

    /// Reads a request whose payload has not arrived: `head` is the beginning of the message,
    /// header and fixed part at least (and the channel information, if any), `message_length` the
    /// length of all of it.
    pub fn decode_head(head: &[u8], message_length: usize) -> Result<Self, Malformed> {
        let mut r = Reader::body(head, 49, "WRITE request")?;
        let data_offset = r.u16()?;
        let length = r.length()?;
        let offset = r.u64()?;
        let file_id = FileId::decode(&mut r)?;
        let channel = Channel(r.u32()?);
        let remaining_bytes = r.u32()?;
        let channel_info = (r.u16()?, r.u16()?);
        let flags = WriteFlags::from_bits_retain(r.u32()?);
        let data = window(r.position(), message_length, usize::from(data_offset), length)
            .ok_or_else(|| r.malformed())?;
        let channel_info = r.window(channel_info.0, channel_info.1)?.to_vec();
        Ok(Self { data, offset, file_id, channel, remaining_bytes, flags, channel_info })
    }

    /// Writes the request with this payload behind it; `self.data` is not looked at.
    pub fn encode(&self, data: &[u8], w: &mut Writer<'_>) {
        w.put_u16(49);
        let (data_offset, data_length) = (w.reserve_u16(), w.reserve_u32());
        w.put_u64(self.offset);
        self.file_id.encode(w);
        w.put_u32(self.channel.0);
        w.put_u32(self.remaining_bytes);
        let (info_offset, info_length) = (w.reserve_u16(), w.reserve_u16());
        w.put_u32(self.flags.bits());
        w.attach_if_any(info_offset, info_length, &self.channel_info);
        w.attach(data_offset, data_length, data);
    }
}

impl WriteResponse {
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::body(message, 17, "WRITE response")?;
        r.skip(2)?;
        let written = Self { count: r.u32()?, remaining: r.u32()? };
        r.skip(4)?;
        Ok(written)
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u16(17);
        w.put_u16(0);
        w.put_u32(self.count);
        w.put_u32(self.remaining);
        w.put_u32(0);
    }
}
