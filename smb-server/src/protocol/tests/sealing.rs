//! Encryption: MS-SMB2 3.3.5.2.1.1 and 3.3.4.1.4.

use super::ask::Ask;
use super::client::Guard;
use super::pair::{LogOn, Pair, config, content, offer, perform};
use crate::protocol::{Config, Disconnect};
use crate::wire::dialect::Dialect;
use crate::wire::header::Command;
use crate::wire::negotiate_context::{Cipher, NegotiateContext};
use crate::wire::status::NtStatus;
use crate::wire::transform::TransformHeader;

const LATEST: Dialect = Dialect::SMB_3_1_1;

fn requiring() -> Config {
    Config { require_encryption: true, ..config() }
}

/// A logged-on pair for each way to encrypt.
fn every_cipher(config: impl Fn() -> Config) -> Vec<Pair> {
    let by_flag = [offer(&[Dialect::SMB_3_0]), offer(&[Dialect::SMB_3_0_2])];
    let ciphers =
        [Cipher::AES_128_CCM, Cipher::AES_128_GCM, Cipher::AES_256_CCM, Cipher::AES_256_GCM];
    let by_context = ciphers.map(|cipher| {
        let mut request = offer(&[LATEST]);
        request.contexts[1] = NegotiateContext::Encryption { ciphers: vec![cipher] };
        request
    });
    let requests = by_flag.into_iter().chain(by_context);
    requests.map(|request| Pair::logged_on_with(config(), &request)).collect()
}

#[test]
fn a_response_is_sealed_if_its_request_was() {
    for mut pair in every_cipher(config) {
        for length in [0, 1, 70_000] {
            let answer = pair.carry_out(Guard::Sealed, &[Ask::read(length)]);
            assert!(answer.sealed);
            assert_eq!(answer.one().payload(), content(length as usize));
            assert!(!pair.carry_out(Guard::Plain, &[Ask::read(length)]).sealed);
            assert!(!pair.carry_out(Guard::Signed, &[Ask::read(length)]).sealed);
        }
    }
}

#[test]
fn where_encryption_is_required_a_plain_request_is_refused_under_seal() {
    for mut pair in every_cipher(requiring) {
        // MS-SMB2 3.3.5.2.9: a signature is no substitute.
        for guard in [Guard::Plain, Guard::Signed] {
            pair.send(guard, &[Ask::read(1)]).unwrap();
            let answer = pair.answer();
            assert!(answer.sealed);
            assert_eq!(answer.one().status(), NtStatus::ACCESS_DENIED);
            pair.assert_silent();
        }
        assert_eq!(pair.ask(Guard::Sealed, Ask::echo()).status(), NtStatus::SUCCESS);
    }
}

#[test]
fn any_flipped_bit_ends_the_connection() {
    let message = |pair: &mut Pair| pair.client.encode(Guard::Sealed, &[Ask::echo()]);
    let length = message(&mut Pair::logged_on(config(), LATEST)).len();
    for byte in 4..length {
        let mut pair = Pair::logged_on(config(), LATEST);
        let mut message = message(&mut pair);
        message[byte] ^= 1 << (byte % 8);
        assert!(pair.deliver(&message).is_err(), "byte {byte}");
        pair.assert_silent();
    }
}

#[test]
fn a_seal_of_an_unknown_session_ends_the_connection() {
    let mut pair = Pair::logged_on(config(), LATEST);
    let mut message = pair.client.encode(Guard::Sealed, &[Ask::echo()]);
    message[TransformHeader::SIZE - 8..TransformHeader::SIZE].copy_from_slice(&[0x99; 8]);
    assert!(matches!(pair.deliver(&message), Err(Disconnect::Seal(_))));
    pair.assert_silent();
}

#[test]
fn a_seal_where_none_was_agreed_on_ends_the_connection() {
    let mut request = offer(&[LATEST]);
    request.contexts[1] = NegotiateContext::Encryption { ciphers: vec![Cipher(0x0777)] };
    let mut pair = Pair::logged_on_with(config(), &request);
    let session_id = pair.client.session_id;
    let mut message = pair.client.encode(Guard::Plain, &[Ask::echo()]);
    let mut header = Vec::new();
    let transform = TransformHeader { session_id, ..TransformHeader::default() };
    transform.encode(&mut crate::wire::codec::Writer::new(&mut header));
    message.splice(0..0, header);
    assert!(matches!(pair.deliver(&message), Err(Disconnect::Seal(_))));
}

#[test]
fn a_message_sealed_for_one_session_and_meant_for_another_ends_the_connection() {
    let two_sessions = || {
        let mut pair = Pair::logged_on(config(), LATEST);
        let alice = pair.client.session_id;
        pair.log_on(&LogOn { user: "bob", password: "secret2", ..LogOn::default() });
        pair.established().expect("a session");
        (pair, alice)
    };
    let other = |asks: &[Ask]| {
        let (mut pair, alice) = two_sessions();
        let plain = pair.client.plain(Guard::Sealed, asks);
        let message = pair.client.protect(Guard::Sealed, alice, plain);
        assert!(matches!(pair.deliver(&message), Err(Disconnect::Seal(_))), "{asks:?}");
        pair.assert_silent();
    };
    other(&[Ask::read(1)]);
    other(&[Ask::echo()]);
    other(&[Ask::read(1).session(0)]);
    other(&[Ask::read(1).related()]);
    other(&[Ask::cancel(3)]);
    let (_, alice) = two_sessions();
    other(&[Ask::echo().session(alice), Ask::echo()]);
}

#[test]
fn a_seal_inside_a_seal_ends_the_connection() {
    let mut pair = Pair::logged_on(config(), LATEST);
    let sealed = pair.client.encode(Guard::Sealed, &[Ask::echo()]);
    let twice = pair.client.protect(Guard::Sealed, pair.client.session_id, sealed);
    assert!(pair.deliver(&twice).is_err());
    pair.assert_silent();
}

#[test]
fn nonces_never_repeat() {
    // The client keeps all nonces and refuses the second of a kind.
    for mut pair in every_cipher(config) {
        for _ in 0..100 {
            assert_eq!(pair.ask(Guard::Sealed, Ask::echo()).status(), NtStatus::SUCCESS);
        }
    }
}

#[test]
fn a_logoff_is_answered_last_so_that_what_it_ends_is_still_sealed() {
    let mut pair = Pair::logged_on(config(), LATEST);
    let slow = pair.hand_out(Guard::Sealed, &[Ask::read(100)]);
    let logoff = pair.hand_out(Guard::Sealed, &[Ask::logoff()]);
    pair.server.handle_replies(pair.now.instant, logoff.id, perform(logoff));
    pair.assert_silent();
    assert!(!pair.server.is_idle());
    pair.server.handle_replies(pair.now.instant, slow.id, perform(slow));
    let answers = pair.answers();
    assert!(answers.iter().all(|answer| answer.sealed));
    let commands: Vec<_> = answers.into_iter().map(|answer| answer.one().header.command).collect();
    assert_eq!(commands, [Command::READ, Command::LOGOFF]);
    assert!(pair.server.is_idle() && !pair.server.moves_files());
}

#[test]
fn a_plain_compound_gets_a_sealed_answer_if_one_of_its_sessions_demands_it() {
    let mut pair = Pair::logged_on(requiring(), LATEST);
    pair.send(Guard::Plain, &[Ask::echo().session(0), Ask::read(1)]).unwrap();
    let answer = pair.answer();
    assert!(answer.sealed);
    assert_eq!(answer.statuses(), [NtStatus::SUCCESS, NtStatus::ACCESS_DENIED]);
}
