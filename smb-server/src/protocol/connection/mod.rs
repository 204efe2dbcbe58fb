//! One SMB2 connection, from its first NEGOTIATE to its end.

use std::collections::VecDeque;
use std::mem;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::auth::throttle::Withheld;
use crate::buffers::Buffer;
use crate::wire::dialect::Dialect;
use crate::wire::filetime::FileTime;
use crate::wire::header::{Command, Header, HeaderFlags};
use crate::wire::negotiate::NegotiateRequest;
use crate::wire::oplock_break::BreakNotification;
use crate::wire::session_setup::SessionSetupRequest;
use crate::wire::smb1_negotiate::Smb1NegotiateRequest;
use crate::wire::status::NtStatus;
use crate::wire::transform::TransformHeader;
use crate::wire::write::WriteRequest;

use super::channel::Channel;
use super::config::Config;
use super::credits::Window;
use super::error::Disconnect;
use super::intake::{self, Kind, Part};
use super::message::{Body, ChainId, Event, Reply, Transmit};
use super::negotiate::{self, Negotiated};
use super::outgoing::{Done, Job, JobId, Outgoing};
use super::pending::{Pending, PendingTable};
use super::reply::Slot;
use super::session_setup::{Asked, Change, Sessions};

mod dispatch;
mod respond;

/// How many requests may wait for what others do, MS-SMB2 3.3.1.7, Connection.AsyncCommandList: as many as
/// Windows lets wait of the 512 that it has room for, by its answers to `smb2.credits`.
const ASYNC_MAX: usize = 511;

/// The machine. See the [module](super) for how to drive it.
pub struct Connection {
    config: Arc<Config>,
    peer: IpAddr,
    phase: Phase,
    window: Window,
    sessions: Sessions,
    pending: PendingTable,
    /// Answers that end sessions whose other requests are still to be answered.
    leaving: Vec<Leaving>,
    /// Refusals of logons that the client has to wait for.
    refusals: Vec<Refusal>,
    next_async_id: u64,
    /// Since when there has been no session.
    sessionless_since: Option<Instant>,
    events: VecDeque<Event>,
    outgoing: Outgoing,
}

/// A chain with a LOGOFF that has succeeded.
struct Leaving {
    session_id: u64,
    slots: Vec<Slot>,
    replies: Vec<Reply>,
}

/// The answer to a logon that failed.
struct Refusal {
    withheld: Withheld,
    slot: Slot,
    reply: Reply,
    /// The session that it ends.
    ended: Option<u64>,
}

/// How far NEGOTIATE has come.
enum Phase {
    /// Nothing has been agreed on.
    Fresh,
    /// An SMB1 NEGOTIATE was answered by "again, in SMB2"; that can happen once.
    Wildcard,
    /// Dialect and algorithms stand.
    Negotiated(Box<Negotiated>),
}

/// The time of day that some responses carry, beside the clock that deadlines use.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For deadlines.
    pub instant: Instant,
    /// For the wire.
    pub wall: FileTime,
}

impl Connection {
    /// A connection of `peer` that has just been accepted.
    #[must_use]
    pub fn new(config: Arc<Config>, peer: IpAddr, now: Instant) -> Self {
        let window = Window::new(config.credits_max);
        Self {
            config,
            peer,
            phase: Phase::Fresh,
            window,
            sessions: Sessions::default(),
            pending: PendingTable::default(),
            leaving: Vec::new(),
            refusals: Vec::new(),
            next_async_id: 1,
            sessionless_since: Some(now),
            events: VecDeque::new(),
            outgoing: Outgoing::default(),
        }
    }

    // ---- getters

    /// The longest message the client may send now, in bytes. Small until somebody has logged on.
    #[must_use]
    pub fn message_size_max(&self) -> usize {
        const BEFORE_LOGON: usize = 128 * 1024;
        /// Headers, compounded requests and padding around the largest payload.
        const OVERHEAD: usize = 64 * 1024;
        match self.moves_files() {
            false => BEFORE_LOGON,
            true => self.config.io_size_max as usize + OVERHEAD,
        }
    }

