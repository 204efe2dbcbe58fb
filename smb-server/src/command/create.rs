//! CREATE: opens or creates a file, a directory or a pipe. MS-SMB2 3.3.5.9, MS-FSA 2.1.5.1.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex};

use futures_util::lock::Mutex as AsyncMutex;
use ringway::Identity;
use ringway::fs::Access;

use crate::protocol::{Body, Reply};
use crate::rpc;
use crate::security::{Token, generic_to_specific, user_sid};
use crate::state::{
    Conflict, FileOpen, Mode, Object, Open, PipeOpen, READS, Refused, Share, Target, WRITES,
};
use crate::vfs::{
    self, Action, Attributes, Change, Disposition, Ea, Kind, Metadata, Opened, SharePath,
};
use crate::wire::access_mask::AccessMask;
use crate::wire::change_notify::CompletionFilter;
use crate::wire::create::{
    CreateAction, CreateDisposition, CreateOptions, CreateRequest, CreateResponse,
    CreateResponseFlags, ImpersonationLevel, OplockLevel,
};
use crate::wire::create_context::{CreateContext, CreateContextResponse};
use crate::wire::fscc::attributes::FileAttributes;
use crate::wire::security::SecurityDescriptor;
use crate::wire::status::NtStatus;

use super::Answer;
use super::access::{Creator, Granted, granted_by_descriptors};
use super::change_notify::{tell_added, tell_file_added, tell_modified};
use super::close::{close_open, leave};
use super::context::Context;
use super::query_info::times;
use super::security::decoded;
use super::{ea, oplock, quota, reparse, snapshots};

/// Rights whose use changes something.
const CHANGES: AccessMask = AccessMask::WRITE_DATA
    .union(AccessMask::APPEND_DATA)
    .union(AccessMask::WRITE_EA)
    .union(AccessMask::DELETE_CHILD)
    .union(AccessMask::WRITE_ATTRIBUTES)
    .union(AccessMask::DELETE)
    .union(AccessMask::WRITE_DAC)
    .union(AccessMask::WRITE_OWNER);

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
        Target::Disk { share, identity } => {
            let (share, name) = snapshots::as_of(share, &contexts, name).await?;
            let file = Wanted::new(request, contexts, &name, &share)?;
            match create_file(context, tree.id, &share, identity.as_ref(), file).await {
                Ok(answer) => Ok(answer),
                Err(Failure::Reply(reply)) => Ok(Answer::Reply(reply)),
                Err(Failure::Status(status)) => Err(status),
            }
        }
    }
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

/// Options that there are none of, MS-SMB2 2.2.13.
const OPTIONS_INVALID: u32 = 0xff00_0000;

/// Options that Windows does not take over SMB2: FILE_CREATE_TREE_CONNECTION, FILE_OPEN_BY_FILE_ID,
/// FILE_RESERVE_OPFILTER.
const OPTIONS_UNSUPPORTED: u32 = 0x0010_2080;

/// Attributes that no file is made with: VOLUME, DEVICE, and those above ENCRYPTED, as Windows answers them.
const ATTRIBUTES_INVALID: u32 = 0xffff_8048;

/// Rights that there are none of, MS-SMB2 2.2.13.1.
const ACCESS_INVALID: u32 = 0x0ce0_fe00;

