//! What recorded sessions are about: names, sizes, dialects and statuses known from the commands
//! that were typed (`make.sh` beside the captures) and from what Samba is documented to answer.

use super::capture::{Captured, Side, session};
use crate::wire::cancel::CancelRequest;
use crate::wire::codec::{Malformed, Reader};
use crate::wire::create::{CreateAction, CreateRequest, CreateResponse, OplockLevel};
use crate::wire::create_context::{CreateContext, CreateContextResponse};
use crate::wire::dialect::Dialect;
use crate::wire::error::ErrorResponse;
use crate::wire::file_id::FileId;
use crate::wire::fscc::attributes::FileAttributes;
use crate::wire::fscc::dir_info::DirEntry;
use crate::wire::fscc::file_info::FileBasicInfo;
use crate::wire::fscc::info_class::FileInfoClass;
use crate::wire::fscc::set_info::FileRenameInfo;
use crate::wire::header::{Command, Header, HeaderFlags};
use crate::wire::ioctl::{CtlCode, IoctlRequest, IoctlResponse};
use crate::wire::negotiate::{NegotiateRequest, NegotiateResponse};
use crate::wire::negotiate_context::{Cipher, HashAlgorithm, NegotiateContext, SigningAlgorithm};
use crate::wire::oplock_break::{BreakAcknowledgment, BreakNotification};
use crate::wire::query_directory::{QueryDirectoryRequest, QueryDirectoryResponse};
use crate::wire::read::ReadResponse;
use crate::wire::set_info::SetInfoRequest;
use crate::wire::smb1_negotiate::Smb1NegotiateRequest;
use crate::wire::status::NtStatus;
use crate::wire::tree_connect::{ShareType, TreeConnectRequest, TreeConnectResponse};
use crate::wire::validate_negotiate::{
    ValidateNegotiateInfoRequest, ValidateNegotiateInfoResponse,
};
use crate::wire::write::WriteRequest;

/// The bodies of one kind that one side sent, with their headers; of responses only those with a
/// body of the command's own.
fn bodies<T>(
    captured: &[Captured],
    side: Side,
    command: Command,
    decode: impl Fn(&[u8]) -> Result<T, Malformed>,
) -> Vec<(Header, T)> {
    let messages = captured.iter().filter(|c| c.from == side && c.is_smb2());
    messages
        .flat_map(Captured::messages)
        .map(|message| (Header::decode(message).expect("a header"), message))
        .filter(|(header, _)| header.command == command)
        .filter(|(header, _)| {
            side == Side::Client || !ErrorResponse::is_body_of(command, header.status)
        })
        .map(|(header, message)| (header, decode(message).expect("a captured message")))
        .collect()
}

fn statuses(captured: &[Captured], command: Command) -> Vec<NtStatus> {
    let messages = captured.iter().filter(|c| c.from == Side::Server && c.is_smb2());
    messages
        .flat_map(Captured::messages)
        .map(|message| Header::decode(message).expect("a header"))
        .filter(|header| header.command == command)
        .map(|header| header.status)
        .collect()
}

fn negotiation(captured: &[Captured]) -> (NegotiateRequest, NegotiateResponse) {
    let request =
        bodies(captured, Side::Client, Command::NEGOTIATE, NegotiateRequest::decode).pop();
    let response =
        bodies(captured, Side::Server, Command::NEGOTIATE, NegotiateResponse::decode).pop();
    (request.expect("a request").1, response.expect("a response").1)
}

fn listings(captured: &[Captured]) -> Vec<DirEntry> {
    let requests =
        bodies(captured, Side::Client, Command::QUERY_DIRECTORY, QueryDirectoryRequest::decode);
    assert!(requests.iter().all(|(_, r)| r.info_class == FileInfoClass::ID_BOTH_DIRECTORY));
    bodies(captured, Side::Server, Command::QUERY_DIRECTORY, QueryDirectoryResponse::decode)
        .iter()
        .flat_map(|(_, response)| {
            DirEntry::decode_all(FileInfoClass::ID_BOTH_DIRECTORY, &response.output)
                .expect("a listing")
        })
        .collect()
}

fn names_created(captured: &[Captured]) -> Vec<String> {
    bodies(captured, Side::Client, Command::CREATE, CreateRequest::decode)
        .iter()
        .map(|(_, request)| request.name.to_string_strict().expect("proper UTF-16"))
        .collect()
}

