//! What a server answers, message by message.

use std::io;

use usmbd::wire::codec::Malformed;
use usmbd::wire::header::{Header, HeaderFlags};
use usmbd::wire::status::NtStatus;

use super::unexpected;

/// One response.
pub struct Answer {
    header: Header,
    message: Vec<u8>,
}

impl Answer {
    /// The responses of a message that has been opened.
    ///
    /// # Errors
    /// Where it is none.
    pub fn all_of(mut message: Vec<u8>) -> io::Result<Vec<Self>> {
        let mut answers = Vec::with_capacity(1);
        loop {
            let header = Header::decode(&message).map_err(io::Error::other)?;
            let next = usize::try_from(header.next_command).map_err(io::Error::other)?;
            if next > message.len() {
                return Err(io::Error::other("a compound that leaves its message"));
            }
            let rest = (next > 0).then(|| message.split_off(next));
            answers.push(Self { header, message });
            match rest {
                Some(rest) => message = rest,
                None => return Ok(answers),
            }
        }
    }

    /// Its header.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Its status.
    pub const fn status(&self) -> NtStatus {
        self.header.status
    }

    /// Whether it only says that the real one comes later.
    pub fn is_interim(&self) -> bool {
        is_interim(&self.header)
    }

    /// The whole message, its header included.
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    pub(super) fn message_mut(&mut self) -> &mut [u8] {
        &mut self.message
    }

    /// # Errors
    /// Any other status.
    pub fn expect(&self, status: NtStatus) -> io::Result<()> {
        if self.status() == status {
            return Ok(());
        }
        Err(unexpected(self.header.command, self.status()))
    }

    /// What it says behind the header.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn body<T>(&self, decode: impl Fn(&[u8]) -> Result<T, Malformed>) -> io::Result<T> {
        decode(&self.message).map_err(io::Error::other)
    }
}

/// Whether a response only says that the real one comes later.
pub fn is_interim(header: &Header) -> bool {
    header.flags.contains(HeaderFlags::ASYNC_COMMAND) && header.status == NtStatus::PENDING
}