/// What can be refused without looking at the file.
fn check(request: &CreateRequest) -> Result<(), NtStatus> {
    if request.impersonation_level > ImpersonationLevel::DELEGATE {
        return Err(NtStatus::BAD_IMPERSONATION_LEVEL);
    }
    let options = request.create_options;
    let both = CreateOptions::DIRECTORY_FILE | CreateOptions::NON_DIRECTORY_FILE;
    if request.create_disposition > CreateDisposition::OVERWRITE_IF || options.contains(both) {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    if options.bits() & OPTIONS_INVALID != 0 {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    if options.bits() & OPTIONS_UNSUPPORTED != 0 {
        return Err(NtStatus::NOT_SUPPORTED);
    }
    if request.desired_access.bits() & ACCESS_INVALID != 0 {
        return Err(NtStatus::ACCESS_DENIED);
    }
    if request.desired_access.contains(AccessMask::ACCESS_SYSTEM_SECURITY) {
        return Err(NtStatus::PRIVILEGE_NOT_HELD);
    }
    if request.file_attributes.bits() & ATTRIBUTES_INVALID != 0 {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    // MS-FSA 2.1.5.1.1: it could not be deleted.
    let makes = !matches!(
        request.create_disposition,
        CreateDisposition::OPEN | CreateDisposition::OPEN_IF | CreateDisposition::OVERWRITE
    );
    if makes
        && options.contains(CreateOptions::DELETE_ON_CLOSE)
        && request.file_attributes.contains(FileAttributes::READONLY)
    {
        return Err(NtStatus::CANNOT_DELETE);
    }
    // MS-FSA 2.1.5.1: a directory is neither cut off nor temporary.
    let temporary = request.file_attributes.contains(FileAttributes::TEMPORARY);
    if options.contains(CreateOptions::DIRECTORY_FILE)
        && (truncates(request.create_disposition) || temporary)
    {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    Ok(())
}

/// Whether an existing file loses its contents.
fn truncates(disposition: CreateDisposition) -> bool {
    matches!(
        disposition,
        CreateDisposition::SUPERSEDE
            | CreateDisposition::OVERWRITE
            | CreateDisposition::OVERWRITE_IF
    )
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

/// A CREATE of a file, understood.
struct Wanted {
    path: SharePath,
    desired: AccessMask,
    /// The most that may be granted.
    maximal: AccessMask,
    disposition: CreateDisposition,
    contexts: Vec<CreateContext>,
    /// EAs of a file that this makes or overwrites.
    eas: Vec<Ea>,
    request: CreateRequest,
}

impl Wanted {
    fn new(
        request: CreateRequest,
        contexts: Vec<CreateContext>,
        name: &str,
        share: &Share,
    ) -> Result<Self, NtStatus> {
        // As on a file system that knows no streams, where a colon is no part of a name.
        if name.contains(':') && !share.options.streams {
            return Err(NtStatus::OBJECT_NAME_INVALID);
        }
        let path = SharePath::parse(name, share.options.mapping)?;
        let desired = generic_to_specific(request.desired_access);
        let maximal = share.maximal_access();
        if desired.is_empty() {
            return Err(NtStatus::ACCESS_DENIED);
        }
        let mut disposition = request.create_disposition;
        if share.options.read_only {
            match disposition {
                CreateDisposition::OPEN => {}
                // What is there can be opened; what is not cannot be made.
                CreateDisposition::OPEN_IF => disposition = CreateDisposition::OPEN,
                _ => return Err(NtStatus::ACCESS_DENIED),
            }
            if desired.intersects(CHANGES) {
                return Err(NtStatus::ACCESS_DENIED);
            }
        }
        let on_close = request.create_options.contains(CreateOptions::DELETE_ON_CLOSE);
        if on_close && !desired.intersects(AccessMask::DELETE | AccessMask::MAXIMUM_ALLOWED) {
            return Err(NtStatus::ACCESS_DENIED);
        }
        let eas = eas(&contexts)?;
        // MS-FSA 2.1.5.1.
        if !eas.is_empty() && request.create_options.contains(CreateOptions::NO_EA_KNOWLEDGE) {
            return Err(NtStatus::ACCESS_DENIED);
        }
        Ok(Self { path, desired, maximal, disposition, contexts, eas, request })
    }

    /// The path as the client wrote it.
    fn name(&self) -> String {
        self.request.name.to_string_strict().unwrap_or_default()
    }

    /// What the client must get, apart from what it would like to: an overwrite takes writing, too.
    fn demanded(&self) -> AccessMask {
        let desired = self.desired.difference(AccessMask::MAXIMUM_ALLOWED);
        if self.truncates() { desired | AccessMask::WRITE_DATA } else { desired }
    }

    /// Whether a file that is missing is made.
    fn creates(&self) -> bool {
        !matches!(self.disposition, CreateDisposition::OPEN | CreateDisposition::OVERWRITE)
    }

    /// Whether a reparse point is opened itself.
    fn opens_reparse_point(&self) -> bool {
        self.request.create_options.contains(CreateOptions::OPEN_REPARSE_POINT)
    }

    /// Whether an existing file loses its contents.
    fn truncates(&self) -> bool {
        truncates(self.disposition)
    }

    /// The open as the file system does it. Contents are not lost there: first it must be known
    /// that nobody else's share mode forbids it.
    fn open(&self, access: AccessMask) -> vfs::Open {
        let options = self.request.create_options;
        let write = access.intersects(WRITES) || self.truncates();
        let read = access.intersects(READS);
        vfs::Open {
            read,
            write,
            kind: match () {
                () if options.contains(CreateOptions::DIRECTORY_FILE) => Kind::Directory,
                () if options.contains(CreateOptions::NON_DIRECTORY_FILE) || self.truncates() => {
                    Kind::File
                }
                () => Kind::Any,
            },
            disposition: match self.disposition {
                CreateDisposition::OPEN | CreateDisposition::OVERWRITE => Disposition::Open,
                CreateDisposition::CREATE => Disposition::Create,
                _ => Disposition::OpenIf,
            },
            open_link: self.opens_reparse_point(),
            attributes: attributes(self.request.file_attributes),
            allocation_size: self.allocation_size(),
            // MS-FSA 2.1.5.1.1.
            uncompressed: options.contains(CreateOptions::NO_COMPRESSION),
        }
    }

    /// The security descriptor that a new file is to have.
    fn descriptor(&self) -> Result<Option<SecurityDescriptor>, NtStatus> {
        let descriptor = |context: &CreateContext| match context {
            CreateContext::SecurityDescriptor(bytes) => Some(decoded(bytes)),
            _ => None,
        };
        self.contexts.iter().find_map(descriptor).transpose()
    }

    fn allocation_size(&self) -> u64 {
        let size = |context: &CreateContext| match context {
            CreateContext::AllocationSize(size) => Some(*size),
            _ => None,
        };
        self.contexts.iter().find_map(size).unwrap_or_default()
    }
}

/// The EAs that a client sent.
fn eas(contexts: &[CreateContext]) -> Result<Vec<Ea>, NtStatus> {
    let eas = |context: &CreateContext| match context {
        CreateContext::ExtendedAttributes(bytes) => Some(ea::decoded(bytes)),
        _ => None,
    };
    contexts.iter().find_map(eas).transpose().map(Option::unwrap_or_default)
}

/// How often a CREATE starts over because the file was deleted between being opened and being
/// entered among its openers.
const RACES_MAX: usize = 16;

async fn create_file(
    context: &Context,
    tree_id: u32,
    share: &Arc<Share>,
    identity: Option<&Identity>,
    wanted: Wanted,
) -> Result<Answer, Failure> {
    let sharing = &context.server.sharing;
    for _ in 0..RACES_MAX {
        let deletions = sharing.deletions();
        let (opened, access) = open(context, share, identity, &wanted).await?;
        let metadata = opened.metadata().await?;
        if metadata.reparse_tag.is_some() && !wanted.opens_reparse_point() {
            let name = wanted.name();
            let reply = reparse::not_handled(&opened.handle, &wanted.path, &name).await;
            undo(&opened).await?;
            return Err(Failure::Reply(reply));
        }
        let settled = settle(context, &opened, &wanted, &metadata, access, identity).await;
        let (granted_access, by_descriptors) = match settled {
            Ok(granted) => granted,
            // A name that is being removed, or has been, cannot be removed: not the reason to give.
            Err(_) if sharing.is_delete_pending(&opened.handle) => {
                return Err(NtStatus::DELETE_PENDING.into());
            }
            Err(_) if !opened.handle.has_its_name().await? => continue,
            Err(status) => {
                undo(&opened).await?;
                return Err(status.into());
            }
        };
        let share_access = wanted.request.share_access;
        let taken = granted_access | wanted.demanded();
        let stream = opened.handle.stream_key();
        let make_way = async |concerned: fn(OplockLevel) -> bool| {
            oplock::make_way(context, stream, taken, wanted.truncates(), concerned).await
        };
        if sharing.is_delete_pending(&opened.handle) {
            return Err(NtStatus::DELETE_PENDING.into());
        }
        // MS-FSA 2.1.5.1.2: who holds a batch oplock may have closed the file long ago, and then there is no
        // conflict with it.
        let mut waited = make_way(|level| level == OplockLevel::BATCH).await?;
        let entered = sharing.enter_by(taken, &opened.handle, granted_access, share_access);
        let ticket = entered.map_err(conflict)?;
        let standing = async {
            // Whoever gets an oplock from here on has seen this open.
            waited |= make_way(|_| true).await?;
            // From here on nobody deletes it. Before, it may have lost its last name, or only this one.
            let unlinked = opened.action == Action::Opened && opened.handle.is_unlinked().await?;
            let deleted = sharing.deletions() != deletions && !opened.handle.has_its_name().await?;
            if unlinked || deleted {
                return Ok(None);
            }
            // Who held an oplock may have written meanwhile what was only there.
            let metadata = if waited { opened.handle.metadata().await? } else { metadata };
            let response = finish(&opened, &wanted, metadata, by_descriptors, identity).await;
            // Not before: who opens the file meanwhile may get a copy of what it held.
            if wanted.truncates() {
                oplock::contents_change(&context.server, &opened.handle);
            }
            response.map(Some)
        };
        let response = match standing.await {
            Ok(Some(response)) => response,
            not_standing => {
                // The others may have left a file that is to be deleted to this one.
                leave(&context.server, ticket).await;
                match not_standing {
                    Err(status) => return Err(Failure::Status(status)),
                    Ok(_) => continue,
                }
            }
        };
        tell(context, &opened, response.create_action);
        let locks = context.server.locks.owner(opened.handle.stream_key());
        let object = Object::File(Box::new(FileOpen {
            handle: opened.handle,
            share: Arc::clone(share),
            identity: identity.cloned(),
            ticket: Mutex::new(Some(ticket)),
            locks,
            oplock: Mutex::default(),
            watch: Mutex::default(),
            sticky: Mutex::default(),
            mode: Mode::new(wanted.request.create_options),
            dirty: AtomicBool::new(wanted.truncates()),
            position: AtomicU64::new(0),
            next_ea: AtomicUsize::new(0),
            enumeration: AsyncMutex::new(None),
        }));
        let options = wanted.request.create_options;
        let file_id = context.session()?.new_file_id();
        let mut response = response;
        if let Object::File(file) = &object {
            let level = wanted.request.requested_oplock_level;
            response.oplock_level = oplock::grant(context, file, file_id, level);
        }
        let open = Arc::new(Open { file_id, tree_id, granted_access, options, object });
        return Ok(admit(context, open, response).await?);
    }
    Err(NtStatus::DELETE_PENDING.into())
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
            close_open(&context.server, &open).await;
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
    identity: Option<&Identity>,
    wanted: &Wanted,
) -> Result<(Opened, AccessMask), Failure> {
    let given = if wanted.creates() { wanted.descriptor()? } else { None };
    let creator = Creator::new(&context.server, identity, given)?.with_eas(&wanted.eas);
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

/// The access that an opened file really gets, and, unless it is new, the most that descriptors would let
/// the user have. The kernel has checked reading and writing; here is what it does not know at an open:
/// descriptors, deletion, and the READONLY attribute.
async fn settle(
    context: &Context,
    opened: &Opened,
    wanted: &Wanted,
    metadata: &Metadata,
    access: AccessMask,
    identity: Option<&Identity>,
) -> Result<(AccessMask, Option<AccessMask>), NtStatus> {
    let on_close = wanted.request.create_options.contains(CreateOptions::DELETE_ON_CLOSE);
    if on_close && opened.handle.is_root() {
        return Err(NtStatus::CANNOT_DELETE);
    }
    let is_new_file = match opened.handle.stream() {
        Some(_) => opened.with_file,
        None => opened.action == Action::Created,
    };
    // Who makes a file gets what was asked for, whatever its descriptor says.
    if is_new_file {
        return Ok((access, None));
    }
    let Granted { rights: by_descriptors, deletes } =
        granted_by_descriptors(&opened.handle, metadata, identity).await?;
    let demanded = wanted.demanded();
    // A file that gets a stream is written.
    let writes = if opened.action == Action::Created { WRITES } else { AccessMask::empty() };
    if !by_descriptors.contains(demanded | writes) {
        return Err(NtStatus::ACCESS_DENIED);
    }
    let mut access = access & by_descriptors;
    check_read_only(metadata, wanted)?;
    check_overwrite(metadata, wanted)?;
    if wanted.desired.contains(AccessMask::MAXIMUM_ALLOWED) {
        let mut excess = AccessMask::empty();
        if is_read_only(metadata) {
            excess |= WRITES | AccessMask::DELETE_CHILD;
        }
        // Unix lets those set attributes who own the file or may write it.
        let owns = *Token::of(identity).user() == user_sid(metadata.uid);
        if !access.intersects(WRITES) && !owns {
            excess |= AccessMask::WRITE_ATTRIBUTES | AccessMask::WRITE_EA;
        }
        access = access.difference(excess) | (access & demanded);
    }
    // The share's own folder is not deleted whoever asks, so it does not matter who might.
    let guarded = access.contains(AccessMask::DELETE) && !opened.handle.is_root();
    if deletes && context.server.accounts().are_distinct() {
        opened.handle.let_delete();
    }
    if guarded && !opened.handle.may_remove().await {
        access = access.difference(AccessMask::DELETE);
        if demanded.contains(AccessMask::DELETE) {
            return Err(NtStatus::ACCESS_DENIED);
        }
    }
    match on_close && !access.contains(AccessMask::DELETE) {
        true => Err(NtStatus::ACCESS_DENIED),
        false => Ok((access, Some(by_descriptors))),
    }
}

/// What remains to be done with an opened file: empty it if that was asked for, and describe it.
async fn finish(
    opened: &Opened,
    wanted: &Wanted,
    metadata: Metadata,
    by_descriptors: Option<AccessMask>,
    identity: Option<&Identity>,
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
                let granted = granted_by_descriptors(&opened.handle, &metadata, identity).await;
                granted.map_or(AccessMask::empty(), |granted| granted.rights)
            }
        };
        maximal_access(opened, wanted, by_descriptors).await
    } else {
        wanted.maximal
    };
    Ok(response(&metadata, opened, wanted, action, maximal))
}

fn is_read_only(metadata: &Metadata) -> bool {
    !metadata.is_directory && metadata.attributes.contains(Attributes::READONLY)
}

/// MS-FSA 2.1.5.1.2.1: a file that is read-only is neither written nor deleted.
fn check_read_only(metadata: &Metadata, wanted: &Wanted) -> Result<(), NtStatus> {
    let on_close = wanted.request.create_options.contains(CreateOptions::DELETE_ON_CLOSE);
    if on_close && metadata.attributes.contains(Attributes::READONLY) {
        return Err(NtStatus::CANNOT_DELETE);
    }
    let writes = is_read_only(metadata) && wanted.demanded().intersects(WRITES);
    if writes { Err(NtStatus::ACCESS_DENIED) } else { Ok(()) }
}

/// MS-FSA 2.1.5.1.2: a file that is hidden or the system's is overwritten only by who knows that it is.
fn check_overwrite(metadata: &Metadata, wanted: &Wanted) -> Result<(), NtStatus> {
    let special = metadata.attributes & (Attributes::HIDDEN | Attributes::SYSTEM);
    let known = attributes(wanted.request.file_attributes).contains(special);
    if wanted.truncates() && !known { Err(NtStatus::ACCESS_DENIED) } else { Ok(()) }
}

/// The most that the user could be granted on this file. Being read-only takes nothing from it, since
/// that can be taken back.
async fn maximal_access(
    opened: &Opened,
    wanted: &Wanted,
    by_descriptors: AccessMask,
) -> AccessMask {
    let mut maximal = wanted.maximal & by_descriptors;
    if !opened.handle.may(Access::READ_OK).await {
        maximal = maximal.difference(READS);
    }
    if !opened.handle.may(Access::WRITE_OK).await {
        maximal = maximal.difference(WRITES);
    }
    if !opened.handle.is_root() && !opened.handle.may_remove().await {
        maximal = maximal.difference(AccessMask::DELETE);
    }
    maximal
}

async fn overwrite(opened: &Opened, wanted: &Wanted, metadata: &Metadata) -> Result<(), NtStatus> {
    if opened.handle.stream().is_some() {
        // Attributes are the file's.
        return Ok(opened.handle.set_len(0).await?);
    }
    // First, because it may fail. Who may write the file and not read it leaves those that there are.
    match opened.handle.replace_eas(&wanted.eas).await {
        Err(vfs::Error::AccessDenied) if wanted.eas.is_empty() => {}
        result => result?,
    }
    opened.handle.set_len(0).await?;
    opened.handle.remove_streams().await?;
    let size = wanted.allocation_size();
    if size != 0 {
        opened.handle.allocate(size).await?;
    }
    // MS-FSA 2.1.5.1.2.1: the new attributes replace the old ones.
    let new = attributes(wanted.request.file_attributes) | Attributes::ARCHIVE;
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

/// The attributes that a file system keeps, out of those of a request.
pub(super) fn attributes(attributes: FileAttributes) -> Attributes {
    let kept = FileAttributes::READONLY
        | FileAttributes::HIDDEN
        | FileAttributes::SYSTEM
        | FileAttributes::ARCHIVE;
    Attributes::from_bits_truncate((attributes & kept).bits())
}

/// What `desired` comes to where at most `maximal` can be had.
fn granted(desired: AccessMask, maximal: AccessMask) -> AccessMask {
    let desired = generic_to_specific(desired);
    match desired.contains(AccessMask::MAXIMUM_ALLOWED) {
        true => desired.difference(AccessMask::MAXIMUM_ALLOWED) | maximal,
        false => desired,
    }
}
