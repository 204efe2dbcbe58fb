//! What was read and is written again is what was there, byte for byte. The bytes are Samba's, so
//! this checks the layouts, offsets and paddings that are written as well as those that are read.

use super::capture::{Captured, Side, everything};
use crate::fuzzing::message::reencode;
use crate::wire::create::{CreateRequest, CreateResponse};
use crate::wire::create_context::{CreateContext, CreateContextResponse, RawContext};
use crate::wire::header::{Command, Header, HeaderFlags};
use crate::wire::ioctl::IoctlRequest;
use crate::wire::smb1_negotiate::Smb1NegotiateRequest;
use crate::wire::status::NtStatus;
use crate::wire::transform::TransformHeader;

#[test]
fn every_captured_message_decodes_and_encodes_to_its_own_bytes() {
    let mut count = 0;
    for captured in everything().iter().filter(|captured| captured.is_smb2()) {
        for message in captured.messages() {
            let out = reencode(captured.from, message)
                .unwrap_or_else(|error| panic!("{captured}: {error}"));
            let header = Header::decode(message).expect("decoded above");
            assert_same(&out, &without_freedom(captured, &header, message), captured);
            count += 1;
        }
    }
    assert!(count > 3000, "only {count} messages");
}

/// The message with the fields a sender may fill as it likes set to what our encoder puts there.
fn without_freedom(captured: &Captured, header: &Header, message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    if header.status == NtStatus::PENDING {
        // The one byte of an error body that stands for no data: Samba sends 0x21.
        message[72] = 0;
    }
    if captured.from == Side::Client && header.command == Command::IOCTL {
        // OutputOffset, where OutputCount is 0: Samba's client points behind the fixed part.
        assert_eq!(message[104..108], [0; 4], "{captured}");
        message[100..104].fill(0);
    }
    message
}

/// Equal but for less than eight zeros at the end: padding up to the next message of a compound,
/// and what Samba's client appends to a CREATE without contexts.
fn assert_same(ours: &[u8], theirs: &[u8], captured: &Captured) {
    let (body, padding) = theirs.split_at_checked(ours.len()).unwrap_or((theirs, &[]));
    assert_eq!(ours, body, "{captured}");
    assert!(padding.len() < 8 && padding.iter().all(|byte| *byte == 0), "{captured}: {padding:?}");
}

#[test]
fn every_captured_chain_of_create_contexts_encodes_to_its_own_bytes() {
    let mut count = 0;
    for captured in everything().iter().filter(|captured| captured.is_smb2()) {
        for message in captured.messages() {
            let header = Header::decode(message).expect("a header");
            if header.command != Command::CREATE || header.status != NtStatus::SUCCESS {
                continue;
            }
            let (chain, out) = match captured.from {
                Side::Client => {
                    let chain = CreateRequest::decode(message).expect("a CREATE").contexts;
                    let contexts = CreateContext::decode_all(&chain).expect("contexts");
                    (chain, CreateContext::encode_all(&contexts))
                }
                Side::Server => {
                    let chain = CreateResponse::decode(message).expect("a CREATE").contexts;
                    let contexts = CreateContextResponse::decode_all(&chain).expect("contexts");
                    (chain, CreateContextResponse::encode_all(&contexts))
                }
            };
            assert_eq!(out, chain, "{captured}");
            count += RawContext::decode_all(&chain).expect("contexts").len();
        }
    }
    assert!(count > 50, "only {count} contexts");
}

#[test]
fn a_captured_smb1_negotiate_offers_smb2() {
    let captured = everything();
    let smb1: Vec<_> = captured
        .iter()
        .filter(|captured| captured.bytes.starts_with(&Smb1NegotiateRequest::PROTOCOL_ID))
        .collect();
    assert!(!smb1.is_empty());
    for captured in smb1 {
        let request = Smb1NegotiateRequest::decode(&captured.bytes).expect("an SMB1 negotiate");
        assert!(request.offers(Smb1NegotiateRequest::SMB_2_002), "{captured}");
        assert!(request.offers("NT LM 0.12"), "{captured}");
        for end in 0..captured.bytes.len() {
            assert!(Smb1NegotiateRequest::decode(&captured.bytes[..end]).is_err());
        }
    }
}

#[test]
fn a_captured_transform_header_tells_the_length_of_what_it_seals() {
    let mut count = 0;
    for captured in everything() {
        if !captured.bytes.starts_with(&TransformHeader::PROTOCOL_ID) {
            continue;
        }
        let header = TransformHeader::decode(&captured.bytes).expect("a transform header");
        let sealed = captured.bytes.len() - TransformHeader::SIZE;
        assert_eq!(header.original_message_size as usize, sealed, "{captured}");
        assert_eq!(header.flags.bits(), 1, "{captured}");
        assert_ne!(header.session_id, 0, "{captured}");
        let mut out = Vec::new();
        header.encode(&mut crate::wire::codec::Writer::new(&mut out));
        assert_eq!(out, captured.bytes[..TransformHeader::SIZE], "{captured}");
        count += 1;
    }
    assert!(count > 50, "only {count} sealed messages");
}

#[test]
fn a_captured_header_knows_its_direction() {
    for captured in everything().iter().filter(|captured| captured.is_smb2()) {
        for message in captured.messages() {
            let header = Header::decode(message).expect("a header");
            assert_eq!(header.is_response(), captured.from == Side::Server, "{captured}");
            let known = HeaderFlags::from_bits(header.flags.bits()).is_some();
            assert!(known && header.command.name().is_some(), "{captured}: {header:?}");
            if captured.from == Side::Server {
                assert!(header.status.name().is_some(), "{captured}: {}", header.status);
            }
        }
    }
}

#[test]
fn an_ioctl_request_that_lies_about_its_output_is_malformed() {
    let captured = everything();
    let ioctl = captured
        .iter()
        .filter(|captured| captured.from == Side::Client && captured.is_smb2())
        .flat_map(Captured::messages)
        .find(|message| Header::decode(message).is_ok_and(|h| h.command == Command::IOCTL));
    let mut message = ioctl.expect("some session has an IOCTL").to_vec();
    assert!(IoctlRequest::decode(&message).is_ok());
    message[104..108].fill(0xff);
    assert!(IoctlRequest::decode(&message).is_err());
}
