//! The protocol's machine under a list of operations: messages of a client that knows its keys, whole or damaged on
//! either side of their protection, answers in any order, and time that passes.
//!
//! Whatever comes, what goes out can be read and verified; ids are used once, in a window that keeps its limit; a
//! request is answered once, and none is forgotten; nobody has anything done without a session or the protection
//! that it demands; and an error is the last that is heard of a connection.

mod ledger;
mod requests;

use std::collections::BTreeSet;
use std::iter;
use std::time::Duration;

use crate::protocol::script::ask::Ask;
use crate::protocol::script::client::{Guard, Keys, Response, SESSION_KEY};
use crate::protocol::script::pair::{Exchange, LogOn, Pair, config, perform};
use crate::protocol::{Chain, ChainId, Config, Disconnect, Event, Reply, Work};
use crate::wire::codec::Writer;
use crate::wire::create::OplockLevel;
use crate::wire::dialect::Dialect;
use crate::wire::file_id::FileId;
use crate::wire::header::{Command, Header};
use crate::wire::negotiate::SecurityMode;
use crate::wire::oplock_break::{BreakNotification, OplockBreak};
use crate::wire::session_setup::SessionSetupResponse;
use crate::wire::smb1_negotiate::Smb1NegotiateRequest;
use crate::wire::status::NtStatus;
use crate::wire::transform::TransformHeader;

use super::input::Input;
use ledger::Ledger;

/// No more are needed to come anywhere; they only cost time.
const OPERATIONS_MAX: usize = 200;

/// In turn: the server's settings, then operations.
pub(super) fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let mut connection = Driven::new(&mut input);
    let mut operations = 0;
    while !input.is_empty() && operations < OPERATIONS_MAX {
        operations += 1;
        if connection.operation(&mut input).is_err() {
            connection.assert_silent();
            return;
        }
    }
    connection.settle();
}

/// A connection and what is known about it from outside.
struct Driven {
    pair: Pair,
    settings: Settings,
    ledger: Ledger,
    multi_credit: bool,
    sessions: BTreeSet<u64>,
    /// What a session's end leaves without keys may go unanswered.
    has_ended_some: bool,
    /// Handed out and not answered.
    chains: Vec<(ChainId, Vec<Reply>)>,
    exchange: Option<Exchange>,
}

/// What the server insists on.
#[derive(Clone, Copy)]
struct Settings {
    signing: bool,
    encryption: bool,
}

/// A message as the server gets it.
struct Sent {
    message: Vec<u8>,
    /// What the client had signed of it, whatever has become of that.
    signed: Vec<u8>,
    /// It is sealed, and whole.
    sealed: bool,
}

impl Driven {
    fn new(input: &mut Input<'_>) -> Self {
        let settings = Settings { signing: input.flag(), encryption: input.flag() };
        let config = Config {
            require_signing: settings.signing,
            require_encryption: settings.encryption,
            credits_max: input.pick(&[64, 1, 8, 512]),
            io_size_max: 256 * 1024,
            sessions_max: 4,
            ..config()
        };
        Self {
            settings,
            ledger: Ledger::new(config.credits_max),
            multi_credit: false,
            sessions: BTreeSet::new(),
            has_ended_some: false,
            chains: Vec::new(),
            exchange: None,
            pair: Pair::new(config),
        }
    }

    fn operation(&mut self, input: &mut Input<'_>) -> Result<(), Disconnect> {
        match input.u8() % 16 {
            0 => self.negotiate(input),
            1 => self.smb1_negotiate(input),
            2 => self.log_on_begin(input),
            3 => self.log_on_step(input),
            4 => self.deliver_unprotected(input.bytes().to_vec()),
            5 => self.cancel(input),
            6 => self.pass_time(input),
            7 | 8 => self.answer(input),
            9 => self.put_off(input),
            15 => self.notify(input),
            _ => self.send(input),
        }
    }

    // ---- in

    /// Hands over what was sent; `plain` is what is in it if it is sealed.
    fn deliver(&mut self, plain: &[u8], sent: &Sent) -> Result<(), Disconnect> {
        let message = &sent.message;
        self.pair.server.handle_message(self.pair.now, message.clone())?;
        if message.starts_with(&Smb1NegotiateRequest::PROTOCOL_ID) {
            self.ledger.spend(0, 1);
        } else if message.starts_with(&TransformHeader::PROTOCOL_ID) {
            self.ledger.taken(plain, self.multi_credit);
        } else {
            self.ledger.taken(message, self.multi_credit);
        }
        self.drain(Some(sent));
        Ok(())
    }

    fn deliver_unprotected(&mut self, message: Vec<u8>) -> Result<(), Disconnect> {
        self.deliver(&[], &Sent { message, signed: Vec::new(), sealed: false })
    }

