//! CREATE: opens or creates a file, a directory or a pipe. MS-SMB2 3.3.5.9, MS-FSA 2.1.5.1.

mod rights;
mod wanted;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex};

use futures_util::lock::Mutex as AsyncMutex;
use ringway::Identity;

use crate::protocol::{Body, Reply};
use crate::rpc;
use crate::security::Token;
use crate::state::{
    Conflict, FileOpen, Leasing, Mode, Object, Open, PipeOpen, READS, Refused, Share, Target,
    Ticket, WRITES,
};
use crate::vfs::{self, Action, Attributes, Change, Metadata, Opened};
use crate::wire::access_mask::AccessMask;
use crate::wire::change_notify::CompletionFilter;
use crate::wire::create::{
    CreateAction, CreateDisposition, CreateOptions, CreateRequest, CreateResponse,
    CreateResponseFlags, OplockLevel,
};
use crate::wire::create_context::{CreateContext, CreateContextResponse};
use crate::wire::fscc::attributes::FileAttributes;
use crate::wire::status::NtStatus;

use super::Answer;
use super::access::{Creator, granted_by_descriptors};
use super::change_notify::{tell_added, tell_file_added, tell_modified};
use super::close::{close_open, leave};
use super::context::Context;
use super::query_info::times;
use super::{oplock, quota, reparse, snapshots};

use rights::{maximal_access, settle};
use wanted::{Wanted, check, granted};

pub(super) use wanted::attributes;

pub(super) async fn create(
    context: &mut Context,
    request: CreateRequest,
) -> Result<Answer, NtStatus> {
    check(&request)?;
    let contexts =
        CreateContext::decode_all(&request.contexts).map_err(|_| NtStatus::INVALID_PARAMETER)?;
    let name = request.name.to_string_strict().ok_or(NtStatus::OBJECT_NAME_INVALID)?;
    let tree = Arc::clone(context.tree()?);
    match &tree.target {
        Target::Ipc => create_pipe(context, &request, &name).await,
        Target::Disk { share, .. } if quota::is_index(&name) => {
            let access = granted(request.desired_access, share.maximal_access());
            quota::create(context, &request, share, access).await
        }
        // MS-SMB2 3.3.5.9.7 and 3.3.5.9.12: no open has outlived its connection. A client that was told of a new one
        // would take it for its old one, locks and all.
        Target::Disk { .. } if contexts.iter().any(is_reconnect) => {
            Err(NtStatus::OBJECT_NAME_NOT_FOUND)
        }
        Target::Disk { share, identity, token } => {
            let (share, name) = snapshots::as_of(share, &contexts, name).await?;
            let file = Wanted::new(request, contexts, &name, &share)?;
            match create_file(context, tree.id, &share, (identity.as_ref(), token), file).await {
                Ok(answer) => Ok(answer),
                Err(Failure::Reply(reply)) => Ok(Answer::Reply(reply)),
                Err(Failure::Status(status)) => Err(status),
            }
        }
    }
}

fn is_reconnect(context: &CreateContext) -> bool {
    matches!(
        context,
        CreateContext::DurableHandleReconnect { .. }
            | CreateContext::DurableHandleReconnectV2 { .. }
    )
}

/// Why there is no open.
enum Failure {
    Status(NtStatus),
    /// With error data.
    Reply(Reply),
}

impl From<NtStatus> for Failure {
    fn from(status: NtStatus) -> Self {
        Self::Status(status)
    }
}

impl From<vfs::Error> for Failure {
    fn from(error: vfs::Error) -> Self {
        Self::Status(error.into())
    }
}

// ---- pipes

