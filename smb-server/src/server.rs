//! The server as a whole: listeners, cores, limits, and an orderly end.

use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use ringway::cores::{Cores, Load};
use ringway::fs::{LeaseBreaks, ReadLease};
use ringway::net::{TcpListener, TcpStream};
use ringway::{Builder, Features, JoinHandle, ShutdownReport};
use rustix::net::sockopt;

use crate::auth::{AcceptorConfig, Principal, UserStore};
use crate::config::{Config, Limits};
use crate::connection::{self, Connection, Timeouts};
use crate::cores::{self, Help, Processors};
use crate::crypto::random;
use crate::datapath::plan::Without;
use crate::datapath::{Count, RowCount};
use crate::memory::Memory;
use crate::monitor::{self, Monitor};
use crate::protocol;
use crate::rpc;
use crate::state::{self, Accounts, SessionLimits, Share, SystemAccounts};
use crate::wire::guid::Guid;
use crate::wire::security::Sid;

/// How long to wait when a connection could not be accepted for lack of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A silent client is asked after two minutes whether it is there, and is gone a minute and a half
/// after that if it does not answer.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(120);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(30);
const KEEPALIVE_TRIES: u32 = 3;

/// A running server. Dropping it stops it without ceremony; see [`Server::shutdown`].
#[derive(Debug)]
pub struct Server {
    cores: Arc<Cores>,
    shared: Arc<Shared>,
    local_addrs: Vec<SocketAddr>,
    monitored: Vec<Monitored>,
}

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A share's folder.
    #[error("cannot share '{path}': {source}")]
    Share {
        /// The folder.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// An address to listen on.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The runtime.
    #[error("cannot start the runtime: {0}")]
    Runtime(io::Error),
    /// The account of guests.
    #[error("there is no unix account '{name}' for guests to work as")]
    GuestAccount {
        /// Its name.
        name: String,
    },
    /// The system gives no random numbers.
    #[error("no random numbers: {0}")]
    Random(#[from] getrandom::Error),
}

/// Who a user of a share works as.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorksAs {
    /// The SMB user.
    pub user: String,
    /// The share.
    pub share: String,
    /// The unix user id that its files get.
    pub uid: u32,
    /// Why it is that one, for the administrator.
    pub because: String,
}

/// By what changes in a share that others make are seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Monitored {
    /// The share.
    pub share: String,
    /// By what, and why by nothing better.
    pub source: monitor::Source,
}

/// What the cores share.
#[derive(Debug)]
struct Shared {
    server: Arc<state::Server>,
    protocol: Arc<protocol::Config>,
    limits: Limits,
    assume_remote_peers: bool,
    memory: Arc<Memory>,
    processors: Arc<Processors>,
    gate: Mutex<Gate>,
    /// Connections on each core.
    load: Vec<AtomicUsize>,
}

/// Counts connections in.
#[derive(Debug, Default)]
struct Gate {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

thread_local! {
    /// What runs on this core, so that it can be told to stop.
    static CORE: RefCell<Core> = RefCell::default();
}

#[derive(Default)]
struct Core {
    /// Listeners and monitors.
    tasks: Vec<JoinHandle<()>>,
    connections: Vec<Rc<Connection>>,
}

impl Server {
    /// Opens the shares, listens, and serves on threads of its own from then on.
    ///
    /// # Errors
    /// Nothing is left running.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let shares = open_shares(&config)?;
        let builder = Builder::new().backend(config.backend);
        let cores = Cores::start(config.threads.get(), &builder).map_err(StartError::Runtime)?;
        let shared = Arc::new(Shared::new(&config, shares, cores.load())?);
        let cores = Arc::new(cores);
        let mut server = Self { cores, shared, local_addrs: Vec::new(), monitored: Vec::new() };
        server.share_processors();
        server.monitored = server.monitor().map_err(StartError::Runtime)?;
        server.watch_leases().map_err(StartError::Runtime)?;
        for addr in config.listen {
            let bound =
                server.listen(addr).map_err(|source| StartError::Listen { addr, source })?;
            server.local_addrs.push(bound);
        }
        Ok(server)
    }

    /// What the runtime found on this machine and chose.
    #[must_use]
    pub fn features(&self) -> &Features {
        self.cores.features()
    }

