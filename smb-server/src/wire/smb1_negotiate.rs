//! The SMB1 NEGOTIATE with which an old client asks for SMB2. MS-CIFS 2.2.4.52.1, MS-SMB2 3.3.5.3.
//! Nothing else of SMB1 is known here.

use super::codec::{Malformed, Reader, Writer};

/// The dialect strings of an SMB1 negotiate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Smb1NegotiateRequest {
    pub dialects: Vec<String>,
}

impl Smb1NegotiateRequest {
    /// The first four bytes of an SMB1 message.
    pub const PROTOCOL_ID: [u8; 4] = [0xff, b'S', b'M', b'B'];
    /// The dialect string that means SMB 2.0.2.
    pub const SMB_2_002: &str = "SMB 2.002";
    /// The dialect string that means any later SMB2.
    pub const SMB_2_WILDCARD: &str = "SMB 2.???";

    const COMMAND_NEGOTIATE: u8 = 0x72;
    const BUFFER_FORMAT_DIALECT: u8 = 0x02;

    /// Reads a whole message. A dialect that is not ASCII is none that anybody knows; it reads
    /// lossily.
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(message, "SMB1 NEGOTIATE request");
        if r.array()? != Self::PROTOCOL_ID || r.u8()? != Self::COMMAND_NEGOTIATE {
            return Err(r.malformed());
        }
        r.skip(27)?;
        let word_count = r.u8()?;
        r.skip(usize::from(word_count).saturating_mul(2))?;
        let byte_count = r.u16()?;
        let mut rest = r.take(usize::from(byte_count))?;
        let mut dialects = Vec::new();
        while let Some((&Self::BUFFER_FORMAT_DIALECT, text)) = rest.split_first() {
            let (dialect, after) = split_at_nul(text).ok_or_else(|| r.malformed())?;
            dialects.push(String::from_utf8_lossy(dialect).into_owned());
            rest = after;
        }
        if rest.is_empty() { Ok(Self { dialects }) } else { Err(r.malformed()) }
    }

    /// Writes a whole message, header included.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_bytes(&Self::PROTOCOL_ID);
        w.put_u8(Self::COMMAND_NEGOTIATE);
        w.put_zeros(27);
        w.put_u8(0);
        let byte_count = w.reserve_u16();
        let start = w.position();
        for dialect in &self.dialects {
            w.put_u8(Self::BUFFER_FORMAT_DIALECT);
            w.put_bytes(dialect.as_bytes());
            w.put_u8(0);
        }
        w.fill(byte_count, w.position().saturating_sub(start));
    }

    /// Whether a dialect was offered.
    pub fn offers(&self, dialect: &str) -> bool {
        self.dialects.iter().any(|offered| offered == dialect)
    }
}

fn split_at_nul(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let nul = bytes.iter().position(|byte| *byte == 0)?;
    let (text, rest) = bytes.split_at_checked(nul)?;
    Some((text, rest.get(1..)?))
}
