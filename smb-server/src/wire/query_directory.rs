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