    /// The addresses that clients can connect to, in the order of the configuration.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }

    /// As whom each user works in each share.
    #[must_use]
    pub fn identities(&self) -> Vec<WorksAs> {
        let server = &self.shared.server;
        let users = self.shared.protocol.users.names();
        let pairs = users.flat_map(|user| server.shares().iter().map(move |share| (user, share)));
        let works_as = |(user, principal, share): (&str, Principal, &Arc<Share>)| {
            let (uid, because) = server.accounts().explain(&principal, share.owner);
            WorksAs { user: user.to_owned(), share: share.name.clone(), uid, because }
        };
        let users = pairs.map(|(user, share)| (user, Principal::User(user.to_owned()), share));
        let open = server.shares().iter().filter(|share| share.options.guests);
        let guests = open.map(|share| ("guests", Principal::Guest, share));
        users.chain(guests).map(works_as).collect()
    }

    /// By what changes that others make are seen, share by share.
    #[must_use]
    pub fn monitored(&self) -> &[Monitored] {
        &self.monitored
    }

    /// Tells the log how many transfers have taken which way so far, first by reason, then all; and what cores have
    /// left to others.
    pub fn log_routes(&self) {
        let routes = &self.shared.server.routes;
        let counts = routes.counts();
        if counts.is_empty() {
            tracing::info!("nothing has been read or written yet");
        }
        if routes.cut_off() > 0 {
            let connections = routes.cut_off();
            tracing::info!(connections, "ended in an answer whose file was cut off");
        }
        for RowCount { row, transfers, bytes } in routes.rows() {
            let (when, because) = (row.when, row.because);
            tracing::info!(when, because, transfers, bytes, "{}: {}", row.direction, row.route);
        }
        for Count { route, direction, transfers, bytes } in counts {
            tracing::info!(%direction, %route, transfers, bytes, "moved so far");
        }
        if let Some((mapped, spliced)) = routes.costs() {
            tracing::info!(
                mapped,
                spliced,
                "ms per GB that long READs by clients on this host cost"
            );
        }
        let helped = |with| self.shared.processors.helped(with);
        let (protected, copied) = (helped(Help::Protect), helped(Help::Copy));
        tracing::info!(protected, copied, "left to other processors so far");
        let (requests, bytes) = self.shared.server.routes.read_ahead();
        tracing::info!(requests, bytes, "read ahead so far");
    }

