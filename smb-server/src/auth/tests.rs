//! Whole exchanges, as dialogues of [`client::Client`] with [`Acceptor`]. That the two do not merely
//! agree with each other is what the samples in `ntlm/tests.rs` and the captures are for.

use super::{client::Client, *};
use crate::crypto::hex::hex;

const NOW: u64 = 0x01d0_aecb_adf5_a1a1;
const KEY: [u8; 16] = [0x42; 16];
/// DER of the mechanism list [Kerberos, NTLM].
const KERBEROS_THEN_NTLM: &str = "3017 06092a864886f712010202 060a2b06010401823702020a";

fn users() -> UserStore {
    let mut users = UserStore::new();
    users.add("Alice", "secret1");
    users
}

fn acceptor() -> Acceptor {
    let config = AcceptorConfig {
        netbios_name: "SRV".into(),
        netbios_domain: "WORKGROUP".into(),
        dns_name: "srv.example".into(),
        dns_domain: "example".into(),
    };
    Acceptor::new(Arc::new(config), [1, 2, 3, 4, 5, 6, 7, 8])
}

fn continued(step: Result<Step, AuthError>) -> Vec<u8> {
    match step {
        Ok(Step::Continue(token)) => token,
        other => panic!("expected to go on, not {other:?}"),
    }
}

fn refused(step: Result<Step, AuthError>) -> Option<Refusal> {
    match step {
        Err(AuthError::LogonFailure { reason, .. }) => Some(reason),
        _ => None,
    }
}

/// Everything up to the client's proof.
fn until_proof(user: &str, password: &str) -> (Acceptor, Client, Vec<u8>) {
    let mut acceptor = acceptor();
    let mut client = Client::new(user, "WORKGROUP", password);
    let challenge = continued(acceptor.step(&client.negotiate(), &users(), NOW));
    let proof = client.authenticate(&challenge, [9; 8], KEY).unwrap();
    (acceptor, client, proof)
}

/// The same without SPNEGO.
fn until_raw_proof() -> (Acceptor, Vec<u8>) {
    let mut acceptor = acceptor();
    let mut client = Client::new("alice", "", "secret1");
    let opening = client.negotiate();
    let Some(Token::Init(init)) = spnego::parse(&opening) else { panic!("no NegTokenInit") };
    let challenge = continued(acceptor.step(init.mech_token.unwrap(), &users(), NOW));
    assert!(challenge.starts_with(ntlm::SIGNATURE));
    let wrapped = NegTokenResp { response_token: Some(&challenge), ..NegTokenResp::default() };
    let proof = client.authenticate(&wrapped.encode(), [9; 8], KEY).unwrap();
    let Some(Token::Resp(resp)) = spnego::parse(&proof) else { panic!("no NegTokenResp") };
    (acceptor, resp.response_token.unwrap().to_vec())
}

#[test]
fn a_user_with_the_password_gets_in_and_both_sides_have_the_key() {
    let (mut acceptor, client, proof) = until_proof("aLICE", "secret1");
    let Ok(Step::Done { token, outcome }) = acceptor.step(&proof, &users(), NOW) else {
        panic!("refused")
    };
    assert_eq!(outcome.principal, Principal::User("Alice".into()));
    assert_eq!(outcome.session_key.as_bytes(), &KEY);
    assert_eq!(client.finish(&token).unwrap(), outcome.session_key);
}

#[test]
fn where_guests_are_admitted_only_the_unknown_are_guests() {
    let mut users = users();
    users.admit_guests();
    let (mut acceptor, client, proof) = until_proof("mallory", "secret1");
    let Ok(Step::Done { token, outcome }) = acceptor.step(&proof, &users, NOW) else {
        panic!("refused")
    };
    assert_eq!(outcome.principal, Principal::Guest);
    // The server cannot know the client's key, so it signs nothing and the key is not that.
    assert_eq!(token, hex("a107 3005 a003 0a0100"));
    assert_ne!(outcome.session_key.as_bytes(), &KEY);
    assert!(client.finish(&token).is_err());
    let (mut acceptor, _, proof) = until_proof("alice", "Secret1");
    assert_eq!(refused(acceptor.step(&proof, &users, NOW)), Some(Refusal::WrongPassword));
}

#[test]
fn unknown_users_and_wrong_passwords_are_refused() {
    let (mut acceptor, _, proof) = until_proof("alice", "Secret1");
    assert_eq!(refused(acceptor.step(&proof, &users(), NOW)), Some(Refusal::WrongPassword));
    let (mut acceptor, _, proof) = until_proof("mallory", "secret1");
    assert_eq!(refused(acceptor.step(&proof, &users(), NOW)), Some(Refusal::UnknownUser));
}

