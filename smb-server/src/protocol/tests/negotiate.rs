//! NEGOTIATE: MS-SMB2 3.3.5.2 to 3.3.5.4.

use super::ask::Ask;
use super::client::Guard;
use super::pair::{DIALECTS, LogOn, MIB, Pair, SERVER_GUID, config, offer, perform, preauth};
use crate::auth::Principal;
use crate::protocol::{Disconnect, Request, Work};
use crate::wire::codec::Writer;
use crate::wire::dialect::Dialect;
use crate::wire::header::HeaderFlags;
use crate::wire::negotiate::{Capabilities, NegotiateRequest, NegotiateResponse, SecurityMode};
use crate::wire::negotiate_context::{Cipher, HashAlgorithm, NegotiateContext, SigningAlgorithm};
use crate::wire::session_setup::SessionSetupRequest;
use crate::wire::smb1_negotiate::Smb1NegotiateRequest;
use crate::wire::status::NtStatus;

fn smb1(dialects: &[&str]) -> Vec<u8> {
    let dialects = dialects.iter().map(|dialect| (*dialect).to_owned()).collect();
    let mut message = Vec::new();
    Smb1NegotiateRequest { dialects }.encode(&mut Writer::new(&mut message));
    message
}

/// A 3.1.1 offer with these contexts.
fn offer_3_1_1(contexts: Vec<NegotiateContext>) -> NegotiateRequest {
    NegotiateRequest { contexts, ..offer(&[Dialect::SMB_3_1_1]) }
}

/// What the server makes of an offer.
fn negotiated(request: &NegotiateRequest) -> NegotiateResponse {
    let response = Pair::new(config()).negotiate(request);
    assert_eq!(response.status(), NtStatus::SUCCESS);
    response.body(NegotiateResponse::decode)
}

fn refused(request: &NegotiateRequest) -> NtStatus {
    Pair::new(config()).negotiate(request).status()
}

#[test]
fn every_dialect_leads_from_negotiate_to_a_tree() {
    for dialect in DIALECTS {
        let mut pair = Pair::negotiated(config(), &offer(&[dialect]));
        assert_eq!(pair.server.dialect(), Some(dialect));
        let accepted = pair.log_on(&LogOn::default());
        assert_eq!(accepted.status(), NtStatus::SUCCESS, "{dialect:?}");
        // MS-SMB2 3.3.5.5.3: the last response of a logon is signed, whatever the dialect.
        assert!(accepted.is_signed(), "{dialect:?}");
        assert_eq!(
            pair.established().expect("a session").principal,
            Principal::User("Alice".into())
        );

        let chain = pair.hand_out(Guard::Signed, &[Ask::tree_connect(r"\\srv\share")]);
        let [element] = chain.elements.as_slice() else { panic!("one element") };
        let Work::Execute(Request::TreeConnect(request)) = &element.work else {
            panic!("a TREE_CONNECT")
        };
        assert_eq!(request.path.to_string_strict().as_deref(), Some(r"\\srv\share"));
        assert_eq!(element.session_id, accepted.header.session_id);
        let response = pair.reply(chain.id, perform(chain)).one();
        assert_eq!(response.header.tree_id(), Some(7), "the TreeId is in the header");
        assert!(response.is_signed());
    }
}

