//! Whether a part of a file is in the page cache, so that a call that has no "do not wait" of its own
//! can be made at once.
//!
//! The answer may be out of date as soon as it is given; then somebody waits for a disk once.

#![allow(unsafe_code, reason = "makes the system calls")]

use std::os::fd::{AsFd, AsRawFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::FsWord;
use rustix::io::ReadWriteFlags;

use super::File;

/// The number of `cachestat` (6.5), which is the same on every architecture but alpha.
const SYS_CACHESTAT: libc::c_long = 451;

/// How far apart the bytes are that are asked for in place of `cachestat`: what the kernel reads
/// ahead by default, so a part that was read is rarely missed.
const SAMPLE: u64 = 128 << 10;

/// What [`resident`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Residence {
    /// All of it is there.
    All,
    /// The file ends within it, so that not all could be.
    Ends,
    /// Not all is there, or nobody can say.
    Unknown,
}

/// Looks for `len` bytes, at least 1, from `offset` on.
pub(crate) fn resident(file: impl AsFd, offset: u64, len: u64) -> Residence {
    let file = file.as_fd();
    let Some(last) = offset.checked_add(len.saturating_sub(1)) else { return Residence::Unknown };
    // The pages that are counted may still be on their way from the disk, the last one longest.
    match byte_now(file, last) {
        Byte::There => {}
        Byte::PastEnd => return Residence::Ends,
        Byte::NotNow => return Residence::Unknown,
        // A file system without that question: only where there is no device to wait for.
        Byte::NoAnswer if !is_memory(file) => return Residence::Unknown,
        Byte::NoAnswer => return memory_residence(file, offset, len),
    }
    let all = pages_cached(file, offset, len).unwrap_or_else(|| samples_cached(file, offset, last));
    if all { Residence::All } else { Residence::Unknown }
}

impl File {
    /// How many of `len` bytes from byte `offset` on there are up to the file's end, if the page cache has all of
    /// those; `None` if not, or if nobody can say. Asks in a few system calls that wait for nothing, and has the
    /// kernel begin to read what is not there.
    ///
    /// It may be out of date as soon as it is told.
    #[must_use]
    pub fn cached_len(&self, offset: u64, len: usize) -> Option<usize> {
        match len {
            0 => Some(0),
            len => resident_len(self, offset, len as u64).map(|there| there as usize),
        }
    }
}

/// How many of `len` bytes, at least 1, from `offset` on there are up to the end of the file, if all of those are there.
pub(super) fn resident_len(file: impl AsFd, offset: u64, len: u64) -> Option<u64> {
    match resident(&file, offset, len) {
        Residence::All => Some(len),
        Residence::Unknown => None,
        Residence::Ends => {
            let size = rustix::fs::fstat(&file).ok()?.st_size.cast_unsigned();
            let rest = size.saturating_sub(offset).min(len);
            (rest == 0 || resident(file, offset, rest) == Residence::All).then_some(rest)
        }
    }
}

/// Of a file in memory, which may be swapped out.
fn memory_residence(file: impl AsFd, offset: u64, len: u64) -> Residence {
    match pages_cached(file, offset, len) {
        Some(true) => Residence::All,
        // Before `cachestat`. Who swaps files in memory out is short of it.
        None => Residence::All,
        Some(false) => Residence::Unknown,
    }
}

enum Byte {
    There,
    PastEnd,
    NotNow,
    NoAnswer,
}

/// Reads one byte if that needs no waiting.
fn byte_now(file: impl AsFd, at: u64) -> Byte {
    let mut byte = [0_u8];
    let mut part = [std::io::IoSliceMut::new(&mut byte)];
    match rustix::io::preadv2(&file, &mut part, at, ReadWriteFlags::NOWAIT) {
        Ok(1..) => Byte::There,
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Byte::NoAnswer,
        // Linux 5.10 answers the same about bytes that are not in the cache and about bytes that are not there.
        Ok(0) | Err(rustix::io::Errno::AGAIN) if is_past_end(&file, at) => Byte::PastEnd,
        Ok(0) | Err(_) => Byte::NotNow,
    }
}

fn is_past_end(file: impl AsFd, at: u64) -> bool {
    rustix::fs::fstat(file)
        .is_ok_and(|stat| u64::try_from(stat.st_size).is_ok_and(|size| size <= at))
}

