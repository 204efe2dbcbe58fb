//! Recorded sessions of Samba's client with Samba's server, followed from the password to the last
//! message: the logon is judged, every signature verified, every seal opened and made again.
//!
//! See `tests/captures/README.md` for how they were recorded.

use std::collections::HashMap;

use super::{
    ntlm::messages::{Authenticate, Ntlmv2Response},
    *,
};
use crate::crypto::{
    hex::hex,
    kdf::SessionKeys,
    preauth::PreauthHash,
    seal::{Cipher, Sealer, TRANSFORM_HEADER_LEN, claimed_session_id},
    secret::SecretKey,
    sign::{Signer, SigningAlgorithm},
};

const NEGOTIATE: u16 = 0;
const SESSION_SETUP: u16 = 1;
const STATUS_MORE_PROCESSING_REQUIRED: u32 = 0xc000_0016;
const STATUS_LOGON_FAILURE: u32 = 0xc000_006d;
const FLAG_SIGNED: u32 = 8;

/// Who sent a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Side {
    Client,
    Server,
}

/// What a recorded connection has agreed on and who is on it.
#[derive(Default)]
struct Replay {
    users: UserStore,
    dialect: u16,
    cipher: Option<Cipher>,
    signing: Option<SigningAlgorithm>,
    negotiated: PreauthHash,
    /// The exchange under way.
    setup: Option<Setup>,
    sessions: HashMap<u64, Session>,
    /// Good signatures and seals seen, by sender.
    signed: HashMap<Side, usize>,
    sealed: HashMap<Side, usize>,
    anonymous: usize,
    /// Logons whose client promised a MIC.
    mics: usize,
    refusals: Vec<Refusal>,
}

/// A logon under way: its hash and its security tokens so far.
struct Setup {
    hash: PreauthHash,
    tokens: Vec<Vec<u8>>,
}

struct Session {
    signer: Signer,
    server_in: Option<Sealer>,
    server_out: Option<Sealer>,
}

