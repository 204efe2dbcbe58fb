//! One open pipe: fragments in, calls put together and answered, fragments out.
//!
//! Any error but a fault ends the conversation: the stream of bytes can no longer be trusted, and every later write
//! fails. The client closes the pipe and opens another.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::auth::Principal;
use crate::wire::codec::Malformed;

use super::dcerpc::{
    Bind, BindAck, ContextResult, FIRST_FRAGMENT, Fault, Fragment, HEADER_LEN, LAST_FRAGMENT,
    PduType, ProposedContext, Request, Syntax, fault, fragment_length, response,
};
use super::service::Service;
use super::srvsvc::ServerInfo;

/// The longest fragment in either direction: what Windows and Samba use on pipes.
const FRAGMENT_MAX: u16 = 4280;
/// The shortest limit a client may set. MS-RPCE and C706 12.6.2: everybody must take 1432 bytes.
const FRAGMENT_MAX_LEAST: u16 = 1432;
/// The most parameters of one call: a thousand names or SIDs take a third of it.
const CALL_MAX: usize = 128 * 1024;
/// How many bytes of answers may wait to be read before a further call is refused.
const BACKLOG_MAX: usize = 256 * 1024;
/// Presentation contexts one client may bind: one per encoding is usual.
const CONTEXTS_MAX: usize = 16;
/// There are no context handles that connections could share, so one group is as good as another; only not 0.
const ASSOCIATION_GROUP: u32 = 1;

/// 8a885d04-1ceb-11c9-9fe8-08002b104860 version 2.0: NDR32.
const NDR32: Syntax = [
    0x04, 0x5d, 0x88, 0x8a, 0xeb, 0x1c, 0xc9, 0x11, 0x9f, 0xe8, 0x08, 0x00, 0x2b, 0x10, 0x48, 0x60,
    0x02, 0x00, 0x00, 0x00,
];
/// 6cb71c2c-9812-4540-…: the mask of features follows. MS-RPCE 3.3.1.5.3.
const BIND_TIME_FEATURES: [u8; 8] = [0x2c, 0x1c, 0xb7, 0x6c, 0x12, 0x98, 0x40, 0x45];

/// Why a pipe can be used no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    /// What was written is no RPC.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A fragment is longer than was agreed.
    #[error("RPC fragment of {0} bytes is longer than agreed")]
    FragmentTooLong(usize),
    /// The fragments of a call do not stop, or do not belong together.
    #[error("RPC call does not hold together")]
    BadCall,
    /// The client calls, and does not read the answers.
    #[error("RPC answers are not read")]
    Backlog,
    /// An earlier error ended the conversation.
    #[error("RPC conversation has ended")]
    Ended,
}

/// What a read took out of the pipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Nothing only if nothing was asked for.
    pub data: Vec<u8>,
    /// The rest of this message is still there: STATUS_BUFFER_OVERFLOW.
    pub more: bool,
}

/// One open pipe of a service.
#[derive(Debug)]
pub struct Pipe {
    service: Service,
    server: Arc<ServerInfo>,
    caller: Principal,
    /// Ids of the accepted presentation contexts, at most [`CONTEXTS_MAX`].
    contexts: Vec<u16>,
    transmit_max: u16,
    receive_max: u16,
    /// The start of a fragment whose rest has not been written yet: shorter than [`FRAGMENT_MAX`].
    partial: Vec<u8>,
    call: Option<Call>,
    /// One message per fragment, as message-mode pipes keep them apart.
    answers: VecDeque<Vec<u8>>,
    ended: bool,
}

/// A call of which not all fragments are there.
#[derive(Debug)]
struct Call {
    id: u32,
    context_id: u16,
    operation: u16,
    stub: Vec<u8>,
}

impl Pipe {
    /// Opens the pipe called `name` for `caller`, with or without `\PIPE\` before it and in any case. `None`: there is no
    /// such pipe.
    #[must_use]
    pub fn open(name: &str, server: Arc<ServerInfo>, caller: Principal) -> Option<Self> {
        let name = name.trim_start_matches('\\').to_ascii_lowercase();
        let name = name.strip_prefix("pipe\\").unwrap_or(&name);
        Some(Self {
            service: Service::named(name)?,
            server,
            caller,
            contexts: Vec::new(),
            transmit_max: FRAGMENT_MAX,
            receive_max: FRAGMENT_MAX,
            partial: Vec::new(),
            call: None,
            answers: VecDeque::new(),
            ended: false,
        })
    }

    /// Whether [`Self::write`] may have to wait for the system.
    #[must_use]
    pub fn may_block(&self) -> bool {
        self.service.may_block()
    }

