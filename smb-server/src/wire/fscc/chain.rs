//! Entries one after the other, each beginning with the offset of the next: directory listings,
//! streams, notifications.

use crate::wire::codec::{Malformed, Reader, Writer};

/// The entry would pass the limit; the chain is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoesNotFit;

/// A chain that grows up to a limit.
#[derive(Clone, Debug)]
pub struct Chain {
    bytes: Vec<u8>,
    alignment: usize,
    limit: usize,
    /// Where the last entry starts, whose `NextEntryOffset` is 0 until another follows.
    last: Option<usize>,
}

impl Chain {
    /// An empty chain whose entries start at multiples of `alignment` and end within `limit` bytes.
    pub fn new(alignment: usize, limit: usize) -> Self {
        Self { bytes: Vec::new(), alignment, limit, last: None }
    }

    /// Appends an entry; `encode` writes what follows its `NextEntryOffset`.
    pub fn push(&mut self, encode: impl FnOnce(&mut Writer<'_>)) -> Result<(), DoesNotFit> {
        let before = self.bytes.len();
        Writer::at(&mut self.bytes, 0).align(self.alignment);
        let start = self.bytes.len();
        let mut entry = Writer::new(&mut self.bytes);
        entry.put_u32(0);
        encode(&mut entry);
        if self.bytes.len() > self.limit {
            self.bytes.truncate(before);
            return Err(DoesNotFit);
        }
        self.link_last_to(start);
        self.last = Some(start);
        Ok(())
    }

    fn link_last_to(&mut self, start: usize) {
        let Some(last) = self.last else { return };
        let next = u32::try_from(start.saturating_sub(last)).unwrap_or(u32::MAX);
        if let Some(field) = self.bytes.get_mut(last..).and_then(<[u8]>::first_chunk_mut) {
            *field = next.to_le_bytes();
        }
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Walks a chain; `decode` reads what follows an entry's `NextEntryOffset`, and its reader ends
/// where the next entry starts.
pub(super) fn decode<T>(
    chain: &[u8],
    what: &'static str,
    decode: impl Fn(&mut Reader<'_>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    decode_aligned(chain, 1, what, decode)
}

/// Walks a chain that is malformed if an entry does not start at a multiple of `alignment`.
pub(super) fn decode_aligned<T>(
    mut chain: &[u8],
    alignment: usize,
    what: &'static str,
    decode: impl Fn(&mut Reader<'_>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let mut entries = Vec::new();
    while !chain.is_empty() {
        let next = Reader::new(chain, what).length()?;
        if !next.is_multiple_of(alignment) {
            return Err(Malformed::new(what));
        }
        let length = if next == 0 { chain.len() } else { next };
        let (entry, rest) = chain.split_at_checked(length).ok_or(Malformed::new(what))?;
        if next != 0 && rest.is_empty() {
            return Err(Malformed::new(what));
        }
        let mut r = Reader::new(entry, what);
        r.skip(4)?;
        entries.push(decode(&mut r)?);
        chain = rest;
    }
    Ok(entries)
}
