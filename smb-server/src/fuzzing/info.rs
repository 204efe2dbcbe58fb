//! Any structure of MS-FSCC by its class, for what treats all of them alike.

use crate::wire::codec::{Malformed, Reader, Writer};
use crate::wire::fscc::dir_info::{DirBuffer, DirEntry};
use crate::wire::fscc::ea::{EaBuffer, FullEa};
use crate::wire::fscc::file_info::*;
use crate::wire::fscc::fs_info::*;
use crate::wire::fscc::info_class::{FileInfoClass, FsInfoClass};
use crate::wire::fscc::set_info::*;
use crate::wire::query_info::InfoType;

macro_rules! via {
    ($type:ty, $bytes:expr) => {{
        let mut out = Vec::new();
        <$type>::decode(&mut Reader::new($bytes, "information"))?
            .encode(&mut Writer::new(&mut out));
        Ok(Some(out))
    }};
}

/// Decodes what a query answered and encodes it again; nothing for a class without a codec.
pub(crate) fn requery(kind: InfoType, class: u8, b: &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
    match kind {
        InfoType::FILE => requery_file(FileInfoClass(class), b),
        InfoType::FILESYSTEM => requery_fs(FsInfoClass(class), b),
        _ => Ok(None),
    }
}

fn requery_file(class: FileInfoClass, b: &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
    match class {
        FileInfoClass::BASIC => via!(FileBasicInfo, b),
        FileInfoClass::STANDARD => via!(FileStandardInfo, b),
        FileInfoClass::INTERNAL => via!(FileInternalInfo, b),
        FileInfoClass::EA => via!(FileEaInfo, b),
        FileInfoClass::ACCESS => via!(FileAccessInfo, b),
        FileInfoClass::POSITION => via!(FilePositionInfo, b),
        FileInfoClass::MODE => via!(FileModeInfo, b),
        FileInfoClass::ALIGNMENT => via!(FileAlignmentInfo, b),
        FileInfoClass::ALL => via!(FileAllInfo, b),
        FileInfoClass::ALTERNATE_NAME | FileInfoClass::NORMALIZED_NAME => via!(FileNameInfo, b),
        FileInfoClass::COMPRESSION => via!(FileCompressionInfo, b),
        FileInfoClass::NETWORK_OPEN => via!(FileNetworkOpenInfo, b),
        FileInfoClass::ATTRIBUTE_TAG => via!(FileAttributeTagInfo, b),
        FileInfoClass::ID => via!(FileIdInfo, b),
        FileInfoClass::STREAM => {
            let streams = FileStreamInfo::decode_all(b)?;
            Ok(Some(FileStreamInfo::encode_all(&streams, usize::MAX).0))
        }
        FileInfoClass::FULL_EA => re_ea(b),
        _ => Ok(None),
    }
}

fn requery_fs(class: FsInfoClass, b: &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
    match class {
        FsInfoClass::VOLUME => via!(FsVolumeInfo, b),
        FsInfoClass::SIZE => via!(FsSizeInfo, b),
        FsInfoClass::DEVICE => via!(FsDeviceInfo, b),
        FsInfoClass::ATTRIBUTE => via!(FsAttributeInfo, b),
        FsInfoClass::CONTROL => via!(FsControlInfo, b),
        FsInfoClass::FULL_SIZE => via!(FsFullSizeInfo, b),
        FsInfoClass::OBJECT_ID => via!(FsObjectIdInfo, b),
        FsInfoClass::SECTOR_SIZE => via!(FsSectorSizeInfo, b),
        _ => Ok(None),
    }
}

/// Decodes what a set carried and encodes it again; nothing for a class without a codec.
pub(crate) fn reset(class: FileInfoClass, b: &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
    match class {
        FileInfoClass::BASIC => via!(FileBasicInfo, b),
        FileInfoClass::RENAME => via!(FileRenameInfo, b),
        FileInfoClass::LINK => via!(FileLinkInfo, b),
        FileInfoClass::DISPOSITION => via!(FileDispositionInfo, b),
        FileInfoClass::DISPOSITION_EX => via!(FileDispositionInfoEx, b),
        FileInfoClass::ALLOCATION => via!(FileAllocationInfo, b),
        FileInfoClass::END_OF_FILE => via!(FileEndOfFileInfo, b),
        FileInfoClass::POSITION => via!(FilePositionInfo, b),
        FileInfoClass::MODE => via!(FileModeInfo, b),
        FileInfoClass::FULL_EA => re_ea(b),
        _ => Ok(None),
    }
}

fn re_ea(b: &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
    let mut buffer = EaBuffer::new(usize::MAX);
    for ea in FullEa::decode_all(b)? {
        buffer.push(&ea).expect("lengths that were decoded");
    }
    Ok(Some(buffer.into_bytes()))
}

/// Decodes a directory listing and encodes it again.
pub(crate) fn relist(class: FileInfoClass, listing: &[u8]) -> Result<Vec<u8>, Malformed> {
    let entries = DirEntry::decode_all(class, listing)?;
    let mut buffer = DirBuffer::new(class, usize::MAX).expect("a class that was decoded");
    entries.iter().for_each(|entry| buffer.push(entry).expect("there is no limit"));
    Ok(buffer.into_bytes())
}
