//! WRITE: bytes into a file. MS-SMB2 2.2.21 and 2.2.22.

use std::ops::Range;

use bitflags::bitflags;

use super::codec::{Malformed, Reader, Writer};
use super::file_id::FileId;
use super::header::Header;
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
}
