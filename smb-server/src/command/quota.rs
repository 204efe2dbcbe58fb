//! Quotas: none are kept for SMB, and here that is said, in the forms in which clients ask. What a file system
//! limits a user to is found out by who writes (`QUOTA_EXCEEDED`).
//!
//! Clients ask through the index of quotas, a file of NTFS that is in no directory. On Windows it can be opened
//! before anybody has enabled quotas.

use std::sync::Arc;

use crate::state::{Object, Open, Share};
use crate::vfs::SharePath;
use crate::wire::access_mask::AccessMask;
use crate::wire::create::{
    CreateAction, CreateDisposition, CreateOptions, CreateRequest, CreateResponse,
};
use crate::wire::fscc::attributes::FileAttributes;
use crate::wire::fscc::fs_info::FsControlInfo;
use crate::wire::fscc::info_class::FsInfoClass;
use crate::wire::query_info::{InfoType, QueryInfoRequest};
use crate::wire::status::NtStatus;

use super::context::Context;
use super::create::admit;
use super::query_info::Info;
use super::{Answer, fs_info};

/// MS-FSCC 2.5.2, and its product note.
const INDEX: &str = r"$Extend\$Quota:$Q:$INDEX_ALLOCATION";

pub(super) fn is_index(name: &str) -> bool {
    name.eq_ignore_ascii_case(INDEX)
}

/// Opens the index. What it is told to be like is what Windows tells, without any times.
pub(super) async fn create(
    context: &Context,
    request: &CreateRequest,
    share: &Arc<Share>,
    granted_access: AccessMask,
) -> Result<Answer, NtStatus> {
    match request.create_disposition {
        CreateDisposition::OPEN | CreateDisposition::OPEN_IF => {}
        _ => return Err(NtStatus::ACCESS_DENIED),
    }
    let open = Open {
        file_id: context.session()?.new_file_id(),
        tree_id: context.tree()?.id,
        granted_access,
        options: CreateOptions::empty(),
        object: Object::Quotas(Arc::clone(share)),
    };
    let response = CreateResponse {
        create_action: CreateAction::OPENED,
        file_attributes: FileAttributes::HIDDEN
            | FileAttributes::SYSTEM
            | FileAttributes::DIRECTORY
            | FileAttributes::ARCHIVE,
        ..CreateResponse::default()
    };
    admit(context, Arc::new(open), response).await
}

/// What the index is asked for.
pub(super) async fn query(share: &Share, request: &QueryInfoRequest) -> Result<Info, NtStatus> {
    match request.info_type {
        InfoType::FILESYSTEM => {
            let root = share.volume.look_up(None, &SharePath::default()).await?;
            let root = *root.first().ok_or(NtStatus::OBJECT_NAME_NOT_FOUND)?;
            fs_info::fs_info(share, root, None, FsInfoClass(request.info_class)).await
        }
        // MS-SMB2 3.3.5.20.4.
        InfoType::QUOTA => Err(NtStatus::NOT_SUPPORTED),
        _ => Err(NtStatus::INVALID_DEVICE_REQUEST),
    }
}

/// No quotas are tracked or enforced, and no default limits anybody.
pub(super) fn control() -> FsControlInfo {
    FsControlInfo {
        default_quota_threshold: u64::MAX,
        default_quota_limit: u64::MAX,
        ..FsControlInfo::default()
    }
}
