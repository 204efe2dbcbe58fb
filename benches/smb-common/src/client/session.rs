//! What a connection knows of its session: ids, credits and keys. It makes messages out of requests and opens what comes
//! back, and moves no byte.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use usmbd::crypto::seal::{Sealer, TRANSFORM_HEADER_LEN};
use usmbd::crypto::sign::Signer;
use usmbd::wire::codec::Writer;
use usmbd::wire::dialect::Dialect;
use usmbd::wire::frame::{Frame, PREFIX};
use usmbd::wire::guid::Guid;
use usmbd::wire::header::{Command, Header, HeaderFlags, HeaderId};
use usmbd::wire::negotiate::Capabilities;

use super::answer::{Answer, is_interim};
use super::peek::Peek;
use super::request::Request;

/// How many credits to have at hand: enough for any depth that makes sense here, and for a few large requests.
const CREDITS_WANTED: u64 = 1024;

/// Where a header has the length to the next one of its compound.
const NEXT_COMMAND: Range<usize> = 20..24;

/// What was agreed on before the logon.
#[derive(Clone, Debug)]
pub struct Agreed {
    /// The dialect.
    pub dialect: Dialect,
    /// The largest READ.
    pub read_max: u32,
    /// The largest WRITE.
    pub write_max: u32,
    /// What the server can do.
    pub capabilities: Capabilities,
    /// What signs, by name.
    pub signing: usmbd::crypto::sign::SigningAlgorithm,
    /// Names the client, on each of its connections.
    pub(super) client_guid: Guid,
}

/// Both directions of an encrypted session. All of its channels have the same.
pub(super) struct Seals {
    pub(super) client: Sealer,
    pub(super) server: Sealer,
    pub(super) peek: Peek,
}

/// A session, or one of its channels.
pub struct Session {
    pub(super) id: u64,
    pub(super) tree_id: u32,
    pub(super) agreed: Option<Agreed>,
    /// Signs, when requests are to be signed, and verifies.
    pub(super) signer: Option<Arc<Signer>>,
    pub(super) signing: bool,
    pub(super) seals: Option<Arc<Seals>>,
    next_message_id: u64,
    /// Message ids granted and not used.
    credits: u64,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Default for Session {
    fn default() -> Self {
        Self {
            id: 0,
            tree_id: 0,
            agreed: None,
            signer: None,
            signing: false,
            seals: None,
            next_message_id: 0,
            // MS-SMB2 3.2.1.2: one credit to begin with.
            credits: 1,
        }
    }
}

impl Session {
    /// What was agreed on, once it is.
    pub fn agreed(&self) -> Option<&Agreed> {
        self.agreed.as_ref()
    }

    /// Whether a request with this charge may be sent.
    pub const fn can_pay(&self, charge: u64) -> bool {
        self.credits >= charge
    }

    /// Whether messages leave as they are, so that a payload need not be in one piece with its head.
    pub const fn is_plain(&self) -> bool {
        !self.signing && self.seals.is_none()
    }

    /// Whether messages are encrypted.
    pub const fn is_sealed(&self) -> bool {
        self.seals.is_some()
    }

    /// Whether every message is signed.
    pub const fn is_signed(&self) -> bool {
        self.signing && self.seals.is_none()
    }

    /// Appends one message with its prefix; the ids of its requests, and where it lies. `tail` is the length of a payload
    /// that is sent behind it, which only a plain session has.
    ///
    /// # Errors
    /// Where it does not fit into a message.
    pub fn put<const N: usize>(
        &mut self,
        requests: [&dyn Request; N],
        tail: usize,
        out: &mut Vec<u8>,
    ) -> io::Result<([u64; N], Range<usize>)> {
        if tail > 0 && !self.is_plain() {
            return Err(io::Error::other("a payload apart from its head cannot be protected"));
        }
        let prefix = out.len();
        let room = if self.seals.is_some() { TRANSFORM_HEADER_LEN } else { 0 };
        let start = prefix + PREFIX + room;
        out.resize(start, 0);
        let mut ids = [0; N];
        for (index, request) in requests.into_iter().enumerate() {
            ids[index] = self.put_one(request, index > 0, index + 1 == N, out)?;
        }
        if let Some(seals) = &self.seals {
            seals.client.seal(&mut out[prefix + PREFIX..], self.id).map_err(io::Error::other)?;
        }
        let length = out.len() - prefix - PREFIX + tail;
        let announced = Frame::message_prefix(length).ok_or(io::ErrorKind::InvalidInput)?;
        out[prefix..prefix + PREFIX].copy_from_slice(&announced);
        Ok((ids, start..out.len()))
    }

