//! The commands: one handler per command, under the names that `wire` has. A handler takes a decoded
//! request and gives a reply or an NTSTATUS; it knows nothing of bytes and headers.
//!
//! [`run_chain`] carries out the requests of one message in order and `Context` is what a handler
//! sees: the session, the tree connect, and what the request before it in a compound left behind.

mod access;
mod change_notify;
mod close;
mod compression;
mod context;
mod copychunk;
mod create;
mod duplicate_extents;
mod ea;
mod error;
mod flush;
mod fs_info;
mod ioctl;
mod lock;
mod object_id;
mod ongoing;
mod oplock;
mod pipe;
mod query_directory;
mod query_info;
mod quota;
mod read;
mod reparse;
mod security;
mod session;
mod set_info;
mod snapshots;
mod sparse;
mod sticky;
mod tree;
mod trim;
mod write;

use std::rc::Rc;
use std::sync::Arc;

use crate::datapath::{self, Message, Receiver, Sink, Source};
use crate::protocol::{Body, Chain, Element, Reply, Request, Work};
use crate::state::Server;
use crate::transport::Rest;
use crate::wire::status::NtStatus;

pub use close::close_all;
use context::Context;
pub use error::status_of;
pub use ongoing::Ongoing;
pub use session::{end_session, establish, sync_session};
use sticky::Touches;

/// What a handler comes to.
enum Answer {
    /// The reply itself.
    Reply(Reply),
    /// A success whose payload is still to be moved: described here, moved by [`datapath`].
    Read(Source),
    /// A write that may be done, of bytes that are still in the message.
    Write(Sink),
}

impl From<Body> for Answer {
    fn from(body: Body) -> Self {
        Self::Reply(Reply::ok(body))
    }
}

/// Carries out a chain and answers each of its elements, in order, but for those whose answers `ongoing` has
/// taken already. By it the client may take the chain back; what has not begun by then is not begun.
/// `rest` is the payload of a lone WRITE that came without it.
pub async fn run_chain(
    server: &Arc<Server>,
    receiver: &Rc<Receiver>,
    chain: Chain,
    ongoing: Rc<Ongoing>,
    rest: Option<Rest>,
) -> Vec<Reply> {
    let count = chain.elements.len();
    let message = Message { protection: chain.protection, alone: count == 1 };
    let mut context =
        Context::new(Arc::clone(server), Rc::clone(&ongoing), message, Rc::clone(receiver));
    context.rest = rest;
    for (index, element) in chain.elements.into_iter().enumerate() {
        ongoing.left.set(count - index - 1);
        let reply = match ongoing.is_cancelled() {
            true => Reply::error(NtStatus::CANCELLED),
            false => run_element(&mut context, element).await,
        };
        context.note(&reply);
        ongoing.replies.borrow_mut().push(reply);
    }
    ongoing.replies.take()
}

async fn run_element(context: &mut Context, element: Element) -> Reply {
    if !element.related {
        context.forget();
    }
    let request = match element.work {
        Work::Answered(reply) => return reply,
        Work::Execute(request) => request,
    };
    // MS-SMB2 3.3.5.2.7.2: what builds on a CREATE that failed fails alike.
    if let Some(status) = context.create_failed {
        return Reply::error(status);
    }
    if let Err(status) = context.enter(element.session_id, element.tree_id, &request) {
        return Reply::error(status);
    }
    context.bytes = element.bytes;
    run(context, request).await.unwrap_or_else(Reply::error)
}

async fn run(context: &mut Context, request: Request) -> Result<Reply, NtStatus> {
    let is_create = matches!(request, Request::Create(_));
    let answer = dispatch(context, request).await;
    let failed = match &answer {
        Ok(Answer::Reply(reply)) if reply.is_error() => Some(reply.status),
        Ok(_) => None,
        Err(status) => Some(*status),
    };
    context.create_failed = failed.filter(|_| is_create);
    match answer? {
        Answer::Reply(reply) => Ok(reply),
        Answer::Read(source) => {
            let payload = datapath::read(source, &context.server).await?;
            Ok(Reply::ok(Body::Read(payload)))
        }
        Answer::Write(sink) => {
            let open = Arc::clone(&sink.open);
            let held = match open.file() {
                Some(file) => Some(sticky::hold(file, Touches::Both).await),
                None => None,
            };
            let response = datapath::write(sink, &context.server).await;
            // Of a write that fails, some may have been written.
            if let (Some(file), Some(held)) = (open.file(), held) {
                oplock::contents_change(&context.server, &file.handle);
                sticky::restore(file, held).await;
            }
            let response = response?;
            write::tell(context, &open);
            Ok(Reply::ok(Body::Write(response)))
        }
    }
}

async fn dispatch(context: &mut Context, request: Request) -> Result<Answer, NtStatus> {
    match request {
        Request::Logoff => session::logoff(context).await,
        Request::TreeConnect(request) => tree::connect(context, &request),
        Request::TreeDisconnect => tree::disconnect(context).await,
        Request::Create(request) => create::create(context, request).await,
        Request::Close(request) => close::close(context, request).await,
        Request::Flush(request) => flush::flush(context, request).await,
        Request::Read(request) => read::read(context, &request).await,
        Request::Write(request) => write::write(context, &request).await,
        Request::Ioctl(request) => ioctl::ioctl(context, &request).await,
        Request::QueryDirectory(request) => {
            query_directory::query_directory(context, request).await
        }
        Request::QueryInfo(request) => query_info::query_info(context, &request).await,
        Request::SetInfo(request) => set_info::set_info(context, &request).await,
        Request::Lock(request) => lock::lock(context, &request).await,
        Request::ChangeNotify(request) => change_notify::change_notify(context, &request).await,
        Request::OplockBreak(request) => oplock::acknowledge(context, request),
    }
}
