//! Encryption of whole messages under the SMB2 TRANSFORM_HEADER, in place.

use std::sync::atomic::{AtomicU64, Ordering};

use aes::{Aes128, Aes256};
use aws_lc_rs::aead::{self, AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, UnboundKey};
use ccm::{
    AeadInOut, Ccm, KeyInit,
    consts::{U11, U16},
};

/// The TRANSFORM_HEADER in front of every sealed message (MS-SMB2 2.2.41).
pub const TRANSFORM_HEADER_LEN: usize = 52;

const PROTOCOL_ID: [u8; 4] = [0xfd, b'S', b'M', b'B'];
const TAG_LEN: usize = 16;
const NONCE_FIELD_LEN: usize = 16;
const FLAG_ENCRYPTED: u16 = 1;
/// Offsets in the header; what follows the tag is authenticated.
const SIGNATURE: usize = 4;
const NONCE: usize = 20;
const ORIGINAL_MESSAGE_SIZE: usize = 36;
const RESERVED: usize = 40;
const FLAGS: usize = 42;
const SESSION_ID: usize = 44;

/// Connection.CipherId, with its number on the wire (MS-SMB2 2.2.3.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Cipher {
    /// The only one of 3.0 and 3.0.2.
    Aes128Ccm = 1,
    /// 3.1.1's usual choice.
    Aes128Gcm = 2,
    /// 3.1.1 by policy.
    Aes256Ccm = 3,
    /// 3.1.1 by policy.
    Aes256Gcm = 4,
}

impl Cipher {
    /// The cipher a client means by a number, if it is one we know.
    pub fn from_wire(id: u16) -> Option<Self> {
        [Self::Aes128Ccm, Self::Aes128Gcm, Self::Aes256Ccm, Self::Aes256Gcm]
            .into_iter()
            .find(|c| *c as u16 == id)
    }

    /// Bytes in a key of this cipher.
    pub fn key_len(self) -> usize {
        match self {
            Self::Aes128Ccm | Self::Aes128Gcm => 16,
            Self::Aes256Ccm | Self::Aes256Gcm => 32,
        }
    }
}

/// Why a message could not be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The frame cannot be a sealed message; the text says which field is wrong.
    #[error("not a sealed message: {0}")]
    Malformed(&'static str),
    /// The frame was not sealed with this key, or was changed since.
    #[error("the seal is broken")]
    Forged,
    /// This key has sealed as many messages as it has nonces: the session must end.
    #[error("the key has no nonces left")]
    NonceExhausted,
    /// The key does not fit the cipher.
    #[error("the key has the wrong length")]
    Key,
    /// The cryptographic library failed, as when it is out of memory.
    #[error("sealing failed")]
    Library,
}

/// Nonces of one key, none given twice, to whichever thread asks.
///
/// A key that seals the same nonce twice is broken, so the counter must be shared by all channels that share the key.
#[derive(Debug, Default)]
pub struct NonceCounter {
    next: AtomicU64,
}

impl NonceCounter {
    /// The nonce field of a transform header: the count, then zeros.
    ///
    /// # Errors
    /// [`SealError::NonceExhausted`], for ever, once all 2⁶⁴−1 are given.
    pub fn next(&self) -> Result<[u8; NONCE_FIELD_LEN], SealError> {
        let count = self
            .next
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_add(1))
            .map_err(|_| SealError::NonceExhausted)?;
        let mut nonce = [0; NONCE_FIELD_LEN];
        nonce[..8].copy_from_slice(&count.to_le_bytes());
        Ok(nonce)
    }
}

/// Seals or opens with one key of a session. A session has two, one per direction, shared by its channels.
pub struct Sealer {
    key: Key,
    nonces: NonceCounter,
}

enum Key {
    Gcm(Box<LessSafeKey>),
    Ccm128(Box<Ccm<Aes128, U16, U11>>),
    Ccm256(Box<Ccm<Aes256, U16, U11>>),
}

impl Sealer {
    /// Prepares a key.
    ///
    /// # Errors
    /// [`SealError::Key`] unless the key is [`Cipher::key_len`] bytes long.
    pub fn new(cipher: Cipher, key: &[u8]) -> Result<Self, SealError> {
        let wrong = |_| SealError::Key;
        let gcm = |algorithm| -> Result<_, SealError> {
            let key = UnboundKey::new(algorithm, key).map_err(|_| SealError::Key)?;
            Ok(Key::Gcm(Box::new(LessSafeKey::new(key))))
        };
        let key = match cipher {
            Cipher::Aes128Gcm => gcm(&AES_128_GCM)?,
            Cipher::Aes256Gcm => gcm(&AES_256_GCM)?,
            Cipher::Aes128Ccm => Key::Ccm128(Box::new(Ccm::new_from_slice(key).map_err(wrong)?)),
            Cipher::Aes256Ccm => Key::Ccm256(Box::new(Ccm::new_from_slice(key).map_err(wrong)?)),
        };
        Ok(Self { key, nonces: NonceCounter::default() })
    }

    /// Seals a frame in place: room for the header ([`TRANSFORM_HEADER_LEN`] bytes of anything), then the plaintext.
    ///
    /// # Errors
    /// The frame is then unfit to send: the plaintext may be changed.
    pub fn seal(&self, frame: &mut [u8], session_id: u64) -> Result<(), SealError> {
        let nonce = self.nonces.next()?;
        self.seal_with(frame, session_id, nonce)
    }

