//! QUERY_INFO about the volume that a file lies on. MS-FSA 2.1.5.13.

use crate::config::ShareOptions;
use crate::state::Share;
use crate::vfs::{Abilities, FileKey, Handle, SpaceInfo};
use crate::wire::filetime::FileTime;
use crate::wire::fscc::fs_info::{
    DeviceType, FsAttributeInfo, FsAttributes, FsDeviceInfo, FsFullSizeInfo, FsObjectIdInfo,
    FsSectorSizeInfo, FsSizeInfo, FsVolumeInfo,
};
use crate::wire::fscc::info_class::FsInfoClass;
use crate::wire::guid::Guid;
use crate::wire::status::NtStatus;
use crate::wire::utf16::Utf16;

use super::query_info::Info;
use super::quota;

/// What clients reckon in, whatever the disk has.
const BYTES_PER_SECTOR: u32 = 512;

/// FILE_DEVICE_IS_MOUNTED, MS-FSCC 2.5.10.
const IS_MOUNTED: u32 = 0x20;

/// SSINFO_FLAGS: aligned to physical sectors, and the partition too, MS-FSCC 2.5.7.
const ALIGNED: u32 = 0x3;

/// SSINFO_FLAGS_TRIM_ENABLED.
const TRIM_ENABLED: u32 = 0x8;

/// About the volume of a share, on which lies the file that is asked; without a handle of it, the share's folder is.
pub(super) async fn fs_info(
    share: &Share,
    file: FileKey,
    handle: Option<&Handle>,
    class: FsInfoClass,
) -> Result<Info, NtStatus> {
    Ok(match class {
        FsInfoClass::VOLUME => {
            let info = volume(share, file);
            Info::with_tail(FsVolumeInfo::FIXED, |w| info.encode(w))
        }
        FsInfoClass::SIZE => {
            let info = size(&share.volume.statfs().await?);
            Info::whole(|w| info.encode(w))
        }
        FsInfoClass::FULL_SIZE => {
            let info = full_size(&share.volume.statfs().await?);
            Info::whole(|w| info.encode(w))
        }
        FsInfoClass::DEVICE => {
            let info = FsDeviceInfo { device_type: DeviceType::DISK, characteristics: IS_MOUNTED };
            Info::whole(|w| info.encode(w))
        }
        FsInfoClass::ATTRIBUTE => {
            let has_eas = share.volume.has_eas().await;
            let info = attribute(&share.options, has_eas, abilities(share, handle).await);
            Info::with_tail(FsAttributeInfo::FIXED, |w| info.encode(w))
        }
        FsInfoClass::CONTROL => {
            let info = quota::control();
            Info::whole(|w| info.encode(w))
        }
        FsInfoClass::OBJECT_ID => {
            let info = object_id(file);
            Info::whole(|w| info.encode(w))
        }
        FsInfoClass::SECTOR_SIZE => {
            let space = share.volume.statfs().await?;
            let info = sector_size(&space, abilities(share, handle).await);
            Info::whole(|w| info.encode(w))
        }
        _ => return Err(NtStatus::INVALID_INFO_CLASS),
    })
}

fn volume(share: &Share, file: FileKey) -> FsVolumeInfo {
    let dev = file.dev;
    FsVolumeInfo {
        volume_creation_time: FileTime::default(),
        // 32 of the device number's 64 bits, both halves mixed in.
        volume_serial_number: (dev ^ (dev >> 32)) as u32,
        supports_objects: false,
        volume_label: Utf16::from_str(&share.name),
    }
}

/// What the kernel knows the file system by stands for the identifier of the volume.
fn object_id(file: FileKey) -> FsObjectIdInfo {
    let object_id = Guid(u128::from(file.dev).to_le_bytes());
    FsObjectIdInfo { object_id, extended_info: [0; 48] }
}

/// The file system's blocks as the protocol's allocation units.
struct Units {
    total: u64,
    available: u64,
    free: u64,
    sectors: u32,
}

fn units(space: &SpaceInfo) -> Units {
    let sectors = (space.block_size / u64::from(BYTES_PER_SECTOR)).clamp(1, u64::from(u32::MAX));
    let unit = sectors * u64::from(BYTES_PER_SECTOR);
    Units {
        total: space.total_bytes / unit,
        available: space.available_bytes / unit,
        free: space.free_bytes / unit,
        sectors: u32::try_from(sectors).unwrap_or(u32::MAX),
    }
}

fn size(space: &SpaceInfo) -> FsSizeInfo {
    let units = units(space);
    FsSizeInfo {
        total_allocation_units: units.total,
        available_allocation_units: units.available,
        sectors_per_allocation_unit: units.sectors,
        bytes_per_sector: BYTES_PER_SECTOR,
    }
}

fn full_size(space: &SpaceInfo) -> FsFullSizeInfo {
    let units = units(space);
    FsFullSizeInfo {
        total_allocation_units: units.total,
        caller_available_allocation_units: units.available,
        actual_available_allocation_units: units.free,
        sectors_per_allocation_unit: units.sectors,
        bytes_per_sector: BYTES_PER_SECTOR,
    }
}

/// File systems may be mounted below a share.
async fn abilities(share: &Share, handle: Option<&Handle>) -> Abilities {
    match handle {
        Some(handle) => handle.abilities().await,
        None => share.volume.abilities().await,
    }
}

fn attribute(share: &ShareOptions, has_eas: bool, abilities: Abilities) -> FsAttributeInfo {
    let mut attributes = FsAttributes::CASE_PRESERVED_NAMES
        | FsAttributes::UNICODE_ON_DISK
        | FsAttributes::SUPPORTS_OBJECT_IDS
        | FsAttributes::SUPPORTS_SPARSE_FILES
        | FsAttributes::SUPPORTS_HARD_LINKS
        | FsAttributes::SUPPORTS_REPARSE_POINTS;
    attributes.set(FsAttributes::NAMED_STREAMS, share.streams);
    attributes.set(FsAttributes::SUPPORTS_EXTENDED_ATTRIBUTES, has_eas);
    attributes.set(FsAttributes::FILE_COMPRESSION, abilities.compresses);
    attributes.set(FsAttributes::SUPPORTS_BLOCK_REFCOUNTING, abilities.clones);
    attributes.set(FsAttributes::READ_ONLY_VOLUME, share.read_only);
    FsAttributeInfo {
        attributes,
        maximum_component_name_length: 255,
        // Programs ask for this name rather than for the attributes; the attributes stay honest.
        file_system_name: Utf16::from_str("NTFS"),
    }
}

fn sector_size(space: &SpaceInfo, abilities: Abilities) -> FsSectorSizeInfo {
    let physical = u32::try_from(space.block_size.clamp(512, 4096)).unwrap_or(4096);
    FsSectorSizeInfo {
        logical_bytes_per_sector: BYTES_PER_SECTOR,
        physical_bytes_per_sector_for_atomicity: physical,
        physical_bytes_per_sector_for_performance: physical,
        effective_physical_bytes_per_sector_for_atomicity: physical,
        flags: if abilities.punches { ALIGNED | TRIM_ENABLED } else { ALIGNED },
        byte_offset_for_sector_alignment: 0,
        byte_offset_for_partition_alignment: 0,
    }
}
