//! The requests of the scripts, and how to read what answers them.

use crate::wire::cancel::CancelRequest;
use crate::wire::close::{CloseRequest, CloseResponse};
use crate::wire::codec::{Malformed, Writer};
use crate::wire::create::{CreateRequest, CreateResponse};
use crate::wire::echo::{EchoRequest, EchoResponse};
use crate::wire::file_id::FileId;
use crate::wire::flush::FlushResponse;
use crate::wire::header::{Command, Header, HeaderFlags};
use crate::wire::ioctl::{CtlCode, IoctlFlags, IoctlRequest, IoctlResponse};
use crate::wire::logoff::{LogoffRequest, LogoffResponse};
use crate::wire::negotiate::{NegotiateRequest, NegotiateResponse};
use crate::wire::oplock_break::BreakNotification;
use crate::wire::query_directory::QueryDirectoryResponse;
use crate::wire::query_info::QueryInfoResponse;
use crate::wire::read::{ReadRequest, ReadResponse};
use crate::wire::session_setup::{SessionSetupRequest, SessionSetupResponse};
use crate::wire::set_info::{SetInfoRequest, SetInfoResponse};
use crate::wire::tree_connect::{TreeConnectRequest, TreeConnectResponse};
use crate::wire::tree_disconnect::TreeDisconnectResponse;
use crate::wire::utf16::Utf16;
use crate::wire::validate_negotiate::ValidateNegotiateInfoRequest;
use crate::wire::write::{WriteRequest, WriteResponse};

/// One request, without what the client knows itself.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) command: Command,
    pub(crate) body: Vec<u8>,
    pub(crate) charge: u16,
    /// How many credits it asks for.
    pub(crate) credits: u16,
    pub(crate) flags: HeaderFlags,
    pub(crate) tree_id: u32,
    /// `None`: the client's current session.
    pub(crate) session_id: Option<u64>,
    /// `None`: the client's next.
    pub(crate) message_id: Option<u64>,
    pub(crate) async_id: Option<u64>,
}