    /// How many bytes of memory the responses hold that wait to be polled.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.outgoing.bytes()
    }

    /// Whether responses wait to be polled, or to be brought back by who has a [`Job`].
    #[must_use]
    pub fn has_queued(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether there is a session, be it anybody's.
    #[must_use]
    pub fn has_session(&self) -> bool {
        !self.sessions.is_empty()
    }

    /// Whether somebody has logged on who may get at files, and so needs room for them.
    #[must_use]
    pub fn moves_files(&self) -> bool {
        let guests = self.config.guests_have_files && !self.sessions.is_empty();
        guests || self.sessions.have_user()
    }

    /// The dialect, once it stands.
    #[must_use]
    pub fn dialect(&self) -> Option<Dialect> {
        match &self.phase {
            Phase::Negotiated(negotiated) => Some(negotiated.dialect),
            _ => None,
        }
    }

    /// Whether every request that was handed out has been answered.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.leaving.is_empty() && self.refusals.is_empty()
    }

    // ---- out

    /// The next thing for the layer above to do.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The next bytes for the client; large ones are signed or sealed now, unless they have been before. `None` also
    /// while somebody is at that: poll again after [`Self::handle_job`].
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outgoing.pop()
    }

    /// The next bytes for the client, if `wanted` says so of them.
    pub fn poll_transmit_if(&mut self, wanted: impl FnOnce(&Transmit) -> bool) -> Option<Transmit> {
        self.outgoing.pop_if(wanted)
    }

    /// Whether [`Self::poll_job`] has something to give.
    #[must_use]
    pub fn has_job(&self, left: usize) -> bool {
        self.outgoing.has_job(left)
    }

    /// A large message to be signed or sealed before its turn; the first `left` of such are left to be polled as they
    /// are. Nobody has to poll these.
    pub fn poll_job(&mut self, left: usize) -> Option<Job> {
        self.outgoing.take_job(left)
    }

    /// When to call [`Self::handle_timeout`] if nothing else happens.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let refusal = self.refusals.iter().map(|refusal| refusal.withheld.until).min();
        [self.logon_deadline(), self.pending.next_interim(), refusal].into_iter().flatten().min()
    }

    fn logon_deadline(&self) -> Option<Instant> {
        self.sessionless_since?.checked_add(self.config.unauthenticated_timeout)
    }

    // ---- in

    /// Whether a message with this beginning and `length` can be taken without its payload, by
    /// [`Self::handle_head`]: a lone, plain WRITE, of which nothing has to be verified.
    #[must_use]
    pub fn takes_apart(&self, head: &[u8], length: usize) -> bool {
        let Ok(header) = Header::decode(head) else { return false };
        let is_plain = |channel: &Channel| {
            !channel.signing_required && !channel.encryption_required && self.moves_files()
        };
        header.command == Command::WRITE
            && header.next_command == 0
            && !header.flags.contains(HeaderFlags::SIGNED)
            && !header.is_response()
            && self.sessions.get(header.session_id).is_some_and(is_plain)
            && WriteRequest::decode_head(head, length)
                .is_ok_and(|write| write.data == (head.len()..length))
    }

    /// Takes the beginning of one that [`Self::takes_apart`] says may be. Whoever carries out the request that
    /// comes of it, if one does, gets the rest elsewhere: it is all of the request's payload.
    ///
    /// # Errors
    /// As [`Self::handle_message`].
    pub fn handle_head(
        &mut self,
        now: Now,
        head: impl Into<Buffer>,
        length: usize,
    ) -> Result<(), Disconnect> {
        let head = head.into();
        let rest = length.saturating_sub(head.len());
        self.handle_smb2(now, head, rest, None)
    }

    /// Takes one message of the client, without the stream's prefix.
    ///
    /// # Errors
    /// The connection is to be closed; nothing more is to be sent but what was polled before.
    pub fn handle_message(
        &mut self,
        now: Now,
        message: impl Into<Buffer>,
    ) -> Result<(), Disconnect> {
        let mut message = message.into();
        match Kind::of(&message)? {
            Kind::Smb1 => self.handle_smb1(now, &message),
            Kind::Smb2 => self.handle_smb2(now, message, 0, None),
            Kind::Sealed => {
                let session_id = intake::sealed_session(&message)?;
                // MS-SMB2 3.3.5.2.1.1: without its session the message cannot even be refused.
                let channel =
                    self.sessions.get(session_id).ok_or(Disconnect::Seal("no such session"))?;
                // Who is nobody has a key that is no secret: it protects nothing but beside a user's.
                if !channel.principal.is_user() && !self.sessions.have_user() {
                    return Err(Disconnect::Seal("nobody has logged on"));
                }
                channel.open(&mut message).map_err(|_| Disconnect::Seal("it does not open"))?;
                self.handle_smb2(now, message, 0, Some(session_id))
            }
        }
    }

    /// Takes the commands' answers to a chain, one for each of its elements, in order.
    pub fn handle_replies(&mut self, now: Instant, chain: ChainId, replies: Vec<Reply>) {
        let Some(Pending { slots, .. }) = self.pending.remove(chain) else { return };
        let ended = respond::logoffs(&slots, &replies).next();
        match ended {
            Some(session_id) => self.leaving.push(Leaving { session_id, slots, replies }),
            None => self.respond(now, slots, replies),
        }
        // What the session's end has ended is answered before, while there is a key to sign it with.
        let is_last = |it: &mut Leaving| !self.pending.has_session(it.session_id);
        let leaving: Vec<_> = self.leaving.extract_if(.., is_last).collect();
        for Leaving { slots, replies, .. } in leaving {
            self.respond(now, slots, replies);
        }
    }

    /// Takes what has come of a job; `None`: whoever has taken it has not done it.
    pub fn handle_job(&mut self, job: JobId, done: Option<Done>) {
        self.outgoing.settle(job, done);
    }

    /// The last request of a chain is to wait for what others do: `finished`, the answers to those before
    /// it, are sent, and the client is told that this one takes longer. `false`: as many wait as may, and
    /// it is to fail (`INSUFFICIENT_RESOURCES`).
    #[must_use]
    pub fn handle_pending(
        &mut self,
        now: Instant,
        chain: ChainId,
        finished: &mut Vec<Reply>,
    ) -> bool {
        if self.pending.asynchronous() >= ASYNC_MAX {
            return false;
        }
        let before = self.pending.split(chain);
        if !before.is_empty() {
            self.respond(now, before, mem::take(finished));
        }
        if self.pending.take_interim(chain) {
            self.send_interim(chain);
        }
        true
    }

    /// Has a session's client told something that it has not asked for. If the session has ended, nobody is.
    pub fn handle_notification(&mut self, session_id: u64, notification: BreakNotification) {
        self.send_notification(session_id, notification);
    }

    /// To be called when [`Self::poll_timeout`]'s time has come.
    ///
    /// # Errors
    /// The connection has been without a session for too long.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Disconnect> {
        if self.logon_deadline().is_some_and(|deadline| deadline <= now) {
            return Err(Disconnect::Unauthenticated);
        }
        for chain in self.pending.due(now) {
            self.send_interim(chain);
        }
        let is_due = |refusal: &mut Refusal| refusal.withheld.until <= now;
        let due: Vec<_> = self.refusals.extract_if(.., is_due).collect();
        for refusal in due {
            self.answer_setup(now, refusal.slot, refusal.reply, refusal.ended);
        }
        Ok(())
    }

    // ---- SMB1

    fn handle_smb1(&mut self, now: Now, message: &[u8]) -> Result<(), Disconnect> {
        if !matches!(self.phase, Phase::Fresh) {
            return Err(Disconnect::Violation("SMB1 after SMB2"));
        }
        let request = Smb1NegotiateRequest::decode(message)?;
        let offers = |dialect: &str| request.dialects.iter().any(|offered| offered == dialect);
        let (slot, response) = if offers("SMB 2.???") {
            self.phase = Phase::Wildcard;
            (smb1_slot(), negotiate::wildcard_response(&self.config, now.wall))
        } else if offers("SMB 2.002") {
            let request = NegotiateRequest {
                dialects: vec![Dialect::SMB_2_0_2],
                ..NegotiateRequest::default()
            };
            let (negotiated, response) = negotiate::negotiate(&self.config, &request, now.wall)
                .map_err(|_| Disconnect::Violation("SMB 2.002 refused"))?;
            self.phase = Phase::Negotiated(Box::new(negotiated));
            (smb1_slot(), response)
        } else {
            return Err(Disconnect::Violation("a client that speaks SMB1 only"));
        };
        self.window.spend(0, 1)?;
        self.respond(now.instant, vec![slot], vec![Reply::ok(Body::Negotiate(response))]);
        Ok(())
    }

    // ---- SMB2

    /// `rest`: how many bytes of a lone request are not here.
    fn handle_smb2(
        &mut self,
        now: Now,
        mut message: Buffer,
        rest: usize,
        sealed_for: Option<u64>,
    ) -> Result<(), Disconnect> {
        let start = if sealed_for.is_some() { TransformHeader::SIZE } else { 0 };
        let parts = intake::split(&message, start)?;
        if let [part] = parts.as_slice()
            && part.header.command == Command::NEGOTIATE
        {
            return self.handle_negotiate(now, part, &message);
        }
        let is_multi_credit = match &self.phase {
            Phase::Negotiated(negotiated) => negotiated.is_multi_credit(),
            _ => return Err(Disconnect::Violation("a request before NEGOTIATE")),
        };
        if parts.iter().any(|part| part.header.command == Command::NEGOTIATE) {
            return Err(Disconnect::Violation("a second NEGOTIATE, in a compound"));
        }
        if let [part] = parts.as_slice()
            && part.header.command == Command::CANCEL
        {
            return self.handle_cancel(part, &mut message, sealed_for);
        }
        let mut slots: Vec<Slot> = Vec::with_capacity(parts.len());
        let mut refusals: Vec<Option<NtStatus>> = Vec::with_capacity(parts.len());
        for part in &parts {
            let charge = if is_multi_credit { part.header.credit_charge } else { 1 };
            self.window.spend(part.header.message_id, charge)?;
            let slot = intake::slot(&part.header, sealed_for.is_some(), slots.last());
            let bytes = message.get_mut(part.range.clone()).unwrap_or_default();
            let rootless =
                slot.related && refusals.last().is_none_or(|before| is_rootless(*before));
            refusals.push(self.admit(&slot, rootless, bytes, sealed_for)?);
            slots.push(slot);
        }
        let message = Bytes::from(message);
        if let ([part], [slot], [None]) = (parts.as_slice(), slots.as_slice(), refusals.as_slice())
            && slot.command == Command::SESSION_SETUP
        {
            return self.handle_session_setup(
                now,
                slot.clone(),
                &message.slice(part.range.clone()),
            );
        }
        self.dispatch(now, &Received { message, rest }, &parts, slots, refusals)
    }

    fn handle_negotiate(
        &mut self,
        now: Now,
        part: &Part,
        message: &[u8],
    ) -> Result<(), Disconnect> {
        if matches!(self.phase, Phase::Negotiated(_)) {
            // MS-SMB2 3.3.5.4: the dialect stands once and for all.
            return Err(Disconnect::Violation("a second NEGOTIATE"));
        }
        self.window.spend(part.header.message_id, 1)?;
        let request = NegotiateRequest::decode(message)?;
        let slot = intake::slot(&part.header, false, None);
        let outcome = match slot.signed {
            true => Err(NtStatus::INVALID_PARAMETER),
            false => negotiate::negotiate(&self.config, &request, now.wall),
        };
        let reply = match outcome {
            Ok((mut negotiated, response)) => {
                negotiated.preauth.update(message);
                self.phase = Phase::Negotiated(Box::new(negotiated));
                Reply::ok(Body::Negotiate(response))
            }
            Err(status) => Reply::error(status),
        };
        self.respond(now.instant, vec![Slot { signed: false, ..slot }], vec![reply]);
        Ok(())
    }

    fn handle_session_setup(
        &mut self,
        now: Now,
        mut slot: Slot,
        message: &Bytes,
    ) -> Result<(), Disconnect> {
        let Phase::Negotiated(negotiated) = &self.phase else {
            return Err(Disconnect::Violation("SESSION_SETUP before NEGOTIATE"));
        };
        if !self.config.throttle.admits(self.peer) {
            return Err(Disconnect::Guessing);
        }
        let request = SessionSetupRequest::decode(message)?;
        let (session_id, request) = (slot.session_id, &request);
        let asked = Asked { session_id, request, message, peer: self.peer, now };
        let outcome = self.sessions.setup(&self.config, negotiated, &asked);
        slot.session_id = outcome.session_id;
        // MS-SMB2 3.3.5.5.3: the response that ends a successful authentication is signed, where somebody has proved
        // to have the key.
        let is_user = |channel: &Channel| channel.principal.is_user();
        let proved = self.sessions.get(slot.session_id).is_some_and(is_user);
        slot.signed |= outcome.reply.status == NtStatus::SUCCESS && proved;
        let mut ended = None;
        match outcome.change {
            Change::Nothing => {}
            Change::Ended => {
                ended = Some(slot.session_id);
                self.events.push_back(Event::Ended(slot.session_id));
            }
            Change::Established(established) => {
                self.events.push_back(Event::Established(established));
            }
        }
        match outcome.withheld {
            Some(withheld) if withheld.until > now.instant => {
                self.refusals.push(Refusal { withheld, slot, reply: outcome.reply, ended });
            }
            _ => self.answer_setup(now.instant, slot, outcome.reply, ended),
        }
        Ok(())
    }

    /// Answers a SESSION_SETUP; a session that its failure has `ended` goes after it, as its keys protect it.
    fn answer_setup(&mut self, now: Instant, slot: Slot, reply: Reply, ended: Option<u64>) {
        self.respond(now, vec![slot], vec![reply]);
        if let Some(session_id) = ended {
            self.sessions.remove(session_id);
        }
        self.note_sessions(now);
    }

    /// MS-SMB2 3.3.5.16. A CANCEL spends no MessageId and has no response.
    fn handle_cancel(
        &mut self,
        part: &Part,
        message: &mut [u8],
        sealed_for: Option<u64>,
    ) -> Result<(), Disconnect> {
        let header = &part.header;
        let slot = intake::slot(header, sealed_for.is_some(), None);
        let bytes = message.get_mut(part.range.clone()).unwrap_or_default();
        if self.admit(&slot, slot.related, bytes, sealed_for)?.is_some() {
            return Ok(());
        }
        let session_id = slot.session_id;
        let meant = self.pending.find(|slot| {
            let named = match header.async_id() {
                Some(async_id) => slot.async_id == Some(async_id),
                None => slot.message_id == header.message_id,
            };
            named && slot.session_id == session_id
        });
        self.events.extend(meant.map(Event::Cancel));
        Ok(())
    }

    /// Checks session, encryption and signature of one request, MS-SMB2 3.3.5.2.4 and 3.3.5.2.9.
    /// `Ok(Some(status))`: this request is refused.
    fn admit(
        &self,
        slot: &Slot,
        rootless: bool,
        message: &mut [u8],
        sealed_for: Option<u64>,
    ) -> Result<Option<NtStatus>, Disconnect> {
        if sealed_for.is_some_and(|session_id| session_id != slot.session_id) {
            return Err(Disconnect::Seal("it was sealed for another session"));
        }
        // MS-SMB2 3.3.5.2.7.2.
        if rootless {
            return Ok(Some(NtStatus::INVALID_PARAMETER));
        }
        let Some(channel) = self.sessions.get(slot.session_id) else {
            let free = matches!(slot.command, Command::SESSION_SETUP | Command::ECHO);
            return Ok((!free).then_some(NtStatus::USER_SESSION_DELETED));
        };
        if sealed_for.is_some() {
            return Ok(None);
        }
        if !slot.signed {
            return self.admit_unprotected(slot, channel);
        }
        // A signature is no substitute for encryption.
        let setup = slot.command == Command::SESSION_SETUP;
        let refused = !channel.signer.verify(message) || (channel.encryption_required && !setup);
        Ok(refused.then_some(NtStatus::ACCESS_DENIED))
    }

    fn admit_unprotected(
        &self,
        slot: &Slot,
        channel: &Channel,
    ) -> Result<Option<NtStatus>, Disconnect> {
        let setup = slot.command == Command::SESSION_SETUP;
        let is_protected =
            self.dialect() == Some(Dialect::SMB_3_1_1) && channel.principal.is_user();
        if slot.command == Command::TREE_CONNECT && is_protected {
            // MS-SMB2 3.3.5.7: 3.1.1 clients always protect it; one that does not is not our client.
            return Err(Disconnect::Violation("an unprotected TREE_CONNECT in 3.1.1"));
        }
        let required = channel.signing_required || (channel.encryption_required && !setup);
        Ok(required.then_some(NtStatus::ACCESS_DENIED))
    }
}

/// What has come of the client's message.
struct Received {
    message: Bytes,
    /// How many bytes more it has, elsewhere.
    rest: usize,
}

/// Whether what is related to a request that came to this is related to nothing, MS-SMB2 3.3.5.2.7.2.
fn is_rootless(refusal: Option<NtStatus>) -> bool {
    matches!(refusal, Some(NtStatus::INVALID_PARAMETER | NtStatus::USER_SESSION_DELETED))
}

/// What an SMB1 NEGOTIATE is answered as: the SMB2 request that it stands for.
fn smb1_slot() -> Slot {
    let header =
        Header { command: Command::NEGOTIATE, flags: HeaderFlags::empty(), ..Header::default() };
    intake::slot(&header, false, None)
}
