//! Drives one connection: messages from the transport into the protocol, its requests to the
//! commands, its bytes back out. It knows the order of these and nothing about their contents.
//!
//! Four tasks share a [`Connection`]: one reads (and is `serve` itself), one writes, one keeps time, one
//! takes what others have for the client; each chain of requests runs in a task of its own. All are on the connection's core.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_channel::mpsc::{self, UnboundedReceiver};
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use ringway::net::TcpStream;
use ringway::time::{sleep, sleep_until, timeout};

use crate::buffers::Buffer;
use crate::command::{self, Ongoing};
use crate::cores::{self, AtWork, Help};
use crate::datapath::Receiver;
use crate::datapath::plan::APART_MIN;
use crate::memory::Part;
use crate::protocol::{self, Chain, ChainId, Disconnect, Event, Now, Transmit};
use crate::signal::Signal;
use crate::state::{Notice, Notices, Server};
use crate::transport::{self, Intake, Message, MessageReader, ReadError, Rest};
use crate::wire::filetime::FileTime;

/// How many bytes of requests being carried out and responses waiting to be sent one connection may
/// hold; beyond it nothing more is read. Eight of the largest transfers keep a fast link busy.
const HELD_MAX: usize = 64 * 1024 * 1024;

/// The same before anybody has logged on who may get at files: a log-on takes a few kilobytes.
const HELD_BEFORE_LOGON_MAX: usize = 256 * 1024;

/// How long several answers are together that are sent as one.
const GATHERED_MAX: usize = 64 * 1024;

/// How soon who waits for memory looks again.
const MEMORY_PAUSE: Duration = Duration::from_millis(10);

/// Further ahead than anything waits.
const FAR: Duration = Duration::from_secs(24 * 60 * 60);

/// One connection, shared by its tasks.
pub(crate) struct Connection {
    pub(crate) peer: SocketAddr,
    server: Arc<Server>,
    stream: Rc<TcpStream>,
    /// What of files is on its way to the client.
    receiver: Rc<Receiver>,
    machine: RefCell<protocol::Connection>,
    sessions: RefCell<Vec<u64>>,
    /// Chains that are being carried out.
    running: RefCell<HashMap<ChainId, Rc<Ongoing>>>,
    /// Bytes that requests and responses hold, see [`HELD_MAX`].
    held: Cell<usize>,
    /// Bytes of a message that is being received.
    receiving: Cell<usize>,
    /// What of all connections' memory is counted for this one.
    memory: Part,
    /// What the timer waits for now.
    armed: Cell<Option<Instant>>,
    /// The server stops: what is in flight is finished, nothing new is begun.
    stopping: Cell<bool>,
    /// Nothing more is read.
    closing: Cell<bool>,
    /// Nothing will be sent but what is queued.
    draining: Cell<bool>,
    /// Something is being sent.
    sending: Cell<bool>,
    /// There is something to send.
    outgoing: Signal,
    /// There is an earlier deadline.
    rearm: Signal,
    /// A chain has ended or something was sent.
    progress: Signal,
    /// What the server says unasked: the way in, and the way out until it is taken.
    notices: (Notices, Cell<Option<UnboundedReceiver<Notice>>>),
    timeouts: Timeouts,
    /// When the client last sent something.
    heard: Cell<Instant>,
}

/// How long a client may keep others waiting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// For a response that it does not take.
    pub(crate) send: Duration,
    /// Without a word and without open files.
    pub(crate) idle: Duration,
}

