//! TREE_CONNECT and TREE_DISCONNECT. MS-SMB2 3.3.5.7 and 3.3.5.8.

use crate::protocol::Body;
use crate::state::{NoWay, Target};
use crate::wire::access_mask::AccessMask;
use crate::wire::status::NtStatus;
use crate::wire::tree_connect::{
    ShareCapabilities, ShareFlags, ShareType, TreeConnectRequest, TreeConnectResponse,
};

use super::Answer;
use super::close::close_all;
use super::context::Context;

pub(super) fn connect(context: &Context, request: &TreeConnectRequest) -> Result<Answer, NtStatus> {
    let path = request.path.to_string_strict().ok_or(NtStatus::BAD_NETWORK_NAME)?;
    let name = share_name(&path).ok_or(NtStatus::BAD_NETWORK_NAME)?;
    let session = context.session()?;
    let target =
        context.server.target(name, &session.principal).map_err(|no_way| match no_way {
            NoWay::NoSuchShare => NtStatus::BAD_NETWORK_NAME,
            NoWay::NotForGuests => NtStatus::ACCESS_DENIED,
        })?;
    let (share_type, maximal_access, share_flags) = match &target {
        // Nothing breaks an offline copy's assumptions yet, so clients keep none.
        Target::Disk { share, .. } => {
            let mut flags = ShareFlags::NO_CACHING;
            let hides = share.options.hide_unreadable;
            flags.set(ShareFlags::ACCESS_BASED_DIRECTORY_ENUM, hides);
            (ShareType::DISK, share.maximal_access(), flags)
        }
        Target::Ipc => (ShareType::PIPE, AccessMask::FILE_ALL, ShareFlags::NO_CACHING),
    };
    let tree = session.connect(target).ok_or(NtStatus::INSUFFICIENT_RESOURCES)?;
    let capabilities = ShareCapabilities::empty();
    let response = TreeConnectResponse { share_type, share_flags, capabilities, maximal_access };
    Ok(Body::TreeConnect(tree.id, response).into())
}

pub(super) async fn disconnect(context: &Context) -> Result<Answer, NtStatus> {
    let opens =
        context.session()?.disconnect(context.tree()?.id).ok_or(NtStatus::NETWORK_NAME_DELETED)?;
    close_all(&context.server, opens).await;
    Ok(Body::TreeDisconnect.into())
}

/// The share in `\\server\share`. The server's name is the client's business.
fn share_name(path: &str) -> Option<&str> {
    let (server, share) = path.strip_prefix(r"\\")?.split_once('\\')?;
    let plain = !server.is_empty() && !share.is_empty() && !share.contains('\\');
    plain.then_some(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_path_has_a_server_and_a_share() {
        assert_eq!(share_name(r"\\127.0.0.1\data"), Some("data"));
        assert_eq!(share_name(r"\\host\my files"), Some("my files"));
        for wrong in ["", "data", r"\data", r"\\", r"\\host", r"\\host\", r"\\\data", r"\\host\a\b"]
        {
            assert_eq!(share_name(wrong), None, "{wrong}");
        }
    }
}
