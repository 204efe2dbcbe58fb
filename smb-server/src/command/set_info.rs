//! SET_INFO: changes a file. MS-SMB2 3.3.5.21, MS-FSA 2.1.5.15.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::protocol::Body;
use crate::state::{FileOpen, Open, Ticket};
use crate::vfs::{Change, Security, SharePath, StreamKey};
use crate::wire::access_mask::AccessMask;
use crate::wire::change_notify::CompletionFilter;
use crate::wire::codec::{Malformed, Reader};
use crate::wire::create::CreateOptions;
use crate::wire::filetime::FileTime;
use crate::wire::fscc::attributes::FileAttributes;
use crate::wire::fscc::file_info::{FileBasicInfo, FileModeInfo, FilePositionInfo};
use crate::wire::fscc::info_class::FileInfoClass;
use crate::wire::fscc::set_info::{
    DispositionFlags, FileAllocationInfo, FileDispositionInfo, FileDispositionInfoEx,
    FileEndOfFileInfo, FileLinkInfo, FileRenameInfo, RenameFlags,
};
use crate::wire::query_info::InfoType;
use crate::wire::set_info::SetInfoRequest;
use crate::wire::status::NtStatus;

use super::Answer;
use super::access::{Creator, effective, is_master};
use super::change_notify::{tell_delete_pending, tell_linked, tell_modified, tell_renamed};
use super::close::check_deletable;
use super::context::{Context, file_of};
use super::create::attributes;
use super::read::OFFSET_MAX;
use super::security::{self, encoded};
use super::sticky::{self, Touches};
use super::{ea, oplock};

pub(super) async fn set_info(
    context: &mut Context,
    request: &SetInfoRequest,
) -> Result<Answer, NtStatus> {
    let open = context.open(request.file_id)?;
    if request.info_type == InfoType::QUOTA {
        // MS-SMB2 3.3.5.21.4: there are none.
        return Err(NtStatus::NOT_SUPPORTED);
    }
    let file = file_of(&open)?;
    if file.share.options.read_only {
        return Err(NtStatus::ACCESS_DENIED);
    }
    match request.info_type {
        InfoType::FILE => {}
        InfoType::SECURITY => {
            security::set(&context.server, &open, file, request).await?;
            tell_modified(&context.server, &file.handle, CompletionFilter::SECURITY);
            return Ok(Body::SetInfo.into());
        }
        _ => return Err(NtStatus::NOT_SUPPORTED),
    }
    let buffer = request.buffer.as_slice();
    let class = FileInfoClass(request.info_class);
    if class == FileInfoClass::BASIC {
        basic(context, &open, file, parse(buffer, FileBasicInfo::decode)?).await?;
        return Ok(Body::SetInfo.into());
    }
    set(context, &open, file, class, buffer).await?;
    Ok(Body::SetInfo.into())
}

async fn set(
    context: &Context,
    open: &Open,
    file: &FileOpen,
    class: FileInfoClass,
    buffer: &[u8],
) -> Result<(), NtStatus> {
    match class {
        FileInfoClass::RENAME => {
            rename(context, open, file, parse(buffer, FileRenameInfo::decode)?).await?
        }
        FileInfoClass::RENAME_EX => {
            rename(context, open, file, parse(buffer, FileRenameInfo::decode_ex)?).await?
        }
        FileInfoClass::DISPOSITION => {
            let delete = parse(buffer, FileDispositionInfo::decode)?.delete_pending;
            disposition(context, open, file, delete).await?;
        }
        FileInfoClass::DISPOSITION_EX => {
            let flags = parse(buffer, FileDispositionInfoEx::decode)?.flags;
            disposition(context, open, file, flags.contains(DispositionFlags::DELETE)).await?;
        }
        FileInfoClass::END_OF_FILE => {
            let size = parse(buffer, FileEndOfFileInfo::decode)?.end_of_file;
            end_of_file(context, open, file, size).await?;
        }
        FileInfoClass::ALLOCATION => {
            let size = parse(buffer, FileAllocationInfo::decode)?.allocation_size;
            allocation(context, open, file, size).await?;
        }
        FileInfoClass::POSITION => {
            let position = parse(buffer, FilePositionInfo::decode)?.current_byte_offset;
            file.position.store(position, Ordering::Relaxed);
        }
        FileInfoClass::MODE => {
            let mode = parse(buffer, FileModeInfo::decode)?.mode;
            if !file.mode.set(CreateOptions::from_bits_retain(mode)) {
                return Err(NtStatus::INVALID_PARAMETER);
            }
        }
        FileInfoClass::FULL_EA => {
            let held = sticky::hold(file, Touches::Changed).await;
            ea::set(&context.server, open, file, buffer).await?;
            sticky::restore(file, held).await;
        }
        FileInfoClass::LINK => link(context, file, parse(buffer, FileLinkInfo::decode)?).await?,
        _ => return Err(NtStatus::INVALID_INFO_CLASS),
    }
    Ok(())
}

