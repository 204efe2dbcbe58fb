//! NEGOTIATE: dialect, capabilities and, since 3.1.1, contexts. MS-SMB2 2.2.3 and 2.2.4.

use bitflags::bitflags;

use super::codec::{Malformed, Reader, Writer};
use super::dialect::Dialect;
use super::filetime::FileTime;
use super::guid::Guid;
use super::negotiate_context::NegotiateContext;

/// MS-SMB2 2.2.3.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NegotiateRequest {
    pub security_mode: SecurityMode,
    pub capabilities: Capabilities,
    pub client_guid: Guid,
    pub dialects: Vec<Dialect>,
    /// On the wire only where `dialects` has 3.1.1.
    pub contexts: Vec<NegotiateContext>,
}

/// MS-SMB2 2.2.4.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NegotiateResponse {
    pub security_mode: SecurityMode,
    pub dialect: Dialect,
    pub server_guid: Guid,
    pub capabilities: Capabilities,
    pub max_transact_size: u32,
    pub max_read_size: u32,
    pub max_write_size: u32,
    pub system_time: FileTime,
    pub server_start_time: FileTime,
    pub security_buffer: Vec<u8>,
    /// On the wire only where `dialect` is 3.1.1.
    pub contexts: Vec<NegotiateContext>,
}

bitflags! {
    /// Whether a side can sign and whether it insists. 16 bits in NEGOTIATE, 8 in SESSION_SETUP.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct SecurityMode: u16 {
        const SIGNING_ENABLED = 0x0001;
        const SIGNING_REQUIRED = 0x0002;
    }
}

bitflags! {
    /// What a side can do, as far as it is not said in contexts.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Capabilities: u32 {
        const DFS = 0x0000_0001;
        const LEASING = 0x0000_0002;
        const LARGE_MTU = 0x0000_0004;
        const MULTI_CHANNEL = 0x0000_0008;
        const PERSISTENT_HANDLES = 0x0000_0010;
        const DIRECTORY_LEASING = 0x0000_0020;
        /// Only in 3.0 and 3.0.2; 3.1.1 has a context for it.
        const ENCRYPTION = 0x0000_0040;
        const NOTIFICATIONS = 0x0000_0080;
    }
}

impl NegotiateRequest {
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::body(message, 36, "NEGOTIATE request")?;
        let dialect_count = r.u16()?;
        let security_mode = SecurityMode::from_bits_retain(r.u16()?);
        r.skip(2)?;
        let capabilities = Capabilities::from_bits_retain(r.u32()?);
        let client_guid = Guid::decode(&mut r)?;
        // Before 3.1.1 these eight bytes are ClientStartTime, which must be ignored.
        let context_offset = r.length()?;
        let context_count = r.u16()?;
        r.skip(2)?;
        let dialects =
            (0..dialect_count).map(|_| r.u16().map(Dialect)).collect::<Result<Vec<_>, _>>()?;
        let contexts = if dialects.contains(&Dialect::SMB_3_1_1) {
            NegotiateContext::decode_list(r, context_offset, context_count)?
        } else {
            Vec::new()
        };
        Ok(Self { security_mode, capabilities, client_guid, dialects, contexts })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u16(36);
        w.put_length_u16(self.dialects.len());
        w.put_u16(self.security_mode.bits());
        w.put_u16(0);
        w.put_u32(self.capabilities.bits());
        self.client_guid.encode(w);
        if !self.dialects.contains(&Dialect::SMB_3_1_1) {
            w.put_u64(0);
            self.encode_dialects(w);
            return;
        }
        let context_offset = w.reserve_u32();
        w.put_length_u16(self.contexts.len());
        w.put_u16(0);
        self.encode_dialects(w);
        NegotiateContext::encode_list(&self.contexts, context_offset, w);
    }

    fn encode_dialects(&self, w: &mut Writer<'_>) {
        self.dialects.iter().for_each(|dialect| w.put_u16(dialect.0));
    }
}

impl NegotiateResponse {
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::body(message, 65, "NEGOTIATE response")?;
        let security_mode = SecurityMode::from_bits_retain(r.u16()?);
        let dialect = Dialect(r.u16()?);
        let context_count = r.u16()?;
        let server_guid = Guid::decode(&mut r)?;
        let capabilities = Capabilities::from_bits_retain(r.u32()?);
        let max_transact_size = r.u32()?;
        let max_read_size = r.u32()?;
        let max_write_size = r.u32()?;
        let system_time = FileTime::decode(&mut r)?;
        let server_start_time = FileTime::decode(&mut r)?;
        let security = (r.u16()?, r.u16()?);
        let context_offset = r.length()?;
        let security = r.window_range(security.0, security.1)?;
        r.seek(security.start)?;
        let security_buffer = r.take(security.len())?.to_vec();
        let contexts = if dialect == Dialect::SMB_3_1_1 {
            NegotiateContext::decode_list(r, context_offset, context_count)?
        } else {
            Vec::new()
        };
        Ok(Self {
            security_mode,
            dialect,
            server_guid,
            capabilities,
            max_transact_size,
            max_read_size,
            max_write_size,
            system_time,
            server_start_time,
            security_buffer,
            contexts,
        })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        let has_contexts = self.dialect == Dialect::SMB_3_1_1;
        w.put_u16(65);
        w.put_u16(self.security_mode.bits());
        w.put_u16(self.dialect.0);
        w.put_length_u16(if has_contexts { self.contexts.len() } else { 0 });
        self.server_guid.encode(w);
        w.put_u32(self.capabilities.bits());
        w.put_u32(self.max_transact_size);
        w.put_u32(self.max_read_size);
        w.put_u32(self.max_write_size);
        self.system_time.encode(w);
        self.server_start_time.encode(w);
        let (offset, length) = (w.reserve_u16(), w.reserve_u16());
        let context_offset = w.reserve_u32();
        w.attach(offset, length, &self.security_buffer);
        if has_contexts {
            NegotiateContext::encode_list(&self.contexts, context_offset, w);
        } else {
            w.fill(context_offset, 0);
        }
    }
}
