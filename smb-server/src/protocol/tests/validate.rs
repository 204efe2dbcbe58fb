//! FSCTL_VALIDATE_NEGOTIATE_INFO: MS-SMB2 3.3.5.15.12.

use super::ask::Ask;
use super::client::Guard;
use super::pair::{Pair, SERVER_GUID, config, offer};
use crate::protocol::Disconnect;
use crate::wire::codec::Reader;
use crate::wire::dialect::Dialect;
use crate::wire::guid::Guid;
use crate::wire::ioctl::{CtlCode, IoctlResponse};
use crate::wire::negotiate::{Capabilities, NegotiateRequest, SecurityMode};
use crate::wire::status::NtStatus;
use crate::wire::validate_negotiate::{
    ValidateNegotiateInfoRequest, ValidateNegotiateInfoResponse,
};

/// Bytes of the answer, MS-SMB2 2.2.32.6.
const ANSWER: u32 = 24;

fn asked() -> NegotiateRequest {
    offer(&[Dialect::SMB_2_1, Dialect::SMB_3_0])
}

/// The same, said again.
fn claim() -> ValidateNegotiateInfoRequest {
    let NegotiateRequest { capabilities, client_guid, security_mode, dialects, .. } = asked();
    ValidateNegotiateInfoRequest { capabilities, client_guid, security_mode, dialects }
}

#[test]
fn what_was_negotiated_is_confirmed_under_a_signature() {
    let mut pair = Pair::logged_on_with(config(), &asked());
    let response = pair.ask(Guard::Signed, Ask::validate(&claim(), ANSWER));
    assert_eq!(response.status(), NtStatus::SUCCESS);
    assert!(response.is_signed());
    let body = response.body(IoctlResponse::decode);
    assert_eq!(body.ctl_code, CtlCode::FSCTL_VALIDATE_NEGOTIATE_INFO);
    assert_eq!(body.output.len(), ANSWER as usize);
    let answer = ValidateNegotiateInfoResponse::decode(&body.output).unwrap();
    let expected = ValidateNegotiateInfoResponse {
        capabilities: Capabilities::LARGE_MTU | Capabilities::ENCRYPTION,
        server_guid: SERVER_GUID,
        security_mode: SecurityMode::SIGNING_ENABLED,
        dialect: Dialect::SMB_3_0,
    };
    assert_eq!(answer, expected);
    // Nothing follows the four fields.
    let mut r = Reader::new(&body.output, "answer");
    r.skip(ANSWER as usize).unwrap();
    r.finish().unwrap();
}

#[test]
fn any_difference_to_what_was_negotiated_ends_the_connection() {
    let capabilities = claim().capabilities - Capabilities::ENCRYPTION;
    let security_mode = SecurityMode::SIGNING_ENABLED | SecurityMode::SIGNING_REQUIRED;
    let tampered = [
        ValidateNegotiateInfoRequest { capabilities, ..claim() },
        ValidateNegotiateInfoRequest { client_guid: Guid([0xc2; 16]), ..claim() },
        ValidateNegotiateInfoRequest { security_mode, ..claim() },
        // The client offered 3.1.1 and it was taken out on the way.
        ValidateNegotiateInfoRequest {
            dialects: vec![Dialect::SMB_3_0, Dialect::SMB_3_1_1],
            ..claim()
        },
        ValidateNegotiateInfoRequest { dialects: vec![Dialect::SMB_2_1], ..claim() },
        ValidateNegotiateInfoRequest { dialects: vec![], ..claim() },
    ];
    for claim in tampered {
        let mut pair = Pair::logged_on_with(config(), &asked());
        let error = pair.ask_in_vain(Guard::Signed, &[Ask::validate(&claim, ANSWER)]);
        assert!(matches!(error, Disconnect::Downgrade(_)), "{claim:?}");
    }
}

#[test]
fn in_3_1_1_nobody_asks_and_who_does_is_cut_off() {
    let mut pair = Pair::logged_on(config(), Dialect::SMB_3_1_1);
    let error = pair.ask_in_vain(Guard::Signed, &[Ask::validate(&claim(), ANSWER)]);
    assert!(matches!(error, Disconnect::Downgrade(_)));
}

#[test]
fn without_room_for_the_answer_the_connection_ends() {
    let mut pair = Pair::logged_on_with(config(), &asked());
    pair.ask_in_vain(Guard::Signed, &[Ask::validate(&claim(), ANSWER - 1)]);
}

#[test]
fn a_claim_that_breaks_off_ends_the_connection() {
    let mut pair = Pair::logged_on_with(config(), &asked());
    let mut ask = Ask::validate(&claim(), ANSWER);
    // MS-SMB2 2.2.31: InputCount, counted without the header.
    ask.body[28..32].copy_from_slice(&20_u32.to_le_bytes());
    pair.ask_in_vain(Guard::Signed, &[ask]);
}

#[test]
fn a_forged_claim_is_not_looked_at() {
    let mut pair = Pair::logged_on_with(config(), &asked());
    let wrong = ValidateNegotiateInfoRequest { dialects: vec![], ..claim() };
    let mut message = pair.client.encode(Guard::Signed, &[Ask::validate(&wrong, ANSWER)]);
    message[48] ^= 1;
    pair.deliver(&message).unwrap();
    assert_eq!(pair.answer().one().status(), NtStatus::ACCESS_DENIED);
}