/// Serves a connection until it ends, and leaves nothing of it behind.
pub(crate) async fn serve(connection: Rc<Connection>) {
    let notices = connection.notices.1.take();
    let notifier = ringway::spawn(pass_on(Rc::clone(&connection), notices));
    let writer = ringway::spawn(write(Rc::clone(&connection)));
    let timer = ringway::spawn(keep_time(Rc::clone(&connection)));
    // In a task of its own, so that a panic in it ends this connection and nothing is left behind.
    let reader = Rc::clone(&connection);
    let _ = ringway::spawn(async move { reader.read().await }).await;
    // Who takes the rest of the last message gets no more than has come.
    let _ = connection.stream.shutdown(Shutdown::Read);
    timer.abort();
    notifier.abort();
    // What others would have to bring about is not waited for.
    connection.running.borrow().values().for_each(|ongoing| ongoing.give_up());
    while connection.has_running() {
        connection.progress.wait().await;
    }
    connection.draining.set(true);
    connection.outgoing.notify();
    let _ = writer.await;
    connection.end_sessions().await;
    connection.receiver.finish().await;
    // Fails when the client was faster.
    let _ = connection.stream.shutdown(Shutdown::Both);
    tracing::debug!(peer = %connection.peer, "closed");
}

impl Connection {
    pub(crate) fn new(
        stream: TcpStream,
        peer: SocketAddr,
        server: Arc<Server>,
        config: Arc<protocol::Config>,
        memory: Part,
        timeouts: Timeouts,
        assumed_off_host: bool,
    ) -> Self {
        let (notices, taken) = mpsc::unbounded();
        let stream = Rc::new(stream);
        let (to, tables) = (Rc::clone(&stream), Arc::clone(&server));
        Self {
            peer,
            server,
            notices: (notices, Cell::new(Some(taken))),
            stream,
            receiver: Receiver::new(to, peer, tables, assumed_off_host),
            machine: RefCell::new(protocol::Connection::new(config, peer.ip(), Instant::now())),
            sessions: RefCell::default(),
            running: RefCell::default(),
            held: Cell::new(0),
            receiving: Cell::new(0),
            memory,
            armed: Cell::new(None),
            stopping: Cell::new(false),
            closing: Cell::new(false),
            draining: Cell::new(false),
            sending: Cell::new(false),
            outgoing: Signal::default(),
            rearm: Signal::default(),
            progress: Signal::default(),
            timeouts,
            heard: Cell::new(Instant::now()),
        }
    }

    /// Whom it sends to.
    pub(crate) fn receiver(&self) -> &Receiver {
        &self.receiver
    }

    /// Finishes what is in flight and then ends.
    pub(crate) fn stop(&self) {
        self.stopping.set(true);
        self.end_reading();
    }

    /// The reader sees the end of the stream, at the latest after the message it is at.
    fn end_reading(&self) {
        self.closing.set(true);
        self.progress.notify();
        let _ = self.stream.shutdown(Shutdown::Read);
    }

    // ---- in

    async fn read(self: &Rc<Self>) {
        let mut reader = MessageReader::new(Rc::clone(&self.stream));
        loop {
            while self.is_full() && !self.closing.get() {
                self.progress.wait().await;
            }
            let message = match reader.next(&**self).await {
                _ if self.closing.get() => return,
                Ok(Some(message)) => message,
                Ok(None) => return,
                Err(error) => return self.report_read_error(&error),
            };
            self.heard.set(Instant::now());
            let Message { bytes, rest } = message;
            let result = {
                let mut machine = self.machine.borrow_mut();
                match &rest {
                    None => machine.handle_message(now(), bytes),
                    Some(rest) => {
                        let length = bytes.len().saturating_add(rest.len());
                        machine.handle_head(now(), bytes, length)
                    }
                }
            };
            self.receiving.set(0);
            self.pump(rest).await;
            if let Err(reason) = result {
                return self.report_disconnect(&reason);
            }
        }
    }

    /// Does what the machine asks for, after something was put in. `rest` belongs to the one request of that.
    async fn pump(self: &Rc<Self>, mut rest: Option<Rest>) {
        loop {
            let event = self.machine.borrow_mut().poll_event();
            match event {
                None => break,
                Some(Event::Established(established)) => {
                    let stands = |id: &u64| self.server.session(*id).is_some();
                    self.sessions.borrow_mut().retain(stands);
                    self.sessions.borrow_mut().push(established.session_id);
                    let notices = self.notices.0.clone();
                    command::establish(&self.server, established, notices).await;
                }
                Some(Event::Ended(session_id)) => {
                    command::end_session(&self.server, session_id).await
                }
                Some(Event::Execute(chain)) => self.start(chain, rest.take()),
                Some(Event::Cancel(chain)) => self.cancel(chain),
            }
        }
        self.count_memory();
        self.outgoing.notify();
        self.rearm_if_earlier();
    }

