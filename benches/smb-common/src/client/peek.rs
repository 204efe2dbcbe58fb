//! The first bytes of a sealed message, without the rest and without its tag. GCM and CCM encrypt with AES in counter
//! mode, so any part can be read alone: enough to see which request a response is of, where not every response is opened.
//! What is read so is not authenticated, and is for counting only.

use std::io;
use std::ops::Range;

use aws_lc_rs::cipher::{AES_128, AES_256, DecryptingKey, DecryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use usmbd::crypto::seal::{Cipher, TRANSFORM_HEADER_LEN};

/// MS-SMB2 2.2.41: where the nonce is.
const NONCE: usize = 20;

/// The blocks that the message is encrypted with, one key's.
pub(super) struct Peek {
    key: DecryptingKey,
    cipher: Cipher,
}

impl Peek {
    pub(super) fn new(cipher: Cipher, key: &[u8]) -> io::Result<Self> {
        let algorithm = if cipher.key_len() == 32 { &AES_256 } else { &AES_128 };
        let key = UnboundCipherKey::new(algorithm, key).and_then(DecryptingKey::ctr);
        Ok(Self { key: key.map_err(io::Error::other)?, cipher })
    }

    /// Decrypts what there is of a frame behind its transform header, in place; where that lies.
    pub(super) fn open(&self, frame: &mut [u8]) -> io::Result<Range<usize>> {
        let (header, message) = frame
            .split_at_mut_checked(TRANSFORM_HEADER_LEN)
            .filter(|(header, _)| header.starts_with(b"\xfdSMB"))
            .ok_or_else(|| io::Error::other("an answer that is not encrypted"))?;
        let context = DecryptionContext::Iv128(FixedLength::from(self.first_block(header)));
        self.key.decrypt(message, context).map_err(io::Error::other)?;
        Ok(TRANSFORM_HEADER_LEN..frame.len())
    }

    /// The counter block of the message's first sixteen bytes.
    fn first_block(&self, header: &[u8]) -> [u8; 16] {
        let mut block = [0; 16];
        match self.cipher {
            // NIST SP 800-38D 7.1: the nonce, then a counter of 32 bits, whose 1 is the tag's.
            Cipher::Aes128Gcm | Cipher::Aes256Gcm => {
                block[..12].copy_from_slice(&header[NONCE..NONCE + 12]);
                block[15] = 2;
            }
            // RFC 3610 2.3: the length of the counter less one, the nonce, the counter, whose 0 is the tag's.
            Cipher::Aes128Ccm | Cipher::Aes256Ccm => {
                block[0] = 3;
                block[1..12].copy_from_slice(&header[NONCE..NONCE + 11]);
                block[15] = 1;
            }
        }
        block
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use usmbd::crypto::seal::Sealer;

    #[test]
    fn the_beginning_of_a_sealed_message_can_be_read_alone() {
        for cipher in [Cipher::Aes128Ccm, Cipher::Aes128Gcm, Cipher::Aes256Ccm, Cipher::Aes256Gcm] {
            let key = vec![7; cipher.key_len()];
            let message: Vec<u8> = (0..1000_u32).map(|index| index as u8).collect();
            let mut frame = vec![0; TRANSFORM_HEADER_LEN];
            frame.extend_from_slice(&message);
            Sealer::new(cipher, &key).unwrap().seal(&mut frame, 1).unwrap();
            let mut head = frame[..TRANSFORM_HEADER_LEN + 83].to_vec();
            let range = Peek::new(cipher, &key).unwrap().open(&mut head).unwrap();
            assert_eq!(head[range], message[..83], "{cipher:?}");
        }
    }

    #[test]
    fn what_is_not_sealed_is_refused() {
        let peek = Peek::new(Cipher::Aes128Gcm, &[7; 16]).unwrap();
        assert!(peek.open(&mut [0; 200]).is_err());
        assert!(peek.open(&mut b"\xfdSMB".to_vec()).is_err());
    }
}
