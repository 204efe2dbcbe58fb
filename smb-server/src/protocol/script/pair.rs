//! A scripted client and a [`Connection`] with a clock between them that only the script moves.

use std::iter;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::auth::{self, AcceptorConfig, Throttle, UserStore};
use crate::protocol::{
    Body, Chain, ChainId, Config, Connection, Disconnect, Established, Event, Now, Payload, Reply,
    Request, SessionIds, Work,
};
use crate::wire::close::CloseResponse;
use crate::wire::dialect::Dialect;
use crate::wire::filetime::FileTime;
use crate::wire::guid::Guid;
use crate::wire::negotiate::{Capabilities, NegotiateRequest, SecurityMode};
use crate::wire::negotiate_context::{Cipher, HashAlgorithm, NegotiateContext, SigningAlgorithm};
use crate::wire::session_setup::{SessionSetupFlags, SessionSetupRequest, SessionSetupResponse};
use crate::wire::status::NtStatus;
use crate::wire::tree_connect::TreeConnectResponse;
use crate::wire::write::WriteResponse;

use super::ask::Ask;
use super::client::{Answer, Client, Guard, Keys, Response, SESSION_KEY};

pub(crate) const MIB: u32 = 1 << 20;

pub(crate) const SERVER_GUID: Guid = Guid([0x51; 16]);

/// Where the client is.
pub(crate) const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Every dialect, oldest first.
pub(crate) const DIALECTS: [Dialect; 5] = [
    Dialect::SMB_2_0_2,
    Dialect::SMB_2_1,
    Dialect::SMB_3_0,
    Dialect::SMB_3_0_2,
    Dialect::SMB_3_1_1,
];

/// Both sides of a connection.
pub(crate) struct Pair {
    pub(crate) client: Client,
    pub(crate) server: Connection,
    /// The server's memory of failed logons.
    pub(crate) throttle: Arc<Throttle>,
    pub(crate) now: Now,
}

/// How a logon is done.
#[derive(Clone, Debug)]
pub(crate) struct LogOn {
    pub(crate) user: &'static str,
    pub(crate) password: &'static str,
    /// 0: a new session; otherwise the one to authenticate again.
    pub(crate) session_id: u64,
    pub(crate) previous_session_id: u64,
    pub(crate) security_mode: SecurityMode,
    pub(crate) guard: Guard,
}

impl Default for LogOn {
    fn default() -> Self {
        Self {
            user: "alice",
            password: "secret",
            session_id: 0,
            previous_session_id: 0,
            security_mode: SecurityMode::SIGNING_ENABLED,
            guard: Guard::Plain,
        }
    }
}

/// A server that alice (secret) and bob (secret2) may log on to and that insists on nothing.
pub(crate) fn config() -> Config {
    let mut users = UserStore::new();
    users.add("Alice", "secret");
    users.add("Bob", "secret2");
    Config {
        server_guid: SERVER_GUID,
        require_signing: false,
        require_encryption: false,
        anonymous: true,
        guests_have_files: false,
        io_size_max: 8 * MIB,
        credits_max: 512,
        sessions_max: 64,
        unauthenticated_timeout: Duration::from_secs(30),
        session_ids: SessionIds::starting_at(0x1001),
        acceptor: Arc::new(AcceptorConfig {
            netbios_name: "SRV".into(),
            netbios_domain: "WORKGROUP".into(),
            dns_name: "srv.example".into(),
            dns_domain: "example".into(),
        }),
        users: Arc::new(users),
        throttle: Arc::default(),
    }
}

/// What a client that speaks `dialects` offers; in 3.1.1 with AES-128-GCM and AES-GMAC.
pub(crate) fn offer(dialects: &[Dialect]) -> NegotiateRequest {
    NegotiateRequest {
        security_mode: SecurityMode::SIGNING_ENABLED,
        capabilities: Capabilities::LARGE_MTU | Capabilities::ENCRYPTION,
        client_guid: Guid([0xc1; 16]),
        dialects: dialects.to_vec(),
        contexts: vec![
            preauth(&[HashAlgorithm::SHA_512]),
            NegotiateContext::Encryption { ciphers: vec![Cipher::AES_128_GCM] },
            NegotiateContext::Signing { algorithms: vec![SigningAlgorithm::AES_GMAC] },
        ],
    }
}

/// The context that 3.1.1 cannot do without.
pub(crate) fn preauth(hash_algorithms: &[HashAlgorithm]) -> NegotiateContext {
    let hash_algorithms = hash_algorithms.to_vec();
    NegotiateContext::PreauthIntegrity { hash_algorithms, salt: vec![0x5a; 32] }
}