async fn create_pipe(
    context: &Context,
    request: &CreateRequest,
    name: &str,
) -> Result<Answer, NtStatus> {
    let (server, caller) = (&context.server.rpc, &context.session()?.principal);
    let pipe = rpc::Pipe::open(name, Arc::clone(server), caller.clone());
    let pipe = pipe.ok_or(NtStatus::OBJECT_NAME_NOT_FOUND)?;
    let open = Open {
        file_id: context.session()?.new_file_id(),
        tree_id: context.tree()?.id,
        granted_access: granted(request.desired_access, AccessMask::FILE_ALL),
        options: CreateOptions::empty(),
        object: Object::Pipe(PipeOpen::new(pipe)),
    };
    let response = CreateResponse {
        create_action: CreateAction::OPENED,
        file_attributes: FileAttributes::NORMAL,
        ..CreateResponse::default()
    };
    admit(context, Arc::new(open), response).await
}

// ---- files

/// How often a CREATE starts over because the file was deleted between being opened and being
/// entered among its openers.
const RACES_MAX: usize = 16;

async fn create_file(
    context: &Context,
    tree_id: u32,
    share: &Arc<Share>,
    who: Who<'_>,
    wanted: Wanted,
) -> Result<Answer, Failure> {
    for _ in 0..RACES_MAX {
        let deletions = context.server.sharing.deletions();
        let Some(found) = find(context, share, who, &wanted).await? else { continue };
        let (ticket, waited) = enter(context, &found, &wanted).await?;
        let standing = stand(context, &found, &wanted, &ticket, (deletions, waited));
        match standing.await {
            Ok(Some(response)) => {
                tell(context, &found.opened, response.create_action);
                return Ok(keep(context, tree_id, share, found, (&wanted, ticket, response)).await?);
            }
            not_standing => {
                // The others may have left a file that is to be deleted to this one.
                let _ = leave(&context.server, ticket).await;
                not_standing?;
            }
        }
    }
    Err(NtStatus::DELETE_PENDING.into())
}

/// As whom the file system is used, and what its descriptors know the user by.
type Who<'a> = (Option<&'a Identity>, &'a Arc<Token>);

/// What has been opened or made, and may be had.
struct Found<'a> {
    opened: Opened,
    metadata: Metadata,
    who: Who<'a>,
    granted_access: AccessMask,
    /// What the descriptors that were asked grant.
    by_descriptors: Option<AccessMask>,
}

/// Opens the file and sees what of it the client gets. `None`: it is there no more.
async fn find<'a>(
    context: &Context,
    share: &Share,
    who: Who<'a>,
    wanted: &Wanted,
) -> Result<Option<Found<'a>>, Failure> {
    let (opened, access) = open(context, share, who, wanted).await?;
    let metadata = opened.metadata().await?;
    if metadata.reparse_tag.is_some() && !wanted.opens_reparse_point() {
        let reply = reparse::not_handled(&opened.handle, &wanted.path, &wanted.name()).await;
        undo(&opened).await?;
        return Err(Failure::Reply(reply));
    }
    match settle(context, &opened, wanted, &metadata, access, who.1).await {
        Ok((granted_access, by_descriptors)) => {
            Ok(Some(Found { opened, metadata, who, granted_access, by_descriptors }))
        }
        // A name that is being removed, or has been, cannot be removed: not the reason to give.
        Err(_) if context.server.sharing.is_delete_pending(&opened.handle) => {
            Err(NtStatus::DELETE_PENDING.into())
        }
        Err(_) if !opened.handle.has_its_name().await? => Ok(None),
        Err(status) => {
            undo(&opened).await?;
            Err(status.into())
        }
    }
}

/// Takes a place among the file's openers; tells also whether that took waiting.
async fn enter(
    context: &Context,
    found: &Found<'_>,
    wanted: &Wanted,
) -> Result<(Ticket, bool), NtStatus> {
    let (sharing, handle) = (&context.server.sharing, &found.opened.handle);
    if sharing.is_delete_pending(handle) {
        return Err(NtStatus::DELETE_PENDING);
    }
    // MS-FSA 2.1.5.1.2: who holds a batch oplock may have closed the file long ago, and then there is no
    // conflict with it.
    let is_batch = |level| level == OplockLevel::BATCH;
    let waited = make_way(context, found, wanted, is_batch).await?;
    let (granted, share) = (found.granted_access, wanted.request.share_access);
    let entered = sharing.enter_by(granted | wanted.demanded(), handle, granted, share);
    Ok((entered.map_err(conflict)?, waited))
}

