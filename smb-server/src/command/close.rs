//! CLOSE, and everything that closes files without being asked. MS-SMB2 3.3.5.10.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::protocol::Body;
use crate::state::{Open, Server};
use crate::vfs::Metadata;
use crate::wire::close::{CloseFlags, CloseRequest, CloseResponse};
use crate::wire::create::CreateOptions;
use crate::wire::status::NtStatus;

use super::context::Context;
use super::query_info::times;
use super::Answer;

pub(super) async fn close(context: &mut Context, request: CloseRequest) -> Result<Answer, NtStatus> {
    let open = context.open(request.file_id)?;
    context.session()?.remove(open.file_id).ok_or(NtStatus::FILE_CLOSED)?;
    let wants_attributes = request.flags.contains(CloseFlags::POSTQUERY_ATTRIB);
    let metadata = match open.file() {
        Some(file) if wants_attributes => file.handle.metadata().await.ok(),
        _ => None,
    };
    close_open(&context.server, &open).await;
    Ok(Body::Close(metadata.as_ref().map(response).unwrap_or_default()).into())
}

fn response(metadata: &Metadata) -> CloseResponse {
    let times = times(metadata);
    CloseResponse {
        flags: CloseFlags::POSTQUERY_ATTRIB,
        creation_time: times.creation_time,
        last_access_time: times.last_access_time,
        last_write_time: times.last_write_time,
        change_time: times.change_time,
        allocation_size: metadata.allocation_size,
        end_of_file: metadata.size,
        file_attributes: times.file_attributes,
    }
}

/// Closes what a session or a tree connect leaves behind.
pub async fn close_all(server: &Server, opens: Vec<Arc<Open>>) {
    for open in opens {
        close_open(server, &open).await;
    }
}

/// Takes an open that is no longer in its session's table out of the server's, and deletes its file
/// if it was the last one and that was asked for.
async fn close_open(server: &Server, open: &Open) {
    let Some(file) = open.file() else { return };
    let key = file.handle.id();
    if open.options.contains(CreateOptions::DELETE_ON_CLOSE) {
        // MS-FSA 2.1.5.4: the wish takes effect now; the file goes with its last opener.
        server.sharing.set_delete_pending(key, true);
    }
    if server.sharing.leave(key, file.opener).delete
        && let Err(error) = file.handle.remove().await
    {
        tracing::warn!(path = file.handle.path(), %error, "delete on close");
    }
    file.dirty.store(false, Ordering::Relaxed);
}
