//! Where MS-SMB2 puts the fields whose values say little in the recorded sessions. A body is made
//! of bytes that count up from 0, so that a field's value names its offset in the body.

use crate::wire::change_notify::ChangeNotifyRequest;
use crate::wire::close::CloseResponse;
use crate::wire::create::CreateResponse;
use crate::wire::file_id::FileId;
use crate::wire::fscc::dir_info::DirEntry;
use crate::wire::fscc::info_class::FileInfoClass;
use crate::wire::header::{Header, HeaderId};
use crate::wire::query_directory::QueryDirectoryRequest;
use crate::wire::session_setup::SessionSetupRequest;
use crate::wire::write::WriteResponse;

/// A message with this `StructureSize` and body; `zeros` are the offsets and lengths to be left
/// empty.
fn message(structure_size: u8, length: u8, zeros: std::ops::Range<usize>) -> Vec<u8> {
    let mut body: Vec<u8> = (0..length).collect();
    body[..2].copy_from_slice(&[structure_size, 0]);
    body[zeros].fill(0);
    [vec![0; Header::SIZE], body].concat()
}

fn u16_at(offset: u16) -> u16 {
    0x0100 + offset * 0x0101
}

fn u32_at(offset: u32) -> u32 {
    0x0302_0100 + offset * 0x0101_0101
}

fn u64_at(offset: u64) -> u64 {
    0x0706_0504_0302_0100 + offset * 0x0101_0101_0101_0101
}

fn file_id_at(offset: u64) -> FileId {
    FileId { persistent: u64_at(offset), volatile: u64_at(offset + 8) }
}

#[test]
fn header() {
    let mut bytes: Vec<u8> = (0..64).collect();
    bytes[..6].copy_from_slice(&[0xfe, b'S', b'M', b'B', 64, 0]);
    let header = Header::decode(&bytes).expect("a header");
    assert_eq!(header.credit_charge, u16_at(6));
    assert_eq!(header.status.0, u32_at(8));
    assert_eq!(header.channel_sequence(), u16_at(8));
    assert_eq!(header.command.0, u16_at(12));
    assert_eq!(header.credits, u16_at(14));
    assert_eq!(header.flags.bits(), u32_at(16));
    assert_eq!(header.next_command, u32_at(20));
    assert_eq!(header.message_id, u64_at(24));
    assert_eq!(header.id, HeaderId::Sync { process_id: u32_at(32), tree_id: u32_at(36) });
    assert_eq!(header.session_id, u64_at(40));
    assert_eq!(header.signature[..], bytes[Header::SIGNATURE]);
    bytes[16] |= 2;
    let header = Header::decode(&bytes).expect("a header");
    assert_eq!(header.id, HeaderId::Async { async_id: u64_at(32) });
}

#[test]
fn session_setup_request() {
    let m = message(25, 24, 12..16);
    let request = SessionSetupRequest::decode(&m).expect("a request");
    assert_eq!((request.flags.bits(), request.security_mode.bits()), (2, 3));
    assert_eq!(request.capabilities.bits(), u32_at(4));
    assert_eq!(request.channel, u32_at(8));
    assert_eq!(request.previous_session_id, u64_at(16));
}

#[test]
fn create_response() {
    let m = message(89, 88, 80..88);
    let response = CreateResponse::decode(&m).expect("a response");
    assert_eq!((response.oplock_level.0, response.flags.bits()), (2, 3));
    assert_eq!(response.create_action.0, u32_at(4));
    assert_eq!(response.creation_time.0, u64_at(8));
    assert_eq!(response.last_access_time.0, u64_at(16));
    assert_eq!(response.last_write_time.0, u64_at(24));
    assert_eq!(response.change_time.0, u64_at(32));
    assert_eq!(response.allocation_size, u64_at(40));
    assert_eq!(response.end_of_file, u64_at(48));
    assert_eq!(response.file_attributes.bits(), u32_at(56));
    assert_eq!(response.file_id, file_id_at(64));
}

#[test]
fn close_response() {
    let m = message(60, 60, 4..8);
    let response = CloseResponse::decode(&m).expect("a response");
    assert_eq!(response.flags.bits(), u16_at(2));
    assert_eq!(response.creation_time.0, u64_at(8));
    assert_eq!(response.last_access_time.0, u64_at(16));
    assert_eq!(response.last_write_time.0, u64_at(24));
    assert_eq!(response.change_time.0, u64_at(32));
    assert_eq!(response.allocation_size, u64_at(40));
    assert_eq!(response.end_of_file, u64_at(48));
    assert_eq!(response.file_attributes.bits(), u32_at(56));
}

#[test]
fn write_response() {
    let m = message(17, 16, 12..16);
    let response = WriteResponse::decode(&m).expect("a response");
    assert_eq!((response.count, response.remaining), (u32_at(4), u32_at(8)));
}

#[test]
fn query_directory_request() {
    let m = message(33, 32, 24..28);
    let request = QueryDirectoryRequest::decode(&m).expect("a request");
    assert_eq!((request.info_class.0, request.flags.bits()), (2, 3));
    assert_eq!(request.file_index, u32_at(4));
    assert_eq!(request.file_id, file_id_at(8));
    assert_eq!(request.output_buffer_length, u32_at(28));
}

#[test]
fn change_notify_request() {
    let m = message(32, 32, 28..32);
    let request = ChangeNotifyRequest::decode(&m).expect("a request");
    assert_eq!(request.flags.bits(), u16_at(2));
    assert_eq!(request.output_buffer_length, u32_at(4));
    assert_eq!(request.file_id, file_id_at(8));
    assert_eq!(request.completion_filter.bits(), u32_at(24));
}

#[test]
fn directory_entry_with_an_id_and_both_names() {
    let mut bytes: Vec<u8> = (0..104).collect();
    bytes[..4].fill(0);
    bytes[60..64].fill(0);
    bytes[68] = 2;
    let entries = DirEntry::decode_all(FileInfoClass::ID_BOTH_DIRECTORY, &bytes).expect("one");
    let [entry] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!(entry.file_index, u32_at(4));
    assert_eq!(entry.creation_time.0, u64_at(8));
    assert_eq!(entry.last_access_time.0, u64_at(16));
    assert_eq!(entry.last_write_time.0, u64_at(24));
    assert_eq!(entry.change_time.0, u64_at(32));
    assert_eq!(entry.end_of_file, u64_at(40));
    assert_eq!(entry.allocation_size, u64_at(48));
    assert_eq!(entry.file_attributes.bits(), u32_at(56));
    assert_eq!(entry.ea_size, u32_at(64));
    assert_eq!(entry.short_name.0, [u16_at(70)]);
    assert_eq!(entry.file_id, u64_at(96));
}
