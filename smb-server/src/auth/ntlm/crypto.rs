//! The arithmetic of NTLMv2 (MS-NLMP 3.3.2 and 3.4): hashes, proofs, keys and signatures.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use md4::{Digest, Md4};
use md5::Md5;
use rc4::{Rc4, StreamCipher};
use zeroize::{Zeroize, Zeroizing};

use super::flags;

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
    let utf16 = Zeroizing::new(utf16le(password));
    NtHash(Md4::digest(&*utf16).into())
}

/// A 16-byte key on its way through the protocol.
pub(crate) type Key = Zeroizing<[u8; 16]>;

/// NTOWFv2, over user and domain in UTF-16LE as the AUTHENTICATE message carries them.
pub(crate) fn ntowf_v2(hash: &NtHash, user: &[u8], domain: &[u8]) -> Key {
    hmac_md5(&hash.0, &[&upcase(user), domain])
}

/// NTProofStr: what only somebody who knows NTOWFv2 can say about this challenge and this blob.
pub(crate) fn nt_proof(ntowf: &Key, server_challenge: &[u8; 8], blob: &[u8]) -> [u8; 16] {
    *hmac_md5(&**ntowf, &[server_challenge, blob])
}

/// SessionBaseKey, which for NTLMv2 is the KeyExchangeKey too (MS-NLMP 3.4.5.1).
pub(crate) fn session_base_key(ntowf: &Key, nt_proof: &[u8; 16]) -> Key {
    hmac_md5(&**ntowf, &[nt_proof])
}

/// The MIC over the three messages, the field of the MIC itself being zero (MS-NLMP 3.1.5.1.2).
pub(crate) fn mic(exported: &Key, messages: &[&[u8]]) -> [u8; 16] {
    *hmac_md5(&**exported, messages)
}

/// RC4K, which both encrypts and decrypts.
pub(crate) fn rc4k(key: &Key, data: &[u8; 16]) -> Key {
    let mut out = Zeroizing::new(*data);
    rc4(&**key).apply_keystream(&mut *out);
    out
}

/// Who signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    ClientToServer,
    ServerToClient,
}

/// The signing half of NTLM session security, for the one message each side signs here: its first.
pub(crate) struct MessageSigner {
    exported: Key,
    negotiated: u32,
}

impl MessageSigner {
    pub(crate) fn new(exported: Key, negotiated: u32) -> Self {
        Self { exported, negotiated }
    }

    /// GSS_GetMIC with sequence number 0 (MS-NLMP 3.4.4.2, extended session security).
    pub(crate) fn sign_first(&self, direction: Direction, message: &[u8]) -> [u8; 16] {
        const SEQUENCE_NUMBER: [u8; 4] = [0; 4];
        let digest = hmac_md5(&self.sign_key(direction)[..], &[&SEQUENCE_NUMBER, message]);
        let mut checksum: [u8; 8] = std::array::from_fn(|i| digest[i]);
        if self.negotiated & flags::KEY_EXCH != 0 {
            rc4(&self.seal_key(direction)[..]).apply_keystream(&mut checksum);
        }
        let mut signature = [0; 16];
        signature[0] = 1; // Version
        signature[4..12].copy_from_slice(&checksum);
        signature[12..].copy_from_slice(&SEQUENCE_NUMBER);
        signature
    }

    /// SIGNKEY.
    pub(super) fn sign_key(&self, direction: Direction) -> Key {
        let magic: &[u8] = match direction {
            Direction::ClientToServer => {
                b"session key to client-to-server signing key magic constant\0"
            }
            Direction::ServerToClient => {
                b"session key to server-to-client signing key magic constant\0"
            }
        };
        md5(&[&self.exported[..], magic])
    }

    /// SEALKEY: weaker the fewer bits were negotiated.
    pub(super) fn seal_key(&self, direction: Direction) -> Key {
        let magic: &[u8] = match direction {
            Direction::ClientToServer => {
                b"session key to client-to-server sealing key magic constant\0"
            }
            Direction::ServerToClient => {
                b"session key to server-to-client sealing key magic constant\0"
            }
        };
        let strength = match self.negotiated {
            f if f & flags::BITS_128 != 0 => 16,
            f if f & flags::BITS_56 != 0 => 7,
            _ => 5,
        };
        md5(&[&self.exported[..strength], magic])
    }
}

/// UTF-16LE, the only encoding of names in NTLMv2.
pub(crate) fn utf16le(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// The reverse, with U+FFFD for what is no UTF-16.
pub(crate) fn from_utf16le(bytes: &[u8]) -> String {
    let units = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// Upper case of UTF-16LE. Windows maps unit by unit, so whatever grows or leaves the BMP stays ("ß" is not "SS").
pub(super) fn upcase(utf16: &[u8]) -> Vec<u8> {
    let upcase_unit = |unit: u16| {
        let mut upper = char::from_u32(u32::from(unit)).into_iter().flat_map(char::to_uppercase);
        match (upper.next(), upper.next()) {
            (Some(one), None) => u16::try_from(u32::from(one)).unwrap_or(unit),
            _ => unit,
        }
    };
    utf16
        .chunks_exact(2)
        .flat_map(|pair| upcase_unit(u16::from_le_bytes([pair[0], pair[1]])).to_le_bytes())
        .collect()
}

pub(super) fn hmac_md5(key: &[u8], parts: &[&[u8]]) -> Key {
    let Ok(mut mac) = <Hmac<Md5> as KeyInit>::new_from_slice(key) else {
        unreachable!("HMAC takes keys of any length")
    };
    parts.iter().for_each(|part| mac.update(part));
    Zeroizing::new(mac.finalize().into_bytes().into())
}

fn md5(parts: &[&[u8]]) -> Key {
    let mut digest = Md5::new();
    parts.iter().for_each(|part| digest.update(part));
    Zeroizing::new(digest.finalize().into())
}

pub(super) fn rc4(key: &[u8]) -> Rc4 {
    let Ok(rc4) = Rc4::new_from_slice(key) else {
        unreachable!("RC4 takes keys of 1 to 256 bytes, and ours have 16")
    };
    rc4
}
