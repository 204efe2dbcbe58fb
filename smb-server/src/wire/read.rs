//! READ: bytes of a file. MS-SMB2 2.2.19 and 2.2.20.

use std::ops::Range;

use bitflags::bitflags;

use super::codec::{Malformed, Reader, Writer};
use super::file_id::FileId;

/// MS-SMB2 2.2.19.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadRequest {
    /// The offset the client would like the data to have in the response.
    pub padding: u8,
    pub flags: ReadFlags,
    pub length: u32,
    pub offset: u64,
    pub file_id: FileId,
    pub minimum_count: u32,
    pub channel: Channel,
    pub remaining_bytes: u32,
    /// RDMA buffer descriptors, where `channel` says so.
    pub channel_info: Vec<u8>,
}

/// MS-SMB2 2.2.20. The payload is not part of it: `data` says where it lies in the message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadResponse {
    pub data: Range<usize>,
    pub data_remaining: u32,
    /// 3.1.1: 1 if the data needs an RDMA transform.
    pub flags: u32,
}

bitflags! {
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct ReadFlags: u8 {
        const UNBUFFERED = 0x01;
        const REQUEST_COMPRESSED = 0x02;
    }
}

open_enum! {
    /// MS-SMB2 2.2.19, Channel: where the payload travels.
    pub struct Channel(u32) {
        NONE = 0x0000_0000,
        RDMA_V1 = 0x0000_0001,
        RDMA_V1_INVALIDATE = 0x0000_0002,
        RDMA_TRANSFORM = 0x0000_0003,
    }
}

impl ReadRequest {
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::body(message, 49, "READ request")?;
        let padding = r.u8()?;
        let flags = ReadFlags::from_bits_retain(r.u8()?);
        let length = r.u32()?;
        let offset = r.u64()?;
        let file_id = FileId::decode(&mut r)?;
        let minimum_count = r.u32()?;
        let channel = Channel(r.u32()?);
        let remaining_bytes = r.u32()?;
        let channel_info = (r.u16()?, r.u16()?);
        let channel_info = r.window(channel_info.0, channel_info.1)?.to_vec();
        Ok(Self {
            padding,
            flags,
            length,
            offset,
            file_id,
            minimum_count,
            channel,
            remaining_bytes,
            channel_info,
        })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u16(49);
        w.put_u8(self.padding);
        w.put_u8(self.flags.bits());
        w.put_u32(self.length);
        w.put_u64(self.offset);
        self.file_id.encode(w);
        w.put_u32(self.minimum_count);
        w.put_u32(self.channel.0);
        w.put_u32(self.remaining_bytes);
        let (offset, length) = (w.reserve_u16(), w.reserve_u16());
        w.attach_if_any(offset, length, &self.channel_info);
        w.pad_if_empty(&self.channel_info);
    }
}

impl ReadResponse {
    /// Bytes of the body before the payload.
    pub const FIXED: usize = 16;
    /// Where the payload starts, counted from the header.
    pub const DATA_OFFSET: u8 = 0x50;

    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::body(message, 17, "READ response")?;
        let data_offset = r.u8()?;
        r.skip(1)?;
        let data_length = r.u32()?;
        let data_remaining = r.u32()?;
        let flags = r.u32()?;
        Ok(Self { data: r.window_range(data_offset, data_length)?, data_remaining, flags })
    }

    /// Writes everything before a payload of `data_length` bytes, which the caller appends.
    pub fn encode_head(data_length: u32, w: &mut Writer<'_>) {
        w.put_u16(17);
        w.put_u8(Self::DATA_OFFSET);
        w.put_u8(0);
        w.put_u32(data_length);
        w.put_u32(0);
        w.put_u32(0);
    }
}
