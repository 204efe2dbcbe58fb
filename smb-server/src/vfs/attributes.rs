//! DOS attributes on a unix file system.
//!
//! READONLY is the absence of the owner's write permission. The others live in the extended
//! attribute `user.DOSATTRIB`, in the textual form that Samba reads too (`0x22`). A file without it
//! has ARCHIVE (nobody has backed it up yet), and HIDDEN if its name begins with a dot.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use bitflags::bitflags;
use ringway::fs::{File, Statx};

use super::metadata::{FileKind, kind};

bitflags! {
    /// The attributes that a file keeps; the numbers are those of MS-FSCC 2.6.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Attributes: u32 {
        /// It is not to be changed or deleted.
        const READONLY = 0x01;
        /// It is left out of ordinary listings.
        const HIDDEN = 0x02;
        /// The operating system's own.
        const SYSTEM = 0x04;
        /// Changed since the last backup.
        const ARCHIVE = 0x20;
    }
}

const XATTR: &CStr = c"user.DOSATTRIB";

/// Longer than any value that is understood.
const XATTR_LEN_MAX: usize = 64;

/// The permission whose absence is READONLY.
pub(super) const OWNER_WRITE: u32 = 0o200;

/// The permission bits that READONLY takes away.
const WRITE_BITS: u32 = 0o222;

impl Attributes {
    /// Those of a file whose `user.DOSATTRIB` is missing.
    pub(super) fn default_for(stat: &Statx, name: &str) -> Self {
        let mut attributes = Self::empty();
        attributes.set(Self::ARCHIVE, kind(stat) == FileKind::Regular);
        attributes.set(Self::HIDDEN, name.starts_with('.') && name != "." && name != "..");
        attributes
    }

    /// Reads those of an open file called `name`. What cannot be read is as if it were not there.
    pub(super) async fn read(file: &File, stat: &Statx, name: &str) -> Self {
        let (result, value) = file.get_xattr(XATTR, Vec::with_capacity(XATTR_LEN_MAX)).await;
        let stored = result.ok().and_then(|_| parse(&value));
        Self::with_mode(stored.unwrap_or_else(|| Self::default_for(stat, name)), stat)
    }

    /// What is stored for `name` in `directory`, without opening it and without following a link.
    ///
    /// Blocks. It goes by way of `/proc`, as only the newest kernels have `getxattrat`; and it is done
    /// as the process, which tells no more than that a file is hidden.
    pub(super) fn stored_at(directory: &File, name: &str) -> Option<Self> {
        if name == ".." {
            // It may be above the share.
            return None;
        }
        let path = format!("/proc/self/fd/{}/{name}", directory.as_fd().as_raw_fd());
        let mut value = [0; XATTR_LEN_MAX];
        let len = rustix::fs::lgetxattr(path, XATTR, &mut value).ok()?;
        parse(value.get(..len)?)
    }

    pub(super) fn with_mode(mut self, stat: &Statx) -> Self {
        let read_only =
            kind(stat) == FileKind::Regular && u32::from(stat.stx_mode) & OWNER_WRITE == 0;
        self.set(Self::READONLY, read_only);
        self
    }

    /// Stores them in an open file. A file system without extended attributes keeps READONLY only.
    ///
    /// Taking READONLY away gives the permission to write back to the owner alone: who else had it is
    /// not known any more.
    pub(super) async fn write(self, file: &File, stat: &Statx) -> io::Result<()> {
        if kind(stat) == FileKind::Directory {
            // READONLY means nothing to Windows here, and would close the directory on unix.
            return self.write_xattr(file).await;
        }
        let mode = u32::from(stat.stx_mode) & 0o7777;
        // The kernel lets nobody but root change extended attributes of what he may not write, not
        // even the owner: so these come before READONLY, and after the end of an earlier one. Who is to
        // set READONLY and does not own the file learns that here, before anything has changed.
        if mode & OWNER_WRITE == 0 || self.contains(Self::READONLY) {
            file.chmod(mode | OWNER_WRITE).await?;
        }
        self.write_xattr(file).await?;
        if self.contains(Self::READONLY) { file.chmod(mode & !WRITE_BITS).await } else { Ok(()) }
    }

    async fn write_xattr(self, file: &File) -> io::Result<()> {
        let value = format!("{:#x}", self.difference(Self::READONLY).bits()).into_bytes();
        match file.set_xattr(XATTR, value).await {
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(()),
            result => result,
        }
    }
}

/// The textual form. Samba's later forms begin with the same text, or an empty one, behind it a NUL
/// and a structure; where the text is empty, the number is in the structure.
fn parse(value: &[u8]) -> Option<Attributes> {
    let text = value.split(|byte| *byte == 0).next()?;
    let bits = if text.is_empty() {
        parse_structure(value)?
    } else {
        let digits = std::str::from_utf8(text).ok()?.strip_prefix("0x")?;
        u32::from_str_radix(digits, 16).ok()?
    };
    let kept = Attributes::all().difference(Attributes::READONLY);
    Some(Attributes::from_bits_truncate(bits) & kept)
}

/// Little-endian, after the empty text and one byte of padding: the version (2 bytes), the same again,
/// 2 of padding, which members are valid (4), the attributes (4). So in versions 3, 4 and 5.
fn parse_structure(value: &[u8]) -> Option<u32> {
    const ATTRIBUTES_VALID: u32 = 1;
    let u16_at = |at| Some(u16::from_le_bytes(*value.get(at..)?.first_chunk()?));
    let u32_at = |at| Some(u32::from_le_bytes(*value.get(at..)?.first_chunk()?));
    let version = u16_at(2)?;
    let known = (3..=5).contains(&version) && u16_at(4)? == version;
    if known && u32_at(8)? & ATTRIBUTES_VALID != 0 { u32_at(12) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_textual_form_is_read_and_anything_else_is_ignored() {
        assert_eq!(parse(b"0x22"), Some(Attributes::HIDDEN | Attributes::ARCHIVE));
        assert_eq!(parse(b"0x10\0\0\x03"), Some(Attributes::empty()));
        for other in [&b""[..], b"22", b"0x", b"0xzz", b"\0\0\x04\0", b"\xff\xfe"] {
            assert_eq!(parse(other), None, "{other:?}");
        }
    }

    /// Values as Samba servers have left them on disk: version 3 with the text, version 4 without.
    #[test]
    fn sambas_later_forms_are_read() {
        let version_3 =
            b"0x20\0\0\x03\0\x03\0\0\0\x11\0\0\0\x20\0\0\0\x0a\x39\x99\xcd\xb6\xa6\xcc\x01";
        assert_eq!(parse(version_3), Some(Attributes::ARCHIVE));
        let version_4 = b"\0\0\x04\0\x04\0\0\0\x51\0\0\0\x26\0\0\0\x90\xd6\x5e\x1f\x9b\x2b\xd5\x01";
        let expected = Attributes::HIDDEN | Attributes::SYSTEM | Attributes::ARCHIVE;
        assert_eq!(parse(version_4), Some(expected));
        for cut in 0..16 {
            assert_eq!(parse(&version_4[..cut]), None, "{cut}");
        }
        let unknown = b"\0\0\x09\0\x09\0\0\0\x01\0\0\0\x02\0\0\0";
        let invalid = b"\0\0\x05\0\x05\0\0\0\x10\0\0\0\x02\0\0\0";
        assert_eq!((parse(unknown), parse(invalid)), (None, None));
    }
}