impl Pair {
    pub(crate) fn new(config: Config) -> Self {
        let now = Now { instant: Instant::now(), wall: FileTime(0x01d0_aecb_adf5_a1a1) };
        let throttle = Arc::clone(&config.throttle);
        let server = Connection::new(Arc::new(config), PEER, now.instant);
        Self { client: Client::new(), server, throttle, now }
    }

    /// A connection that has agreed on a dialect.
    pub(crate) fn negotiated(config: Config, request: &NegotiateRequest) -> Self {
        let mut pair = Self::new(config);
        assert_eq!(pair.negotiate(request).status(), NtStatus::SUCCESS);
        pair
    }

    /// A connection of `dialect` that alice has logged on to.
    pub(crate) fn logged_on(config: Config, dialect: Dialect) -> Self {
        Self::logged_on_with(config, &offer(&[dialect]))
    }

    pub(crate) fn logged_on_with(config: Config, request: &NegotiateRequest) -> Self {
        let mut pair = Self::negotiated(config, request);
        assert_eq!(pair.log_on(&LogOn::default()).status(), NtStatus::SUCCESS);
        assert!(pair.established().is_some());
        pair
    }

    // ---- time

    pub(crate) fn advance(&mut self, by: Duration) -> Result<(), Disconnect> {
        self.now.instant += by;
        self.now.wall.0 += u64::try_from(by.as_nanos() / 100).unwrap();
        self.server.handle_timeout(self.now.instant)
    }

    // ---- from the client

    /// Sends bytes as they are.
    pub(crate) fn deliver(&mut self, message: &[u8]) -> Result<(), Disconnect> {
        self.server.handle_message(self.now, message.to_vec())
    }

    pub(crate) fn send(&mut self, guard: Guard, asks: &[Ask]) -> Result<(), Disconnect> {
        let message = self.client.encode(guard, asks);
        self.deliver(&message)
    }

    /// Sends what the protocol answers itself.
    pub(crate) fn ask(&mut self, guard: Guard, ask: Ask) -> Response {
        self.send(guard, &[ask]).expect("an answer");
        self.answer().one()
    }

    /// Sends what ends the connection: nothing comes out of it after that.
    pub(crate) fn ask_in_vain(&mut self, guard: Guard, asks: &[Ask]) -> Disconnect {
        let error = self.send(guard, asks).expect_err("the connection ends");
        self.assert_silent();
        error
    }

    // ---- from the server

    /// The one message that the server has to send.
    pub(crate) fn answer(&mut self) -> Answer {
        let transmit = self.server.poll_transmit().expect("a message");
        assert!(self.server.poll_transmit().is_none(), "one message");
        self.client.decode(transmit.bytes())
    }

    /// The server has nothing to send and nothing to be done.
    /// All messages that are there, in order.
    pub(crate) fn answers(&mut self) -> Vec<Answer> {
        let transmits: Vec<_> = iter::from_fn(|| self.server.poll_transmit()).collect();
        transmits.iter().map(|transmit| self.client.decode(transmit.bytes())).collect()
    }

    pub(crate) fn assert_silent(&mut self) {
        assert!(self.server.poll_transmit().is_none());
        assert!(self.server.poll_event().is_none());
    }

    pub(crate) fn established(&mut self) -> Option<Established> {
        match self.server.poll_event() {
            Some(Event::Established(established)) => Some(established),
            None => None,
            other => panic!("{other:?}"),
        }
    }

    /// The one chain that the server has handed out.
    pub(crate) fn chain(&mut self) -> Chain {
        match self.server.poll_event() {
            Some(Event::Execute(chain)) => chain,
            other => panic!("expected a chain, not {other:?}"),
        }
    }

    /// Sends requests for the commands.
    pub(crate) fn hand_out(&mut self, guard: Guard, asks: &[Ask]) -> Chain {
        self.send(guard, asks).expect("a chain");
        self.chain()
    }

    /// Answers a chain.
    pub(crate) fn reply(&mut self, chain: ChainId, replies: Vec<Reply>) -> Answer {
        self.server.handle_replies(self.now.instant, chain, replies);
        self.answer()
    }

    /// Sends requests, plays the commands and takes the answer.
    pub(crate) fn carry_out(&mut self, guard: Guard, asks: &[Ask]) -> Answer {
        let chain = self.hand_out(guard, asks);
        let id = chain.id;
        self.reply(id, perform(chain))
    }

    // ---- the handshake

    pub(crate) fn negotiate(&mut self, request: &NegotiateRequest) -> Response {
        let message = self.client.encode(Guard::Plain, &[Ask::negotiate(request)]);
        self.deliver(&message).expect("an answer");
        let response = self.answer().one();
        if response.status() == NtStatus::SUCCESS {
            self.client.settle(&message, &response);
        }
        response
    }