async fn make_way(
    context: &Context,
    found: &Found<'_>,
    wanted: &Wanted,
    concerned: fn(OplockLevel) -> bool,
) -> Result<bool, NtStatus> {
    let stream = found.opened.handle.stream_key();
    let taken = found.granted_access | wanted.demanded();
    oplock::make_way(context, stream, taken, wanted.truncates(), concerned).await
}

/// Does what remains to be done once the open has its place. `None`: the file was deleted before it had.
async fn stand(
    context: &Context,
    found: &Found<'_>,
    wanted: &Wanted,
    ticket: &Ticket,
    (deletions, waited): (u64, bool),
) -> Result<Option<CreateResponse>, NtStatus> {
    let Found { opened, metadata, .. } = found;
    // Whoever gets an oplock from here on has seen this open.
    let waited = make_way(context, found, wanted, |_| true).await? || waited;
    // From here on nobody deletes it. Before, it may have lost its last name, or only this one.
    let unlinked = opened.action == Action::Opened && opened.handle.is_unlinked().await?;
    let deleted = context.server.sharing.deletions() != deletions;
    if unlinked || (deleted && !opened.handle.has_its_name().await?) {
        return Ok(None);
    }
    // Who held an oplock may have written meanwhile what was only there.
    let metadata = if waited { opened.handle.metadata().await? } else { *metadata };
    let change = wanted.truncates().then(|| ticket.times().change());
    let response = finish(opened, wanted, metadata, found.by_descriptors, found.who.1).await;
    drop(change);
    // Not before: who opens the file meanwhile may get a copy of what it held.
    if wanted.truncates() {
        oplock::contents_change(&context.server, &opened.handle);
    }
    response.map(Some)
}

/// Makes the open, with its oplock, and puts it into its session.
async fn keep(
    context: &Context,
    tree_id: u32,
    share: &Arc<Share>,
    found: Found<'_>,
    (wanted, ticket, mut response): (&Wanted, Ticket, CreateResponse),
) -> Result<Answer, NtStatus> {
    let Found { opened, who: (identity, token), granted_access, .. } = found;
    let options = wanted.request.create_options;
    let file = FileOpen {
        locks: context.server.locks.owner(opened.handle.stream_key()),
        handle: opened.handle,
        share: Arc::clone(share),
        identity: identity.cloned(),
        token: Arc::clone(token),
        ticket: Mutex::new(Some(ticket)),
        oplock: Mutex::default(),
        watch: Mutex::default(),
        leasing: Leasing::default(),
        mappings: Arc::default(),
        sticky: Mutex::default(),
        mode: Mode::new(options),
        dirty: AtomicBool::new(wanted.truncates()),
        position: AtomicU64::new(0),
        read_ahead: Mutex::default(),
        next_ea: AtomicUsize::new(0),
        enumeration: AsyncMutex::new(None),
    };
    let file_id = context.session()?.new_file_id();
    let level = wanted.request.requested_oplock_level;
    response.oplock_level = oplock::grant(context, &file, file_id, level);
    let object = Object::File(Box::new(file));
    let open = Open { file_id, tree_id, granted_access, options, object };
    admit(context, Arc::new(open), response).await
}

/// Removes a stream that was made before it was known whether it may be.
async fn undo(opened: &Opened) -> Result<(), NtStatus> {
    if opened.action == Action::Created && opened.handle.stream().is_some() {
        opened.handle.remove().await?;
    }
    Ok(())
}

