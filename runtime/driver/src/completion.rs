//! How the kernel's answer to an operation is reported.

use std::io;

/// Names one submitted operation: a table index and a generation that tells its reuses apart.
///
/// Layout, from the top: 4 bits that are zero in every token of the runtime (a driver may use them
/// for entries of its own, such as wake-ups and cancel requests), 28 bits of generation, 32 bits of
/// index. A completion whose generation is stale is ignored, so a late one is harmless.
///
/// Indices are dense, as a slab's are, and no two operations in flight share one: a driver may keep a
/// table by them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Token(u64);

impl Token {
    /// How many generations there are before one is used again.
    pub const GENERATIONS: u32 = 1 << 28;

    /// The token of table entry `index` in its `generation`-th use (taken modulo [`Self::GENERATIONS`]).
    #[must_use]
    pub const fn new(index: u32, generation: u32) -> Self {
        Self(((generation % Self::GENERATIONS) as u64) << 32 | index as u64)
    }

    /// The token carried by a kernel's 64-bit user data; `None` when the driver's own bits are set.
    #[must_use]
    pub const fn from_user_data(data: u64) -> Option<Self> {
        if data >> 60 == 0 { Some(Self(data)) } else { None }
    }

    /// The form that travels through the kernel.
    #[must_use]
    pub const fn user_data(self) -> u64 {
        self.0
    }

    /// The table index.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.0 as u32
    }

    /// The generation of the table entry.
    #[must_use]
    pub const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// One answer to one operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Completion {
    /// The operation this answers.
    pub token: Token,
    /// What a system call would have returned: a count or descriptor, or a negated errno.
    pub result: i32,
    /// Further completions will carry this token; the operation's memory is still the kernel's.
    pub more: bool,
    /// This is a zero-copy send's second completion: the buffer is free again.
    pub notification: bool,
    /// With `notification`: the kernel copied the bytes after all.
    pub copied: bool,
    /// The provided buffer that received the data.
    pub buffer_id: Option<u16>,
    /// With `buffer_id`: further data may go into the same buffer, behind this.
    pub buffer_more: bool,
}

impl Completion {
    /// The plain case: one result, nothing to follow.
    #[must_use]
    pub const fn last(token: Token, result: i32) -> Self {
        Self {
            token,
            result,
            more: false,
            notification: false,
            copied: false,
            buffer_id: None,
            buffer_more: false,
        }
    }

    /// The result as Rust has it.
    ///
    /// # Errors
    /// The kernel's errno, when the result is negative.
    pub fn result(&self) -> io::Result<u32> {
        u32::try_from(self.result).map_err(|_| io::Error::from_raw_os_error(-self.result))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_keeps_index_and_generation_and_leaves_the_drivers_bits_free() {
        let token = Token::new(u32::MAX, Token::GENERATIONS + 5);
        assert_eq!((token.index(), token.generation()), (u32::MAX, 5));
        assert_eq!(token.user_data() >> 60, 0);
        assert_eq!(Token::from_user_data(token.user_data()), Some(token));
        assert_eq!(Token::from_user_data(1 << 60), None);
    }

    #[test]
    fn negative_results_are_errno() {
        let token = Token::new(0, 0);
        assert_eq!(Completion::last(token, 7).result().unwrap(), 7);
        let error = Completion::last(token, -libc::ENOENT).result().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    }
}
