//! From replies to bytes: credits, signatures, seals, and what a response changes.

use std::sync::Arc;
use std::time::Instant;

use crate::crypto::seal::SealError;
use crate::crypto::sign::SignError;
use crate::wire::dialect::Dialect;
use crate::wire::header::Command;
use crate::wire::oplock_break::BreakNotification;
use crate::wire::status::NtStatus;

use crate::protocol::channel::Channel;
use crate::protocol::message::{Body, ChainId, Payload, Protection, Reply};
use crate::protocol::outgoing::Key;
use crate::protocol::reply::{Encoded, Response, Slot};

use super::{Connection, Phase};

impl Connection {
    pub(super) fn respond(&mut self, now: Instant, slots: Vec<Slot>, replies: Vec<Reply>) {
        let command = slots.first().map(|slot| slot.command);
        let seal_for = slots.iter().find(|slot| self.must_seal(slot)).map(|slot| slot.session_id);
        let ends: Vec<u64> = logoffs(&slots, &replies).collect();
        let responses = self.responses(slots, replies, seal_for.is_some());
        self.send(responses, command, seal_for);
        for session_id in ends {
            self.sessions.remove(session_id);
        }
        self.note_sessions(now);
    }

    /// Pairs slots and replies, and grants credits: all of them in the last response of a chain.
    fn responses(&mut self, slots: Vec<Slot>, replies: Vec<Reply>, sealed: bool) -> Vec<Response> {
        let wanted: u16 = slots.iter().map(credits_wanted).fold(0, u16::saturating_add);
        let mut credits = Some(self.window.grant(wanted));
        let mut replies = replies.into_iter();
        let alone = slots.len() == 1;
        let mut responses: Vec<Response> = slots
            .into_iter()
            .map(|slot| {
                // A command that gave too few replies has failed; the client still gets its answer.
                let reply =
                    replies.next().unwrap_or_else(|| Reply::error(NtStatus::INTERNAL_ERROR));
                tracing::trace!(command = %slot.command, message = slot.message_id, status = %reply.status, "response");
                let sign = !sealed && self.must_sign(&slot);
                let protection = match (sealed, sign) {
                    (true, _) => Protection::Sealed,
                    (false, true) => Protection::Signed,
                    (false, false) => Protection::Plain,
                };
                let reply = placed(reply, alone, protection);
                Response { slot, reply, credits: 0, sign }
            })
            .collect();
        if let Some(last) = responses.last_mut() {
            last.credits = credits.take().unwrap_or_default();
        }
        responses
    }

    /// What the answer to a chain will have around it, or the most of what one of its parts will have.
    pub(super) fn protection(&self, slots: &[Slot]) -> Protection {
        if slots.iter().any(|slot| self.must_seal(slot)) {
            Protection::Sealed
        } else if slots.iter().any(|slot| self.must_sign(slot)) {
            Protection::Signed
        } else {
            Protection::Plain
        }
    }

    /// MS-SMB2 3.3.4.1.4: as the request was, or as the session demands.
    fn must_seal(&self, slot: &Slot) -> bool {
        let demanded = |channel: &Channel| {
            channel.encryption_required && slot.command != Command::SESSION_SETUP
        };
        slot.sealed || self.sessions.get(slot.session_id).is_some_and(demanded)
    }

    /// MS-SMB2 3.3.4.1.1.
    fn must_sign(&self, slot: &Slot) -> bool {
        self.sessions
            .get(slot.session_id)
            .is_some_and(|channel| channel.can_sign() && (slot.signed || channel.signing_required))
    }

    fn send(&mut self, responses: Vec<Response>, command: Option<Command>, seal_for: Option<u64>) {
        if seal_for.is_some_and(|session_id| self.sessions.get(session_id).is_none()) {
            tracing::debug!(seal_for, "a response is not sent: it cannot be sealed any more");
            return;
        }
        let signers: Vec<Option<u64>> = responses
            .iter()
            .map(|response| response.sign.then_some(response.slot.session_id))
            .collect();
        let instead = responses.first().and_then(Response::if_bytes_are_lost);
        let first =
            responses.first().map(|response| (response.slot.session_id, response.reply.status));
        let mut encoded = Encoded::new(responses, self.dialect() == Some(Dialect::SMB_3_1_1));
        if encoded.may_be_protected_apart()
            && let Some(key) = self.key(seal_for, &signers)
        {
            return self.outgoing.push_unprotected(encoded.unprotected(key));
        }
        for (index, signer) in signers.into_iter().enumerate() {
            let channel = signer.and_then(|session_id| self.sessions.get(session_id));
            let signed = channel.map_or(Ok(()), |channel| encoded.sign(index, &channel.signer));
            let Err(error) = signed else { continue };
            if let (SignError::Lost, Some(response)) = (error, instead) {
                return self.send(vec![response], command, seal_for);
            }
            tracing::error!(%error, "a response could not be signed and is not sent");
            return;
        }
        self.hash(command, first, encoded.element_mut(0));
        let seal =
            seal_for.and_then(|session_id| Some((self.sessions.get(session_id)?, session_id)));
        match (encoded.finish(seal), instead) {
            (Ok(transmit), _) => self.outgoing.push(transmit),
            (Err(SealError::Lost), Some(response)) => self.send(vec![response], command, seal_for),
            (Err(error), _) => {
                tracing::error!(%error, "a response could not be encrypted and is not sent")
            }
        }
    }

