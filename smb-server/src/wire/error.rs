//! The body of a response that failed. MS-SMB2 2.2.2.

use super::codec::{Malformed, Reader, Writer};
use super::header::Command;
use super::status::NtStatus;

/// MS-SMB2 2.2.2. The status stands in the header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorResponse {
    /// How many error contexts `data` is, in 3.1.1; else 0.
    pub error_context_count: u8,
    pub data: Vec<u8>,
}

/// MS-SMB2 2.2.2.1, ErrorId.
const ERROR_ID_DEFAULT: u32 = 0;

impl ErrorResponse {
    /// With `data`, unless that is empty; in 3.1.1 as the one error context of the default kind,
    /// MS-SMB2 2.2.2.1.
    pub fn new(data: Vec<u8>, contexts: bool) -> Self {
        if data.is_empty() || !contexts {
            return Self { error_context_count: 0, data };
        }
        let mut context = Vec::new();
        let mut w = Writer::new(&mut context);
        w.put_length_u32(data.len());
        w.put_u32(ERROR_ID_DEFAULT);
        w.put_bytes(&data);
        Self { error_context_count: 1, data: context }
    }

    /// Whether a response to `command` with `status` has this body rather than the command's own.
    /// MS-SMB2 3.3.4.4. One case the status does not tell: a server-side copy that fails with
    /// `INVALID_PARAMETER` because it exceeds the limits answers with the limits, in an IOCTL
    /// response.
    pub fn is_body_of(command: Command, status: NtStatus) -> bool {
        !matches!(
            (command, status),
            (_, NtStatus::SUCCESS)
                | (Command::SESSION_SETUP, NtStatus::MORE_PROCESSING_REQUIRED)
                | (Command::READ | Command::QUERY_INFO | Command::IOCTL, NtStatus::BUFFER_OVERFLOW)
                | (Command::CHANGE_NOTIFY, NtStatus::NOTIFY_ENUM_DIR)
        )
    }

    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::body(message, 9, "ERROR response")?;
        let error_context_count = r.u8()?;
        r.skip(1)?;
        let byte_count = r.length()?;
        Ok(Self { error_context_count, data: r.take(byte_count)?.to_vec() })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u16(9);
        w.put_u8(self.error_context_count);
        w.put_u8(0);
        w.put_length_u32(self.data.len());
        w.put_bytes(&self.data);
        // MS-SMB2 2.2.2: without error data there is still one byte.
        w.pad_if_empty(&self.data);
    }
}