#[test]
fn an_answer_says_what_its_dialect_can_do() {
    // MS-SMB2 3.3.5.4: no multi-credit in 2.0.2; encryption by flag in 3.0 and 3.0.2 only.
    let large = Capabilities::LARGE_MTU;
    let expected = [
        (Dialect::SMB_2_0_2, Capabilities::empty(), 65_536),
        (Dialect::SMB_2_1, large, 8 * MIB),
        (Dialect::SMB_3_0, large | Capabilities::ENCRYPTION, 8 * MIB),
        (Dialect::SMB_3_0_2, large | Capabilities::ENCRYPTION, 8 * MIB),
        (Dialect::SMB_3_1_1, large, 8 * MIB),
    ];
    for (dialect, capabilities, size) in expected {
        let response = negotiated(&offer(&[dialect]));
        assert_eq!(response.dialect, dialect);
        assert_eq!(response.capabilities, capabilities, "{dialect:?}");
        assert_eq!(
            [response.max_transact_size, response.max_read_size, response.max_write_size],
            [size; 3],
            "{dialect:?}"
        );
        assert_eq!(response.security_mode, SecurityMode::SIGNING_ENABLED);
        assert_eq!(response.server_guid, SERVER_GUID);
        assert_eq!(response.contexts.is_empty(), dialect != Dialect::SMB_3_1_1);
    }
}

#[test]
fn a_client_that_cannot_encrypt_is_not_told_of_encryption() {
    let capabilities = Capabilities::LARGE_MTU;
    let request = NegotiateRequest { capabilities, ..offer(&[Dialect::SMB_3_0]) };
    assert_eq!(negotiated(&request).capabilities, Capabilities::LARGE_MTU);
}

#[test]
fn a_server_that_requires_signing_says_so() {
    let config = crate::protocol::Config { require_signing: true, ..config() };
    let response = Pair::new(config).negotiate(&offer(&[Dialect::SMB_2_1]));
    let both = SecurityMode::SIGNING_ENABLED | SecurityMode::SIGNING_REQUIRED;
    assert_eq!(response.body(NegotiateResponse::decode).security_mode, both);
}

#[test]
fn the_highest_common_dialect_wins() {
    let unknown = Dialect(0x0399);
    assert_eq!(negotiated(&offer(&DIALECTS)).dialect, Dialect::SMB_3_1_1);
    for (offered, chosen) in [
        (vec![Dialect::SMB_3_0, Dialect::SMB_2_0_2, Dialect::SMB_2_1], Dialect::SMB_3_0),
        (vec![unknown, Dialect::SMB_2_1], Dialect::SMB_2_1),
    ] {
        assert_eq!(negotiated(&offer(&offered)).dialect, chosen);
    }
}

#[test]
fn no_dialects_or_only_unknown_ones_are_refused() {
    assert_eq!(refused(&offer(&[])), NtStatus::INVALID_PARAMETER);
    assert_eq!(refused(&offer(&[Dialect(0x0399)])), NtStatus::NOT_SUPPORTED);
}

#[test]
fn a_signed_negotiate_is_refused() {
    let mut pair = Pair::new(config());
    let ask = Ask { flags: HeaderFlags::SIGNED, ..Ask::negotiate(&offer(&DIALECTS)) };
    let mut message = pair.client.encode(Guard::Plain, &[ask]);
    message[16..20].copy_from_slice(&HeaderFlags::SIGNED.bits().to_le_bytes());
    pair.deliver(&message).unwrap();
    let response = pair.answer().one();
    assert_eq!(response.status(), NtStatus::INVALID_PARAMETER);
    assert!(!response.is_signed());
}

// ---- contexts of 3.1.1

#[test]
fn preauthentication_integrity_is_not_optional() {
    let encryption = NegotiateContext::Encryption { ciphers: vec![Cipher::AES_128_GCM] };
    assert_eq!(refused(&offer_3_1_1(vec![encryption])), NtStatus::INVALID_PARAMETER);
    assert_eq!(refused(&offer_3_1_1(Vec::new())), NtStatus::INVALID_PARAMETER);
}

#[test]
fn without_sha_512_there_is_no_hash_in_common() {
    let other = preauth(&[HashAlgorithm(0x0777)]);
    assert_eq!(refused(&offer_3_1_1(vec![other])), NtStatus::SMB_NO_PREAUTH_INTEGRITY_HASH_OVERLAP);
}

