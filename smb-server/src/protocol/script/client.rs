//! A client made of a script: it encodes requests, keeps MessageIds, credits and keys of its own,
//! and believes no response that it has not checked. It does no I/O, so any way to carry messages
//! will do; [`Pair`](super::pair::Pair) is one.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::crypto::kdf::SessionKeys;
use crate::crypto::preauth::PreauthHash;
use crate::crypto::seal::{Cipher, Sealer};
use crate::crypto::sign::{Signer, SigningAlgorithm};
use crate::wire::codec::{Malformed, Writer};
use crate::wire::dialect::Dialect;
use crate::wire::error::ErrorResponse;
use crate::wire::frame::{Frame, LENGTH_MAX, PREFIX};
use crate::wire::header::{Command, Header, HeaderFlags, HeaderId};
use crate::wire::negotiate::{Capabilities, NegotiateResponse};
use crate::wire::negotiate_context::NegotiateContext;
use crate::wire::read::ReadResponse;
use crate::wire::status::NtStatus;
use crate::wire::transform::TransformHeader;

use super::ask::{Ask, decode_body};

/// The session key of every logon: NTLM lets the client choose it.
pub(crate) const SESSION_KEY: [u8; 16] = [0x42; 16];

/// How a message is protected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Guard {
    Plain,
    Signed,
    Sealed,
}

/// The client's side of one connection.
pub(crate) struct Client {
    pub(crate) dialect: Dialect,
    pub(crate) signing: SigningAlgorithm,
    pub(crate) cipher: Option<Cipher>,
    /// Over the NEGOTIATE messages.
    pub(crate) preauth: PreauthHash,
    /// What requests belong to unless they say otherwise; 0 before the first logon.
    pub(crate) session_id: u64,
    /// MessageIds granted and not used.
    pub(crate) credits: u64,
    next_message_id: u64,
    sessions: BTreeMap<u64, Keys>,
}

/// The client's keys of one session.
pub(crate) struct Keys {
    signer: Signer,
    sealing: Option<Sealing>,
}

struct Sealing {
    /// With server_in, which the server opens with.
    seals: Sealer,
    /// With server_out, which the server seals with.
    opens: Sealer,
    /// What the server has used with this key.
    nonces: BTreeSet<[u8; 16]>,
}

/// One message of the server, opened and verified.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) sealed: bool,
    pub(crate) responses: Vec<Response>,
}

/// One response.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) header: Header,
    /// From its header on, padding included.
    pub(crate) message: Vec<u8>,
}

impl Keys {
    /// MS-SMB2 3.2.5.3: what the client derives once the server has accepted.
    pub(crate) fn derive(client: &Client, preauth: &PreauthHash) -> Self {
        Self::derive_from(&SESSION_KEY, client, preauth)
    }

    /// The same with another session key.
    pub(crate) fn derive_from(key: &[u8; 16], client: &Client, preauth: &PreauthHash) -> Self {
        let (dialect, hash) = (client.dialect.0, preauth.as_bytes());
        let keys = SessionKeys::derive(dialect, key, key, hash, client.cipher);
        let signer = Signer::new(client.signing, keys.signing.as_bytes()).unwrap();
        let sealing = client.cipher.zip(keys.server_in).zip(keys.server_out).map(
            |((cipher, server_in), server_out)| Sealing {
                seals: Sealer::new(cipher, server_in.as_bytes()).unwrap(),
                opens: Sealer::new(cipher, server_out.as_bytes()).unwrap(),
                nonces: BTreeSet::new(),
            },
        );
        Self { signer, sealing }
    }
}

impl Client {
    /// A client that has said nothing yet. It holds MessageId 0.
    pub(crate) fn new() -> Self {
        Self {
            dialect: Dialect::default(),
            signing: SigningAlgorithm::HmacSha256,
            cipher: None,
            preauth: PreauthHash::new(),
            session_id: 0,
            credits: 1,
            next_message_id: 0,
            sessions: BTreeMap::new(),
        }
    }