    /// Protects what is in a message, damages it before, behind or not at all, and hands it over.
    fn deliver_damaged(
        &mut self,
        mut plain: Vec<u8>,
        (guard, session_id): (Guard, u64),
        input: &mut Input<'_>,
    ) -> Result<(), Disconnect> {
        input.damage(&mut plain);
        let whole = self.pair.client.protect(guard, session_id, plain.clone());
        let mut message = whole.clone();
        input.damage(&mut message);
        let sealed = guard == Guard::Sealed && message == whole;
        let signed = if guard == Guard::Signed { whole } else { Vec::new() };
        self.deliver(&plain, &Sent { message, signed, sealed })
    }

    fn pass_time(&mut self, input: &mut Input<'_>) -> Result<(), Disconnect> {
        let by = Duration::from_millis(input.pick(&[1, 100, 499, 500, 501, 5_000, 29_999, 30_000]));
        let had_session = self.pair.server.has_session();
        self.pair.advance(by).inspect_err(|_| assert!(!had_session, "there was a session"))?;
        let next = self.pair.server.poll_timeout();
        assert!(next.is_none_or(|next| next > self.pair.now.instant), "the past is awaited");
        self.drain(None);
        Ok(())
    }

    /// Answers one of the chains, in full or in part.
    fn answer(&mut self, input: &mut Input<'_>) -> Result<(), Disconnect> {
        if self.chains.is_empty() {
            return Ok(());
        }
        let (id, mut replies) = self.chains.remove(input.below(self.chains.len()));
        match input.u8() % 8 {
            0 => replies.truncate(input.u8().into()),
            1 => replies.push(Reply::error(NtStatus::CANCELLED)),
            2 => replies.iter_mut().for_each(|reply| *reply = Reply::error(NtStatus::NO_SUCH_FILE)),
            _ => {}
        }
        self.pair.server.handle_replies(self.pair.now.instant, id, replies);
        self.drain(None);
        Ok(())
    }

    /// The last request of a chain takes longer.
    fn put_off(&mut self, input: &mut Input<'_>) -> Result<(), Disconnect> {
        if self.chains.is_empty() {
            return Ok(());
        }
        let at = input.below(self.chains.len());
        let (id, replies) = &mut self.chains[at];
        let Some(last) = replies.pop() else { return Ok(()) };
        let waits = self.pair.server.handle_pending(self.pair.now.instant, *id, replies);
        replies.push(last);
        assert!(!waits || replies.len() == 1, "what has been sent is to be sent again");
        self.drain(None);
        Ok(())
    }

    /// The server has something to say that nobody has asked for.
    fn notify(&mut self, input: &mut Input<'_>) -> Result<(), Disconnect> {
        let session_id = input.pick(&[self.pair.client.session_id, 0, 1]);
        let lowered = OplockBreak { oplock_level: OplockLevel::II, file_id: FileId::ANY };
        self.pair.server.handle_notification(session_id, BreakNotification::Oplock(lowered));
        self.drain(None);
        Ok(())
    }

    // ---- out

    /// Takes everything that comes out; `after`: the message that it follows.
    fn drain(&mut self, after: Option<&Sent>) {
        while let Some(event) = self.pair.server.poll_event() {
            self.event(event, after);
        }
        let queued = self.pair.server.queued_bytes();
        let transmits: Vec<_> = iter::from_fn(|| self.pair.server.poll_transmit()).collect();
        assert_eq!(transmits.iter().map(|it| it.buffer.len()).sum::<usize>(), queued);
        assert_eq!(self.pair.server.queued_bytes(), 0);
        for transmit in transmits {
            for response in self.pair.client.decode(transmit.bytes()).responses {
                self.response(&response, after);
            }
        }
        assert_eq!(self.pair.server.is_idle(), self.chains.is_empty());
    }

    fn event(&mut self, event: Event, after: Option<&Sent>) {
        match event {
            Event::Established(it) => assert!(self.sessions.insert(it.session_id)),
            Event::Ended(session_id) => {
                assert!(
                    self.sessions.remove(&session_id),
                    "a session that was not there has ended"
                );
                self.has_ended_some = true;
            }
            Event::Execute(chain) => {
                self.assert_entitled(&chain, after.expect("nobody else asks for anything"));
                assert!(self.chains.iter().all(|(id, _)| *id != chain.id));
                self.chains.push((chain.id, perform(chain)));
            }
            Event::Cancel(id) => assert!(self.chains.iter().any(|(chain, _)| *chain == id)),
        }
    }

    /// What is to be done is asked for in a session, and protected as that has to be.
    fn assert_entitled(&self, chain: &Chain, sent: &Sent) {
        for element in chain.elements.iter().filter(|it| matches!(it.work, Work::Execute(_))) {
            assert!(self.sessions.contains(&element.session_id), "without a session");
            assert!(sent.sealed || !self.settings.encryption, "not encrypted");
            // Each request has a signature of its own; that of a neighbour may have been damaged.
            let signed = || sent.signed.windows(element.bytes.len()).any(|it| it == element.bytes);
            assert!(sent.sealed || !self.settings.signing || signed(), "not signed");
        }
    }

