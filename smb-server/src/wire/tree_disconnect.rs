//! TREE_DISCONNECT: lets go of a share. MS-SMB2 2.2.11 and 2.2.12.

use super::codec::{Malformed, Reader, Writer};

/// MS-SMB2 2.2.11.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TreeDisconnectRequest;

/// MS-SMB2 2.2.12.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TreeDisconnectResponse;

impl TreeDisconnectRequest {
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        Reader::empty_body(message, "TREE_DISCONNECT request").map(|()| Self)
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_empty_body();
    }
}

impl TreeDisconnectResponse {
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        Reader::empty_body(message, "TREE_DISCONNECT response").map(|()| Self)
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_empty_body();
    }
}
