//! The spliced route. To a client, pages of the cache go to the socket through a pipe, which is filled before the
//! head is made, so that the head tells what really follows. From a client, the network's buffers go through a pipe
//! to the page cache.
//!
//! The client gets the file as it is when the bytes leave this host, or, if it is on this host, when it reads them; as by
//! sendfile, of a file that is cut off meanwhile that may be zeros.

use std::io;

use ringway::buf::IoBufExt;
use ringway::fs::File;
use ringway::pipe::{PipePool, PooledPipe};

use super::plan::Need;
use crate::transport::{Elsewhere, Piped, Rest};

/// How many pipes each core has. Of a mebibyte, they hold 16 MiB of clients that take their time; who finds none
/// left copies.
pub(super) const PIPES_MAX: usize = 16;

/// The smallest pipe that is used: what the kernel gives unasked. A user whose pipes have taken all that they may gets
/// pipes of a page or two, which are made and filled one by one for longer than a copy takes.
pub(super) const PIPE_MIN: usize = 64 << 10;

thread_local! {
    static PIPES: PipePool = PipePool::new(PipePool::SIZE, PIPES_MAX);
}

/// Fills pipes with a range of a file, as far as the file goes; without waiting for anything.
pub(super) async fn read(file: &File, offset: u64, length: usize) -> Result<Vec<Elsewhere>, Need> {
    let filled = pipes(file, offset, length).await?;
    Ok(filled.into_iter().map(Elsewhere::Piped).collect())
}

pub(super) async fn pipes(file: &File, offset: u64, length: usize) -> Result<Vec<Piped>, Need> {
    let mut filled = Vec::new();
    let mut count = 0;
    while count < length {
        let pipe = pipe()?;
        let (at, left) = (offset + count as u64, length - count);
        let moved = fill(file, at, &pipe, left).await?;
        if moved == 0 {
            break;
        }
        count += moved;
        filled.push(Piped::new(pipe, moved));
    }
    Ok(filled)
}

pub(super) fn pipe() -> Result<PooledPipe, Need> {
    match PIPES.with(PipePool::try_get) {
        Ok(Some(pipe)) if pipe.capacity() >= PIPE_MIN => Ok(pipe),
        Ok(_) | Err(_) => Err(Need::Pipe),
    }
}

/// As much as fits.
async fn fill(file: &File, offset: u64, pipe: &PooledPipe, length: usize) -> Result<usize, Need> {
    let mut moved = 0;
    while moved < length {
        let at = offset + moved as u64;
        match file.splice_cached_to(at, pipe.writer(), length - moved).await {
            Ok(0) => break,
            Ok(n) => moved += n,
            // The pipe is full.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && moved > 0 => break,
            // The file system has no such thing.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return Err(Need::Splice),
            // It is empty; or whatever else, reading will tell.
            Err(_) => return Err(Need::Cached),
        }
    }
    Ok(moved)
}

/// Where what is written at once ends, if more is to come. The page cache holds what is written so in pieces as large, and
/// not in pages; mapped READs of it cost 8 % less later.
const PIECE: usize = 64 << 10;

/// Moves all that is to come into a file. What comes is written as it does, so that the pipe is never full of what
/// waits for more.
pub(super) async fn write(
    file: &File,
    offset: u64,
    mut rest: Rest,
    pipe: &PooledPipe,
) -> io::Result<()> {
    let front = rest.take_front();
    let mut at = offset.saturating_add(front.len() as u64);
    if !front.is_empty() {
        file.write_all_at(front, offset).await.0?;
    }
    let mut held = 0;
    while rest.left() > 0 {
        let moved = rest.splice_to(pipe.writer()).await?;
        held += moved;
        let whole = if rest.left() == 0 { held } else { whole_pieces(at, held, moved) };
        empty_into(file, at, pipe, whole).await?;
        at = at.saturating_add(whole as u64);
        held -= whole;
    }
    Ok(())
}

/// How many of the bytes that a pipe holds are written before more come, the last `moved` of which have just come. What is left
/// is few, and of a pipe that was filled with little pieces it is nothing: there is always room for more.
fn whole_pieces(at: u64, held: usize, moved: usize) -> usize {
    let behind = (at % PIECE as u64) as usize;
    let whole = ((behind + held) / PIECE * PIECE).saturating_sub(behind);
    if moved >= PIECE && whole >= held / 2 { whole } else { held }
}

/// Writes the `length` bytes that are in a pipe.
async fn empty_into(file: &File, offset: u64, pipe: &PooledPipe, length: usize) -> io::Result<()> {
    let mut done = 0;
    while done < length {
        let at = offset.saturating_add(done as u64);
        match file.splice_from(pipe.reader(), at, length - done).await {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(moved) => done += moved,
            // The file system has no such thing.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                let bytes = Vec::with_capacity(length - done).slice(..length - done);
                let (result, bytes) = pipe.reader().read_exact(bytes).await;
                result?;
                return file.write_all_at(bytes.into_inner(), at).await.0;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_in_large_pieces_is_written_so_and_other_things_as_they_come() {
        // Right behind a head, the rest of a segment.
        assert_eq!(whole_pieces(0, 65_483, 65_483), 65_483, "no piece is whole");
        assert_eq!(whole_pieces(0, 130_966, 130_966), PIECE);
        assert_eq!(whole_pieces(100, 2 * PIECE, 2 * PIECE), 2 * PIECE - 100);
        // With what was left of those before.
        assert_eq!(whole_pieces(PIECE as u64, 3 * PIECE + 5, 2 * PIECE), 3 * PIECE);
        // A pipe may be full of these.
        assert_eq!(whole_pieces(0, PIECE + 1448, 1448), PIECE + 1448);
        assert_eq!(whole_pieces(PIECE as u64 - 1, PIECE, PIECE), PIECE, "most would stay");
    }
}
