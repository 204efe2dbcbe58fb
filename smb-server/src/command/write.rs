//! WRITE: checks, and a description of where the bytes go. MS-SMB2 3.3.5.13.

use std::sync::Arc;

use crate::datapath::Sink;
use crate::protocol::Body;
use crate::state::{Object, Open};
use crate::wire::access_mask::AccessMask;
use crate::wire::create::CreateOptions;
use crate::wire::read::Channel;
use crate::wire::status::NtStatus;
use crate::wire::write::{WriteFlags, WriteRequest, WriteResponse};

use super::context::Context;
use super::read::OFFSET_MAX;
use super::{Answer, ioctl};

/// The end of the largest file, MS-FSA's MAXFILESIZE: that of NTFS, which clients expect.
const FILE_SIZE_MAX: u64 = 0x0fff_ffff_0000;

/// As an offset: at the end of the file, MS-FSA 2.1.5.3.
const APPEND: u64 = u64::MAX;

pub(super) fn write(context: &mut Context, request: &WriteRequest) -> Result<Answer, NtStatus> {
    if request.channel != Channel::NONE {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let open = context.open(request.file_id)?;
    match &open.object {
        Object::Pipe(pipe) => {
            let bytes = context.bytes.get(request.data.clone()).unwrap_or_default();
            ioctl::write_pipe(pipe, bytes)?;
            let count = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            Ok(Body::Write(WriteResponse { count, remaining: 0 }).into())
        }
        Object::File(_) => file_range(context, &open, request),
    }
}

fn is_in_range(offset: u64, length: u64) -> bool {
    let Some(end) = offset.checked_add(length) else { return false };
    end <= OFFSET_MAX && (length == 0 || end <= FILE_SIZE_MAX)
}

fn file_range(context: &Context, open: &Arc<Open>, request: &WriteRequest) -> Result<Answer, NtStatus> {
    if open.file().is_some_and(|file| file.handle.is_directory()) {
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
    let through = open.options.contains(CreateOptions::WRITE_THROUGH)
        || request.flags.contains(WriteFlags::WRITE_THROUGH);
    Ok(Answer::Write(Sink {
        open: Arc::clone(open),
        offset: (!append).then_some(request.offset),
        bytes: context.bytes.slice(request.data.clone()),
        through,
    }))
}
