//! What is known about a file.

use ringway::fs::{Statx, StatxFlags, StatxTimestamp};

use super::Attributes;
use super::dos_info::DosInfo;

/// A point in time: seconds since 1970 and nanoseconds.
pub type Time = (i64, u32);

/// Names a file while it exists: file system and inode.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct FileKey {
    /// The file system's device number.
    pub dev: u64,
    /// The inode number.
    pub ino: u64,
}

/// What is known about a file or directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metadata {
    /// Which it is.
    pub key: FileKey,
    /// Whether it is a directory, or a link to one.
    pub is_directory: bool,
    /// Bytes of content; 0 for a directory and for a link.
    pub size: u64,
    /// Bytes on disk; 0 for a directory and for a link.
    pub allocation_size: u64,
    /// How many names it has.
    pub links: u32,
    /// When it was made, as it was set or the file system tells; else its last change of content.
    pub created: Time,
    /// Last read.
    pub accessed: Time,
    /// Last written.
    pub modified: Time,
    /// Last change of content or attributes, or what a client has said instead.
    pub changed: Time,
    /// Without DIRECTORY, which `is_directory` says.
    pub attributes: Attributes,
    /// What kind of reparse point it is, if it is one. MS-FSCC 2.1.2.1.
    pub reparse_tag: Option<u32>,
    /// Its unix owner.
    pub uid: u32,
    /// Its unix group.
    pub gid: u32,
    /// Its nine permission bits, and the three above them.
    pub mode: u16,
}

/// Everything that [`Metadata`] is made of.
pub(super) const MASK: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

/// The kind of a file, as far as it is served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FileKind {
    Regular,
    Directory,
    Symlink,
    Other,
}

pub(super) fn kind(stat: &Statx) -> FileKind {
    match u32::from(stat.stx_mode) & libc::S_IFMT {
        libc::S_IFREG => FileKind::Regular,
        libc::S_IFDIR => FileKind::Directory,
        libc::S_IFLNK => FileKind::Symlink,
        _ => FileKind::Other,
    }
}

impl FileKey {
    pub(super) fn of(stat: &Statx) -> Self {
        Self {
            dev: u64::from(stat.stx_dev_major) << 32 | u64::from(stat.stx_dev_minor),
            ino: stat.stx_ino,
        }
    }
}

impl Metadata {
    pub(super) fn new(stat: &Statx, info: DosInfo) -> Self {
        let has_contents = kind(stat) == FileKind::Regular;
        let has_btime = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::BTIME);
        let modified = time(&stat.stx_mtime);
        let changed = info.changed.and_then(|changed| changed.valid(stat));
        let born = if has_btime { time(&stat.stx_btime) } else { modified };
        Self {
            key: FileKey::of(stat),
            is_directory: kind(stat) == FileKind::Directory,
            size: if has_contents { stat.stx_size } else { 0 },
            // stx_blocks counts 512 bytes whatever the file system's blocks are.
            allocation_size: if has_contents { stat.stx_blocks.saturating_mul(512) } else { 0 },
            links: stat.stx_nlink,
            created: info.created.unwrap_or(born),
            accessed: time(&stat.stx_atime),
            modified,
            changed: changed.unwrap_or_else(|| time(&stat.stx_ctime)),
            attributes: info.attributes,
            reparse_tag: info.reparse_tag,
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            mode: stat.stx_mode & 0o7777,
        }
    }
}

pub(super) fn time(time: &StatxTimestamp) -> Time {
    (time.tv_sec, time.tv_nsec)
}
