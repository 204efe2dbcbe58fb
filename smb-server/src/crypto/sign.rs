//! Signatures over single SMB2 messages. Which messages carry one is the session's business.

use aws_lc_rs::{
    aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    cmac,
    constant_time::verify_slices_are_equal,
    hmac,
};

/// The SMB2 header: nothing shorter is a message that could be signed.
const HEADER_LEN: usize = 64;
const SIGNATURE_LEN: usize = 16;
/// Header fields, MS-SMB2 2.2.1.2.
const COMMAND: usize = 12;
const FLAGS: usize = 16;
const MESSAGE_ID: usize = 24;
const SIGNATURE: usize = 48;

const CANCEL: u8 = 0x0c;
const FLAGS_SERVER_TO_REDIR: u8 = 0x01;

/// Connection.SigningAlgorithmId, with its number on the wire (MS-SMB2 2.2.3.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum SigningAlgorithm {
    /// All of 2.x.
    HmacSha256 = 0,
    /// 3.0, 3.0.2, and 3.1.1 where nothing else was agreed on.
    AesCmac = 1,
    /// 3.1.1 by negotiation.
    AesGmac = 2,
}

impl SigningAlgorithm {
    /// The algorithm a client means by a number, if it is one we know.
    pub fn from_wire(id: u16) -> Option<Self> {
        [Self::HmacSha256, Self::AesCmac, Self::AesGmac].into_iter().find(|a| *a as u16 == id)
    }
}

/// Why a message could not be signed: each is a fault of the caller or of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The message has no whole header.
    #[error("a message of {0} bytes has no SMB2 header to sign")]
    TooShort(usize),
    /// The key does not fit the algorithm.
    #[error("the signing key has the wrong length")]
    Key,
    /// The cryptographic library failed, as when it is out of memory.
    #[error("computing the signature failed")]
    Library,
}

/// Signs and verifies with one key: a session's, or a channel's.
pub struct Signer {
    key: Key,
}

enum Key {
    Hmac(Box<hmac::Key>),
    Cmac(cmac::Key),
    Gmac(Box<LessSafeKey>),
}

impl Signer {
    /// Prepares a 16-byte signing key.
    ///
    /// # Errors
    /// [`SignError::Key`] for a key of another length.
    pub fn new(algorithm: SigningAlgorithm, key: &[u8]) -> Result<Self, SignError> {
        if key.len() != 16 {
            return Err(SignError::Key);
        }
        let key = match algorithm {
            SigningAlgorithm::HmacSha256 => {
                Key::Hmac(Box::new(hmac::Key::new(hmac::HMAC_SHA256, key)))
            }
            SigningAlgorithm::AesCmac => {
                Key::Cmac(cmac::Key::new(cmac::AES_128, key).map_err(|_| SignError::Library)?)
            }
            SigningAlgorithm::AesGmac => {
                let key = UnboundKey::new(&AES_128_GCM, key).map_err(|_| SignError::Library)?;
                Key::Gmac(Box::new(LessSafeKey::new(key)))
            }
        };
        Ok(Self { key })
    }

    /// Signs one message in place: header, body and, inside a compound, the padding after it.
    ///
    /// The header must be final, SMB2_FLAGS_SIGNED included: only the signature field may be anything.
    ///
    /// # Errors
    /// The message keeps a signature of zeros.
    pub fn sign(&self, message: &mut [u8]) -> Result<(), SignError> {
        let len = message.len();
        signature_field(message).ok_or(SignError::TooShort(len))?.fill(0);
        let signature = self.compute(message)?;
        message[SIGNATURE..HEADER_LEN].copy_from_slice(&signature);
        Ok(())
    }

    /// Whether a received message, compound padding included, carries the right signature.
    ///
    /// A signature is computed over a zeroed signature field. GMAC takes the message as one slice,
    /// and a copy of a large WRITE would cost as much as its GMAC, so the field is zeroed in
    /// place and put back before this returns.
    #[must_use]
    pub fn verify(&self, message: &mut [u8]) -> bool {
        let Some(field) = signature_field(message) else { return false };
        let received = *field;
        field.fill(0);
        let computed = self.compute(message);
        message[SIGNATURE..HEADER_LEN].copy_from_slice(&received);
        computed.is_ok_and(|computed| verify_slices_are_equal(&computed, &received).is_ok())
    }

    /// MS-SMB2 3.1.4.1 over a message whose signature field is zero.
    fn compute(&self, message: &[u8]) -> Result<[u8; SIGNATURE_LEN], SignError> {
        let mut signature = [0; SIGNATURE_LEN];
        match &self.key {
            Key::Hmac(key) => {
                signature.copy_from_slice(&hmac::sign(key, message).as_ref()[..SIGNATURE_LEN]);
            }
            Key::Cmac(key) => {
                let tag = cmac::sign(key, message).map_err(|_| SignError::Library)?;
                signature.copy_from_slice(tag.as_ref());
            }
            Key::Gmac(key) => {
                // GMAC is GCM with everything authenticated and nothing encrypted.
                let nonce = Nonce::assume_unique_for_key(gmac_nonce(message));
                let tag = key
                    .seal_in_place_separate_tag(nonce, Aad::from(message), &mut [])
                    .map_err(|_| SignError::Library)?;
                signature.copy_from_slice(tag.as_ref());
            }
        }
        Ok(signature)
    }
}

fn signature_field(message: &mut [u8]) -> Option<&mut [u8; SIGNATURE_LEN]> {
    message.get_mut(SIGNATURE..HEADER_LEN)?.try_into().ok()
}

/// MS-SMB2 3.1.4.1: MessageId, then a word whose bit 0 says that the server sends and bit 1 that
/// the message is a CANCEL (which reuses the MessageId of its victim).
fn gmac_nonce(message: &[u8]) -> [u8; 12] {
    let from_server = message[FLAGS] & FLAGS_SERVER_TO_REDIR;
    let cancel = message[COMMAND..COMMAND + 2] == [CANCEL, 0];
    let mut nonce = [0; 12];
    nonce[..8].copy_from_slice(&message[MESSAGE_ID..MESSAGE_ID + 8]);
    nonce[8] = from_server | u8::from(cancel) << 1;
    nonce
}