#[test]
fn an_exchange_takes_nothing_after_its_end() {
    let (mut acceptor, _, proof) = until_proof("alice", "secret1");
    assert!(acceptor.step(&proof, &users(), NOW).is_ok());
    assert!(acceptor.step(&proof, &users(), NOW).is_err());
    let (mut acceptor, client, proof) = until_proof("alice", "secret1");
    assert!(acceptor.step(b"rubbish", &users(), NOW).is_err());
    assert!(acceptor.step(&proof, &users(), NOW).is_err());
    assert!(acceptor.step(&client.negotiate(), &users(), NOW).is_err());
}

#[test]
fn a_proof_is_worth_nothing_to_another_challenge() {
    let (_, client, proof) = until_proof("alice", "secret1");
    let mut other = Acceptor { challenge: [8; 8], ..acceptor() };
    continued(other.step(&client.negotiate(), &users(), NOW));
    assert_eq!(refused(other.step(&proof, &users(), NOW)), Some(Refusal::WrongPassword));
}

#[test]
fn raw_ntlm_is_answered_raw() {
    let (mut acceptor, proof) = until_raw_proof();
    let Ok(Step::Done { token, outcome }) = acceptor.step(&proof, &users(), NOW) else {
        panic!("refused")
    };
    assert!(token.is_empty());
    assert!(outcome.principal.is_user());
}

#[test]
fn any_flipped_bit_of_a_proof_with_a_mic_is_refused() {
    let (_, proof) = until_raw_proof();
    for bit in 0..proof.len() * 8 {
        let (mut acceptor, mut proof) = until_raw_proof();
        proof[bit / 8] ^= 1 << (bit % 8);
        assert!(acceptor.step(&proof, &users(), NOW).is_err(), "bit {bit}");
    }
}

#[test]
fn a_promised_mic_must_be_there_and_right() {
    let flip = |at: usize| {
        let (mut acceptor, mut proof) = until_raw_proof();
        proof[at] ^= 1;
        refused(acceptor.step(&proof, &users(), NOW))
    };
    // MS-NLMP 2.2.1.3: the MIC is at 72 and 16 bytes long; nothing else protects the version at 64.
    for at in [64, 72, 87] {
        assert_eq!(flip(at), Some(Refusal::Tampered), "{at}");
    }
    let (mut acceptor, mut proof) = until_raw_proof();
    proof[72..88].fill(0);
    assert_eq!(refused(acceptor.step(&proof, &users(), NOW)), Some(Refusal::Tampered));
}

#[test]
fn a_mechanism_list_that_was_changed_on_the_way_is_noticed() {
    let (mut acceptor, _, mut proof) = until_proof("alice", "secret1");
    *proof.last_mut().unwrap() ^= 1;
    assert_eq!(refused(acceptor.step(&proof, &users(), NOW)), Some(Refusal::Tampered));
    let (mut acceptor, _, proof) = until_proof("alice", "secret1");
    if let State::Authenticate(Wrapping::Spnego(negotiation), _) = &mut acceptor.state {
        negotiation.mech_types = hex(KERBEROS_THEN_NTLM);
    }
    assert_eq!(refused(acceptor.step(&proof, &users(), NOW)), Some(Refusal::Tampered));
}

