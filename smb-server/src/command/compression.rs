//! The compression state of files and directories: FSCTL_GET_COMPRESSION and FSCTL_SET_COMPRESSION. MS-FSA 2.1.5.10.9
//! and 2.1.5.10.30.
//!
//! Which format the file system uses is its own affair; it is called by the only name that clients know.

use ringway::fs::Access;

use crate::state::FileOpen;
use crate::vfs::Attributes;
use crate::wire::access_mask::AccessMask;
use crate::wire::change_notify::CompletionFilter;
use crate::wire::compression::CompressionFormat;
use crate::wire::ioctl::IoctlRequest;
use crate::wire::status::NtStatus;

use super::Answer;
use super::change_notify::tell_modified;
use super::context::{Context, file_of};
use super::ioctl::answer;

/// As Windows says it of a volume that cannot compress, it is no error to ask.
pub(super) async fn get(context: &mut Context, request: &IoctlRequest) -> Result<Answer, NtStatus> {
    let open = context.open(request.file_id)?;
    let file = file_of(&open)?;
    if (request.max_output_response as usize) < CompressionFormat::SIZE {
        return Err(NtStatus::INVALID_USER_BUFFER);
    }
    let compressed = is_compressed(file).await?;
    let format = if compressed { CompressionFormat::LZNT1 } else { CompressionFormat::NONE };
    Ok(answer(request, &open, |w| w.put_u16(format.0)))
}

pub(super) async fn set(context: &mut Context, request: &IoctlRequest) -> Result<Answer, NtStatus> {
    let open = context.open(request.file_id)?;
    let file = file_of(&open)?;
    // What is written to a directory is checked when something is made in it; this would be done as the process.
    let in_vain = file.handle.is_directory() && !file.handle.may(Access::WRITE_OK).await;
    if !open.may(AccessMask::WRITE_DATA) || in_vain {
        return Err(NtStatus::ACCESS_DENIED);
    }
    let format = request.input.first_chunk().ok_or(NtStatus::INVALID_PARAMETER)?;
    let wanted = match CompressionFormat(u16::from_le_bytes(*format)) {
        CompressionFormat::NONE => false,
        CompressionFormat::DEFAULT | CompressionFormat::LZNT1 => true,
        _ => return Err(NtStatus::INVALID_PARAMETER),
    };
    // So that what is not compressed can be told so anywhere.
    if is_compressed(file).await? != wanted {
        let possible = file.handle.stream().is_none() && file.handle.abilities().await.compresses;
        if wanted && !possible {
            return Err(NtStatus::NOT_SUPPORTED);
        }
        file.handle.set_compressed(wanted).await?;
        tell_modified(&context.server, &file.handle, CompletionFilter::ATTRIBUTES);
    }
    Ok(answer(request, &open, |_| ()))
}

/// A named stream, which is kept beside the file's contents, never is.
async fn is_compressed(file: &FileOpen) -> Result<bool, NtStatus> {
    let attributes = file.handle.metadata().await?.attributes;
    Ok(attributes.contains(Attributes::COMPRESSED) && file.handle.stream().is_none())
}
