//! Names as the wire has them: UTF-16 code units that need not form valid text.

use std::fmt;

use super::codec::{Malformed, Writer};

/// UTF-16 code units, unpaired surrogates included.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Utf16(pub Vec<u16>);

impl Utf16 {
    #[expect(clippy::should_implement_trait, reason = "it cannot fail")]
    pub fn from_str(text: &str) -> Self {
        Self(text.encode_utf16().collect())
    }

    /// Little-endian code units. An odd number of bytes is malformed.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (units, rest) = bytes.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(Malformed::new("UTF-16 string of odd length"));
        }
        Ok(Self(units.iter().map(|unit| u16::from_le_bytes(*unit)).collect()))
    }

    /// The little-endian bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|unit| unit.to_le_bytes()).collect()
    }

    /// How many bytes it takes.
    pub fn byte_len(&self) -> usize {
        self.0.len().saturating_mul(2)
    }

    /// Writes the bytes, without collecting them first.
    pub(crate) fn encode(&self, w: &mut Writer<'_>) {
        for unit in &self.0 {
            w.put_u16(*unit);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text, or nothing if a surrogate stands alone.
    pub fn to_string_strict(&self) -> Option<String> {
        String::from_utf16(&self.0).ok()
    }
}

/// Lossy: U+FFFD for a surrogate that stands alone.
impl fmt::Display for Utf16 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf16_lossy(&self.0))
    }
}

impl fmt::Debug for Utf16 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf16_lossy(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_unit_is_malformed() {
        assert!(Utf16::decode(&[0x61, 0x00, 0x62]).is_err());
        assert_eq!(Utf16::decode(&[0x61, 0x00]), Ok(Utf16::from_str("a")));
    }

    #[test]
    fn a_lone_surrogate_survives_but_is_no_text() {
        let name = Utf16::decode(&[0x3d, 0xd8, 0x61, 0x00]).expect("an even length");
        assert_eq!(name.to_string_strict(), None);
        assert_eq!(name.to_string(), "\u{fffd}a");
        assert_eq!(name.to_bytes(), [0x3d, 0xd8, 0x61, 0x00]);
    }
}