fn replay(name: &str) -> Replay {
    let path = format!("{}/tests/captures/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let capture = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut replay = Replay::default();
    replay.users.add("alice", "secret1");
    replay.users.add("bob", "secret2");
    for line in capture.lines() {
        match line.split_once(' ') {
            Some(("C", message)) => replay.take(Side::Client, hex(message)),
            Some(("S", message)) => replay.take(Side::Server, hex(message)),
            _ => {}
        }
    }
    replay
}

impl Setup {
    /// Judges the logon as our server would, had it sent Samba's challenge.
    fn judge(&self, users: &UserStore) -> Result<Step, AuthError> {
        let [opening, challenge, proof, ..] = &self.tokens[..] else { panic!("short logon") };
        let Some(Token::Init(init)) = spnego::parse(opening) else { panic!("no NegTokenInit") };
        let Some(Token::Resp(challenge)) = spnego::parse(challenge) else { panic!("no challenge") };
        let Some(Token::Resp(proof)) = spnego::parse(proof) else { panic!("no proof") };
        let negotiation = Negotiation {
            mech_types: init.mech_types.to_vec(),
            mic_required: init.ntlm_position != Some(0),
        };
        let ntlm = Challenged::resume(init.mech_token.unwrap(), challenge.response_token.unwrap());
        negotiation.finish(ntlm, &proof, users)
    }

    fn promises_mic(&self) -> bool {
        let Some(Token::Resp(proof)) = spnego::parse(&self.tokens[2]) else { panic!("no proof") };
        let auth = Authenticate::parse(proof.response_token.unwrap()).unwrap();
        Ntlmv2Response::parse(auth.nt_response).unwrap().promises_mic()
    }
}

impl Replay {
    fn take(&mut self, side: Side, frame: Vec<u8>) {
        match frame[0] {
            0xfe => self.take_plain(side, frame),
            0xfd => self.take_sealed(side, frame),
            _ => {} // the SMB1 NEGOTIATE
        }
    }

    fn take_plain(&mut self, side: Side, frame: Vec<u8>) {
        match u16_at(&frame, 12) {
            NEGOTIATE => self.take_negotiate(side, &frame),
            SESSION_SETUP => self.take_session_setup(side, &frame),
            _ => {}
        }
        self.check_signatures(side, frame);
    }

    fn take_negotiate(&mut self, side: Side, message: &[u8]) {
        self.negotiated.update(message);
        if side == Side::Server {
            self.dialect = u16_at(message, 68);
            self.signing = Some(match self.dialect {
                ..0x0300 => SigningAlgorithm::HmacSha256,
                _ => SigningAlgorithm::AesCmac,
            });
            self.cipher = (self.dialect >= 0x0300).then_some(Cipher::Aes128Ccm);
            if self.dialect == 0x0311 {
                self.take_contexts(message);
            }
        }
    }

    /// The cipher and the signing algorithm the server chose (MS-SMB2 2.2.4.1).
    fn take_contexts(&mut self, message: &[u8]) {
        let mut at = u32_at(message, 124) as usize;
        for _ in 0..u16_at(message, 70) {
            let chosen = |offset| u16_at(message, at + 8 + offset);
            match u16_at(message, at) {
                2 => self.cipher = Cipher::from_wire(chosen(2)),
                8 => self.signing = SigningAlgorithm::from_wire(chosen(2)),
                _ => {}
            }
            at += (8 + usize::from(u16_at(message, at + 2))).next_multiple_of(8);
        }
    }

    fn take_session_setup(&mut self, side: Side, message: &[u8]) {
        let field = if side == Side::Client { 76 } else { 68 };
        let at = usize::from(u16_at(message, field));
        let token = message[at..at + usize::from(u16_at(message, field + 2))].to_vec();
        let status = u32_at(message, 8);
        if side == Side::Client && u64_at(message, 40) == 0 {
            self.setup = Some(Setup { hash: self.negotiated.clone(), tokens: Vec::new() });
        }
        let Some(setup) = &mut self.setup else { return };
        setup.tokens.push(token);
        if side == Side::Client || status == STATUS_MORE_PROCESSING_REQUIRED {
            setup.hash.update(message);
        } else {
            let setup = self.setup.take().unwrap();
            self.end_setup(&setup, status, u64_at(message, 40));
        }
    }

    /// Our verdict must be Samba's, and our last token, if any, Samba's byte for byte.
    fn end_setup(&mut self, setup: &Setup, status: u32, session_id: u64) {
        match (status, setup.judge(&self.users)) {
            (0, Ok(Step::Done { token, outcome })) => {
                assert_eq!(Some(&token), setup.tokens.last());
                match outcome.principal {
                    Principal::Anonymous => self.anonymous += 1,
                    Principal::Guest => panic!("Samba had none"),
                    Principal::User(_) => {
                        self.mics += usize::from(setup.promises_mic());
                        let key = outcome.session_key;
                        let session = self.establish(key.as_bytes(), &setup.hash);
                        self.sessions.insert(session_id, session);
                    }
                }
            }
            (STATUS_LOGON_FAILURE, Err(AuthError::LogonFailure { reason, .. })) => {
                self.refusals.push(reason);
            }
            (status, verdict) => panic!("Samba says {status:#x}, we {verdict:?}"),
        }
    }

    fn establish(&self, key: &[u8; 16], hash: &PreauthHash) -> Session {
        let keys = SessionKeys::derive(self.dialect, key, key, hash.as_bytes(), self.cipher);
        let sealer =
            |key: Option<SecretKey>| Some(Sealer::new(self.cipher?, key?.as_bytes()).unwrap());
        Session {
            signer: Signer::new(self.signing.unwrap(), keys.signing.as_bytes()).unwrap(),
            server_in: sealer(keys.server_in),
            server_out: sealer(keys.server_out),
        }
    }

    /// Each message of a compound is signed alone, its padding included.
    fn check_signatures(&mut self, side: Side, mut frame: Vec<u8>) {
        let mut rest = &mut frame[..];
        while !rest.is_empty() {
            let next = u32_at(rest, 20) as usize;
            let (message, after) = rest.split_at_mut(if next == 0 { rest.len() } else { next });
            if let Some(session) = self.sessions.get(&u64_at(message, 40))
                && u32_at(message, 16) & FLAG_SIGNED != 0
            {
                assert!(session.signer.verify(message), "{side:?} {:x?}", &message[..64]);
                let received = message.to_vec();
                session.signer.sign(message).unwrap();
                assert_eq!(message, received);
                message[0] ^= 1;
                assert!(!session.signer.verify(message));
                *self.signed.entry(side).or_default() += 1;
            }
            rest = after;
        }
    }

    fn take_sealed(&mut self, side: Side, frame: Vec<u8>) {
        let session_id = claimed_session_id(&frame).unwrap();
        let session = &self.sessions[&session_id];
        let sealer = match side {
            Side::Client => session.server_in.as_ref(),
            Side::Server => session.server_out.as_ref(),
        }
        .unwrap();
        let mut opened = frame.clone();
        let plain = sealer.open(&mut opened).unwrap();
        assert_eq!(plain[..4], *b"\xfeSMB");
        let nonce = std::array::from_fn(|i| frame[20 + i]);
        opened[..TRANSFORM_HEADER_LEN].fill(0);
        sealer.seal_with(&mut opened, session_id, nonce).unwrap();
        assert_eq!(opened, frame);
        *self.sealed.entry(side).or_default() += 1;
    }

    fn assert_counted(&self, counts: &HashMap<Side, usize>) {
        assert_eq!(self.sessions.len(), 1);
        for side in [Side::Client, Side::Server] {
            assert!(counts.get(&side).is_some_and(|&count| count >= 10), "{side:?}: {counts:?}");
        }
    }
}

fn u16_at(message: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(std::array::from_fn(|i| message[at + i]))
}

fn u32_at(message: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| message[at + i]))
}

