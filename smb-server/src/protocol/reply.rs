//! Replies to bytes: headers, credits, compound chaining, signatures, encryption. MS-SMB2 3.3.4.1.

use std::io;

use crate::buffers::Buffer;
use crate::crypto::seal::SealError;
use crate::crypto::sign::{SignError, Signer};
use crate::transport::{Elsewhere, Leased};
use crate::wire::codec::Writer;
use crate::wire::error::ErrorResponse;
use crate::wire::frame::{Frame, PREFIX};
use crate::wire::header::{Command, Header, HeaderFlags, HeaderId};
use crate::wire::read::ReadResponse;
use crate::wire::status::NtStatus;
use crate::wire::transform::TransformHeader;
use crate::wire::{echo, flush, lock, logoff, set_info, tree_disconnect};

use super::channel::Channel;
use super::message::{Body, Parts, Payload, Reply, Transmit};
use super::outgoing::{self, Key, Unprotected};

/// The room in front of the first header: the stream's prefix and a transform header.
pub(super) const HEADROOM: usize = PREFIX + TransformHeader::SIZE;

/// Where the header says how far the next one is, MS-SMB2 2.2.1.
const NEXT_COMMAND: usize = 20;

/// What a request leaves behind for its response.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) command: Command,
    pub(super) message_id: u64,
    pub(super) credit_charge: u16,
    pub(super) credits_requested: u16,
    pub(super) session_id: u64,
    pub(super) process_id: u32,
    pub(super) tree_id: u32,
    pub(super) related: bool,
    /// The request was signed, so the response is.
    pub(super) signed: bool,
    /// The request was encrypted, so the response is.
    pub(super) sealed: bool,
    /// Set once an interim response has told it to the client.
    pub(super) async_id: Option<u64>,
}

impl Slot {
    /// Whether the request may be answered by an interim response first. Authentication and tree
    /// connects are not: clients do not expect it there. Neither do they for SET_INFO.
    pub(super) fn may_go_async(&self) -> bool {
        !matches!(
            self.command,
            Command::SESSION_SETUP
                | Command::LOGOFF
                | Command::TREE_CONNECT
                | Command::TREE_DISCONNECT
                | Command::SET_INFO
        )
    }

    /// What answers nothing. MS-SMB2 3.3.4.6: it has no ids, whatever session it is about.
    pub(super) fn unsolicited(command: Command) -> Self {
        Self {
            command,
            message_id: Header::UNSOLICITED,
            credit_charge: 0,
            credits_requested: 0,
            session_id: 0,
            process_id: 0,
            tree_id: 0,
            related: false,
            signed: false,
            sealed: false,
            async_id: None,
        }
    }

    /// The response's header, without flags that depend on the session.
    fn header(&self, status: NtStatus, credits: u16) -> Header {
        let mut flags = HeaderFlags::SERVER_TO_REDIR;
        flags.set(HeaderFlags::RELATED_OPERATIONS, self.related);
        let id = match self.async_id {
            Some(async_id) => HeaderId::Async { async_id },
            None => HeaderId::Sync { process_id: self.process_id, tree_id: self.tree_id },
        };
        Header {
            credit_charge: self.credit_charge,
            status,
            command: self.command,
            credits,
            flags,
            next_command: 0,
            message_id: self.message_id,
            id,
            session_id: self.session_id,
            signature: [0; 16],
        }
    }
}

/// The response to one request, before it is protected.
pub(super) struct Response {
    pub(super) slot: Slot,
    pub(super) reply: Reply,
    pub(super) credits: u16,
    /// Sign it, if it is not sealed.
    pub(super) sign: bool,
}

impl Response {
    /// What is to be sent where bytes of the file that it has cannot be looked at any more.
    pub(super) fn if_bytes_are_lost(&self) -> Option<Self> {
        let Body::Read(payload) = &self.reply.body else { return None };
        payload.is_leased().then(|| Self {
            slot: self.slot.clone(),
            reply: Reply::error(NtStatus::IO_DEVICE_ERROR),
            ..*self
        })
    }

    fn into_parts(self) -> (Header, Body) {
        let Self { mut slot, reply, credits, sign } = self;
        if let Body::TreeConnect(tree_id, _) = &reply.body {
            // MS-SMB2 3.3.5.7: the header is where the client learns the TreeId.
            slot.tree_id = *tree_id;
        }
        let mut header = slot.header(reply.status, credits);
        header.flags.set(HeaderFlags::SIGNED, sign);
        (header, reply.body)
    }
}

/// A chain of responses as plain bytes, each element's range known.
pub(super) struct Encoded {
    buffer: Buffer,
    /// Where each element starts; the first at [`HEADROOM`].
    starts: Vec<usize>,
    /// What follows the buffer.
    tail: Vec<Elsewhere>,
    /// Behind its head, the buffer has what the tail has, to be signed and not to be sent.
    is_copied: bool,
}

