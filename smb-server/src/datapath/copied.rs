//! Copies between a file and memory: by this core, or by another processor while this one has more to do.

use bytes::Bytes;
use ringway::buf::IoBufMut;
use ringway::fs::File;

use crate::cores::{self, Help, Helper};
use crate::vfs::{Error, read_contents, write_contents};

/// The shortest copy that is left to another processor. The way there and back takes some 15 µs, and this core finds
/// nothing of what was copied in its cache; to copy as much as this takes 30 µs and more.
const APART_MIN: usize = 256 * 1024;

/// Reads as many of `length` bytes as there are, and room for them, to the end of a buffer. `cached`: no disk is waited for.
///
/// # Errors
/// Those of `pread`.
pub(super) async fn read<B: IoBufMut>(
    file: &File,
    offset: u64,
    length: usize,
    buffer: B,
    cached: bool,
) -> Result<B, Error> {
    // Who waits for a disk takes nobody's time, and would keep the helper from others.
    match cached.then(|| helper(length)).flatten() {
        Some(_helper) => read_contents(&file.apart(), offset, length, buffer).await,
        None => read_contents(file, offset, length, buffer).await,
    }
}

/// Writes to a file; without an offset, at its end.
///
/// # Errors
/// As [`write_contents`].
pub(super) async fn write(file: &File, offset: Option<u64>, bytes: Bytes) -> Result<(), Error> {
    match helper(bytes.len()) {
        Some(_helper) => write_contents(&file.apart(), offset, bytes).await,
        None => write_contents(file, offset, bytes).await,
    }
}

/// Who copies so much, if not this core.
fn helper(length: usize) -> Option<Helper> {
    let is_worth_it = length >= APART_MIN && cores::has_more_to_do();
    is_worth_it.then(|| cores::help(Help::Copy))?
}
