//! An input that says what to do, read from front to back. When it is used up, everything is zero.

/// The part that has not been read.
#[derive(Clone, Debug)]
pub(super) struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub(super) const fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn u8(&mut self) -> u8 {
        let (first, rest) = self.rest.split_first().unwrap_or((&0, &[]));
        self.rest = rest;
        *first
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.u8(), self.u8()])
    }

    pub(super) fn flag(&mut self) -> bool {
        self.u8() & 1 != 0
    }

    /// A number below `limit`, which is not 0.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        let number = if limit > 256 { self.u16().into() } else { usize::from(self.u8()) };
        number % limit
    }

    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// So many bytes as there are, up to a length that stands in front of them.
    pub(super) fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.u16()).min(self.rest.len());
        let (bytes, rest) = self.rest.split_at(length);
        self.rest = rest;
        bytes
    }

    /// Changes `message` as the input says: not at all, some bytes, or its length.
    pub(super) fn damage(&mut self, message: &mut Vec<u8>) {
        for _ in 0..self.u8() % 4 {
            let (how, at) = (self.u8(), usize::from(self.u16()));
            match how % 8 {
                0 => message.truncate(at),
                1 => message.resize(message.len().max(at % 1024), how),
                _ if message.is_empty() => {}
                2..=4 => {
                    let at = at % message.len();
                    message[at] = self.u8();
                }
                width => {
                    let at = at % message.len();
                    let value = [0x00, 0xff, 0x7f, 0x80, 0x01][usize::from(how / 8) % 5];
                    message
                        .iter_mut()
                        .skip(at)
                        .take(usize::from(width) - 3)
                        .for_each(|it| *it = value);
                }
            }
        }
    }
}
