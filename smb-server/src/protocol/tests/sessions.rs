//! SESSION_SETUP and LOGOFF: MS-SMB2 3.3.5.5 and 3.3.5.6.

use super::ask::Ask;
use super::client::Guard;
use super::pair::{LogOn, Pair, config, offer, perform};
use crate::auth::Principal;
use crate::protocol::{Config, Event};
use crate::wire::dialect::Dialect;
use crate::wire::header::HeaderFlags;
use crate::wire::negotiate::{NegotiateRequest, SecurityMode};
use crate::wire::session_setup::{
    SessionFlags, SessionSetupFlags, SessionSetupRequest, SessionSetupResponse,
};
use crate::wire::status::NtStatus;

const LATEST: Dialect = Dialect::SMB_3_1_1;

fn wrong() -> LogOn {
    LogOn { password: "Secret", ..LogOn::default() }
}

/// Alice again, in the session that she has.
fn again(pair: &Pair) -> LogOn {
    LogOn { session_id: pair.client.session_id, guard: Guard::Signed, ..LogOn::default() }
}

#[test]
fn a_logon_ends_with_a_signed_success_and_announces_the_session() {
    let mut pair = Pair::negotiated(config(), &offer(&[LATEST]));
    let (first, mut exchange) = pair.log_on_begin(&LogOn::default());
    assert_eq!(first.status(), NtStatus::MORE_PROCESSING_REQUIRED);
    assert_ne!(first.header.session_id, 0);
    assert!(!first.is_signed());
    assert!(pair.established().is_none(), "not yet");
    let last = pair.log_on_finish(&mut exchange);
    assert!(last.is_signed());
    assert_eq!(last.header.session_id, first.header.session_id);
    let body = last.body(SessionSetupResponse::decode);
    assert_eq!(body.session_flags, SessionFlags::empty());
    let established = pair.established().expect("a session");
    assert_eq!(established.session_id, last.header.session_id);
    assert_eq!(established.principal, Principal::User("Alice".into()));
    assert_eq!(established.previous_session_id, 0);
}

#[test]
fn a_wrong_password_is_refused_and_the_right_one_still_works_after_it() {
    let mut pair = Pair::negotiated(config(), &offer(&[LATEST]));
    let refused = pair.log_on(&wrong());
    assert_eq!(refused.status(), NtStatus::LOGON_FAILURE);
    assert!(!refused.is_signed());
    pair.assert_silent();
    let nobody = LogOn { user: "mallory", ..LogOn::default() };
    assert_eq!(pair.log_on(&nobody).status(), NtStatus::LOGON_FAILURE);
    assert_eq!(pair.log_on(&LogOn::default()).status(), NtStatus::SUCCESS);
    assert_eq!(pair.ask(Guard::Signed, Ask::echo()).status(), NtStatus::SUCCESS);
}

#[test]
fn a_failed_exchange_cannot_be_continued() {
    let mut pair = Pair::negotiated(config(), &offer(&[LATEST]));
    let (_, mut exchange) = pair.log_on_begin(&wrong());
    assert_eq!(pair.log_on_finish(&mut exchange).status(), NtStatus::LOGON_FAILURE);
    let message = exchange.request(&mut pair.client);
    pair.deliver(&message).unwrap();
    assert_eq!(pair.answer().one().status(), NtStatus::USER_SESSION_DELETED);
}

#[test]
fn an_unknown_session_has_been_deleted() {
    let mut pair = Pair::logged_on(config(), LATEST);
    for ask in [Ask::read(1), Ask::logoff(), Ask::tree_connect(r"\\srv\share")] {
        let response = pair.ask(Guard::Plain, ask.session(0x9999));
        assert_eq!(response.status(), NtStatus::USER_SESSION_DELETED);
    }
    let setup = LogOn { session_id: 0x9999, ..LogOn::default() };
    assert_eq!(pair.log_on(&setup).status(), NtStatus::USER_SESSION_DELETED);
    pair.assert_silent();
}

#[test]
fn a_session_is_not_there_before_its_logon_is_done() {
    let mut pair = Pair::negotiated(config(), &offer(&[LATEST]));
    let (first, _) = pair.log_on_begin(&LogOn::default());
    let ask = Ask::tree_connect(r"\\srv\share").session(first.header.session_id);
    assert_eq!(pair.ask(Guard::Plain, ask).status(), NtStatus::USER_SESSION_DELETED);
}

#[test]
fn a_channel_is_not_bound() {
    // MS-SMB2 3.3.5.5: without multichannel, STATUS_REQUEST_NOT_ACCEPTED.
    let mut pair = Pair::logged_on(config(), LATEST);
    let request = SessionSetupRequest {
        flags: SessionSetupFlags::BINDING,
        security_buffer: vec![0x60],
        ..SessionSetupRequest::default()
    };
    let response = pair.ask(Guard::Signed, Ask::session_setup(&request));
    assert_eq!(response.status(), NtStatus::REQUEST_NOT_ACCEPTED);
    assert_eq!(pair.ask(Guard::Signed, Ask::echo()).status(), NtStatus::SUCCESS);
}