fn u64_at(message: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| message[at + i]))
}

fn assert_signed(name: &str, dialect: u16, algorithm: SigningAlgorithm) {
    let replay = replay(name);
    assert_eq!((replay.dialect, replay.signing), (dialect, Some(algorithm)));
    replay.assert_counted(&replay.signed);
}

fn assert_sealed(name: &str, dialect: u16, cipher: Cipher) {
    let replay = replay(name);
    assert_eq!((replay.dialect, replay.cipher), (dialect, Some(cipher)));
    replay.assert_counted(&replay.sealed);
}

#[test]
fn a_recorded_session_of_2_1_is_signed_with_hmac() {
    assert_signed("signed-2.1-hmac", 0x0210, SigningAlgorithm::HmacSha256);
}

#[test]
fn a_recorded_session_of_3_0_is_signed_with_cmac() {
    assert_signed("signed-3.0-cmac", 0x0300, SigningAlgorithm::AesCmac);
}

#[test]
fn recorded_sessions_of_3_1_1_are_signed_as_negotiated() {
    assert_signed("signed-3.1.1-hmac", 0x0311, SigningAlgorithm::HmacSha256);
    assert_signed("signed-3.1.1-cmac", 0x0311, SigningAlgorithm::AesCmac);
    assert_signed("signed-3.1.1-gmac", 0x0311, SigningAlgorithm::AesGmac);
}

#[test]
fn a_recorded_session_of_3_0_is_sealed_with_ccm() {
    assert_sealed("sealed-3.0-aes-128-ccm", 0x0300, Cipher::Aes128Ccm);
}

#[test]
fn recorded_sessions_of_3_1_1_are_sealed_as_negotiated() {
    assert_sealed("sealed-3.1.1-aes-128-ccm", 0x0311, Cipher::Aes128Ccm);
    assert_sealed("sealed-3.1.1-aes-128-gcm", 0x0311, Cipher::Aes128Gcm);
    assert_sealed("sealed-3.1.1-aes-256-ccm", 0x0311, Cipher::Aes256Ccm);
    assert_sealed("sealed-3.1.1-aes-256-gcm", 0x0311, Cipher::Aes256Gcm);
}

#[test]
fn an_older_clients_session_is_sealed_too() {
    let replay = replay("old-sealed");
    replay.assert_counted(&replay.sealed);
}

#[test]
fn what_samba_refused_is_refused_for_the_same_reason() {
    assert_eq!(replay("wrong-password").refusals, [Refusal::WrongPassword]);
    assert_eq!(replay("unknown-user").refusals, [Refusal::UnknownUser]);
}

#[test]
fn a_recorded_anonymous_logon_is_anonymous() {
    // The client first tries its own name without a response, which neither server takes.
    let replay = replay("anonymous-list");
    assert_eq!((replay.refusals, replay.anonymous), (vec![Refusal::WeakResponse], 1));
}

#[test]
fn the_client_offers_its_mic_in_every_recorded_logon() {
    // Else these captures would say nothing about MICs.
    for name in ["signed-2.1-hmac", "old-3.1.1", "sealed-3.1.1-aes-128-gcm"] {
        let replay = replay(name);
        assert!(replay.mics == 1 && replay.sessions.len() == 1, "{name}");
    }
}
