//! The reader and the writer under every message. Neither can panic on what the network sends.

use std::fmt;
use std::ops::Range;

use super::header::Header;

/// The bytes are not a message of this kind. `what` names the structure or the field at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    pub what: &'static str,
}

impl Malformed {
    /// An error that names what could not be read.
    pub const fn new(what: &'static str) -> Self {
        Self { what }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed {}", self.what)
    }
}

impl std::error::Error for Malformed {}

/// Reads little-endian fields from front to back. Every step fails rather than leave the bytes.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`; its errors say `what`.
    pub const fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { bytes, position: 0, what }
    }

    /// A reader behind the header of `message`, past a `StructureSize` that must be
    /// `structure_size`.
    pub fn body(
        message: &'a [u8],
        structure_size: u16,
        what: &'static str,
    ) -> Result<Self, Malformed> {
        let mut reader = Self::new(message, what);
        reader.skip(Header::SIZE)?;
        if reader.u16()? != structure_size {
            return Err(reader.malformed());
        }
        Ok(reader)
    }

    /// The error of this reader.
    pub const fn malformed(&self) -> Malformed {
        Malformed::new(self.what)
    }

    /// How many bytes lie behind the reader. In a message: the offset from its header.
    pub const fn position(&self) -> usize {
        self.position
    }

    /// How many bytes lie ahead.
    pub const fn remaining(&self) -> usize {
        self.bytes.len().saturating_sub(self.position)
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let end = self.position.checked_add(count).ok_or_else(|| self.malformed())?;
        let taken = self.bytes.get(self.position..end).ok_or_else(|| self.malformed())?;
        self.position = end;
        Ok(taken)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| self.malformed())
    }

    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_le_bytes)
    }

    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    /// A 32-bit count or length, as an index.
    pub fn length(&mut self) -> Result<usize, Malformed> {
        let length = self.u32()?;
        usize::try_from(length).map_err(|_| self.malformed())
    }

    /// `StructureSize` and two reserved bytes: all there is to some bodies.
    pub fn empty_body(message: &'a [u8], what: &'static str) -> Result<(), Malformed> {
        Self::body(message, 4, what)?.skip(2)
    }

    /// The bytes in a body that is only an offset and a length: QUERY_DIRECTORY, QUERY_INFO and
    /// CHANGE_NOTIFY answer so.
    pub fn output_body(message: &'a [u8], what: &'static str) -> Result<&'a [u8], Malformed> {
        let mut r = Self::body(message, 9, what)?;
        let (offset, length) = (r.u16()?, r.u32()?);
        r.window(offset, length)
    }

    /// Forward to `offset`, counted from the start.
    pub fn seek(&mut self, offset: usize) -> Result<(), Malformed> {
        let ahead = offset.checked_sub(self.position).ok_or_else(|| self.malformed())?;
        self.skip(ahead)
    }

    /// Forward to the next multiple of `to` from the start.
    pub fn align(&mut self, to: usize) -> Result<(), Malformed> {
        let aligned = self.position.checked_next_multiple_of(to.max(1));
        self.seek(aligned.ok_or_else(|| self.malformed())?)
    }

    pub fn skip(&mut self, count: usize) -> Result<(), Malformed> {
        self.take(count).map(|_| ())
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        self.position = self.bytes.len();
        rest
    }

    /// Nothing may be left over.
    pub fn finish(self) -> Result<(), Malformed> {
        if self.remaining() == 0 { Ok(()) } else { Err(self.malformed()) }
    }

    /// The variable part that an offset and a length describe; empty, and its offset ignored, where
    /// the length is 0. Called when the fixed part has been read, because it must not overlap that.
    pub fn window(
        &self,
        offset: impl TryInto<usize>,
        length: impl TryInto<usize>,
    ) -> Result<&'a [u8], Malformed> {
        let range = self.window_range(offset, length)?;
        self.bytes.get(range).ok_or_else(|| self.malformed())
    }

    /// Where [`Self::window`] lies.
    pub fn window_range(
        &self,
        offset: impl TryInto<usize>,
        length: impl TryInto<usize>,
    ) -> Result<Range<usize>, Malformed> {
        let offset = offset.try_into().map_err(|_| self.malformed())?;
        let length = length.try_into().map_err(|_| self.malformed())?;
        window(self.position, self.bytes.len(), offset, length).ok_or_else(|| self.malformed())
    }
}

/// The range `offset..offset + length` if it lies in `fixed..end`; `fixed..fixed` where it is
/// empty.
pub(super) fn window(
    fixed: usize,
    end: usize,
    offset: usize,
    length: usize,
) -> Option<Range<usize>> {
    if length == 0 {
        return Some(fixed..fixed);
    }
    let stop = offset.checked_add(length)?;
    (offset >= fixed && stop <= end).then_some(offset..stop)
}

/// Appends one message to a buffer that may hold others already. Offsets and alignment count from
/// where the message's header starts.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

/// A length or an offset that is not known yet. Until [`Writer::fill`] it holds ones, so that a
/// message left half-written cannot be read as a shorter valid one.
#[derive(Debug)]
#[must_use = "an unfilled field makes the message invalid"]
pub struct Slot {
    at: usize,
    width: usize,
}

