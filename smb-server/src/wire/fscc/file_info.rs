//! What QUERY_INFO tells about a file. MS-FSCC 2.4.

use crate::wire::access_mask::AccessMask;
use crate::wire::codec::{Malformed, Reader, Writer};
use crate::wire::filetime::FileTime;
use crate::wire::fscc::attributes::FileAttributes;
use crate::wire::utf16::Utf16;

/// MS-FSCC 2.4.7. In a set, [`FileTime`]'s special values and empty attributes leave things as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileBasicInfo {
    pub creation_time: FileTime,
    pub last_access_time: FileTime,
    pub last_write_time: FileTime,
    pub change_time: FileTime,
    pub file_attributes: FileAttributes,
}

/// MS-FSCC 2.4.41.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileStandardInfo {
    pub allocation_size: u64,
    pub end_of_file: u64,
    pub number_of_links: u32,
    pub delete_pending: bool,
    pub directory: bool,
}

/// MS-FSCC 2.4.22: the file's number in its volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileInternalInfo {
    pub index_number: u64,
}

/// MS-FSCC 2.4.12.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileEaInfo {
    pub ea_size: u32,
}

/// MS-FSCC 2.4.1: what the handle may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileAccessInfo {
    pub access_flags: AccessMask,
}

/// MS-FSCC 2.4.35. Also set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FilePositionInfo {
    pub current_byte_offset: u64,
}

/// MS-FSCC 2.4.26: some of the create options. Also set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileModeInfo {
    pub mode: u32,
}

/// MS-FSCC 2.4.3: a mask, 0 for byte alignment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileAlignmentInfo {
    pub alignment_requirement: u32,
}

/// MS-FSCC 2.4.2: many of the others in one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileAllInfo {
    pub basic: FileBasicInfo,
    pub standard: FileStandardInfo,
    pub internal: FileInternalInfo,
    pub ea: FileEaInfo,
    pub access: FileAccessInfo,
    pub position: FilePositionInfo,
    pub mode: FileModeInfo,
    pub alignment: FileAlignmentInfo,
    pub name: Utf16,
}

/// MS-FSCC 2.1.7, a name behind its length: AlternateName, NormalizedName and Name answer with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileNameInfo {
    pub name: Utf16,
}

/// MS-FSCC 2.4.44: one stream; [`FileStreamInfo::encode_all`] chains them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileStreamInfo {
    pub size: u64,
    pub allocation_size: u64,
    /// With its type: `::$DATA`, `:name:$DATA`.
    pub name: Utf16,
}

/// MS-FSCC 2.4.9.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileCompressionInfo {
    pub compressed_file_size: u64,
    pub compression_format: u16,
    pub compression_unit_shift: u8,
    pub chunk_shift: u8,
    pub cluster_shift: u8,
}

/// MS-FSCC 2.4.29.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileNetworkOpenInfo {
    pub creation_time: FileTime,
    pub last_access_time: FileTime,
    pub last_write_time: FileTime,
    pub change_time: FileTime,
    pub allocation_size: u64,
    pub end_of_file: u64,
    pub file_attributes: FileAttributes,
}

/// MS-FSCC 2.4.6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileAttributeTagInfo {
    pub file_attributes: FileAttributes,
    pub reparse_tag: u32,
}

/// MS-FSCC 2.4.19 (FileIdInformation).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileIdInfo {
    pub volume_serial_number: u64,
    pub file_id: [u8; 16],
}