/// MS-SMB2 3.3.5.21.1: a buffer that is too short fails the request, not the connection.
fn parse<T>(
    buffer: &[u8],
    decode: impl FnOnce(&mut Reader<'_>) -> Result<T, Malformed>,
) -> Result<T, NtStatus> {
    decode(&mut Reader::new(buffer, "information")).map_err(|_| NtStatus::INFO_LENGTH_MISMATCH)
}

fn require(open: &Open, access: AccessMask) -> Result<(), NtStatus> {
    if open.may(access) { Ok(()) } else { Err(NtStatus::ACCESS_DENIED) }
}

async fn basic(
    context: &Context,
    open: &Open,
    file: &FileOpen,
    info: FileBasicInfo,
) -> Result<(), NtStatus> {
    require(open, AccessMask::WRITE_ATTRIBUTES)?;
    let directory = file.handle.is_directory();
    // MS-FSA 2.1.5.15.2.
    let wrong = if directory { FileAttributes::TEMPORARY } else { FileAttributes::DIRECTORY };
    if info.file_attributes.contains(wrong) {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    // MS-FSCC 2.4.7: no attributes at all means to leave them; NORMAL alone, to have none.
    let change = Change {
        attributes: (!info.file_attributes.is_empty()).then(|| attributes(info.file_attributes)),
        created: time(info.creation_time)?,
        accessed: time(info.last_access_time)?,
        modified: time(info.last_write_time)?,
        changed: time(info.change_time)?,
    };
    let held = sticky::hold(file, Touches::Both).await;
    let changed = match change.changed {
        None if info.change_time != FileTime::THAW => held.changed(),
        given => given,
    };
    file.handle.change(&Change { changed, ..change }).await?;
    sticky::note(file, info.last_write_time, info.change_time);
    drop(held);
    let mut what = CompletionFilter::empty();
    what.set(CompletionFilter::ATTRIBUTES, change.attributes.is_some());
    what.set(CompletionFilter::CREATION, change.created.is_some());
    what.set(CompletionFilter::LAST_ACCESS, change.accessed.is_some());
    what.set(CompletionFilter::LAST_WRITE, change.modified.is_some());
    tell_modified(&context.server, &file.handle, what);
    Ok(())
}

/// MS-FSCC 2.4.7: 0 leaves a time; -1 and -2 say whether what this open does changes it (`sticky`).
fn time(time: FileTime) -> Result<Option<(i64, u32)>, NtStatus> {
    match time {
        FileTime::OMIT | FileTime::FREEZE | FileTime::THAW => Ok(None),
        time if time.0 > OFFSET_MAX => Err(NtStatus::INVALID_PARAMETER),
        time => Ok(Some(time.to_unix())),
    }
}

async fn rename(
    context: &Context,
    open: &Open,
    file: &FileOpen,
    info: FileRenameInfo,
) -> Result<(), NtStatus> {
    require(open, AccessMask::DELETE)?;
    if info.root_directory != 0 {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let name = info.name.to_string_strict().ok_or(NtStatus::OBJECT_NAME_INVALID)?;
    if file.handle.stream().is_some() || name.starts_with(':') {
        return rename_stream(context, file, &name, info.flags).await;
    }
    // Some clients begin the new name at the root of the share.
    let name = name.strip_prefix('\\').unwrap_or(&name);
    let to = SharePath::parse(name, file.share.options.mapping)?;
    let sharing = &context.server.sharing;
    if file.with_ticket(Ticket::others_deny_delete).ok_or(NtStatus::FILE_CLOSED)? {
        return Err(NtStatus::SHARING_VIOLATION);
    }
    // MS-FSA 2.1.5.15.11: a directory keeps its name while something in it is open.
    if file.handle.is_directory() {
        oplock::make_close(context, &sharing.open_below(&file.handle)).await?;
    }
    if file.handle.is_directory() && sharing.is_open_below(&file.handle) {
        return Err(NtStatus::ACCESS_DENIED);
    }
    let replace = info.flags.contains(RenameFlags::REPLACE_IF_EXISTS);
    check_new_name(context, file, &to, replace).await?;
    let from = file.handle.share_path();
    let held = sticky::hold(file, Touches::Changed).await;
    let replaced = file.handle.rename(&to, replace, &Creator::of(&context.server, file)).await?;
    sticky::restore(file, held).await;
    sharing.renamed(file.handle.id(), &from, &file.handle);
    tell_renamed(&context.server, &file.handle, &from, replaced);
    Ok(())
}

/// What a new name, of a rename or a link, meets of what is open. MS-FSA 2.1.5.15.6 and 2.1.5.15.11.
async fn check_new_name(
    context: &Context,
    file: &FileOpen,
    to: &SharePath,
    replace: bool,
) -> Result<(), NtStatus> {
    let sharing = &context.server.sharing;
    let look_up = |path| file.share.volume.look_up(file.identity.as_ref(), path);
    // Its folder is opened, and that may conflict.
    let folder = to.parent().unwrap_or_default();
    if look_up(&folder).await?.into_iter().any(|folder| sharing.keeps_names(folder)) {
        return Err(NtStatus::SHARING_VIOLATION);
    }
    let mut targets = look_up(to).await?;
    targets.retain(|target| replace && *target != file.handle.id());
    for target in targets {
        // And an open file is not replaced.
        oplock::make_close(context, &[StreamKey::unnamed(target)]).await?;
        if sharing.is_open(target) {
            return Err(NtStatus::ACCESS_DENIED);
        }
    }
    Ok(())
}

/// MS-FSA 2.1.5.15.6: one more name. It takes no right to the file, which stays what it is.
async fn link(context: &Context, file: &FileOpen, info: FileLinkInfo) -> Result<(), NtStatus> {
    let name = info.name.to_string_strict().ok_or(NtStatus::OBJECT_NAME_INVALID)?;
    if info.root_directory != 0 || file.handle.stream().is_some() {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    if file.handle.is_directory() {
        return Err(NtStatus::FILE_IS_A_DIRECTORY);
    }
    let to =
        SharePath::parse(name.strip_prefix('\\').unwrap_or(&name), file.share.options.mapping)?;
    if to.stream().is_some() {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    if context.server.sharing.is_delete_pending(&file.handle) {
        return Err(NtStatus::ACCESS_DENIED);
    }
    check_new_name(context, file, &to, info.replace_if_exists).await?;
    let held = sticky::hold(file, Touches::Changed).await;
    keep_descriptor(file).await?;
    let (name, replaces) =
        file.handle.link(&to, info.replace_if_exists, &Creator::of(&context.server, file)).await?;
    sticky::restore(file, held).await;
    tell_linked(&context.server, &file.handle, name, replaces);
    Ok(())
}

/// What has been handed down to a file stays with it, so that in another folder it is not others who are let
/// in. That makes it the file's own, which is its owner's to say.
async fn keep_descriptor(file: &FileOpen) -> Result<(), NtStatus> {
    // Or one that is set meanwhile would be lost.
    let _alone = file.handle.alone().await;
    if file.handle.security().await?.is_some() {
        return Ok(());
    }
    let metadata = file.handle.metadata().await?;
    match effective(&file.handle, &metadata).await? {
        Some(_) if !is_master(&file.token, &metadata) => Err(NtStatus::ACCESS_DENIED),
        Some(descriptor) => {
            // To the kernel, nothing changes.
            let descriptor = encoded(&descriptor);
            let kept = Security { descriptor, acl: None, default_acl: None };
            Ok(file.handle.set_security(&kept).await?)
        }
        None => Ok(()),
    }
}

/// MS-FSA 2.1.5.15.11: a stream gets another name of the same file.
async fn rename_stream(
    context: &Context,
    file: &FileOpen,
    name: &str,
    flags: RenameFlags,
) -> Result<(), NtStatus> {
    let from = file.handle.stream().ok_or(NtStatus::INVALID_PARAMETER)?;
    if !name.starts_with(':') {
        // Another file, or this one by its name: it is open.
        return Err(NtStatus::SHARING_VIOLATION);
    }
    let to = SharePath::parse(name, file.share.options.mapping)?;
    // What makes the stream the file's contents is not done.
    let to = to.stream().ok_or(NtStatus::NOT_SUPPORTED)?;
    let sharing = &context.server.sharing;
    if file.with_ticket(Ticket::others_deny_delete).ok_or(NtStatus::FILE_CLOSED)? {
        return Err(NtStatus::SHARING_VIOLATION);
    }
    let replace = flags.contains(RenameFlags::REPLACE_IF_EXISTS);
    // And a stream that is open is not replaced.
    let target = file.handle.stream_key_of(to);
    if target != file.handle.stream_key() && sharing.is_stream_open(target) {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let held = sticky::hold(file, Touches::Changed).await;
    file.handle.rename_stream(to, replace).await?;
    sticky::restore(file, held).await;
    sharing.stream_renamed(&file.handle, &from, to);
    tell_modified(&context.server, &file.handle, CompletionFilter::STREAM_NAME);
    Ok(())
}

async fn disposition(
    context: &Context,
    open: &Open,
    file: &FileOpen,
    delete: bool,
) -> Result<(), NtStatus> {
    require(open, AccessMask::DELETE)?;
    if delete {
        check_deletable(file).await?;
    }
    let handle = delete.then(|| Arc::clone(&file.handle));
    let set = file.with_ticket(|ticket| ticket.set_delete_pending(handle));
    set.ok_or(NtStatus::FILE_CLOSED)?;
    if delete {
        tell_delete_pending(&context.server, file);
    }
    Ok(())
}

async fn end_of_file(
    context: &Context,
    open: &Open,
    file: &FileOpen,
    size: u64,
) -> Result<(), NtStatus> {
    resizable(open, file, size)?;
    let held = sticky::hold(file, Touches::Both).await;
    file.handle.set_len(size).await?;
    sticky::restore(file, held).await;
    oplock::contents_change(&context.server, &file.handle);
    tell_modified(&context.server, &file.handle, CompletionFilter::SIZE);
    Ok(())
}

/// MS-FSA 2.1.5.15.1: less than the file holds cuts it off; more is reserved and holds nothing.
async fn allocation(
    context: &Context,
    open: &Open,
    file: &FileOpen,
    size: u64,
) -> Result<(), NtStatus> {
    resizable(open, file, size)?;
    if size < file.handle.metadata().await?.size {
        return end_of_file(context, open, file, size).await;
    }
    // What the file holds is not written; that is a change all the same. Who may write and is not the owner
    // cannot have it so; then it counts as written.
    let held = sticky::hold_modified(file).await;
    file.handle.allocate(size).await?;
    sticky::restore(file, held).await;
    oplock::contents_change(&context.server, &file.handle);
    Ok(())
}

fn resizable(open: &Open, file: &FileOpen, size: u64) -> Result<(), NtStatus> {
    require(open, AccessMask::WRITE_DATA)?;
    if file.handle.is_directory() || size > OFFSET_MAX {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    file.dirty.store(true, Ordering::Relaxed);
    Ok(())
}
