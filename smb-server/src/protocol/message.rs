//! What crosses the protocol's upper edge: requests with their place in a chain, and replies.

use std::rc::Rc;

use bytes::Bytes;

use crate::auth::Principal;
use crate::buffers::Buffer;
use crate::wire::change_notify::{ChangeNotifyRequest, ChangeNotifyResponse};
use crate::wire::close::{CloseRequest, CloseResponse};
use crate::wire::create::{CreateRequest, CreateResponse};
use crate::wire::flush::FlushRequest;
use crate::wire::ioctl::{IoctlRequest, IoctlResponse};
use crate::wire::lock::LockRequest;
use crate::wire::negotiate::NegotiateResponse;
use crate::wire::oplock_break::{BreakAcknowledgment, BreakNotification};
use crate::wire::query_directory::{QueryDirectoryRequest, QueryDirectoryResponse};
use crate::wire::query_info::{QueryInfoRequest, QueryInfoResponse};
use crate::wire::read::{ReadRequest, ReadResponse};
use crate::wire::session_setup::SessionSetupResponse;
use crate::wire::set_info::SetInfoRequest;
use crate::wire::status::NtStatus;
use crate::wire::tree_connect::{TreeConnectRequest, TreeConnectResponse};
use crate::wire::write::{WriteRequest, WriteResponse};

use crate::transport::{Elsewhere, Pin};

use super::intake;
use super::reply::HEADROOM;

/// Names one chain of a connection until it is answered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ChainId(pub(super) u64);

/// One or more requests that arrived in one message and are answered in one message.
#[derive(Debug)]
pub struct Chain {
    /// By which the replies find their way.
    pub id: ChainId,
    /// To be carried out in this order.
    pub elements: Vec<Element>,
    /// What the answers will have around them.
    pub protection: Protection,
}

/// What keeps a message from being read or changed on its way. Decided by the request, MS-SMB2 3.3.4.1.1 and
/// 3.3.4.1.4, and so known before the answer is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Protection {
    /// Nothing.
    Plain,
    /// A signature.
    Signed,
    /// Encryption.
    Sealed,
}

impl Chain {
    /// The bytes of memory that the requests take.
    #[must_use]
    pub fn size(&self) -> usize {
        self.elements.iter().map(|element| element.bytes.len()).sum()
    }

    /// The bytes that they ask to be moved, which take memory while they are carried out.
    #[must_use]
    pub fn wanted(&self) -> usize {
        let wanted = |element: &Element| match &element.work {
            // Its answer has no memory before there is one, and may be long in coming.
            Work::Execute(Request::ChangeNotify(_)) => 0,
            Work::Execute(request) => intake::transfer_size(request) as usize,
            Work::Answered(_) => 0,
        };
        self.elements.iter().map(wanted).fold(0, usize::saturating_add)
    }
}

/// One request of a chain.
#[derive(Debug)]
pub struct Element {
    /// The session it belongs to, already authenticated and its signature verified.
    pub session_id: u64,
    /// The tree connect it names, as the client claims.
    pub tree_id: u32,
    /// It continues the element before: the same file, and it fails if that one failed.
    pub related: bool,
    /// What to do.
    pub work: Work,
    /// The element's bytes from its header on; a request's ranges refer to them.
    pub bytes: Bytes,
}

/// Whether an element still needs a command.
#[derive(Debug)]
pub enum Work {
    /// A command has to carry it out.
    Execute(Request),
    /// The protocol has answered it already; pass the reply back in its place.
    Answered(Reply),
}

/// A request for the commands.
#[derive(Debug)]
#[expect(missing_docs, reason = "each is the command of its name")]
pub enum Request {
    Logoff,
    TreeConnect(TreeConnectRequest),
    TreeDisconnect,
    Create(CreateRequest),
    Close(CloseRequest),
    Flush(FlushRequest),
    Read(ReadRequest),
    Write(WriteRequest),
    Lock(LockRequest),
    Ioctl(IoctlRequest),
    QueryDirectory(QueryDirectoryRequest),
    ChangeNotify(ChangeNotifyRequest),
    QueryInfo(QueryInfoRequest),
    SetInfo(SetInfoRequest),
    OplockBreak(BreakAcknowledgment),
}

/// The answer to one request.
#[derive(Debug)]
pub struct Reply {
    /// Goes into the header.
    pub status: NtStatus,
    /// What follows the header.
    pub body: Body,
}

/// What follows the header of a response.
#[derive(Debug)]
#[expect(missing_docs, reason = "each is the response of its name")]
pub enum Body {
    /// An error response with its error data (MS-SMB2 2.2.2), usually none.
    Error(Vec<u8>),
    Negotiate(NegotiateResponse),
    SessionSetup(SessionSetupResponse),
    Logoff,
    /// With the new TreeId.
    TreeConnect(u32, TreeConnectResponse),
    TreeDisconnect,
    Create(Box<CreateResponse>),
    Close(CloseResponse),
    Flush,
    Read(Payload),
    Write(WriteResponse),
    Lock,
    Ioctl(IoctlResponse),
    Echo,
    QueryDirectory(QueryDirectoryResponse),
    ChangeNotify(ChangeNotifyResponse),
    QueryInfo(QueryInfoResponse),
    SetInfo,
    OplockBreak(BreakAcknowledgment),
    /// Nothing has asked for it.
    BreakNotification(BreakNotification),
}

impl Reply {
    /// A success.
    #[must_use]
    pub const fn ok(body: Body) -> Self {
        Self { status: NtStatus::SUCCESS, body }
    }

    /// A failure without error data.
    #[must_use]
    pub const fn error(status: NtStatus) -> Self {
        Self { status, body: Body::Error(Vec::new()) }
    }

