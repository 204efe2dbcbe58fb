//! READs and WRITEs, by the routes that copy and by those that do not.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ringway::fs::{File, Mapping};

use crate::protocol::Payload;
use crate::state::{FileOpen, Open, Server};
use crate::transport::Kept;
use crate::vfs::{self, Direct, Handle, StreamContents};
use crate::wire::status::NtStatus;
use crate::wire::write::WriteResponse;

use super::counters::Counters;
use super::direct::{self, NotRead};
use super::plan::{Direction, Need, Route, Row, Transfer, row};
use super::stable::Stable;
use super::{
    Incoming, Message, Sink, Source, copied, mapped, read_ahead, scale, spliced, stable, teed,
};

/// Reads what a READ wants.
///
/// # Errors
/// `END_OF_FILE` where there are fewer bytes than the client can do with, MS-SMB2 3.3.5.12.
pub async fn read(source: Source, server: &Server) -> Result<Payload, NtStatus> {
    let file = file(&source.open)?;
    let (offset, length) = (source.offset, source.length as usize);
    let contents = contents(&file.handle, offset, length).await?;
    let past_cache = direct::of(file, offset, length).await;
    let can_be_mapped = !server.without.contains(&Need::Mapping);
    let stable = match past_cache {
        Some(_) => None,
        None => stable::pages(&source, file, can_be_mapped).await,
    };
    let mut transfer = Transfer {
        direction: Direction::Read,
        protection: source.message.protection,
        alone: source.message.alone,
        length,
        is_file: matches!(contents, StreamContents::File(_)),
        direct: past_cache.is_some(),
        is_placed: true,
        is_here: false,
        near: source.receiver.is_near(),
        cached: true,
        is_stable: stable.as_ref().map(|stable| stable.pin.until()),
        has_pipes: true,
        has_mapping: true,
        splices_cost_less: scale::way() == scale::Way::Spliced,
    }
    .without_all(&server.without);
    let is_weighed = transfer.is_weighed();
    // What a stream is in may be another file the next time.
    let keeps_mappings = server.keeps_mappings && file.handle.file().is_some();
    let mut reading = Reading {
        source: &source,
        counters: &server.routes,
        kept: keeps_mappings.then_some(&file.mappings),
        contents,
        past_cache,
        stable,
    };
    let (row, payload) = loop {
        let row = row(&transfer);
        if !row.route.looks_at_pages() {
            // Nobody is to wait for what is copied.
            reading.stable = None;
        }
        match reading.by(row.route, transfer.cached).await? {
            Ok(payload) => break (row, payload),
            Err(lacking) => transfer = transfer.without(lacking),
        }
    };
    let count = payload.len();
    if count < source.minimum_count as usize || (count == 0 && source.length != 0) {
        return Err(NtStatus::END_OF_FILE);
    }
    file.position.store(source.offset + count as u64, Ordering::Relaxed);
    server.routes.count(row, count);
    // What had to be read first went neither way.
    if is_weighed
        && transfer.cached
        && let Some(measured) = scale::add(count)
    {
        server.routes.note_cost(measured);
    }
    Ok(payload)
}

/// Where the bytes of a READ are.
async fn contents(handle: &Handle, offset: u64, length: usize) -> Result<StreamContents, NtStatus> {
    match handle.file() {
        Some(on_disk) => Ok(StreamContents::File(on_disk.clone())),
        None => Ok(handle.stream_contents(offset, length).await?),
    }
}

/// A READ, with what its ways take.
struct Reading<'a> {
    source: &'a Source,
    counters: &'a Counters,
    /// What is kept of this file; nothing if none is to be.
    kept: Option<&'a Arc<Kept<Mapping>>>,
    contents: StreamContents,
    past_cache: Option<&'a Direct>,
    stable: Option<Stable>,
}

impl Reading<'_> {
    /// What is wanted, by one route, unless that does not lead there. `cached`: the page cache may have it.
    async fn by(&self, route: Route, cached: bool) -> Result<Result<Payload, Need>, NtStatus> {
        let (offset, length) = (self.source.offset, self.source.length as usize);
        let on_disk = match &self.contents {
            StreamContents::File(on_disk) => on_disk,
            StreamContents::Bytes(bytes) => return Ok(Ok(copy_of(bytes))),
        };
        let elsewhere = match (route, self.past_cache, &self.stable) {
            (Route::Direct, Some(past_cache), _) => {
                return match direct::read(past_cache, on_disk, offset, length).await {
                    Ok(payload) => Ok(Ok(payload)),
                    Err(NotRead::Refused) => Ok(Err(Need::Direct)),
                    Err(NotRead::Failed(error)) => Err(error.into()),
                };
            }
            (Route::Teed, _, Some(stable)) => {
                teed::read(on_disk, offset, length, &stable.pin).await
            }
            (Route::Spliced, ..) => {
                spliced::read(on_disk, offset, length).await.map(Payload::elsewhere)
            }
            (Route::Mapped, _, stable) => {
                let mapped = mapped::read(on_disk, (offset, length), stable.as_ref(), self.kept);
                mapped.map(|it| Payload::elsewhere(it.into_iter().collect()))
            }
            _ => {
                // Of a short one nobody asks: it is tried.
                let cached = cached
                    && length >= read_ahead::LENGTH_MIN
                    && on_disk.cached_len(offset, length).is_some();
                self.note(on_disk, cached);
                return read_file(on_disk, offset, length, cached).await.map(Ok);
            }
        };
        if elsewhere.is_ok() {
            self.note(on_disk, true);
        }
        Ok(elsewhere)
    }

    /// Has what follows read ahead, if the client goes on.
    fn note(&self, on_disk: &File, cached: bool) {
        let range = (self.source.offset, self.source.length as usize);
        read_ahead::note(&self.source.open, on_disk, range, cached, self.counters);
    }
}

