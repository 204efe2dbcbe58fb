//! The structures of MS-FSCC as Samba's server filled them and as Samba's clients set them.

use std::collections::HashMap;

use super::capture::{Captured, Side, everything};
use crate::fuzzing::info::{relist, requery, reset};
use crate::wire::change_notify::ChangeNotifyResponse;
use crate::wire::fscc::info_class::FileInfoClass;
use crate::wire::fscc::notify_info::FileNotifyInfo;
use crate::wire::header::{Command, Header};
use crate::wire::query_directory::{QueryDirectoryRequest, QueryDirectoryResponse};
use crate::wire::query_info::{InfoType, QueryInfoRequest, QueryInfoResponse};
use crate::wire::set_info::SetInfoRequest;
use crate::wire::status::NtStatus;

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
