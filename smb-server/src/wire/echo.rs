//! ECHO: is the other side there? MS-SMB2 2.2.28 and 2.2.29.

use super::codec::{Malformed, Reader, Writer};

/// MS-SMB2 2.2.28.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EchoRequest;

/// MS-SMB2 2.2.29.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EchoResponse;

impl EchoRequest {
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        Reader::empty_body(message, "ECHO request").map(|()| Self)
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_empty_body();
    }
}

impl EchoResponse {
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        Reader::empty_body(message, "ECHO response").map(|()| Self)
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_empty_body();
    }
}