    /// Stops: accepts nothing more, finishes what is in flight, brings what was written to the disk,
    /// and ends every thread. After `grace` what is left is cut off.
    pub fn shutdown(self, grace: Duration) -> ShutdownReport {
        let deadline = Instant::now() + grace;
        let (done, finished) = mpsc::channel();
        for core in 0..self.cores.len() {
            let done = done.clone();
            // A core that takes no more work has ended already.
            let _ = self.cores.spawn_on(core, move || stop_core(done));
        }
        drop(done);
        for _ in 0..self.cores.len() {
            let left = deadline.saturating_duration_since(Instant::now());
            if finished.recv_timeout(left).is_err() {
                break;
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        match Arc::try_unwrap(self.cores) {
            Ok(cores) => cores.shutdown(left),
            Err(_) => ShutdownReport::default(),
        }
    }

    /// Lets each core know who may help it.
    fn share_processors(&self) {
        for core in 0..self.cores.len() {
            let processors = Arc::clone(&self.shared.processors);
            // One that takes no more work needs no help.
            let _ = self.cores.spawn_on(core, || async { cores::join(processors) });
        }
    }

    /// Has the first core look at what others change.
    fn monitor(&self) -> io::Result<Vec<Monitored>> {
        let (tell, told) = mpsc::sync_channel(1);
        let server = Arc::clone(&self.shared.server);
        let start = move || async move {
            let mut monitored = Vec::new();
            for share in server.shares() {
                let (monitor, source) = Monitor::new(share, &server.watches).await;
                add_task(monitor.run());
                monitored.push(Monitored { share: share.name.clone(), source });
            }
            let _ = tell.send(monitored);
        };
        self.on_first_core(start)?;
        told.recv().map_err(|_| has_ended())
    }

    /// Has the first core give up leases of the kernel that somebody waits for, and each see to what it has on its way.
    fn watch_leases(&self) -> io::Result<()> {
        let server = Arc::clone(&self.shared.server);
        self.on_first_core(move || async move { add_task(give_up_leases(server)) })?;
        for core in 0..self.cores.len() {
            let start = move || async move { add_task(hurry_for_leases()) };
            self.cores.spawn_on(core, start).map(drop).map_err(|_| has_ended())?;
        }
        Ok(())
    }

    fn on_first_core<F: Future<Output = ()> + 'static>(
        &self,
        start: impl FnOnce() -> F + Send + 'static,
    ) -> io::Result<()> {
        self.cores.spawn_on(0, start).map(drop).map_err(|_| has_ended())
    }

    /// Listens on the first core, which hands connections to the others.
    fn listen(&self, addr: SocketAddr) -> io::Result<SocketAddr> {
        let (bound_to, bound) = mpsc::sync_channel(1);
        let shared = Arc::clone(&self.shared);
        // Weak, or the cores would keep themselves alive.
        let cores = Arc::downgrade(&self.cores);
        let start = move || async move {
            let listener = TcpListener::bind(addr).and_then(|it| Ok((it.local_addr()?, it)));
            let result = listener.map(|(addr, listener)| {
                add_task(accept(listener, cores, shared));
                addr
            });
            let _ = bound_to.send(result);
        };
        self.on_first_core(start)?;
        bound.recv().map_err(|_| has_ended())?
    }
}

fn has_ended() -> io::Error {
    io::Error::other("the runtime has ended")
}

impl Shared {
    fn new(
        config: &Config,
        shares: Vec<Arc<Share>>,
        load_of_cores: Load,
    ) -> Result<Self, StartError> {
        let name = host_name();
        let rpc = rpc_info(&name, &shares);
        let session_limits = SessionLimits {
            trees_max: config.limits.trees_per_session_max,
            opens_max: config.limits.opens_per_session_max,
        };
        let mut accounts = Accounts::look_up(config.users.iter().map(|user| &*user.name));
        if let Some(name) = &config.guest
            && !accounts.guests_as(name)
        {
            return Err(StartError::GuestAccount { name: name.to_string() });
        }
        let mut server = state::Server::new(shares, accounts, Arc::new(rpc), session_limits);
        server.keeps_mappings = !config.without.contains(&Without::KeptMappings);
        server.without = config.without.iter().filter_map(Without::need).collect();
        let server = Arc::new(server);
        let protocol = Arc::new(protocol_config(config, &name)?);
        let load = (0..config.threads.get()).map(|_| AtomicUsize::new(0)).collect();
        let limits = config.limits.clone();
        let memory = Arc::new(Memory::new(limits.memory_max));
        let processors = Arc::new(Processors::new(config.helping, load_of_cores));
        Ok(Self {
            server,
            protocol,
            limits,
            assume_remote_peers: config.assume_remote_peers,
            memory,
            processors,
            gate: Mutex::default(),
            load,
        })
    }

    /// Counts a connection in, or says why not.
    fn enter(self: &Arc<Self>, peer: IpAddr) -> Result<Ticket, &'static str> {
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        if gate.total >= self.limits.connections_max {
            return Err("too many connections");
        }
        let of_peer = gate.by_address.entry(peer).or_default();
        if *of_peer >= self.limits.connections_per_address_max {
            return Err("too many connections from this address");
        }
        *of_peer += 1;
        gate.total += 1;
        let least =
            self.load.iter().enumerate().min_by_key(|(_, load)| load.load(Ordering::Relaxed));
        let core = least.map_or(0, |(core, _)| core);
        self.load[core].fetch_add(1, Ordering::Relaxed);
        Ok(Ticket { shared: Arc::clone(self), peer, core })
    }
}

/// A connection's place among the counted ones.
struct Ticket {
    shared: Arc<Shared>,
    peer: IpAddr,
    core: usize,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut gate = self.shared.gate.lock().unwrap_or_else(PoisonError::into_inner);
        gate.total -= 1;
        if let Some(of_peer) = gate.by_address.get_mut(&self.peer) {
            *of_peer -= 1;
            if *of_peer == 0 {
                gate.by_address.remove(&self.peer);
            }
        }
        self.shared.load[self.core].fetch_sub(1, Ordering::Relaxed);
    }
}

