//! Encryption of whole messages under the SMB2 TRANSFORM_HEADER.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

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
    /// What is to be sealed cannot be read any more.
    #[error("the bytes to be sealed are gone")]
    Lost,
}

/// Nonces of one key, none given twice, to whichever thread asks.
///
/// A key that seals the same nonce twice is broken, so the counter must be shared by all channels that share the key.
#[derive(Debug, Default)]
struct NonceCounter {
    next: AtomicU64,
}

impl NonceCounter {
    /// The nonce field of a transform header: the count, then zeros.
    ///
    /// # Errors
    /// [`SealError::NonceExhausted`], for ever, once all 2⁶⁴−1 are given.
    fn next(&self) -> Result<[u8; NONCE_FIELD_LEN], SealError> {
        let count = self
            .next
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_add(1))
            .map_err(|_| SealError::NonceExhausted)?;
        let mut nonce = [0; NONCE_FIELD_LEN];
        nonce[..8].copy_from_slice(&count.to_le_bytes());
        Ok(nonce)
    }
}

/// Seals or opens with one key of a session. A session has two, one per direction.
///
/// It owns the nonces of its key: share one between all channels of a session, never make a second.
pub struct Sealer {
    key: Key,
    nonces: NonceCounter,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").finish_non_exhaustive()
    }
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

    pub(crate) fn seal_with(
        &self,
        frame: &mut [u8],
        session_id: u64,
        nonce: [u8; NONCE_FIELD_LEN],
    ) -> Result<(), SealError> {
        let (header, message) = split(frame)?;
        self.fill(header, message.len(), session_id, nonce)?;
        let tag = self.encrypt(header, message)?;
        header[SIGNATURE..NONCE].copy_from_slice(&tag);
        Ok(())
    }

    /// Seals a message that lies elsewhere and stays as it is, into a frame with room for the header and as much as it.
    ///
    /// # Errors
    /// As [`Self::seal`]; [`SealError::Malformed`] if the room is another.
    pub fn seal_from(
        &self,
        message: &[u8],
        frame: &mut [u8],
        session_id: u64,
    ) -> Result<(), SealError> {
        let (header, room) = split(frame)?;
        if room.len() != message.len() {
            return Err(SealError::Malformed("no room"));
        }
        // CCM goes over the message twice, and is too slow for a copy to matter.
        let Key::Gcm(key) = &self.key else {
            room.copy_from_slice(message);
            return self.seal(frame, session_id);
        };
        self.fill(header, message.len(), session_id, self.nonces.next()?)?;
        let (front, aad) = header.split_at_mut(NONCE);
        let nonce = aead::Nonce::assume_unique_for_key(std::array::from_fn(|i| aad[i]));
        let tag = &mut front[SIGNATURE..];
        key.seal_out_of_place_scatter(nonce, Aad::from(&*aad), message, room, &[], tag)
            .map_err(|_| SealError::Library)
    }

    /// Writes all of a header but the tag.
    fn fill(
        &self,
        header: &mut Header,
        size: usize,
        session_id: u64,
        nonce: [u8; NONCE_FIELD_LEN],
    ) -> Result<(), SealError> {
        let size = u32::try_from(size).map_err(|_| SealError::Malformed("too long"))?;
        header[..SIGNATURE].copy_from_slice(&PROTOCOL_ID);
        header[NONCE..ORIGINAL_MESSAGE_SIZE].copy_from_slice(&nonce);
        // MS-SMB2 2.2.41: what the cipher does not take of the nonce field is zero.
        header[NONCE + self.nonce_len()..ORIGINAL_MESSAGE_SIZE].fill(0);
        header[ORIGINAL_MESSAGE_SIZE..RESERVED].copy_from_slice(&size.to_le_bytes());
        header[RESERVED..FLAGS].fill(0);
        header[FLAGS..SESSION_ID].copy_from_slice(&FLAG_ENCRYPTED.to_le_bytes());
        header[SESSION_ID..].copy_from_slice(&session_id.to_le_bytes());
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
        let size = std::array::from_fn(|i| header[ORIGINAL_MESSAGE_SIZE + i]);
        if usize::try_from(u32::from_le_bytes(size)) != Ok(message.len()) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::hex::hex;

    /// A sealed message as Microsoft published it, with its key and plaintext.
    struct Sample {
        cipher: Cipher,
        key: &'static str,
        session_id: u64,
        plain: &'static str,
        sealed: &'static str,
    }

    const CIPHERS: [Cipher; 4] =
        [Cipher::Aes128Ccm, Cipher::Aes128Gcm, Cipher::Aes256Ccm, Cipher::Aes256Gcm];

    /// "Encryption in SMB 3.0: A protocol perspective": a WRITE and its response. Behind the eleven
    /// bytes that CCM takes, their nonce fields hold more, unlike what MS-SMB2 2.2.41 asks for and
    /// we send; the field is authenticated, so our tags differ where our ciphertexts do not.
    const CCM_REQUEST: Sample = Sample {
        cipher: Cipher::Aes128Ccm,
        key: "261B72350558F2E9DCF613070383EDBF",
        session_id: 0x0008_E400_1400_0011,
        plain: "
            FE534D4240000100000000000900400008000000000000000400000000000000FFFE000001000000
            1100001400E408000000000000000000000000000000000031007000170000000000000000000000
            1501000039000002010000003902000000000000000000007000000000000000536D623320656E63
            72797074696F6E2074657374696E67",
        sealed: "
            FD534D4281A286535415445DAE393921E44FA42E66E69A111892584FB5ED524A744DA3EE87000000
            000001001100001400E4080025C8FEE16605A437832D1CD52DA9F4645333482A175FE5384563F45F
            CDAFAEF38BC62BA4D5C62897996625A44C29BE5658DE2E6117585779E7B59FFD971278D08580D7FA
            899E410E910EABF5AA1DB43050B33B49182637759AC15D84BFCDF5B6B238993C0F4CF4D6012023F6
            C627297075D84B7803912D0A9639634453595EF3E33FFE4E7AC2AB",
    };
    const CCM_RESPONSE: Sample = Sample {
        cipher: Cipher::Aes128Ccm,
        key: "8FE2B57EC34D2DB5B1A9727F526BBDB5",
        session_id: 0x0008_E400_1400_0011,
        plain: "
            FE534D4240000100000000000900210009000000000000000400000000000000FFFE000001000000
            1100001400E408000000000000000000000000000000000011000000170000000000000000000000",
        sealed: "
            FD534D42A6015530A18F6D9AFFE22AFAE8E6648486000000000000001100001400E4080050000000
            000001001100001400E40800DBF46435C5F14169293CE079E344479BF670227E49873F458672C309
            8DAC467DD5809F369D674091665157871483E01F7BECD02064EAC3E235F913668BBC2F097980D4B3
            78F1993EFF6E60D177309E5B",
    };
    /// "SMB 3.1.1 Encryption in Windows 10": the same with GCM.
    const GCM_REQUEST: Sample = Sample {
        cipher: Cipher::Aes128Gcm,
        key: "A2F5E80E5D59103034F32E52F698E5EC",
        session_id: 0x1000_0000_0025,
        plain: "
            FE534D4240000100000000000900010008000000000000000500000000000000FFFE000001000000
            25000000001000000000000000000000000000000000000031007000170000000000000000000000
            0600000004000000010000000400000000000000000000007000000000000000536D623320656E63
            72797074696F6E2074657374696E67",
        sealed: "
            FD534D42BD73D97D2BC9001BCAFAC0FDFF5FEEBCC7D6822D269CAF48904C664C0000000087000000
            0000010025000000001000006ECDD2A7AFC7B47763057A041B8FD4DAFFE990B70C9E09D36C084E02
            D14EF247F8BDE38ACF6256F8B1D3B56F77FBDEB312FEA5E92CBCC1ED8FB2EBBFAA75E49A4A394BB4
            4576545567C24D4C014D47C9FBDFDAFD2C4F9B72F8D256452620A299F48E29E53D6B61D1C13A19E9
            1AF013F00D17E3ABC2FC3D36C8C1B6B93973253852DBD442E46EE8",
    };
    const GCM_RESPONSE: Sample = Sample {
        cipher: Cipher::Aes128Gcm,
        key: "748C50868C90F302962A5C35F5F9A8BF",
        session_id: 0x1000_0000_0025,
        plain: "
            FE534D4240000100000000000900010001000000000000000500000000000000FFFE000001000000
            25000000001000000000000000000000000000000000000011000000170000000000000000000000",
        sealed: "
            FD534D42ACBE1CB7ED343ADF1725EF144D90D4B0E06831DD2E8EB7B4000000000000000050000000
            00000100250000000010000026BBBF949983A6C1C796559D0F2C510CB651D1F7B6AC8DED32A2A0B8
            F2D793A815C6F6B848D69767A215841A42D400AE6DDB5F0B44173A014973321FDD7950DA6179159B
            82E03C9E18A050FF0EA1C967",
    };

    #[test]
    fn microsofts_samples_open() {
        for sample in [CCM_REQUEST, CCM_RESPONSE, GCM_REQUEST, GCM_RESPONSE] {
            let mut frame = hex(sample.sealed);
            assert_eq!(claimed_session_id(&frame), Some(sample.session_id));
            let sealer = Sealer::new(sample.cipher, &hex(sample.key)).unwrap();
            assert_eq!(sealer.open(&mut frame).map(|plain| &*plain), Ok(&*hex(sample.plain)));
        }
    }

    #[test]
    fn microsofts_samples_are_sealed_alike() {
        for sample in [CCM_REQUEST, CCM_RESPONSE, GCM_REQUEST, GCM_RESPONSE] {
            let sealed = hex(sample.sealed);
            let mut frame = [vec![0xee; TRANSFORM_HEADER_LEN], hex(sample.plain)].concat();
            let sealer = Sealer::new(sample.cipher, &hex(sample.key)).unwrap();
            let nonce = std::array::from_fn(|i| sealed[NONCE + i]);
            sealer.seal_with(&mut frame, sample.session_id, nonce).unwrap();
            assert_eq!(frame[TRANSFORM_HEADER_LEN..], sealed[TRANSFORM_HEADER_LEN..]);
            if sample.cipher == Cipher::Aes128Gcm {
                assert_eq!(frame, sealed);
            }
        }
    }

    fn sealed(cipher: Cipher) -> (Sealer, Vec<u8>) {
        let sealer = Sealer::new(cipher, &vec![0x5a; cipher.key_len()]).unwrap();
        let mut frame = [&[0xee; TRANSFORM_HEADER_LEN][..], b"plaintext"].concat();
        sealer.seal(&mut frame, 0x1122_3344_5566_7788).unwrap();
        (sealer, frame)
    }

    #[test]
    fn any_flipped_bit_breaks_a_seal() {
        for cipher in CIPHERS {
            let (sealer, frame) = sealed(cipher);
            for bit in 0..frame.len() * 8 {
                let mut frame = frame.clone();
                frame[bit / 8] ^= 1 << (bit % 8);
                assert!(sealer.open(&mut frame).is_err(), "{cipher:?} bit {bit}");
            }
            assert_eq!(sealer.open(&mut frame.clone()).unwrap(), b"plaintext");
        }
    }

    #[test]
    fn what_is_sealed_from_elsewhere_opens_and_is_what_is_sealed_in_place() {
        for cipher in CIPHERS {
            let key = vec![0x5a; cipher.key_len()];
            for len in [1, 16, 80, 4096, 100_000] {
                let message: Vec<_> = (0..len).map(|at| (at % 251) as u8).collect();
                // Two with the same key, which count alike.
                let [here, elsewhere] = [0; 2].map(|_| Sealer::new(cipher, &key).unwrap());
                let mut expected = [&[0xee; TRANSFORM_HEADER_LEN][..], &message].concat();
                here.seal(&mut expected, 77).unwrap();
                let mut frame = vec![0xdd; TRANSFORM_HEADER_LEN + len];
                elsewhere.seal_from(&message, &mut frame, 77).unwrap();
                assert!(frame == expected, "{cipher:?} {len}");
                elsewhere.seal_from(&message, &mut frame, 77).unwrap();
                assert!(frame != expected, "the same nonce twice");
                assert_eq!(here.open(&mut frame).unwrap(), message);
                for room in [0, TRANSFORM_HEADER_LEN, frame.len() - 1] {
                    let refused = elsewhere.seal_from(&message, &mut frame[..room], 77);
                    assert!(matches!(refused, Err(SealError::Malformed(_))), "{refused:?}");
                }
            }
        }
    }

    #[test]
    fn a_frame_cut_anywhere_does_not_open() {
        let (sealer, frame) = sealed(Cipher::Aes128Gcm);
        for len in 0..frame.len() {
            let cut = sealer.open(&mut frame[..len].to_vec()).err();
            assert!(matches!(cut, Some(SealError::Malformed(_))), "{len}");
        }
    }

    #[test]
    fn what_the_cipher_does_not_take_of_the_nonce_field_is_zero() {
        for (cipher, taken) in [(Cipher::Aes128Ccm, 11), (Cipher::Aes256Gcm, 12)] {
            let sealer = Sealer::new(cipher, &vec![1; cipher.key_len()]).unwrap();
            let mut frame = vec![0; TRANSFORM_HEADER_LEN + 1];
            sealer.seal_with(&mut frame, 1, [0xff; NONCE_FIELD_LEN]).unwrap();
            let field = &frame[NONCE..ORIGINAL_MESSAGE_SIZE];
            assert!(field[..taken].iter().all(|&b| b == 0xff), "{cipher:?}");
            assert!(field[taken..].iter().all(|&b| b == 0), "{cipher:?}");
        }
    }

    #[test]
    fn no_two_threads_get_the_same_nonce() {
        let counter = NonceCounter::default();
        let draw = || (0..1000).map(|_| counter.next().unwrap()).collect::<Vec<_>>();
        let mut drawn: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(draw)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn.len(), 4000);
        // CCM takes eleven bytes: what tells nonces apart must be among them.
        assert!(drawn.iter().all(|nonce| nonce[11..] == [0; 5]));
    }

    #[test]
    fn a_key_out_of_nonces_seals_no_more() {
        let mut sealer = Sealer::new(Cipher::Aes128Gcm, &[1; 16]).unwrap();
        sealer.nonces = NonceCounter { next: AtomicU64::new(u64::MAX - 1) };
        let mut frame = vec![0; TRANSFORM_HEADER_LEN + 1];
        assert_eq!(sealer.seal(&mut frame, 1), Ok(()));
        for _ in 0..3 {
            assert_eq!(sealer.seal(&mut frame, 1), Err(SealError::NonceExhausted));
        }
    }

    #[test]
    fn keys_of_another_length_are_refused() {
        for cipher in CIPHERS {
            for len in [0, cipher.key_len() - 1, cipher.key_len() + 1] {
                assert_eq!(Sealer::new(cipher, &vec![0; len]).err(), Some(SealError::Key));
            }
        }
    }
}
