//! The controls of sparse files: FSCTL_SET_SPARSE, FSCTL_SET_ZERO_DATA, FSCTL_QUERY_ALLOCATED_RANGES. MS-FSA
//! 2.1.5.10.

use std::sync::atomic::Ordering;

use crate::protocol::{Body, Reply};
use crate::state::{FileOpen, Open};
use crate::vfs::Attributes;
use crate::wire::access_mask::AccessMask;
use crate::wire::change_notify::CompletionFilter;
use crate::wire::codec::Writer;
use crate::wire::ioctl::{IoctlRequest, IoctlResponse};
use crate::wire::sparse::{FileAllocatedRange, FileZeroDataInfo, decode_set_sparse};
use crate::wire::status::NtStatus;

use super::change_notify::tell_modified;
use super::context::{Context, file_of};
use super::ioctl::answer;
use super::sticky::{self, Touches};
use super::{Answer, oplock};

/// How many ranges one response may tell, whatever room the client has.
const RANGES_MAX: usize = 4096;

fn file(open: &Open) -> Result<&FileOpen, NtStatus> {
    let file = file_of(open)?;
    // MS-FSA 2.1.5.10: only data streams are sparse.
    if file.handle.is_directory() { Err(NtStatus::INVALID_PARAMETER) } else { Ok(file) }
}

fn require(open: &Open, any: AccessMask) -> Result<(), NtStatus> {
    if open.may(any) { Ok(()) } else { Err(NtStatus::ACCESS_DENIED) }
}

/// MS-FSA 2.1.5.10.37.
pub(super) async fn set_sparse(
    context: &mut Context,
    request: &IoctlRequest,
) -> Result<Answer, NtStatus> {
    let open = context.open(request.file_id)?;
    let file = file(&open)?;
    require(
        &open,
        AccessMask::WRITE_DATA | AccessMask::APPEND_DATA | AccessMask::WRITE_ATTRIBUTES,
    )?;
    file.handle.set_sparse(decode_set_sparse(&request.input)).await?;
    tell_modified(&context.server, &file.handle, CompletionFilter::ATTRIBUTES);
    Ok(answer(request, &open, |_| ()))
}

/// MS-FSA 2.1.5.10.39.
pub(super) async fn set_zero_data(
    context: &mut Context,
    request: &IoctlRequest,
) -> Result<Answer, NtStatus> {
    let open = context.open(request.file_id)?;
    let file = file(&open)?;
    require(&open, AccessMask::WRITE_DATA)?;
    let range =
        FileZeroDataInfo::decode(&request.input).map_err(|_| NtStatus::INVALID_PARAMETER)?;
    let (Ok(start), Ok(end)) =
        (u64::try_from(range.file_offset), u64::try_from(range.beyond_final_zero))
    else {
        return Err(NtStatus::INVALID_PARAMETER);
    };
    let length = end.checked_sub(start).ok_or(NtStatus::INVALID_PARAMETER)?;
    if file.locks.is_locked_out(start, length, true) {
        return Err(NtStatus::FILE_LOCK_CONFLICT);
    }
    let held = sticky::hold(file, Touches::Both).await;
    let zeroed = file.handle.zero(start, length).await;
    sticky::restore(file, held).await;
    // Some may have been zeroed even where it failed.
    oplock::contents_change(&context.server, &file.handle);
    file.dirty.store(true, Ordering::Relaxed);
    zeroed?;
    tell_modified(&context.server, &file.handle, CompletionFilter::LAST_WRITE);
    Ok(answer(request, &open, |_| ()))
}

/// MS-FSA 2.1.5.10.22.
pub(super) async fn query_allocated_ranges(
    context: &mut Context,
    request: &IoctlRequest,
) -> Result<Answer, NtStatus> {
    let open = context.open(request.file_id)?;
    let file = file(&open)?;
    require(&open, AccessMask::READ_DATA)?;
    let asked =
        FileAllocatedRange::decode(&request.input).map_err(|_| NtStatus::INVALID_PARAMETER)?;
    let (Ok(start), Ok(length)) = (u64::try_from(asked.file_offset), u64::try_from(asked.length))
    else {
        return Err(NtStatus::INVALID_PARAMETER);
    };
    let end = start.checked_add(length).filter(|end| i64::try_from(*end).is_ok());
    let end = end.ok_or(NtStatus::INVALID_PARAMETER)?;
    let metadata = file.handle.metadata().await?;
    let room = (request.max_output_response as usize / FileAllocatedRange::SIZE).min(RANGES_MAX);
    let end = end.min(metadata.size);
    let ranges = match () {
        () if start >= end => Vec::new(),
        // One that is not sparse has all that it may have.
        () if !metadata.attributes.contains(Attributes::SPARSE) => {
            std::iter::once(start..end).collect()
        }
        // One more than fits, to know whether there are more.
        () => file.handle.allocated(start..end, room + 1).await?,
    };
    if room == 0 && !ranges.is_empty() {
        return Err(NtStatus::BUFFER_TOO_SMALL);
    }
    let status = if ranges.len() > room { NtStatus::BUFFER_OVERFLOW } else { NtStatus::SUCCESS };
    let mut output = Vec::new();
    let mut w = Writer::new(&mut output);
    for range in ranges.iter().take(room) {
        let length = (range.end - range.start).cast_signed();
        FileAllocatedRange { file_offset: range.start.cast_signed(), length }.encode(&mut w);
    }
    let body = Body::Ioctl(IoctlResponse {
        ctl_code: request.ctl_code,
        file_id: open.file_id,
        output,
        ..IoctlResponse::default()
    });
    Ok(Answer::Reply(Reply { status, body }))
}