#[test]
fn a_context_may_not_come_twice() {
    for twice in offer(&[Dialect::SMB_3_1_1]).contexts {
        let mut request = offer(&[Dialect::SMB_3_1_1]);
        request.contexts.push(twice.clone());
        assert_eq!(refused(&request), NtStatus::INVALID_PARAMETER, "{twice:?}");
    }
}

#[test]
fn the_answer_to_preauthentication_integrity_has_one_hash_and_a_salt_of_its_own() {
    let salt = || {
        let response = negotiated(&offer_3_1_1(vec![preauth(&[
            HashAlgorithm(0x0777),
            HashAlgorithm::SHA_512,
        ])]));
        let [NegotiateContext::PreauthIntegrity { hash_algorithms, salt }] =
            response.contexts.as_slice()
        else {
            panic!("one context for one context, not {:?}", response.contexts)
        };
        assert_eq!(*hash_algorithms, [HashAlgorithm::SHA_512]);
        assert!(!salt.is_empty());
        salt.clone()
    };
    assert_ne!(salt(), salt());
}

#[test]
fn each_cipher_can_be_agreed_on_and_none_in_common_is_no_error() {
    let unknown = Cipher(0x0777);
    let all = [Cipher::AES_128_CCM, Cipher::AES_128_GCM, Cipher::AES_256_CCM, Cipher::AES_256_GCM];
    let alone = all.map(|cipher| (vec![unknown, cipher], cipher));
    for (ciphers, chosen) in alone.into_iter().chain([(vec![unknown], Cipher::NONE)]) {
        let context = NegotiateContext::Encryption { ciphers };
        let request = offer_3_1_1(vec![preauth(&[HashAlgorithm::SHA_512]), context]);
        let answer = NegotiateContext::Encryption { ciphers: vec![chosen] };
        assert_eq!(negotiated(&request).contexts[1..], [answer]);
    }
}

#[test]
fn a_signing_algorithm_in_common_is_named_and_another_is_passed_over() {
    let unknown = SigningAlgorithm(0x0777);
    let all =
        [SigningAlgorithm::HMAC_SHA256, SigningAlgorithm::AES_CMAC, SigningAlgorithm::AES_GMAC];
    let alone = all.map(|algorithm| (vec![unknown, algorithm], Some(algorithm)));
    for (algorithms, chosen) in alone.into_iter().chain([(vec![unknown], None)]) {
        let context = NegotiateContext::Signing { algorithms };
        let request = offer_3_1_1(vec![preauth(&[HashAlgorithm::SHA_512]), context]);
        let answer = chosen.map(|it| NegotiateContext::Signing { algorithms: vec![it] });
        assert_eq!(negotiated(&request).contexts[1..], Vec::from_iter(answer));
    }
}

// ---- SMB1

#[test]
fn an_smb1_client_is_asked_to_go_on_in_smb2_and_uses_message_one() {
    let mut pair = Pair::new(config());
    pair.deliver(&smb1(&["NT LM 0.12", "SMB 2.002", "SMB 2.???"])).unwrap();
    let response = pair.answer().one();
    // MS-SMB2 3.3.5.3.1, and 3.2.5.2 for the id of what follows.
    let body = response.body(NegotiateResponse::decode);
    assert_eq!(body.dialect, Dialect::SMB_2_WILDCARD);
    assert_eq!((response.header.message_id, response.header.credits), (0, 1));
    assert_eq!(pair.server.dialect(), None);

    pair.client = super::client::Client::new();
    let request = Ask::negotiate(&offer(&[Dialect::SMB_3_1_1])).message_id(1);
    let message = pair.client.encode(Guard::Plain, &[request]);
    pair.deliver(&message).unwrap();
    let response = pair.answer().one();
    pair.client.settle(&message, &response);
    pair.client.start_at(2);
    assert_eq!(pair.log_on(&LogOn::default()).status(), NtStatus::SUCCESS);
}

