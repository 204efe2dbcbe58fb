//! The entries of a directory listing: one description of an entry, six layouts. MS-FSCC 2.4,
//! File…DirectoryInformation and FileNamesInformation.

use crate::wire::codec::{Malformed, Reader, Writer};
use crate::wire::filetime::FileTime;
use crate::wire::fscc::attributes::FileAttributes;
use crate::wire::fscc::chain::{self, Chain, DoesNotFit};
use crate::wire::fscc::file_info::{FileNameInfo, put_name};
use crate::wire::fscc::info_class::FileInfoClass;
use crate::wire::utf16::Utf16;

/// Everything any of the layouts tells about an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirEntry {
    pub file_index: u32,
    pub creation_time: FileTime,
    pub last_access_time: FileTime,
    pub last_write_time: FileTime,
    pub change_time: FileTime,
    pub end_of_file: u64,
    pub allocation_size: u64,
    pub file_attributes: FileAttributes,
    /// With a reparse point, its tag.
    pub ea_size: u32,
    /// 8.3, at most 12 characters; the rest is cut off.
    pub short_name: Utf16,
    pub file_id: u64,
    pub name: Utf16,
}

/// Collects entries of one layout, up to a limit.
#[derive(Clone, Debug)]
pub struct DirBuffer {
    layout: Layout,
    chain: Chain,
}

/// What the six classes differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Names,
    Directory,
    Full,
    Both,
    IdBoth,
    IdFull,
}

/// Bytes of the 8.3 name's field.
const SHORT_NAME_SIZE: usize = 24;

impl DirBuffer {
    /// An empty listing of at most `limit` bytes, or nothing if the class is not one of the six.
    pub fn new(class: FileInfoClass, limit: usize) -> Option<Self> {
        Some(Self { layout: Layout::of(class)?, chain: Chain::new(8, limit) })
    }

    /// Appends an entry, or leaves the listing as it was.
    pub fn push(&mut self, entry: &DirEntry) -> Result<(), DoesNotFit> {
        let layout = self.layout;
        self.chain.push(|w| entry.encode(layout, w))
    }

    pub fn is_empty(&self) -> bool {
        self.chain.is_empty()
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.chain.len()
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.chain.into_bytes()
    }
}

impl Layout {
    fn of(class: FileInfoClass) -> Option<Self> {
        Some(match class {
            FileInfoClass::NAMES => Self::Names,
            FileInfoClass::DIRECTORY => Self::Directory,
            FileInfoClass::FULL_DIRECTORY => Self::Full,
            FileInfoClass::BOTH_DIRECTORY => Self::Both,
            FileInfoClass::ID_BOTH_DIRECTORY => Self::IdBoth,
            FileInfoClass::ID_FULL_DIRECTORY => Self::IdFull,
            _ => return None,
        })
    }

    fn has_ea_size(self) -> bool {
        self != Self::Directory
    }

    fn has_short_name(self) -> bool {
        matches!(self, Self::Both | Self::IdBoth)
    }

    /// Padding before the file id, in the layouts that have one: it starts at a multiple of 8.
    fn file_id_padding(self) -> Option<usize> {
        match self {
            Self::IdBoth => Some(2),
            Self::IdFull => Some(4),
            Self::Names | Self::Directory | Self::Full | Self::Both => None,
        }
    }
}

impl DirEntry {
    /// The entries of a listing; an empty one has none. Fields that the class lacks are left at 0.
    pub fn decode_all(class: FileInfoClass, listing: &[u8]) -> Result<Vec<Self>, Malformed> {
        const WHAT: &str = "directory listing";
        let layout = Layout::of(class).ok_or(Malformed::new(WHAT))?;
        chain::decode(listing, WHAT, |r| Self::decode(layout, r))
    }

    fn decode(layout: Layout, r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let file_index = r.u32()?;
        if layout == Layout::Names {
            let name = FileNameInfo::decode(r)?.name;
            return Ok(Self { file_index, name, ..Self::default() });
        }
        let mut entry = Self {
            file_index,
            creation_time: FileTime::decode(r)?,
            last_access_time: FileTime::decode(r)?,
            last_write_time: FileTime::decode(r)?,
            change_time: FileTime::decode(r)?,
            end_of_file: r.u64()?,
            allocation_size: r.u64()?,
            file_attributes: FileAttributes::from_bits_retain(r.u32()?),
            ..Self::default()
        };
        let name_length = r.length()?;
        if layout.has_ea_size() {
            entry.ea_size = r.u32()?;
        }
        if layout.has_short_name() {
            entry.short_name = decode_short_name(r)?;
        }
        if let Some(padding) = layout.file_id_padding() {
            r.skip(padding)?;
            entry.file_id = r.u64()?;
        }
        entry.name = Utf16::decode(r.take(name_length)?)?;
        Ok(entry)
    }

