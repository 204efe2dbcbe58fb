//! A GUID: sixteen bytes, the first three groups of which are little-endian. MS-DTYP 2.3.4.

use std::fmt;

use super::codec::{Malformed, Reader, Writer};

/// Sixteen bytes as on the wire.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid(pub [u8; 16]);

impl Guid {
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.array().map(Self)
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_bytes(&self.0);
    }
}

/// The usual text form, e.g. `6ba7b810-9dad-11d1-80b4-00c04fd430c8`.
impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a0, a1, a2, a3, b0, b1, c0, c1, d0, d1, node @ ..] = self.0;
        let a = u32::from_le_bytes([a0, a1, a2, a3]);
        let b = u16::from_le_bytes([b0, b1]);
        let c = u16::from_le_bytes([c0, c1]);
        write!(f, "{a:08x}-{b:04x}-{c:04x}-{d0:02x}{d1:02x}-")?;
        node.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_three_groups_are_little_endian() {
        // RFC 4122 appendix C, the name space of DNS, in the byte order of MS-DTYP 2.3.4.2.
        let guid = Guid([
            0x10, 0xb8, 0xa7, 0x6b, 0xad, 0x9d, 0xd1, 0x11, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4,
            0x30, 0xc8,
        ]);
        assert_eq!(guid.to_string(), "6ba7b810-9dad-11d1-80b4-00c04fd430c8");
    }
}
