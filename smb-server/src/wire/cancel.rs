//! CANCEL: withdraws a request; nothing answers it. MS-SMB2 2.2.30.

use super::codec::{Malformed, Reader, Writer};

/// MS-SMB2 2.2.30. What is cancelled stands in the header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CancelRequest;

impl CancelRequest {
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        Reader::empty_body(message, "CANCEL request").map(|()| Self)
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_empty_body();
    }
}