    fn put_one(
        &mut self,
        request: &dyn Request,
        related: bool,
        last: bool,
        out: &mut Vec<u8>,
    ) -> io::Result<u64> {
        let start = out.len();
        let header = self.header(request, related);
        header.encode(&mut Writer::at(out, start));
        request.encode(&mut Writer::at(out, start));
        if !last {
            // MS-SMB2 3.2.4.1.4: each but the last is padded to a multiple of eight.
            let length = (out.len() - start).next_multiple_of(8);
            out.resize(start + length, 0);
            let next = u32::try_from(length).map_err(io::Error::other)?;
            out[start..][NEXT_COMMAND].copy_from_slice(&next.to_le_bytes());
        }
        if let Some(signer) = self.signer.as_ref().filter(|_| self.is_signed()) {
            signer.sign(&mut out[start..]).map_err(io::Error::other)?;
        }
        Ok(header.message_id)
    }

    fn header(&mut self, request: &dyn Request, related: bool) -> Header {
        let charge = request.charge();
        let message_id = self.next_message_id;
        self.next_message_id += u64::from(charge);
        self.credits = self.credits.saturating_sub(u64::from(charge));
        let more = CREDITS_WANTED.saturating_sub(self.credits).min(CREDITS_WANTED / 4);
        let mut flags = HeaderFlags::empty();
        flags.set(HeaderFlags::RELATED_OPERATIONS, related);
        flags.set(HeaderFlags::SIGNED, self.is_signed());
        Header {
            // MS-SMB2 3.2.4.1.5: not in the first message, whose dialect is not known yet, and not in 2.0.2.
            credit_charge: if self.has_charges(request) { charge } else { 0 },
            command: request.command(),
            credits: charge.max(u16::try_from(more).unwrap_or(charge)),
            flags,
            message_id,
            id: HeaderId::Sync { process_id: 0xfeff, tree_id: self.tree_id },
            session_id: self.id,
            ..Header::default()
        }
    }

    fn has_charges(&self, request: &dyn Request) -> bool {
        let dialect = self.agreed.as_ref().map(|agreed| agreed.dialect);
        request.command() != Command::NEGOTIATE && dialect != Some(Dialect::SMB_2_0_2)
    }

    /// The plain message in one that was received.
    ///
    /// # Errors
    /// Where it is not sealed as it should be.
    pub fn open(&self, mut frame: Vec<u8>) -> io::Result<Vec<u8>> {
        let Some(seals) = &self.seals else { return Ok(frame) };
        seals.server.open(&mut frame).map_err(io::Error::other)?;
        frame.drain(..TRANSFORM_HEADER_LEN);
        Ok(frame)
    }

    /// The beginning of the plain message in `frame`, whose end need not be there, as far as that goes; nobody has
    /// authenticated it.
    ///
    /// # Errors
    /// Where no sealed message begins so.
    pub fn peek(&self, frame: &mut [u8]) -> io::Result<Range<usize>> {
        match &self.seals {
            Some(seals) => seals.peek.open(frame),
            None => Ok(0..frame.len()),
        }
    }

    /// How many bytes there are in a frame before the message.
    pub const fn envelope(&self) -> usize {
        if self.seals.is_some() { TRANSFORM_HEADER_LEN } else { 0 }
    }

    /// Takes the credits of a response.
    pub fn earn(&mut self, header: &Header) {
        self.credits += u64::from(header.credits);
    }

    /// Whether a response has the signature that it should have.
    pub(super) fn verifies(&self, answer: &mut Answer) -> bool {
        self.signer.as_ref().is_some_and(|signer| signer.verify(answer.message_mut()))
    }

    /// MS-SMB2 3.2.5.1.3: with a session that signs, every final answer is signed, and what is signed, is signed right.
    ///
    /// # Errors
    /// Where it is not.
    pub fn check_signature(&self, answer: &mut Answer) -> io::Result<()> {
        // What ends a logon is signed with a key that comes of it: the logon itself sees to that.
        let is_logon = answer.header().command == Command::SESSION_SETUP;
        if self.signer.is_none() || self.seals.is_some() || is_logon {
            return Ok(());
        }
        let is_good = if answer.header().flags.contains(HeaderFlags::SIGNED) {
            self.verifies(answer)
        } else {
            !self.signing || is_interim(answer.header())
        };
        if is_good { Ok(()) } else { Err(io::Error::other("an answer with a wrong signature")) }
    }
}
