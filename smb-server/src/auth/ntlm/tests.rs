//! The numbers are those of MS-NLMP 4.2.4 (NTLMv2) and, where said, of 4.2.2 (NTLMv1).

use md4::Digest;
use rc4::StreamCipher;

use super::*;
use crate::crypto::hex::{hex, hex_array};

const CHALLENGE: &str =
    "4e544c4d53535000 02000000 0c000c00 38000000 33828ae2 0123456789abcdef 0000000000000000
    24002400 44000000 06007017 0000000f 530065007200760065007200
    02000c00 44006f006d00610069006e00 01000c00 530065007200760065007200 00000000";

const AUTHENTICATE: &str =
    "4e544c4d53535000 03000000 18001800 6c000000 54005400 84000000 0c000c00 48000000
    08000800 54000000 10001000 5c000000 10001000 d8000000 358288e2 0501280a0000000f
    44006f006d00610069006e00 5500730065007200 43004f004d0050005500540045005200
    86c35097ac9cec102554764a57cccc19aaaaaaaaaaaaaaaa
    68cd0ab851e51c96aabc927bebef6a1c
    0101000000000000 0000000000000000 aaaaaaaaaaaaaaaa 00000000
    02000c00 44006f006d00610069006e00 01000c00 530065007200760065007200 00000000 00000000
    c5dad2544fc9799094ce1ce90bc9d03e";

const RANDOM_SESSION_KEY: [u8; 16] = [0x55; 16];

fn users() -> UserStore {
    let mut users = UserStore::new();
    users.add("User", "Password");
    users
}

fn accept(message: &[u8], users: &UserStore) -> Result<Accepted, AuthError> {
    Challenged::resume(b"", &hex(CHALLENGE)).accept(message, users)
}

fn refusal(message: &[u8], users: &UserStore) -> Option<Refusal> {
    match accept(message, users) {
        Err(AuthError::LogonFailure { reason, .. }) => Some(reason),
        _ => None,
    }
}

#[test]
fn the_sample_exchange_is_accepted_with_the_sample_session_key() {
    let accepted = accept(&hex(AUTHENTICATE), &users()).ok().unwrap();
    assert_eq!(accepted.outcome.principal, Principal::User("User".into()));
    assert_eq!(*accepted.outcome.session_key.as_bytes(), RANDOM_SESSION_KEY);
}

#[test]
fn each_step_of_the_computation_has_the_sample_value() {
    // MS-NLMP 4.2.2.1.2 and 4.2.4.1.
    assert_eq!(
        crypto::nt_hash("Password"),
        NtHash::from(hex_array("a4f49c406510bdcab6824ee7c30fd852"))
    );
    let utf16 = crypto::utf16le;
    let ntowf = crypto::ntowf_v2(&crypto::nt_hash("Password"), &utf16("User"), &utf16("Domain"));
    assert_eq!(ntowf[..], hex("0c868a403bfd7a93a3001ef22ef02e3f"));
    let pairs = hex("02000c00 44006f006d00610069006e00 01000c00 530065007200760065007200 00000000");
    let blob = messages::client_blob([0; 8], [0xaa; 8], &pairs);
    let proof = crypto::nt_proof(&ntowf, &hex_array("0123456789abcdef"), &blob);
    assert_eq!(proof[..], hex("68cd0ab851e51c96aabc927bebef6a1c"));
    let base_key = crypto::session_base_key(&ntowf, &proof);
    assert_eq!(base_key[..], hex("8de40ccadbc14a82f15cb0ad0de95ca3"));
    assert_eq!(
        crypto::rc4k(&base_key, &RANDOM_SESSION_KEY)[..],
        hex("c5dad2544fc9799094ce1ce90bc9d03e")
    );
}

