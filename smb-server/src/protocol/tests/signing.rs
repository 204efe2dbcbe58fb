//! Signatures: MS-SMB2 3.3.5.2.4 and 3.3.4.1.1.

use super::ask::Ask;
use super::client::Guard;
use super::pair::{DIALECTS, LogOn, Pair, config, offer};
use crate::protocol::{Config, Disconnect};
use crate::wire::dialect::Dialect;
use crate::wire::negotiate_context::{NegotiateContext, SigningAlgorithm};
use crate::wire::status::NtStatus;

/// A logged-on pair for each way to sign.
fn every_algorithm(config: impl Fn() -> Config) -> Vec<Pair> {
    let by_dialect = DIALECTS.map(|dialect| offer(&[dialect]));
    let by_context =
        [SigningAlgorithm::HMAC_SHA256, SigningAlgorithm::AES_CMAC, SigningAlgorithm::AES_GMAC]
            .map(|algorithm| {
                let mut request = offer(&[Dialect::SMB_3_1_1]);
                request.contexts[2] = NegotiateContext::Signing { algorithms: vec![algorithm] };
                request
            });
    let requests = by_dialect.into_iter().chain(by_context);
    requests.map(|request| Pair::logged_on_with(config(), &request)).collect()
}

fn requiring() -> Config {
    Config { require_signing: true, ..config() }
}

#[test]
fn a_response_is_signed_if_its_request_was() {
    for mut pair in every_algorithm(config) {
        assert!(pair.ask(Guard::Signed, Ask::echo()).is_signed());
        assert!(!pair.ask(Guard::Plain, Ask::echo()).is_signed());
        assert!(pair.carry_out(Guard::Signed, &[Ask::read(100)]).one().is_signed());
        assert!(!pair.carry_out(Guard::Plain, &[Ask::read(100)]).one().is_signed());
    }
}

#[test]
fn a_bad_signature_is_refused_and_nothing_is_carried_out() {
    for mut pair in every_algorithm(config) {
        for (at, what) in [(63, "the signature"), (36, "the header"), (80, "the body")] {
            let mut message = pair.client.encode(Guard::Signed, &[Ask::read(100)]);
            message[at] ^= 0x10;
            pair.deliver(&message).unwrap();
            let response = pair.answer().one();
            assert_eq!(response.status(), NtStatus::ACCESS_DENIED, "{what}");
            assert!(response.is_signed(), "the key is known");
            pair.assert_silent();
        }
    }
}

#[test]
fn an_unsigned_request_is_refused_where_signing_is_required() {
    for mut pair in every_algorithm(requiring) {
        for ask in [Ask::echo(), Ask::read(1), Ask::logoff()] {
            let response = pair.ask(Guard::Plain, ask);
            assert_eq!(response.status(), NtStatus::ACCESS_DENIED);
            assert!(response.is_signed());
        }
        assert_eq!(pair.ask(Guard::Signed, Ask::echo()).status(), NtStatus::SUCCESS);
    }
}

#[test]
fn authenticating_again_is_no_way_around_required_signing() {
    let mut pair = Pair::logged_on(requiring(), Dialect::SMB_3_1_1);
    let session_id = pair.client.session_id;
    let (response, _) = pair.log_on_begin(&LogOn { session_id, ..LogOn::default() });
    assert_eq!(response.status(), NtStatus::ACCESS_DENIED);
    assert_eq!(pair.ask(Guard::Signed, Ask::echo()).status(), NtStatus::SUCCESS);
    let again = LogOn { session_id, guard: Guard::Signed, ..LogOn::default() };
    assert_eq!(pair.log_on(&again).status(), NtStatus::SUCCESS);
}

#[test]
fn a_request_signed_for_one_session_is_not_good_for_another() {
    let mut pair = Pair::logged_on(config(), Dialect::SMB_3_1_1);
    let alice = pair.client.session_id;
    pair.log_on(&LogOn { user: "bob", password: "secret2", ..LogOn::default() });
    pair.established().expect("a session");
    let plain = pair.client.plain(Guard::Signed, &[Ask::read(1)]);
    let message = pair.client.protect(Guard::Signed, alice, plain);
    pair.deliver(&message).unwrap();
    assert_eq!(pair.answer().one().status(), NtStatus::ACCESS_DENIED);
}

#[test]
fn an_unprotected_tree_connect_ends_a_3_1_1_connection() {
    // MS-SMB2 3.3.5.7.
    for dialect in DIALECTS {
        let mut pair = Pair::logged_on(config(), dialect);
        let outcome = pair.send(Guard::Plain, &[Ask::tree_connect(r"\\srv\share")]);
        match dialect {
            Dialect::SMB_3_1_1 => assert!(matches!(outcome, Err(Disconnect::Violation(_)))),
            _ => outcome.unwrap(),
        }
    }
    let mut pair = Pair::logged_on(config(), Dialect::SMB_3_1_1);
    assert!(
        !pair.hand_out(Guard::Sealed, &[Ask::tree_connect(r"\\srv\share")]).elements.is_empty()
    );
}

#[test]
fn an_error_is_signed_like_a_success() {
    let mut pair = Pair::logged_on(config(), Dialect::SMB_3_1_1);
    // Too small a charge, MS-SMB2 3.3.5.2.5.
    let response = pair.ask(Guard::Signed, Ask::read(65_537).charge(1));
    assert_eq!(response.status(), NtStatus::INVALID_PARAMETER);
    assert!(response.is_signed());
}

#[test]
fn a_signature_for_a_session_that_is_gone_is_no_reason_to_sign() {
    let mut pair = Pair::logged_on(config(), Dialect::SMB_3_1_1);
    let plain = pair.client.plain(Guard::Signed, &[Ask::read(1).session(0x9999)]);
    let message = pair.client.protect(Guard::Signed, pair.client.session_id, plain);
    pair.deliver(&message).unwrap();
    let response = pair.answer().one();
    assert_eq!(response.status(), NtStatus::USER_SESSION_DELETED);
    assert!(!response.is_signed());
}