#[test]
fn a_client_held_to_one_dialect_gets_it() {
    for (name, dialect) in [
        ("dialect-SMB2_02", Dialect::SMB_2_0_2),
        ("dialect-SMB2_10", Dialect::SMB_2_1),
        ("dialect-SMB3_00", Dialect::SMB_3_0),
        ("dialect-SMB3_02", Dialect::SMB_3_0_2),
        ("dialect-SMB3_11", Dialect::SMB_3_1_1),
    ] {
        let (request, response) = negotiation(&session(name));
        assert_eq!(request.dialects, [dialect]);
        assert_eq!(response.dialect, dialect);
        let size = if dialect == Dialect::SMB_2_0_2 { 65_536 } else { 8_388_608 };
        assert_eq!(response.max_read_size, size, "{name}");
        assert_eq!(response.max_write_size, size, "{name}");
        assert_eq!(response.max_transact_size, size, "{name}");
        assert_eq!(response.contexts.is_empty(), dialect != Dialect::SMB_3_1_1, "{name}");
        assert_eq!(response.security_buffer[0], 0x60, "a SPNEGO token starts with its tag");
    }
}

#[test]
fn preauth_integrity_in_3_1_1_is_sha_512_with_a_salt_of_32_bytes() {
    let (request, response) = negotiation(&session("dialect-SMB3_11"));
    for contexts in [request.contexts, response.contexts] {
        let [NegotiateContext::PreauthIntegrity { hash_algorithms, salt }, ..] = &contexts[..]
        else {
            panic!("{contexts:?}");
        };
        assert_eq!(*hash_algorithms, [HashAlgorithm::SHA_512]);
        assert_eq!(salt.len(), 32);
    }
}

#[test]
fn the_cipher_asked_for_on_the_command_line_is_negotiated() {
    for (name, cipher) in [
        ("sealed-3.1.1-aes-128-ccm", Cipher::AES_128_CCM),
        ("sealed-3.1.1-aes-128-gcm", Cipher::AES_128_GCM),
        ("sealed-3.1.1-aes-256-ccm", Cipher::AES_256_CCM),
        ("sealed-3.1.1-aes-256-gcm", Cipher::AES_256_GCM),
    ] {
        let expected = NegotiateContext::Encryption { ciphers: vec![cipher] };
        let (request, response) = negotiation(&session(name));
        assert!(request.contexts.contains(&expected), "{name}: {:?}", request.contexts);
        assert!(response.contexts.contains(&expected), "{name}: {:?}", response.contexts);
    }
}

#[test]
fn the_signing_algorithm_asked_for_on_the_command_line_is_negotiated() {
    for (name, algorithm) in [
        ("signed-3.1.1-hmac", SigningAlgorithm::HMAC_SHA256),
        ("signed-3.1.1-cmac", SigningAlgorithm::AES_CMAC),
        ("signed-3.1.1-gmac", SigningAlgorithm::AES_GMAC),
    ] {
        let expected = NegotiateContext::Signing { algorithms: vec![algorithm] };
        let (request, response) = negotiation(&session(name));
        assert!(request.contexts.contains(&expected), "{name}: {:?}", request.contexts);
        assert!(response.contexts.contains(&expected), "{name}: {:?}", response.contexts);
    }
}

#[test]
fn an_smb1_negotiate_is_answered_with_the_wildcard_dialect() {
    let captured = session("multi-protocol");
    let request = Smb1NegotiateRequest::decode(&captured[0].bytes).expect("SMB1 comes first");
    assert!(request.offers(Smb1NegotiateRequest::SMB_2_WILDCARD), "{request:?}");
    let response = NegotiateResponse::decode(&captured[1].bytes).expect("SMB2 answers");
    assert_eq!(response.dialect, Dialect::SMB_2_WILDCARD);
    let (request, response) = negotiation(&captured);
    assert_eq!(request.dialects.first(), Some(&Dialect::SMB_2_0_2));
    assert_eq!(response.dialect, Dialect::SMB_3_1_1);
}

