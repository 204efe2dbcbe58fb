//! Guests and who is nobody: what they are told, what protects them, and where they are not let in. MS-SMB2 3.3.5.5.3.

use super::ask::Ask;
use super::client::{Guard, Keys, Response};
use super::pair::{DIALECTS, LogOn, MIB, Pair, config, offer, perform};
use crate::auth::{Principal, UserStore};
use crate::protocol::{Config, Disconnect};
use crate::wire::dialect::Dialect;
use crate::wire::negotiate::SecurityMode;
use crate::wire::session_setup::{SessionFlags, SessionSetupRequest, SessionSetupResponse};
use crate::wire::status::NtStatus;

const LATEST: Dialect = Dialect::SMB_3_1_1;

/// A logon as nobody in raw NTLM. A session that it makes becomes the client's current one.
fn log_on_as_nobody(pair: &mut Pair) -> Response {
    // MS-NLMP 2.2.1.1: NEGOTIATE, with Unicode, NTLM and extended session security.
    let negotiate = [b"NTLMSSP\0\x01\0\0\0\x01\x02\x08\0".as_slice(), &[0; 16]].concat();
    let mut preauth = pair.client.preauth.clone();
    let first = setup(pair, negotiate, 0);
    assert_eq!(first.1.status(), NtStatus::MORE_PROCESSING_REQUIRED);
    preauth.update(&first.0);
    preauth.update(&first.1.message);
    // MS-NLMP 2.2.1.3: AUTHENTICATE, all six fields empty, anonymous.
    let fields = [[0, 0, 0, 0, 64, 0, 0, 0]; 6].concat();
    let authenticate =
        [b"NTLMSSP\0\x03\0\0\0".as_slice(), &fields, &[0x01, 0x0a, 0x08, 0]].concat();
    let session_id = first.1.header.session_id;
    let (message, response) = setup(pair, authenticate, session_id);
    preauth.update(&message);
    if response.status() == NtStatus::SUCCESS {
        // MS-NLMP 3.3.2: without a key exchange, the key is zeros.
        let keys = Keys::derive_from(&[0; 16], &pair.client, &preauth);
        pair.client.learn(session_id, keys);
        pair.client.session_id = session_id;
    }
    response
}

/// One SESSION_SETUP; the request as it was sent, and its response.
fn setup(pair: &mut Pair, token: Vec<u8>, session_id: u64) -> (Vec<u8>, Response) {
    let security_mode = SecurityMode::SIGNING_REQUIRED;
    let request =
        SessionSetupRequest { security_buffer: token, security_mode, ..Default::default() };
    let ask = Ask::session_setup(&request).session(session_id);
    let message = pair.client.encode(Guard::Plain, &[ask]);
    pair.deliver(&message).unwrap();
    (message, pair.answer().one())
}

fn open_to_guests() -> Config {
    let mut users = UserStore::new();
    users.add("Alice", "secret");
    users.admit_guests();
    Config { users: users.into(), ..config() }
}

fn mallory() -> LogOn {
    LogOn { user: "mallory", security_mode: SecurityMode::SIGNING_REQUIRED, ..LogOn::default() }
}

#[test]
fn who_is_nobody_gets_an_unsigned_session_and_is_told_so() {
    for dialect in DIALECTS {
        let mut pair = Pair::negotiated(config(), &offer(&[dialect]));
        let response = log_on_as_nobody(&mut pair);
        assert_eq!(response.status(), NtStatus::SUCCESS);
        assert!(!response.is_signed());
        let body = response.body(SessionSetupResponse::decode);
        assert_eq!(body.session_flags, SessionFlags::IS_NULL);
        assert_eq!(pair.established().expect("a session").principal, Principal::Anonymous);
        // Not even in 3.1.1, and though the client said that it requires signing.
        let chain = pair.hand_out(Guard::Plain, &[Ask::tree_connect(r"\\srv\IPC$")]);
        assert!(!pair.reply(chain.id, perform(chain)).one().is_signed());
    }
}

