//! SESSION_SETUP: who the user is, and the keys that follow from it. MS-SMB2 3.3.5.5.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::auth::{Acceptor, AuthError, Outcome, Step};
use crate::crypto;
use crate::crypto::kdf::SessionKeys;
use crate::crypto::preauth::PreauthHash;
use crate::wire::dialect::Dialect;
use crate::wire::filetime::FileTime;
use crate::wire::negotiate::SecurityMode;
use crate::wire::session_setup::{
    SessionFlags, SessionSetupFlags, SessionSetupRequest, SessionSetupResponse,
};
use crate::wire::status::NtStatus;

use super::channel::Channel;
use super::config::Config;
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

/// What a SESSION_SETUP comes to.
pub(super) struct Outcomes {
    pub(super) session_id: u64,
    pub(super) reply: Reply,
    pub(super) change: Change,
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

    /// A response that asks for more is part of the exchange's hash; the last one is not.
    pub(super) fn hash_response(&mut self, session_id: u64, message: &[u8]) {
        if let Some(exchange) = self.exchanges.get_mut(&session_id) {
            exchange.preauth.update(message);
        }
    }

    /// Takes one SESSION_SETUP request; `message` is its bytes.
    pub(super) fn setup(
        &mut self,
        config: &Config,
        negotiated: &Negotiated,
        session_id: u64,
        request: &SessionSetupRequest,
        message: &[u8],
        now: FileTime,
    ) -> Outcomes {
        let session_id = match self.exchange_id(config, negotiated, session_id, request) {
            Ok(id) => id,
            Err(status) => {
                return Outcomes {
                    session_id,
                    reply: Reply::error(status),
                    change: Change::Nothing,
                };
            }
        };
        let (reply, change) = match self.step(config, negotiated, session_id, request, message, now)
        {
            Ok(outcome) => outcome,
            Err(status) => {
                self.exchanges.remove(&session_id);
                // MS-SMB2 3.3.5.5: a failed re-authentication ends the session.
                let ended = self.channels.contains_key(&session_id);
                (Reply::error(status), if ended { Change::Ended } else { Change::Nothing })
            }
        };
        Outcomes { session_id, reply, change }
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
        request: &SessionSetupRequest,
        message: &[u8],
        now: FileTime,
    ) -> Result<(Reply, Change), NtStatus> {
        let exchange = self.exchanges.get_mut(&session_id).ok_or(NtStatus::USER_SESSION_DELETED)?;
        exchange.preauth.update(message);
        let step = exchange.acceptor.step(&request.security_buffer, &config.users, now.0);
        let (token, outcome) = match step.map_err(|error| refuse(&error))? {
            Step::Continue(token) => return Ok((more_processing(token), Change::Nothing)),
            Step::Done { token, outcome } => (token, outcome),
        };
        let exchange = self.exchanges.remove(&session_id).ok_or(NtStatus::USER_SESSION_DELETED)?;
        let Outcome::User { name, session_key } = outcome else {
            tracing::info!("anonymous logon refused");
            return Err(NtStatus::ACCESS_DENIED);
        };
        if let Some(channel) = self.channels.get(&session_id) {
            // The keys stay: MS-SMB2 3.3.5.5.3 derives them for new sessions only.
            return match channel.user == name {
                true => Ok((success(channel, token), Change::Nothing)),
                false => Err(NtStatus::ACCESS_DENIED),
            };
        }
        let key = session_key.as_bytes();
        let channel =
            new_channel(config, negotiated, &name, key, &exchange.preauth, request.security_mode)?;
        let reply = success(&channel, token);
        self.channels.insert(session_id, channel);
        let previous_session_id = exchange.previous_session_id;
        Ok((
            reply,
            Change::Established(Established { session_id, user: name, previous_session_id }),
        ))
    }
}

fn new_channel(
    config: &Config,
    negotiated: &Negotiated,
    user: &str,
    session_key: &[u8],
    preauth: &PreauthHash,
    client_mode: SecurityMode,
) -> Result<Channel, NtStatus> {
    let Negotiated { dialect: Dialect(dialect), algorithms, .. } = *negotiated;
    let keys = SessionKeys::derive(
        dialect,
        session_key,
        session_key,
        preauth.as_bytes(),
        algorithms.cipher,
    );
    let mut channel = Channel::new(user.to_owned(), &keys, algorithms).map_err(|error| {
        tracing::error!(%error, "session keys are unusable");
        NtStatus::INTERNAL_ERROR
    })?;
    channel.encryption_required = config.require_encryption;
    if channel.encryption_required && !channel.can_seal() {
        tracing::info!(user, "refused: encryption is required and the client does not offer it");
        return Err(NtStatus::ACCESS_DENIED);
    }
    channel.signing_required =
        config.require_signing || client_mode.contains(SecurityMode::SIGNING_REQUIRED);
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
    Reply::ok(Body::SessionSetup(SessionSetupResponse { session_flags, security_buffer: token }))
}

fn refuse(error: &AuthError) -> NtStatus {
    tracing::info!(%error, "logon refused");
    match error {
        AuthError::Malformed(_) => NtStatus::INVALID_PARAMETER,
        AuthError::LogonFailure { .. } => NtStatus::LOGON_FAILURE,
    }
}