#[test]
fn a_client_below_3_1_1_says_the_negotiation_again_under_a_signature() {
    for name in ["dialect-SMB3_00", "dialect-SMB3_02"] {
        let captured = session(name);
        let (asked, answered) = negotiation(&captured);
        let ioctl =
            |(_, r): &(Header, IoctlRequest)| r.ctl_code == CtlCode::FSCTL_VALIDATE_NEGOTIATE_INFO;
        let requests = bodies(&captured, Side::Client, Command::IOCTL, IoctlRequest::decode);
        let request = requests.into_iter().find(ioctl).expect("a request").1;
        assert_eq!(request.file_id, FileId::ANY);
        let again = ValidateNegotiateInfoRequest::decode(&request.input).expect("its input");
        assert_eq!(again.client_guid, asked.client_guid);
        assert_eq!(again.dialects, asked.dialects);
        assert_eq!(again.capabilities, asked.capabilities);
        let responses = bodies(&captured, Side::Server, Command::IOCTL, IoctlResponse::decode);
        let response = responses
            .iter()
            .find(|(_, r)| r.ctl_code == CtlCode::FSCTL_VALIDATE_NEGOTIATE_INFO)
            .expect("a response");
        let again = ValidateNegotiateInfoResponse::decode(&response.1.output).expect("its output");
        assert_eq!(again.server_guid, answered.server_guid);
        assert_eq!(again.dialect, answered.dialect);
        assert_eq!(response.1.output.len(), ValidateNegotiateInfoResponse::SIZE);
    }
}

#[test]
fn files_are_put_listed_read_and_renamed() {
    for name in ["dialect-SMB2_02", "dialect-SMB3_11", "old-3.1.1"] {
        let captured = session(name);
        let created = names_created(&captured);
        for path in ["d", "d\\small.txt", "d\\big.bin", "d\\other.txt"] {
            assert!(created.iter().any(|c| c == path), "{name}: {path} in {created:?}");
        }
        let listed = listings(&captured);
        for (file, size) in [("small.txt", 12), ("big.bin", 5000)] {
            let entry = listed.iter().find(|e| e.name.to_string() == file).expect(file);
            assert_eq!(entry.end_of_file, size, "{name}: {file}");
            assert!(!entry.file_attributes.contains(FileAttributes::DIRECTORY));
        }
        for directory in [".", ".."] {
            let entry = listed.iter().find(|e| e.name.to_string() == directory).expect("it");
            assert!(entry.file_attributes.contains(FileAttributes::DIRECTORY), "{name}");
        }
        assert_eq!(renames(&captured), ["d\\other.txt"], "{name}");
    }
}

fn renames(captured: &[Captured]) -> Vec<String> {
    bodies(captured, Side::Client, Command::SET_INFO, SetInfoRequest::decode)
        .iter()
        .filter(|(_, request)| request.info_class == FileInfoClass::RENAME.0)
        .map(|(_, request)| {
            let mut r = Reader::new(&request.buffer, "rename");
            FileRenameInfo::decode(&mut r).expect("a rename").name.to_string()
        })
        .collect()
}

#[test]
fn what_was_written_is_what_is_read() {
    let captured = session("dialect-SMB2_10");
    let mut written = Vec::new();
    let mut read = Vec::new();
    for message in captured.iter().flat_map(Captured::messages) {
        let header = Header::decode(message).expect("a header");
        match (header.command, header.is_response(), header.status) {
            (Command::WRITE, false, _) => {
                let request = WriteRequest::decode(message).expect("a WRITE");
                written.push(message[request.data].to_vec());
            }
            (Command::READ, true, NtStatus::SUCCESS) => {
                let response = ReadResponse::decode(message).expect("a READ");
                read.push(message[response.data].to_vec());
            }
            _ => {}
        }
    }
    assert_eq!(written.iter().map(Vec::len).collect::<Vec<_>>(), [12, 5000]);
    assert_eq!(read, written);
}

#[test]
fn a_write_is_understood_before_its_payload_has_arrived() {
    let captured = session("dialect-SMB3_11");
    let writes = captured.iter().filter(|c| c.from == Side::Client).flat_map(Captured::messages);
    let is_write = |m: &&[u8]| Header::decode(m).is_ok_and(|h| h.command == Command::WRITE);
    for message in writes.filter(is_write) {
        let head = &message[..Header::SIZE + WriteRequest::FIXED];
        let early = WriteRequest::decode_head(head, message.len());
        assert_eq!(early, WriteRequest::decode(message));
        assert!(WriteRequest::decode_head(head, message.len() - 1).is_err());
    }
}