/// An opening that offers Kerberos with a token first, and NTLM second.
fn kerberos_first() -> Vec<u8> {
    hex("602f 06062b0601050502 a025 3023
         a019 3017 06092a864886f712010202 060a2b06010401823702020a
         a206 0404 6e6e6e6e")
}

/// The exchange after Kerberos was declined, up to the client's proof.
fn after_kerberos() -> (Acceptor, Client, Vec<u8>) {
    let mut acceptor = acceptor();
    let mut client = Client::new("alice", "", "secret1");
    let answer = continued(acceptor.step(&kerberos_first(), &users(), NOW));
    // RFC 4178 4.2.2: request-mic, NTLM, no token.
    assert_eq!(answer, hex("a115 3013 a003 0a0103 a10c 060a2b06010401823702020a"));
    let opening = client.negotiate();
    let Some(Token::Init(init)) = spnego::parse(&opening) else { panic!("no NegTokenInit") };
    let wrapped = NegTokenResp { response_token: init.mech_token, ..NegTokenResp::default() };
    let challenge = continued(acceptor.step(&wrapped.encode(), &users(), NOW));
    let proof = client.authenticate(&challenge, [9; 8], KEY).unwrap();
    (acceptor, client, proof)
}

#[test]
fn a_client_that_prefers_kerberos_is_led_to_ntlm() {
    let (mut acceptor, _, proof) = after_kerberos();
    let Some(Token::Resp(mut resp)) = spnego::parse(&proof) else { panic!("no NegTokenResp") };
    // The client signed the list it would have sent itself; sign the one that was sent.
    let signer =
        ntlm::crypto::MessageSigner::new(KEY.into(), ntlm::flags::KEY_EXCH | ntlm::flags::BITS_128);
    let mic = signer.sign_first(Direction::ClientToServer, &hex(KERBEROS_THEN_NTLM));
    resp.mech_list_mic = Some(&mic);
    let Ok(Step::Done { token, outcome }) = acceptor.step(&resp.encode(), &users(), NOW) else {
        panic!("refused")
    };
    assert!(outcome.principal.is_user());
    let Some(Token::Resp(last)) = spnego::parse(&token) else { panic!("no NegTokenResp") };
    assert_eq!(last.neg_state, Some(NegState::AcceptCompleted));
    let ours = signer.sign_first(Direction::ServerToClient, &hex(KERBEROS_THEN_NTLM));
    assert_eq!(last.mech_list_mic, Some(&ours[..]));
}

#[test]
fn a_client_led_away_from_its_first_choice_must_protect_the_list() {
    let (mut acceptor, _, proof) = after_kerberos();
    let Some(Token::Resp(resp)) = spnego::parse(&proof) else { panic!("no NegTokenResp") };
    let without = NegTokenResp { mech_list_mic: None, ..resp }.encode();
    assert_eq!(refused(acceptor.step(&without, &users(), NOW)), Some(Refusal::Tampered));
    let (mut acceptor, _, proof) = after_kerberos();
    assert_eq!(refused(acceptor.step(&proof, &users(), NOW)), Some(Refusal::Tampered));
}

#[test]
fn a_client_without_ntlm_is_refused() {
    let only_kerberos = hex("601b 06062b0601050502 a011 300f a00d 300b 06092a864886f712010202");
    let refusal = refused(acceptor().step(&only_kerberos, &users(), NOW));
    assert_eq!(refusal, Some(Refusal::NoCommonMechanism));
}

#[test]
fn a_client_may_name_ntlm_first_and_send_its_token_later() {
    let mut acceptor = acceptor();
    let tokenless = hex("601c 06062b0601050502 a012 3010 a00e 300c 060a2b06010401823702020a");
    let answer = continued(acceptor.step(&tokenless, &users(), NOW));
    assert_eq!(answer, hex("a115 3013 a003 0a0101 a10c 060a2b06010401823702020a"));
}

#[test]
fn tokens_cut_or_changed_anywhere_never_panic_and_never_log_in_another() {
    let (_, client, proof) = until_proof("alice", "secret1");
    for len in 0..proof.len() {
        let (mut acceptor, _, proof) = until_proof("alice", "secret1");
        assert!(acceptor.step(&proof[..len], &users(), NOW).is_err(), "{len}");
    }
    for at in 0..proof.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let (mut acceptor, _, mut proof) = until_proof("alice", "secret1");
            proof[at] = value;
            match acceptor.step(&proof, &users(), NOW) {
                Ok(Step::Done { outcome, .. }) => {
                    assert_eq!(outcome.principal, Principal::User("Alice".into()))
                }
                Ok(other) => panic!("byte {at} = {value}: {other:?}"),
                Err(_) => {}
            }
        }
    }
    for opening in [client.negotiate(), kerberos_first(), initial_token()] {
        for at in 0..opening.len() {
            assert!(acceptor().step(&opening[..at], &users(), NOW).is_err(), "{at}");
            let mut opening = opening.clone();
            opening[at] ^= 0xff;
            let done = matches!(acceptor().step(&opening, &users(), NOW), Ok(Step::Done { .. }));
            assert!(!done, "{at}");
        }
    }
}

#[test]
fn errors_and_outcomes_print_no_secrets() {
    let error = AuthError::LogonFailure { user: "a\nb".into(), reason: Refusal::WrongPassword };
    assert_eq!(error.to_string(), "logon of \"a\\nb\" refused: wrong password");
    assert_eq!(format!("{:?}", SessionKey::new(KEY)), "SessionKey(hidden)");
}
