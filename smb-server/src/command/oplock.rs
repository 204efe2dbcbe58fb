//! Oplocks in the life of an open: taken back from others before it stands, granted with it, acknowledged.
//! MS-SMB2 3.3.5.9, 3.3.4.6 and 3.3.5.22.1.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use ringway::time::timeout;

use crate::protocol::Body;
use crate::state::{FileOpen, Grantee, NotAcknowledged, Server};
use crate::vfs::{Handle, StreamKey};
use crate::wire::access_mask::AccessMask;
use crate::wire::create::OplockLevel;
use crate::wire::file_id::FileId;
use crate::wire::oplock_break::{BreakAcknowledgment, OplockBreak};
use crate::wire::status::NtStatus;

use super::Answer;
use super::context::{Context, file_of};

/// How long a client may take to lower an oplock, MS-SMB2 3.3.2.1.
const BREAK_MAX: Duration = Duration::from_secs(35);

/// An open that uses nothing else does not disturb who keeps a copy, MS-FSA 2.1.5.1.2.
const ONLY_LOOKS: AccessMask =
    AccessMask::READ_ATTRIBUTES.union(AccessMask::WRITE_ATTRIBUTES).union(AccessMask::SYNCHRONIZE);

/// Takes oplocks back before somebody opens the file: to what lasts beside another open, or, if that one
/// `empties` the file, to nothing. Tells whether that took waiting.
///
/// # Errors
/// `CANCELLED`.
pub(super) async fn make_way(
    context: &Context,
    stream: StreamKey,
    access: AccessMask,
    empties: bool,
    concerned: impl Fn(OplockLevel) -> bool,
) -> Result<bool, NtStatus> {
    if ONLY_LOOKS.contains(access) && !empties {
        return Ok(false);
    }
    let to = if empties { OplockLevel::NONE } else { OplockLevel::II };
    lower(context, &[stream], to, concerned).await
}

/// Has clients close what they only keep open because they have a batch oplock, before something is done
/// that would fail because of it.
///
/// # Errors
/// `CANCELLED`.
pub(super) async fn make_close(context: &Context, streams: &[StreamKey]) -> Result<(), NtStatus> {
    let is_batch = |level| level == OplockLevel::BATCH;
    lower(context, streams, OplockLevel::II, is_batch).await.map(|_| ())
}

async fn lower(
    context: &Context,
    streams: &[StreamKey],
    to: OplockLevel,
    concerned: impl Fn(OplockLevel) -> bool,
) -> Result<bool, NtStatus> {
    let oplocks = &context.server.oplocks;
    let waiting = |stream: &StreamKey| oplocks.break_exclusive(*stream, to, &concerned);
    let waiting: Vec<_> = streams.iter().flat_map(waiting).collect();
    if waiting.is_empty() {
        return Ok(false);
    }
    let told = Instant::now();
    let lowered = context.unless_ended(timeout(BREAK_MAX, join_all(waiting))).await?;
    if lowered.is_err() {
        streams.iter().for_each(|stream| oplocks.expire(*stream, told));
    }
    Ok(true)
}

/// Grants a new open an oplock: the one that is asked for, or a lower one.
pub(super) fn grant(
    context: &Context,
    file: &FileOpen,
    file_id: FileId,
    wanted: OplockLevel,
) -> OplockLevel {
    let Ok(session) = context.session() else { return OplockLevel::NONE };
    if file.handle.is_directory() || !file.share.options.oplocks {
        return OplockLevel::NONE;
    }
    // First, because from then on it may be taken back.
    context.note_granted(session.id, file_id);
    let grantee = Grantee { notices: session.notices.clone(), session_id: session.id, file_id };
    let alone = || file.with_ticket(|ticket| ticket.is_alone(ONLY_LOOKS)).unwrap_or(false);
    let locked = || file.locks.is_any_locked();
    let stream = file.handle.stream_key();
    let granted = context.server.oplocks.grant(stream, wanted, grantee, alone, locked);
    let Some((oplock, level)) = granted else { return OplockLevel::NONE };
    file.keep_oplock(oplock);
    level
}

/// The contents of a file change.
pub(super) fn contents_change(server: &Server, handle: &Handle) {
    server.oplocks.break_level_2(handle.stream_key());
}

/// OPLOCK_BREAK, by which a client acknowledges.
pub(super) fn acknowledge(
    context: &mut Context,
    request: BreakAcknowledgment,
) -> Result<Answer, NtStatus> {
    // There are no leases.
    let BreakAcknowledgment::Oplock(request) = request else {
        return Err(NtStatus::OBJECT_NAME_NOT_FOUND);
    };
    let open = Arc::clone(&context.open(request.file_id)?);
    if request.oplock_level == OplockLevel::LEASE {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let acknowledged =
        file_of(&open)?.with_oplock(|oplock| oplock.acknowledge(request.oplock_level));
    match acknowledged.unwrap_or(Err(NotAcknowledged::NotBreaking)) {
        Ok(oplock_level) => {
            let response = OplockBreak { oplock_level, file_id: open.file_id };
            Ok(Body::OplockBreak(BreakAcknowledgment::Oplock(response)).into())
        }
        // MS-SMB2 has INVALID_DEVICE_STATE for the first; Windows and Samba have this for both.
        Err(NotAcknowledged::NotBreaking | NotAcknowledged::TooHigh) => {
            Err(NtStatus::INVALID_OPLOCK_PROTOCOL)
        }
    }
}
