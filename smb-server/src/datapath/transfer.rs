//! READs and WRITEs, by the routes that copy and by those that do not.

use std::io;
use std::sync::atomic::Ordering;

use ringway::fs::File;

use crate::protocol::Payload;
use crate::state::{FileOpen, Open};
use crate::vfs::{self, Handle, StreamContents, read_contents, write_contents};
use crate::wire::status::NtStatus;
use crate::wire::write::WriteResponse;

use super::counters::Counters;
use super::plan::{Direction, Route, Transfer, plan};
use super::spliced::{self, NotSpliced};
use super::{Incoming, Message, Sink, Source};

/// Reads what a READ wants.
///
/// # Errors
/// `END_OF_FILE` where there are fewer bytes than the client can do with, MS-SMB2 3.3.5.12.
pub async fn read(source: Source, counters: &Counters) -> Result<Payload, NtStatus> {
    let file = file(&source.open)?;
    let mut transfer = Transfer {
        direction: Direction::Read,
        protection: source.message.protection,
        alone: source.message.alone,
        length: source.length as usize,
        is_file: file.handle.file().is_some(),
        is_placed: true,
        is_here: false,
        cached: true,
        has_pipes: true,
    };
    let (route, payload) = loop {
        let route = plan(&transfer);
        match by(route, file, &source).await? {
            Ok(payload) => break (route, payload),
            Err(NotSpliced::NotCached) => transfer.cached = false,
            Err(NotSpliced::NoPipe) => transfer.has_pipes = false,
        }
    };
    let count = payload.len();
    if count < source.minimum_count as usize || (count == 0 && source.length != 0) {
        return Err(NtStatus::END_OF_FILE);
    }
    file.position.store(source.offset + count as u64, Ordering::Relaxed);
    counters.count(route, Direction::Read, count);
    Ok(payload)
}

/// What is wanted, by one route, unless that does not lead there.
async fn by(
    route: Route,
    file: &FileOpen,
    source: &Source,
) -> Result<Result<Payload, NotSpliced>, NtStatus> {
    let (offset, length) = (source.offset, source.length as usize);
    let Some(on_disk) = file.handle.file() else {
        return read_stream(&file.handle, offset, length).await.map(Ok);
    };
    match route {
        Route::Spliced => Ok(spliced::read(on_disk, offset, length).await.map(Payload::elsewhere)),
        _ => read_file(on_disk, offset, length).await.map(Ok),
    }
}

/// As many bytes as there are, with room in front.
async fn read_file(file: &File, offset: u64, length: usize) -> Result<Payload, NtStatus> {
    let read = async |memory| read_contents(file, offset, length, memory).await;
    Ok(Payload::new(Payload::buffer_for(length).appended(read).await?))
}

/// The same of a named stream.
async fn read_stream(handle: &Handle, offset: u64, length: usize) -> Result<Payload, NtStatus> {
    match handle.stream_contents(offset, length).await? {
        StreamContents::File(on_disk) => read_file(&on_disk, offset, length).await,
        StreamContents::Bytes(bytes) => {
            let mut buffer = Payload::buffer_for(bytes.len());
            buffer.extend_from_slice(&bytes);
            Ok(Payload::new(buffer))
        }
    }
}

/// Writes what a WRITE brought.
///
/// # Errors
/// The file system's, or the connection's; some of the bytes may have been written.
pub async fn write(sink: Sink, counters: &Counters) -> Result<WriteResponse, NtStatus> {
    let file = file(&sink.open)?;
    let length = sink.bytes.len();
    if let Some(offset) = sink.offset {
        file.position.store(offset.saturating_add(length as u64), Ordering::Relaxed);
    }
    let result = place(file, sink.offset, sink.bytes, sink.message).await;
    // After the write, or a FLUSH meanwhile would have taken the mark away. Some may have been written
    // even where it failed.
    file.dirty.store(true, Ordering::Relaxed);
    counters.count(result?, Direction::Write, length);
    if sink.through {
        file.handle.sync().await?;
    }
    // A WRITE is at most 8 MiB, so the length fits.
    Ok(WriteResponse { count: u32::try_from(length).unwrap_or(u32::MAX), remaining: 0 })
}

/// Puts bytes where they belong, and tells by which route.
async fn place(
    file: &FileOpen,
    offset: Option<u64>,
    bytes: Incoming,
    message: Message,
) -> Result<Route, NtStatus> {
    let pipe = match &bytes {
        Incoming::Here(_) => None,
        Incoming::Rest(_) => spliced::pipe().ok(),
    };
    let route = plan(&Transfer {
        direction: Direction::Write,
        protection: message.protection,
        alone: message.alone,
        length: bytes.len(),
        is_file: file.handle.file().is_some(),
        is_placed: offset.is_some(),
        is_here: matches!(bytes, Incoming::Here(_)),
        cached: true,
        has_pipes: pipe.is_some(),
    });
    match (route, file.handle.file(), offset, bytes, pipe) {
        (Route::Spliced, Some(on_disk), Some(offset), Incoming::Rest(rest), Some(pipe)) => {
            spliced::write(on_disk, offset, rest, &pipe).await.map_err(failed)?;
        }
        (_, on_disk, offset, bytes, _) => {
            let bytes = bytes.bytes().await.map_err(|_| NtStatus::CONNECTION_DISCONNECTED)?;
            match on_disk {
                Some(on_disk) => write_contents(on_disk, offset, bytes).await?,
                None => file.handle.write_stream(offset, bytes).await?,
            }
        }
    }
    Ok(route)
}

fn file(open: &Open) -> Result<&FileOpen, NtStatus> {
    open.file().ok_or(NtStatus::INVALID_DEVICE_REQUEST)
}

fn failed(error: io::Error) -> NtStatus {
    vfs::Error::from(error).into()
}
