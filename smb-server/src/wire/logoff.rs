//! LOGOFF: ends a session. MS-SMB2 2.2.7 and 2.2.8.

use super::codec::{Malformed, Reader, Writer};

/// MS-SMB2 2.2.7.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogoffRequest;

/// MS-SMB2 2.2.8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogoffResponse;