    /// Everything behind `NextEntryOffset`.
    fn encode(&self, layout: Layout, w: &mut Writer<'_>) {
        w.put_u32(self.file_index);
        if layout == Layout::Names {
            put_name(&self.name, w);
            return;
        }
        self.creation_time.encode(w);
        self.last_access_time.encode(w);
        self.last_write_time.encode(w);
        self.change_time.encode(w);
        w.put_u64(self.end_of_file);
        w.put_u64(self.allocation_size);
        w.put_u32(self.file_attributes.bits());
        w.put_length_u32(self.name.byte_len());
        if layout.has_ea_size() {
            w.put_u32(self.ea_size);
        }
        if layout.has_short_name() {
            encode_short_name(&self.short_name, w);
        }
        if let Some(padding) = layout.file_id_padding() {
            w.put_zeros(padding);
            w.put_u64(self.file_id);
        }
        self.name.encode(w);
    }
}

fn decode_short_name(r: &mut Reader<'_>) -> Result<Utf16, Malformed> {
    let length = usize::from(r.u8()?);
    r.skip(1)?;
    let field: [u8; SHORT_NAME_SIZE] = r.array()?;
    Utf16::decode(field.get(..length).ok_or_else(|| r.malformed())?)
}

fn encode_short_name(name: &Utf16, w: &mut Writer<'_>) {
    let mut field = [0; SHORT_NAME_SIZE];
    let mut length = 0_u8;
    for (to, unit) in field.as_chunks_mut::<2>().0.iter_mut().zip(&name.0) {
        *to = unit.to_le_bytes();
        length = length.saturating_add(2);
    }
    w.put_u8(length);
    w.put_u8(0);
    w.put_bytes(&field);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str) -> DirEntry {
        DirEntry { name: Utf16::from_str(name), ..DirEntry::default() }
    }

    #[test]
    fn names_start_where_ms_fscc_puts_them() {
        for (class, fixed) in [
            (FileInfoClass::DIRECTORY, 64),
            (FileInfoClass::FULL_DIRECTORY, 68),
            (FileInfoClass::BOTH_DIRECTORY, 94),
            (FileInfoClass::NAMES, 12),
            (FileInfoClass::ID_BOTH_DIRECTORY, 104),
            (FileInfoClass::ID_FULL_DIRECTORY, 80),
        ] {
            let mut buffer = DirBuffer::new(class, 4096).expect("a class for listings");
            buffer.push(&entry("name")).expect("it fits");
            let bytes = buffer.into_bytes();
            assert_eq!(bytes.len(), fixed + 8, "{class}");
            assert_eq!(&bytes[fixed..], b"n\0a\0m\0e\0", "{class}");
        }
        assert!(DirBuffer::new(FileInfoClass::BASIC, 4096).is_none());
    }

    #[test]
    fn an_entry_that_does_not_fit_leaves_the_listing_as_it_was() {
        // Two entries of 12 + 2 bytes, the second at a multiple of 8.
        let mut buffer = DirBuffer::new(FileInfoClass::NAMES, 30).expect("a class for listings");
        assert_eq!(buffer.push(&entry("a")), Ok(()));
        assert_eq!(buffer.push(&entry("bc")), Err(DoesNotFit));
        assert_eq!(buffer.len(), 14);
        assert_eq!(buffer.push(&entry("b")), Ok(()));
        let bytes = buffer.into_bytes();
        assert_eq!(bytes.len(), 30);
        assert_eq!((bytes[0], bytes[16]), (16, 0), "the first leads to the second, that nowhere");
    }

    #[test]
    fn a_short_name_longer_than_its_field_is_cut_off() {
        let short_name = Utf16::from_str("LONGER~1.TEXT");
        let long = DirEntry { short_name, ..entry("longer than that.text") };
        let class = FileInfoClass::BOTH_DIRECTORY;
        let mut buffer = DirBuffer::new(class, 4096).expect("a class for listings");
        buffer.push(&long).expect("it fits");
        let entries = DirEntry::decode_all(class, &buffer.into_bytes()).expect("a listing");
        assert_eq!(entries[0].short_name.to_string(), "LONGER~1.TEX");
    }
}