fn open_shares(config: &Config) -> Result<Vec<Arc<Share>>, StartError> {
    let open = |share: &crate::config::ShareConfig| {
        Share::open(&share.name, &share.path, share.options.clone())
            .map(Arc::new)
            .map_err(|source| StartError::Share { path: share.path.display().to_string(), source })
    };
    let shares = config.shares.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    for share in &shares {
        share.volume.know_others(shares.iter().map(|share| &share.volume));
    }
    Ok(shares)
}

fn protocol_config(config: &Config, host: &str) -> Result<protocol::Config, StartError> {
    let mut users = UserStore::new();
    for user in &config.users {
        users.add(&user.name, user.password.expose());
    }
    if config.guest.is_some() {
        users.admit_guests();
    }
    let netbios_name: String = host.chars().take(15).collect::<String>().to_uppercase();
    let acceptor = AcceptorConfig {
        netbios_domain: netbios_name.clone(),
        netbios_name,
        dns_name: host.to_owned(),
        dns_domain: String::new(),
    };
    let limits = &config.limits;
    Ok(protocol::Config {
        server_guid: Guid(random::bytes()?),
        require_signing: config.require_signing,
        require_encryption: config.require_encryption,
        anonymous: config.anonymous,
        guests_have_files: config.shares.iter().any(|share| share.options.guests),
        io_size_max: limits.io_size_max,
        credits_max: limits.credits_max,
        sessions_max: limits.sessions_per_connection_max,
        unauthenticated_timeout: limits.unauthenticated_timeout,
        session_ids: protocol::SessionIds::starting_at(u32::from_le_bytes(random::bytes()?)),
        acceptor: Arc::new(acceptor),
        users: Arc::new(users),
        throttle: Arc::default(),
    })
}

/// What the RPC services tell: the shares, and the named pipes that every server has.
fn rpc_info(host: &str, shares: &[Arc<Share>]) -> rpc::ServerInfo {
    let info = |name: &str, kind| rpc::ShareInfo {
        name: name.to_owned(),
        comment: String::new(),
        kind,
        path: String::new(),
    };
    let mut listed: Vec<_> =
        shares.iter().map(|share| info(&share.name, rpc::ShareType::Disk)).collect();
    listed.push(info("IPC$", rpc::ShareType::Ipc));
    rpc::ServerInfo {
        name: host.to_uppercase(),
        comment: "usmbd".to_owned(),
        shares: listed,
        domain_sid: machine_sid(host),
        unix: Arc::new(SystemAccounts),
    }
}

/// A SID as Windows makes one for a machine (MS-DTYP 2.4.2.4, S-1-5-21 and three numbers): always the same on this one,
/// and by itself of no use to whoever wants to know the machine's id.
fn machine_sid(host: &str) -> Sid {
    let id = std::fs::read_to_string("/etc/machine-id").unwrap_or_else(|_| host.to_owned());
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"usmbd machine SID\0");
    context.update(id.trim().as_bytes());
    let hash = context.finish();
    let words = hash.as_ref().as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word));
    Sid::new(5, [21].into_iter().chain(words.take(3)).collect::<Vec<u32>>())
}

/// The host's name without its domain.
fn host_name() -> String {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_string_lossy();
    match name.split('.').next() {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => "USMBD".to_owned(),
    }
}

/// Reports refused connections, but not so often that strangers can fill the log.
#[derive(Default)]
struct Refusals {
    reported: Option<Instant>,
    unreported: u64,
}

impl Refusals {
    fn report(&mut self, peer: SocketAddr, reason: &str) {
        if self.reported.is_some_and(|reported| reported.elapsed() < Duration::from_secs(1)) {
            self.unreported += 1;
            return;
        }
        tracing::warn!(%peer, reason, others = self.unreported, "connection refused");
        *self = Self { reported: Some(Instant::now()), unreported: 0 };
    }
}

