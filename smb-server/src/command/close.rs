//! CLOSE, and everything that closes files without being asked. MS-SMB2 3.3.5.10.

use std::sync::Arc;

use crate::protocol::Body;
use crate::state::{FileOpen, Object, Open, Server, Ticket};
use crate::vfs::{Attributes, Error, Metadata};
use crate::wire::close::{CloseFlags, CloseRequest, CloseResponse};
use crate::wire::create::CreateOptions;
use crate::wire::status::NtStatus;

use super::Answer;
use super::change_notify::{tell_delete_pending, tell_removed};
use super::context::Context;
use super::query_info::times;

pub(super) async fn close(
    context: &mut Context,
    request: CloseRequest,
) -> Result<Answer, NtStatus> {
    let open = context.open(request.file_id)?;
    context.session()?.remove(open.file_id).ok_or(NtStatus::FILE_CLOSED)?;
    let wants_attributes = request.flags.contains(CloseFlags::POSTQUERY_ATTRIB);
    let metadata = match open.file() {
        Some(file) if wants_attributes => file.handle.metadata().await.ok(),
        _ => None,
    };
    // It is closed all the same. Who deleted a file so hears of it nowhere else.
    close_open(&context.server, &open).await?;
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
        // Nobody is there to be told, and the log is.
        let _ = close_open(server, &open).await;
    }
}

/// Takes an open that is no longer in its session's table out of the file's openers, and deletes the
/// file if this was the last one and that was asked for.
///
/// # Errors
/// The file was to be deleted and is not. It is closed.
pub(super) async fn close_open(server: &Server, open: &Open) -> Result<(), NtStatus> {
    let file = match &open.object {
        Object::File(file) => file,
        Object::Pipe(pipe) => {
            pipe.close();
            return Ok(());
        }
        Object::Quotas(_) => return Ok(()),
    };
    let Some(ticket) = file.take_ticket() else { return Ok(()) };
    file.leasing.end();
    file.mappings.end();
    file.locks.release();
    file.end_watch();
    let on_close = open.options.contains(CreateOptions::DELETE_ON_CLOSE);
    let marked = if on_close { mark_deleted(server, file, &ticket).await } else { Ok(()) };
    let left = leave(server, ticket).await;
    // Last: who waits for it finds neither this opener in the way nor a file that is about to go.
    file.release_oplock();
    marked.and(left)
}

/// MS-FSA 2.1.5.4: the wish takes effect now; the file goes with its last opener.
async fn mark_deleted(server: &Server, file: &FileOpen, ticket: &Ticket) -> Result<(), NtStatus> {
    match check_deletable(file).await {
        Ok(()) => {
            ticket.set_delete_pending(Some(Arc::clone(&file.handle)));
            tell_delete_pending(server, file);
            Ok(())
        }
        // What cannot be deleted stays.
        Err(NtStatus::CANNOT_DELETE | NtStatus::DIRECTORY_NOT_EMPTY) => Ok(()),
        Err(status) => {
            let path = file.handle.path();
            tracing::warn!(path, %status, "a file was to be deleted and is not");
            Err(status)
        }
    }
}

/// Takes an opener out of a file's, and deletes the file if it was the last one and that was asked for.
///
/// # Errors
/// The file is still there.
pub(super) async fn leave(server: &Server, ticket: Ticket) -> Result<(), NtStatus> {
    let Some(deletion) = ticket.leave() else { return Ok(()) };
    match deletion.handle.remove().await {
        Ok(()) => tell_removed(server, &deletion.handle),
        // Somebody else was quicker, and may have given another the name.
        Err(Error::NotFound | Error::PathNotFound) => {}
        Err(error) => {
            let path = deletion.handle.path();
            tracing::warn!(path, %error, "a file was to be deleted and is not");
            return Err(error.into());
        }
    }
    Ok(())
}

/// MS-FSA 2.1.5.15.3: what cannot be deleted is not marked for it.
pub(super) async fn check_deletable(file: &FileOpen) -> Result<(), NtStatus> {
    if file.handle.is_root() {
        return Err(NtStatus::CANNOT_DELETE);
    }
    if file.handle.metadata().await?.attributes.contains(Attributes::READONLY) {
        return Err(NtStatus::CANNOT_DELETE);
    }
    match !file.handle.is_directory() || file.handle.is_empty().await? {
        true => Ok(()),
        false => Err(NtStatus::DIRECTORY_NOT_EMPTY),
    }
}
