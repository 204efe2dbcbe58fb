//! CHANGE_NOTIFY: tells when a directory changes; and what other commands tell it. MS-SMB2 3.3.5.19,
//! MS-FSA 2.1.5.11.

use std::collections::HashMap;

use futures_channel::oneshot::{self, Canceled};

use crate::protocol::{Body, Reply};
use crate::state::{Change, FileOpen, News, Server, Waiting};
use crate::vfs::{Handle, SharePath};
use crate::wire::access_mask::AccessMask;
use crate::wire::change_notify::{
    ChangeNotifyFlags, ChangeNotifyRequest, ChangeNotifyResponse, CompletionFilter,
};
use crate::wire::fscc::notify_info::{FileNotifyInfo, NotifyAction};
use crate::wire::status::NtStatus;

use super::Answer;
use super::access::may_read;
use super::context::{Context, file_of};

pub(super) async fn change_notify(
    context: &mut Context,
    request: &ChangeNotifyRequest,
) -> Result<Answer, NtStatus> {
    let open = context.open(request.file_id)?;
    let file = file_of(&open)?;
    if !file.handle.is_directory() {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    // The right to list it.
    if !open.may(AccessMask::READ_DATA) {
        return Err(NtStatus::ACCESS_DENIED);
    }
    let Waiting { seeing, news, room } = file.watch(|| {
        let tree = request.flags.contains(ChangeNotifyFlags::WATCH_TREE);
        let room = request.output_buffer_length as usize;
        let filter = request.completion_filter;
        (context.server.watches.watch(&file.handle, filter, tree, room), room)
    });
    if let Some(seeing) = seeing {
        // Before the client hears that it is pending, and counts on it. An error: nobody looks at what others
        // do.
        let _ = context.unless_ended(seeing).await?;
    }
    // Asked only now: who marks it from here on tells this wait.
    if context.server.sharing.is_delete_pending(&file.handle) {
        return Err(NtStatus::DELETE_PENDING);
    }
    // MS-FSA 2.1.5.11.1: what the first request had room for is what is kept.
    let limit = room.min(request.output_buffer_length as usize);
    let reply = match context.wait_for(told(file, news)).await? {
        Ok(News::Changes(changes)) => match FileNotifyInfo::encode_all(&changes, limit) {
            Ok(output) => notify(NtStatus::SUCCESS, output),
            Err(_) => notify(NtStatus::NOTIFY_ENUM_DIR, Vec::new()),
        },
        Ok(News::Overflow) => notify(NtStatus::NOTIFY_ENUM_DIR, Vec::new()),
        Ok(News::DeletePending) => return Err(NtStatus::DELETE_PENDING),
        // MS-SMB2 3.3.5.10: the open was closed.
        Err(_) => notify(NtStatus::NOTIFY_CLEANUP, Vec::new()),
    };
    Ok(Answer::Reply(reply))
}

/// How many names are looked at for one answer, whether the user may read them: each takes an open.
const LOOKED_AT_MAX: usize = 64;

/// What there is to tell, once there is something that the user may know of.
async fn told(file: &FileOpen, news: oneshot::Receiver<News>) -> Result<News, Canceled> {
    let mut news = news.await?;
    if !file.share.options.hide_unreadable {
        return Ok(news);
    }
    loop {
        match news {
            News::Changes(changes) => match without_hidden(file, changes).await {
                News::Changes(changes) if changes.is_empty() => news = file.next_news().await?,
                news => return Ok(news),
            },
            news => return Ok(news),
        }
    }
}

/// Without names that a listing hides from the user. What is gone cannot be looked at any more, so it takes a new
/// listing to know of it; so do more names than are looked at.
async fn without_hidden(file: &FileOpen, changes: Vec<FileNotifyInfo>) -> News {
    let (mut shown, mut known) = (Vec::new(), HashMap::new());
    for change in changes {
        let Some(name) = change.name.to_string_strict() else { return News::Overflow };
        match is_shown(file, &name, &mut known).await {
            Some(true) => shown.push(change),
            Some(false) => {}
            None => return News::Overflow,
        }
    }
    News::Changes(shown)
}

/// Whether the user may read it, and all directories on the way; `None` is not to be known.
async fn is_shown(
    file: &FileOpen,
    name: &str,
    known: &mut HashMap<String, Option<bool>>,
) -> Option<bool> {
    let ends = name.match_indices('\\').map(|(at, _)| at).chain([name.len()]);
    for above in ends.filter_map(|end| name.get(..end)) {
        let may_read = match known.get(above) {
            Some(known) => *known,
            None if known.len() == LOOKED_AT_MAX => return None,
            None => {
                let may_read = may_read(file, above).await;
                known.insert(above.to_owned(), may_read);
                may_read
            }
        };
        if may_read != Some(true) {
            return may_read;
        }
    }
    Some(true)
}

fn notify(status: NtStatus, output: Vec<u8>) -> Reply {
    Reply { status, body: Body::ChangeNotify(ChangeNotifyResponse { output }) }
}

// ---- what the other commands tell

fn name_filter(handle: &Handle) -> CompletionFilter {
    match handle.is_directory() {
        true => CompletionFilter::DIR_NAME,
        false => CompletionFilter::FILE_NAME,
    }
}

/// A file, a directory or a stream has come, or has gone. Of a stream only those hear who want to, with the
/// file's name.
fn tell_name(server: &Server, handle: &Handle, action: NotifyAction) {
    let (action, filter) = match (handle.stream(), action) {
        (None, action) => (action, name_filter(handle)),
        (Some(_), NotifyAction::ADDED) => {
            (NotifyAction::ADDED_STREAM, CompletionFilter::STREAM_NAME)
        }
        (Some(_), _) => (NotifyAction::REMOVED_STREAM, CompletionFilter::STREAM_NAME),
    };
    if server.watches.wants(filter) {
        server.watches.report(handle, &[Change::new(action, handle.share_path(), filter)]);
    }
}

/// It has been created.
pub(super) fn tell_added(server: &Server, handle: &Handle) {
    tell_name(server, handle, NotifyAction::ADDED);
}

/// A file has one more name, which may have been another's.
pub(super) fn tell_linked(server: &Server, handle: &Handle, name: SharePath, replaces: bool) {
    let filter = CompletionFilter::FILE_NAME;
    if server.watches.wants(filter) {
        let replaced = replaces.then(|| Change::replaced(name.clone()));
        let added = Change::new(NotifyAction::ADDED, name, filter);
        let changes: Vec<_> = replaced.into_iter().chain([added]).collect();
        server.watches.report(handle, &changes);
    }
}

/// A file has been created for the stream that this is.
pub(super) fn tell_file_added(server: &Server, handle: &Handle) {
    let filter = CompletionFilter::FILE_NAME;
    if server.watches.wants(filter) {
        let change = Change::new(NotifyAction::ADDED, handle.share_path(), filter);
        server.watches.report(handle, &[change]);
    }
}

/// It has been deleted.
pub(super) fn tell_removed(server: &Server, handle: &Handle) {
    tell_name(server, handle, NotifyAction::REMOVED);
}

/// Something about it has changed.
pub(super) fn tell_modified(server: &Server, handle: &Handle, what: CompletionFilter) {
    let (action, what) = match handle.stream() {
        None => (NotifyAction::MODIFIED, what),
        Some(_) => (NotifyAction::MODIFIED_STREAM, of_stream(what)),
    };
    if server.watches.wants(what) {
        let change = Change::new(action, handle.share_path(), what);
        server.watches.report(handle, &[change]);
    }
}

/// The contents of a stream are its own, all else is its file's.
fn of_stream(what: CompletionFilter) -> CompletionFilter {
    let contents = CompletionFilter::SIZE | CompletionFilter::LAST_WRITE;
    let mut told = what.difference(contents);
    told.set(CompletionFilter::STREAM_SIZE, what.contains(CompletionFilter::SIZE));
    told.set(CompletionFilter::STREAM_WRITE, what.contains(CompletionFilter::LAST_WRITE));
    told
}

/// It was called `from`, and is not any more; by that another file may have lost its name. MS-FSA 2.1.5.15.11.
pub(super) fn tell_renamed(
    server: &Server,
    handle: &Handle,
    from: &SharePath,
    replaced: Option<SharePath>,
) {
    let everything =
        name_filter(handle) | CompletionFilter::ATTRIBUTES | CompletionFilter::CREATION;
    if !server.watches.wants(everything) {
        return;
    }
    let (to, filter) = (handle.share_path(), name_filter(handle));
    let stays =
        from.split_last().map(|(folder, _)| folder) == to.split_last().map(|(folder, _)| folder);
    let [gone, come] = match stays {
        true => [NotifyAction::RENAMED_OLD_NAME, NotifyAction::RENAMED_NEW_NAME],
        false => [NotifyAction::REMOVED, NotifyAction::ADDED],
    };
    let mut changes: Vec<_> = replaced.map(Change::replaced).into_iter().collect();
    changes.push(Change::new(gone, from.clone(), filter));
    changes.push(Change::new(come, to.clone(), filter));
    if !handle.is_directory() {
        // Windows tells those who do not look at names of something new under the new one.
        let what = CompletionFilter::ATTRIBUTES | CompletionFilter::CREATION;
        let modified = Change::new(NotifyAction::MODIFIED, to, what);
        changes.push(Change { told_by: filter, ..modified });
    }
    server.watches.report(handle, &changes);
}

/// A directory is to be deleted: nobody hears of it any more.
pub(super) fn tell_delete_pending(server: &Server, file: &FileOpen) {
    if file.handle.is_directory() {
        server.watches.tell_delete_pending(&file.handle);
    }
}