#[test]
fn an_smb1_client_that_knows_2_0_2_only_has_negotiated() {
    let mut pair = Pair::new(config());
    pair.deliver(&smb1(&["NT LM 0.12", "SMB 2.002"])).unwrap();
    let response = pair.answer().one();
    assert_eq!(response.body(NegotiateResponse::decode).dialect, Dialect::SMB_2_0_2);
    assert_eq!(pair.server.dialect(), Some(Dialect::SMB_2_0_2));
    pair.client.settle(&[], &response);
    pair.client.start_at(1);
    assert_eq!(pair.log_on(&LogOn::default()).status(), NtStatus::SUCCESS);
}

#[test]
fn smb1_without_a_way_to_smb2_ends_the_connection() {
    for dialects in [&["NT LM 0.12"][..], &[]] {
        let error = Pair::new(config()).deliver(&smb1(dialects));
        assert!(matches!(error, Err(Disconnect::Violation(_))));
    }
}

#[test]
fn smb1_comes_first_and_once_or_ends_the_connection() {
    let mut pair = Pair::new(config());
    pair.deliver(&smb1(&["SMB 2.???"])).unwrap();
    pair.answer();
    assert!(pair.deliver(&smb1(&["SMB 2.???"])).is_err());

    let mut pair = Pair::negotiated(config(), &offer(&DIALECTS));
    assert!(pair.deliver(&smb1(&["SMB 2.???"])).is_err());
    pair.assert_silent();
}

// ---- order

#[test]
fn a_second_negotiate_ends_the_connection() {
    let again = Ask::negotiate(&offer(&DIALECTS));
    let mut pair = Pair::negotiated(config(), &offer(&[Dialect::SMB_3_1_1]));
    pair.ask_in_vain(Guard::Plain, std::slice::from_ref(&again));

    let mut pair = Pair::new(config());
    pair.deliver(&smb1(&["SMB 2.002"])).unwrap();
    pair.answer();
    pair.ask_in_vain(Guard::Plain, &[again.clone().message_id(1)]);

    // In company it is no better.
    let mut pair = Pair::logged_on(config(), Dialect::SMB_3_1_1);
    pair.ask_in_vain(Guard::Signed, &[again.clone(), Ask::echo()]);
    let mut pair = Pair::logged_on(config(), Dialect::SMB_3_1_1);
    pair.ask_in_vain(Guard::Signed, &[Ask::echo(), again]);
}

#[test]
fn anything_before_negotiate_ends_the_connection() {
    let setup = SessionSetupRequest { security_buffer: vec![0x60], ..Default::default() };
    let early = [
        Ask::echo(),
        Ask::session_setup(&setup),
        Ask::tree_connect(r"\\srv\share"),
        Ask::logoff(),
        Ask::cancel(0),
    ];
    for ask in early {
        let mut pair = Pair::new(config());
        pair.ask_in_vain(Guard::Plain, std::slice::from_ref(&ask));
        // Nor is "negotiate again" a negotiation.
        let mut pair = Pair::new(config());
        pair.deliver(&smb1(&["SMB 2.???"])).unwrap();
        pair.answer();
        pair.ask_in_vain(Guard::Plain, &[ask.message_id(1)]);
    }
}

#[test]
fn what_is_no_request_of_smb2_ends_the_connection() {
    // As a request it would be answered; SMB2_FLAGS_SERVER_TO_REDIR makes it a response.
    let mut response =
        Pair::new(config()).client.encode(Guard::Plain, &[Ask::echo().message_id(1)]);
    response[16] = 1;
    let compressed = [&[0xfc, b'S', b'M', b'B'][..], &[0; 60]].concat();
    let sealed = [&[0xfd, b'S', b'M', b'B'][..], &[0; 120]].concat();
    for message in [vec![], vec![0xfe], vec![0; 64], response, compressed, sealed] {
        let mut pair = Pair::negotiated(config(), &offer(&[Dialect::SMB_3_1_1]));
        assert!(pair.deliver(&message).is_err());
        pair.assert_silent();
    }
}
