//! The payload of FSCTL_VALIDATE_NEGOTIATE_INFO: what was negotiated, said again under a signature.
//! MS-SMB2 2.2.31.4 and 2.2.32.6.

use super::codec::{Malformed, Reader, Writer};
use super::dialect::Dialect;
use super::guid::Guid;
use super::negotiate::{Capabilities, SecurityMode};

/// The input. MS-SMB2 2.2.31.4.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValidateNegotiateInfoRequest {
    pub capabilities: Capabilities,
    pub client_guid: Guid,
    pub security_mode: SecurityMode,
    pub dialects: Vec<Dialect>,
}

/// The output. MS-SMB2 2.2.32.6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ValidateNegotiateInfoResponse {
    pub capabilities: Capabilities,
    pub server_guid: Guid,
    pub security_mode: SecurityMode,
    pub dialect: Dialect,
}

impl ValidateNegotiateInfoRequest {
    pub fn decode(input: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(input, "VALIDATE_NEGOTIATE_INFO request");
        let capabilities = Capabilities::from_bits_retain(r.u32()?);
        let client_guid = Guid::decode(&mut r)?;
        let security_mode = SecurityMode::from_bits_retain(r.u16()?);
        let count = r.u16()?;
        let dialects = (0..count).map(|_| r.u16().map(Dialect)).collect::<Result<_, _>>()?;
        Ok(Self { capabilities, client_guid, security_mode, dialects })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u32(self.capabilities.bits());
        self.client_guid.encode(w);
        w.put_u16(self.security_mode.bits());
        w.put_length_u16(self.dialects.len());
        self.dialects.iter().for_each(|dialect| w.put_u16(dialect.0));
    }
}

impl ValidateNegotiateInfoResponse {
    /// Bytes of the response.
    pub const SIZE: usize = 24;

    pub fn decode(output: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(output, "VALIDATE_NEGOTIATE_INFO response");
        Ok(Self {
            capabilities: Capabilities::from_bits_retain(r.u32()?),
            server_guid: Guid::decode(&mut r)?,
            security_mode: SecurityMode::from_bits_retain(r.u16()?),
            dialect: Dialect(r.u16()?),
        })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u32(self.capabilities.bits());
        self.server_guid.encode(w);
        w.put_u16(self.security_mode.bits());
        w.put_u16(self.dialect.0);
    }
}
