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

fn file_range(context: &Context, open: &Arc<Open>, request: &WriteRequest) -> Result<Answer, NtStatus> {
    if open.file().is_some_and(|file| file.handle.is_directory()) {
        return Err(NtStatus::INVALID_DEVICE_REQUEST);
    }
    let may_write = open.may(AccessMask::WRITE_DATA);
    if !may_write && !open.may(AccessMask::APPEND_DATA) {
        return Err(NtStatus::ACCESS_DENIED);
    }
    let append = request.offset == APPEND;
    let end = request.offset.checked_add(request.data.len() as u64);
    if !append && end.is_none_or(|end| end > OFFSET_MAX) {
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
