//! One session as this connection sees it: the keys, and what has to be signed or sealed with them.

use std::sync::Arc;

use crate::auth::Principal;
use crate::crypto::kdf::SessionKeys;
use crate::crypto::seal::{Cipher, SealError, Sealer};
use crate::crypto::sign::{SignError, Signer, SigningAlgorithm};

/// The keys of a session on this connection.
pub(super) struct Channel {
    /// Who set the session up; a re-authentication must prove to be the same one.
    pub(super) principal: Principal,
    /// The client or the server insists on signatures.
    pub(super) signing_required: bool,
    /// Everything after SESSION_SETUP must be encrypted.
    pub(super) encryption_required: bool,
    pub(super) signer: Arc<Signer>,
    sealing: Option<Sealing>,
}

/// One key per direction.
struct Sealing {
    opens: Sealer,
    seals: Arc<Sealer>,
}

/// What two sides agreed on in NEGOTIATE that keys depend on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Algorithms {
    pub(super) signing: SigningAlgorithm,
    pub(super) cipher: Option<Cipher>,
}

/// The keys of a new session cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyError {
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl Channel {
    pub(super) fn new(
        principal: Principal,
        keys: &SessionKeys,
        algorithms: Algorithms,
    ) -> Result<Self, KeyError> {
        let signer = Arc::new(Signer::new(algorithms.signing, keys.signing.as_bytes())?);
        let sealing = match (algorithms.cipher, &keys.server_in, &keys.server_out) {
            (Some(cipher), Some(server_in), Some(server_out)) => Some(Sealing {
                opens: Sealer::new(cipher, server_in.as_bytes())?,
                seals: Arc::new(Sealer::new(cipher, server_out.as_bytes())?),
            }),
            _ => None,
        };
        Ok(Self { principal, signing_required: false, encryption_required: false, signer, sealing })
    }

    /// Whether the client has the key to verify a signature with: a guest's is not known here.
    pub(super) fn can_sign(&self) -> bool {
        self.principal != Principal::Guest
    }

    /// Whether messages of this session can be encrypted.
    pub(super) const fn can_seal(&self) -> bool {
        self.sealing.is_some()
    }

    /// Opens a message of the client in place; what lies behind the transform header is then plain.
    pub(super) fn open(&self, frame: &mut [u8]) -> Result<(), SealError> {
        let sealing = self.sealing.as_ref().ok_or(SealError::Key)?;
        sealing.opens.open(frame).map(|_| ())
    }

    /// What messages of ours are sealed with, for whoever does it later.
    pub(super) fn sealer(&self) -> Option<Arc<Sealer>> {
        self.sealing.as_ref().map(|sealing| Arc::clone(&sealing.seals))
    }

    /// Seals a message of ours that lies elsewhere into a frame of its size.
    pub(super) fn seal_from(
        &self,
        message: &[u8],
        frame: &mut [u8],
        session_id: u64,
    ) -> Result<(), SealError> {
        let sealing = self.sealing.as_ref().ok_or(SealError::Key)?;
        sealing.seals.seal_from(message, frame, session_id)
    }

    /// Seals a message of ours in place; room for the transform header stands in front of it.
    pub(super) fn seal(&self, frame: &mut [u8], session_id: u64) -> Result<(), SealError> {
        let sealing = self.sealing.as_ref().ok_or(SealError::Key)?;
        sealing.seals.seal(frame, session_id)
    }
}
