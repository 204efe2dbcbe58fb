//! The SMB1 NEGOTIATE with which an old client asks for SMB2. MS-CIFS 2.2.4.52.1, MS-SMB2 3.3.5.3.
//! Nothing else of SMB1 is known here.

use super::codec::{Malformed, Reader, Writer};

/// The dialect strings of an SMB1 negotiate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Smb1NegotiateRequest {
    pub dialects: Vec<String>,
}