    /// What a whole message is protected with; `None` if with nothing, or with a signature for each of several parts.
    fn key(&self, seal_for: Option<u64>, signers: &[Option<u64>]) -> Option<Key> {
        match (seal_for, signers) {
            (Some(id), _) => Some(Key::Seal(self.sessions.get(id)?.sealer()?, id)),
            (None, [Some(id)]) => Some(Key::Sign(Arc::clone(&self.sessions.get(*id)?.signer))),
            (None, _) => None,
        }
    }

    /// Responses that are part of preauthentication integrity, MS-SMB2 3.3.5.4 and 3.3.5.5.
    fn hash(
        &mut self,
        command: Option<Command>,
        first: Option<(u64, NtStatus)>,
        message: Option<&mut [u8]>,
    ) {
        let (Some(message), Some((session_id, status))) = (message, first) else { return };
        match (command, &mut self.phase) {
            (Some(Command::NEGOTIATE), Phase::Negotiated(negotiated)) => {
                negotiated.preauth.update(message)
            }
            (Some(Command::SESSION_SETUP), _) if status == NtStatus::MORE_PROCESSING_REQUIRED => {
                self.sessions.hash_response(session_id, message);
            }
            _ => {}
        }
    }

    /// MS-SMB2 3.3.4.2: tells the client that a request takes longer, and under which AsyncId.
    pub(super) fn send_interim(&mut self, chain: ChainId) {
        let async_id = self.next_async_id;
        let Some(slot) = self.pending.slot_mut(chain) else { return };
        slot.async_id = Some(async_id);
        let mut slot = slot.clone();
        self.next_async_id += 1;
        let credits =
            self.window.grant(credits_granted_for(slot.credit_charge, slot.credits_requested));
        let sealed = self.must_seal(&slot);
        slot.signed = false;
        let session_id = slot.session_id;
        // An interim response is never signed, MS-SMB2 3.3.4.1.1.
        let response =
            Response { slot, reply: Reply::error(NtStatus::PENDING), credits, sign: false };
        self.send(vec![response], None, sealed.then_some(session_id));
    }

    /// Tells a client something that it has not asked for. It is never signed, MS-SMB2 3.3.4.1.1.
    pub(super) fn send_notification(&mut self, session_id: u64, notification: BreakNotification) {
        let Some(channel) = self.sessions.get(session_id) else { return };
        let seal_for = channel.encryption_required.then_some(session_id);
        let slot = Slot::unsolicited(Command::OPLOCK_BREAK);
        let reply = Reply::ok(Body::BreakNotification(notification));
        let response = Response { slot, reply, credits: 0, sign: false };
        self.send(vec![response], None, seal_for);
    }

    /// Keeps the logon deadline up to date.
    pub(super) fn note_sessions(&mut self, now: Instant) {
        match self.sessions.is_empty() {
            true => self.sessionless_since = self.sessionless_since.or(Some(now)),
            false => self.sessionless_since = None,
        }
    }
}

/// A reply whose bytes are where they are needed: here, if they are to be protected, and nowhere else, unless it is
/// `alone` and they can be sent, or signed, or sealed from where they are. One that was made for that fails otherwise.
fn placed(reply: Reply, alone: bool, protection: Protection) -> Reply {
    let Reply { status, body } = reply;
    let may_be_elsewhere = |payload: &Payload| {
        alone
            && match protection {
                Protection::Plain => true,
                Protection::Signed => payload.is_here() || payload.is_leased(),
                Protection::Sealed => payload.is_leased(),
            }
    };
    match body {
        Body::Read(payload) if may_be_elsewhere(&payload) => {
            Reply { status, body: Body::Read(payload) }
        }
        Body::Read(payload) if payload.is_here() => {
            Reply { status, body: Body::Read(payload.only_here()) }
        }
        Body::Read(_) => {
            tracing::error!("a payload is not where it can be protected");
            Reply::error(NtStatus::INTERNAL_ERROR)
        }
        body => Reply { status, body },
    }
}

/// The SessionIds that a chain of replies brings to their end.
pub(super) fn logoffs(slots: &[Slot], replies: &[Reply]) -> impl Iterator<Item = u64> {
    slots
        .iter()
        .zip(replies)
        .filter(|(slot, reply)| slot.command == Command::LOGOFF && !reply.is_error())
        .map(|(slot, _)| slot.session_id)
}

/// The credits a final response asks the window for; the interim response has had its own.
fn credits_wanted(slot: &Slot) -> u16 {
    match slot.async_id {
        Some(_) => 0,
        None if slot.command == Command::NEGOTIATE => 1,
        None => credits_granted_for(slot.credit_charge, slot.credits_requested),
    }
}

/// MS-SMB2 3.3.1.2 leaves the policy open: give back what was spent and what is asked for beyond
/// it, up to what the window holds.
fn credits_granted_for(charge: u16, requested: u16) -> u16 {
    charge.max(1).saturating_add(requested.saturating_sub(1))
}
