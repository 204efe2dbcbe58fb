//! What QUERY_INFO tells about a volume. MS-FSCC 2.5.

use bitflags::bitflags;

use crate::wire::codec::{Malformed, Reader, Writer};
use crate::wire::filetime::FileTime;
use crate::wire::fscc::file_info::{FileNameInfo, put_name};
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

/// MS-FSCC 2.5.2. The fields about content indexing, which nobody uses, are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FsControlInfo {
    /// In bytes; all ones: none.
    pub default_quota_threshold: u64,
    /// In bytes; all ones: none.
    pub default_quota_limit: u64,
    pub flags: FsControlFlags,
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

bitflags! {
    /// MS-FSCC 2.5.2, FileSystemControlFlags.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct FsControlFlags: u32 {
        const QUOTA_TRACK = 0x0000_0001;
        const QUOTA_ENFORCE = 0x0000_0002;
        const CONTENT_INDEX_DISABLED = 0x0000_0008;
        const LOG_QUOTA_THRESHOLD = 0x0000_0010;
        const LOG_QUOTA_LIMIT = 0x0000_0020;
        const LOG_VOLUME_THRESHOLD = 0x0000_0040;
        const LOG_VOLUME_LIMIT = 0x0000_0080;
        const QUOTAS_INCOMPLETE = 0x0000_0100;
        const QUOTAS_REBUILDING = 0x0000_0200;
    }
}

impl FsVolumeInfo {
    /// What a buffer must have room for: Windows' structure, which ends with a first character and padding.
    pub const FIXED: usize = 24;

    pub fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let volume_creation_time = FileTime::decode(r)?;
        let volume_serial_number = r.u32()?;
        let length = r.length()?;
        let supports_objects = r.u8()? != 0;
        r.skip(1)?;
        let volume_label = Utf16::decode(r.take(length)?)?;
        Ok(Self { volume_creation_time, volume_serial_number, supports_objects, volume_label })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        let label = self.volume_label.to_bytes();
        self.volume_creation_time.encode(w);
        w.put_u32(self.volume_serial_number);
        w.put_length_u32(label.len());
        w.put_u8(u8::from(self.supports_objects));
        w.put_u8(0);
        w.put_bytes(&label);
    }
}

impl FsSizeInfo {
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            total_allocation_units: r.u64()?,
            available_allocation_units: r.u64()?,
            sectors_per_allocation_unit: r.u32()?,
            bytes_per_sector: r.u32()?,
        })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u64(self.total_allocation_units);
        w.put_u64(self.available_allocation_units);
        w.put_u32(self.sectors_per_allocation_unit);
        w.put_u32(self.bytes_per_sector);
    }
}

impl FsDeviceInfo {
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { device_type: DeviceType(r.u32()?), characteristics: r.u32()? })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u32(self.device_type.0);
        w.put_u32(self.characteristics);
    }
}

impl FsAttributeInfo {
    /// What a buffer must have room for: Windows' structure, which ends with a first character and padding.
    pub const FIXED: usize = 16;

    pub fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            attributes: FsAttributes::from_bits_retain(r.u32()?),
            maximum_component_name_length: r.u32()?,
            file_system_name: FileNameInfo::decode(r)?.name,
        })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u32(self.attributes.bits());
        w.put_u32(self.maximum_component_name_length);
        put_name(&self.file_system_name, w);
    }
}

impl FsFullSizeInfo {
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            total_allocation_units: r.u64()?,
            caller_available_allocation_units: r.u64()?,
            actual_available_allocation_units: r.u64()?,
            sectors_per_allocation_unit: r.u32()?,
            bytes_per_sector: r.u32()?,
        })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u64(self.total_allocation_units);
        w.put_u64(self.caller_available_allocation_units);
        w.put_u64(self.actual_available_allocation_units);
        w.put_u32(self.sectors_per_allocation_unit);
        w.put_u32(self.bytes_per_sector);
    }
}

impl FsControlInfo {
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        r.skip(24)?;
        let info = Self {
            default_quota_threshold: r.u64()?,
            default_quota_limit: r.u64()?,
            flags: FsControlFlags::from_bits_retain(r.u32()?),
        };
        r.skip(4)?;
        Ok(info)
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_zeros(24);
        w.put_u64(self.default_quota_threshold);
        w.put_u64(self.default_quota_limit);
        w.put_u32(self.flags.bits());
        w.put_u32(0);
    }
}

impl FsObjectIdInfo {
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { object_id: Guid::decode(r)?, extended_info: r.array()? })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        self.object_id.encode(w);
        w.put_bytes(&self.extended_info);
    }
}

impl FsSectorSizeInfo {
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            logical_bytes_per_sector: r.u32()?,
            physical_bytes_per_sector_for_atomicity: r.u32()?,
            physical_bytes_per_sector_for_performance: r.u32()?,
            effective_physical_bytes_per_sector_for_atomicity: r.u32()?,
            flags: r.u32()?,
            byte_offset_for_sector_alignment: r.u32()?,
            byte_offset_for_partition_alignment: r.u32()?,
        })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u32(self.logical_bytes_per_sector);
        w.put_u32(self.physical_bytes_per_sector_for_atomicity);
        w.put_u32(self.physical_bytes_per_sector_for_performance);
        w.put_u32(self.effective_physical_bytes_per_sector_for_atomicity);
        w.put_u32(self.flags);
        w.put_u32(self.byte_offset_for_sector_alignment);
        w.put_u32(self.byte_offset_for_partition_alignment);
    }
}