/// Tells those who watch the directory.
fn tell(context: &Context, opened: &Opened, action: CreateAction) {
    if opened.with_file {
        tell_file_added(&context.server, &opened.handle);
    }
    match action {
        CreateAction::CREATED => tell_added(&context.server, &opened.handle),
        CreateAction::OVERWRITTEN | CreateAction::SUPERSEDED => {
            let what = CompletionFilter::ATTRIBUTES
                | CompletionFilter::SIZE
                | CompletionFilter::LAST_WRITE;
            tell_modified(&context.server, &opened.handle, what);
        }
        _ => {}
    }
}

/// Puts an open into its session, or closes it again.
pub(super) async fn admit(
    context: &Context,
    open: Arc<Open>,
    response: CreateResponse,
) -> Result<Answer, NtStatus> {
    let file_id = open.file_id;
    match context.session()?.insert(open) {
        Ok(()) => Ok(Body::Create(Box::new(CreateResponse { file_id, ..response })).into()),
        Err((open, refused)) => {
            let _ = close_open(&context.server, &open).await;
            Err(match refused {
                Refused::Ended => NtStatus::NETWORK_NAME_DELETED,
                Refused::TooMany => NtStatus::TOO_MANY_OPENED_FILES,
            })
        }
    }
}

/// Opens the file with what the client asked for, or, where it asked for the maximum, with as much
/// as the file system gives.
async fn open(
    context: &Context,
    share: &Share,
    (identity, token): Who<'_>,
    wanted: &Wanted,
) -> Result<(Opened, AccessMask), Failure> {
    let given = if wanted.creates() { wanted.descriptor()? } else { None };
    let creator = Creator::new(&context.server, token, given)?.with_eas(&wanted.eas);
    let mut access = granted(wanted.desired, wanted.maximal);
    let demanded = wanted.desired.difference(AccessMask::MAXIMUM_ALLOWED);
    let maximum = wanted.desired.contains(AccessMask::MAXIMUM_ALLOWED);
    // What to do without, one after the other.
    for excess in [WRITES | AccessMask::DELETE_CHILD, READS] {
        let less = access.difference(excess) | demanded;
        let how = wanted.open(access);
        match share.volume.open(identity, &wanted.path, &how, &creator).await {
            Err(vfs::Error::AccessDenied | vfs::Error::ReadOnly) if maximum && less != access => {
                access = less;
            }
            Err(error) => return Err(refused(share, identity, wanted, error).await),
            Ok(opened) => return Ok((opened, access)),
        }
    }
    match share.volume.open(identity, &wanted.path, &wanted.open(access), &creator).await {
        Err(error) => Err(refused(share, identity, wanted, error).await),
        Ok(opened) => Ok((opened, access)),
    }
}

/// Why the file system refused, with the link that is in the way if it is that. MS-SMB2 3.3.5.9.
async fn refused(
    share: &Share,
    identity: Option<&Identity>,
    wanted: &Wanted,
    error: vfs::Error,
) -> Failure {
    use vfs::Error::{Escapes, LeadsNowhere, TooManyLinks};
    if matches!(error, Escapes | LeadsNowhere | TooManyLinks)
        && let Ok(Some(link)) = share.volume.link_in_the_way(identity, &wanted.path).await
    {
        return Failure::Reply(reparse::stopped_on(
            &link,
            &wanted.path,
            &wanted.name(),
            share.options.mapping,
        ));
    }
    error.into()
}

