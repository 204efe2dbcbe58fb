//! The keys of a session, derived from what its authentication agreed on.

use aws_lc_rs::hmac;

use super::{preauth::HASH_LEN, seal::Cipher, secret::SecretKey};

/// Dialect revisions at which the derivation changes.
const SMB_3_0: u16 = 0x0300;
const SMB_3_1_1: u16 = 0x0311;

/// What SMB2 signs with and calls Session.SessionKey: always this long.
const SESSION_KEY_LEN: usize = 16;

/// The keys of one session, or (signing only) of one channel bound to it.
#[derive(Clone, Debug)]
pub struct SessionKeys {
    /// Session.SigningKey or Channel.SigningKey.
    pub signing: SecretKey,
    /// Opens what the client sealed. The server's Session.DecryptionKey; absent before 3.0.
    pub server_in: Option<SecretKey>,
    /// Seals what the server sends. The server's Session.EncryptionKey; absent before 3.0.
    pub server_out: Option<SecretKey>,
    /// Session.ApplicationKey, for protocols above SMB.
    pub application: SecretKey,
}

impl SessionKeys {
    /// Derives all keys of a session.
    ///
    /// `session_key` is what authentication agreed on; only its first 16 bytes count and a shorter
    /// one is padded with zeros. `full_key` is the same key in full length: AES-256 seals with keys derived from it.
    /// `preauth` is the hash up to the last SESSION_SETUP request and matters to 3.1.1 alone.
    /// Without a `cipher` the sealing keys are derived as for AES-128.
    pub fn derive(
        dialect: u16,
        session_key: &[u8],
        full_key: &[u8],
        preauth: &[u8; HASH_LEN],
        cipher: Option<Cipher>,
    ) -> Self {
        let session_key = fit_session_key(session_key);
        let base = session_key.as_bytes();
        if dialect < SMB_3_0 {
            // MS-SMB2 3.3.5.5.3: before 3.0 the session key itself signs, and nothing is sealed.
            return Self {
                signing: session_key.clone(),
                server_in: None,
                server_out: None,
                application: session_key,
            };
        }
        let purposes = if dialect >= SMB_3_1_1 { purposes_3_1_1(preauth) } else { PURPOSES_3_0 };
        let (seal_base, seal_len) = match cipher.map_or(16, Cipher::key_len) {
            32 => (full_key, 32),
            len => (base, len),
        };
        Self {
            signing: purposes.signing.derive(base, 16),
            server_in: Some(purposes.server_in.derive(seal_base, seal_len)),
            server_out: Some(purposes.server_out.derive(seal_base, seal_len)),
            application: purposes.application.derive(base, 16),
        }
    }
}

/// MS-SMB2 3.3.1.8: Session.SessionKey is the first 16 bytes, right-padded with zeros.
fn fit_session_key(key: &[u8]) -> SecretKey {
    let mut fitted = zeroize::Zeroizing::new([0; SESSION_KEY_LEN]);
    let len = key.len().min(SESSION_KEY_LEN);
    fitted[..len].copy_from_slice(&key[..len]);
    SecretKey::new(&*fitted)
}

/// What a key is for, as the KDF is told: label and context, terminating NUL of the labels included.
#[derive(Clone, Copy)]
struct Purpose<'a> {
    label: &'a [u8],
    context: &'a [u8],
}

struct Purposes<'a> {
    signing: Purpose<'a>,
    server_in: Purpose<'a>,
    server_out: Purpose<'a>,
    application: Purpose<'a>,
}

/// MS-SMB2 3.3.5.5.3 for 3.0 and 3.0.2: fixed contexts. The blank in "ServerIn " is the protocol's.
const PURPOSES_3_0: Purposes<'static> = Purposes {
    signing: Purpose { label: b"SMB2AESCMAC\0", context: b"SmbSign\0" },
    server_in: Purpose { label: b"SMB2AESCCM\0", context: b"ServerIn \0" },
    server_out: Purpose { label: b"SMB2AESCCM\0", context: b"ServerOut\0" },
    application: Purpose { label: b"SMB2APP\0", context: b"SmbRpc\0" },
};

/// MS-SMB2 3.3.5.5.3 for 3.1.1: the context is the exchange that led here.
fn purposes_3_1_1(preauth: &[u8; HASH_LEN]) -> Purposes<'_> {
    let with = |label| Purpose { label, context: preauth };
    Purposes {
        signing: with(b"SMBSigningKey\0"),
        server_in: with(b"SMBC2SCipherKey\0"),
        server_out: with(b"SMBS2CCipherKey\0"),
        application: with(b"SMBAppKey\0"),
    }
}