/// As many bytes as there are, with room in front.
async fn read_file(
    file: &File,
    offset: u64,
    length: usize,
    cached: bool,
) -> Result<Payload, NtStatus> {
    let read = async |memory| copied::read(file, offset, length, memory, cached).await;
    Ok(Payload::new(Payload::buffer_for(length).appended(read).await?))
}

/// Bytes that are here, with room in front.
fn copy_of(bytes: &[u8]) -> Payload {
    let mut buffer = Payload::buffer_for(bytes.len());
    buffer.extend_from_slice(bytes);
    Payload::new(buffer)
}

/// Writes what a WRITE brought.
///
/// # Errors
/// The file system's, or the connection's; some of the bytes may have been written.
pub async fn write(sink: Sink, server: &Server) -> Result<WriteResponse, NtStatus> {
    let file = file(&sink.open)?;
    let length = sink.bytes.len();
    if let Some(offset) = sink.offset {
        file.position.store(offset.saturating_add(length as u64), Ordering::Relaxed);
    }
    let result = place(file, sink.offset, sink.bytes, (sink.message, &server.without)).await;
    // After the write, or a FLUSH meanwhile would have taken the mark away. Some may have been written
    // even where it failed.
    file.dirty.store(true, Ordering::Relaxed);
    server.routes.count(result?, length);
    if sink.through {
        file.handle.sync().await?;
    }
    // A WRITE is at most 8 MiB, so the length fits.
    Ok(WriteResponse { count: u32::try_from(length).unwrap_or(u32::MAX), remaining: 0 })
}

/// Puts bytes where they belong, and tells by which row of the table.
async fn place(
    file: &FileOpen,
    offset: Option<u64>,
    bytes: Incoming,
    (message, without): (Message, &[Need]),
) -> Result<&'static Row, NtStatus> {
    let past_cache = direct::for_bytes(file, offset, &bytes).await;
    let pipe = match &bytes {
        Incoming::Rest(_) if past_cache.is_none() && !without.contains(&Need::Pipe) => {
            spliced::pipe().ok()
        }
        _ => None,
    };
    let transfer = Transfer {
        direction: Direction::Write,
        protection: message.protection,
        alone: message.alone,
        length: bytes.len(),
        is_file: file.handle.file().is_some(),
        direct: past_cache.is_some(),
        is_placed: offset.is_some(),
        is_here: matches!(bytes, Incoming::Here(_)),
        near: false,
        cached: true,
        is_stable: None,
        has_pipes: pipe.is_some(),
        has_mapping: false,
        splices_cost_less: false,
    };
    let taken = row(&transfer);
    if let (Route::Direct, Some(past_cache), Some(on_disk), Some(offset)) =
        (taken.route, past_cache, file.handle.file(), offset)
    {
        let is_direct = direct::write(past_cache, on_disk, offset, bytes).await?;
        return Ok(if is_direct { taken } else { row(&transfer.without(Need::Direct)) });
    }
    match (taken.route, file.handle.file(), offset, bytes, pipe) {
        (Route::Spliced, Some(on_disk), Some(offset), Incoming::Rest(rest), Some(pipe)) => {
            spliced::write(on_disk, offset, rest, &pipe).await.map_err(failed)?;
        }
        (_, on_disk, offset, bytes, _) => {
            let bytes = bytes.bytes().await.map_err(|_| NtStatus::CONNECTION_DISCONNECTED)?;
            match on_disk {
                Some(on_disk) => copied::write(on_disk, offset, bytes).await?,
                None => file.handle.write_stream(offset, bytes).await?,
            }
        }
    }
    Ok(taken)
}

fn file(open: &Open) -> Result<&FileOpen, NtStatus> {
    open.file().ok_or(NtStatus::INVALID_DEVICE_REQUEST)
}

fn failed(error: io::Error) -> NtStatus {
    vfs::Error::from(error).into()
}