#[test]
fn who_is_nobody_may_sign_and_gets_signed_answers() {
    let mut pair = Pair::negotiated(config(), &offer(&[LATEST]));
    log_on_as_nobody(&mut pair);
    pair.established().expect("a session");
    assert!(pair.ask(Guard::Signed, Ask::echo()).is_signed());
    let mut forged = pair.client.encode(Guard::Signed, &[Ask::echo()]);
    forged[50] ^= 1;
    pair.deliver(&forged).unwrap();
    assert_eq!(pair.answer().one().status(), NtStatus::ACCESS_DENIED);
}

#[test]
fn who_is_nobody_may_encrypt_beside_a_user_only() {
    let mut alone = Pair::negotiated(config(), &offer(&[LATEST]));
    log_on_as_nobody(&mut alone);
    alone.established().expect("a session");
    assert!(matches!(alone.ask_in_vain(Guard::Sealed, &[Ask::echo()]), Disconnect::Seal(_)));

    let mut beside = Pair::logged_on(config(), LATEST);
    log_on_as_nobody(&mut beside);
    beside.established().expect("a session");
    beside.send(Guard::Sealed, &[Ask::echo()]).unwrap();
    assert!(beside.answer().sealed);
}

#[test]
fn a_guest_gets_a_session_without_keys_and_is_told_so() {
    for dialect in DIALECTS {
        let mut pair = Pair::negotiated(open_to_guests(), &offer(&[dialect]));
        let response = pair.log_on(&mallory());
        assert_eq!(response.status(), NtStatus::SUCCESS);
        assert!(!response.is_signed());
        let body = response.body(SessionSetupResponse::decode);
        assert_eq!(body.session_flags, SessionFlags::IS_GUEST);
        assert_eq!(pair.established().expect("a session").principal, Principal::Guest);
        let chain = pair.hand_out(Guard::Plain, &[Ask::tree_connect(r"\\srv\share")]);
        assert!(!pair.reply(chain.id, perform(chain)).one().is_signed());
        if dialect >= Dialect::SMB_3_0 {
            pair.ask_in_vain(Guard::Sealed, &[Ask::echo()]);
        }
    }
}

#[test]
fn a_known_user_with_a_wrong_password_is_no_guest() {
    let mut pair = Pair::negotiated(open_to_guests(), &offer(&[LATEST]));
    let wrong = LogOn { password: "Secret", ..LogOn::default() };
    assert_eq!(pair.log_on(&wrong).status(), NtStatus::LOGON_FAILURE);
    assert!(pair.established().is_none());
}

#[test]
fn where_messages_have_to_be_protected_there_are_no_strangers() {
    let signing = || Config { require_signing: true, ..open_to_guests() };
    let encryption = || Config { require_encryption: true, ..open_to_guests() };
    let closed = || Config { anonymous: false, ..config() };
    for config in [signing(), encryption(), closed()] {
        let mut pair = Pair::negotiated(config, &offer(&[LATEST]));
        assert_eq!(log_on_as_nobody(&mut pair).status(), NtStatus::ACCESS_DENIED);
        assert!(pair.established().is_none());
    }
    for config in [signing(), encryption()] {
        let mut pair = Pair::negotiated(config, &offer(&[LATEST]));
        assert_eq!(pair.log_on(&mallory()).status(), NtStatus::ACCESS_DENIED);
        assert!(pair.established().is_none());
    }
}

#[test]
fn long_messages_are_for_strangers_only_where_there_are_files_for_them() {
    let mut pair = Pair::negotiated(config(), &offer(&[LATEST]));
    log_on_as_nobody(&mut pair);
    assert!(pair.server.message_size_max() <= 128 * 1024 && !pair.server.moves_files());
    assert_eq!(pair.server.poll_timeout(), None, "but there is a session");

    let open = Config { guests_have_files: true, ..open_to_guests() };
    let mut pair = Pair::negotiated(open, &offer(&[LATEST]));
    pair.log_on(&mallory());
    assert!(pair.server.message_size_max() > (8 * MIB) as usize && pair.server.moves_files());
}

#[test]
fn a_user_does_not_become_a_stranger_by_authenticating_again() {
    let mut pair = Pair::logged_on(open_to_guests(), LATEST);
    let session_id = pair.client.session_id;
    let again = LogOn { session_id, guard: Guard::Signed, ..mallory() };
    assert_eq!(pair.log_on(&again).status(), NtStatus::ACCESS_DENIED);
}