    /// Whether requests that build on this one fail too.
    #[must_use]
    pub const fn is_error(&self) -> bool {
        matches!(self.body, Body::Error(_))
    }
}

/// The bytes of a READ response, with room in front for every header that may have to stand there,
/// so that head and payload are one range to sign, seal and send, and no byte is moved for it. Or, where nothing
/// is to be done with them but to send them, the bytes are elsewhere.
#[derive(Debug)]
pub struct Payload {
    buffer: Buffer,
    /// Behind what is in the buffer.
    tail: Vec<Elsewhere>,
    /// What is in the buffer is the same as what is in the tail.
    is_copied: bool,
}

impl Payload {
    /// Where the bytes begin in the buffer that [`Self::buffer_for`] gives.
    pub const START: usize = HEADROOM + crate::wire::header::Header::SIZE + ReadResponse::FIXED;

    /// An empty buffer with its headroom in place, and capacity for `len` bytes behind it. If those are many, they
    /// begin with a page.
    #[must_use]
    pub fn buffer_for(len: usize) -> Buffer {
        let mut buffer = Buffer::with_room(Self::START, len);
        buffer.resize(Self::START);
        buffer
    }

    /// The payload in a buffer that came from [`Self::buffer_for`] and was appended to.
    /// A buffer that lacks its headroom makes an empty payload.
    #[must_use]
    pub fn new(buffer: impl Into<Buffer>) -> Self {
        let mut buffer = buffer.into();
        if buffer.len() < Self::START {
            buffer.resize(Self::START);
        }
        Self { buffer, tail: Vec::new(), is_copied: false }
    }

    /// Bytes that are sent as they are, for the lone answer to a lone request, which is plain, or signed or sealed if they
    /// are leased; any other fails.
    #[must_use]
    pub fn elsewhere(tail: Vec<Elsewhere>) -> Self {
        Self { tail, ..Self::new(Self::buffer_for(0)) }
    }

    /// Bytes that are elsewhere, to be sent from there, and here, to be signed, where the answer is alone; any other
    /// has those that are here.
    #[must_use]
    pub fn in_both(buffer: impl Into<Buffer>, tail: Vec<Elsewhere>) -> Self {
        Self { tail, is_copied: true, ..Self::new(buffer) }
    }

    /// How many bytes there are to send, without the headroom.
    #[must_use]
    pub fn len(&self) -> usize {
        let here = self.buffer.len().saturating_sub(Self::START);
        if self.is_copied { here } else { here.saturating_add(Elsewhere::total(&self.tail)) }
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes that are here.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.buffer.get(Self::START..).unwrap_or_default()
    }

    /// Whether all bytes are here, to be signed, sealed or copied.
    pub(super) fn is_here(&self) -> bool {
        self.tail.is_empty() || self.is_copied
    }

    /// Whether they are of a file that stays as it is, and can be looked at there.
    pub(super) fn is_leased(&self) -> bool {
        matches!(*self.tail, [Elsewhere::Leased(_)])
    }

    /// The same without those that are elsewhere, if they are here.
    pub(super) fn only_here(self) -> Self {
        let tail = if self.is_copied { Vec::new() } else { self.tail };
        Self { buffer: self.buffer, tail, is_copied: false }
    }

    pub(super) fn into_parts(self) -> Parts {
        Parts { buffer: self.buffer, tail: self.tail, is_copied: self.is_copied }
    }
}

/// What a payload is made of.
pub(super) struct Parts {
    pub(super) buffer: Buffer,
    pub(super) tail: Vec<Elsewhere>,
    pub(super) is_copied: bool,
}

/// Something for the layer above to do. To be taken in order: a session is announced before the
/// first request that uses it.
#[derive(Debug)]
pub enum Event {
    /// A user has logged on.
    Established(Established),
    /// A session has ended without a LOGOFF; its files are to be closed.
    Ended(u64),
    /// Requests to carry out.
    Execute(Chain),
    /// The client no longer wants this chain's result. Best effort: it is answered all the same.
    Cancel(ChainId),
}

/// A session has been set up.
#[derive(Debug)]
pub struct Established {
    /// Its id.
    pub session_id: u64,
    /// Whose it is.
    pub principal: Principal,
    /// The client's former session, to be ended if it is the same user's; 0 for none.
    pub previous_session_id: u64,
}

/// Bytes for the client: everything in `buffer` from `start` on, the stream's prefix included, and what is
/// elsewhere.
#[derive(Debug)]
pub struct Transmit {
    /// Head and payload.
    pub buffer: Buffer,
    /// Where the message begins.
    pub start: usize,
    /// The rest of it.
    pub tail: Vec<Elsewhere>,
}

impl Transmit {
    /// The bytes to send that are here.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Adds another to one that has no tail.
    pub fn append(&mut self, next: Self) {
        debug_assert!(self.tail.is_empty(), "what follows would come before the tail");
        self.buffer.extend_from_slice(next.bytes());
        self.tail = next.tail;
    }

    /// How much there is to send.
    #[must_use]
    pub fn length(&self) -> usize {
        self.bytes().len().saturating_add(Elsewhere::total(&self.tail))
    }

    /// Who waits for it to arrive.
    #[must_use]
    pub fn pin(&self) -> Option<Rc<Pin>> {
        self.tail.iter().find_map(Elsewhere::pin).cloned()
    }

    /// How much it is, for limits: memory that is taken until it is sent.
    #[must_use]
    pub fn size(&self) -> usize {
        self.buffer.len().saturating_add(Elsewhere::total(&self.tail))
    }
}
