//! Reparse points: FSCTL_GET_REPARSE_POINT and its like, MS-FSA 2.1.5.10, and what a CREATE is told that cannot
//! be followed through one, MS-SMB2 3.3.5.9.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex};

use futures_util::lock::Mutex as AsyncMutex;

use crate::protocol::{Body, Reply};
use crate::state::{FileOpen, Leasing, Mode, Object, Open, Ticket};
use crate::vfs::{Handle, LinkInTheWay, Mapping, ReparsePoint, SharePath, unix_target};
use crate::wire::access_mask::AccessMask;
use crate::wire::change_notify::CompletionFilter;
use crate::wire::codec::Writer;
use crate::wire::ioctl::IoctlRequest;
use crate::wire::reparse::{ReparseHeader, ReparseTag, SymbolicLink, SymlinkError};
use crate::wire::status::NtStatus;
use crate::wire::utf16::Utf16;

use super::Answer;
use super::change_notify::tell_modified;
use super::close::close_open;
use super::context::{Context, file_of};
use super::ioctl::answer;

/// REPARSE_DATA_BUFFER up to its data, MS-FSCC 2.1.2.2.
const HEADER_LEN: usize = 8;

/// MS-FSA 2.1.5.10.14: with too little room there is only as much of it as fits.
pub(super) async fn get(context: &mut Context, request: &IoctlRequest) -> Result<Answer, NtStatus> {
    let open = context.open(request.file_id)?;
    let file = file_of(&open)?;
    let mapping = file.share.options.mapping;
    let point = file.handle.reparse_point().await?;
    let mut output = match point.ok_or(NtStatus::NOT_A_REPARSE_POINT)? {
        ReparsePoint::Link(target) => encoded(|w| as_windows(&target, mapping).encode(w)),
        ReparsePoint::Stored(data) => data,
    };
    let room = request.max_output_response as usize;
    if room < HEADER_LEN {
        return Err(NtStatus::BUFFER_TOO_SMALL);
    }
    let fits = output.len() <= room;
    output.truncate(room);
    let reply = answer(request, &open, |w| w.put_bytes(&output));
    match reply {
        Answer::Reply(reply) if !fits => {
            Ok(Answer::Reply(Reply { status: NtStatus::BUFFER_OVERFLOW, ..reply }))
        }
        reply => Ok(reply),
    }
}

/// MS-FSA 2.1.5.10.37. A symbolic link becomes one on disk where unix can have it so; all else is kept with the
/// file, as Samba does it.
pub(super) async fn set(context: &mut Context, request: &IoctlRequest) -> Result<Answer, NtStatus> {
    let open = context.open(request.file_id)?;
    let file = changeable(&open)?;
    let header = header(&request.input)?;
    if let Some(existing) = existing(file).await? {
        check_same(&existing, &header)?;
    }
    if header.tag == ReparseTag::SYMLINK {
        let link = SymbolicLink::decode(&request.input);
        let link = link.map_err(|_| NtStatus::IO_REPARSE_DATA_INVALID)?;
        if make_link(context, &open, file, &link).await? {
            return Ok(answer(request, &open, |_| ()));
        }
    }
    if file.handle.is_directory() {
        // The kernel would go through it, and a file cannot have been in the place of a link.
        let empty = file.handle.is_empty().await?;
        return Err(if empty { NtStatus::NOT_SUPPORTED } else { NtStatus::DIRECTORY_NOT_EMPTY });
    }
    if file.handle.is_link() {
        return Err(NtStatus::NOT_SUPPORTED);
    }
    file.handle.set_reparse_point(request.input.clone()).await?;
    tell_modified(&context.server, &file.handle, CompletionFilter::ATTRIBUTES);
    Ok(answer(request, &open, |_| ()))
}

