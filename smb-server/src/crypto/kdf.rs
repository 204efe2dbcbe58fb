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
