//! ECHO: is the other side there? MS-SMB2 2.2.28 and 2.2.29.

use super::codec::{Malformed, Reader, Writer};

/// MS-SMB2 2.2.28.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EchoRequest;

/// MS-SMB2 2.2.29.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EchoResponse;