impl Encoded {
    /// Encodes the responses of one chain. `error_contexts`: error data is in contexts, as of 3.1.1.
    pub(super) fn new(responses: Vec<Response>, error_contexts: bool) -> Self {
        let alone = responses.len() == 1;
        let starts = Vec::with_capacity(responses.len());
        let mut elements = Elements { buffer: Vec::new(), starts, error_contexts };
        for response in responses {
            match response.into_parts() {
                (header, Body::Read(payload)) if alone => return Self::around(&header, payload),
                (header, body) => elements.push(&header, body),
            }
        }
        if !alone {
            elements.pad_last();
        }
        let Elements { buffer, starts, .. } = elements;
        Self { buffer: buffer.into(), starts, tail: Vec::new(), is_copied: false }
    }

    /// The payload's buffer becomes the message's: its headroom takes the headers.
    fn around(header: &Header, payload: Payload) -> Self {
        let mut head = Vec::with_capacity(Payload::START - HEADROOM);
        encode_read_head(header, payload.len(), &mut head);
        let Parts { mut buffer, tail, is_copied } = payload.into_parts();
        if let Some(room) = buffer.get_mut(HEADROOM..Payload::START) {
            debug_assert_eq!(room.len(), head.len());
            room.iter_mut().zip(head).for_each(|(to, from)| *to = from);
        }
        Self { buffer, starts: vec![HEADROOM], tail, is_copied }
    }

    /// Leaves the head, and gives the rest of the memory back before the client has taken the answer.
    fn drop_copy(&mut self) {
        let head = self.buffer.get(..Payload::START).unwrap_or_default().to_vec();
        self.buffer = head.into();
    }

    /// Signs an element.
    ///
    /// # Errors
    /// The signer's; [`SignError::Lost`] where the bytes to be signed cannot be looked at any more.
    pub(super) fn sign(&mut self, index: usize, signer: &Signer) -> Result<(), SignError> {
        let Some(leased) = self.take_leased() else {
            return self.element_mut(index).map_or(Ok(()), |message| signer.sign(message));
        };
        let head = self.buffer.get_mut(HEADROOM..).unwrap_or_default();
        let looked = leased.look(head, |message| signer.signature(message));
        let (signature, mapped) = looked.map_err(|error| {
            note_lost(&error);
            SignError::Lost
        })?;
        self.tail.push(Elsewhere::Mapped(mapped));
        Signer::put(head, &signature?)
    }

    /// What is to be looked at where it is, if all of the payload is.
    fn take_leased(&mut self) -> Option<Leased> {
        match self.tail.pop_if(|last| matches!(last, Elsewhere::Leased(_))) {
            Some(Elsewhere::Leased(leased)) => Some(leased),
            _ => None,
        }
    }

    /// The element's bytes, its padding included.
    pub(super) fn element_mut(&mut self, index: usize) -> Option<&mut [u8]> {
        let start = *self.starts.get(index)?;
        let end = self.starts.get(index + 1).copied().unwrap_or(self.buffer.len());
        self.buffer.get_mut(start..end)
    }

    /// Whether it is so long that another thread may be worth the way there, and all of it here.
    pub(super) fn may_be_protected_apart(&self) -> bool {
        self.buffer.len() >= outgoing::APART_MIN && self.tail.is_empty()
    }

    /// The message, to be protected with `key`.
    pub(super) fn unprotected(self, key: Key) -> Unprotected {
        Unprotected::new(self.buffer, key)
    }

    /// The message with the bytes of its payload, encrypted.
    fn sealed_from(
        &self,
        leased: Leased,
        channel: &Channel,
        session_id: u64,
    ) -> Result<Buffer, SealError> {
        let head = self.buffer.get(HEADROOM..).unwrap_or_default();
        let mut sealed = Payload::buffer_for(leased.len());
        sealed.resize_stale(self.buffer.len().saturating_add(leased.len()));
        let frame = sealed.get_mut(PREFIX..).unwrap_or_default();
        let looked = leased.look(head, |message| channel.seal_from(message, frame, session_id));
        let (result, _not_sent) = looked.map_err(|error| {
            note_lost(&error);
            SealError::Lost
        })?;
        result.map(|()| sealed)
    }