    /// Keeps what is counted for this connection up to date.
    fn count_memory(&self) {
        let queued = self.machine.borrow().queued_bytes();
        let held = self.held.get().saturating_add(queued);
        self.memory.set(held.saturating_add(self.receiving.get()));
    }

    /// Whether the client has to wait before it may ask for more.
    fn is_full(&self) -> bool {
        let machine = self.machine.borrow();
        let max = if machine.moves_files() { HELD_MAX } else { HELD_BEFORE_LOGON_MAX };
        let held = self.held.get().saturating_add(machine.queued_bytes());
        // Who holds nothing may go on: what is held by others is theirs to give back.
        held >= max || (held > 0 && self.memory.is_short())
    }

    fn rearm_if_earlier(&self) {
        let next = self.machine.borrow().poll_timeout();
        if next.is_some_and(|next| self.armed.get().is_none_or(|armed| next < armed)) {
            self.rearm.notify();
        }
    }

    /// Carries a chain out in a task of its own.
    fn start(self: &Rc<Self>, chain: Chain, rest: Option<Rest>) {
        let (running, ongoing) = Running::new(Rc::clone(self), &chain);
        drop(ringway::spawn(async move {
            let server = Arc::clone(&running.connection.server);
            let receiver = Rc::clone(&running.connection.receiver);
            let replies = command::run_chain(&server, &receiver, chain, ongoing, rest);
            running.finish(replies.await);
        }));
    }

    /// Has large answers signed and sealed by other processors, where some are free, before their turn comes.
    fn protect_ahead(self: &Rc<Self>) {
        // Where nothing is being sent, the next one's turn is now.
        let left = usize::from(!self.sending.get());
        while self.machine.borrow().has_job(left)
            && let Some(helper) = cores::help(Help::Protect)
        {
            let Some(job) = self.machine.borrow_mut().poll_job(left) else { return };
            let (connection, id) = (Rc::clone(self), job.id());
            drop(ringway::spawn(async move {
                let work = move || {
                    let _helper = helper;
                    job.run()
                };
                let done = ringway::spawn_blocking(work).await.ok().flatten();
                connection.machine.borrow_mut().handle_job(id, done);
                connection.outgoing.notify();
            }));
        }
    }

    fn cancel(&self, chain: ChainId) {
        let ongoing = self.running.borrow().get(&chain).cloned();
        if let Some(ongoing) = ongoing {
            ongoing.cancel();
        }
    }

    fn has_running(&self) -> bool {
        !self.running.borrow().is_empty()
    }

    /// A chain is to wait for others, if it may.
    fn tell_pending(&self, chain: ChainId, finished: &mut Vec<protocol::Reply>) -> bool {
        let now = Instant::now();
        let may_wait = self.machine.borrow_mut().handle_pending(now, chain, finished);
        let ongoing = self.running.borrow().get(&chain).cloned();
        if let Some(ongoing) = ongoing.filter(|_| may_wait) {
            self.pass_on_kept_back(&ongoing);
        }
        self.outgoing.notify();
        may_wait
    }

    /// Passes on what others have to say to the client; but MS-SMB2 3.3.4.6 is about opens that it knows, so what
    /// concerns one that it is still to hear of waits until then.
    fn pass_on(&self, notice: Notice) {
        if !self.running.borrow().values().any(|ongoing| ongoing.keep_back(notice)) {
            let Notice { session_id, notification } = notice;
            self.machine.borrow_mut().handle_notification(session_id, notification);
            self.outgoing.notify();
        }
    }

    /// What a chain has opened is known to the client by now.
    fn pass_on_kept_back(&self, ongoing: &Ongoing) {
        ongoing.take_kept_back().into_iter().for_each(|notice| self.pass_on(notice));
    }

