//! The object identifiers by which links follow a file: FSCTL_CREATE_OR_GET_OBJECT_ID and
//! FSCTL_GET_OBJECT_ID. MS-FSA 2.1.5.10.1, MS-FSCC 2.1.3.1.

use crate::wire::ioctl::IoctlRequest;
use crate::wire::status::NtStatus;

use super::Answer;
use super::context::{Context, file_of};
use super::ioctl::answer;

/// FILE_OBJECTID_BUFFER: four identifiers of 16 bytes.
const LEN: usize = 64;

/// What the file system knows the file by is unique and stays, so every file has an identifier that
/// need not be made or kept.
pub(super) fn get(context: &mut Context, request: &IoctlRequest) -> Result<Answer, NtStatus> {
    let open = context.open(request.file_id)?;
    let key = file_of(&open)?.handle.id();
    if (request.max_output_response as usize) < LEN {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    Ok(answer(request, &open, |w| {
        w.put_u64(key.ino);
        w.put_u64(key.dev);
        // BirthVolumeId: the file was not brought here from another volume.
        w.put_zeros(16);
        w.put_u64(key.ino);
        w.put_u64(key.dev);
        // DomainId, which is always zero.
        w.put_zeros(16);
    }))
}
