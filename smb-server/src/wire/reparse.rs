//! Reparse points: what FSCTL_SET_REPARSE_POINT and the like carry, MS-FSCC 2.1.2, and what a client is told whose
//! path leads through a symbolic link, MS-SMB2 2.2.2.2.1.

use super::codec::{Malformed, Reader, Writer};
use super::utf16::Utf16;

const WHAT: &str = "reparse point";

open_enum! {
    /// MS-FSCC 2.1.2.1.
    pub struct ReparseTag(u32) {
        MOUNT_POINT = 0xa000_0003,
        SYMLINK = 0xa000_000c,
        NFS = 0x8000_0014,
        LX_SYMLINK = 0xa000_001d,
        AF_UNIX = 0x8000_0023,
        LX_FIFO = 0x8000_0024,
        LX_CHR = 0x8000_0025,
        LX_BLK = 0x8000_0026,
    }
}

impl ReparseTag {
    /// Those of others than Microsoft come with a GUID.
    pub fn is_microsoft(self) -> bool {
        self.0 & 0x8000_0000 != 0
    }

    /// 0 and 1 are no tags.
    pub fn is_reserved(self) -> bool {
        self.0 <= 1
    }
}

/// MS-FSCC 2.1.2.2 and 2.1.2.3: what is in front of the data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReparseHeader {
    pub tag: ReparseTag,
    /// Of a tag that is not Microsoft's.
    pub guid: Option<[u8; 16]>,
    /// Bytes behind this.
    pub data_length: usize,
}

impl ReparseHeader {
    /// The longest reparse point, MAXIMUM_REPARSE_DATA_BUFFER_SIZE.
    pub const WHOLE_MAX: usize = 16 * 1024;

    /// Reads the header of a whole reparse point: what follows has the length that it says.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(bytes, WHAT);
        let tag = ReparseTag(r.u32()?);
        let data_length = usize::from(r.u16()?);
        r.skip(2)?;
        let guid = if tag.is_microsoft() { None } else { Some(r.array()?) };
        match r.remaining() == data_length {
            true => Ok(Self { tag, guid, data_length }),
            false => Err(r.malformed()),
        }
    }
}

/// MS-FSCC 2.1.2.4: the data of the tag `SYMLINK`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SymbolicLink {
    /// Where it leads.
    pub substitute: Utf16,
    /// The same, for people to read.
    pub print: Utf16,
    /// From the directory that the link is in.
    pub relative: bool,
}

/// SYMLINK_FLAG_RELATIVE; the bits above say what may be followed, to those who store them.
const RELATIVE: u32 = 1;

/// Offsets, lengths and flags of a symbolic link.
const LINK_FIXED: usize = 12;

impl SymbolicLink {
    /// Reads a whole reparse point, which has that tag.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let header = ReparseHeader::decode(bytes)?;
        let mut r = Reader::new(bytes, WHAT);
        if header.tag != ReparseTag::SYMLINK {
            return Err(r.malformed());
        }
        r.skip(8)?;
        let substitute = (r.u16()?, r.u16()?);
        let print = (r.u16()?, r.u16()?);
        let relative = r.u32()? & RELATIVE != 0;
        let malformed = r.malformed();
        let names = r.rest();
        let name = |(offset, length): (u16, u16)| {
            let behind = names.get(usize::from(offset)..).ok_or(malformed)?;
            Utf16::decode(behind.get(..usize::from(length)).ok_or(malformed)?)
        };
        Ok(Self { substitute: name(substitute)?, print: name(print)?, relative })
    }

    /// The whole reparse point.
    pub fn encode(&self, w: &mut Writer<'_>) {
        self.encode_behind(0, w);
    }

    /// `unparsed` stands where a reparse point has nothing.
    fn encode_behind(&self, unparsed: usize, w: &mut Writer<'_>) {
        let (substitute, print) = (self.substitute.to_bytes(), self.print.to_bytes());
        let names = substitute.len().saturating_add(print.len());
        w.put_u32(ReparseTag::SYMLINK.0);
        w.put_length_u16(names.saturating_add(LINK_FIXED));
        w.put_length_u16(unparsed);
        w.put_u16(0);
        w.put_length_u16(substitute.len());
        w.put_length_u16(substitute.len());
        w.put_length_u16(print.len());
        w.put_u32(if self.relative { RELATIVE } else { 0 });
        w.put_bytes(&substitute);
        w.put_bytes(&print);
    }
}

/// MS-SMB2 2.2.2.2.1: the error data of `STOPPED_ON_SYMLINK`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SymlinkError {
    pub link: SymbolicLink,
    /// Bytes of the path behind the link, with the separator.
    pub unparsed: usize,
}

/// SymLinkErrorTag.
const SYMLINK_ERROR: u32 = 0x4c4d_5953;

impl SymlinkError {
    pub fn encode(&self, w: &mut Writer<'_>) {
        let mut link = Vec::new();
        self.link.encode_behind(self.unparsed, &mut Writer::new(&mut link));
        w.put_length_u32(link.len().saturating_add(4));
        w.put_u32(SYMLINK_ERROR);
        w.put_bytes(&link);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Windows stores a link to `bar`: the buffer that Samba tests its reader with.
    const WINDOWS: &[u8] =
        b"\x0c\0\0\xa0\x18\0\0\0\x06\0\x06\0\0\0\x06\0\x01\0\0\0b\0a\0r\0b\0a\0r\0";

    fn bytes(encode: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(&mut Writer::new(&mut bytes));
        bytes
    }

    #[test]
    fn a_link_that_windows_stored_is_read() {
        let bar = Utf16::from_str("bar");
        let link = SymbolicLink { substitute: bar.clone(), print: bar, relative: true };
        assert_eq!(SymbolicLink::decode(WINDOWS), Ok(link.clone()));
        assert_eq!(SymbolicLink::decode(&bytes(|w| link.encode(w))), Ok(link));
    }

    #[test]
    fn what_is_cut_off_or_points_beyond_its_end_is_refused() {
        for end in 0..WINDOWS.len() {
            assert!(SymbolicLink::decode(&WINDOWS[..end]).is_err(), "{end}");
            assert!(ReparseHeader::decode(&WINDOWS[..end]).is_err(), "{end}");
        }
        for at in 8..16 {
            let mut bytes = WINDOWS.to_vec();
            bytes[at] = 0xff;
            assert!(SymbolicLink::decode(&bytes).is_err(), "{at}");
        }
        assert!(ReparseHeader::decode(&[WINDOWS, b"\0"].concat()).is_err());
    }

    #[test]
    fn a_tag_that_is_not_microsofts_has_a_guid() {
        let point = [&b"\x42\0\0\0\x02\0\0\0"[..], &[7; 16], b"ab"].concat();
        let header = ReparseHeader::decode(&point).unwrap();
        assert_eq!((header.guid, header.data_length), (Some([7; 16]), 2));
        assert!(ReparseHeader::decode(&point[..10]).is_err());
    }

    /// Offsets as MS-SMB2 2.2.2.2.1 draws them.
    #[test]
    fn the_error_says_how_much_of_the_path_is_left() {
        let link = SymbolicLink::decode(WINDOWS).unwrap();
        let error = bytes(|w| SymlinkError { link, unparsed: 8 }.encode(w));
        assert_eq!(error[..8], *b"\x24\0\0\0SYML");
        assert_eq!(error[8..14], WINDOWS[..6]);
        assert_eq!(error[14..16], [8, 0]);
        assert_eq!(error[24..28], [1, 0, 0, 0]);
        assert_eq!(error.len(), 4 + 0x24);
    }
}