    fn report_read_error(&self, error: &ReadError) {
        match error {
            ReadError::Io(error) => tracing::debug!(peer = %self.peer, %error, "connection lost"),
            error => tracing::warn!(peer = %self.peer, %error, "closing the connection"),
        }
    }

    fn report_disconnect(&self, reason: &Disconnect) {
        tracing::warn!(peer = %self.peer, %reason, "closing the connection");
    }

    // ---- time

    /// When to look at the clock again. It lies ahead unless there is something to do.
    fn next_deadline(&self) -> Instant {
        let now = Instant::now();
        let since = if self.is_used() { now } else { self.heard.get() };
        let idle = since.checked_add(self.timeouts.idle).unwrap_or(now + FAR);
        self.machine.borrow().poll_timeout().map_or(idle, |next| next.min(idle))
    }

    fn is_idle(&self) -> bool {
        self.heard.get().elapsed() >= self.timeouts.idle && !self.is_used()
    }

    fn is_used(&self) -> bool {
        let has_opens =
            |id: &u64| self.server.session(*id).is_some_and(|session| session.has_opens());
        self.has_running() || self.sessions.borrow().iter().any(has_opens)
    }

    // ---- out

    async fn send(&self, transmit: Transmit) -> std::io::Result<()> {
        let (length, pin) = (transmit.length(), transmit.pin());
        let Transmit { buffer, start, tail } = transmit;
        let sent = transport::send(&self.stream, buffer, start, tail);
        let result = match timeout(self.timeouts.send, sent).await {
            Ok(result) => result,
            Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
        };
        self.receiver.note_sent(result.is_ok().then_some(length), pin.as_deref());
        result
    }

    /// The next bytes for the client. Small answers that wait together are one: each send costs more than it
    /// takes to copy them.
    fn next_transmit(&self) -> Option<Transmit> {
        let mut machine = self.machine.borrow_mut();
        let first = machine.poll_transmit()?;
        let fits = |gathered: &Transmit, next: &Transmit| {
            gathered.tail.is_empty()
                && gathered.bytes().len().saturating_add(next.bytes().len()) <= GATHERED_MAX
        };
        let Some(second) = machine.poll_transmit_if(|next| fits(&first, next)) else {
            return Some(first);
        };
        let mut gathered =
            Transmit { buffer: Buffer::with_room(0, GATHERED_MAX), start: 0, tail: Vec::new() };
        for next in [first, second] {
            gathered.append(next);
        }
        while let Some(next) = machine.poll_transmit_if(|next| fits(&gathered, next)) {
            gathered.append(next);
        }
        Some(gathered)
    }

    fn hold(&self, bytes: usize) {
        self.held.set(self.held.get().saturating_add(bytes));
        self.count_memory();
    }

    fn release(&self, bytes: usize) {
        self.held.set(self.held.get().saturating_sub(bytes));
        self.count_memory();
        self.progress.notify();
    }

    async fn end_sessions(&self) {
        let sessions = self.sessions.take();
        for session_id in sessions {
            if self.stopping.get() {
                command::sync_session(&self.server, session_id).await;
            }
            command::end_session(&self.server, session_id).await;
        }
    }
}

impl Intake for Connection {
    fn message_size_max(&self) -> usize {
        self.machine.borrow().message_size_max()
    }

    fn takes_apart(&self, head: &[u8], length: usize) -> bool {
        length >= APART_MIN && self.machine.borrow().takes_apart(head, length)
    }

    /// That is a matter of all connections, whose messages end in bounded time; where it takes longer than a message
    /// may, this one is closed.
    async fn room_for(&self, length: usize) {
        while self.memory.is_short() {
            sleep(MEMORY_PAUSE).await;
        }
        self.receiving.set(length);
        self.count_memory();
    }
}

