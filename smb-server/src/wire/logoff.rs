//! LOGOFF: ends a session. MS-SMB2 2.2.7 and 2.2.8.

use super::codec::{Malformed, Reader, Writer};

/// MS-SMB2 2.2.7.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogoffRequest;

/// MS-SMB2 2.2.8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogoffResponse;

impl LogoffRequest {
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        Reader::empty_body(message, "LOGOFF request").map(|()| Self)
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_empty_body();
    }
}

impl LogoffResponse {
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        Reader::empty_body(message, "LOGOFF response").map(|()| Self)
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_empty_body();
    }
}
