//! Bytes to requests: unseal, split the compound, check window, session and signature, decode.
//! MS-SMB2 3.3.5.2, in the order of its sections.

use std::ops::Range;

use bytes::Bytes;

use crate::wire::change_notify::ChangeNotifyRequest;
use crate::wire::close::CloseRequest;
use crate::wire::codec::Malformed;
use crate::wire::create::CreateRequest;
use crate::wire::flush::FlushRequest;
use crate::wire::header::{Command, Header, HeaderFlags, HeaderId};
use crate::wire::ioctl::IoctlRequest;
use crate::wire::lock::LockRequest;
use crate::wire::oplock_break::BreakAcknowledgment;
use crate::wire::query_directory::QueryDirectoryRequest;
use crate::wire::query_info::QueryInfoRequest;
use crate::wire::read::ReadRequest;
use crate::wire::set_info::SetInfoRequest;
use crate::wire::transform::TransformHeader;
use crate::wire::tree_connect::TreeConnectRequest;
use crate::wire::tree_disconnect::TreeDisconnectRequest;
use crate::wire::write::WriteRequest;
use crate::wire::{echo::EchoRequest, logoff::LogoffRequest};

use super::error::Disconnect;
use super::message::Request;
use super::reply::Slot;

/// How many requests one compound may hold. Clients send up to about ten; each costs a little
/// before any of them has been looked at.
const ELEMENTS_MAX: usize = 64;

/// The bytes one credit pays for, MS-SMB2 3.3.5.2.5.
const BYTES_PER_CREDIT: u32 = 65_536;

/// The first four bytes of a message, which say what it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Smb1,
    Smb2,
    Sealed,
}

impl Kind {
    pub(super) fn of(message: &[u8]) -> Result<Self, Disconnect> {
        match message.first_chunk() {
            Some([0xff, b'S', b'M', b'B']) => Ok(Self::Smb1),
            Some([0xfe, b'S', b'M', b'B']) => Ok(Self::Smb2),
            Some([0xfd, b'S', b'M', b'B']) => Ok(Self::Sealed),
            Some([0xfc, b'S', b'M', b'B']) => {
                Err(Disconnect::Violation("compression was not negotiated"))
            }
            _ => Err(Malformed::new("protocol id").into()),
        }
    }
}

/// One request of a message, located and with its header read; nothing checked yet.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) header: Header,
    /// Its bytes in the message, padding included: what a signature covers.
    pub(super) range: Range<usize>,
}

/// Finds the requests in `message[start..]`.
pub(super) fn split(message: &[u8], start: usize) -> Result<Vec<Part>, Disconnect> {
    let mut parts = Vec::new();
    let mut at = start;
    loop {
        let rest = message.get(at..).unwrap_or_default();
        let header = Header::decode(rest)?;
        if header.is_response() {
            return Err(Disconnect::Violation("a response from a client"));
        }
        let next = header.next_command as usize;
        // MS-SMB2 3.3.5.2.7: the next request is 8-byte aligned and inside the message.
        if !next.is_multiple_of(8) || (next != 0 && next < Header::SIZE) || next > rest.len() {
            return Err(Malformed::new("NextCommand").into());
        }
        let length = if next == 0 { rest.len() } else { next };
        parts.push(Part { header, range: at..at.saturating_add(length) });
        if next == 0 {
            return Ok(parts);
        }
        if parts.len() == ELEMENTS_MAX {
            return Err(Disconnect::Violation("too many requests in one compound"));
        }
        at = at.saturating_add(next);
    }
}

/// What the response will need to know. `before` is the element that this one may be related to.
pub(super) fn slot(header: &Header, sealed: bool, before: Option<&Slot>) -> Slot {
    let related = header.flags.contains(HeaderFlags::RELATED_OPERATIONS);
    let (process_id, tree_id) = match header.id {
        HeaderId::Sync { process_id, tree_id } => (process_id, tree_id),
        HeaderId::Async { .. } => (0, 0),
    };
    let mut slot = Slot {
        command: header.command,
        message_id: header.message_id,
        credit_charge: header.credit_charge,
        credits_requested: header.credits,
        session_id: header.session_id,
        process_id,
        tree_id,
        related,
        signed: header.flags.contains(HeaderFlags::SIGNED),
        sealed,
        async_id: None,
    };
    if let (true, Some(before)) = (related, before) {
        // MS-SMB2 3.3.5.2.7.2: related requests inherit both ids, whatever their headers say.
        slot.session_id = before.session_id;
        slot.tree_id = before.tree_id;
    }
    slot
}