    fn seal_with(
        &self,
        frame: &mut [u8],
        session_id: u64,
        nonce: [u8; NONCE_FIELD_LEN],
    ) -> Result<(), SealError> {
        let (header, message) = split(frame)?;
        let size = u32::try_from(message.len()).map_err(|_| SealError::Malformed("too long"))?;
        header[..SIGNATURE].copy_from_slice(&PROTOCOL_ID);
        header[NONCE..ORIGINAL_MESSAGE_SIZE].copy_from_slice(&nonce);
        // MS-SMB2 2.2.41: what the cipher does not take of the nonce field is zero.
        header[NONCE + self.nonce_len()..ORIGINAL_MESSAGE_SIZE].fill(0);
        header[ORIGINAL_MESSAGE_SIZE..RESERVED].copy_from_slice(&size.to_le_bytes());
        header[RESERVED..FLAGS].fill(0);
        header[FLAGS..SESSION_ID].copy_from_slice(&FLAG_ENCRYPTED.to_le_bytes());
        header[SESSION_ID..].copy_from_slice(&session_id.to_le_bytes());
        let tag = self.encrypt(header, message)?;
        header[SIGNATURE..NONCE].copy_from_slice(&tag);
        Ok(())
    }

    /// Opens a sealed frame in place and returns the message in it.
    ///
    /// # Errors
    /// The bytes after the header are then worthless.
    pub fn open<'f>(&self, frame: &'f mut [u8]) -> Result<&'f mut [u8], SealError> {
        let (header, message) = split(frame)?;
        if header[..SIGNATURE] != PROTOCOL_ID {
            return Err(SealError::Malformed("protocol id"));
        }
        // MS-SMB2 3.3.5.2.1.1: 3.0 reads this field as EncryptionAlgorithm, where 1 is AES-128-CCM.
        if header[FLAGS..SESSION_ID] != FLAG_ENCRYPTED.to_le_bytes() {
            return Err(SealError::Malformed("flags"));
        }
        let size = &header[ORIGINAL_MESSAGE_SIZE..RESERVED];
        if u32::try_from(message.len()).map(u32::to_le_bytes).ok().as_ref().map(<[u8; 4]>::as_slice)
            != Some(size)
        {
            return Err(SealError::Malformed("original message size"));
        }
        self.decrypt(header, message)?;
        Ok(message)
    }

    fn nonce_len(&self) -> usize {
        match self.key {
            Key::Gcm(_) => 12,
            Key::Ccm128(_) | Key::Ccm256(_) => 11,
        }
    }

    fn encrypt(&self, header: &Header, message: &mut [u8]) -> Result<[u8; TAG_LEN], SealError> {
        let aad = &header[NONCE..];
        let tag = match &self.key {
            Key::Gcm(key) => key
                .seal_in_place_separate_tag(gcm_nonce(header), Aad::from(aad), message)
                .ok()
                .and_then(|tag| tag.as_ref().try_into().ok()),
            Key::Ccm128(key) => key
                .encrypt_inout_detached(&ccm_nonce(header).into(), aad, message.into())
                .ok()
                .map(Into::into),
            Key::Ccm256(key) => key
                .encrypt_inout_detached(&ccm_nonce(header).into(), aad, message.into())
                .ok()
                .map(Into::into),
        };
        tag.ok_or(SealError::Library)
    }

    fn decrypt(&self, header: &Header, message: &mut [u8]) -> Result<(), SealError> {
        let aad = &header[NONCE..];
        let tag = tag(header);
        let opened = match &self.key {
            Key::Gcm(key) => key
                .open_in_place_separate_tag(gcm_nonce(header), Aad::from(aad), &tag, message)
                .is_ok(),
            Key::Ccm128(key) => key
                .decrypt_inout_detached(&ccm_nonce(header).into(), aad, message.into(), &tag.into())
                .is_ok(),
            Key::Ccm256(key) => key
                .decrypt_inout_detached(&ccm_nonce(header).into(), aad, message.into(), &tag.into())
                .is_ok(),
        };
        if opened { Ok(()) } else { Err(SealError::Forged) }
    }
}

type Header = [u8; TRANSFORM_HEADER_LEN];

fn split(frame: &mut [u8]) -> Result<(&mut Header, &mut [u8]), SealError> {
    frame.split_first_chunk_mut().ok_or(SealError::Malformed("no whole header"))
}

fn tag(header: &Header) -> [u8; TAG_LEN] {
    std::array::from_fn(|i| header[SIGNATURE + i])
}

fn gcm_nonce(header: &Header) -> aead::Nonce {
    aead::Nonce::assume_unique_for_key(std::array::from_fn(|i| header[NONCE + i]))
}

fn ccm_nonce(header: &Header) -> [u8; 11] {
    std::array::from_fn(|i| header[NONCE + i])
}

/// The session a sealed frame claims to belong to, to find the key by; authentic only once opened.
pub fn claimed_session_id(frame: &[u8]) -> Option<u64> {
    let field = frame.get(SESSION_ID..TRANSFORM_HEADER_LEN)?;
    Some(u64::from_le_bytes(field.try_into().ok()?))
}
