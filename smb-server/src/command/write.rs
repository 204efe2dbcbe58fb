//! WRITE: checks, and a description of where the bytes go. MS-SMB2 3.3.5.13.

use std::sync::Arc;

use crate::datapath::Sink;
use crate::state::{Object, Open};
use crate::wire::access_mask::AccessMask;
use crate::wire::change_notify::CompletionFilter;
use crate::wire::create::CreateOptions;
use crate::wire::read::Channel;
use crate::wire::status::NtStatus;
use crate::wire::write::{WriteFlags, WriteRequest};

use super::change_notify::tell_modified;
use super::context::{Context, file_of};
use super::read::OFFSET_MAX;
use super::{Answer, pipe};

/// The end of the largest file, MS-FSA's MAXFILESIZE: that of NTFS, which clients expect.
const FILE_SIZE_MAX: u64 = 0x0fff_ffff_0000;

/// As an offset: at the end of the file, MS-FSA 2.1.5.3.
const APPEND: u64 = u64::MAX;

pub(super) async fn write(
    context: &mut Context,
    request: &WriteRequest,
) -> Result<Answer, NtStatus> {
    if request.channel != Channel::NONE {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let open = context.open(request.file_id)?;
    match &open.object {
        Object::Pipe(pipe) => {
            let bytes = context.payload(request.data.clone()).bytes().await;
            let bytes = bytes.map_err(|_| NtStatus::CONNECTION_DISCONNECTED)?;
            pipe::write(context, pipe, &bytes).await
        }
        Object::Quotas(_) => Err(NtStatus::INVALID_DEVICE_REQUEST),
        Object::File(_) => file_range(context, &open, request),
    }
}

/// The bytes have been written.
pub(super) fn tell(context: &Context, open: &Open) {
    if let Some(file) = open.file() {
        let what = CompletionFilter::SIZE | CompletionFilter::LAST_WRITE;
        tell_modified(&context.server, &file.handle, what);
    }
}

/// Whether a file may have bytes there.
pub(super) fn is_in_range(offset: u64, length: u64) -> bool {
    let Some(end) = offset.checked_add(length) else { return false };
    end <= OFFSET_MAX && (length == 0 || end <= FILE_SIZE_MAX)
}

fn file_range(
    context: &mut Context,
    open: &Arc<Open>,
    request: &WriteRequest,
) -> Result<Answer, NtStatus> {
    let file = file_of(open)?;
    if file.handle.is_directory() {
        return Err(NtStatus::INVALID_DEVICE_REQUEST);
    }
    let may_write = open.may(AccessMask::WRITE_DATA);
    if !may_write && !open.may(AccessMask::APPEND_DATA) {
        return Err(NtStatus::ACCESS_DENIED);
    }
    // Who may only append says so by the offset; who may write says where.
    let append = !may_write && request.offset == APPEND;
    if !append && !is_in_range(request.offset, request.data.len() as u64) {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    // Where an append goes is not known yet: to bytes that nobody can have locked but in advance.
    if !append && file.locks.is_locked_out(request.offset, request.data.len() as u64, true) {
        return Err(NtStatus::FILE_LOCK_CONFLICT);
    }
    let through = file.mode.get().contains(CreateOptions::WRITE_THROUGH)
        || request.flags.contains(WriteFlags::WRITE_THROUGH);
    Ok(Answer::Write(Sink {
        open: Arc::clone(open),
        offset: (!append).then_some(request.offset),
        bytes: context.payload(request.data.clone()),
        through,
        message: context.message,
    }))
}