/// MS-FSA 2.1.5.10.3: what has been a link is an empty file, or directory.
pub(super) async fn delete(
    context: &mut Context,
    request: &IoctlRequest,
) -> Result<Answer, NtStatus> {
    let open = context.open(request.file_id)?;
    let file = changeable(&open)?;
    let existing = existing(file).await?.ok_or(NtStatus::NOT_A_REPARSE_POINT)?;
    let header = header(&request.input)?;
    if header.data_length != 0 {
        return Err(NtStatus::IO_REPARSE_DATA_INVALID);
    }
    check_same(&existing, &header)?;
    if file.handle.is_link() {
        if !is_alone(file)? {
            return Err(NtStatus::SHARING_VIOLATION);
        }
        let ordinary = file.handle.become_ordinary().await?;
        go_over(context, &open, file, ordinary).await?;
    } else {
        file.handle.remove_reparse_point().await?;
        tell_modified(&context.server, &file.handle, CompletionFilter::ATTRIBUTES);
    }
    Ok(answer(request, &open, |_| ()))
}

/// The file, if its open may be used to make something else of it.
fn changeable(open: &Open) -> Result<&FileOpen, NtStatus> {
    let file = file_of(open)?;
    if !open.may(AccessMask::WRITE_DATA | AccessMask::WRITE_ATTRIBUTES) {
        return Err(NtStatus::ACCESS_DENIED);
    }
    match file.handle.stream().is_some() || file.handle.is_root() {
        true => Err(NtStatus::INVALID_PARAMETER),
        false => Ok(file),
    }
}

fn header(input: &[u8]) -> Result<ReparseHeader, NtStatus> {
    if input.is_empty() {
        return Err(NtStatus::INVALID_BUFFER_SIZE);
    }
    if input.len() > ReparseHeader::WHOLE_MAX {
        return Err(NtStatus::IO_REPARSE_DATA_INVALID);
    }
    let header = ReparseHeader::decode(input).map_err(|_| NtStatus::IO_REPARSE_DATA_INVALID)?;
    match header.tag.is_reserved() {
        true => Err(NtStatus::IO_REPARSE_TAG_INVALID),
        false => Ok(header),
    }
}

/// What kind of reparse point it is already.
async fn existing(file: &FileOpen) -> Result<Option<ReparseHeader>, NtStatus> {
    Ok(match file.handle.reparse_point().await? {
        None => None,
        Some(ReparsePoint::Link(_)) => {
            Some(ReparseHeader { tag: ReparseTag::SYMLINK, ..ReparseHeader::default() })
        }
        // What is damaged may be replaced.
        Some(ReparsePoint::Stored(data)) => ReparseHeader::decode(&data).ok(),
    })
}

fn check_same(existing: &ReparseHeader, new: &ReparseHeader) -> Result<(), NtStatus> {
    if existing.tag != new.tag {
        return Err(NtStatus::IO_REPARSE_TAG_MISMATCH);
    }
    match existing.guid == new.guid {
        true => Ok(()),
        false => Err(NtStatus::REPARSE_ATTRIBUTE_CONFLICT),
    }
}

fn is_alone(file: &FileOpen) -> Result<bool, NtStatus> {
    file.with_ticket(Ticket::is_only_one).ok_or(NtStatus::FILE_CLOSED)
}

/// Makes a link on disk, if it can be one there: relative, from an empty file or directory that nobody else has
/// open, and not out of the share.
async fn make_link(
    context: &Context,
    open: &Open,
    file: &FileOpen,
    link: &SymbolicLink,
) -> Result<bool, NtStatus> {
    let folder = file.handle.share_path().parent().unwrap_or_default();
    let target = link.substitute.to_string_strict().filter(|_| link.relative);
    let Some(target) =
        target.and_then(|target| unix_target(&target, &folder, file.share.options.mapping))
    else {
        return Ok(false);
    };
    if !is_alone(file)? {
        return Ok(false);
    }
    match file.handle.become_link(&target).await {
        Ok(link) => go_over(context, open, file, link).await.map(|()| true),
        Err(error) => {
            tracing::debug!(%error, "a link cannot be one on disk");
            Ok(false)
        }
    }
}

