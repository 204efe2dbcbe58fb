//! Block cloning: FSCTL_DUPLICATE_EXTENTS_TO_FILE, in its two forms. MS-SMB2 3.3.5.15.17 and 3.3.5.15.18, MS-FSA
//! 2.1.5.10.4 and 2.1.5.10.5.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::datapath;
use crate::state::{FileOpen, Open};
use crate::vfs::{self, Attributes, Metadata};
use crate::wire::access_mask::AccessMask;
use crate::wire::change_notify::CompletionFilter;
use crate::wire::duplicate_extents::DuplicateExtentsData;
use crate::wire::ioctl::{CtlCode, IoctlRequest};
use crate::wire::status::NtStatus;

use super::change_notify::tell_modified;
use super::context::{Context, file_of};
use super::ioctl::answer;
use super::sticky::{self, Touches};
use super::{Answer, oplock};

/// Byte-range locks are not asked, as Windows does not.
pub(super) async fn duplicate_extents(
    context: &mut Context,
    request: &IoctlRequest,
) -> Result<Answer, NtStatus> {
    let target = context.open(request.file_id)?;
    let to = file_of(&target)?;
    let data = match request.ctl_code {
        CtlCode::FSCTL_DUPLICATE_EXTENTS_TO_FILE_EX => {
            DuplicateExtentsData::decode_ex(&request.input)
        }
        _ => DuplicateExtentsData::decode(&request.input),
    };
    let data = data.map_err(|_| NtStatus::INVALID_PARAMETER)?;
    let source = context.session()?.open(data.source_file_id).ok_or(NtStatus::INVALID_HANDLE)?;
    let from = source.file().ok_or(NtStatus::INVALID_PARAMETER)?;
    check(&source, from, &target, to)?;
    let ranges = Ranges::new(&data, from.handle.id() == to.handle.id())?;
    let (before, there) = (from.handle.metadata().await?, to.handle.metadata().await?);
    check_sparse(&before, &there)?;
    let unit = to.handle.block_size().await?;
    let parts = ranges.parts(before.size, there.size, unit)?;
    if data.source_atomic && parts.copied != 0 {
        return Err(NtStatus::NOT_SUPPORTED);
    }
    let held = sticky::hold(to, Touches::Both).await;
    let done = duplicate(from, to, &ranges, &parts).await;
    sticky::restore(to, held).await;
    // After it, or a FLUSH meanwhile would have taken the mark away. Some may have been done even where it failed.
    to.dirty.store(true, Ordering::Relaxed);
    oplock::contents_change(&context.server, &to.handle);
    tell_modified(&context.server, &to.handle, CompletionFilter::LAST_WRITE);
    done?;
    Ok(answer(request, &target, |_| ()))
}

fn check(source: &Open, from: &FileOpen, target: &Open, to: &FileOpen) -> Result<(), NtStatus> {
    if from.handle.is_directory() || to.handle.is_directory() {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let allowed = source.may(AccessMask::READ_DATA) && target.may(AccessMask::WRITE_DATA);
    if !allowed {
        return Err(NtStatus::ACCESS_DENIED);
    }
    // A named stream has no blocks of its own.
    let on_disk = from.handle.file().is_some() && to.handle.file().is_some();
    if on_disk { Ok(()) } else { Err(NtStatus::NOT_SUPPORTED) }
}

/// MS-FSCC 2.3.8: what is sparse does not become part of what is not.
fn check_sparse(source: &Metadata, target: &Metadata) -> Result<(), NtStatus> {
    let sparse = |metadata: &Metadata| metadata.attributes.contains(Attributes::SPARSE);
    if sparse(source) && !sparse(target) { Err(NtStatus::NOT_SUPPORTED) } else { Ok(()) }
}

/// What is asked for: both ends within what an offset can name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Ranges {
    source: u64,
    target: u64,
    length: u64,
}

/// How it is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Parts {
    /// From the front on, by sharing blocks.
    shared: u64,
    /// Behind that, less than a block.
    copied: u64,
}

impl Ranges {
    fn new(data: &DuplicateExtentsData, same_file: bool) -> Result<Self, NtStatus> {
        let number = |number| u64::try_from(number).map_err(|_| NtStatus::INVALID_PARAMETER);
        let (source, target) = (number(data.source_file_offset)?, number(data.target_file_offset)?);
        let length = number(data.byte_count)?;
        let last = |start: u64| i64::try_from(start.saturating_add(length));
        if last(source).is_err() || last(target).is_err() {
            return Err(NtStatus::INVALID_PARAMETER);
        }
        if same_file && source.abs_diff(target) < length {
            return Err(NtStatus::NOT_SUPPORTED);
        }
        Ok(Self { source, target, length })
    }