/// What remains to be done with an opened file: empty it if that was asked for, and describe it.
async fn finish(
    opened: &Opened,
    wanted: &Wanted,
    metadata: Metadata,
    by_descriptors: Option<AccessMask>,
    token: &Token,
) -> Result<CreateResponse, NtStatus> {
    let action = match (opened.action, wanted.truncates()) {
        (Action::Created, _) => CreateAction::CREATED,
        (Action::Opened, false) => CreateAction::OPENED,
        (Action::Opened, true) => {
            overwrite(opened, wanted, &metadata).await?;
            match wanted.disposition {
                CreateDisposition::SUPERSEDE => CreateAction::SUPERSEDED,
                _ => CreateAction::OVERWRITTEN,
            }
        }
    };
    let metadata = match action {
        CreateAction::OPENED | CreateAction::CREATED => metadata,
        _ => opened.handle.metadata().await?,
    };
    let wants_maximal =
        |context: &CreateContext| matches!(context, CreateContext::QueryMaximalAccess { .. });
    let maximal = if wanted.contexts.iter().any(wants_maximal) {
        let by_descriptors = match by_descriptors {
            Some(granted) => granted,
            None => {
                let granted = granted_by_descriptors(&opened.handle, &metadata, token).await;
                granted.map_or(AccessMask::empty(), |granted| granted.rights)
            }
        };
        maximal_access(opened, wanted, by_descriptors).await
    } else {
        wanted.maximal
    };
    Ok(response(&metadata, opened, wanted, action, maximal))
}

async fn overwrite(opened: &Opened, wanted: &Wanted, metadata: &Metadata) -> Result<(), NtStatus> {
    if opened.handle.stream().is_some() {
        // Attributes are the file's.
        return Ok(opened.handle.set_len(0).await?);
    }
    // First whatever may fail, while the old contents are there.
    let (size, new) = (wanted.allocation_size(), attributes(wanted.request.file_attributes));
    opened.handle.check_room(size).await?;
    if new.contains(Attributes::READONLY) {
        opened.handle.check_read_only().await?;
    }
    // Who may write the file and not read it leaves those that there are.
    match opened.handle.replace_eas(&wanted.eas).await {
        Err(vfs::Error::AccessDenied) if wanted.eas.is_empty() => {}
        result => result?,
    }
    opened.handle.set_len(0).await?;
    opened.handle.remove_streams().await?;
    // Again, as that went with the old contents. Only who takes the room meanwhile can make it fail.
    opened.handle.allocate(size).await?;
    // MS-FSA 2.1.5.1.2.1: the new attributes replace the old ones.
    let new = new | Attributes::ARCHIVE;
    if new != metadata.attributes {
        let change = Change { attributes: Some(new), ..Change::default() };
        opened.handle.change(&change).await?;
    }
    Ok(())
}

fn response(
    metadata: &Metadata,
    opened: &Opened,
    wanted: &Wanted,
    action: CreateAction,
    maximal_access: AccessMask,
) -> CreateResponse {
    let times = times(metadata);
    let key = opened.handle.id();
    let answers = wanted.contexts.iter().filter_map(|context| match context {
        CreateContext::QueryMaximalAccess { .. } => Some(CreateContextResponse::MaximalAccess {
            query_status: NtStatus::SUCCESS,
            maximal_access,
        }),
        CreateContext::QueryOnDiskId => {
            Some(CreateContextResponse::OnDiskId { disk_file_id: key.ino, volume_id: key.dev })
        }
        _ => None,
    });
    let answers: Vec<_> = answers.collect();
    let mut flags = CreateResponseFlags::empty();
    flags.set(CreateResponseFlags::REPARSE_POINT, metadata.reparse_tag.is_some());
    CreateResponse {
        flags,
        oplock_level: OplockLevel::NONE,
        create_action: action,
        creation_time: times.creation_time,
        last_access_time: times.last_access_time,
        last_write_time: times.last_write_time,
        change_time: times.change_time,
        allocation_size: metadata.allocation_size,
        end_of_file: metadata.size,
        file_attributes: times.file_attributes,
        contexts: CreateContextResponse::encode_all(&answers),
        ..CreateResponse::default()
    }
}

fn conflict(conflict: Conflict) -> NtStatus {
    match conflict {
        Conflict::Sharing => NtStatus::SHARING_VIOLATION,
        Conflict::DeletePending => NtStatus::DELETE_PENDING,
    }
}
