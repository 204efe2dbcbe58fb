//! What SMB knows about a file and unix does not, in the extended attribute `user.DOSATTRIB`, in the forms
//! that Samba reads and writes too: attributes as a text (`0x22`) while there is no more to say, with the
//! time of creation as a structure. Behind that, a time of change that a client has set: that is ours alone,
//! and Samba passes over it.

use std::ffi::CStr;
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use ringway::fs::{File, Statx};

use super::attributes::OWNER_WRITE;
use super::metadata::{self, FileKind, Time, kind};
use super::{Attributes, reparse};

const XATTR: &CStr = c"user.DOSATTRIB";

/// Longer than any value that is understood.
const XATTR_LEN_MAX: usize = 64;

/// The permission bits that READONLY takes away.
const WRITE_BITS: u32 = 0o222;

/// Members of the structure that are valid.
const ATTRIBUTES_VALID: u32 = 0x01;
const CREATED_VALID: u32 = 0x10;

/// What is stored for a file, or stands for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DosInfo {
    pub(super) attributes: Attributes,
    /// When it was made, if somebody has set that; otherwise the file system knows.
    pub(super) created: Option<Time>,
    /// When it was changed, if somebody has set that.
    pub(super) changed: Option<SetChange>,
    /// Of a reparse point; kept apart.
    pub(super) reparse_tag: Option<u32>,
}

/// A time of change that somebody has set. A file system of Linux keeps its own, so this one counts for as
/// long as that has not moved on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SetChange {
    time: Time,
    /// The time of the last write by then.
    modified: Time,
    /// The latest time of change, by the file system, of what was done to set this.
    until: Time,
}

/// How long storing a time of change may take, in seconds; if it takes longer, the time does not count.
const SETTING_MAX: i64 = 1;

impl SetChange {
    /// Of a file as it is, to be stored at once.
    pub(super) fn new(time: Time, stat: &Statx) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let until = (seconds.saturating_add(SETTING_MAX), now.subsec_nanos());
        Self { time, modified: metadata::time(&stat.stx_mtime), until }
    }

    /// The time, if nothing else has changed the file since.
    pub(super) fn valid(&self, stat: &Statx) -> Option<Time> {
        // What is stored are whole steps of 100 ns.
        let modified = to_filetime(metadata::time(&stat.stx_mtime));
        let same = to_filetime(self.modified) == modified;
        (same && metadata::time(&stat.stx_ctime) <= self.until).then_some(self.time)
    }
}

impl DosInfo {
    /// Of a file called `name` for which nothing is stored.
    pub(super) fn default_for(stat: &Statx, name: &str) -> Self {
        let attributes = Attributes::default_for(stat, name);
        let reparse_tag = (kind(stat) == FileKind::Symlink).then_some(reparse::SYMLINK);
        Self { attributes, created: None, changed: None, reparse_tag }
    }

    /// That of an open file called `name`. What cannot be read is as if it were not there.
    ///
    /// Read as the process, as in a listing: attributes are not contents, for which unix has a permission.
    /// The value lies in the inode, which is in memory since the file was opened, or else in one block beside it.
    pub(super) async fn read(file: &File, stat: &Statx, name: &str) -> Self {
        let file = &file.with_identity(None);
        let (result, value) = file.get_xattr(XATTR, Vec::with_capacity(XATTR_LEN_MAX)).await;
        let stored = result.ok().and_then(|_| Self::parse(&value));
        let mut info = stored.unwrap_or_else(|| Self::default_for(stat, name)).with_stat(stat);
        if info.is_reparse_point() && info.reparse_tag.is_none() {
            let data = reparse::load(file).await.ok().flatten();
            info.reparse_tag = data.as_deref().and_then(reparse::tag_of);
        }
        info.settled()
    }

    fn is_reparse_point(self) -> bool {
        self.attributes.contains(Attributes::REPARSE_POINT)
    }

    /// What says that it is a reparse point and has nothing to show for it is none.
    fn settled(mut self) -> Self {
        self.attributes.set(Attributes::REPARSE_POINT, self.reparse_tag.is_some());
        self
    }

    /// What is stored for the file at a path. A link is not followed. Blocks.
    pub(super) fn stored_at(path: &str) -> Option<Self> {
        let mut value = [0; XATTR_LEN_MAX];
        let len = rustix::fs::lgetxattr(path, XATTR, &mut value).ok()?;
        let mut info = Self::parse(value.get(..len)?)?;
        if info.is_reparse_point() {
            info.reparse_tag = reparse::tag_at(path);
        }
        Some(info.settled())
    }

