//! FLUSH. MS-SMB2 3.3.5.11: it returns when the data is on the disk, not before.

use std::sync::atomic::Ordering;

use crate::protocol::Body;
use crate::state::Object;
use crate::wire::access_mask::AccessMask;
use crate::wire::flush::FlushRequest;
use crate::wire::status::NtStatus;

use super::context::Context;
use super::Answer;

pub(super) async fn flush(context: &mut Context, request: FlushRequest) -> Result<Answer, NtStatus> {
    let open = context.open(request.file_id)?;
    let Object::File(file) = &open.object else { return Ok(Body::Flush.into()) };
    if !open.may(AccessMask::WRITE_DATA | AccessMask::APPEND_DATA) {
        return Err(NtStatus::ACCESS_DENIED);
    }
    file.dirty.store(false, Ordering::Relaxed);
    if let Err(error) = file.handle.sync().await {
        file.dirty.store(true, Ordering::Relaxed);
        return Err(error.into());
    }
    Ok(Body::Flush.into())
}
