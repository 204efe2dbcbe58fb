//! Extended attributes of a file, as QUERY_INFO, SET_INFO and CREATE carry them. MS-FSCC 2.4.16.

use crate::wire::codec::{Malformed, Reader, Writer};
use crate::wire::fscc::chain::{self, Chain, DoesNotFit};

/// FILE_FULL_EA_INFORMATION: an extended attribute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FullEa {
    /// 0, or [`FullEa::NEED_EA`].
    pub flags: u8,
    /// 255 bytes at most, without a NUL; ASCII, or whatever the client takes for text.
    pub name: Vec<u8>,
    /// 65,535 bytes at most; empty in a set to remove it, in an answer where there is none.
    pub value: Vec<u8>,
}

/// FILE_GET_EA_INFORMATION: one that is asked for. MS-FSCC 2.4.16.1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GetEa {
    pub name: Vec<u8>,
}

/// Collects extended attributes for an answer, up to a limit.
#[derive(Clone, Debug)]
pub struct EaBuffer(Chain);

/// Where entries of either kind start.
const ALIGNMENT: usize = 4;

impl FullEa {
    /// FILE_NEED_EA: who does not understand extended attributes cannot interpret the file.
    pub const NEED_EA: u8 = 0x80;

    /// Those of a chain; an empty buffer has none.
    pub fn decode_all(chain: &[u8]) -> Result<Vec<Self>, Malformed> {
        const WHAT: &str = "FILE_FULL_EA_INFORMATION";
        chain::decode_aligned(chain, ALIGNMENT, WHAT, Self::decode)
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let flags = r.u8()?;
        let name_length = usize::from(r.u8()?);
        let value_length = usize::from(r.u16()?);
        let name = decode_name(r, name_length)?;
        Ok(Self { flags, name, value: r.take(value_length)?.to_vec() })
    }
}

impl GetEa {
    /// Those of a chain; an empty buffer has none.
    pub fn decode_all(chain: &[u8]) -> Result<Vec<Self>, Malformed> {
        const WHAT: &str = "FILE_GET_EA_INFORMATION";
        chain::decode_aligned(chain, ALIGNMENT, WHAT, |r| {
            let length = usize::from(r.u8()?);
            Ok(Self { name: decode_name(r, length)? })
        })
    }
}

/// A name, and the NUL behind it that its length does not count.
fn decode_name(r: &mut Reader<'_>, length: usize) -> Result<Vec<u8>, Malformed> {
    let name = r.take(length)?.to_vec();
    if r.u8()? == 0 { Ok(name) } else { Err(r.malformed()) }
}

impl EaBuffer {
    /// An empty answer of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self(Chain::new(ALIGNMENT, limit))
    }

    /// Appends an extended attribute, or leaves the answer as it was. One whose name or value is longer
    /// than their lengths can tell does not fit, either.
    pub fn push(&mut self, ea: &FullEa) -> Result<(), DoesNotFit> {
        let name_length = u8::try_from(ea.name.len()).map_err(|_| DoesNotFit)?;
        let value_length = u16::try_from(ea.value.len()).map_err(|_| DoesNotFit)?;
        self.0.push(|w: &mut Writer<'_>| {
            w.put_u8(ea.flags);
            w.put_u8(name_length);
            w.put_u16(value_length);
            w.put_bytes(&ea.name);
            w.put_u8(0);
            w.put_bytes(&ea.value);
        })
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.0.into_bytes()
    }
}
