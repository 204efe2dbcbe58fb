//! FSCTL_FILE_LEVEL_TRIM: a client no longer needs what some ranges of a file hold. MS-FSA 2.1.5.10.6.
//!
//! Their blocks are given back, so that they read as zeros. Windows keeps the blocks and lets the disk forget what is
//! in them; so no client may reckon with what it reads there, and who trims the file of a virtual disk gets the room.

use std::ops::Range;
use std::sync::atomic::Ordering;

use crate::state::FileOpen;
use crate::vfs::{self, Attributes};
use crate::wire::access_mask::AccessMask;
use crate::wire::change_notify::CompletionFilter;
use crate::wire::ioctl::IoctlRequest;
use crate::wire::status::NtStatus;
use crate::wire::trim::{FileLevelTrim, FileLevelTrimOutput, FileLevelTrimRange};

use super::change_notify::tell_modified;
use super::context::{Context, file_of};
use super::ioctl::answer;
use super::sticky::{self, Touches};
use super::{Answer, oplock};

/// How many ranges are trimmed for one request. Each is a call to the file system, a message has room for half a
/// million, and a client is told how many were processed.
const RANGES_MAX: usize = 1024;

pub(super) async fn file_level_trim(
    context: &mut Context,
    request: &IoctlRequest,
) -> Result<Answer, NtStatus> {
    let open = context.open(request.file_id)?;
    let file = file_of(&open)?;
    let trim = FileLevelTrim::decode(&request.input).map_err(|_| NtStatus::INVALID_PARAMETER)?;
    let room = request.max_output_response as usize;
    if file.handle.is_directory()
        || trim.ranges.is_empty()
        || (1..FileLevelTrimOutput::SIZE).contains(&room)
    {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    if !open.may(AccessMask::WRITE_DATA) {
        return Err(NtStatus::ACCESS_DENIED);
    }
    let metadata = file.handle.metadata().await?;
    if metadata.attributes.contains(Attributes::COMPRESSED) {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let held = sticky::hold(file, Touches::Both).await;
    let trimmed = trim_all(file, &trim.ranges, metadata.size).await;
    sticky::restore(file, held).await;
    oplock::contents_change(&context.server, &file.handle);
    tell_modified(&context.server, &file.handle, CompletionFilter::LAST_WRITE);
    let output = trimmed?;
    Ok(answer(request, &open, |w| {
        if room != 0 {
            output.encode(w);
        }
    }))
}

/// As far as that goes: a client sees by what it is told where it ended.
async fn trim_all(
    file: &FileOpen,
    ranges: &[FileLevelTrimRange],
    size: u64,
) -> Result<FileLevelTrimOutput, NtStatus> {
    let unit = file.handle.block_size().await?;
    let mut output = FileLevelTrimOutput::default();
    for range in ranges.iter().take(RANGES_MAX) {
        match trim_one(file, range, size, unit).await {
            Ok(()) => output.num_ranges_processed += 1,
            Err(status) if output.num_ranges_processed == 0 => return Err(status),
            Err(_) => break,
        }
    }
    Ok(output)
}

async fn trim_one(
    file: &FileOpen,
    range: &FileLevelTrimRange,
    size: u64,
    unit: u64,
) -> Result<(), NtStatus> {
    let end = range.offset.checked_add(range.length).ok_or(NtStatus::INTEGER_OVERFLOW)?;
    if file.locks.is_locked_out(range.offset, range.length, true) {
        return Err(NtStatus::FILE_LOCK_CONFLICT);
    }
    let trimmed = file.handle.trim(whole_blocks(range.offset..end.min(size), unit)).await;
    file.dirty.store(true, Ordering::Relaxed);
    match trimmed {
        Err(vfs::Error::NotSupported) => Err(NtStatus::INVALID_DEVICE_REQUEST),
        result => Ok(result?),
    }
}

/// The blocks that lie within a range; perhaps none.
fn whole_blocks(range: Range<u64>, unit: u64) -> Range<u64> {
    let start = range.start.checked_next_multiple_of(unit).unwrap_or(u64::MAX);
    start..range.end - range.end % unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_blocks_that_lie_in_a_range_are_given_back() {
        assert_eq!(whole_blocks(0..8192, 4096), 0..8192);
        assert_eq!(whole_blocks(1..8191, 4096), 4096..4096);
        assert_eq!(whole_blocks(1..12_289, 4096), 4096..12_288);
        assert!(whole_blocks(100..200, 4096).is_empty());
        assert!(whole_blocks(u64::MAX..u64::MAX, 4096).is_empty());
    }
}