/// The session that a sealed message claims, before it is opened.
pub(super) fn sealed_session(message: &[u8]) -> Result<u64, Disconnect> {
    Ok(TransformHeader::decode(message)?.session_id)
}

/// Decodes the requests that the commands carry out or the protocol answers after the session check.
/// `rest`: how many bytes of a WRITE's payload are elsewhere. `None`: a command that does not exist or is not one
/// of these.
pub(super) fn decode(
    command: Command,
    message: &Bytes,
    rest: usize,
) -> Result<Option<Request>, Malformed> {
    Ok(Some(match command {
        Command::LOGOFF => LogoffRequest::decode(message).map(|_| Request::Logoff)?,
        Command::TREE_CONNECT => Request::TreeConnect(TreeConnectRequest::decode(message)?),
        Command::TREE_DISCONNECT => {
            TreeDisconnectRequest::decode(message).map(|_| Request::TreeDisconnect)?
        }
        Command::CREATE => Request::Create(CreateRequest::decode(message)?),
        Command::CLOSE => Request::Close(CloseRequest::decode(message)?),
        Command::FLUSH => Request::Flush(FlushRequest::decode(message)?),
        Command::READ => Request::Read(ReadRequest::decode(message)?),
        Command::WRITE => {
            let length = message.len().saturating_add(rest);
            Request::Write(WriteRequest::decode_head(message, length)?)
        }
        Command::LOCK => Request::Lock(LockRequest::decode(message)?),
        Command::IOCTL => Request::Ioctl(IoctlRequest::decode(message)?),
        Command::QUERY_DIRECTORY => {
            Request::QueryDirectory(QueryDirectoryRequest::decode(message)?)
        }
        Command::CHANGE_NOTIFY => Request::ChangeNotify(ChangeNotifyRequest::decode(message)?),
        Command::QUERY_INFO => Request::QueryInfo(QueryInfoRequest::decode(message)?),
        Command::SET_INFO => Request::SetInfo(SetInfoRequest::decode(message)?),
        Command::OPLOCK_BREAK => Request::OplockBreak(BreakAcknowledgment::decode(message)?),
        _ => return Ok(None),
    }))
}

/// Decodes an ECHO, which has nothing in it.
pub(super) fn decode_echo(message: &[u8]) -> Result<(), Malformed> {
    EchoRequest::decode(message).map(|_| ())
}

/// The larger of what a request sends and what it may receive, in bytes.
pub(super) fn transfer_size(request: &Request) -> u32 {
    let sent = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
    match request {
        Request::Read(read) => read.length,
        Request::Write(write) => sent(write.data.len()),
        Request::Ioctl(ioctl) => sent(ioctl.input.len())
            .max(ioctl.max_input_response.saturating_add(ioctl.max_output_response)),
        Request::QueryDirectory(query) => query.output_buffer_length,
        Request::ChangeNotify(notify) => notify.output_buffer_length,
        Request::QueryInfo(query) => query.output_buffer_length.max(sent(query.input.len())),
        Request::SetInfo(set) => sent(set.buffer.len()),
        _ => 0,
    }
}

/// The CreditCharge that a transfer of `size` bytes must have paid, MS-SMB2 3.3.5.2.5.
pub(super) fn charge_for(size: u32) -> u16 {
    let credits = size.saturating_sub(1) / BYTES_PER_CREDIT + 1;
    u16::try_from(credits).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credit_pays_for_64_kib() {
        // MS-SMB2 3.1.5.2: (max(send, response) - 1) / 65536 + 1.
        let expected = [(0, 1), (1, 1), (65_536, 1), (65_537, 2), (1 << 20, 16), (8 << 20, 128)];
        for (size, charge) in expected {
            assert_eq!(charge_for(size), charge, "{size} bytes");
        }
    }
}
