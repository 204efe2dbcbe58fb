//! The four bytes before each message on a stream: a type and a 24-bit length. MS-SMB2 2.1.

use super::codec::Malformed;

/// Bytes before each message.
pub const PREFIX: usize = 4;

/// The longest message the prefix can announce.
pub const LENGTH_MAX: usize = 0x00ff_ffff;

/// What a prefix announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A message of this many bytes follows.
    Message { length: usize },
    /// NetBIOS: the client names whom it calls, in this many bytes. RFC 1002 4.3.2.
    SessionRequest { length: usize },
    /// NetBIOS: nothing follows and nothing is expected. RFC 1002 4.3.6.
    KeepAlive,
}

impl Frame {
    const MESSAGE: u8 = 0x00;
    const SESSION_REQUEST: u8 = 0x81;
    const KEEP_ALIVE: u8 = 0x85;

    /// Reads a prefix. What would be longer than `limit` is refused here, before a byte is
    /// allocated for it.
    pub fn decode(prefix: [u8; PREFIX], limit: usize) -> Result<Self, Malformed> {
        let [kind, high, middle, low] = prefix;
        let length = usize::try_from(u32::from_be_bytes([0, high, middle, low]))
            .map_err(|_| Malformed::new("frame length"))?;
        if length > limit {
            return Err(Malformed::new("frame length"));
        }
        match kind {
            Self::MESSAGE => Ok(Self::Message { length }),
            Self::SESSION_REQUEST => Ok(Self::SessionRequest { length }),
            Self::KEEP_ALIVE if length == 0 => Ok(Self::KeepAlive),
            _ => Err(Malformed::new("frame type")),
        }
    }

    /// The prefix of a message, unless it is longer than [`LENGTH_MAX`].
    pub fn message_prefix(length: usize) -> Option<[u8; PREFIX]> {
        let length = u32::try_from(length).ok()?;
        let [kind, high, middle, low] = length.to_be_bytes();
        (kind == Self::MESSAGE).then_some([kind, high, middle, low])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 0x0001_0000;

    #[test]
    fn a_length_has_three_bytes_and_the_highest_comes_first() {
        assert_eq!(Frame::decode([0, 0, 0x01, 0x02], LIMIT), Ok(Frame::Message { length: 258 }));
        assert_eq!(Frame::message_prefix(258), Some([0, 0, 0x01, 0x02]));
        assert_eq!(Frame::message_prefix(LENGTH_MAX), Some([0, 0xff, 0xff, 0xff]));
        assert_eq!(Frame::message_prefix(LENGTH_MAX + 1), None);
    }

    #[test]
    fn a_message_longer_than_the_limit_is_refused() {
        assert!(Frame::decode([0, 1, 0, 0], LIMIT).is_ok());
        assert!(Frame::decode([0, 1, 0, 1], LIMIT).is_err());
    }

    #[test]
    fn a_keep_alive_has_nothing_behind_it_and_other_types_are_refused() {
        assert_eq!(Frame::decode([0x85, 0, 0, 0], LIMIT), Ok(Frame::KeepAlive));
        assert!(Frame::decode([0x85, 0, 0, 1], LIMIT).is_err());
        assert!(Frame::decode([0x83, 0, 0, 1], LIMIT).is_err());
        assert_eq!(
            Frame::decode([0x81, 0, 0, 68], LIMIT),
            Ok(Frame::SessionRequest { length: 68 })
        );
    }
}
