//! READ: checks, and a description of the bytes that are wanted. MS-SMB2 3.3.5.12.

use std::rc::Rc;
use std::sync::Arc;

use crate::datapath::Source;
use crate::state::{Object, Open};
use crate::wire::access_mask::AccessMask;
use crate::wire::read::{Channel, ReadRequest};
use crate::wire::status::NtStatus;

use super::context::{Context, file_of};
use super::{Answer, pipe};

/// The largest offset of a byte: MS-FSA 2.1.5.3 takes offsets as signed.
pub(super) const OFFSET_MAX: u64 = i64::MAX as u64;

pub(super) async fn read(context: &mut Context, request: &ReadRequest) -> Result<Answer, NtStatus> {
    if request.channel != Channel::NONE {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let open = context.open(request.file_id)?;
    match &open.object {
        Object::Pipe(pipe) => pipe::read(context, pipe, request.length).await,
        Object::Quotas(_) => Err(NtStatus::INVALID_DEVICE_REQUEST),
        Object::File(_) => file_range(context, &open, request),
    }
}

fn file_range(
    context: &Context,
    open: &Arc<Open>,
    request: &ReadRequest,
) -> Result<Answer, NtStatus> {
    let file = file_of(open)?;
    if file.handle.is_directory() {
        return Err(NtStatus::INVALID_DEVICE_REQUEST);
    }
    if !open.may(AccessMask::READ_DATA | AccessMask::EXECUTE) {
        return Err(NtStatus::ACCESS_DENIED);
    }
    if file.handle.is_link() {
        // It has no contents; those of what it leads to are not read by it.
        return Err(NtStatus::END_OF_FILE);
    }
    let end = request.offset.checked_add(u64::from(request.length));
    if end.is_none_or(|end| end > OFFSET_MAX) {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    if file.locks.is_locked_out(request.offset, request.length.into(), false) {
        return Err(NtStatus::FILE_LOCK_CONFLICT);
    }
    Ok(Answer::Read(Source {
        open: Arc::clone(open),
        offset: request.offset,
        length: request.length,
        minimum_count: request.minimum_count,
        message: context.message,
        receiver: Rc::clone(&context.receiver),
    }))
}