#[test]
fn ipc_is_a_pipe_share_and_torture_a_disk() {
    let captured = session("dialect-SMB3_11");
    let paths: Vec<_> =
        bodies(&captured, Side::Client, Command::TREE_CONNECT, TreeConnectRequest::decode)
            .iter()
            .map(|(_, request)| request.path.to_string())
            .collect();
    assert_eq!(paths, [r"\\127.0.0.1\IPC$", r"\\127.0.0.1\torture"]);
    let types: Vec<_> =
        bodies(&captured, Side::Server, Command::TREE_CONNECT, TreeConnectResponse::decode)
            .iter()
            .map(|(_, response)| response.share_type)
            .collect();
    assert_eq!(types, [ShareType::PIPE, ShareType::DISK]);
}

#[test]
fn refusals_have_the_statuses_they_are_known_by() {
    let last = |name, command| statuses(&session(name), command).pop();
    assert_eq!(last("wrong-password", Command::SESSION_SETUP), Some(NtStatus::LOGON_FAILURE));
    assert_eq!(last("unknown-share", Command::TREE_CONNECT), Some(NtStatus::BAD_NETWORK_NAME));
    let captured = session("refusals");
    let created = statuses(&captured, Command::CREATE);
    assert!(created.contains(&NtStatus::OBJECT_NAME_NOT_FOUND), "{created:?}");
    assert!(created.contains(&NtStatus::OBJECT_NAME_COLLISION), "{created:?}");
    let set = statuses(&captured, Command::SET_INFO);
    assert!(set.contains(&NtStatus::DIRECTORY_NOT_EMPTY), "{set:?}");
}

#[test]
fn names_outside_ascii_and_outside_the_basic_plane_are_whole() {
    let captured = session("names");
    let created = names_created(&captured);
    let listed: Vec<_> = listings(&captured).iter().map(|e| e.name.to_string()).collect();
    for name in ["a b.txt", "ümlaut.txt", "😀.txt"] {
        assert!(created.iter().any(|c| c == name), "{name} in {created:?}");
        assert!(listed.iter().any(|l| l == name), "{name} in {listed:?}");
    }
}

#[test]
fn a_mode_and_a_time_are_set_as_typed() {
    let captured = session("attributes");
    let set: Vec<_> = bodies(&captured, Side::Client, Command::SET_INFO, SetInfoRequest::decode)
        .into_iter()
        .filter(|(_, request)| request.info_class == FileInfoClass::BASIC.0)
        .map(|(_, request)| {
            FileBasicInfo::decode(&mut Reader::new(&request.buffer, "basic")).expect("basic")
        })
        .collect();
    assert!(set.iter().any(|info| info.file_attributes.contains(FileAttributes::READONLY)));
    // `utimes t.txt -1 -1 2020:01:02-03:04:05 -1`, on a machine that lives in UTC.
    let times: Vec<_> = set.iter().map(|info| info.last_write_time.to_unix()).collect();
    assert!(times.contains(&(1_577_934_245, 0)), "{times:?}");
}

#[test]
fn a_related_request_names_no_file_of_its_own() {
    let captured = session("torture-smb2-compound-related1");
    let compound = captured
        .iter()
        .filter(|c| c.from == Side::Client)
        .map(Captured::messages)
        .find(|messages| messages.len() > 1)
        .expect("a compound");
    let headers: Vec<_> = compound.iter().map(|m| Header::decode(m).expect("a header")).collect();
    assert!(!headers[0].flags.contains(HeaderFlags::RELATED_OPERATIONS));
    assert!(headers[1].flags.contains(HeaderFlags::RELATED_OPERATIONS));
    assert_eq!(headers[1].command, Command::CLOSE);
    let close = crate::wire::close::CloseRequest::decode(compound[1]).expect("a CLOSE");
    assert_eq!(close.file_id, FileId::ANY);
}

#[test]
fn a_lock_that_waits_is_pending_under_an_async_id() {
    let captured = session("torture-smb2-lock-async");
    let headers = |side: Side| {
        let messages = captured.iter().filter(move |c| c.from == side).flat_map(Captured::messages);
        messages.map(|m| Header::decode(m).expect("a header")).collect::<Vec<_>>()
    };
    let server = headers(Side::Server);
    let interim = server.iter().find(|h| h.status == NtStatus::PENDING).expect("an interim");
    assert_eq!(interim.command, Command::LOCK);
    let last = server.iter().rfind(|h| h.message_id == interim.message_id).expect("a final");
    assert_eq!(last.async_id(), interim.async_id());
    assert_ne!(last.status, NtStatus::PENDING);
    let cancels = bodies(&captured, Side::Client, Command::CANCEL, CancelRequest::decode);
    assert!(cancels.iter().all(|(header, _)| header.async_id() == interim.async_id()));
}

