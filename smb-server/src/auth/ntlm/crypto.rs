//! The arithmetic of NTLMv2 (MS-NLMP 3.3.2, 3.4): hashes, responses, MICs and signing keys.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use md4::{Digest, Md4};
use md5::Md5;
use rc4::{Rc4, StreamCipher};
use zeroize::Zeroize;

/// What NTLM keeps of a password. Wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct NtHash([u8; 16]);

impl From<[u8; 16]> for NtHash {
    fn from(hash: [u8; 16]) -> Self {
        Self(hash)
    }
}

impl Drop for NtHash {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for NtHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NtHash(hidden)")
    }
}

/// NTOWFv1: MD4 of the password in UTF-16LE.
pub fn nt_hash(password: &str) -> NtHash {
    let mut utf16 = utf16le(password);
    let hash = Md4::digest(&utf16);
    utf16.zeroize();
    NtHash(hash.into())
}

/// HMAC-MD5 over the concatenation of `parts`.
pub(crate) fn hmac_md5(key: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    let mut mac = <Hmac<Md5> as KeyInit>::new_from_slice(key).unwrap();
    parts.iter().for_each(|p| mac.update(p));
    mac.finalize().into_bytes().into()
}

/// UTF-16LE, the only string encoding of NTLMv2.
pub(crate) fn utf16le(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

pub(crate) fn rc4(key: &[u8; 16], data: &mut [u8]) {
    Rc4::new_from_slice(key).unwrap().apply_keystream(data);
}
