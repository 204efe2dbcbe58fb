//! SESSION_SETUP: who the user is, and the keys that follow from it. MS-SMB2 3.3.5.5.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::auth::throttle::Withheld;
use crate::auth::{Acceptor, AuthError, Outcome, Principal, Refusal, Step};
use crate::crypto;
use crate::crypto::kdf::SessionKeys;
use crate::crypto::preauth::PreauthHash;
use crate::wire::dialect::Dialect;
use crate::wire::negotiate::SecurityMode;
use crate::wire::session_setup::{
    SessionFlags, SessionSetupFlags, SessionSetupRequest, SessionSetupResponse,
};
use crate::wire::status::NtStatus;

use super::channel::Channel;
use super::config::Config;
use super::connection::Now;
use super::message::{Body, Established, Reply};
use super::negotiate::Negotiated;

/// How many authentications may be under way on one connection: real clients have one or two, and
/// each holds a little memory for somebody who has proved nothing.
const EXCHANGES_MAX: usize = 16;

/// The sessions of a connection: those that stand and those being set up.
#[derive(Default)]
pub(super) struct Sessions {
    channels: BTreeMap<u64, Channel>,
    exchanges: BTreeMap<u64, Exchange>,
}

/// An authentication under way.
struct Exchange {
    acceptor: Acceptor,
    /// Continues the connection's hash over this exchange's messages (MS-SMB2 3.3.5.5, 3.1.1 only).
    preauth: PreauthHash,
    previous_session_id: u64,
}

/// A SESSION_SETUP request.
pub(super) struct Asked<'a> {
    pub(super) session_id: u64,
    pub(super) request: &'a SessionSetupRequest,
    /// Its bytes.
    pub(super) message: &'a [u8],
    pub(super) peer: IpAddr,
    pub(super) now: Now,
}

/// What a SESSION_SETUP comes to.
pub(super) struct Outcomes {
    pub(super) session_id: u64,
    pub(super) reply: Reply,
    pub(super) change: Change,
    /// The reply may have to wait.
    pub(super) withheld: Option<Withheld>,
}

/// A logon that came to nothing.
struct Refused {
    status: NtStatus,
    /// The name that somebody else's password was guessed for.
    guessed: Option<String>,
}

impl From<NtStatus> for Refused {
    fn from(status: NtStatus) -> Self {
        Self { status, guessed: None }
    }
}

/// What changes for the layers above.
pub(super) enum Change {
    Nothing,
    Established(Established),
    /// A session that stood has ended, since its user could not prove to be there. It is to be
    /// removed once the refusal is sent, which is still protected with its keys.
    Ended,
}

impl Sessions {
    pub(super) fn get(&self, session_id: u64) -> Option<&Channel> {
        self.channels.get(&session_id)
    }

