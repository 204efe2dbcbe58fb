//! IOCTL: transactions on named pipes. MS-SMB2 3.3.5.15. The controls of files come with what they
//! control; one that is not there is refused as unknown.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::protocol::{Body, Reply};
use crate::rpc::{Pipe, Read, RpcError};
use crate::state::{Object, Open};
use crate::wire::codec::Writer;
use crate::wire::file_id::FileId;
use crate::wire::ioctl::{CtlCode, IoctlFlags, IoctlRequest, IoctlResponse};
use crate::wire::status::NtStatus;

use super::context::Context;
use super::{
    Answer, compression, copychunk, duplicate_extents, object_id, snapshots, sparse, trim,
};

pub(super) async fn ioctl(
    context: &mut Context,
    request: &IoctlRequest,
) -> Result<Answer, NtStatus> {
    if !request.flags.contains(IoctlFlags::IS_FSCTL) {
        return Err(NtStatus::NOT_SUPPORTED);
    }
    match request.ctl_code {
        CtlCode::FSCTL_PIPE_TRANSCEIVE => transceive(context, request),
        CtlCode::FSCTL_SRV_REQUEST_RESUME_KEY => copychunk::resume_key(context, request),
        CtlCode::FSCTL_SRV_COPYCHUNK | CtlCode::FSCTL_SRV_COPYCHUNK_WRITE => {
            copychunk::copychunk(context, request).await
        }
        CtlCode::FSCTL_DUPLICATE_EXTENTS_TO_FILE | CtlCode::FSCTL_DUPLICATE_EXTENTS_TO_FILE_EX => {
            duplicate_extents::duplicate_extents(context, request).await
        }
        CtlCode::FSCTL_FILE_LEVEL_TRIM => trim::file_level_trim(context, request).await,
        CtlCode::FSCTL_SRV_ENUMERATE_SNAPSHOTS => snapshots::enumerate(context, request).await,
        CtlCode::FSCTL_GET_COMPRESSION => compression::get(context, request).await,
        CtlCode::FSCTL_SET_COMPRESSION => compression::set(context, request).await,
        CtlCode::FSCTL_CREATE_OR_GET_OBJECT_ID | CtlCode::FSCTL_GET_OBJECT_ID => {
            object_id::get(context, request)
        }
        CtlCode::FSCTL_SET_SPARSE => sparse::set_sparse(context, request).await,
        CtlCode::FSCTL_SET_ZERO_DATA => sparse::set_zero_data(context, request).await,
        CtlCode::FSCTL_QUERY_ALLOCATED_RANGES => {
            sparse::query_allocated_ranges(context, request).await
        }
        // MS-SMB2 3.3.5.15.2: the answer of a server without DFS; and Samba's, of one without multichannel.
        CtlCode::FSCTL_DFS_GET_REFERRALS
        | CtlCode::FSCTL_DFS_GET_REFERRALS_EX
        | CtlCode::FSCTL_QUERY_NETWORK_INTERFACE_INFO => Err(NtStatus::FS_DRIVER_REQUIRED),
        _ => {
            if request.file_id != FileId::ANY {
                context.open(request.file_id)?;
            }
            Err(NtStatus::INVALID_DEVICE_REQUEST)
        }
    }
}

/// A success with what `encode` writes as its output.
pub(super) fn answer(
    request: &IoctlRequest,
    open: &Open,
    encode: impl FnOnce(&mut Writer<'_>),
) -> Answer {
    let mut output = Vec::new();
    encode(&mut Writer::new(&mut output));
    let IoctlRequest { ctl_code, .. } = *request;
    Body::Ioctl(IoctlResponse {
        ctl_code,
        file_id: open.file_id,
        output,
        ..IoctlResponse::default()
    })
    .into()
}

/// MS-SMB2 3.3.5.15.10: writes to the pipe and reads what it answers.
fn transceive(context: &mut Context, request: &IoctlRequest) -> Result<Answer, NtStatus> {
    let open = context.open(request.file_id)?;
    let Object::Pipe(pipe) = &open.object else { return Err(NtStatus::INVALID_DEVICE_REQUEST) };
    let max = request.max_output_response as usize;
    // Both under one lock: nobody else's READ takes the answer in between.
    let read = lock(pipe).transact(&request.input, max).map_err(|error| failed(&error))?;
    let (output, more) = some(read)?;
    let response = IoctlResponse {
        ctl_code: request.ctl_code,
        file_id: open.file_id,
        output,
        ..IoctlResponse::default()
    };
    let status = if more { NtStatus::BUFFER_OVERFLOW } else { NtStatus::SUCCESS };
    Ok(Answer::Reply(Reply { status, body: Body::Ioctl(response) }))
}

/// Puts bytes into a pipe.
pub(super) fn write_pipe(pipe: &Mutex<Pipe>, bytes: &[u8]) -> Result<(), NtStatus> {
    lock(pipe).write(bytes).map_err(|error| failed(&error))
}

/// Takes at most `max` bytes of a message out of a pipe, and says whether more of it is left.
pub(super) fn read_pipe(pipe: &Mutex<Pipe>, max: u32) -> Result<(Vec<u8>, bool), NtStatus> {
    some(lock(pipe).read(max as usize))
}

fn lock(pipe: &Mutex<Pipe>) -> MutexGuard<'_, Pipe> {
    pipe.lock().unwrap_or_else(PoisonError::into_inner)
}

fn some(read: Read) -> Result<(Vec<u8>, bool), NtStatus> {
    if read.data.is_empty() { Err(NtStatus::PIPE_EMPTY) } else { Ok((read.data, read.more)) }
}

fn failed(error: &RpcError) -> NtStatus {
    tracing::info!(%error, "pipe");
    NtStatus::PIPE_DISCONNECTED
}
