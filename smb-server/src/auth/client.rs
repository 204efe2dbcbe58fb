//! The client's side of an exchange, for tests and tools: the server itself never logs in anywhere.

use super::{AuthError, SessionKey};

/// One exchange as a client: [`negotiate`](Self::negotiate), then [`authenticate`](Self::authenticate), then [`finish`](Self::finish).
pub struct Client {}

impl Client {
    /// An exchange that will log `user` of `domain` (may be empty) in with `password`.
    pub fn new(_user: &str, _domain: &str, _password: &str) -> Self {
        Self {}
    }

    /// The first token: SPNEGO with an NTLM NEGOTIATE in it.
    pub fn negotiate(&mut self) -> Vec<u8> {
        Vec::new()
    }

    /// Answers the server's challenge and fixes the session key. `randomness` is the client challenge and the key to exchange.
    ///
    /// # Errors
    /// When the server's token is not a challenge.
    pub fn authenticate(
        &mut self,
        _token: &[u8],
        _randomness: ([u8; 8], [u8; 16]),
    ) -> Result<Vec<u8>, AuthError> {
        Err(AuthError::Malformed("x"))
    }

    /// Checks the server's last token.
    ///
    /// # Errors
    /// When the server did not accept, or its mechListMIC is wrong.
    pub fn finish(&mut self, _token: &[u8]) -> Result<SessionKey, AuthError> {
        Err(AuthError::Malformed("x"))
    }
}