impl Ask {
    /// A request of `command` with the body that `encode` appends to a header.
    pub(crate) fn new(command: Command, encode: impl FnOnce(&mut Writer<'_>)) -> Self {
        let mut message = vec![0; Header::SIZE];
        encode(&mut Writer::at(&mut message, 0));
        Self {
            command,
            body: message.split_off(Header::SIZE),
            charge: 1,
            credits: 1,
            flags: HeaderFlags::empty(),
            tree_id: 7,
            session_id: None,
            message_id: None,
            async_id: None,
        }
    }

    // ---- the commands

    pub(crate) fn negotiate(request: &NegotiateRequest) -> Self {
        Self { charge: 0, ..Self::new(Command::NEGOTIATE, |w| request.encode(w)) }
    }

    pub(crate) fn session_setup(request: &SessionSetupRequest) -> Self {
        Self::new(Command::SESSION_SETUP, |w| request.encode(w)).credits(64)
    }

    pub(crate) fn logoff() -> Self {
        Self::new(Command::LOGOFF, |w| LogoffRequest.encode(w))
    }

    pub(crate) fn tree_connect(path: &str) -> Self {
        let path = Utf16::from_str(path);
        let request = TreeConnectRequest { path, ..TreeConnectRequest::default() };
        Self { tree_id: 0, ..Self::new(Command::TREE_CONNECT, |w| request.encode(w)) }
    }

    pub(crate) fn create(name: &str) -> Self {
        let request = CreateRequest { name: Utf16::from_str(name), ..CreateRequest::default() };
        Self::new(Command::CREATE, |w| request.encode(w))
    }

    pub(crate) fn close() -> Self {
        let request = CloseRequest { file_id: FileId::ANY, ..CloseRequest::default() };
        Self::new(Command::CLOSE, |w| request.encode(w))
    }

    /// A READ that pays for what it asks for, MS-SMB2 3.1.5.2.
    pub(crate) fn read(length: u32) -> Self {
        let request = ReadRequest { length, ..ReadRequest::default() };
        Self::new(Command::READ, |w| request.encode(w)).charge(charge_for(length as usize))
    }

    /// A WRITE that pays for what it sends.
    pub(crate) fn write(data: &[u8]) -> Self {
        let request = WriteRequest::default();
        Self::new(Command::WRITE, |w| request.encode(data, w)).charge(charge_for(data.len()))
    }

    pub(crate) fn set_info() -> Self {
        let request = SetInfoRequest { buffer: vec![1; 8], ..SetInfoRequest::default() };
        Self::new(Command::SET_INFO, |w| request.encode(w))
    }

    pub(crate) fn echo() -> Self {
        Self::new(Command::ECHO, |w| EchoRequest.encode(w))
    }

    /// A CANCEL by MessageId. It takes none of its own.
    pub(crate) fn cancel(message_id: u64) -> Self {
        let ask = Self::new(Command::CANCEL, |w| CancelRequest.encode(w));
        Self { message_id: Some(message_id), charge: 0, credits: 0, ..ask }
    }

    /// A CANCEL by AsyncId. Its MessageId says nothing.
    pub(crate) fn cancel_async(async_id: u64) -> Self {
        Self { async_id: Some(async_id), ..Self::cancel(0) }
    }

    /// FSCTL_VALIDATE_NEGOTIATE_INFO with room for `max_output` bytes of answer.
    pub(crate) fn validate(claim: &ValidateNegotiateInfoRequest, max_output: u32) -> Self {
        let mut input = Vec::new();
        claim.encode(&mut Writer::new(&mut input));
        let request = IoctlRequest {
            ctl_code: CtlCode::FSCTL_VALIDATE_NEGOTIATE_INFO,
            file_id: FileId::ANY,
            max_output_response: max_output,
            flags: IoctlFlags::IS_FSCTL,
            input,
            ..IoctlRequest::default()
        };
        Self::new(Command::IOCTL, |w| request.encode(w))
    }

    // ---- changes

    pub(crate) fn charge(self, charge: u16) -> Self {
        Self { charge, ..self }
    }

    pub(crate) fn credits(self, credits: u16) -> Self {
        Self { credits, ..self }
    }

    pub(crate) fn session(self, session_id: u64) -> Self {
        Self { session_id: Some(session_id), ..self }
    }

    pub(crate) fn tree(self, tree_id: u32) -> Self {
        Self { tree_id, ..self }
    }

    pub(crate) fn message_id(self, message_id: u64) -> Self {
        Self { message_id: Some(message_id), ..self }
    }

    pub(crate) fn related(self) -> Self {
        Self { flags: HeaderFlags::RELATED_OPERATIONS, ..self }
    }
}

/// MS-SMB2 3.1.5.2: a credit for each 64 KiB begun.
pub(crate) fn charge_for(length: usize) -> u16 {
    u16::try_from(length.div_ceil(65_536).max(1)).unwrap()
}

/// Reads the body of a successful response.
pub(super) fn decode_body(command: Command, message: &[u8]) -> Result<(), Malformed> {
    match command {
        Command::NEGOTIATE => NegotiateResponse::decode(message).map(drop),
        Command::SESSION_SETUP => SessionSetupResponse::decode(message).map(drop),
        Command::LOGOFF => LogoffResponse::decode(message).map(drop),
        Command::TREE_CONNECT => TreeConnectResponse::decode(message).map(drop),
        Command::TREE_DISCONNECT => TreeDisconnectResponse::decode(message).map(drop),
        Command::CREATE => CreateResponse::decode(message).map(drop),
        Command::CLOSE => CloseResponse::decode(message).map(drop),
        Command::FLUSH => FlushResponse::decode(message).map(drop),
        Command::READ => ReadResponse::decode(message).map(drop),
        Command::WRITE => WriteResponse::decode(message).map(drop),
        Command::IOCTL => IoctlResponse::decode(message).map(drop),
        Command::ECHO => EchoResponse::decode(message).map(drop),
        Command::QUERY_DIRECTORY => QueryDirectoryResponse::decode(message).map(drop),
        Command::QUERY_INFO => QueryInfoResponse::decode(message).map(drop),
        Command::SET_INFO => SetInfoResponse::decode(message).map(drop),
        Command::OPLOCK_BREAK => BreakNotification::decode(message).map(drop),
        _ => Err(Malformed::new("success of a command that has none")),
    }
}
