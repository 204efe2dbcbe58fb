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
