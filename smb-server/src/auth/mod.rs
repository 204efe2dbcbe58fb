//! Authentication: security tokens in, an identity and its session key out; no I/O, no clock.
//!
//! Start from [`Acceptor`], one exchange with one client, [`UserStore`], who may log in, and [`Throttle`], how long who
//! cannot has to wait.

use std::{fmt, mem, sync::Arc};

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use self::{
    ntlm::{Accepted, Challenged, crypto::Direction},
    spnego::{NegState, NegTokenInit, NegTokenResp, Token},
};

pub mod client;
pub mod ntlm;
pub mod spnego;
pub mod throttle;
pub mod users;

pub use throttle::Throttle;
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
    config: Arc<AcceptorConfig>,
    challenge: [u8; 8],
    state: State,
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").finish_non_exhaustive()
    }
}

/// What an [`Acceptor`] waits for.
enum State {
    /// The first token.
    Start,
    /// NTLM's first token, because the client's first was for another mechanism or empty.
    Negotiate(Negotiation),
    /// The proof.
    Authenticate(Wrapping, Challenged),
    /// Nothing.
    Over,
}

/// How the client wraps its NTLM messages, and so how it is answered.
enum Wrapping {
    Raw,
    Spnego(Negotiation),
}

/// What SPNEGO must remember until both sides have a key.
struct Negotiation {
    /// The mechanism list as the client sent it.
    mech_types: Vec<u8>,
    /// RFC 4178 5: the list must be protected unless the client got its first choice.
    mic_required: bool,
}

/// What follows from a token.
#[derive(Debug)]
pub enum Step {
    /// Send this token with STATUS_MORE_PROCESSING_REQUIRED and wait for the next.
    Continue(Vec<u8>),
    /// It is known who the client is.
    Done {
        /// The last token, for the successful response; empty where the mechanism has none.
        token: Vec<u8>,
        /// Who the client is.
        outcome: Outcome,
    },
}

/// What an exchange has come to.
#[derive(Debug)]
pub struct Outcome {
    /// Who the client is.
    pub principal: Principal,
    /// The key both sides now share. It is a secret only where the principal is a user.
    pub session_key: SessionKey,
}

/// Who somebody has proved to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// A user who knows the password, under the name that the user store spells.
    User(String),
    /// Somebody whom the server does not know and lets in all the same.
    Guest,
    /// A client that asked to be nobody. Where it may come in is policy.
    Anonymous,
}

impl Principal {
    /// Whether something was proved.
    #[must_use]
    pub const fn is_user(&self) -> bool {
        matches!(self, Self::User(_))
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User(name) => name,
            Self::Guest => "(guest)",
            Self::Anonymous => "(anonymous)",
        })
    }
}

/// The key an exchange leaves both sides with. Wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionKey([u8; 16]);

