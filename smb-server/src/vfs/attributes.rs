//! DOS attributes on a unix file system.
//!
//! READONLY is the absence of the owner's write permission. The others live in the extended
//! attribute `user.DOSATTRIB`, in the textual form that Samba reads too (`0x22`). A file without it
//! has ARCHIVE (nobody has backed it up yet), and HIDDEN if its name begins with a dot.

use std::ffi::CStr;
use std::io;

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

    pub(super) fn with_mode(mut self, stat: &Statx) -> Self {
        let read_only = kind(stat) == FileKind::Regular && u32::from(stat.stx_mode) & 0o200 == 0;
        self.set(Self::READONLY, read_only);
        self
    }

    /// Stores them in an open file. A file system without extended attributes keeps READONLY only.
    pub(super) async fn write(self, file: &File, stat: &Statx) -> io::Result<()> {
        let mode = u32::from(stat.stx_mode) & 0o7777;
        let wanted = match (kind(stat), self.contains(Self::READONLY)) {
            // On a directory it means nothing to Windows, and would close it on unix.
            (FileKind::Directory, _) => mode,
            (_, true) => mode & !WRITE_BITS,
            (_, false) if mode & 0o200 == 0 => mode | 0o200,
            (_, false) => mode,
        };
        if wanted != mode {
            file.chmod(wanted).await?;
        }
        let value = format!("{:#x}", self.difference(Self::READONLY).bits()).into_bytes();
        match file.set_xattr(XATTR, value).await {
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(()),
            result => result,
        }
    }
}

/// The textual form. Samba's binary form begins with the same text, as a string behind its length.
fn parse(value: &[u8]) -> Option<Attributes> {
    let text = value.split(|byte| *byte == 0).next()?;
    let digits = std::str::from_utf8(text).ok()?.strip_prefix("0x")?;
    let kept = Attributes::all().difference(Attributes::READONLY);
    Some(Attributes::from_bits_truncate(u32::from_str_radix(digits, 16).ok()?) & kept)
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
}
