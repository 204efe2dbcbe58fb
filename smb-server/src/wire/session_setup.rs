//! SESSION_SETUP: one step of authentication. MS-SMB2 2.2.5 and 2.2.6.

use bitflags::bitflags;

use super::codec::{Malformed, Reader, Writer};
use super::negotiate::{Capabilities, SecurityMode};

/// MS-SMB2 2.2.5.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionSetupRequest {
    pub flags: SessionSetupFlags,
    pub security_mode: SecurityMode,
    pub capabilities: Capabilities,
    pub channel: u32,
    pub previous_session_id: u64,
    pub security_buffer: Vec<u8>,
}

/// MS-SMB2 2.2.6. Also sent with `STATUS_MORE_PROCESSING_REQUIRED`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionSetupResponse {
    pub session_flags: SessionFlags,
    pub security_buffer: Vec<u8>,
}

bitflags! {
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct SessionSetupFlags: u8 {
        /// Bind this connection to an existing session as a further channel.
        const BINDING = 0x01;
    }
}

bitflags! {
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct SessionFlags: u16 {
        const IS_GUEST = 0x0001;
        const IS_NULL = 0x0002;
        const ENCRYPT_DATA = 0x0004;
    }
}

impl SessionSetupRequest {
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::body(message, 25, "SESSION_SETUP request")?;
        let flags = SessionSetupFlags::from_bits_retain(r.u8()?);
        let security_mode = SecurityMode::from_bits_retain(u16::from(r.u8()?));
        let capabilities = Capabilities::from_bits_retain(r.u32()?);
        let channel = r.u32()?;
        let security = (r.u16()?, r.u16()?);
        let previous_session_id = r.u64()?;
        let security_buffer = r.window(security.0, security.1)?.to_vec();
        Ok(Self {
            flags,
            security_mode,
            capabilities,
            channel,
            previous_session_id,
            security_buffer,
        })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        let [security_mode, _] = self.security_mode.bits().to_le_bytes();
        w.put_u16(25);
        w.put_u8(self.flags.bits());
        w.put_u8(security_mode);
        w.put_u32(self.capabilities.bits());
        w.put_u32(self.channel);
        let (offset, length) = (w.reserve_u16(), w.reserve_u16());
        w.put_u64(self.previous_session_id);
        w.attach(offset, length, &self.security_buffer);
    }
}

impl SessionSetupResponse {
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::body(message, 9, "SESSION_SETUP response")?;
        let session_flags = SessionFlags::from_bits_retain(r.u16()?);
        let security = (r.u16()?, r.u16()?);
        let security_buffer = r.window(security.0, security.1)?.to_vec();
        Ok(Self { session_flags, security_buffer })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u16(9);
        w.put_u16(self.session_flags.bits());
        let (offset, length) = (w.reserve_u16(), w.reserve_u16());
        w.attach(offset, length, &self.security_buffer);
    }
}
