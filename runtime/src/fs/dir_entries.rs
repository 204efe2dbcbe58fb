//! What `getdents64` filled a buffer with.

use std::ffi::CStr;

use rustix::fs::FileType;

/// Iterates over the entries in `buf`, which [`File::read_dir`](super::File::read_dir) has filled.
///
/// It ends at the first record that is not whole, so a buffer from elsewhere is harmless.
#[must_use]
pub fn dir_entries(buf: &[u8]) -> DirEntries<'_> {
    DirEntries { rest: buf }
}

/// See [`dir_entries`].
#[derive(Clone, Debug)]
pub struct DirEntries<'a> {
    rest: &'a [u8],
}

/// One name in a directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DirEntry<'a> {
    /// The inode number.
    pub ino: u64,
    /// Where the entry after this one starts, for the directory's own use.
    pub offset: u64,
    /// What it is; `Unknown` where the file system does not say.
    pub file_type: FileType,
    /// The name; `.` and `..` are among them.
    pub name: &'a CStr,
}

impl<'a> Iterator for DirEntries<'a> {
    type Item = DirEntry<'a>;

    /// A record: inode and next offset (8 bytes each), its own length (2), type (1), name with a NUL.
    fn next(&mut self) -> Option<DirEntry<'a>> {
        let (ino, rest) = self.rest.split_first_chunk()?;
        let (offset, rest) = rest.split_first_chunk()?;
        let (len, rest) = rest.split_first_chunk()?;
        let (&kind, _) = rest.split_first()?;
        let (record, after) = self.rest.split_at_checked(usize::from(ne_u16(*len)))?;
        let name = CStr::from_bytes_until_nul(record.get(NAME_OFFSET..)?).ok()?;
        self.rest = after;
        Some(DirEntry {
            ino: ne_u64(*ino),
            offset: ne_u64(*offset),
            file_type: kind_of(kind),
            name,
        })
    }
}

const NAME_OFFSET: usize = 19;

#[expect(clippy::host_endian_bytes, reason = "the kernel speaks the host's byte order")]
fn ne_u16(bytes: [u8; 2]) -> u16 {
    u16::from_ne_bytes(bytes)
}

#[expect(clippy::host_endian_bytes, reason = "the kernel speaks the host's byte order")]
fn ne_u64(bytes: [u8; 8]) -> u64 {
    u64::from_ne_bytes(bytes)
}

fn kind_of(kind: u8) -> FileType {
    match kind {
        libc::DT_REG => FileType::RegularFile,
        libc::DT_DIR => FileType::Directory,
        libc::DT_LNK => FileType::Symlink,
        libc::DT_FIFO => FileType::Fifo,
        libc::DT_SOCK => FileType::Socket,
        libc::DT_CHR => FileType::CharacterDevice,
        libc::DT_BLK => FileType::BlockDevice,
        _ => FileType::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One record, as the kernel lays it out: padded to eight bytes.
    #[expect(clippy::host_endian_bytes, reason = "the kernel speaks the host's byte order")]
    fn record(ino: u64, kind: u8, name: &[u8]) -> Vec<u8> {
        let len = (19 + name.len() + 1).next_multiple_of(8);
        let mut record = ino.to_ne_bytes().to_vec();
        record.extend(77_u64.to_ne_bytes());
        record.extend((len as u16).to_ne_bytes());
        record.push(kind);
        record.extend(name);
        record.resize(len, 0);
        record
    }

    #[test]
    fn records_are_read_in_order() {
        let mut buf = record(2, libc::DT_DIR, b"..");
        buf.extend(record(3, libc::DT_REG, b"a longer name"));
        let entries: Vec<_> = dir_entries(&buf).collect();
        assert_eq!(entries.len(), 2);
        assert_eq!((entries[0].ino, entries[0].file_type), (2, FileType::Directory));
        assert_eq!((entries[1].name, entries[1].offset), (c"a longer name", 77));
    }

    #[test]
    fn a_buffer_cut_anywhere_gives_only_whole_records() {
        let mut buf = record(2, libc::DT_DIR, b"..");
        let first = buf.len();
        buf.extend(record(3, libc::DT_REG, b"name"));
        for cut in 0..=buf.len() {
            let whole = usize::from(cut >= first) + usize::from(cut == buf.len());
            assert_eq!(dir_entries(&buf[..cut]).count(), whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_record_that_claims_no_length_or_has_no_nul_ends_the_listing() {
        let mut no_length = record(1, libc::DT_REG, b"x");
        no_length[16..18].fill(0);
        assert_eq!(dir_entries(&no_length).count(), 0);
        let mut no_nul = record(1, libc::DT_REG, b"x");
        no_nul[19..].fill(b'x');
        assert_eq!(dir_entries(&no_nul).count(), 0);
    }
}
