//! What QUERY_INFO tells about a volume. MS-FSCC 2.5.

use bitflags::bitflags;

use crate::wire::codec::{Malformed, Reader, Writer};
use crate::wire::filetime::FileTime;
use crate::wire::guid::Guid;
use crate::wire::utf16::Utf16;

/// MS-FSCC 2.5.9.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FsVolumeInfo {
    pub volume_creation_time: FileTime,
    pub volume_serial_number: u32,
    pub supports_objects: bool,
    pub volume_label: Utf16,
}

/// MS-FSCC 2.5.8. In allocation units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FsSizeInfo {
    pub total_allocation_units: u64,
    pub available_allocation_units: u64,
    pub sectors_per_allocation_unit: u32,
    pub bytes_per_sector: u32,
}

/// MS-FSCC 2.5.10.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FsDeviceInfo {
    pub device_type: DeviceType,
    pub characteristics: u32,
}

/// MS-FSCC 2.5.1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FsAttributeInfo {
    pub attributes: FsAttributes,
    /// In characters, of one component of a path.
    pub maximum_component_name_length: u32,
    pub file_system_name: Utf16,
}

/// MS-FSCC 2.5.4. In allocation units; `caller_…` is what the user's quota leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FsFullSizeInfo {
    pub total_allocation_units: u64,
    pub caller_available_allocation_units: u64,
    pub actual_available_allocation_units: u64,
    pub sectors_per_allocation_unit: u32,
    pub bytes_per_sector: u32,
}

/// MS-FSCC 2.5.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FsObjectIdInfo {
    pub object_id: Guid,
    pub extended_info: [u8; 48],
}

/// MS-FSCC 2.5.7.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FsSectorSizeInfo {
    pub logical_bytes_per_sector: u32,
    pub physical_bytes_per_sector_for_atomicity: u32,
    pub physical_bytes_per_sector_for_performance: u32,
    pub effective_physical_bytes_per_sector_for_atomicity: u32,
    pub flags: u32,
    pub byte_offset_for_sector_alignment: u32,
    pub byte_offset_for_partition_alignment: u32,
}

open_enum! {
    pub struct DeviceType(u32) {
        CD_ROM = 0x0000_0002,
        DISK = 0x0000_0007,
        NAMED_PIPE = 0x0000_0011,
    }
}

bitflags! {
    /// MS-FSCC 2.5.1, FileSystemAttributes.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct FsAttributes: u32 {
        const CASE_SENSITIVE_SEARCH = 0x0000_0001;
        const CASE_PRESERVED_NAMES = 0x0000_0002;
        const UNICODE_ON_DISK = 0x0000_0004;
        const PERSISTENT_ACLS = 0x0000_0008;
        const FILE_COMPRESSION = 0x0000_0010;
        const VOLUME_QUOTAS = 0x0000_0020;
        const SUPPORTS_SPARSE_FILES = 0x0000_0040;
        const SUPPORTS_REPARSE_POINTS = 0x0000_0080;
        const SUPPORTS_REMOTE_STORAGE = 0x0000_0100;
        const VOLUME_IS_COMPRESSED = 0x0000_8000;
        const SUPPORTS_OBJECT_IDS = 0x0001_0000;
        const SUPPORTS_ENCRYPTION = 0x0002_0000;
        const NAMED_STREAMS = 0x0004_0000;
        const READ_ONLY_VOLUME = 0x0008_0000;
        const SEQUENTIAL_WRITE_ONCE = 0x0010_0000;
        const SUPPORTS_TRANSACTIONS = 0x0020_0000;
        const SUPPORTS_HARD_LINKS = 0x0040_0000;
        const SUPPORTS_EXTENDED_ATTRIBUTES = 0x0080_0000;
        const SUPPORTS_OPEN_BY_FILE_ID = 0x0100_0000;
        const SUPPORTS_USN_JOURNAL = 0x0200_0000;
        const SUPPORTS_INTEGRITY_STREAMS = 0x0400_0000;
        const SUPPORTS_BLOCK_REFCOUNTING = 0x0800_0000;
        const SUPPORTS_SPARSE_VDL = 0x1000_0000;
    }
}
