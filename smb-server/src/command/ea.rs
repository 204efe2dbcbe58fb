//! Extended attributes of a file (EAs). MS-SMB2 3.3.5.20.1, MS-FSA 2.1.5.12.12 and 2.1.5.15.5; in what those
//! leave out, as Microsoft's sample of a file system with EAs behaves.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;

use crate::protocol::{Body, Reply};
use crate::state::{FileOpen, Open, Server};
use crate::vfs::Ea;
use crate::wire::access_mask::AccessMask;
use crate::wire::change_notify::CompletionFilter;
use crate::wire::fscc::ea::{EaBuffer, FullEa, GetEa};
use crate::wire::query_info::{QueryInfoFlags, QueryInfoRequest, QueryInfoResponse};
use crate::wire::status::NtStatus;

use super::Answer;
use super::change_notify::tell_modified;

pub(super) async fn query(
    open: &Open,
    file: &FileOpen,
    request: &QueryInfoRequest,
) -> Result<Answer, NtStatus> {
    if !open.may(AccessMask::READ_EA) {
        return Err(NtStatus::ACCESS_DENIED);
    }
    check_no_stream(file)?;
    let wanted = GetEa::decode_all(&request.input).map_err(|_| NtStatus::EA_LIST_INCONSISTENT)?;
    if !wanted.iter().all(|ea| Ea::is_name(&ea.name)) {
        return Err(NtStatus::INVALID_EA_NAME);
    }
    let eas = file.handle.eas().await?;
    let single = request.flags.contains(QueryInfoFlags::RETURN_SINGLE_ENTRY);
    let (start, eas) = match wanted.is_empty() {
        true => {
            let start = start(file, request, eas.len())?;
            (Some(start), eas.into_iter().skip(start).map(full).collect())
        }
        false => (None, chosen(eas, &wanted)),
    };
    let limit = request.output_buffer_length as usize;
    let (reply, told) = packed(eas, limit, single)?;
    if let Some(start) = start {
        file.next_ea.store(start.saturating_add(told), Ordering::Relaxed);
    }
    Ok(Answer::Reply(reply))
}

/// EAs are the file's; a named stream has none.
fn check_no_stream(file: &FileOpen) -> Result<(), NtStatus> {
    match file.handle.stream() {
        None => Ok(()),
        Some(_) => Err(NtStatus::INVALID_PARAMETER),
    }
}

/// Where to begin: at an index, which counts from 1, at the first, or behind those told before.
fn start(file: &FileOpen, request: &QueryInfoRequest, count: usize) -> Result<usize, NtStatus> {
    if request.flags.contains(QueryInfoFlags::INDEX_SPECIFIED) {
        let index = usize::try_from(request.additional_information).unwrap_or(usize::MAX);
        return match index.checked_sub(1) {
            Some(start) if start < count => Ok(start),
            // Just behind the last is where somebody arrives who counts up.
            Some(start) if start == count && count != 0 => Err(NtStatus::NO_MORE_EAS),
            _ => Err(NtStatus::NONEXISTENT_EA_ENTRY),
        };
    }
    let start = match request.flags.contains(QueryInfoFlags::RESTART_SCAN) {
        true => 0,
        false => file.next_ea.load(Ordering::Relaxed),
    };
    match start < count {
        true => Ok(start),
        false if count == 0 => Err(NtStatus::NO_EAS_ON_FILE),
        false => Err(NtStatus::NO_MORE_EAS),
    }
}

fn full(ea: Ea) -> FullEa {
    FullEa { flags: 0, name: ea.name, value: ea.value }
}

/// Those that are asked for by name, each once. One that there is not holds nothing.
fn chosen(eas: Vec<Ea>, wanted: &[GetEa]) -> Vec<FullEa> {
    let mut there: HashMap<_, _> =
        eas.into_iter().map(|ea| (Ea::folded(&ea.name), full(ea))).collect();
    let mut seen = HashSet::new();
    let choose = |wanted: &GetEa| {
        let name = Ea::folded(&wanted.name);
        let none = || FullEa { name: wanted.name.clone(), ..FullEa::default() };
        let ea = there.remove(&name).unwrap_or_else(none);
        seen.insert(name).then_some(ea)
    };
    wanted.iter().filter_map(choose).collect()
}

/// As many as there is room for, or one; and how many that were. MS-FSA 2.1.5.12.12.
fn packed(eas: Vec<FullEa>, limit: usize, single: bool) -> Result<(Reply, usize), NtStatus> {
    let most = if single { 1 } else { usize::MAX };
    let mut buffer = EaBuffer::new(limit);
    let mut told = 0;
    let mut status = NtStatus::SUCCESS;
    for ea in eas.iter().take(most) {
        if buffer.push(ea).is_err() {
            status = NtStatus::BUFFER_OVERFLOW;
            break;
        }
        told += 1;
    }
    if buffer.is_empty() {
        return Err(NtStatus::BUFFER_TOO_SMALL);
    }
    let body = Body::QueryInfo(QueryInfoResponse { output: buffer.into_bytes() });
    Ok((Reply { status, body }, told))
}

pub(super) async fn set(
    server: &Server,
    open: &Open,
    file: &FileOpen,
    buffer: &[u8],
) -> Result<(), NtStatus> {
    if !open.may(AccessMask::WRITE_EA) {
        return Err(NtStatus::ACCESS_DENIED);
    }
    check_no_stream(file)?;
    // MS-SMB2 3.3.5.21.1.
    if buffer.is_empty() {
        return Err(NtStatus::INFO_LENGTH_MISMATCH);
    }
    let changes = decoded(buffer)?;
    file.handle.change_eas(&changes).await?;
    tell_modified(server, &file.handle, CompletionFilter::EA | CompletionFilter::ATTRIBUTES);
    Ok(())
}

/// EAs that a client sent. Their flags are not kept, as nothing on a unix file system has them.
pub(super) fn decoded(buffer: &[u8]) -> Result<Vec<Ea>, NtStatus> {
    let eas = FullEa::decode_all(buffer).map_err(|_| NtStatus::EA_LIST_INCONSISTENT)?;
    let ea = |ea: FullEa| match ea.flags {
        0 | FullEa::NEED_EA if Ea::is_name(&ea.name) => Ok(Ea { name: ea.name, value: ea.value }),
        _ => Err(NtStatus::INVALID_EA_NAME),
    };
    eas.into_iter().map(ea).collect()
}
