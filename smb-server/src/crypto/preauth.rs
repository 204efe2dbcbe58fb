//! The preauthentication integrity hash of 3.1.1: a running SHA-512 over the exchange so far.

use aws_lc_rs::digest;

/// Bytes in a SHA-512 digest.
pub const HASH_LEN: usize = 64;

/// Connection.PreauthIntegrityHashValue, and its copy per session setup exchange.
///
/// Feed it whole SMB2 messages as they are on the wire, without the transport's length prefix,
/// in the order MS-SMB2 3.3.5.4 and 3.3.5.5 name. The final, successful SESSION_SETUP response
/// is not part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreauthHash([u8; HASH_LEN]);

impl PreauthHash {
    /// The value before the first message: zeros.
    pub fn new() -> Self {
        Self([0; HASH_LEN])
    }

    /// Takes one message, request or response, into the hash.
    pub fn update(&mut self, message: &[u8]) {
        let mut context = digest::Context::new(&digest::SHA512);
        context.update(&self.0);
        context.update(message);
        self.0.copy_from_slice(context.finish().as_ref());
    }

    /// The value so far, the context of 3.1.1's key derivation.
    pub fn as_bytes(&self) -> &[u8; HASH_LEN] {
        &self.0
    }
}

impl Default for PreauthHash {
    fn default() -> Self {
        Self::new()
    }
}
