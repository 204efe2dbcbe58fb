//! The structures of MS-FSCC as Samba's server filled them and as Samba's clients set them.

use std::collections::HashMap;

use super::capture::{Captured, Side, everything};
use crate::wire::change_notify::ChangeNotifyResponse;
use crate::wire::codec::{Malformed, Reader, Writer};
use crate::wire::fscc::dir_info::{DirBuffer, DirEntry};
use crate::wire::fscc::ea::{EaBuffer, FullEa};
use crate::wire::fscc::file_info::*;
use crate::wire::fscc::fs_info::*;
use crate::wire::fscc::info_class::{FileInfoClass, FsInfoClass};
use crate::wire::fscc::notify_info::FileNotifyInfo;
use crate::wire::fscc::set_info::*;
use crate::wire::header::{Command, Header};
use crate::wire::query_directory::{QueryDirectoryRequest, QueryDirectoryResponse};
use crate::wire::query_info::{InfoType, QueryInfoRequest, QueryInfoResponse};
use crate::wire::set_info::SetInfoRequest;
use crate::wire::status::NtStatus;

macro_rules! via {
    ($type:ty, $bytes:expr) => {{
        let mut out = Vec::new();
        <$type>::decode(&mut Reader::new($bytes, "information"))?
            .encode(&mut Writer::new(&mut out));
        Ok(Some(out))
    }};
}

/// Decodes what a query answered and encodes it again; nothing for a class without a codec.
pub(super) fn requery(kind: InfoType, class: u8, b: &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
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
pub(super) fn reset(class: FileInfoClass, b: &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
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
pub(super) fn relist(class: FileInfoClass, listing: &[u8]) -> Result<Vec<u8>, Malformed> {
    let entries = DirEntry::decode_all(class, listing)?;
    let mut buffer = DirBuffer::new(class, usize::MAX).expect("a class that was decoded");
    entries.iter().for_each(|entry| buffer.push(entry).expect("there is no limit"));
    Ok(buffer.into_bytes())
}

/// Calls `each` with every captured request whose response is in the capture, and with that.
fn exchanges(command: Command, mut each: impl FnMut(&Captured, &[u8], &[u8])) -> usize {
    let captured = everything();
    let mut requests: HashMap<(&str, u64), &[u8]> = HashMap::new();
    let mut count = 0;
    for captured in captured.iter().filter(|captured| captured.is_smb2()) {
        for message in captured.messages() {
            let header = Header::decode(message).expect("a header");
            let key = (captured.file.as_str(), header.message_id);
            if header.command != command {
            } else if captured.from == Side::Client {
                requests.insert(key, message);
            } else if let (Some(request), NtStatus::SUCCESS) = (requests.get(&key), header.status) {
                each(captured, request, message);
                count += 1;
            }
        }
    }
    count
}

#[test]
fn every_captured_answer_to_a_query_encodes_to_its_own_bytes() {
    let mut seen = Vec::new();
    exchanges(Command::QUERY_INFO, |captured, request, response| {
        let request = QueryInfoRequest::decode(request).expect("a request");
        let output = QueryInfoResponse::decode(response).expect("a response").output;
        let (kind, class) = (request.info_type, request.info_class);
        let out = requery(kind, class, &output)
            .unwrap_or_else(|error| panic!("{captured}: {kind} {class}: {error}"));
        if let Some(out) = out {
            assert_eq!(out, output, "{captured}: {kind} {class}");
            seen.push((kind.0, class));
        }
    });
    seen.sort_unstable();
    seen.dedup();
    assert!(seen.len() >= 15, "only {seen:?}");
}

#[test]
fn every_captured_listing_encodes_to_its_own_bytes() {
    let mut seen = Vec::new();
    exchanges(Command::QUERY_DIRECTORY, |captured, request, response| {
        let class = QueryDirectoryRequest::decode(request).expect("a request").info_class;
        let output = QueryDirectoryResponse::decode(response).expect("a response").output;
        let out = relist(class, &output).unwrap_or_else(|error| panic!("{captured}: {error}"));
        let padding = output.strip_prefix(out.as_slice());
        assert!(
            padding.is_some_and(|rest| rest.len() < 8),
            "{captured} {class} {output:02x?} {out:02x?}"
        );
        seen.push(class.0);
    });
    seen.sort_unstable();
    seen.dedup();
    assert!(seen.len() >= 2, "only {seen:?}");
}

#[test]
fn every_captured_set_encodes_to_its_own_bytes() {
    let mut seen = Vec::new();
    exchanges(Command::SET_INFO, |captured, request, _| {
        let request = SetInfoRequest::decode(request).expect("a request");
        if request.info_type != InfoType::FILE {
            return;
        }
        let class = FileInfoClass(request.info_class);
        let out = reset(class, &request.buffer)
            .unwrap_or_else(|error| panic!("{captured}: {class}: {error}"));
        if let Some(out) = out {
            assert!(
                request.buffer.starts_with(&out),
                "{captured}: {class} {:02x?} {out:02x?}",
                request.buffer
            );
            seen.push(class.0);
        }
    });
    seen.sort_unstable();
    seen.dedup();
    assert!(seen.len() >= 3, "only {seen:?}");
}

#[test]
fn every_captured_notification_encodes_to_its_own_bytes() {
    let count = exchanges(Command::CHANGE_NOTIFY, |captured, _, response| {
        let output = ChangeNotifyResponse::decode(response).expect("a response").output;
        let changes = FileNotifyInfo::decode_all(&output).expect("changes");
        assert!(changes.iter().all(|change| change.action.name().is_some()), "{captured}");
        let out = FileNotifyInfo::encode_all(&changes, output.len()).expect("it fitted there");
        // Samba pads the last entry too.
        let padding = output.strip_prefix(out.as_slice());
        assert!(padding.is_some_and(|rest| rest.len() < 4), "{captured}: {output:02x?}");
    });
    assert!(count > 0);
}
