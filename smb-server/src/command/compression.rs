//! The compression state of files, on file systems that have none: FSCTL_GET_COMPRESSION and
//! FSCTL_SET_COMPRESSION. MS-FSA 2.1.5.10.5 and 2.1.5.10.30.

use crate::wire::access_mask::AccessMask;
use crate::wire::ioctl::IoctlRequest;
use crate::wire::status::NtStatus;

use super::Answer;
use super::context::{Context, file_of};
use super::ioctl::answer;

/// COMPRESSION_FORMAT_NONE, MS-FSCC 2.3.20.
const NONE: u16 = 0;

/// Nothing is compressed; as Windows says it of a volume that cannot, it is no error to ask.
pub(super) fn get(context: &mut Context, request: &IoctlRequest) -> Result<Answer, NtStatus> {
    let open = context.open(request.file_id)?;
    file_of(&open)?;
    if (request.max_output_response as usize) < size_of::<u16>() {
        return Err(NtStatus::INVALID_USER_BUFFER);
    }
    Ok(answer(request, &open, |w| w.put_u16(NONE)))
}

/// And nothing can be: only the format that there is can be set.
pub(super) fn set(context: &mut Context, request: &IoctlRequest) -> Result<Answer, NtStatus> {
    let open = context.open(request.file_id)?;
    file_of(&open)?;
    if !open.may(AccessMask::WRITE_DATA) {
        return Err(NtStatus::ACCESS_DENIED);
    }
    match request.input.first_chunk() {
        None => Err(NtStatus::INVALID_PARAMETER),
        Some(format) if u16::from_le_bytes(*format) == NONE => Ok(answer(request, &open, |_| ())),
        Some(_) => Err(NtStatus::NOT_SUPPORTED),
    }
}
