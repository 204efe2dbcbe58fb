//! What a handler sees around its request.

use std::ops::Range;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{Either, select};

use crate::datapath::{Incoming, Message, Receiver};
use crate::protocol::{Body, Reply, Request};
use crate::state::{FileOpen, Open, Server, Session, TreeConnect};
use crate::transport::Rest;
use crate::wire::file_id::FileId;
use crate::wire::status::NtStatus;

use super::Ongoing;

/// Where a request stands: server, session, tree connect, and its compound so far.
pub(super) struct Context {
    pub(super) server: Arc<Server>,
    /// The element's bytes, which a request's ranges refer to.
    pub(super) bytes: Bytes,
    /// The payload of a lone WRITE, where that is not in its bytes.
    pub(super) rest: Option<Rest>,
    /// What the chain came in and is answered in.
    pub(super) message: Message,
    /// Who gets the answer.
    pub(super) receiver: Rc<Receiver>,
    /// The status of a CREATE that the following related requests build on.
    pub(super) create_failed: Option<NtStatus>,
    ongoing: Rc<Ongoing>,
    session: Option<Arc<Session>>,
    tree: Option<Arc<TreeConnect>>,
    last_file: Option<FileId>,
    last_tree: Option<u32>,
}

impl Context {
    pub(super) fn new(
        server: Arc<Server>,
        ongoing: Rc<Ongoing>,
        message: Message,
        receiver: Rc<Receiver>,
    ) -> Self {
        let bytes = Bytes::new();
        Self {
            server,
            bytes,
            rest: None,
            message,
            receiver,
            create_failed: None,
            ongoing,
            session: None,
            tree: None,
            last_file: None,
            last_tree: None,
        }
    }

    /// Waits for something that others do, and has the client told so unless it has happened.
    ///
    /// # Errors
    /// `CANCELLED` if the client takes the request back first, or is gone; `INSUFFICIENT_RESOURCES` if
    /// it has too many that wait; `INTERNAL_ERROR` in a compound that goes on behind it, as Windows has it.
    pub(super) async fn wait_for<T>(&self, event: impl Future<Output = T>) -> Result<T, NtStatus> {
        let mut event = pin!(event);
        if let Some(outcome) = event.as_mut().now_or_never() {
            return Ok(outcome);
        }
        self.ongoing.tell_pending()?;
        self.unless_ended(event).await
    }

    /// Waits for something that is sure to happen; also in the middle of a compound. The client is told when
    /// that takes a while, as with whatever takes a while.
    ///
    /// # Errors
    /// `CANCELLED` if the client takes the request back first, or is gone.
    pub(super) async fn unless_ended<T>(
        &self,
        event: impl Future<Output = T>,
    ) -> Result<T, NtStatus> {
        match select(pin!(event), pin!(self.ongoing.end())).await {
            Either::Left((outcome, _)) => Ok(outcome),
            Either::Right(_) => Err(NtStatus::CANCELLED),
        }
    }

    /// The bytes in a range of the message, wherever they are.
    pub(super) fn payload(&mut self, range: Range<usize>) -> Incoming {
        match self.rest.take() {
            Some(rest) => Incoming::Rest(rest),
            None => Incoming::Here(self.bytes.slice(range)),
        }
    }

    /// An open gets an oplock, of which the client hears with the answer to the chain.
    pub(super) fn note_granted(&self, session_id: u64, file_id: FileId) {
        self.ongoing.note_granted(session_id, file_id);
    }

    /// A request begins that is not related to the one before.
    pub(super) fn forget(&mut self) {
        self.create_failed = None;
        self.last_file = None;
        self.last_tree = None;
    }

    /// Remembers what a reply gave the client, for the related requests that follow.
    pub(super) fn note(&mut self, reply: &Reply) {
        match &reply.body {
            Body::Create(response) => self.last_file = Some(response.file_id),
            Body::TreeConnect(id, _) => self.last_tree = Some(*id),
            _ => {}
        }
    }

    /// Finds the session and the tree connect that the request needs.
    pub(super) fn enter(
        &mut self,
        session_id: u64,
        tree_id: u32,
        request: &Request,
    ) -> Result<(), NtStatus> {
        let session = self.server.session(session_id).ok_or(NtStatus::USER_SESSION_DELETED)?;
        self.tree = match request {
            Request::Logoff | Request::TreeConnect(_) => None,
            // MS-SMB2 3.3.5.2.11.
            _ => {
                let id = self.last_tree.unwrap_or(tree_id);
                Some(session.tree(id).ok_or(NtStatus::NETWORK_NAME_DELETED)?)
            }
        };
        self.session = Some(session);
        Ok(())
    }

    pub(super) fn session(&self) -> Result<&Arc<Session>, NtStatus> {
        self.session.as_ref().ok_or(NtStatus::USER_SESSION_DELETED)
    }

    pub(super) fn tree(&self) -> Result<&Arc<TreeConnect>, NtStatus> {
        self.tree.as_ref().ok_or(NtStatus::NETWORK_NAME_DELETED)
    }

    /// The FileId that is meant: all ones stand for the one before, MS-SMB2 3.3.5.2.7.2.
    pub(super) fn file_id(&mut self, file_id: FileId) -> Result<FileId, NtStatus> {
        let meant = match file_id {
            FileId::ANY => self.last_file.ok_or(NtStatus::FILE_CLOSED)?,
            file_id => file_id,
        };
        self.last_file = Some(meant);
        Ok(meant)
    }

    /// The open that a FileId names, if it belongs to this tree connect.
    pub(super) fn open(&mut self, file_id: FileId) -> Result<Arc<Open>, NtStatus> {
        let file_id = self.file_id(file_id)?;
        let open = self.session()?.open(file_id).ok_or(NtStatus::FILE_CLOSED)?;
        if open.tree_id == self.tree()?.id { Ok(open) } else { Err(NtStatus::FILE_CLOSED) }
    }
}

/// The file of an open; pipes have none.
pub(super) fn file_of(open: &Open) -> Result<&FileOpen, NtStatus> {
    open.file().ok_or(NtStatus::INVALID_DEVICE_REQUEST)
}