#[test]
fn a_session_can_be_authenticated_again_and_keeps_its_keys() {
    for dialect in [Dialect::SMB_2_1, Dialect::SMB_3_0, LATEST] {
        for guard in [Guard::Plain, Guard::Signed, Guard::Sealed] {
            if guard == Guard::Sealed && dialect == Dialect::SMB_2_1 {
                continue;
            }
            let mut pair = Pair::logged_on(config(), dialect);
            let session_id = pair.client.session_id;
            let response = pair.log_on(&LogOn { guard, ..again(&pair) });
            assert_eq!(response.status(), NtStatus::SUCCESS, "{dialect:?} {guard:?}");
            assert_eq!(response.header.session_id, session_id);
            // The client still has the keys of the first logon only.
            let echo = pair.ask(Guard::Signed, Ask::echo());
            assert!(echo.is_signed());
            pair.assert_silent();
        }
    }
}

#[test]
fn every_response_to_a_signed_step_of_authenticating_again_is_signed() {
    // MS-SMB2 3.3.4.1.1: the request was signed and there is a key.
    let mut pair = Pair::logged_on(config(), LATEST);
    let (first, mut exchange) = pair.log_on_begin(&again(&pair));
    assert_eq!(first.status(), NtStatus::MORE_PROCESSING_REQUIRED);
    assert!(first.is_signed());
    assert!(pair.log_on_finish(&mut exchange).is_signed());
}

#[test]
fn authenticating_again_as_somebody_else_or_in_vain_ends_the_session() {
    let bob = ("bob", "secret2", NtStatus::ACCESS_DENIED);
    let typo = ("alice", "Secret", NtStatus::LOGON_FAILURE);
    for (user, password, status) in [bob, typo] {
        for guard in [Guard::Signed, Guard::Sealed] {
            let mut pair = Pair::logged_on(config(), LATEST);
            let session_id = pair.client.session_id;
            let (_, mut exchange) =
                pair.log_on_begin(&LogOn { user, password, guard, ..again(&pair) });
            let message = exchange.request(&mut pair.client);
            pair.deliver(&message).unwrap();
            // The refusal still goes out under the keys that the request came under.
            let answer = pair.answer();
            assert_eq!(answer.sealed, guard == Guard::Sealed);
            let response = answer.one();
            assert_eq!(response.status(), status);
            assert_eq!(response.is_signed(), guard == Guard::Signed);
            let event = pair.server.poll_event();
            assert!(matches!(event, Some(Event::Ended(id)) if id == session_id), "{event:?}");
            exchange.token.clear();
            let response = pair.ask(Guard::Plain, Ask::read(1));
            assert_eq!(response.status(), NtStatus::USER_SESSION_DELETED);
        }
    }
}

#[test]
fn a_forged_signature_on_session_setup_is_refused_and_harms_nobody() {
    // MS-SMB2 3.3.5.2.4 makes no exception for SESSION_SETUP.
    let mut pair = Pair::logged_on(config(), LATEST);
    let junk = SessionSetupRequest { security_buffer: vec![0x60], ..Default::default() };
    let mut message = pair.client.encode(Guard::Signed, &[Ask::session_setup(&junk)]);
    message[50] ^= 1;
    pair.deliver(&message).unwrap();
    assert_eq!(pair.answer().one().status(), NtStatus::ACCESS_DENIED);
    pair.assert_silent();
    assert_eq!(pair.ask(Guard::Signed, Ask::echo()).status(), NtStatus::SUCCESS);
}

#[test]
fn a_session_setup_that_continues_nothing_is_refused() {
    // MS-SMB2 3.3.5.2.7.2: the first request of a message has nothing to be related to.
    let mut pair = Pair::logged_on(config(), LATEST);
    let request = SessionSetupRequest { security_buffer: vec![0x60], ..Default::default() };
    let ask = Ask { flags: HeaderFlags::RELATED_OPERATIONS, ..Ask::session_setup(&request) };
    assert_eq!(pair.ask(Guard::Signed, ask).status(), NtStatus::INVALID_PARAMETER);
    assert_eq!(pair.ask(Guard::Signed, Ask::echo()).status(), NtStatus::SUCCESS);
}

#[test]
fn a_connection_has_a_limit_of_logons_under_way() {
    let mut pair = Pair::negotiated(config(), &offer(&[LATEST]));
    for _ in 0..16 {
        let (response, _) = pair.log_on_begin(&LogOn::default());
        assert_eq!(response.status(), NtStatus::MORE_PROCESSING_REQUIRED);
    }
    let (response, _) = pair.log_on_begin(&LogOn::default());
    assert_eq!(response.status(), NtStatus::INSUFFICIENT_RESOURCES);
}

