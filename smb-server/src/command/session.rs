//! The life of a session above the protocol: it is established, and ends by LOGOFF or otherwise.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::protocol::{Body, Established};
use crate::state::{Notices, Server, Session};
use crate::wire::status::NtStatus;

use super::Answer;
use super::close::close_all;
use super::context::Context;

/// Takes up a new session. MS-SMB2 3.3.5.5.3: a client that comes back says which session it had;
/// if that was the same user's, it ends now.
pub async fn establish(server: &Server, established: Established, notices: Notices) {
    let Established { session_id, principal, previous_session_id } = established;
    tracing::info!(session = session_id, user = %principal, "logged on");
    let limits = server.session_limits;
    server.insert(Arc::new(Session::new(session_id, principal.clone(), limits, notices)));
    // Who has proved nothing has not proved to be the one from before.
    let same = |previous: &Arc<Session>| principal.is_user() && previous.principal == principal;
    let previous = server.session(previous_session_id).filter(same);
    if let Some(previous) = previous.filter(|_| previous_session_id != session_id) {
        end_session(server, previous.id).await;
    }
}

/// Ends a session and closes what it had open.
pub async fn end_session(server: &Server, session_id: u64) {
    if let Some(session) = server.remove(session_id) {
        tracing::info!(session = session_id, user = %session.principal, "session ended");
        close_all(server, session.end()).await;
    }
}

/// Brings to the disk what a session has written, before the server stops.
pub async fn sync_session(server: &Server, session_id: u64) {
    let opens = server.session(session_id).map(|session| session.opens()).unwrap_or_default();
    for open in opens {
        let Some(file) = open.file().filter(|file| file.dirty.load(Ordering::Relaxed)) else {
            continue;
        };
        match file.handle.sync().await {
            Ok(()) => file.dirty.store(false, Ordering::Relaxed),
            Err(error) => tracing::error!(path = file.handle.path(), %error, "flush at the end"),
        }
    }
}

pub(super) async fn logoff(context: &Context) -> Result<Answer, NtStatus> {
    let session_id = context.session()?.id;
    end_session(&context.server, session_id).await;
    Ok(Body::Logoff.into())
}
