//! The entries of a directory listing: one description of an entry, six layouts. MS-FSCC 2.4.10, 2.4.14,
//! 2.4.8, 2.4.28, 2.4.17, 2.4.18.

use crate::wire::codec::{Malformed, Reader, Writer};
use crate::wire::filetime::FileTime;
use crate::wire::fscc::attributes::FileAttributes;
use crate::wire::fscc::info_class::FileInfoClass;
use crate::wire::utf16::Utf16;

/// Everything any of the layouts tells about an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirEntry {
    pub file_index: u32,
    pub creation_time: FileTime,
    pub last_access_time: FileTime,
    pub last_write_time: FileTime,
    pub change_time: FileTime,
    pub end_of_file: u64,
    pub allocation_size: u64,
    pub file_attributes: FileAttributes,
    /// With a reparse point, its tag.
    pub ea_size: u32,
    /// 8.3, at most 12 characters; the rest is cut off.
    pub short_name: Utf16,
    pub file_id: u64,
    pub name: Utf16,
}

/// Collects entries of one layout, up to a limit.
#[derive(Debug)]
pub struct DirBuffer {
    class: FileInfoClass,
    limit: usize,
    bytes: Vec<u8>,
    /// Where the last entry starts, whose `NextEntryOffset` is 0 until another follows.
    last: Option<usize>,
}