    /// A whole logon, up to the response that accepts or refuses it. A session that it makes becomes
    /// the client's current one.
    pub(crate) fn log_on(&mut self, log_on: &LogOn) -> Response {
        let (first, mut exchange) = self.log_on_begin(log_on);
        match first.status() {
            NtStatus::MORE_PROCESSING_REQUIRED => self.log_on_finish(&mut exchange),
            _ => first,
        }
    }

    /// The first step of a logon.
    pub(crate) fn log_on_begin(&mut self, log_on: &LogOn) -> (Response, Exchange) {
        let auth = auth::client::Client::new(log_on.user, "WORKGROUP", log_on.password);
        let mut exchange = Exchange {
            log_on: log_on.clone(),
            token: auth.negotiate(),
            auth,
            preauth: self.client.preauth.clone(),
            session_id: log_on.session_id,
        };
        let message = exchange.request(&mut self.client);
        self.deliver(&message).expect("an answer");
        let response = self.answer().one();
        if response.status() == NtStatus::MORE_PROCESSING_REQUIRED {
            exchange.preauth.update(&message);
            exchange.preauth.update(&response.message);
            exchange.session_id = response.header.session_id;
            let body = response.body(SessionSetupResponse::decode);
            exchange.token =
                exchange.auth.authenticate(&body.security_buffer, [9; 8], SESSION_KEY).unwrap();
        }
        (response, exchange)
    }

    /// The second step. The keys are there before the response is, since that is signed with them.
    pub(crate) fn log_on_finish(&mut self, exchange: &mut Exchange) -> Response {
        let message = exchange.request(&mut self.client);
        exchange.preauth.update(&message);
        let id = exchange.session_id;
        let is_new = !self.client.knows(id);
        if is_new {
            self.client.learn(id, Keys::derive(&self.client, &exchange.preauth));
        }
        self.deliver(&message).expect("an answer");
        let response = self.answer().one();
        match response.status() {
            NtStatus::SUCCESS if is_new => self.client.session_id = id,
            NtStatus::SUCCESS => {}
            _ => self.client.forget(id),
        }
        response
    }
}

/// A logon under way.
pub(crate) struct Exchange {
    pub(crate) log_on: LogOn,
    pub(crate) token: Vec<u8>,
    pub(crate) session_id: u64,
    pub(crate) auth: auth::client::Client,
    pub(crate) preauth: crate::crypto::preauth::PreauthHash,
}

impl Exchange {
    /// The next request of the exchange, on the wire.
    pub(crate) fn request(&self, client: &mut Client) -> Vec<u8> {
        client.encode(self.log_on.guard, &[self.ask()])
    }

    /// The next request of the exchange.
    pub(crate) fn ask(&self) -> Ask {
        let request = SessionSetupRequest {
            flags: SessionSetupFlags::empty(),
            security_mode: self.log_on.security_mode,
            previous_session_id: self.log_on.previous_session_id,
            security_buffer: self.token.clone(),
            ..SessionSetupRequest::default()
        };
        Ask { tree_id: 0, ..Ask::session_setup(&request).session(self.session_id) }
    }
}

/// The commands: each does what it is asked, on files without end that are full of [`content`].
pub(crate) fn perform(chain: Chain) -> Vec<Reply> {
    chain.elements.into_iter().map(|element| perform_one(element.work)).collect()
}

fn perform_one(work: Work) -> Reply {
    let request = match work {
        Work::Answered(reply) => return reply,
        Work::Execute(request) => request,
    };
    Reply::ok(match request {
        Request::Logoff => Body::Logoff,
        Request::TreeConnect(_) => Body::TreeConnect(7, TreeConnectResponse::default()),
        Request::TreeDisconnect => Body::TreeDisconnect,
        Request::Create(_) => Body::Create(Box::default()),
        Request::Close(_) => Body::Close(CloseResponse::default()),
        Request::Flush(_) => Body::Flush,
        Request::Read(read) => Body::Read(payload(read.length as usize)),
        Request::Write(write) => {
            let count = u32::try_from(write.data.len()).unwrap();
            Body::Write(WriteResponse { count, remaining: 0 })
        }
        Request::SetInfo(_) => Body::SetInfo,
        _ => return Reply::error(NtStatus::NOT_SUPPORTED),
    })
}

/// What a READ of `length` bytes finds.
pub(crate) fn content(length: usize) -> Vec<u8> {
    let mut content = (0..=250).collect::<Vec<u8>>().repeat(length.div_ceil(251));
    content.truncate(length);
    content
}

/// The same, as a command hands it over.
pub(crate) fn payload(length: usize) -> Payload {
    let mut buffer = Payload::buffer_for(length);
    buffer.extend_from_slice(&content(length));
    Payload::new(buffer)
}