/// The open goes over to what has taken the place of its file.
async fn go_over(
    context: &Context,
    open: &Open,
    file: &FileOpen,
    handle: Handle,
) -> Result<(), NtStatus> {
    let handle = Arc::new(handle);
    let ticket = file.take_ticket().and_then(|ticket| ticket.moved_to(&handle));
    let ticket = ticket.ok_or(NtStatus::FILE_CLOSED)?;
    file.release_oplock();
    file.locks.release();
    file.end_watch();
    tell_modified(&context.server, &handle, CompletionFilter::ATTRIBUTES);
    let locks = context.server.locks.owner(handle.stream_key());
    let object = Object::File(Box::new(FileOpen {
        handle,
        share: Arc::clone(&file.share),
        identity: file.identity.clone(),
        token: Arc::clone(&file.token),
        ticket: Mutex::new(Some(ticket)),
        locks,
        oplock: Mutex::default(),
        watch: Mutex::default(),
        leasing: Leasing::default(),
        mappings: Arc::default(),
        sticky: Mutex::default(),
        mode: Mode::new(open.options),
        dirty: AtomicBool::new(false),
        position: AtomicU64::new(0),
        read_ahead: Mutex::default(),
        next_ea: AtomicUsize::new(0),
        enumeration: AsyncMutex::new(None),
    }));
    let Open { file_id, tree_id, granted_access, options, .. } = *open;
    let open = Arc::new(Open { file_id, tree_id, granted_access, options, object });
    match context.session()?.replace(Arc::clone(&open)) {
        true => Ok(()),
        false => {
            let _ = close_open(&context.server, &open).await;
            Err(NtStatus::FILE_CLOSED)
        }
    }
}

/// A link on disk as a client of Windows reads it.
fn as_windows(target: &str, mapping: Mapping) -> SymbolicLink {
    let parts: Vec<_> = target.split('/').map(|part| mapping.to_client(part)).collect();
    let name = Utf16::from_str(&parts.join("\\"));
    SymbolicLink { substitute: name.clone(), print: name, relative: !target.starts_with('/') }
}

fn encoded(encode: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut Writer::new(&mut bytes));
    bytes
}

/// The reply to a CREATE of `path`, which the client called `name`, and which leads through a link that the client
/// has to follow itself.
pub(super) fn stopped_on(
    link: &LinkInTheWay,
    path: &SharePath,
    name: &str,
    mapping: Mapping,
) -> Reply {
    stopped(as_windows(&link.target, mapping), unparsed(path, name, link.behind))
}

/// The reply to a CREATE of a reparse point that was not to be opened as what it is.
pub(super) async fn not_handled(handle: &Handle, path: &SharePath, name: &str) -> Reply {
    if let Ok(Some(ReparsePoint::Stored(data))) = handle.reparse_point().await
        && let Ok(link) = SymbolicLink::decode(&data)
    {
        return stopped(link, unparsed(path, name, 0));
    }
    Reply::error(NtStatus::IO_REPARSE_TAG_NOT_HANDLED)
}

fn stopped(link: SymbolicLink, unparsed: usize) -> Reply {
    let data = encoded(|w| SymlinkError { link, unparsed }.encode(w));
    Reply { status: NtStatus::STOPPED_ON_SYMLINK, body: Body::Error(data) }
}

/// Bytes of a path's name on the wire from the separator in front of its last `behind` components on, or from its
/// stream on.
fn unparsed(path: &SharePath, name: &str, behind: usize) -> usize {
    // What goes back within the name is not in the path.
    let mut parts = Vec::new();
    for part in name.split('\\') {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    let name = parts.join("\\");
    let parsed = path.components().len().saturating_sub(behind);
    let mut separators = name.match_indices('\\').map(|(at, _)| at);
    let end = separators.nth(parsed.saturating_sub(1)).or_else(|| name.find(':'));
    let rest = end.and_then(|end| name.get(end..)).unwrap_or_default();
    rest.encode_utf16().count() * size_of::<u16>()
}
