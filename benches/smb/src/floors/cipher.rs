//! What protecting bytes costs alone: one thread, one buffer, no byte moved.

use std::hint::black_box;
use std::io;
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cipher {
    Gmac,
    Gcm128,
    Gcm256,
}

pub(crate) const CIPHERS: [Cipher; 3] = [Cipher::Gmac, Cipher::Gcm128, Cipher::Gcm256];

impl Cipher {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Gmac => "bare AES-128-GMAC",
            Self::Gcm128 => "bare AES-128-GCM",
            Self::Gcm256 => "bare AES-256-GCM",
        }
    }

    /// Says how often it was done, and the nanoseconds.
    pub(super) fn run(self, size: usize, time: Duration) -> io::Result<()> {
        let mut buffer = vec![0x5a; size];
        let key = match self {
            Self::Gcm256 => UnboundKey::new(&AES_256_GCM, &[7; 32]),
            Self::Gmac | Self::Gcm128 => UnboundKey::new(&AES_128_GCM, &[7; 16]),
        };
        let key = LessSafeKey::new(key.map_err(io::Error::other)?);
        let (start, mut operations) = (Instant::now(), 0_u64);
        while start.elapsed() < time {
            let mut nonce = [0; 12];
            nonce[..8].copy_from_slice(&operations.to_le_bytes());
            let nonce = Nonce::assume_unique_for_key(nonce);
            let tag = match self {
                Self::Gmac => key.seal_in_place_separate_tag(nonce, Aad::from(&buffer), &mut []),
                _ => key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut buffer),
            };
            let _ = black_box(tag.map_err(io::Error::other)?);
            operations += 1;
        }
        println!("{operations} {}", start.elapsed().as_nanos());
        Ok(())
    }
}
