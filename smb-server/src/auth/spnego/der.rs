//! The distinguished encoding rules, as far as SPNEGO goes: one-byte tags, definite lengths.

/// Reads elements one after another out of a slice. It never reads beyond the slice.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next element's tag and contents; `None` at the end, or where the rest is no element.
    pub(super) fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], rest) = self.rest.split_first_chunk()?;
        // Below 0x80 it is the length itself, above it says how many bytes the length takes.
        let (len, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (len, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (len.iter().fold(0, |len, &byte| len << 8 | usize::from(byte)), rest)
            }
            _ => return None,
        };
        let (contents, rest) = rest.split_at_checked(len)?;
        self.rest = rest;
        Some((tag, contents))
    }

    /// The next element's contents, if it has this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|element| element.0 == tag).map(|element| element.1)
    }

    /// Whether everything was read: distinguishes the end from garbage.
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

/// Writes one element whose contents are the concatenation of `parts`.
pub(super) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let len = parts.iter().map(|part| part.len()).sum::<usize>();
    let mut bytes = Vec::with_capacity(len + 6);
    bytes.push(tag);
    if len < 0x80 {
        bytes.push(len as u8);
    } else {
        let len = len.to_be_bytes();
        let len = &len[len.iter().take_while(|&&byte| byte == 0).count()..];
        bytes.push(0x80 | len.len() as u8);
        bytes.extend_from_slice(len);
    }
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lengths_are_written_in_as_few_bytes_as_x690_allows() {
        // X.690 8.1.3: short form to 127, then the minimal number of length bytes.
        assert_eq!(element(4, &[&[9; 127]])[..2], [4, 127]);
        assert_eq!(element(4, &[&[9; 128]])[..3], [4, 0x81, 128]);
        assert_eq!(element(4, &[&[9; 256]])[..4], [4, 0x82, 1, 0]);
    }

    #[test]
    fn lengths_beyond_the_input_are_not_elements() {
        for bytes in [&[4][..], &[4, 1], &[4, 0x81], &[4, 0x81, 1], &[4, 0x84, 255, 255, 255, 255]]
        {
            assert_eq!(Reader::new(bytes).next(), None, "{bytes:?}");
        }
    }

    #[test]
    fn the_indefinite_form_is_refused() {
        assert_eq!(Reader::new(&[0x30, 0x80, 0, 0]).next(), None);
    }
}