impl Purpose<'_> {
    /// SP800-108 in counter mode over HMAC-SHA256, r = 32: one block covers both lengths SMB2 asks for.
    fn derive(self, base: &[u8], len: usize) -> SecretKey {
        let bits = len as u32 * 8;
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, base));
        context.update(&1u32.to_be_bytes());
        context.update(self.label);
        context.update(&[0]);
        context.update(self.context);
        context.update(&bits.to_be_bytes());
        SecretKey::new(&context.sign().as_ref()[..len])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::hex::{hex, hex_array};

    /// Microsoft's sample sessions of "Encryption in SMB 3.0: A protocol perspective" and "SMB 3.1.1 Encryption in Windows 10".
    const SAMPLE_3_0: &str = "B4546771B515F766A86735532DD6C4F0";
    const SAMPLE_3_1_1: &str = "419FDDF34C1E001909D362AE7FB6AF79";
    const SAMPLE_3_1_1_PREAUTH: &str = "
        B23F3CBFD69487D9832B79B1594A367CDD950909B774C3A4C412B4FCEA9EDDDB
        A7DB256BA2EA30E977F11F9B113247578E0E915C6D2A513B8F2FCA5707DC8770";

    fn derive(dialect: u16, key: &str, cipher: Option<Cipher>) -> SessionKeys {
        let key = hex(key);
        let preauth = hex_array(SAMPLE_3_1_1_PREAUTH);
        SessionKeys::derive(dialect, &key[..key.len().min(16)], &key, &preauth, cipher)
    }

    fn assert_key(key: &SecretKey, expected: &str) {
        assert_eq!(key.as_bytes(), hex(expected));
    }

    #[test]
    fn keys_of_3_0_are_microsofts() {
        let keys = derive(0x0300, SAMPLE_3_0, Some(Cipher::Aes128Ccm));
        assert_key(keys.server_in.as_ref().unwrap(), "261B72350558F2E9DCF613070383EDBF");
        assert_key(keys.server_out.as_ref().unwrap(), "8FE2B57EC34D2DB5B1A9727F526BBDB5");
        // From "SMB 2 and SMB 3 security in Windows 10: the anatomy of signing and cryptographic keys".
        let keys = derive(0x0302, "7CD451825D0450D235424E44BA6E78CC", None);
        assert_key(&keys.signing, "0B7E9C5CAC36C0F6EA9AB275298CEDCE");
    }

    #[test]
    fn keys_of_3_1_1_are_microsofts() {
        let keys = derive(0x0311, SAMPLE_3_1_1, Some(Cipher::Aes128Gcm));
        assert_key(keys.server_in.as_ref().unwrap(), "A2F5E80E5D59103034F32E52F698E5EC");
        assert_key(keys.server_out.as_ref().unwrap(), "748C50868C90F302962A5C35F5F9A8BF");
    }

    #[test]
    fn application_keys_are_openssls() {
        // Expected values computed with OpenSSL 3 (KBKDF).
        assert_key(
            &derive(0x0300, SAMPLE_3_0, None).application,
            "77432f808ce99156b5bc6a3676d730d1",
        );
        let keys = derive(0x0311, SAMPLE_3_1_1, None);
        assert_key(&keys.application, "099d610789fbe82055b313601c3e8cc4");
        assert_key(&keys.signing, "8765949dfeaee105ce9118b45be988f0");
    }

    #[test]
    fn aes_256_seals_with_the_full_key_and_signs_with_the_short_one() {
        // Expected values computed with OpenSSL 3 (KBKDF).
        let full = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
        let keys = derive(0x0311, full, Some(Cipher::Aes256Gcm));
        assert_key(
            keys.server_in.as_ref().unwrap(),
            "9473dc48638034ffcc9e6103272cd8731ecf45fc63fcbcd750b7c9f1e7c03faa",
        );
        assert_key(
            keys.server_out.as_ref().unwrap(),
            "0c9ff1d877ba6f6dc4913a2c42990c1e0daeb558b9ec7fb988f46fcee67fba10",
        );
        assert_key(&keys.signing, "dffa812ee115ff8ea751c694914435e5");
    }

    #[test]
    fn before_3_0_the_session_key_signs_and_nothing_seals() {
        let keys = derive(0x0210, SAMPLE_3_0, None);
        assert_key(&keys.signing, SAMPLE_3_0);
        assert!(keys.server_in.is_none() && keys.server_out.is_none());
    }

    #[test]
    fn session_keys_are_cut_or_padded_to_16_bytes() {
        // MS-SMB2 3.3.1.8.
        let preauth = [0; 64];
        let signing = |key: &[u8]| SessionKeys::derive(0x0202, key, key, &preauth, None).signing;
        assert_key(&signing(&[0xaa; 8]), "aaaaaaaaaaaaaaaa0000000000000000");
        assert_key(&signing(&[0xaa; 32]), "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    }
}
