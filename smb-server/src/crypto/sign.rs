//! Signatures over single SMB2 messages. Which messages carry one is the session's business.

use std::fmt;

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
    /// What is to be signed cannot be read any more.
    #[error("the bytes to be signed are gone")]
    Lost,
}

/// Signs and verifies with one key: a session's, or a channel's.
pub struct Signer {
    key: Key,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").finish_non_exhaustive()
    }
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
        Self::put(message, &signature)
    }

    /// The signature of a message whose signature field is zero, for [`Self::put`].
    ///
    /// # Errors
    /// As [`Self::sign`].
    pub fn signature(&self, message: &[u8]) -> Result<[u8; SIGNATURE_LEN], SignError> {
        if message.len() < HEADER_LEN {
            return Err(SignError::TooShort(message.len()));
        }
        self.compute(message)
    }

    /// Puts a signature into its message's header.
    ///
    /// # Errors
    /// [`SignError::TooShort`].
    pub fn put(message: &mut [u8], signature: &[u8; SIGNATURE_LEN]) -> Result<(), SignError> {
        let len = message.len();
        *signature_field(message).ok_or(SignError::TooShort(len))? = *signature;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::hex::hex;

    use SigningAlgorithm::{AesCmac, AesGmac, HmacSha256};

    const KEY: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

    /// An empty request or response of message id 0x0102030405060708, signature field filled with rubbish.
    fn message(command: u16, flags: u8) -> Vec<u8> {
        let mut message = hex("fe534d4240000000 0000000000000000 0000000000000000 0807060504030201
                               0000000000000000 8877665544332211 eeeeeeeeeeeeeeee eeeeeeeeeeeeeeee 04000000");
        message[COMMAND..FLAGS - 2].copy_from_slice(&command.to_le_bytes());
        message[FLAGS] = flags;
        message
    }

    fn assert_signature(algorithm: SigningAlgorithm, command: u16, flags: u8, expected: &str) {
        let signer = Signer::new(algorithm, &KEY).unwrap();
        let mut message = message(command, flags);
        signer.sign(&mut message).unwrap();
        assert_eq!(
            message[SIGNATURE..HEADER_LEN],
            hex(expected),
            "{algorithm:?} {command} {flags}"
        );
        assert!(signer.verify(&mut message));
    }

    // The expected signatures of the next three tests were computed with OpenSSL 3.

    #[test]
    fn an_echo_is_signed_as_openssl_would() {
        assert_signature(HmacSha256, 0xd, 8, "5e8605c3023dab7f316f38b8ddc90b13");
        assert_signature(AesCmac, 0xd, 8, "8814ab16ebe7416ba4667703fe6badd9");
        assert_signature(AesGmac, 0xd, 8, "6b77c5406f44a4bcefbe7e6331971893");
    }

    #[test]
    fn gmac_tells_responses_and_cancels_apart() {
        assert_signature(AesGmac, 0xd, 9, "cdc733385638f11429649955da75eb68");
        assert_signature(AesGmac, 0xc, 8, "a216c4ac8fb1c2db40a02951b36aa276");
    }

    #[test]
    fn a_command_number_that_only_begins_like_cancel_is_none() {
        assert_signature(AesGmac, 0x10c, 9, "8e795f63f0ce9b5f1954842fb9bbcdcb");
    }

    #[test]
    fn any_flipped_bit_breaks_a_signature() {
        for algorithm in [HmacSha256, AesCmac, AesGmac] {
            let signer = Signer::new(algorithm, &KEY).unwrap();
            let mut message = message(0xd, 8);
            signer.sign(&mut message).unwrap();
            for bit in 0..message.len() * 8 {
                message[bit / 8] ^= 1 << (bit % 8);
                assert!(!signer.verify(&mut message), "{algorithm:?} bit {bit}");
                message[bit / 8] ^= 1 << (bit % 8);
            }
            assert!(signer.verify(&mut message));
        }
    }

    #[test]
    fn verifying_leaves_the_message_as_it_was() {
        let mut after = message(0xd, 8);
        assert!(!Signer::new(AesGmac, &KEY).unwrap().verify(&mut after));
        assert_eq!(after, message(0xd, 8));
    }

    #[test]
    fn less_than_a_header_is_neither_signed_nor_verified() {
        let signer = Signer::new(AesGmac, &KEY).unwrap();
        for len in 0..HEADER_LEN {
            assert_eq!(signer.sign(&mut vec![0; len]), Err(SignError::TooShort(len)));
            assert!(!signer.verify(&mut vec![0; len]));
        }
    }

    #[test]
    fn keys_of_another_length_are_refused() {
        for algorithm in [HmacSha256, AesCmac, AesGmac] {
            assert_eq!(Signer::new(algorithm, &[0; 15]).err(), Some(SignError::Key));
        }
    }
}