#[test]
fn signing_and_sealing_keys_have_the_sample_values() {
    // MS-NLMP 4.2.4.4: seal "Plaintext", then go on in the same key stream for the checksum.
    let negotiated = u32::from_le_bytes(hex_array("358288e2"));
    let signer = MessageSigner::new(Zeroizing::new(RANDOM_SESSION_KEY), negotiated);
    let sign_key = signer.sign_key(crypto::Direction::ClientToServer);
    assert_eq!(sign_key[..], hex("4788dc861b4782f35d43fd98fe1a2d39"));
    let seal_key = signer.seal_key(crypto::Direction::ClientToServer);
    assert_eq!(seal_key[..], hex("59f600973cc4960a25480a7c196e4c58"));
    let mut rc4 = crypto::rc4(&seal_key[..]);
    let mut sealed = crypto::utf16le("Plaintext");
    let digest = crypto::hmac_md5(&sign_key[..], &[&[0; 4], &sealed]);
    rc4.apply_keystream(&mut sealed);
    assert_eq!(sealed, hex("54e50165bf1936dc996020c1811b0f06fb5f"));
    let mut checksum: [u8; 8] = std::array::from_fn(|i| digest[i]);
    rc4.apply_keystream(&mut checksum);
    assert_eq!(checksum[..], hex("7fb38ec5c55d4976"));
}

#[test]
fn the_sample_messages_are_written_as_printed() {
    let bytes = hex(CHALLENGE);
    let challenge = Challenge::parse(&bytes).unwrap();
    assert_eq!(challenge.target_name, crypto::utf16le("Server"));
    // The sample claims another version than we do; all else is the same.
    let mut ours = challenge.encode();
    ours[48..56].copy_from_slice(&bytes[48..56]);
    assert_eq!(ours, bytes);
}