async fn accept(listener: TcpListener, cores: std::sync::Weak<Cores>, shared: Arc<Shared>) {
    let mut refusals = Refusals::default();
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accept");
                ringway::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(cores) = cores.upgrade() else { return };
        match shared.enter(peer.ip()) {
            Ok(ticket) => hand_over(&cores, stream, peer, ticket),
            Err(reason) => refusals.report(peer, reason),
        }
    }
}

/// Gives a connection to the core that its ticket names.
fn hand_over(cores: &Cores, stream: TcpStream, peer: SocketAddr, ticket: Ticket) {
    let result = prepare(&stream).and_then(|()| stream.into_std());
    let stream = match result {
        Ok(stream) => stream,
        Err(error) => return tracing::warn!(%peer, %error, "connection lost"),
    };
    let core = ticket.core;
    let start = move || async move {
        match TcpStream::from_std(stream) {
            Ok(stream) => run(stream, peer, ticket).await,
            Err(error) => tracing::warn!(%peer, %error, "connection lost"),
        }
    };
    if cores.spawn_on(core, start).is_err() {
        tracing::debug!(%peer, "refused: stopping");
    }
}

/// Responses leave at once, and a client that has gone without a word is noticed: its open files
/// stand in others' way.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_AFTER)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_EVERY)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_TRIES)?;
    Ok(())
}

async fn run(stream: TcpStream, peer: SocketAddr, ticket: Ticket) {
    tracing::debug!(%peer, core = ticket.core, "connected");
    let Shared { server, protocol, limits, memory, .. } = &*ticket.shared;
    // What a client that has vanished does not acknowledge holds the memory that it was sent from.
    if let Err(error) = stream.set_user_timeout(limits.send_timeout) {
        return tracing::warn!(%peer, %error, "connection lost");
    }
    let timeouts = Timeouts { send: limits.send_timeout, idle: limits.idle_timeout };
    let (server, protocol) = (Arc::clone(server), Arc::clone(protocol));
    let (memory, remote) = (memory.part(), ticket.shared.assume_remote_peers);
    let connection = Connection::new(stream, peer, server, protocol, memory, timeouts, remote);
    let connection = Rc::new(connection);
    CORE.with_borrow_mut(|core| core.connections.push(Rc::clone(&connection)));
    connection::serve(Rc::clone(&connection)).await;
    CORE.with_borrow_mut(|core| core.connections.retain(|other| !Rc::ptr_eq(other, &connection)));
}

/// A task that goes on until the server stops.
fn add_task(task: impl Future<Output = ()> + 'static) {
    let task = ringway::spawn(task);
    CORE.with_borrow_mut(|core| core.tasks.push(task));
}

/// Without it there are no leases, and what is signed or sealed is copied.
async fn give_up_leases(server: Arc<state::Server>) {
    let leases = &server.kernel_leases;
    let watching = async {
        let mut breaks = LeaseBreaks::new()?;
        loop {
            leases.watch(ringway::spawn_blocking(ReadLease::break_time).await?);
            breaks.next().await?;
            leases.give_up_broken();
        }
    };
    let Err::<Infallible, io::Error>(error) = watching.await;
    tracing::warn!(%error, "leases of files are not watched");
}

/// Without it connections find out later that somebody waits for what they have on its way.
async fn hurry_for_leases() {
    let watching = async {
        let mut breaks = LeaseBreaks::new()?;
        loop {
            breaks.next().await?;
            let connections = CORE.with_borrow(|core| core.connections.clone());
            connections.iter().for_each(|connection| connection.receiver().look());
        }
    };
    let Err::<Infallible, io::Error>(error) = watching.await;
    tracing::warn!(%error, "leases of files are not watched");
}

/// Ends what runs on this core; `done` is dropped, or told, when nothing is left.
async fn stop_core(done: mpsc::Sender<()>) {
    let tasks = CORE.with_borrow_mut(|core| std::mem::take(&mut core.tasks));
    tasks.iter().for_each(JoinHandle::abort);
    let connections = CORE.with_borrow(|core| core.connections.clone());
    connections.iter().for_each(|connection| connection.stop());
    drop(connections);
    while CORE.with_borrow(|core| !core.connections.is_empty()) {
        ringway::time::sleep(Duration::from_millis(5)).await;
    }
    let _ = done.send(());
}