#[test]
fn a_connection_has_a_limit_of_sessions_and_who_is_in_may_authenticate_again() {
    let config = Config { sessions_max: 2, ..config() };
    let mut pair = Pair::logged_on(config, LATEST);
    assert_eq!(pair.log_on(&LogOn::default()).status(), NtStatus::SUCCESS);
    pair.established().expect("a second session");
    assert_eq!(pair.log_on(&LogOn::default()).status(), NtStatus::INSUFFICIENT_RESOURCES);
    assert_eq!(pair.log_on(&again(&pair)).status(), NtStatus::SUCCESS);
}

#[test]
fn the_session_that_a_client_had_before_is_passed_up() {
    let mut pair = Pair::negotiated(config(), &offer(&[LATEST]));
    pair.log_on(&LogOn { previous_session_id: 0x1234, ..LogOn::default() });
    assert_eq!(pair.established().expect("a session").previous_session_id, 0x1234);
}

#[test]
fn a_server_that_requires_encryption_takes_only_clients_that_can() {
    let config = || Config { require_encryption: true, ..config() };
    let no_cipher = |dialect| {
        let mut request = offer(&[dialect]);
        request.capabilities =
            request.capabilities.difference(crate::wire::negotiate::Capabilities::ENCRYPTION);
        request.contexts.remove(1);
        request
    };
    let unable: [NegotiateRequest; 4] = [
        offer(&[Dialect::SMB_2_0_2]),
        offer(&[Dialect::SMB_2_1]),
        no_cipher(Dialect::SMB_3_0),
        no_cipher(LATEST),
    ];
    for request in unable {
        let mut pair = Pair::negotiated(config(), &request);
        assert_eq!(pair.log_on(&LogOn::default()).status(), NtStatus::ACCESS_DENIED);
        assert!(pair.established().is_none());
    }
    for dialect in [Dialect::SMB_3_0, Dialect::SMB_3_0_2, LATEST] {
        let mut pair = Pair::negotiated(config(), &offer(&[dialect]));
        let body = pair.log_on(&LogOn::default()).body(SessionSetupResponse::decode);
        // MS-SMB2 3.3.5.5.3: Session.EncryptData is told by a flag.
        assert_eq!(body.session_flags, SessionFlags::ENCRYPT_DATA);
    }
}

#[test]
fn a_logoff_is_answered_under_the_keys_that_it_ends() {
    for guard in [Guard::Signed, Guard::Sealed] {
        let mut pair = Pair::logged_on(config(), LATEST);
        let answer = pair.carry_out(guard, &[Ask::logoff()]);
        assert_eq!(answer.sealed, guard == Guard::Sealed);
        let response = answer.one();
        assert_eq!(response.status(), NtStatus::SUCCESS);
        assert_eq!(response.is_signed(), guard == Guard::Signed);
        pair.assert_silent();
        let response = pair.ask(Guard::Plain, Ask::read(1));
        assert_eq!(response.status(), NtStatus::USER_SESSION_DELETED);
        assert!(pair.send(Guard::Sealed, &[Ask::echo()]).is_err());
    }
}

#[test]
fn a_logoff_ends_a_reauthentication_that_is_under_way() {
    let mut pair = Pair::logged_on(config(), LATEST);
    let (first, exchange) = pair.log_on_begin(&again(&pair));
    assert_eq!(first.status(), NtStatus::MORE_PROCESSING_REQUIRED);
    pair.carry_out(Guard::Signed, &[Ask::logoff()]);
    let message = exchange.request(&mut pair.client);
    pair.deliver(&message).unwrap();
    assert_eq!(pair.answer().one().status(), NtStatus::USER_SESSION_DELETED);
    assert!(pair.established().is_none(), "the session does not come back");
}

#[test]
fn sessions_of_one_connection_have_keys_of_their_own() {
    let mut pair = Pair::logged_on(config(), LATEST);
    let alice = pair.client.session_id;
    let bob = LogOn { user: "bob", password: "secret2", ..LogOn::default() };
    assert_eq!(pair.log_on(&bob).status(), NtStatus::SUCCESS);
    assert_eq!(pair.established().expect("a session").principal, Principal::User("Bob".into()));
    assert_ne!(pair.client.session_id, alice);
    for session_id in [alice, pair.client.session_id] {
        let chain = pair.hand_out(Guard::Signed, &[Ask::read(10).session(session_id)]);
        assert_eq!(chain.elements[0].session_id, session_id);
        assert!(pair.reply(chain.id, perform(chain)).one().is_signed());
    }
}

#[test]
fn a_client_that_requires_signing_is_held_to_it() {
    let mut pair = Pair::negotiated(config(), &offer(&[LATEST]));
    let security_mode = SecurityMode::SIGNING_REQUIRED;
    pair.log_on(&LogOn { security_mode, ..LogOn::default() });
    pair.established().expect("a session");
    let response = pair.ask(Guard::Plain, Ask::read(1));
    assert_eq!(response.status(), NtStatus::ACCESS_DENIED);
    assert!(response.is_signed());
}
