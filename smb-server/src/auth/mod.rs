//! Authentication: security tokens in, an identity and its session key out; no I/O, no clock.
//!
//! Start from [`Acceptor`], one exchange with one client, and [`UserStore`], who may log in.

use std::{fmt, sync::Arc};

use zeroize::Zeroize;

pub mod client;
pub mod ntlm;
pub mod spnego;
pub mod users;

pub use users::UserStore;

/// What a server says about itself while it authenticates others.
#[derive(Clone, Debug)]
pub struct AcceptorConfig {
    /// NetBIOS name of the server: upper case, at most 15 characters.
    pub netbios_name: String,
    /// NetBIOS name of its domain; a server that stands alone is its own domain.
    pub netbios_domain: String,
    /// DNS name of the server.
    pub dns_name: String,
    /// DNS name of its domain; may be empty.
    pub dns_domain: String,
}

/// The server's side of one authentication exchange, from the first token to its outcome.
///
/// Feed [`step`](Self::step) each security buffer of the exchange until it answers [`Step::Done`]
/// or an error; after either the exchange is over and every further token is malformed.
pub struct Acceptor {
    #[expect(dead_code)]
    config: Arc<AcceptorConfig>,
    #[expect(dead_code)]
    challenge: [u8; 8],
}

/// What follows from a token.
#[derive(Debug)]
pub enum Step {
    /// Send this token with STATUS_MORE_PROCESSING_REQUIRED and wait for the next.
    Continue(Vec<u8>),
    /// The client is who it says.
    Done {
        /// The last token, for the successful response; empty where the mechanism has none.
        token: Vec<u8>,
        /// Who the client is.
        outcome: Outcome,
    },
}

/// Whom an exchange has authenticated.
#[derive(Debug)]
pub enum Outcome {
    /// A user who knows the password.
    User {
        /// The name as the user store spells it.
        name: String,
        /// The key both sides now share.
        session_key: SessionKey,
    },
    /// A client that asked to be nobody. It proves nothing and shares no key; whether it may come in is policy.
    Anonymous,
}

/// The key an exchange leaves both sides with. Wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionKey([u8; 16]);

impl SessionKey {
    /// The key itself.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl Drop for SessionKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(hidden)")
    }
}

/// Why an exchange failed. None of it is for the client's eyes beyond the status it maps to.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The token cannot be parsed or is not the one expected now: STATUS_INVALID_PARAMETER.
    #[error("malformed security token: {0}")]
    Malformed(&'static str),
    /// The client has not proved to be a user of ours: STATUS_LOGON_FAILURE, whatever the reason.
    #[error("logon of {user:?} refused: {reason}")]
    LogonFailure {
        /// The name the client gave, as it gave it: hostile text.
        user: String,
        /// For the log alone.
        reason: Refusal,
    },
}

/// Why a logon was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such user in the store.
    #[error("no such user")]
    UnknownUser,
    /// The response was not made from this user's password.
    #[error("wrong password")]
    WrongPassword,
    /// The client answered with LM or NTLMv1.
    #[error("only NTLMv2 is accepted")]
    WeakResponse,
    /// The client offered no mechanism of ours.
    #[error("no common mechanism")]
    NoCommonMechanism,
    /// The exchange is not the one the client saw: a MIC it promised is missing, or one is wrong.
    #[error("the exchange was tampered with")]
    Tampered,
}

impl Acceptor {
    /// Starts an exchange. `challenge` must be random and never used before.
    pub fn new(config: Arc<AcceptorConfig>, challenge: [u8; 8]) -> Self {
        Self { config, challenge }
    }

    /// Takes the client's next token, SPNEGO or raw NTLMSSP, and answers in kind.
    ///
    /// `filetime` is the time now in 100 ns since 1601.
    ///
    /// # Errors
    /// Any error ends the exchange.
    pub fn step(
        &mut self,
        _token: &[u8],
        _users: &UserStore,
        _filetime: u64,
    ) -> Result<Step, AuthError> {
        Err(AuthError::Malformed("exchange is over"))
    }
}

/// The token of the NEGOTIATE response: the mechanisms on offer.
pub fn initial_token() -> Vec<u8> {
    spnego::neg_token_init2()
}
