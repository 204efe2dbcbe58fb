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

impl ReadResponse {
    /// Bytes of the body before the payload.
    pub const FIXED: usize = 16;
    /// Where the payload starts, counted from the header.
    pub const DATA_OFFSET: u8 = 0x50;

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