    /// The finished message, encrypted with `seal` where there is one.
    ///
    /// # Errors
    /// The cipher's; [`SealError::Lost`] where the bytes to be sealed cannot be looked at any more. Nothing of the
    /// message may be sent then.
    pub(super) fn finish(mut self, seal: Option<(&Channel, u64)>) -> Result<Transmit, SealError> {
        if self.is_copied {
            self.drop_copy();
        }
        let start = match seal {
            None => HEADROOM - PREFIX,
            Some((channel, session_id)) => {
                match self.take_leased() {
                    Some(leased) => self.buffer = self.sealed_from(leased, channel, session_id)?,
                    None => {
                        let sealed = self.buffer.get_mut(PREFIX..).unwrap_or_default();
                        channel.seal(sealed, session_id)?;
                    }
                }
                0
            }
        };
        put_prefix(&mut self.buffer, start, Elsewhere::total(&self.tail));
        Ok(Transmit { buffer: self.buffer, start, tail: self.tail })
    }
}

/// Bytes of a file could not be looked at.
fn note_lost(error: &io::Error) {
    tracing::warn!(%error, "what a client has read is there no more and cannot be protected");
}

/// Several responses, or one that is written as a whole, as they come.
struct Elements {
    buffer: Vec<u8>,
    starts: Vec<usize>,
    error_contexts: bool,
}

impl Elements {
    fn push(&mut self, header: &Header, body: Body) {
        let start = self.next_start();
        self.starts.push(start);
        if let Body::Read(payload) = body {
            encode_read_head(header, payload.len(), &mut self.buffer);
            self.buffer.extend_from_slice(payload.bytes());
            return;
        }
        let mut w = Writer::at(&mut self.buffer, start);
        header.encode(&mut w);
        encode_body(body, self.error_contexts, &mut w);
    }

    /// Pads the element before and links it to the one that begins here.
    fn next_start(&mut self) -> usize {
        let Some((previous, length)) = self.pad_last() else {
            self.buffer.resize(HEADROOM, 0);
            return HEADROOM;
        };
        set_next_command(&mut self.buffer, previous, length);
        previous + length
    }

    /// Pads the last element, as MS-SMB2 3.3.4.1.3 demands of all but the last and Windows does with that,
    /// too. Tells where it starts, and how long it is then.
    fn pad_last(&mut self) -> Option<(usize, usize)> {
        let start = self.starts.last().copied()?;
        let length = (self.buffer.len() - start).next_multiple_of(8);
        self.buffer.resize(start + length, 0);
        Some((start, length))
    }
}

/// Says how long a message is that begins at `start` with room for that, and goes on for `tail` bytes elsewhere.
pub(super) fn put_prefix(buffer: &mut [u8], start: usize, tail: usize) {
    let here = buffer.len().saturating_sub(start + PREFIX);
    // Intake bounds what a chain may ask for, so a response is never too long for its prefix.
    let prefix = Frame::message_prefix(here.saturating_add(tail)).unwrap_or_default();
    if let Some(room) = buffer.get_mut(start..start + PREFIX) {
        room.copy_from_slice(&prefix);
    }
}

fn set_next_command(buffer: &mut [u8], start: usize, length: usize) {
    let at = start + NEXT_COMMAND..start + NEXT_COMMAND + 4;
    if let (Some(field), Ok(length)) = (buffer.get_mut(at), u32::try_from(length)) {
        field.copy_from_slice(&length.to_le_bytes());
    }
}

fn encode_read_head(header: &Header, length: usize, out: &mut Vec<u8>) {
    let mut w = Writer::new(out);
    header.encode(&mut w);
    // A READ is at most 8 MiB, so the length fits.
    ReadResponse::encode_head(u32::try_from(length).unwrap_or(u32::MAX), &mut w);
}

fn encode_body(body: Body, error_contexts: bool, w: &mut Writer<'_>) {
    match body {
        Body::Error(data) => ErrorResponse::new(data, error_contexts).encode(w),
        Body::Negotiate(response) => response.encode(w),
        Body::SessionSetup(response) => response.encode(w),
        Body::Logoff => logoff::LogoffResponse.encode(w),
        Body::TreeConnect(_, response) => response.encode(w),
        Body::TreeDisconnect => tree_disconnect::TreeDisconnectResponse.encode(w),
        Body::Create(response) => response.encode(w),
        Body::Close(response) => response.encode(w),
        Body::Flush => flush::FlushResponse.encode(w),
        Body::Read(payload) => w.put_bytes(payload.bytes()),
        Body::Write(response) => response.encode(w),
        Body::Lock => lock::LockResponse.encode(w),
        Body::Ioctl(response) => response.encode(w),
        Body::Echo => echo::EchoResponse.encode(w),
        Body::QueryDirectory(response) => response.encode(w),
        Body::ChangeNotify(response) => response.encode(w),
        Body::QueryInfo(response) => response.encode(w),
        Body::OplockBreak(response) => response.encode(w),
        Body::BreakNotification(notification) => notification.encode(w),
        Body::SetInfo => set_info::SetInfoResponse.encode(w),
    }
}
