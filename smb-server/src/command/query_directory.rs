//! QUERY_DIRECTORY: a buffer full of a directory's entries. MS-SMB2 3.3.5.18, MS-FSA 2.1.5.6.3.

use crate::protocol::Body;
use crate::state::{Enumeration, FileOpen};
use crate::vfs;
use crate::vfs::name::Pattern;
use crate::vfs::short_name;
use crate::wire::access_mask::AccessMask;
use crate::wire::fscc::dir_info::{DirBuffer, DirEntry};
use crate::wire::query_directory::{
    QueryDirectoryFlags, QueryDirectoryRequest, QueryDirectoryResponse,
};
use crate::wire::status::NtStatus;
use crate::wire::utf16::Utf16;

use super::Answer;
use super::access::may_read;
use super::context::{Context, file_of};
use super::query_info::times;

pub(super) async fn query_directory(
    context: &mut Context,
    request: QueryDirectoryRequest,
) -> Result<Answer, NtStatus> {
    let open = context.open(request.file_id)?;
    let file = file_of(&open)?;
    if !file.handle.is_directory() {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    if !open.may(AccessMask::READ_DATA) {
        return Err(NtStatus::ACCESS_DENIED);
    }
    let buffer = DirBuffer::new(request.info_class, request.output_buffer_length as usize)
        .ok_or(NtStatus::INVALID_INFO_CLASS)?;
    // One request at a time reads a listing; the next waits here, in order.
    let mut enumeration = file.enumeration.lock().await;
    let starts_over = QueryDirectoryFlags::RESTART_SCANS | QueryDirectoryFlags::REOPEN;
    if request.flags.intersects(starts_over) || enumeration.is_none() {
        *enumeration = Some(begin(file, &request, enumeration.take())?);
    }
    let enumeration = enumeration.as_mut().ok_or(NtStatus::INTERNAL_ERROR)?;
    let single = request.flags.contains(QueryDirectoryFlags::RETURN_SINGLE_ENTRY);
    let output = fill(file, enumeration, buffer, single).await?;
    Ok(Body::QueryDirectory(QueryDirectoryResponse { output }).into())
}

/// A listing from its beginning. The pattern of the first request holds until a REOPEN brings another.
fn begin(
    file: &FileOpen,
    request: &QueryDirectoryRequest,
    before: Option<Enumeration>,
) -> Result<Enumeration, NtStatus> {
    let reopen = request.flags.contains(QueryDirectoryFlags::REOPEN);
    let pattern = match before {
        Some(before) if !reopen || request.pattern.is_empty() => before.pattern,
        _ => {
            let pattern =
                request.pattern.to_string_strict().ok_or(NtStatus::OBJECT_NAME_INVALID)?;
            Pattern::new(if pattern.is_empty() { "*" } else { &pattern })
        }
    };
    Ok(Enumeration { stream: file.handle.read_dir()?, pattern, held_back: None, found: false })
}

async fn fill(
    file: &FileOpen,
    enumeration: &mut Enumeration,
    mut buffer: DirBuffer,
    single: bool,
) -> Result<Vec<u8>, NtStatus> {
    while let Some(entry) = next(file, enumeration).await? {
        enumeration.found = true;
        if buffer.push(&wire_entry(&entry)).is_err() {
            if buffer.is_empty() {
                // Not even one fits. It stays, for a larger buffer.
                enumeration.held_back = Some(entry);
                return Err(NtStatus::INFO_LENGTH_MISMATCH);
            }
            enumeration.held_back = Some(entry);
            break;
        }
        if single {
            break;
        }
    }
    match buffer.is_empty() {
        false => Ok(buffer.into_bytes()),
        true if enumeration.found => Err(NtStatus::NO_MORE_FILES),
        true => {
            // Said once; after that the listing is simply over.
            enumeration.found = true;
            Err(NtStatus::NO_SUCH_FILE)
        }
    }
}

/// The next entry that matches, and that the user is to see.
async fn next(
    file: &FileOpen,
    enumeration: &mut Enumeration,
) -> Result<Option<vfs::DirEntry>, NtStatus> {
    if let Some(entry) = enumeration.held_back.take() {
        return Ok(Some(entry));
    }
    let Enumeration { stream, pattern, .. } = enumeration;
    // MS-FSA 2.1.5.6.3: or the short name does.
    let matches = |name: &str| {
        pattern.matches(name) || short_name::of(name).is_some_and(|short| pattern.matches(&short))
    };
    loop {
        match stream.next_matching(matches).await? {
            Some(entry) if !is_visible(file, &entry.name).await => {}
            found => return Ok(found),
        }
    }
}

/// Access-based enumeration.
async fn is_visible(file: &FileOpen, name: &str) -> bool {
    let hides = file.share.options.hide_unreadable;
    !hides || matches!(name, "." | "..") || may_read(file, name).await == Some(true)
}

fn wire_entry(entry: &vfs::DirEntry) -> DirEntry {
    let times = times(&entry.metadata);
    DirEntry {
        file_index: 0,
        creation_time: times.creation_time,
        last_access_time: times.last_access_time,
        last_write_time: times.last_write_time,
        change_time: times.change_time,
        end_of_file: entry.metadata.size,
        allocation_size: entry.metadata.allocation_size,
        file_attributes: times.file_attributes,
        // MS-FSCC 2.4.18 and the like: of a reparse point it is the tag.
        ea_size: entry.metadata.reparse_tag.unwrap_or(entry.ea_size),
        short_name: short_name::of(&entry.name)
            .map_or_else(Utf16::default, |it| Utf16::from_str(&it)),
        file_id: entry.metadata.key.ino,
        name: Utf16::from_str(&entry.name),
    }
}
