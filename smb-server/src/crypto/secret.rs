//! Key material that wipes itself when dropped and never prints itself.

use std::fmt;

use zeroize::Zeroize;

/// The longest key SMB2 derives: AES-256.
pub const MAX_KEY_LEN: usize = 32;

/// A key of up to [`MAX_KEY_LEN`] bytes.
#[derive(Clone)]
pub struct SecretKey {
    bytes: [u8; MAX_KEY_LEN],
    len: usize,
}

impl SecretKey {
    /// Copies a key. Bytes beyond [`MAX_KEY_LEN`] are dropped: no algorithm here takes more.
    pub fn new(key: &[u8]) -> Self {
        let key = &key[..key.len().min(MAX_KEY_LEN)];
        let mut bytes = [0; MAX_KEY_LEN];
        bytes[..key.len()].copy_from_slice(key);
        Self { bytes, len: key.len() }
    }

    /// The key itself.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Drop for SecretKey {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({} bytes, hidden)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_does_not_print_its_bytes() {
        let text = format!("{:?}", SecretKey::new(&[0xab; 16]));
        assert_eq!(text, "SecretKey(16 bytes, hidden)");
    }

    #[test]
    fn a_key_keeps_its_length() {
        assert_eq!(SecretKey::new(&[7; 16]).as_bytes(), [7; 16]);
        assert_eq!(SecretKey::new(&[7; 40]).as_bytes(), [7; 32]);
    }
}