    fn response(&mut self, response: &Response, after: Option<&Sent>) {
        let Header { command, status, session_id, message_id, credits, .. } = response.header;
        if message_id == Header::UNSOLICITED {
            assert_eq!((command, credits, response.is_signed()), (Command::OPLOCK_BREAK, 0, false));
            return;
        }
        self.ledger.answered(&response.header);
        match (command, status) {
            (Command::NEGOTIATE, NtStatus::SUCCESS) => {
                let request = after.map(|sent| sent.message.as_slice());
                self.pair.client.settle(request.unwrap_or_default(), response);
                // MS-SMB2 3.3.5.4: later dialects have requests that are charged by their size.
                self.multi_credit = self.pair.client.dialect != Dialect::SMB_2_0_2;
            }
            (Command::SESSION_SETUP, _) => self.log_on_response(response),
            (Command::LOGOFF, NtStatus::SUCCESS) => {
                self.has_ended_some = true;
                self.sessions.remove(&session_id);
            }
            _ => {}
        }
    }

    /// All that is under way is answered.
    fn settle(&mut self) {
        for (id, replies) in std::mem::take(&mut self.chains) {
            self.pair.server.handle_replies(self.pair.now.instant, id, replies);
        }
        self.drain(None);
        if !self.has_ended_some {
            self.ledger.assert_settled();
        }
    }

    fn assert_silent(&mut self) {
        self.pair.assert_silent();
        assert_eq!(self.pair.server.queued_bytes(), 0);
    }

    // ---- logging on

    fn smb1_negotiate(&mut self, input: &mut Input<'_>) -> Result<(), Disconnect> {
        let dialect = input.pick(&["SMB 2.???", "SMB 2.002", "NT LM 0.12"]);
        let mut message = Vec::new();
        let dialects = vec!["PC NETWORK PROGRAM 1.0".to_owned(), dialect.to_owned()];
        Smb1NegotiateRequest { dialects }.encode(&mut Writer::new(&mut message));
        input.damage(&mut message);
        self.deliver_unprotected(message)
    }

    fn negotiate(&mut self, input: &mut Input<'_>) -> Result<(), Disconnect> {
        let request = requests::negotiate(input);
        let ask = Ask::negotiate(&request).message_id(self.ledger.next_id());
        let mut message = self.pair.client.encode(Guard::Plain, &[ask]);
        input.damage(&mut message);
        self.deliver_unprotected(message)
    }

    fn log_on_begin(&mut self, input: &mut Input<'_>) -> Result<(), Disconnect> {
        let (user, password) =
            input.pick(&[("alice", "secret"), ("bob", "secret2"), ("alice", "guess"), ("eve", "")]);
        let known = [0, self.pair.client.session_id];
        let (session_id, previous_session_id) = (input.pick(&known), input.pick(&known));
        let security_mode =
            input.pick(&[SecurityMode::SIGNING_ENABLED, SecurityMode::SIGNING_REQUIRED]);
        let guard = self.guard(input, session_id);
        let log_on =
            LogOn { user, password, session_id, previous_session_id, security_mode, guard };
        let auth = crate::auth::client::Client::new(user, "WORKGROUP", password);
        let preauth = self.pair.client.preauth.clone();
        self.exchange =
            Some(Exchange { token: auth.negotiate(), log_on, session_id, auth, preauth });
        self.log_on_step(input)
    }

    /// Sends the next request of the logon. Its keys have to be known before it is answered.
    fn log_on_step(&mut self, input: &mut Input<'_>) -> Result<(), Disconnect> {
        let Some(exchange) = &mut self.exchange else { return Ok(()) };
        let (guard, id) = (exchange.log_on.guard, exchange.session_id);
        let ask = exchange.ask().message_id(self.ledger.next_id());
        let mut plain = self.pair.client.plain(guard, &[ask]);
        input.damage(&mut plain);
        let message = self.pair.client.protect(guard, id, plain.clone());
        let sealed = guard == Guard::Sealed;
        exchange.preauth.update(if sealed { &plain } else { &message });
        if id != 0 && !self.sessions.contains(&id) {
            let keys = Keys::derive(&self.pair.client, &exchange.preauth);
            self.pair.client.learn(id, keys);
        }
        let signed = if guard == Guard::Signed { message.clone() } else { Vec::new() };
        self.deliver(&plain, &Sent { message, signed, sealed })
    }

    fn log_on_response(&mut self, response: &Response) {
        let Header { status, session_id, .. } = response.header;
        let exchange = self.exchange.take();
        match status {
            NtStatus::SUCCESS => self.pair.client.session_id = session_id,
            NtStatus::MORE_PROCESSING_REQUIRED => {
                self.exchange = exchange.and_then(|mut it| {
                    it.preauth.update(&response.message);
                    it.session_id = session_id;
                    let challenge = response.body(SessionSetupResponse::decode).security_buffer;
                    it.token = it.auth.authenticate(&challenge, [9; 8], SESSION_KEY).ok()?;
                    Some(it)
                });
            }
            _ => {}
        }
    }
}