#[test]
fn our_challenge_names_the_server_and_the_time() {
    let config = AcceptorConfig {
        netbios_name: "SRV".into(),
        netbios_domain: "WG".into(),
        dns_name: "srv.example".into(),
        dns_domain: String::new(),
    };
    let negotiate = Negotiate { flags: 0xe208_8297 }.encode();
    let started =
        Challenged::start(&config, [7; 8], &negotiate, 0x01d0_aecb_adf5_a1a1).ok().unwrap();
    let challenge = Challenge::parse(started.challenge()).unwrap();
    assert_eq!(challenge.server_challenge, [7; 8]);
    assert_eq!(challenge.target_name, crypto::utf16le("SRV"));
    // Names and order as Windows 10 sends them in Microsoft's published exchange.
    assert_eq!(
        challenge.target_info,
        hex("0200 0400 57004700  0100 0600 530052005600  0400 0000
             0300 1600 7300720076002e006500780061006d0070006c006500
             0700 0800 a1a1f5adcbaed001  0000 0000")
    );
    // MS-NLMP 2.2.2.5: Unicode, target, sign, NTLM, always sign, server, extended security, target info, version, 128, key exchange, 56.
    assert_eq!(challenge.flags, 0xe28a_8215);
}

#[test]
fn what_a_client_did_not_ask_for_is_not_granted() {
    let config = AcceptorConfig {
        netbios_name: "S".into(),
        netbios_domain: "S".into(),
        dns_name: "s".into(),
        dns_domain: String::new(),
    };
    let negotiate = Negotiate { flags: flags::UNICODE }.encode();
    let started = Challenged::start(&config, [7; 8], &negotiate, 0).ok().unwrap();
    assert_eq!(Challenge::parse(started.challenge()).unwrap().flags, flags::SERVER);
    let negotiate = Negotiate { flags: flags::NTLM }.encode();
    assert!(Challenged::start(&config, [7; 8], &negotiate, 0).is_err());
}

#[test]
fn a_wrong_password_and_an_unknown_user_are_refused() {
    let mut users = UserStore::new();
    assert_eq!(refusal(&hex(AUTHENTICATE), &users), Some(Refusal::UnknownUser));
    users.add("User", "password");
    assert_eq!(refusal(&hex(AUTHENTICATE), &users), Some(Refusal::WrongPassword));
}

#[test]
fn the_hash_of_nobody_opens_no_door() {
    // A client that guesses what unknown users are compared with proves nothing.
    let bytes = hex(AUTHENTICATE);
    let auth = Authenticate::parse(&bytes).unwrap();
    let response = Ntlmv2Response::parse(auth.nt_response).unwrap();
    let ntowf = crypto::ntowf_v2(&NtHash::from([0; 16]), auth.user, auth.domain);
    let proof = crypto::nt_proof(&ntowf, &hex_array("0123456789abcdef"), response.blob);
    let forged = Authenticate { nt_response: &[&proof, response.blob].concat(), ..auth }.encode();
    assert_eq!(refusal(&forged, &UserStore::new()), Some(Refusal::UnknownUser));
}

#[test]
fn ntlmv1_is_refused_even_if_right() {
    // MS-NLMP 4.2.2.2: the responses to this challenge of this user in NTLMv1.
    let auth = hex(AUTHENTICATE);
    let auth = Authenticate::parse(&auth).unwrap();
    let nt_response = &hex("67c43011f30298a2ad35ece64f16331c44bdbed927841f94");
    let lm_response = &hex("98def7b87f88aa5dafe2df779688a172def11c7d5ccdef13");
    let v1 = Authenticate { nt_response, lm_response, ..auth }.encode();
    assert_eq!(refusal(&v1, &users()), Some(Refusal::WeakResponse));
}

#[test]
fn an_lm_response_alone_is_refused() {
    let auth = hex(AUTHENTICATE);
    let lm_only = Authenticate { nt_response: &[], ..Authenticate::parse(&auth).unwrap() }.encode();
    assert_eq!(refusal(&lm_only, &users()), Some(Refusal::WeakResponse));
}

#[test]
fn smbclients_anonymous_logon_is_anonymous() {
    // AUTHENTICATE of smbclient 4.25 without a user.
    let message =
        hex("4e544c4d53535000 03000000 00000000 58000000 00000000 58000000 00000000 58000000
        00000000 58000000 00000000 58000000 10001000 58000000 158a0062 060100000000000f
        d5dad1f89893c22e1bfc642eebb7a9c1 4473fc3231919a17930f58499207269b");
    let accepted = accept(&message, &users()).ok().unwrap();
    assert_eq!(accepted.outcome.principal, Principal::Anonymous);
}

#[test]
fn a_response_whose_pairs_are_no_list_is_malformed_and_no_guess() {
    // What Windows' tool "net diag" sends, by the report that made Samba's smb2.session.ntlmssp_bug14932: the
    // first pair is longer than all the rest. And a list without its end.
    let blob = "0101000000000000 3f3f3f3f3f3f3f3f b8823af1b3dd0815 00000000";
    for pairs in ["11a2088150382278", "0200 0400 41004200"] {
        let response = hex(&format!("{} {blob} {pairs}", "ab".repeat(16)));
        let auth = hex(AUTHENTICATE);
        let auth = Authenticate::parse(&auth).unwrap();
        let message = Authenticate { nt_response: &response, ..auth }.encode();
        assert!(matches!(accept(&message, &users()), Err(AuthError::Malformed(_))), "{pairs}");
    }
}

#[test]
fn a_name_without_a_response_is_not_anonymous() {
    let auth = hex(AUTHENTICATE);
    let auth = Authenticate::parse(&auth).unwrap();
    let named = Authenticate { nt_response: &[], lm_response: &[], ..auth }.encode();
    assert_eq!(refusal(&named, &users()), Some(Refusal::WeakResponse));
}

#[test]
fn a_message_cut_anywhere_is_refused() {
    let message = hex(AUTHENTICATE);
    for len in 0..message.len() {
        assert!(accept(&message[..len], &users()).is_err(), "{len}");
    }
}

#[test]
fn a_changed_byte_never_panics_and_never_makes_another_user() {
    let message = hex(AUTHENTICATE);
    for at in 0..message.len() {
        for value in [0, 1, 0x18, 0x7f, 0x80, 0xff] {
            let mut message = message.clone();
            message[at] = value;
            if let Ok(Accepted { outcome, .. }) = accept(&message, &users()) {
                assert_eq!(outcome.principal, Principal::User("User".into()), "{at} = {value}");
            }
        }
    }
}

#[test]
fn upper_case_keeps_the_length_as_windows_does() {
    // Unicode's full mapping would make "SS" of "ß", which Windows' table leaves alone.
    let upper = |text: &str| crypto::from_utf16le(&crypto::upcase(&crypto::utf16le(text)));
    assert_eq!(upper("zoë straße 😀"), "ZOË STRAßE 😀");
}

#[test]
fn rfc_2202_vectors_hold_for_hmac_md5() {
    assert_eq!(
        crypto::hmac_md5(b"Jefe", &[b"what do ya want ", b"for nothing?"])[..],
        hex("750c783e6ab0b503eaa86e310a5db738")
    );
    assert_eq!(md4::Md4::digest(b"abc")[..], hex("a448017aaf21d8525fc10ae87aa6729d"));
}
