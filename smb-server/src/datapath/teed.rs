//! The teed route: pages of the cache go to the socket through a pipe, as on the spliced one; what a second pipe has of
//! the same pages is read, for the signature. What is sent is what was signed, as long as the pages stay as they are.

use std::rc::Rc;

use ringway::buf::IoBufExt;
use ringway::fs::File;
use ringway::pipe::{PooledPipe, tee};

use super::plan::Need;
use super::spliced;
use crate::buffers::Memory;
use crate::protocol::Payload;
use crate::transport::{Elsewhere, Pin, Piped};

/// Fills pipes with a range of a file, as far as the file goes, and reads what is in them; without waiting for
/// anything.
pub(super) async fn read(
    file: &File,
    offset: u64,
    length: usize,
    pin: &Rc<Pin>,
) -> Result<Payload, Need> {
    let filled = spliced::pipes(file, offset, length).await?;
    let second = spliced::pipe()?;
    let total = filled.iter().map(Piped::len).sum();
    let mut bytes = Payload::buffer_for(total);
    for piped in &filled {
        bytes = bytes.appended(async |memory| look_into(piped, &second, memory).await).await?;
    }
    let pinned = filled.into_iter().map(|piped| Elsewhere::Piped(piped.pinned(pin)));
    Ok(Payload::in_both(bytes, pinned.collect()))
}

/// Appends what is in a pipe, and leaves it there.
async fn look_into(piped: &Piped, second: &PooledPipe, memory: Memory) -> Result<Memory, Need> {
    let (start, length) = (memory.len(), piped.len());
    // The second is empty and as large, unless it was given less room: then there is no pipe for this.
    match tee(piped.reader(), second.writer(), length).await {
        Ok(count) if count == length => {}
        Ok(_) | Err(_) => return Err(Need::Pipe),
    }
    let (result, slice) = second.reader().read_exact(memory.slice(start..start + length)).await;
    match result {
        Ok(()) => Ok(slice.into_inner()),
        Err(_) => Err(Need::Pipe),
    }
}
