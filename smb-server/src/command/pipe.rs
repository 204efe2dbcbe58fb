//! Named pipes: what READ, WRITE and FSCTL_PIPE_TRANSCEIVE do with them. MS-SMB2 3.3.5.12, 3.3.5.13 and 3.3.5.15.10.

use futures_util::lock::{MutexGuard, OwnedMutexGuard};

use crate::protocol::{Body, Payload, Reply};
use crate::rpc::{self, Pipe, RpcError};
use crate::state::{Object, PipeOpen};
use crate::wire::ioctl::{IoctlRequest, IoctlResponse};
use crate::wire::status::NtStatus;
use crate::wire::write::WriteResponse;

use super::Answer;
use super::context::Context;

/// Waits until there is something to read.
pub(super) async fn read(
    context: &Context,
    pipe: &PipeOpen,
    length: u32,
) -> Result<Answer, NtStatus> {
    let rpc::Read { data, more } = context.wait_for(next(pipe, length)).await??;
    let mut buffer = Payload::buffer_for(data.len());
    buffer.extend_from_slice(&data);
    Ok(answer(more, Body::Read(Payload::new(buffer))))
}

pub(super) async fn write(
    context: &Context,
    pipe: &PipeOpen,
    bytes: &[u8],
) -> Result<Answer, NtStatus> {
    put(context, pipe, bytes).await?;
    let count = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    Ok(Body::Write(WriteResponse { count, remaining: 0 }).into())
}

/// Writes to the pipe and reads what it answers.
pub(super) async fn transceive(
    context: &mut Context,
    request: &IoctlRequest,
) -> Result<Answer, NtStatus> {
    let open = context.open(request.file_id)?;
    let Object::Pipe(pipe) = &open.object else { return Err(NtStatus::INVALID_DEVICE_REQUEST) };
    let max = request.max_output_response;
    // Both under one lock: nobody else's READ takes the answer in between.
    let mut written = put(context, pipe, &request.input).await?;
    let rpc::Read { data, more } = match written.read(max as usize) {
        Some(read) => read,
        None => {
            drop(written);
            context.wait_for(next(pipe, max)).await??
        }
    };
    let response = IoctlResponse {
        ctl_code: request.ctl_code,
        file_id: open.file_id,
        output: data,
        ..IoctlResponse::default()
    };
    Ok(answer(more, Body::Ioctl(response)))
}

/// Puts bytes into a pipe, which may take its service a look into the system's tables of accounts.
async fn put(
    context: &Context,
    pipe: &PipeOpen,
    bytes: &[u8],
) -> Result<OwnedMutexGuard<Pipe>, NtStatus> {
    let mut guard = pipe.lock().await;
    let (guard, result) = if guard.may_block() {
        let turn = context.unless_ended(context.server.look_up.lock()).await?;
        let bytes = bytes.to_vec();
        let write = move || {
            let result = guard.write(&bytes);
            (guard, result)
        };
        look_up(turn, write).await?
    } else {
        let result = guard.write(bytes);
        (guard, result)
    };
    pipe.tell();
    result.map_err(|error| failed(&error))?;
    Ok(guard)
}

/// Looks into the system's tables of accounts on the pool, one call after the other: a thousand names of a slow
/// directory service take one thread, and leave the others to files.
async fn look_up<T: Send + 'static>(
    turn: MutexGuard<'_, ()>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NtStatus> {
    let found = ringway::spawn_blocking(work).await;
    drop(turn);
    found.map_err(|_| NtStatus::INSUFFICIENT_RESOURCES)
}

/// At most `max` bytes of the next message, once there is one.
async fn next(pipe: &PipeOpen, max: u32) -> Result<rpc::Read, NtStatus> {
    loop {
        // Before the look, so that nothing is missed in between.
        let news = pipe.news();
        let mut guard = pipe.lock().await;
        if let Some(read) = guard.read(max as usize) {
            return Ok(read);
        }
        if guard.has_ended() {
            return Err(NtStatus::PIPE_DISCONNECTED);
        }
        drop(guard);
        news.await.map_err(|_| NtStatus::PIPE_BROKEN)?;
    }
}

/// A message that does not fit is told as far as it does, and the rest is left for the next read.
fn answer(more: bool, body: Body) -> Answer {
    let status = if more { NtStatus::BUFFER_OVERFLOW } else { NtStatus::SUCCESS };
    Answer::Reply(Reply { status, body })
}

fn failed(error: &RpcError) -> NtStatus {
    tracing::info!(%error, "pipe");
    NtStatus::PIPE_DISCONNECTED
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::rc::Rc;
    use std::sync::Arc;

    use futures_util::poll;

    use super::super::Ongoing;
    use super::*;
    use crate::auth::Principal;
    use crate::datapath::{Message, Receiver};
    use crate::protocol::Protection;
    use crate::rpc::ServerInfo;
    use crate::state::{Accounts, Server, SessionLimits, SystemAccounts};
    use crate::wire::security::Sid;

    /// A part of a fragment, which every service takes.
    const PART: &[u8] = &[5];

    fn server() -> Arc<Server> {
        let rpc = ServerInfo {
            name: "SERVER".into(),
            comment: String::new(),
            shares: Vec::new(),
            domain_sid: Sid::new(5, [21, 1, 2, 3]),
            unix: Arc::new(SystemAccounts),
        };
        let limits = SessionLimits { trees_max: 1, opens_max: 1 };
        let accounts = Accounts::look_up(std::iter::empty());
        Arc::new(Server::new(Vec::new(), accounts, Arc::new(rpc), limits))
    }

    fn receiver(server: &Arc<Server>) -> Rc<Receiver> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = listener.local_addr().unwrap();
        let stream = std::net::TcpStream::connect(peer).unwrap();
        let stream = Rc::new(ringway::net::TcpStream::from_std(stream).unwrap());
        Receiver::new(stream, peer, Arc::clone(server), false)
    }

    fn pipe(server: &Server, name: &str) -> PipeOpen {
        let pipe = Pipe::open(name, Arc::clone(&server.rpc), Principal::User("alice".into()));
        PipeOpen::new(pipe.unwrap())
    }

    #[test]
    fn only_one_look_up_takes_a_thread_and_what_asks_nobody_goes_on() {
        let (server, ongoing) = (server(), Rc::new(Ongoing::new(|_| true)));
        let message = Message { protection: Protection::Plain, alone: true };
        let receiver = receiver(&server);
        let context = Context::new(Arc::clone(&server), Rc::clone(&ongoing), message, receiver);
        let (names, others, shares) =
            (pipe(&server, "lsarpc"), pipe(&server, "lsarpc"), pipe(&server, "srvsvc"));
        ringway::Builder::new().build().unwrap().block_on(async {
            let slow = server.look_up.lock().await;
            let mut waits = pin!(put(&context, &names, PART));
            assert!(poll!(waits.as_mut()).is_pending());
            ringway::spawn_blocking(|| ()).await.unwrap();
            assert!(poll!(waits.as_mut()).is_pending());
            assert!(put(&context, &shares, PART).await.is_ok());
            drop(slow);
            assert!(waits.await.is_ok());
            // Nobody waits who has taken it back.
            let _slow = server.look_up.lock().await;
            ongoing.cancel();
            assert_eq!(put(&context, &others, PART).await.err(), Some(NtStatus::CANCELLED));
        });
    }
}