    /// What the NEGOTIATE response has settled, MS-SMB2 3.2.5.2.
    pub(crate) fn settle(&mut self, request: &[u8], response: &Response) {
        let answer = response.body(NegotiateResponse::decode);
        self.preauth = PreauthHash::new();
        self.preauth.update(request);
        self.preauth.update(&response.message);
        self.dialect = answer.dialect;
        let is_3 = self.dialect >= Dialect::SMB_3_0;
        self.signing = if is_3 { SigningAlgorithm::AesCmac } else { SigningAlgorithm::HmacSha256 };
        let by_flag = answer.capabilities.contains(Capabilities::ENCRYPTION);
        self.cipher = by_flag.then_some(Cipher::Aes128Ccm);
        for context in &answer.contexts {
            match context {
                NegotiateContext::Encryption { ciphers } => {
                    self.cipher = Cipher::from_wire(ciphers[0].0);
                }
                NegotiateContext::Signing { algorithms } => {
                    self.signing = SigningAlgorithm::from_wire(algorithms[0].0).unwrap();
                }
                _ => {}
            }
        }
    }

    // ---- sessions

    /// Takes the keys of a session, to protect and verify with.
    pub(crate) fn learn(&mut self, session_id: u64, keys: Keys) {
        self.sessions.insert(session_id, keys);
    }

    /// Forgets a session.
    pub(crate) fn forget(&mut self, session_id: u64) {
        self.sessions.remove(&session_id);
    }

    /// Whether the keys of a session are known.
    pub(crate) fn knows(&self, session_id: u64) -> bool {
        self.sessions.contains_key(&session_id)
    }

    /// Whether messages of a session can be sealed.
    pub(crate) fn can_seal(&self, session_id: u64) -> bool {
        self.sessions.get(&session_id).is_some_and(|keys| keys.sealing.is_some())
    }

    // ---- requests

    /// One message of one or more requests. Unless a request names its MessageId it takes the next.
    pub(crate) fn encode(&mut self, guard: Guard, asks: &[Ask]) -> Vec<u8> {
        let plain = self.plain(guard, asks);
        let session_id = asks[0].session_id.unwrap_or(self.session_id);
        self.protect(guard, session_id, plain)
    }

    /// The message before it is protected.
    pub(crate) fn plain(&mut self, guard: Guard, asks: &[Ask]) -> Vec<u8> {
        let mut out = Vec::new();
        for (index, ask) in asks.iter().enumerate() {
            let start = out.len();
            let header = self.header(guard, ask);
            header.encode(&mut Writer::at(&mut out, start));
            out.extend_from_slice(&ask.body);
            if index + 1 < asks.len() {
                let length = (out.len() - start).next_multiple_of(8);
                out.resize(start + length, 0);
                out[start + 20..start + 24].copy_from_slice(&(length as u32).to_le_bytes());
            }
        }
        out
    }

    fn header(&mut self, guard: Guard, ask: &Ask) -> Header {
        let mut flags = ask.flags;
        flags.set(HeaderFlags::SIGNED, guard == Guard::Signed);
        Header {
            credit_charge: ask.charge,
            command: ask.command,
            credits: ask.credits,
            flags,
            message_id: ask.message_id.unwrap_or_else(|| self.take_ids(ask.charge)),
            id: match ask.async_id {
                Some(async_id) => HeaderId::Async { async_id },
                None => HeaderId::Sync { process_id: 0xfeff, tree_id: ask.tree_id },
            },
            session_id: ask.session_id.unwrap_or(self.session_id),
            ..Header::default()
        }
    }

    /// MS-SMB2 3.2.4.1.5: a request takes as many consecutive ids as it is charged.
    fn take_ids(&mut self, charge: u16) -> u64 {
        let multi_credit = self.dialect > Dialect::SMB_2_0_2;
        let charge = if multi_credit { u64::from(charge.max(1)) } else { 1 };
        self.credits = self.credits.checked_sub(charge).expect("the script has credits left");
        let first = self.next_message_id;
        self.next_message_id += charge;
        first
    }

    /// The id that the next request takes.
    pub(crate) const fn next_message_id(&self) -> u64 {
        self.next_message_id
    }

    /// From here on the client holds `message_id` and no other id.
    pub(crate) const fn start_at(&mut self, message_id: u64) {
        self.next_message_id = message_id;
        self.credits = 1;
    }

