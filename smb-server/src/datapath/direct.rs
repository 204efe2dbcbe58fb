//! The direct route: between the disk and aligned memory, past the page cache, for shares that ask for it. What is less
//! than a block at the end of a transfer goes through the cache, and so does all of one that begins within a block; the
//! kernel keeps the two ways from contradicting each other.

use std::io;

use ringway::buf::{IoBuf, IoBufExt};
use ringway::fs::File;

use crate::buffers::{LARGE_MIN, Memory};
use crate::protocol::Payload;
use crate::state::FileOpen;
use crate::vfs::{self, Direct, read_contents};
use crate::wire::status::NtStatus;

use super::Incoming;

/// The file past the page cache, if its share wants such a transfer to go there and the file takes it. Short ones are
/// left to the cache: they mostly are of what is wanted again, and each would wait for the disk.
pub(super) async fn of(file: &FileOpen, offset: u64, length: usize) -> Option<&Direct> {
    if !file.share.options.direct || length < LARGE_MIN {
        return None;
    }
    file.handle.direct().await.filter(|direct| direct.takes(offset, length) >= LARGE_MIN)
}

/// The same for bytes that are to be written: those that are here may be where it does not take them from.
pub(super) async fn for_bytes<'a>(
    file: &'a FileOpen,
    offset: Option<u64>,
    bytes: &Incoming,
) -> Option<&'a Direct> {
    let direct = of(file, offset?, bytes.len()).await?;
    match bytes {
        Incoming::Here(bytes) => direct.takes_from(bytes).then_some(direct),
        // They will be received into memory of ours.
        Incoming::Rest(_) => Some(direct),
    }
}

/// Why nothing was read.
#[derive(Debug)]
pub(super) enum NotRead {
    /// The file refuses to be read so.
    Refused,
    /// It cannot be read.
    Failed(vfs::Error),
}

/// As many of `length` bytes as there are.
pub(super) async fn read(
    direct: &Direct,
    cached: &File,
    offset: u64,
    length: usize,
) -> Result<Payload, NotRead> {
    let read = async |memory| append(direct, cached, offset, length, memory).await;
    Ok(Payload::new(Payload::buffer_for(length).appended(read).await?))
}

async fn append(
    direct: &Direct,
    cached: &File,
    offset: u64,
    length: usize,
    memory: Memory,
) -> Result<Memory, NotRead> {
    let at = memory.len();
    let room = memory.slice(at..at.saturating_add(direct.takes(offset, length)));
    let (result, read) = direct.file().read_fixed_at(room, offset).await;
    match result {
        Ok(count) => {
            // What is left is no whole block, or there are no more; but the file may have grown meanwhile.
            let (from, left) = (offset.saturating_add(count as u64), length.saturating_sub(count));
            read_contents(cached, from, left, read.into_inner()).await.map_err(NotRead::Failed)
        }
        Err(error) if is_refusal(&error) => {
            direct.give_up();
            Err(NotRead::Refused)
        }
        Err(error) => Err(NotRead::Failed(error.into())),
    }
}

/// Writes bytes, and tells whether that went past the cache in the end.
///
/// # Errors
/// The file system's, or the connection's; some of the bytes may have been written.
pub(super) async fn write(
    direct: &Direct,
    cached: &File,
    offset: u64,
    bytes: Incoming,
) -> Result<bool, NtStatus> {
    let is_direct = match bytes {
        Incoming::Here(bytes) => put(direct, cached, offset, bytes).await,
        Incoming::Rest(rest) => {
            let received = rest.receive().await.map_err(|_| NtStatus::CONNECTION_DISCONNECTED)?;
            put(direct, cached, offset, received.into_slice(0)).await
        }
    };
    Ok(is_direct.map_err(vfs::Error::from)?)
}

/// Tells whether the bytes went past the cache, or the file has refused and they went through it.
async fn put<B: IoBuf>(direct: &Direct, cached: &File, offset: u64, bytes: B) -> io::Result<bool> {
    let length = bytes.bytes_init();
    let blocks = bytes.slice(..direct.takes(offset, length));
    let (result, blocks) = direct.file().write_fixed_at(blocks, offset).await;
    let (count, is_direct) = match result {
        Ok(count) => (count, true),
        Err(error) if is_refusal(&error) => {
            direct.give_up();
            (0, false)
        }
        Err(error) => return Err(error),
    };
    // What is left is no whole block; or else why it is left, the cache's side will tell.
    let (left, at) = (blocks.into_inner().slice(count..), offset.saturating_add(count as u64));
    cached.write_all_at(left, at).await.0.map(|()| is_direct)
}

/// Whether an error says of the file that it cannot, and nothing of the disk.
fn is_refusal(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP))
}
