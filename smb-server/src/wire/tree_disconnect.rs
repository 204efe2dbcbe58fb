//! TREE_DISCONNECT: lets go of a share. MS-SMB2 2.2.11 and 2.2.12.

use super::codec::{Malformed, Reader, Writer};

/// MS-SMB2 2.2.11.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TreeDisconnectRequest;

/// MS-SMB2 2.2.12.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TreeDisconnectResponse;