    /// Signs every request of a plain message, or seals the message.
    pub(crate) fn protect(&self, guard: Guard, session_id: u64, mut message: Vec<u8>) -> Vec<u8> {
        match guard {
            Guard::Plain => message,
            Guard::Signed => {
                let signer = &self.sessions[&session_id].signer;
                for range in elements(&message) {
                    signer.sign(&mut message[range]).unwrap();
                }
                message
            }
            Guard::Sealed => {
                let sealing = self.sessions[&session_id].sealing.as_ref().expect("a cipher");
                message.splice(0..0, [0; TransformHeader::SIZE]);
                sealing.seals.seal(&mut message, session_id).unwrap();
                message
            }
        }
    }

    // ---- responses

    /// Takes one message with its prefix and checks everything that holds for every one of them.
    pub(crate) fn decode(&mut self, bytes: &[u8]) -> Answer {
        let (prefix, message) = bytes.split_first_chunk::<PREFIX>().expect("a prefix");
        let length = message.len();
        assert_eq!(Frame::decode(*prefix, LENGTH_MAX), Ok(Frame::Message { length }));
        let mut message = message.to_vec();
        let sealed = message.starts_with(&TransformHeader::PROTOCOL_ID);
        if sealed {
            self.open(&mut message);
        }
        let responses: Vec<Response> = elements(&message)
            .into_iter()
            .map(|range| self.response(sealed, message[range].to_vec()))
            .collect();
        self.credits += responses.iter().map(|it| u64::from(it.header.credits)).sum::<u64>();
        Answer { sealed, responses }
    }

    fn open(&mut self, message: &mut Vec<u8>) {
        let header = TransformHeader::decode(message).unwrap();
        let keys = self.sessions.get_mut(&header.session_id).expect("a session of ours");
        let sealing = keys.sealing.as_mut().expect("a session that can be sealed");
        // MS-SMB2 3.1.4.3: no nonce is used twice with a key.
        assert!(sealing.nonces.insert(header.nonce), "a nonce was used again");
        sealing.opens.open(message).expect("a seal made with our key");
        message.drain(..TransformHeader::SIZE);
    }

    fn response(&self, sealed: bool, mut message: Vec<u8>) -> Response {
        let header = Header::decode(&message).unwrap();
        assert!(header.is_response());
        if header.flags.contains(HeaderFlags::SIGNED) {
            // MS-SMB2 3.3.4.1.1: what is encrypted is not signed as well.
            assert!(!sealed, "signed inside of a seal");
            let keys = self.sessions.get(&header.session_id).expect("a session of ours");
            assert!(keys.signer.verify(&mut message), "a bad signature");
        } else {
            assert_eq!(header.signature, [0; 16], "a signature without its flag");
        }
        let response = Response { header, message };
        response.assert_well_formed();
        response
    }
}

impl Answer {
    /// The only response.
    pub(crate) fn one(self) -> Response {
        let [response] = <[Response; 1]>::try_from(self.responses).expect("one response");
        response
    }

    /// The statuses, in order.
    pub(crate) fn statuses(&self) -> Vec<NtStatus> {
        self.responses.iter().map(|response| response.header.status).collect()
    }
}

impl Response {
    pub(crate) const fn status(&self) -> NtStatus {
        self.header.status
    }

    pub(crate) const fn is_signed(&self) -> bool {
        self.header.flags.contains(HeaderFlags::SIGNED)
    }

    /// The body of its command.
    pub(crate) fn body<T>(&self, decode: impl Fn(&[u8]) -> Result<T, Malformed>) -> T {
        decode(&self.message).expect("a well-formed body")
    }

    /// The payload of a READ response.
    pub(crate) fn payload(&self) -> &[u8] {
        assert_eq!(self.header.command, Command::READ);
        &self.message[self.body(ReadResponse::decode).data]
    }

    fn assert_well_formed(&self) {
        let Header { command, status, .. } = self.header;
        if ErrorResponse::is_body_of(command, status) {
            self.body(ErrorResponse::decode);
        } else {
            decode_body(command, &self.message).expect("a well-formed body");
        }
    }
}

/// Where the elements of a message lie. What does not chain ends the list.
fn elements(message: &[u8]) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut start = 0;
    while let Ok(header) = Header::decode(message.get(start..).unwrap_or_default()) {
        let next = header.next_command as usize;
        let end = start.saturating_add(next);
        if next < Header::SIZE || end > message.len() {
            ranges.push(start..message.len());
            break;
        }
        ranges.push(start..end);
        start = end;
    }
    ranges
}