    /// Windows neither refuses what goes beyond the end of the target nor makes the target longer. Its clients round
    /// the length up to whole clusters at the end of the source; MS-FSCC 2.3.8 refuses more than that.
    fn parts(&self, source_size: u64, target_size: u64, unit: u64) -> Result<Parts, NtStatus> {
        if !self.source.is_multiple_of(unit) || !self.target.is_multiple_of(unit) {
            return Err(NtStatus::INVALID_PARAMETER);
        }
        let allocated = source_size.checked_next_multiple_of(unit).unwrap_or(u64::MAX);
        if self.source.saturating_add(self.length) > allocated {
            return Err(NtStatus::NOT_SUPPORTED);
        }
        let (from, to) =
            (source_size.saturating_sub(self.source), target_size.saturating_sub(self.target));
        let length = self.length.min(from).min(to);
        // The kernel shares a part of a block where both files end with it, and nowhere else.
        let copied = if length == from && length == to { 0 } else { length % unit };
        Ok(Parts { shared: length - copied, copied })
    }
}

async fn duplicate(
    from: &FileOpen,
    to: &FileOpen,
    ranges: &Ranges,
    parts: &Parts,
) -> Result<(), NtStatus> {
    let Ranges { source, target, .. } = *ranges;
    let cloned = to.handle.clone_range(target, &from.handle, source, parts.shared).await;
    cloned.map_err(|error| failed(&error))?;
    let (source, target) = (source + parts.shared, target + parts.shared);
    let copied = usize::try_from(parts.copied).map_err(|_| NtStatus::INVALID_PARAMETER)?;
    let (from, to) = (Arc::clone(&from.handle), Arc::clone(&to.handle));
    datapath::copy_range(&from, source, &to, target, copied).await
}

/// MS-FSCC 2.3.8.
fn failed(error: &vfs::Error) -> NtStatus {
    match error {
        vfs::Error::NotSupported => NtStatus::INVALID_DEVICE_REQUEST,
        vfs::Error::CrossDevice => NtStatus::INVALID_PARAMETER,
        // The ranges are right by now. It is two files of which one has checksums, say, and the other has not.
        vfs::Error::Invalid => NtStatus::NOT_SUPPORTED,
        error => super::status_of(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: u64 = 4096;

    fn ranges(source: i64, target: i64, length: i64, same: bool) -> Result<Ranges, NtStatus> {
        let data = DuplicateExtentsData {
            source_file_offset: source,
            target_file_offset: target,
            byte_count: length,
            ..DuplicateExtentsData::default()
        };
        Ranges::new(&data, same)
    }

    fn parts(range: (i64, i64, i64), sizes: (u64, u64)) -> Result<(u64, u64), NtStatus> {
        let (source, target, length) = range;
        let parts = ranges(source, target, length, false)?.parts(sizes.0, sizes.1, UNIT)?;
        Ok((parts.shared, parts.copied))
    }

    #[test]
    fn ranges_are_within_a_file_and_apart() {
        for (source, target, length) in
            [(-1, 0, 1), (0, -1, 1), (0, 0, -1), (i64::MAX, 0, 1), (0, i64::MAX, 1)]
        {
            let refused = ranges(source, target, length, false);
            assert_eq!(refused, Err(NtStatus::INVALID_PARAMETER), "{source} {target} {length}");
        }
        assert_eq!(ranges(0, 8192, 16384, true), Err(NtStatus::NOT_SUPPORTED));
        assert_eq!(ranges(8192, 0, 8193, true), Err(NtStatus::NOT_SUPPORTED));
        assert!(ranges(8192, 0, 8192, true).is_ok() && ranges(0, 0, 0, true).is_ok());
        assert!(ranges(0, 8192, 16384, false).is_ok());
    }

    /// MS-FSCC 2.3.8, and what the comments at smbtorture's tests say of Windows.
    #[test]
    fn the_source_ends_with_its_last_cluster_and_the_target_with_its_last_byte() {
        assert_eq!(parts((0, 0, 32768), (32768, 32768)), Ok((32768, 0)));
        assert_eq!(parts((0, 0, 65536), (32768, 65536)), Err(NtStatus::NOT_SUPPORTED));
        assert_eq!(parts((0, 0, 32768), (32768, 0)), Ok((0, 0)));
        assert_eq!(parts((0, 4096, 32768), (32768, 8192)), Ok((4096, 0)));
        assert_eq!(parts((0, 1 << 40, 4096), (4096, 0)), Ok((0, 0)));
        assert_eq!(parts((0, 0, 8192), (5000, 5000)), Ok((5000, 0)));
        assert_eq!(parts((0, 0, 8193), (5000, 5000)), Err(NtStatus::NOT_SUPPORTED));
        assert_eq!(parts((8192, 0, 1), (5000, 5000)), Err(NtStatus::NOT_SUPPORTED));
    }

    #[test]
    fn a_part_of_a_block_is_shared_at_the_end_of_both_files_and_copied_elsewhere() {
        assert_eq!(parts((0, 0, 5000), (5000, 5000)), Ok((5000, 0)));
        assert_eq!(parts((0, 0, 5000), (5000, 9000)), Ok((4096, 904)));
        assert_eq!(parts((0, 0, 5000), (9000, 5000)), Ok((4096, 904)));
        assert_eq!(parts((0, 0, 100), (9000, 9000)), Ok((0, 100)));
    }

    #[test]
    fn offsets_are_those_of_blocks() {
        assert_eq!(parts((512, 0, 4096), (9000, 9000)), Err(NtStatus::INVALID_PARAMETER));
        assert_eq!(parts((0, 512, 4096), (9000, 9000)), Err(NtStatus::INVALID_PARAMETER));
    }
}
