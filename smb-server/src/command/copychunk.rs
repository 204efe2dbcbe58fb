//! Server-side copies: FSCTL_SRV_REQUEST_RESUME_KEY and FSCTL_SRV_COPYCHUNK. MS-SMB2 3.3.5.15.5 and 3.3.5.15.6.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::datapath;
use crate::protocol::{Body, Reply};
use crate::state::{FileOpen, Open};
use crate::wire::access_mask::AccessMask;
use crate::wire::change_notify::CompletionFilter;
use crate::wire::codec::Writer;
use crate::wire::copychunk::{
    ResumeKey, SrvCopychunk, SrvCopychunkCopy, SrvCopychunkResponse, SrvRequestResumeKey,
};
use crate::wire::ioctl::{CtlCode, IoctlRequest, IoctlResponse};
use crate::wire::status::NtStatus;

use super::change_notify::tell_modified;
use super::context::{Context, file_of};
use super::ioctl::answer;
use super::sticky::{self, Touches};
use super::write::is_in_range;
use super::{Answer, oplock};

/// The most chunks, their most bytes, and the most bytes of all: Windows' numbers, which clients reckon with.
const LIMITS: SrvCopychunkResponse = SrvCopychunkResponse {
    chunks_written: 256,
    chunk_bytes_written: 1 << 20,
    total_bytes_written: 16 << 20,
};

/// MS-SMB2 3.3.5.15.5.
pub(super) fn resume_key(
    context: &mut Context,
    request: &IoctlRequest,
) -> Result<Answer, NtStatus> {
    let open = context.open(request.file_id)?;
    file_of(&open)?;
    if (request.max_output_response as usize) < SrvRequestResumeKey::SIZE {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let key = SrvRequestResumeKey { resume_key: ResumeKey::of(open.file_id) };
    Ok(answer(request, &open, |w| key.encode(w)))
}

/// MS-SMB2 3.3.5.15.6.
pub(super) async fn copychunk(
    context: &mut Context,
    request: &IoctlRequest,
) -> Result<Answer, NtStatus> {
    let target = context.open(request.file_id)?;
    let file = file_of(&target)?;
    if (request.max_output_response as usize) < SrvCopychunkResponse::SIZE {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let copy = SrvCopychunkCopy::decode(&request.input).map_err(|_| NtStatus::INVALID_PARAMETER)?;
    if exceeds(&copy.chunks) {
        return Ok(response(request, &target, NtStatus::INVALID_PARAMETER, LIMITS));
    }
    let source = copy.source_key.file_id().and_then(|key| context.session().ok()?.open(key));
    let source = source.ok_or(NtStatus::OBJECT_NAME_NOT_FOUND)?;
    check(&source, &target, request.ctl_code)?;
    let mut done = SrvCopychunkResponse::default();
    let mut status = NtStatus::SUCCESS;
    for chunk in &copy.chunks {
        match copy_one(&source, &target, chunk).await {
            Ok(()) => {
                done.chunks_written += 1;
                done.total_bytes_written += chunk.length;
            }
            Err(failed) => {
                status = failed;
                break;
            }
        }
    }
    // One that failed may have written something all the same.
    let what = CompletionFilter::SIZE | CompletionFilter::LAST_WRITE;
    tell_modified(&context.server, &file.handle, what);
    oplock::contents_change(&context.server, &file.handle);
    Ok(response(request, &target, status, done))
}

/// Whether a copy is more than is done at once.
fn exceeds(chunks: &[SrvCopychunk]) -> bool {
    let total: u64 = chunks.iter().map(|chunk| u64::from(chunk.length)).sum();
    let length =
        |chunk: &SrvCopychunk| chunk.length == 0 || chunk.length > LIMITS.chunk_bytes_written;
    chunks.len() > LIMITS.chunks_written as usize
        || chunks.iter().any(length)
        || total > u64::from(LIMITS.total_bytes_written)
}

fn check(source: &Open, target: &Open, code: CtlCode) -> Result<(), NtStatus> {
    for open in [source, target] {
        if file_of(open)?.handle.is_directory() {
            return Err(NtStatus::INVALID_DEVICE_REQUEST);
        }
    }
    // Only COPYCHUNK_WRITE does without reading what it writes to.
    let reads_target = code == CtlCode::FSCTL_SRV_COPYCHUNK;
    let allowed = source.may(AccessMask::READ_DATA | AccessMask::EXECUTE)
        && target.may(AccessMask::WRITE_DATA)
        && (!reads_target || target.may(AccessMask::READ_DATA));
    if allowed { Ok(()) } else { Err(NtStatus::ACCESS_DENIED) }
}

async fn copy_one(
    source: &Arc<Open>,
    target: &Arc<Open>,
    chunk: &SrvCopychunk,
) -> Result<(), NtStatus> {
    let (from, to) = (file_of(source)?, file_of(target)?);
    let length = u64::from(chunk.length);
    let source_end = chunk.source_offset.checked_add(length);
    let source_end = source_end.ok_or(NtStatus::INVALID_PARAMETER)?;
    if !is_in_range(chunk.target_offset, length) {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    if is_locked_out(from, chunk.source_offset, length, false)
        || is_locked_out(to, chunk.target_offset, length, true)
    {
        return Err(NtStatus::FILE_LOCK_CONFLICT);
    }
    if source_end > from.handle.metadata().await?.size {
        return Err(NtStatus::INVALID_VIEW_SIZE);
    }
    let held = sticky::hold(to, Touches::Both).await;
    let copied = datapath::copy_range(
        &from.handle,
        chunk.source_offset,
        &to.handle,
        chunk.target_offset,
        chunk.length as usize,
    );
    let copied = copied.await;
    sticky::restore(to, held).await;
    // After the copy, or a FLUSH meanwhile would have taken the mark away.
    to.dirty.store(true, Ordering::Relaxed);
    copied
}

fn is_locked_out(file: &FileOpen, offset: u64, length: u64, write: bool) -> bool {
    file.locks.is_locked_out(offset, length, write)
}

/// What was done is told with an error too.
fn response(
    request: &IoctlRequest,
    open: &Open,
    status: NtStatus,
    done: SrvCopychunkResponse,
) -> Answer {
    let mut output = Vec::new();
    done.encode(&mut Writer::new(&mut output));
    let body = Body::Ioctl(IoctlResponse {
        ctl_code: request.ctl_code,
        file_id: open.file_id,
        output,
        ..IoctlResponse::default()
    });
    Answer::Reply(Reply { status, body })
}