impl<'a> Writer<'a> {
    /// A writer whose message starts at the end of `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        Self { out, start }
    }

    /// A writer whose message starts, with its header, at `start` of `out`.
    pub fn at(out: &'a mut Vec<u8>, start: usize) -> Self {
        Self { out, start }
    }

    /// The offset from the message's start of the next byte to be written.
    pub fn position(&self) -> usize {
        self.out.len().saturating_sub(self.start)
    }

    pub fn put_u8(&mut self, value: u8) {
        self.out.push(value);
    }

    pub fn put_u16(&mut self, value: u16) {
        self.put_bytes(&value.to_le_bytes());
    }

    pub fn put_u32(&mut self, value: u32) {
        self.put_bytes(&value.to_le_bytes());
    }

    pub fn put_u64(&mut self, value: u64) {
        self.put_bytes(&value.to_le_bytes());
    }

    /// A count or length in 16 bits; one that does not fit is written as ones.
    pub fn put_length_u16(&mut self, length: usize) {
        self.put_u16(u16::try_from(length).unwrap_or(u16::MAX));
    }

    /// A count or length in 32 bits; one that does not fit is written as ones.
    pub fn put_length_u32(&mut self, length: usize) {
        self.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    }

    /// All there is to some bodies, see [`Reader::empty_body`].
    pub fn put_empty_body(&mut self) {
        self.put_u16(4);
        self.put_u16(0);
    }

    /// The counterpart of [`Reader::output_body`].
    pub fn put_output_body(&mut self, output: &[u8]) {
        self.put_u16(9);
        let (offset, length) = (self.reserve_u16(), self.reserve_u32());
        self.attach(offset, length, output);
    }

    pub fn put_bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    pub fn put_zeros(&mut self, count: usize) {
        self.out.resize(self.out.len().saturating_add(count), 0);
    }

    /// Zeros up to the next multiple of `to` (of 1 at least) from the message's start.
    pub fn align(&mut self, to: usize) {
        let position = self.position();
        let aligned = position.checked_next_multiple_of(to.max(1)).unwrap_or(position);
        self.put_zeros(aligned.saturating_sub(position));
    }

    /// A 16-bit field to be filled in later.
    pub fn reserve_u16(&mut self) -> Slot {
        self.reserve(2)
    }

    /// A 32-bit field to be filled in later.
    pub fn reserve_u32(&mut self) -> Slot {
        self.reserve(4)
    }

    fn reserve(&mut self, width: usize) -> Slot {
        let at = self.out.len();
        self.put_bytes([0xff; 4].get(..width).unwrap_or_default());
        Slot { at, width }
    }

    /// Writes `value` into `slot`. One that does not fit leaves the ones in place.
    pub fn fill(&mut self, slot: Slot, value: usize) {
        let Ok(value) = u32::try_from(value) else { return };
        if slot.width == 2 && value > u32::from(u16::MAX) {
            return;
        }
        let end = slot.at.saturating_add(slot.width);
        let bytes = value.to_le_bytes();
        if let (Some(field), Some(bytes)) =
            (self.out.get_mut(slot.at..end), bytes.get(..slot.width))
        {
            field.copy_from_slice(bytes);
        }
    }

    /// Appends a variable part and describes it. The offset is given even where nothing is
    /// appended.
    pub fn attach(&mut self, offset: Slot, length: Slot, bytes: &[u8]) {
        self.fill(offset, self.position());
        self.fill(length, bytes.len());
        self.put_bytes(bytes);
    }

    /// Like [`Self::attach`], but the offset of nothing is 0.
    pub fn attach_if_any(&mut self, offset: Slot, length: Slot, bytes: &[u8]) {
        if bytes.is_empty() {
            self.fill(offset, 0);
            self.fill(length, 0);
        } else {
            self.attach(offset, length, bytes);
        }
    }

    /// A `StructureSize` that is odd counts the first byte of the variable part: a peer may insist
    /// on that byte even where the part is empty.
    pub fn pad_if_empty(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            self.put_u8(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_must_be_emptied() {
        let mut r = Reader::new(&[1, 2, 3], "three bytes");
        assert_eq!(r.u16(), Ok(0x0201));
        assert_eq!(r.clone().finish(), Err(Malformed::new("three bytes")));
        assert_eq!(r.u16(), Err(Malformed::new("three bytes")));
        assert_eq!(r.u8(), Ok(3));
        assert_eq!(r.finish(), Ok(()));
    }

    #[test]
    fn a_window_lies_behind_the_fixed_part_and_within_the_message() {
        let mut r = Reader::new(&[0, 1, 2, 3, 4, 5], "window");
        r.skip(2).expect("six bytes");
        assert_eq!(r.window(2_u16, 4_u16), Ok(&[2, 3, 4, 5][..]));
        assert!(r.window(1_u16, 4_u16).is_err(), "overlaps the fixed part");
        assert!(r.window(3_u16, 4_u16).is_err(), "passes the end");
        assert!(r.window(u32::MAX, u32::MAX).is_err());
        assert!(r.window(u64::MAX, 1_u8).is_err(), "the sum overflows");
        assert_eq!(r.window(u32::MAX, 0_u32), Ok(&[][..]), "nothing is anywhere");
    }

    #[test]
    fn offsets_and_alignment_count_from_the_start_of_the_message() {
        let mut out = vec![0xaa; 3];
        let mut w = Writer::new(&mut out);
        let (offset, length) = (w.reserve_u16(), w.reserve_u32());
        w.align(8);
        w.attach(offset, length, b"xyz");
        assert_eq!(w.position(), 11);
        assert_eq!(out, *b"\xaa\xaa\xaa\x08\x00\x03\x00\x00\x00\x00\x00xyz");
    }

    #[test]
    fn a_field_never_filled_or_filled_with_too_much_reads_as_ones() {
        let mut out = Vec::new();
        let mut w = Writer::new(&mut out);
        let _unfilled = w.reserve_u32();
        let slot = w.reserve_u16();
        w.fill(slot, 0x1_0000);
        w.put_length_u16(0x1_0000);
        assert_eq!(out, [0xff; 8]);
    }
}