    /// Ends a session, and with it a re-authentication that is under way: otherwise its last step
    /// would bring the session back.
    pub(super) fn remove(&mut self, session_id: u64) {
        self.exchanges.remove(&session_id);
        self.channels.remove(&session_id);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// Whether any of them is a user's.
    pub(super) fn have_user(&self) -> bool {
        self.channels.values().any(|channel| channel.principal.is_user())
    }

    /// A response that asks for more is part of the exchange's hash; the last one is not.
    pub(super) fn hash_response(&mut self, session_id: u64, message: &[u8]) {
        if let Some(exchange) = self.exchanges.get_mut(&session_id) {
            exchange.preauth.update(message);
        }
    }

    /// Takes one SESSION_SETUP request.
    pub(super) fn setup(
        &mut self,
        config: &Config,
        negotiated: &Negotiated,
        asked: &Asked<'_>,
    ) -> Outcomes {
        let Asked { session_id, request, peer, now, .. } = *asked;
        let session_id = match self.exchange_id(config, negotiated, session_id, request) {
            Ok(id) => id,
            Err(status) => {
                return Outcomes {
                    session_id,
                    reply: Reply::error(status),
                    change: Change::Nothing,
                    withheld: None,
                };
            }
        };
        match self.step(config, negotiated, session_id, asked) {
            Ok((reply, change)) => {
                if let Change::Established(Established {
                    principal: Principal::User(name), ..
                }) = &change
                {
                    config.throttle.succeeded(name, peer);
                }
                Outcomes { session_id, reply, change, withheld: None }
            }
            Err(Refused { status, guessed }) => {
                self.exchanges.remove(&session_id);
                // MS-SMB2 3.3.5.5: a failed re-authentication ends the session.
                let ended = self.channels.contains_key(&session_id);
                let change = if ended { Change::Ended } else { Change::Nothing };
                let withheld = guessed.map(|user| config.throttle.failed(&user, peer, now.instant));
                Outcomes { session_id, reply: Reply::error(status), change, withheld }
            }
        }
    }

    /// The exchange that the request begins or continues.
    fn exchange_id(
        &mut self,
        config: &Config,
        negotiated: &Negotiated,
        session_id: u64,
        request: &SessionSetupRequest,
    ) -> Result<u64, NtStatus> {
        if request.flags.contains(SessionSetupFlags::BINDING) {
            // MS-SMB2 3.3.5.5 step 4: a server without multichannel does not bind.
            return Err(NtStatus::REQUEST_NOT_ACCEPTED);
        }
        if self.exchanges.contains_key(&session_id) {
            return Ok(session_id);
        }
        let is_new = session_id == 0;
        let known = is_new || self.channels.contains_key(&session_id);
        if !known {
            return Err(NtStatus::USER_SESSION_DELETED);
        }
        let sessions = self.exchanges.len().saturating_add(self.channels.len());
        let full =
            self.exchanges.len() >= EXCHANGES_MAX || (is_new && sessions >= config.sessions_max);
        if full {
            return Err(NtStatus::INSUFFICIENT_RESOURCES);
        }
        let challenge = crypto::random::bytes().map_err(|_| NtStatus::INSUFFICIENT_RESOURCES)?;
        let id = if is_new { config.session_ids.next() } else { session_id };
        let exchange = Exchange {
            acceptor: Acceptor::new(Arc::clone(&config.acceptor), challenge),
            preauth: negotiated.preauth.clone(),
            previous_session_id: request.previous_session_id,
        };
        self.exchanges.insert(id, exchange);
        Ok(id)
    }

    fn step(
        &mut self,
        config: &Config,
        negotiated: &Negotiated,
        session_id: u64,
        asked: &Asked<'_>,
    ) -> Result<(Reply, Change), Refused> {
        let Asked { request, message, now, .. } = *asked;
        let exchange = self.exchanges.get_mut(&session_id).ok_or(NtStatus::USER_SESSION_DELETED)?;
        exchange.preauth.update(message);
        let step = exchange.acceptor.step(&request.security_buffer, &config.users, now.wall.0);
        let (token, outcome) = match step.map_err(refuse)? {
            Step::Continue(token) => return Ok((more_processing(token), Change::Nothing)),
            Step::Done { token, outcome } => (token, outcome),
        };
        let exchange = self.exchanges.remove(&session_id).ok_or(NtStatus::USER_SESSION_DELETED)?;
        if let Some(channel) = self.channels.get(&session_id) {
            // The keys stay: MS-SMB2 3.3.5.5.3 derives them for new sessions only.
            return match channel.principal == outcome.principal {
                true => Ok((success(channel, token), Change::Nothing)),
                false => Err(NtStatus::ACCESS_DENIED.into()),
            };
        }
        check_policy(config, &outcome.principal)?;
        let principal = outcome.principal.clone();
        let channel =
            new_channel(config, negotiated, outcome, &exchange.preauth, request.security_mode)?;
        let reply = success(&channel, token);
        self.channels.insert(session_id, channel);
        let previous_session_id = exchange.previous_session_id;
        Ok((reply, Change::Established(Established { session_id, principal, previous_session_id })))
    }
}

/// Whether somebody of this kind may come in at all. Guests and who is nobody share no secret with the server, so
/// where messages have to be protected they cannot be.
fn check_policy(config: &Config, principal: &Principal) -> Result<(), NtStatus> {
    let unprotected = !config.require_signing && !config.require_encryption;
    let welcome = match principal {
        Principal::User(_) => true,
        Principal::Guest => unprotected,
        Principal::Anonymous => unprotected && config.anonymous,
    };
    if !welcome {
        tracing::info!(%principal, "logon refused");
        return Err(NtStatus::ACCESS_DENIED);
    }
    Ok(())
}

fn new_channel(
    config: &Config,
    negotiated: &Negotiated,
    outcome: Outcome,
    preauth: &PreauthHash,
    client_mode: SecurityMode,
) -> Result<Channel, NtStatus> {
    let Negotiated { dialect: Dialect(dialect), mut algorithms, .. } = *negotiated;
    let Outcome { principal, session_key } = outcome;
    if principal == Principal::Guest {
        algorithms.cipher = None;
    }
    let key = session_key.as_bytes();
    let keys = SessionKeys::derive(dialect, key, key, preauth.as_bytes(), algorithms.cipher);
    let mut channel = Channel::new(principal, &keys, algorithms).map_err(|error| {
        tracing::error!(%error, "session keys are unusable");
        NtStatus::INTERNAL_ERROR
    })?;
    channel.encryption_required = config.require_encryption;
    if channel.encryption_required && !channel.can_seal() {
        let principal = &channel.principal;
        tracing::info!(%principal, "refused: encryption is required and the client does not offer it");
        return Err(NtStatus::ACCESS_DENIED);
    }
    // MS-SMB2 3.3.5.5.3: never of guests and who is nobody, whatever the client says.
    let wanted = config.require_signing || client_mode.contains(SecurityMode::SIGNING_REQUIRED);
    channel.signing_required = wanted && channel.principal.is_user();
    Ok(channel)
}

fn more_processing(token: Vec<u8>) -> Reply {
    let response =
        SessionSetupResponse { session_flags: SessionFlags::empty(), security_buffer: token };
    Reply { status: NtStatus::MORE_PROCESSING_REQUIRED, body: Body::SessionSetup(response) }
}

fn success(channel: &Channel, token: Vec<u8>) -> Reply {
    let mut session_flags = SessionFlags::empty();
    session_flags.set(SessionFlags::ENCRYPT_DATA, channel.encryption_required);
    session_flags.set(SessionFlags::IS_GUEST, channel.principal == Principal::Guest);
    session_flags.set(SessionFlags::IS_NULL, channel.principal == Principal::Anonymous);
    Reply::ok(Body::SessionSetup(SessionSetupResponse { session_flags, security_buffer: token }))
}

fn refuse(error: AuthError) -> Refused {
    tracing::info!(%error, "logon refused");
    match error {
        AuthError::Malformed(_) => NtStatus::INVALID_PARAMETER.into(),
        AuthError::LogonFailure { reason: Refusal::NoCommonMechanism, .. } => {
            NtStatus::LOGON_FAILURE.into()
        }
        AuthError::LogonFailure { user, .. } => {
            Refused { status: NtStatus::LOGON_FAILURE, guessed: Some(user) }
        }
    }
}
