//! The 64-byte header before every SMB2 message, MS-SMB2 2.2.1, and the numbers of the commands.

use bitflags::bitflags;

use super::codec::{Malformed, Reader, Writer};
use super::status::NtStatus;

/// An SMB2 header, of a request or of a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    pub credit_charge: u16,
    /// In a response. In a request the same bytes are [`Self::channel_sequence`] and 16 reserved
    /// bits.
    pub status: NtStatus,
    pub command: Command,
    /// Requested in a request, granted in a response.
    pub credits: u16,
    pub flags: HeaderFlags,
    /// Offset from this header to the next one of the compound; 0 in the last.
    pub next_command: u32,
    pub message_id: u64,
    /// Decides about [`HeaderFlags::ASYNC_COMMAND`] when encoded.
    pub id: HeaderId,
    pub session_id: u64,
    pub signature: [u8; 16],
}

/// The eight bytes that a synchronous and an asynchronous message use differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderId {
    /// `process_id` is reserved, and copied from the request into the response.
    Sync { process_id: u32, tree_id: u32 },
    /// The response comes later, or its request is being cancelled, under this number.
    Async { async_id: u64 },
}

impl Default for HeaderId {
    fn default() -> Self {
        Self::Sync { process_id: 0, tree_id: 0 }
    }
}

bitflags! {
    /// MS-SMB2 2.2.1, Flags.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct HeaderFlags: u32 {
        /// Set in a response.
        const SERVER_TO_REDIR = 0x0000_0001;
        const ASYNC_COMMAND = 0x0000_0002;
        const RELATED_OPERATIONS = 0x0000_0004;
        const SIGNED = 0x0000_0008;
        const PRIORITY_MASK = 0x0000_0070;
        const DFS_OPERATIONS = 0x1000_0000;
        const REPLAY_OPERATION = 0x2000_0000;
    }
}

open_enum! {
    /// MS-SMB2 2.2.1, Command.
    pub struct Command(u16) {
        NEGOTIATE = 0x0000,
        SESSION_SETUP = 0x0001,
        LOGOFF = 0x0002,
        TREE_CONNECT = 0x0003,
        TREE_DISCONNECT = 0x0004,
        CREATE = 0x0005,
        CLOSE = 0x0006,
        FLUSH = 0x0007,
        READ = 0x0008,
        WRITE = 0x0009,
        LOCK = 0x000a,
        IOCTL = 0x000b,
        CANCEL = 0x000c,
        ECHO = 0x000d,
        QUERY_DIRECTORY = 0x000e,
        CHANGE_NOTIFY = 0x000f,
        QUERY_INFO = 0x0010,
        SET_INFO = 0x0011,
        OPLOCK_BREAK = 0x0012,
    }
}

impl Header {
    pub const SIZE: usize = 64;
    /// The first four bytes of an SMB2 message.
    pub const PROTOCOL_ID: [u8; 4] = [0xfe, b'S', b'M', b'B'];
    /// Where the signature lies, to be zeroed while signing.
    pub const SIGNATURE: std::ops::Range<usize> = 48..64;
    /// The message id of what the server says unasked: a break notification.
    pub const UNSOLICITED: u64 = u64::MAX;

    /// Reads the header at the start of `message`.
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(message, "SMB2 header");
        if r.array()? != Self::PROTOCOL_ID || r.u16()? != 64 {
            return Err(r.malformed());
        }
        let credit_charge = r.u16()?;
        let status = NtStatus(r.u32()?);
        let command = Command(r.u16()?);
        let credits = r.u16()?;
        let flags = HeaderFlags::from_bits_retain(r.u32()?);
        let next_command = r.u32()?;
        let message_id = r.u64()?;
        let id = HeaderId::decode(flags, &mut r)?;
        let session_id = r.u64()?;
        let signature = r.array()?;
        Ok(Self {
            credit_charge,
            status,
            command,
            credits,
            flags,
            next_command,
            message_id,
            id,
            session_id,
            signature,
        })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        let is_async = matches!(self.id, HeaderId::Async { .. });
        let mut flags = self.flags;
        flags.set(HeaderFlags::ASYNC_COMMAND, is_async);
        w.put_bytes(&Self::PROTOCOL_ID);
        w.put_u16(64);
        w.put_u16(self.credit_charge);
        w.put_u32(self.status.0);
        w.put_u16(self.command.0);
        w.put_u16(self.credits);
        w.put_u32(flags.bits());
        w.put_u32(self.next_command);
        w.put_u64(self.message_id);
        self.id.encode(w);
        w.put_u64(self.session_id);
        w.put_bytes(&self.signature);
    }

    /// Of a request in dialects 3.x: the low half of the status field.
    pub fn channel_sequence(&self) -> u16 {
        let [low, high, ..] = self.status.0.to_le_bytes();
        u16::from_le_bytes([low, high])
    }

    /// The tree the message belongs to; an asynchronous message does not say.
    pub fn tree_id(&self) -> Option<u32> {
        match self.id {
            HeaderId::Sync { tree_id, .. } => Some(tree_id),
            HeaderId::Async { .. } => None,
        }
    }

    /// The number of an asynchronous message.
    pub fn async_id(&self) -> Option<u64> {
        match self.id {
            HeaderId::Sync { .. } => None,
            HeaderId::Async { async_id } => Some(async_id),
        }
    }

    /// Whether this is a response.
    pub fn is_response(&self) -> bool {
        self.flags.contains(HeaderFlags::SERVER_TO_REDIR)
    }
}

impl HeaderId {
    fn decode(flags: HeaderFlags, r: &mut Reader<'_>) -> Result<Self, Malformed> {
        if flags.contains(HeaderFlags::ASYNC_COMMAND) {
            return Ok(Self::Async { async_id: r.u64()? });
        }
        Ok(Self::Sync { process_id: r.u32()?, tree_id: r.u32()? })
    }

    fn encode(&self, w: &mut Writer<'_>) {
        match *self {
            Self::Sync { process_id, tree_id } => {
                w.put_u32(process_id);
                w.put_u32(tree_id);
            }
            Self::Async { async_id } => w.put_u64(async_id),
        }
    }
}
