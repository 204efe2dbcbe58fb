//! Named pipes: what READ, WRITE and FSCTL_PIPE_TRANSCEIVE do with them. MS-SMB2 3.3.5.12, 3.3.5.13 and 3.3.5.15.10.

use futures_util::lock::OwnedMutexGuard;

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

pub(super) async fn write(pipe: &PipeOpen, bytes: &[u8]) -> Result<Answer, NtStatus> {
    put(pipe, bytes).await?;
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
    let mut written = put(pipe, &request.input).await?;
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
async fn put(pipe: &PipeOpen, bytes: &[u8]) -> Result<OwnedMutexGuard<Pipe>, NtStatus> {
    let mut guard = pipe.lock().await;
    let (guard, result) = if guard.may_block() {
        let bytes = bytes.to_vec();
        let written = ringway::spawn_blocking(move || {
            let result = guard.write(&bytes);
            (guard, result)
        });
        written.await.map_err(|_| NtStatus::INSUFFICIENT_RESOURCES)?
    } else {
        let result = guard.write(bytes);
        (guard, result)
    };
    pipe.tell();
    result.map_err(|error| failed(&error))?;
    Ok(guard)
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
