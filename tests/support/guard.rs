//! What messages of the raw client have around them once it is logged on: nothing, a signature or a seal.

use libtest_mimic::Failed;
use usmbd::crypto::kdf::SessionKeys;
use usmbd::crypto::preauth::PreauthHash;
use usmbd::crypto::seal::{Cipher, Sealer, TRANSFORM_HEADER_LEN};
use usmbd::crypto::sign::{Signer, SigningAlgorithm};

use super::session::{HEADER, STATUS_PENDING, status, u32_at, u64_at};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protection {
    Plain,
    /// By HMAC-SHA256, on SMB 2.1.
    Signed,
    /// By AES-128-GCM, on SMB 3.1.1.
    Sealed,
}

/// MS-SMB2 2.2.1.2: where the flags are, and the one that says that there is a signature.
const FLAGS: usize = 16;
const SIGNED: u32 = 8;

pub(crate) enum Guard {
    Plain,
    Signed(Signer),
    Sealed { seals: Sealer, opens: Sealer },
}

impl Protection {
    /// The recorded session whose NEGOTIATE leads there.
    pub(crate) fn recording(self) -> &'static str {
        match self {
            Self::Plain | Self::Signed => "dialect-SMB2_10",
            Self::Sealed => "sealed-3.1.1-aes-128-gcm",
        }
    }

    /// With the keys of a session.
    pub(crate) fn with(self, key: &[u8], preauth: &PreauthHash) -> Result<Guard, Failed> {
        let (dialect, cipher) = match self {
            Self::Plain => return Ok(Guard::Plain),
            Self::Signed => (0x0210, None),
            Self::Sealed => (0x0311, Some(Cipher::Aes128Gcm)),
        };
        let keys = SessionKeys::derive(dialect, key, key, preauth.as_bytes(), cipher);
        match (cipher, keys.server_in, keys.server_out) {
            (Some(cipher), Some(server_in), Some(server_out)) => Ok(Guard::Sealed {
                seals: Sealer::new(cipher, server_in.as_bytes())?,
                opens: Sealer::new(cipher, server_out.as_bytes())?,
            }),
            _ => {
                let signer = Signer::new(SigningAlgorithm::HmacSha256, keys.signing.as_bytes())?;
                Ok(Guard::Signed(signer))
            }
        }
    }
}

impl Guard {
    /// A request as it is sent.
    pub(crate) fn protect(&self, session: u64, message: &[u8]) -> Result<Vec<u8>, Failed> {
        let mut message = message.to_vec();
        match self {
            Self::Plain => {}
            Self::Signed(signer) => {
                let flags = u32_at(&message, FLAGS)? | SIGNED;
                message[FLAGS..FLAGS + 4].copy_from_slice(&flags.to_le_bytes());
                signer.sign(&mut message)?;
            }
            Self::Sealed { seals, .. } => {
                message.splice(0..0, [0; TRANSFORM_HEADER_LEN]);
                seals.seal(&mut message, session)?;
            }
        }
        Ok(message)
    }

    /// A message of the server, which fails if it is not protected as it has to be.
    pub(crate) fn open(&self, mut message: Vec<u8>) -> Result<Vec<u8>, Failed> {
        match self {
            Self::Plain => {}
            Self::Signed(signer) => {
                if must_be_signed(&message)? && !signer.verify(&mut message) {
                    return Err("a bad signature".into());
                }
            }
            Self::Sealed { opens, .. } => {
                opens.open(&mut message).map_err(|error| format!("a bad seal: {error}"))?;
                message.drain(..TRANSFORM_HEADER_LEN);
            }
        }
        Ok(message)
    }
}

/// MS-SMB2 3.3.4.1.1: neither an interim answer nor a notification is.
fn must_be_signed(message: &[u8]) -> Result<bool, Failed> {
    let is_answer = message.len() >= HEADER && u64_at(message, 24)? != u64::MAX;
    Ok(is_answer && status(message) != STATUS_PENDING)
}