/// A chain in the hands of the commands. However it ends, it is answered and counted out: a command
/// that panics leaves a client with an error, not without an answer.
struct Running {
    connection: Rc<Connection>,
    chain: ChainId,
    /// What it holds: its requests, and until it waits for others what they ask to be moved.
    size: usize,
    wanted: Rc<Cell<usize>>,
    /// Nothing while it waits for others.
    at_work: Rc<Cell<Option<AtWork>>>,
    replies: Option<Vec<protocol::Reply>>,
}

impl Running {
    fn new(connection: Rc<Connection>, chain: &Chain) -> (Self, Rc<Ongoing>) {
        let (id, size, wanted) = (chain.id, chain.size(), Rc::new(Cell::new(chain.wanted())));
        connection.hold(size.saturating_add(wanted.get()));
        let at_work = Rc::new(Cell::new(Some(AtWork::new())));
        let rests = Rc::clone(&at_work);
        let (to_tell, unused) = (Rc::downgrade(&connection), Rc::clone(&wanted));
        let ongoing = Rc::new(Ongoing::new(move |finished| {
            let Some(connection) = to_tell.upgrade() else { return false };
            let waits = connection.tell_pending(id, finished);
            if waits {
                // Otherwise what waits could keep out the very request that it waits for.
                connection.release(unused.take());
                rests.take();
            }
            waits
        }));
        connection.running.borrow_mut().insert(id, Rc::clone(&ongoing));
        (Self { connection, chain: id, size, wanted, at_work, replies: None }, ongoing)
    }

    fn finish(mut self, replies: Vec<protocol::Reply>) {
        self.replies = Some(replies);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let connection = &self.connection;
        let replies = self.replies.take().unwrap_or_default();
        self.at_work.take();
        connection.machine.borrow_mut().handle_replies(Instant::now(), self.chain, replies);
        connection.protect_ahead();
        let ongoing = connection.running.borrow_mut().remove(&self.chain);
        if let Some(ongoing) = ongoing {
            connection.pass_on_kept_back(&ongoing);
        }
        connection.release(self.size.saturating_add(self.wanted.get()));
        connection.outgoing.notify();
        connection.rearm_if_earlier();
    }
}

async fn write(connection: Rc<Connection>) {
    loop {
        // Of several, the next is for this core.
        connection.protect_ahead();
        let Some(transmit) = connection.next_transmit() else {
            if connection.draining.get() && !connection.machine.borrow().has_queued() {
                return;
            }
            connection.outgoing.wait().await;
            continue;
        };
        let bytes = transmit.size();
        connection.hold(bytes);
        connection.sending.set(true);
        let result = connection.send(transmit).await;
        connection.sending.set(false);
        connection.release(bytes);
        if let Err(error) = result {
            tracing::debug!(peer = %connection.peer, %error, "connection lost");
            // No socket says so: a file was cut off that was being sent.
            if error.kind() == std::io::ErrorKind::UnexpectedEof {
                connection.server.routes.count_cut_off();
            }
            return connection.end_reading();
        }
    }
}

/// Passes on what is said unasked.
async fn pass_on(connection: Rc<Connection>, notices: Option<UnboundedReceiver<Notice>>) {
    let Some(mut notices) = notices else { return };
    while let Some(notice) = notices.next().await {
        connection.pass_on(notice);
    }
}

async fn keep_time(connection: Rc<Connection>) {
    loop {
        let next = connection.next_deadline();
        connection.armed.set(Some(next));
        let rearm = std::pin::pin!(connection.rearm.wait());
        if let Either::Right(_) = select(sleep_until(next), rearm).await {
            continue;
        }
        if connection.is_idle() {
            tracing::info!(peer = %connection.peer, "closing a connection that is not used");
            return connection.end_reading();
        }
        let result = connection.machine.borrow_mut().handle_timeout(Instant::now());
        connection.outgoing.notify();
        if let Err(reason) = result {
            connection.report_disconnect(&reason);
            return connection.end_reading();
        }
    }
}

/// The clocks that the machine is told.
fn now() -> Now {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX);
    Now { instant: Instant::now(), wall: FileTime::from_unix(seconds, since_1970.subsec_nanos()) }
}