impl SessionKey {
    pub(crate) fn new(key: [u8; 16]) -> Self {
        Self(key)
    }

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
        Self { config, challenge, state: State::Start }
    }

    /// Takes the client's next token, SPNEGO or raw NTLMSSP, and answers in kind.
    ///
    /// `filetime` is the time now in 100 ns since 1601.
    ///
    /// # Errors
    /// Any error ends the exchange.
    pub fn step(
        &mut self,
        token: &[u8],
        users: &UserStore,
        filetime: u64,
    ) -> Result<Step, AuthError> {
        let state = mem::replace(&mut self.state, State::Over);
        let token = spnego::parse(token).ok_or(AuthError::Malformed("neither SPNEGO nor NTLM"))?;
        match (state, token) {
            (State::Start, Token::Raw(ntlm)) => self.challenge(Wrapping::Raw, ntlm, filetime),
            (State::Start, Token::Init(init)) => self.negotiate(&init, filetime),
            (State::Negotiate(negotiation), Token::Resp(resp)) => {
                let ntlm = resp.response_token.ok_or(AuthError::Malformed("no mechanism token"))?;
                self.challenge(Wrapping::Spnego(negotiation), ntlm, filetime)
            }
            (State::Authenticate(Wrapping::Raw, ntlm), Token::Raw(message)) => {
                let outcome = ntlm.accept(message, users)?.outcome;
                Ok(Step::Done { token: Vec::new(), outcome })
            }
            (State::Authenticate(Wrapping::Spnego(negotiation), ntlm), Token::Resp(resp)) => {
                negotiation.finish(ntlm, &resp, users)
            }
            (State::Over, _) => Err(AuthError::Malformed("the exchange is over")),
            _ => Err(AuthError::Malformed("unexpected kind of token")),
        }
    }

    /// RFC 4178 4.2: settles on NTLM, at once if the client's first choice was NTLM and came with a token.
    fn negotiate(&mut self, init: &NegTokenInit<'_>, filetime: u64) -> Result<Step, AuthError> {
        let Some(position) = init.ntlm_position else {
            let user = String::new();
            return Err(AuthError::LogonFailure { user, reason: Refusal::NoCommonMechanism });
        };
        let mic_required = position != 0;
        let negotiation = Negotiation { mech_types: init.mech_types.to_vec(), mic_required };
        match init.mech_token {
            Some(ntlm) if !mic_required => {
                self.challenge(Wrapping::Spnego(negotiation), ntlm, filetime)
            }
            _ => {
                let neg_state =
                    if mic_required { NegState::RequestMic } else { NegState::AcceptIncomplete };
                self.state = State::Negotiate(negotiation);
                let resp = NegTokenResp {
                    neg_state: Some(neg_state),
                    names_ntlm: true,
                    ..NegTokenResp::default()
                };
                Ok(Step::Continue(resp.encode()))
            }
        }
    }

    /// Answers NTLM's NEGOTIATE with its CHALLENGE.
    fn challenge(
        &mut self,
        wrapping: Wrapping,
        ntlm: &[u8],
        filetime: u64,
    ) -> Result<Step, AuthError> {
        let ntlm = Challenged::start(&self.config, self.challenge, ntlm, filetime)?;
        let token = match &wrapping {
            Wrapping::Raw => ntlm.challenge().to_vec(),
            Wrapping::Spnego(_) => NegTokenResp {
                neg_state: Some(NegState::AcceptIncomplete),
                names_ntlm: true,
                response_token: Some(ntlm.challenge()),
                mech_list_mic: None,
            }
            .encode(),
        };
        self.state = State::Authenticate(wrapping, ntlm);
        Ok(Step::Continue(token))
    }
}

impl Negotiation {
    /// Judges the proof, and the client's mechListMIC, which is answered with ours.
    fn finish(
        &self,
        ntlm: Challenged,
        resp: &NegTokenResp<'_>,
        users: &UserStore,
    ) -> Result<Step, AuthError> {
        let message = resp.response_token.ok_or(AuthError::Malformed("no mechanism token"))?;
        let Accepted { outcome, user, signer } = ntlm.accept(message, users)?;
        let Some(signer) = signer else {
            // Who shares no key with the server cannot be answered with a signature.
            return Ok(completed(None, outcome));
        };
        let sign = |direction| signer.sign_first(direction, &self.mech_types);
        let intact = match resp.mech_list_mic {
            Some(mic) => bool::from(sign(Direction::ClientToServer).ct_eq(mic)),
            None => !self.mic_required,
        };
        if !intact {
            return Err(AuthError::LogonFailure { user, reason: Refusal::Tampered });
        }
        let mic = resp.mech_list_mic.map(|_| sign(Direction::ServerToClient));
        Ok(completed(mic, outcome))
    }
}

fn completed(mic: Option<[u8; 16]>, outcome: Outcome) -> Step {
    let token = NegTokenResp {
        neg_state: Some(NegState::AcceptCompleted),
        mech_list_mic: mic.as_ref().map(<[u8; 16]>::as_slice),
        ..NegTokenResp::default()
    };
    Step::Done { token: token.encode(), outcome }
}

/// The token of the NEGOTIATE response: the mechanisms on offer.
pub fn initial_token() -> Vec<u8> {
    spnego::neg_token_init2()
}

#[cfg(test)]
mod captured;
#[cfg(test)]
mod tests;
