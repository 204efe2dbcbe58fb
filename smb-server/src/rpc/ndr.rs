//! NDR32, little-endian: alignment, referents and strings. C706 chapter 14.
//!
//! Reading is the wire codec's bounded reader plus what NDR adds; writing grows a vector, as replies are made of what
//! the configuration holds.

use crate::wire::codec::{Malformed, Reader, Writer};
use crate::wire::security::Sid;

/// Where referent ids start and how far they are apart: any non-zero value would do, these are what clients know.
const REFERENT_FIRST: u32 = 0x0002_0000;
const REFERENT_STEP: u32 = 4;

/// Reads parameters in the order of their declaration.
pub(super) struct NdrReader<'a>(Reader<'a>);

impl<'a> NdrReader<'a> {
    pub(super) fn new(stub: &'a [u8]) -> Self {
        Self(Reader::new(stub, "RPC parameters"))
    }

    /// An unsigned short, aligned to its size.
    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        self.0.align(2)?;
        self.0.u16()
    }

    /// Eight bytes of a UUID, as a number.
    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        self.0.u64()
    }

    /// An unsigned long, aligned to its size.
    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        self.0.align(4)?;
        self.0.u32()
    }

    /// Whether a pointer points at something.
    pub(super) fn pointer(&mut self) -> Result<bool, Malformed> {
        Ok(self.u32()? != 0)
    }

    /// `[string] wchar_t *`: a conformant and varying array that ends in NUL. C706 14.3.4.
    pub(super) fn string(&mut self) -> Result<String, Malformed> {
        let units = self.units()?;
        let Some((0, text)) = units.split_last() else { return Err(self.0.malformed()) };
        Ok(String::from_utf16_lossy(text))
    }

    /// A conformant and varying array of characters. C706 14.3.3.4.
    pub(super) fn units(&mut self) -> Result<Vec<u16>, Malformed> {
        let (max, offset, actual) = (self.u32()?, self.u32()?, self.u32()?);
        if offset != 0 || actual > max {
            return Err(self.0.malformed());
        }
        let bytes = usize::try_from(actual).ok().and_then(|count| count.checked_mul(2));
        let bytes = self.0.take(bytes.ok_or_else(|| self.0.malformed())?)?;
        Ok(bytes.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect())
    }

    /// A number of elements, and the conformant array of them that begins, which has no other.
    fn elements(&mut self, max: u32, count: u32) -> Result<usize, Malformed> {
        if count > max || self.u32()? != count {
            return Err(self.0.malformed());
        }
        usize::try_from(count).map_err(|_| self.0.malformed())
    }

    /// At most `max` RPC_UNICODE_STRINGs, after their number. MS-DTYP 2.3.10.
    pub(super) fn names(&mut self, max: u32) -> Result<Vec<String>, Malformed> {
        let count = self.u32()?;
        let count = self.elements(max, count)?;
        let pointers = (0..count).map(|_| {
            let (_length, _capacity) = (self.u16()?, self.u16()?);
            self.pointer()
        });
        let pointers = pointers.collect::<Result<Vec<bool>, _>>()?;
        let name = |there: bool| match there {
            true => Ok(String::from_utf16_lossy(&self.units()?)),
            false => Ok(String::new()),
        };
        pointers.into_iter().map(name).collect()
    }

    /// At most `max` SIDs. MS-LSAT 2.2.17, LSAPR_SID_ENUM_BUFFER.
    pub(super) fn sids(&mut self, max: u32) -> Result<Vec<Sid>, Malformed> {
        let count = self.u32()?;
        if !self.pointer()? {
            return if count == 0 { Ok(Vec::new()) } else { Err(self.0.malformed()) };
        }
        let count = self.elements(max, count)?;
        for _ in 0..count {
            if !self.pointer()? {
                return Err(self.0.malformed());
            }
        }
        (0..count).map(|_| self.sid()).collect()
    }

    /// RPC_SID. MS-DTYP 2.4.2.3.
    pub(super) fn sid(&mut self) -> Result<Sid, Malformed> {
        let count = self.u32()?;
        let sid = Sid::decode(&mut self.0)?;
        if sid.sub_authorities.len() as u64 != u64::from(count) {
            return Err(self.0.malformed());
        }
        Ok(sid)
    }

    /// `[unique, string] wchar_t *`.
    pub(super) fn unique_string(&mut self) -> Result<Option<String>, Malformed> {
        if self.pointer()? { self.string().map(Some) } else { Ok(None) }
    }
}

/// Writes results in the order of their declaration.
#[derive(Default)]
pub(super) struct NdrWriter {
    bytes: Vec<u8>,
    referents: u32,
}

impl NdrWriter {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// An unsigned short, aligned to its size.
    pub(super) fn u16(&mut self, value: u16) {
        self.align(2);
        self.bytes.extend(value.to_le_bytes());
    }

    /// Bytes as they are.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    /// An unsigned long, aligned to its size.
    pub(super) fn u32(&mut self, value: u32) {
        self.align(4);
        self.bytes.extend(value.to_le_bytes());
    }

    /// The number of elements of an array. More than fit in 32 bits do not fit in memory either.
    pub(super) fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// A pointer to what is written after the structure that holds it.
    pub(super) fn referent(&mut self) {
        let id = REFERENT_FIRST.wrapping_add(self.referents.wrapping_mul(REFERENT_STEP));
        self.referents = self.referents.wrapping_add(1);
        self.u32(id);
    }

    /// A pointer to nothing.
    pub(super) fn null(&mut self) {
        self.u32(0);
    }

    /// How many elements an array behind a pointer has, the pointer, and, if it is not null, the head of the array,
    /// whose elements come next.
    pub(super) fn array(&mut self, count: usize) {
        self.count(count);
        if count == 0 {
            self.null();
        } else {
            self.referent();
            self.count(count);
        }
    }

    /// What a string pointer points at, NUL included.
    pub(super) fn string(&mut self, text: &str) {
        let units = text.encode_utf16().chain([0]);
        let count = units.clone().count();
        self.count(count);
        self.u32(0);
        self.count(count);
        self.bytes.extend(units.flat_map(u16::to_le_bytes));
    }

    /// What the pointer of an RPC_UNICODE_STRING points at, in an array with room for `room` characters more.
    pub(super) fn counted(&mut self, text: &str, room: usize) {
        let units = text.encode_utf16();
        let count = units.clone().count();
        self.count(count + room);
        self.u32(0);
        self.count(count);
        self.bytes.extend(units.flat_map(u16::to_le_bytes));
    }

    /// RPC_SID. MS-DTYP 2.4.2.3.
    pub(super) fn sid(&mut self, sid: &Sid) {
        self.count(sid.sub_authorities.len());
        sid.encode(&mut Writer::new(&mut self.bytes));
    }

    pub(super) fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }
}