    /// Whether an extended attribute of this name has it.
    pub(super) fn is_stored_in(attribute: &[u8]) -> bool {
        attribute == XATTR.to_bytes()
    }

    pub(super) fn with_stat(self, stat: &Statx) -> Self {
        Self { attributes: self.attributes.with_stat(stat), ..self }
    }

    /// Stores it in an open file. A file system without extended attributes keeps READONLY only.
    ///
    /// Taking READONLY away gives the permission to write back to the owner alone: who else had it is
    /// not known any more.
    pub(super) async fn write(self, file: &File, stat: &Statx) -> io::Result<()> {
        if kind(stat) == FileKind::Directory {
            // Windows adds and removes files in a directory that is READONLY; its mode would not let it.
            return self.write_xattr(file).await;
        }
        let mode = u32::from(stat.stx_mode) & 0o7777;
        let read_only = self.attributes.contains(Attributes::READONLY);
        // The kernel lets nobody but root change extended attributes of what he may not write, not
        // even the owner: so these come before READONLY, and after the end of an earlier one. Who is to
        // set READONLY and does not own the file learns that here, before anything has changed.
        if mode & OWNER_WRITE == 0 || read_only {
            file.chmod(mode | OWNER_WRITE).await?;
        }
        self.write_xattr(file).await?;
        if read_only { file.chmod(mode & !WRITE_BITS).await } else { Ok(()) }
    }

    async fn write_xattr(self, file: &File) -> io::Result<()> {
        match file.set_xattr(XATTR, self.encode()).await {
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(()),
            result => result,
        }
    }

    /// Samba's later forms begin with the same text, or an empty one, behind it a NUL and a structure;
    /// where the text is empty, everything is in the structure.
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        let text = value.split(|byte| *byte == 0).next()?;
        if text.is_empty() {
            return Self::parse_structure(value);
        }
        let digits = std::str::from_utf8(text).ok()?.strip_prefix("0x")?;
        let bits = u32::from_str_radix(digits, 16).ok()?;
        let attributes = Attributes::from_bits_truncate(bits) & Attributes::STORED;
        Some(Self { attributes, created: None, changed: None, reparse_tag: None })
    }

    /// Little-endian, after the empty text and one byte of padding: the version (2 bytes), the same
    /// again, 2 of padding, which members are valid (4), the attributes (4). So in versions 3, 4 and 5.
    /// Then the time of creation as a FILETIME in version 5, behind another time in version 4. Behind that
    /// of version 5 the three times of [`SetChange`], if there are any.
    fn parse_structure(value: &[u8]) -> Option<Self> {
        let u16_at = |at| Some(u16::from_le_bytes(*value.get(at..)?.first_chunk()?));
        let u32_at = |at| Some(u32::from_le_bytes(*value.get(at..)?.first_chunk()?));
        let u64_at = |at| Some(u64::from_le_bytes(*value.get(at..)?.first_chunk()?));
        let version = u16_at(2)?;
        let (known, valid) = ((3..=5).contains(&version) && u16_at(4)? == version, u32_at(8)?);
        if !known || valid & ATTRIBUTES_VALID == 0 {
            return None;
        }
        let created = match version {
            5 => u64_at(16),
            4 => u64_at(24),
            _ => None,
        };
        let created = created.filter(|time| valid & CREATED_VALID != 0 && *time != 0);
        let attributes = Attributes::from_bits_truncate(u32_at(12)?) & Attributes::STORED;
        let time_at = |at| u64_at(at).map(from_filetime);
        let changed = match (version, time_at(24), time_at(32), time_at(40)) {
            (5, Some(time), Some(modified), Some(until)) => {
                Some(SetChange { time, modified, until })
            }
            _ => None,
        };
        let created = created.map(from_filetime);
        Some(Self { attributes, created, changed, reparse_tag: None })
    }

    pub(crate) fn encode(self) -> Vec<u8> {
        let bits = (self.attributes & Attributes::STORED).bits();
        if self.created.is_none() && self.changed.is_none() {
            return format!("{bits:#x}").into_bytes();
        }
        let created_valid = if self.created.is_some() { CREATED_VALID } else { 0 };
        let mut value = b"\0\0\x05\0\x05\0\0\0".to_vec();
        value.extend_from_slice(&(ATTRIBUTES_VALID | created_valid).to_le_bytes());
        value.extend_from_slice(&bits.to_le_bytes());
        value.extend_from_slice(&self.created.map_or(0, to_filetime).to_le_bytes());
        let changed = self.changed.map(|changed| [changed.time, changed.modified, changed.until]);
        for time in changed.into_iter().flatten() {
            value.extend_from_slice(&to_filetime(time).to_le_bytes());
        }
        value
    }
}