    /// Whether an error has ended the conversation: nothing more is to come.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Takes bytes from the client: a fragment, a part of one, or several.
    ///
    /// # Errors
    /// [`RpcError`]; every later write fails too. Answers that are already there can still be read.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), RpcError> {
        if self.ended {
            return Err(RpcError::Ended);
        }
        let taken = self.take_in(bytes);
        if taken.is_err() {
            self.ended = true;
            self.partial = Vec::new();
            self.call = None;
        }
        taken
    }

    /// Takes at most `max` bytes out of the next message, if there is one.
    pub fn read(&mut self, max: usize) -> Option<Read> {
        let message = self.answers.front_mut()?;
        let behind = message.split_off(max.min(message.len()));
        let data = std::mem::replace(message, behind);
        let more = !message.is_empty();
        if !more {
            self.answers.pop_front();
        }
        Some(Read { data, more })
    }

    fn take_in(&mut self, mut bytes: &[u8]) -> Result<(), RpcError> {
        while !bytes.is_empty() {
            let missing = self.missing()?;
            let (part, behind) = bytes.split_at(missing.min(bytes.len()));
            self.partial.extend_from_slice(part);
            bytes = behind;
            if self.missing()? == 0 {
                let whole = std::mem::take(&mut self.partial);
                self.fragment(&Fragment::decode(&whole)?)?;
            }
        }
        Ok(())
    }

    /// How many bytes the fragment in `partial` still needs: first to be a header, then what that asks for.
    fn missing(&self) -> Result<usize, RpcError> {
        let Some(length) = fragment_length(&self.partial) else {
            return Ok(HEADER_LEN.saturating_sub(self.partial.len()));
        };
        if length > usize::from(self.receive_max) {
            return Err(RpcError::FragmentTooLong(length));
        }
        length.checked_sub(self.partial.len()).ok_or(Malformed::new("RPC fragment length").into())
    }

    fn fragment(&mut self, fragment: &Fragment<'_>) -> Result<(), RpcError> {
        if self.answers.iter().map(Vec::len).sum::<usize>() > BACKLOG_MAX {
            return Err(RpcError::Backlog);
        }
        match fragment.kind {
            PduType::Bind => self.bind(fragment, PduType::BindAck),
            PduType::AlterContext => self.bind(fragment, PduType::AlterContextResponse),
            PduType::Request => self.request(fragment),
            // The third leg of an authentication that is not taken part in; and the end of calls that are never
            // waiting, because each is answered when its last fragment comes.
            PduType::Auth3 | PduType::Cancel | PduType::Orphaned => Ok(()),
            PduType::Response
            | PduType::Fault
            | PduType::BindAck
            | PduType::AlterContextResponse => Err(RpcError::BadCall),
        }
    }

    /// C706 12.6.4.3, MS-RPCE 3.3.1.5.2: every proposed context gets its answer, in the order of the proposals.
    fn bind(&mut self, fragment: &Fragment<'_>, answer: PduType) -> Result<(), RpcError> {
        let bind = Bind::decode(fragment.body)?;
        if answer == PduType::BindAck {
            self.transmit_max = bind.receive_max.clamp(FRAGMENT_MAX_LEAST, FRAGMENT_MAX);
            self.receive_max = bind.transmit_max.clamp(FRAGMENT_MAX_LEAST, FRAGMENT_MAX);
        }
        let results: Vec<_> = bind.contexts.iter().map(|context| self.context(context)).collect();
        let group = bind.association_group;
        let ack = BindAck {
            kind: answer,
            call_id: fragment.call_id,
            transmit_max: self.transmit_max,
            receive_max: self.receive_max,
            association_group: if group == 0 { ASSOCIATION_GROUP } else { group },
            address: self.service.address(),
            results: &results,
        };
        self.answers.push_back(ack.encode());
        Ok(())
    }

    fn context(&mut self, proposed: &ProposedContext) -> ContextResult {
        if proposed.encodings.iter().any(|encoding| encoding.starts_with(&BIND_TIME_FEATURES)) {
            return ContextResult::FeaturesNegotiated;
        }
        if proposed.interface != self.service.interface() {
            return ContextResult::InterfaceUnknown;
        }
        if !proposed.encodings.contains(&NDR32) {
            return ContextResult::EncodingUnknown;
        }
        if !self.contexts.contains(&proposed.id) {
            if self.contexts.len() >= CONTEXTS_MAX {
                return ContextResult::TooMany;
            }
            self.contexts.push(proposed.id);
        }
        ContextResult::Accepted(NDR32)
    }

    fn request(&mut self, fragment: &Fragment<'_>) -> Result<(), RpcError> {
        let request = Request::decode(fragment)?;
        let mut call = match (self.call.take(), fragment.flags & FIRST_FRAGMENT != 0) {
            (None, true) => Call {
                id: fragment.call_id,
                context_id: request.context_id,
                operation: request.operation,
                stub: Vec::new(),
            },
            (Some(call), false) if call.id == fragment.call_id => call,
            _ => return Err(RpcError::BadCall),
        };
        if call.stub.len() + request.stub.len() > CALL_MAX {
            return Err(RpcError::BadCall);
        }
        call.stub.extend_from_slice(request.stub);
        if fragment.flags & LAST_FRAGMENT == 0 {
            self.call = Some(call);
        } else {
            self.answer(&call);
        }
        Ok(())
    }

    fn answer(&mut self, call: &Call) {
        let result = if self.contexts.contains(&call.context_id) {
            self.service.call(&self.server, &self.caller, call.operation, &call.stub)
        } else {
            Err(Fault::UnknownInterface)
        };
        match result {
            Ok(stub) => {
                let fragment_max = usize::from(self.transmit_max);
                self.answers.extend(response(call.id, call.context_id, &stub, fragment_max));
            }
            Err(reason) => self.answers.push_back(fault(call.id, call.context_id, reason)),
        }
    }
}
