//! IOCTL: which control is meant. MS-SMB2 3.3.5.15. Each comes with what it controls; one that is not there is refused
//! as unknown.

use crate::protocol::Body;
use crate::state::Open;
use crate::wire::codec::Writer;
use crate::wire::file_id::FileId;
use crate::wire::ioctl::{CtlCode, IoctlFlags, IoctlRequest, IoctlResponse};
use crate::wire::status::NtStatus;

use super::context::Context;
use super::{
    Answer, compression, copychunk, duplicate_extents, object_id, pipe, reparse, snapshots, sparse,
    trim,
};

pub(super) async fn ioctl(
    context: &mut Context,
    request: &IoctlRequest,
) -> Result<Answer, NtStatus> {
    if !request.flags.contains(IoctlFlags::IS_FSCTL) {
        return Err(NtStatus::NOT_SUPPORTED);
    }
    match request.ctl_code {
        CtlCode::FSCTL_PIPE_TRANSCEIVE => pipe::transceive(context, request).await,
        CtlCode::FSCTL_SRV_REQUEST_RESUME_KEY => copychunk::resume_key(context, request),
        CtlCode::FSCTL_SRV_COPYCHUNK | CtlCode::FSCTL_SRV_COPYCHUNK_WRITE => {
            copychunk::copychunk(context, request).await
        }
        CtlCode::FSCTL_DUPLICATE_EXTENTS_TO_FILE | CtlCode::FSCTL_DUPLICATE_EXTENTS_TO_FILE_EX => {
            duplicate_extents::duplicate_extents(context, request).await
        }
        CtlCode::FSCTL_FILE_LEVEL_TRIM => trim::file_level_trim(context, request).await,
        CtlCode::FSCTL_SRV_ENUMERATE_SNAPSHOTS => snapshots::enumerate(context, request).await,
        CtlCode::FSCTL_GET_COMPRESSION => compression::get(context, request).await,
        CtlCode::FSCTL_SET_COMPRESSION => compression::set(context, request).await,
        CtlCode::FSCTL_CREATE_OR_GET_OBJECT_ID | CtlCode::FSCTL_GET_OBJECT_ID => {
            object_id::get(context, request)
        }
        CtlCode::FSCTL_GET_REPARSE_POINT => reparse::get(context, request).await,
        CtlCode::FSCTL_SET_REPARSE_POINT => reparse::set(context, request).await,
        CtlCode::FSCTL_DELETE_REPARSE_POINT => reparse::delete(context, request).await,
        CtlCode::FSCTL_SET_SPARSE => sparse::set_sparse(context, request).await,
        CtlCode::FSCTL_SET_ZERO_DATA => sparse::set_zero_data(context, request).await,
        CtlCode::FSCTL_QUERY_ALLOCATED_RANGES => {
            sparse::query_allocated_ranges(context, request).await
        }
        // MS-SMB2 3.3.5.15.2: the answer of a server without DFS; and Samba's, of one without multichannel.
        CtlCode::FSCTL_DFS_GET_REFERRALS
        | CtlCode::FSCTL_DFS_GET_REFERRALS_EX
        | CtlCode::FSCTL_QUERY_NETWORK_INTERFACE_INFO => Err(NtStatus::FS_DRIVER_REQUIRED),
        _ => {
            if request.file_id != FileId::ANY {
                context.open(request.file_id)?;
            }
            Err(NtStatus::INVALID_DEVICE_REQUEST)
        }
    }
}

/// A success with what `encode` writes as its output.
pub(super) fn answer(
    request: &IoctlRequest,
    open: &Open,
    encode: impl FnOnce(&mut Writer<'_>),
) -> Answer {
    let mut output = Vec::new();
    encode(&mut Writer::new(&mut output));
    let IoctlRequest { ctl_code, .. } = *request;
    Body::Ioctl(IoctlResponse {
        ctl_code,
        file_id: open.file_id,
        output,
        ..IoctlResponse::default()
    })
    .into()
}
