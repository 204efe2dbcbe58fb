//! From file to file, without the client: by the kernel where it can, which may share blocks and not move any.

use std::io;
use std::sync::Arc;

use ringway::buf::IoBufExt;
use ringway::fs::File;
use rustix::io::Errno;

use crate::vfs::{self, Handle};
use crate::wire::status::NtStatus;

/// Copies `length` bytes, all of them there; where source and target overlap, as if the source had been read
/// before anything was written.
///
/// # Errors
/// The file system's; some of the bytes may have been copied. `INVALID_VIEW_SIZE` if the source has become
/// shorter.
pub async fn copy_range(
    source: &Arc<Handle>,
    source_offset: u64,
    target: &Arc<Handle>,
    target_offset: u64,
    length: usize,
) -> Result<(), NtStatus> {
    let mut done = 0;
    // The kernel refuses ranges that overlap, and a part that it has copied by then is not the source's any more.
    if let (Some(from), Some(to)) = (source.file().cloned(), target.file().cloned())
        && source.id() != target.id()
    {
        let copy = move || by_kernel(&from, source_offset, &to, target_offset, length);
        let copied = ringway::spawn_blocking(copy).await;
        done = copied.map_err(|_| NtStatus::INSUFFICIENT_RESOURCES)?.map_err(failed)?;
    }
    let (from, to) = (source_offset + done as u64, target_offset + done as u64);
    by_hand(source, from, target, to, length - done).await
}

/// As far as the kernel does it: how many bytes.
fn by_kernel(
    source: &File,
    mut source_offset: u64,
    target: &File,
    mut target_offset: u64,
    length: usize,
) -> io::Result<usize> {
    let mut done = 0;
    while done < length {
        let copied = rustix::fs::copy_file_range(
            source,
            Some(&mut source_offset),
            target,
            Some(&mut target_offset),
            length - done,
        );
        match copied {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            // Not between these file systems, not of these files, or not in this kernel.
            Err(Errno::XDEV | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => break,
            // A target that was opened to append takes no ranges.
            Err(Errno::BADF) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(done)
}

/// At most a mebibyte, as a chunk is.
async fn by_hand(
    source: &Handle,
    source_offset: u64,
    target: &Handle,
    target_offset: u64,
    length: usize,
) -> Result<(), NtStatus> {
    if length == 0 {
        return Ok(());
    }
    let bytes = match source.file() {
        Some(file) => {
            let buffer = Vec::with_capacity(length).slice(..length);
            let (result, buffer) = file.read_exact_at(buffer, source_offset).await;
            match result {
                Ok(()) => buffer.into_inner(),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Vec::new(),
                Err(error) => return Err(failed(error)),
            }
        }
        None => source.read_stream(source_offset, length).await?,
    };
    if bytes.len() < length {
        return Err(NtStatus::INVALID_VIEW_SIZE);
    }
    match target.file() {
        Some(file) => file.write_all_at(bytes, target_offset).await.0.map_err(failed),
        None => Ok(target.write_stream(Some(target_offset), bytes.into()).await?),
    }
}

fn failed(error: io::Error) -> NtStatus {
    vfs::Error::from(error).into()
}