#[test]
fn a_lease_is_granted_under_the_key_it_was_asked_for() {
    let captured = session("torture-smb2-lease-request");
    let asked = bodies(&captured, Side::Client, Command::CREATE, CreateRequest::decode);
    let granted = bodies(&captured, Side::Server, Command::CREATE, CreateResponse::decode);
    let mut count = 0;
    for (header, response) in granted {
        let contexts = CreateContextResponse::decode_all(&response.contexts).expect("contexts");
        let Some(CreateContextResponse::Lease(lease)) = contexts.first() else { continue };
        let (_, request) =
            asked.iter().find(|(h, _)| h.message_id == header.message_id).expect("a request");
        assert_eq!(request.requested_oplock_level, OplockLevel::LEASE);
        assert_eq!(response.oplock_level, OplockLevel::LEASE);
        let contexts = CreateContext::decode_all(&request.contexts).expect("contexts");
        let wanted = contexts.iter().find_map(|context| match context {
            CreateContext::RequestLease(lease) => Some(lease),
            _ => None,
        });
        let wanted = wanted.expect("a lease");
        assert_eq!(wanted.key, lease.key);
        assert!(wanted.state.contains(lease.state), "{wanted:?} {lease:?}");
        count += 1;
    }
    assert!(count > 5, "only {count} leases");
}

#[test]
fn an_oplock_break_is_acknowledged_for_the_file_it_names() {
    let captured: Vec<_> =
        ["torture-smb2-oplock-exclusive1", "torture-smb2-compound-compound-break"]
            .iter()
            .flat_map(|name| session(name))
            .collect();
    let mut broken = Vec::new();
    let mut acknowledged = Vec::new();
    for captured in &captured {
        for message in captured.messages() {
            let header = Header::decode(message).expect("a header");
            if header.command != Command::OPLOCK_BREAK {
            } else if header.message_id == Header::UNSOLICITED {
                broken.push(BreakNotification::decode(message).expect("a notification"));
            } else {
                acknowledged.push(BreakAcknowledgment::decode(message).expect("an answer"));
            }
        }
    }
    assert!(!broken.is_empty());
    for notification in broken {
        let BreakNotification::Oplock(oplock) = notification else { panic!("{notification:?}") };
        assert_eq!(oplock.oplock_level, OplockLevel::II);
        assert!(acknowledged.iter().any(|answer| {
            matches!(answer, BreakAcknowledgment::Oplock(a) if a.file_id == oplock.file_id)
        }));
    }
}

#[test]
fn a_server_side_copy_asks_for_a_key_and_copies() {
    let captured = session("torture-smb2-ioctl-copy_chunk_simple");
    let codes: Vec<_> = bodies(&captured, Side::Client, Command::IOCTL, IoctlRequest::decode)
        .iter()
        .map(|(_, request)| request.ctl_code)
        .collect();
    assert!(codes.contains(&CtlCode::FSCTL_SRV_REQUEST_RESUME_KEY), "{codes:?}");
    assert!(codes.contains(&CtlCode::FSCTL_SRV_COPYCHUNK), "{codes:?}");
}

#[test]
fn every_context_of_the_create_blob_session_has_a_type() {
    let captured = session("torture-smb2-create-blob");
    let mut seen = Vec::new();
    for (_, request) in bodies(&captured, Side::Client, Command::CREATE, CreateRequest::decode) {
        seen.extend(CreateContext::decode_all(&request.contexts).expect("contexts"));
    }
    assert!(seen.contains(&CreateContext::QueryMaximalAccess { timestamp: None }), "{seen:?}");
    assert!(seen.contains(&CreateContext::DurableHandleRequest), "{seen:?}");
    assert!(seen.iter().any(|c| matches!(c, CreateContext::AllocationSize(_))), "{seen:?}");
    let responses = bodies(&captured, Side::Server, Command::CREATE, CreateResponse::decode);
    let answered: Vec<_> = responses
        .iter()
        .flat_map(|(_, r)| CreateContextResponse::decode_all(&r.contexts).expect("contexts"))
        .collect();
    let granted = answered.iter().any(|context| {
        matches!(context, CreateContextResponse::MaximalAccess { query_status, .. }
            if *query_status == NtStatus::SUCCESS)
    });
    assert!(granted, "{answered:?}");
    assert!(responses.iter().all(|(_, r)| r.create_action <= CreateAction::OVERWRITTEN));
}