/// Seconds from 1601, where FILETIME begins, to 1970: 369 years with 89 leap days.
const SECONDS_TO_1970: i128 = (369 * 365 + 89) * 86_400;
const STEPS_PER_SECOND: i128 = 10_000_000;

fn from_filetime(time: u64) -> Time {
    let seconds = i128::from(time).div_euclid(STEPS_PER_SECOND) - SECONDS_TO_1970;
    let nanoseconds = i128::from(time).rem_euclid(STEPS_PER_SECOND) * 100;
    (i64::try_from(seconds).unwrap_or(i64::MAX), u32::try_from(nanoseconds).unwrap_or_default())
}

/// What lies before 1601 is 1601.
fn to_filetime((seconds, nanoseconds): Time) -> u64 {
    let steps = (i128::from(seconds) + SECONDS_TO_1970) * STEPS_PER_SECOND;
    u64::try_from(steps + i128::from(nanoseconds / 100)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(value: &[u8]) -> Option<Attributes> {
        DosInfo::parse(value).map(|info| info.attributes)
    }

    #[test]
    fn the_textual_form_is_read_and_anything_else_is_ignored() {
        assert_eq!(attributes(b"0x22"), Some(Attributes::HIDDEN | Attributes::ARCHIVE));
        assert_eq!(attributes(b"0x10\0\0\x03"), Some(Attributes::empty()));
        for other in [&b""[..], b"22", b"0x", b"0xzz", b"\0\0\x04\0", b"\xff\xfe"] {
            assert_eq!(attributes(other), None, "{other:?}");
        }
    }

    /// Values as Samba servers have left them on disk: version 3 with the text, version 4 without.
    #[test]
    fn sambas_later_forms_are_read() {
        let version_3 =
            b"0x20\0\0\x03\0\x03\0\0\0\x11\0\0\0\x20\0\0\0\x0a\x39\x99\xcd\xb6\xa6\xcc\x01";
        assert_eq!(attributes(version_3), Some(Attributes::ARCHIVE));
        let version_4 = b"\0\0\x04\0\x04\0\0\0\x51\0\0\0\x26\0\0\0\x90\xd6\x5e\x1f\x9b\x2b\xd5\x01";
        let expected = Attributes::HIDDEN | Attributes::SYSTEM | Attributes::ARCHIVE;
        assert_eq!(attributes(version_4), Some(expected));
        for cut in 0..16 {
            assert_eq!(attributes(&version_4[..cut]), None, "{cut}");
        }
        let unknown = b"\0\0\x09\0\x09\0\0\0\x01\0\0\0\x02\0\0\0";
        let invalid = b"\0\0\x05\0\x05\0\0\0\x10\0\0\0\x02\0\0\0";
        assert_eq!((attributes(unknown), attributes(invalid)), (None, None));
    }

    /// 2026-01-02 00:00 is 134 117 856 000 000 000 steps after 1601.
    #[test]
    fn the_time_of_creation_is_kept_in_version_5() {
        let created = Some((1_767_312_000, 700));
        let attributes = Attributes::HIDDEN;
        let info = DosInfo { attributes, created, changed: None, reparse_tag: None };
        let value = info.encode();
        assert_eq!(value[..16], *b"\0\0\x05\0\x05\0\0\0\x11\0\0\0\x02\0\0\0");
        assert_eq!(value[16..], 134_117_856_000_000_007_u64.to_le_bytes());
        assert_eq!(DosInfo::parse(&value), Some(info));
        let plain = DosInfo { created: None, ..info };
        assert_eq!(plain.encode(), b"0x2");
        assert_eq!(DosInfo::parse(b"0x2"), Some(plain));
    }

    #[test]
    fn a_set_time_of_change_stands_behind_what_samba_reads() {
        let (time, modified, until) = ((1_767_312_000, 700), (5, 0), (6, 100));
        let changed = Some(SetChange { time, modified, until });
        for created in [None, Some((1, 0))] {
            let attributes = Attributes::SYSTEM;
            let info = DosInfo { attributes, created, changed, reparse_tag: None };
            let value = info.encode();
            assert_eq!(value[24..32], 134_117_856_000_000_007_u64.to_le_bytes());
            assert_eq!(DosInfo::parse(&value), Some(info));
            let cut = DosInfo { changed: None, ..info };
            assert_eq!(DosInfo::parse(&value[..47]), Some(cut));
        }
    }
}