/// Whether the page cache has every page; `None` where it does not tell: before Linux 6.5, under a
/// filter, or about a file that is neither writable nor one's own.
fn pages_cached(file: impl AsFd, offset: u64, len: u64) -> Option<bool> {
    /// The kernel lacks it.
    static MISSING: AtomicBool = AtomicBool::new(false);
    #[repr(C)]
    struct Range {
        offset: u64,
        len: u64,
    }
    #[repr(C)]
    #[derive(Default)]
    struct Counts {
        cached: u64,
        dirty: u64,
        written_back: u64,
        evicted: u64,
        recently_evicted: u64,
    }
    if MISSING.load(Ordering::Relaxed) {
        return None;
    }
    let (range, mut counts) = (Range { offset, len }, Counts::default());
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: both structures are the kernel's `cachestat_range` and `cachestat`, and on the stack.
    let result = unsafe {
        libc::syscall(SYS_CACHESTAT, fd, ptr::from_ref(&range), ptr::from_mut(&mut counts), 0)
    };
    if result != 0 {
        let missing = rustix::io::Errno::from_io_error(&std::io::Error::last_os_error());
        MISSING.fetch_or(missing == Some(rustix::io::Errno::NOSYS), Ordering::Relaxed);
        return None;
    }
    let page = rustix::param::page_size() as u64;
    let pages = (offset + len).div_ceil(page) - offset / page;
    Some(counts.cached >= pages)
}

/// Whether the bytes that are asked for between `offset` and `last` are there; `last` is.
fn samples_cached(file: impl AsFd, offset: u64, last: u64) -> bool {
    (offset..last).step_by(SAMPLE as usize).all(|at| matches!(byte_now(&file, at), Byte::There))
}

/// Whether the file is in a file system of memory only.
fn is_memory(file: impl AsFd) -> bool {
    const TMPFS: FsWord = 0x0102_1994;
    rustix::fs::fstatfs(file).is_ok_and(|stat| stat.f_type == TMPFS)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::{Duration, Instant};

    use super::*;

    const MIB: u64 = 1 << 20;

    fn file_of(len: u64, dir: tempfile::TempDir) -> (tempfile::TempDir, File) {
        let path = dir.path().join("file");
        std::fs::write(&path, vec![1; len as usize]).unwrap();
        let file = File::options().read(true).write(true).open(path).unwrap();
        (dir, file)
    }

    /// Out of the cache, where there is a device below it.
    fn drop_cache(file: &File) {
        file.sync_all().unwrap();
        rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    }

    #[test]
    fn what_was_just_written_is_there_and_what_was_dropped_is_not() {
        let (_dir, file) = file_of(4 * MIB, tempfile::tempdir().unwrap());
        if is_memory(&file) {
            return eprintln!("SKIPPED: temporary files are in memory");
        }
        assert_eq!(resident(&file, 5, 2 * MIB), Residence::All);
        for (offset, len) in [(3 * MIB, MIB + 1), (9 * MIB, 1)] {
            assert_eq!(resident(&file, offset, len), Residence::Ends);
        }
        // Whoever asks has the kernel begin to read.
        drop_until(|| drop_cache(&file), || resident(&file, 0, MIB) == Residence::Unknown);
        drop_until(|| drop_cache(&file), || !samples_cached(&file, 0, MIB));
    }

    /// Drops pages until `gone`. Advice is all it is: pages that somebody else is at stay (seen on Linux
    /// 7.2), and so do those on their way in.
    fn drop_until(drop: impl Fn(), gone: impl Fn() -> bool) {
        let start = Instant::now();
        drop();
        while !gone() {
            assert!(start.elapsed() < Duration::from_secs(10), "the pages stay");
            drop();
        }
    }

    #[test]
    fn a_file_in_memory_is_there() {
        let (_dir, file) = file_of(MIB, tempfile::tempdir_in("/dev/shm").unwrap());
        assert_eq!(resident(&file, 0, MIB), Residence::All);
    }

    #[test]
    fn both_ways_of_asking_agree_on_a_hole_in_the_cache() {
        let (_dir, file) = file_of(8 * MIB, tempfile::tempdir().unwrap());
        if is_memory(&file) || pages_cached(&file, 0, 1).is_none() {
            return eprintln!("SKIPPED: files in memory, or a kernel before 6.5");
        }
        file.sync_all().unwrap();
        let middle = std::num::NonZeroU64::new(4 * MIB);
        let drop_middle = || {
            rustix::fs::fadvise(&file, 2 * MIB, middle, rustix::fs::Advice::DontNeed).unwrap();
        };
        drop_until(drop_middle, || pages_cached(&file, 0, 8 * MIB) != Some(true));
        assert!(!samples_cached(&file, 0, 8 * MIB - 1));
        assert_eq!(resident(&file, 0, 2 * MIB), Residence::All);
    }
}
