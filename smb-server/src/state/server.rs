//! What all sessions of a server share. MS-SMB2 3.3.1.5.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures_util::lock::Mutex as AsyncMutex;

use crate::auth::Principal;
use crate::datapath;
use crate::rpc;
use crate::security::Token;

use super::{
    Accounts, KernelLeases, Locks, Oplocks, Session, SessionLimits, Share, Sharing, Target,
    Watches, lock,
};

/// The server's tables.
#[derive(Debug)]
pub struct Server {
    shares: Vec<Arc<Share>>,
    accounts: Accounts,
    sessions: Mutex<HashMap<u64, Arc<Session>>>,
    /// Share modes, over all sessions.
    pub sharing: Arc<Sharing>,
    /// Byte-range locks, over all sessions.
    pub locks: Arc<Locks>,
    /// Oplocks, over all sessions.
    pub oplocks: Arc<Oplocks>,
    /// Watched directories, over all sessions.
    pub watches: Arc<Watches>,
    /// Leases of the kernel, over all sessions.
    pub kernel_leases: KernelLeases,
    /// Which ways bytes have taken.
    pub routes: datapath::Counters,
    /// What bytes are moved without, whether the host has it or not.
    pub without: Vec<datapath::plan::Need>,
    /// What has been mapped is kept for what is read again.
    pub keeps_mappings: bool,
    /// What the RPC services tell.
    pub rpc: Arc<rpc::ServerInfo>,
    /// Held by who has the system's tables of accounts looked into for a client, over all sessions.
    pub look_up: AsyncMutex<()>,
    /// What each session may hold.
    pub session_limits: SessionLimits,
}

/// Why a share name leads somebody nowhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoWay {
    /// There is none of that name, or none that can be served.
    NoSuchShare,
    /// Only users may get there.
    NotForGuests,
}

impl Server {
    /// A server with these shares and nobody logged on.
    #[must_use]
    pub fn new(
        shares: Vec<Arc<Share>>,
        accounts: Accounts,
        rpc: Arc<rpc::ServerInfo>,
        session_limits: SessionLimits,
    ) -> Self {
        Self {
            shares,
            accounts,
            sessions: Mutex::default(),
            sharing: Arc::default(),
            locks: Arc::default(),
            oplocks: Arc::default(),
            watches: Arc::default(),
            kernel_leases: KernelLeases::default(),
            routes: datapath::Counters::default(),
            without: Vec::new(),
            keeps_mappings: true,
            rpc,
            look_up: AsyncMutex::default(),
            session_limits,
        }
    }

    /// The shares.
    #[must_use]
    pub fn shares(&self) -> &[Arc<Share>] {
        &self.shares
    }

    /// The users' accounts.
    #[must_use]
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// Where a share name leads somebody. Names are compared without regard to case.
    ///
    /// # Errors
    /// [`NoWay`]; the named pipes are there for everybody.
    pub fn target(&self, name: &str, principal: &Principal) -> Result<Target, NoWay> {
        if name.eq_ignore_ascii_case("IPC$") {
            return Ok(Target::Ipc);
        }
        let name = name.to_lowercase();
        let named = self.shares.iter().find(|share| share.name.to_lowercase() == name);
        let share = named.ok_or(NoWay::NoSuchShare)?;
        if !principal.is_user() && !share.options.guests {
            return Err(NoWay::NotForGuests);
        }
        let identity = self.accounts.identity(principal, share.owner);
        let identity = identity.map_err(|_| NoWay::NoSuchShare)?;
        let token = Token::of(identity.as_ref());
        let token = Arc::new(if principal.is_user() { token } else { token.of_stranger() });
        Ok(Target::Disk { share: Arc::clone(share), identity, token })
    }

    /// Adds a session.
    pub fn insert(&self, session: Arc<Session>) {
        lock(&self.sessions).insert(session.id, session);
    }

    /// The session of this number.
    #[must_use]
    pub fn session(&self, id: u64) -> Option<Arc<Session>> {
        lock(&self.sessions).get(&id).cloned()
    }

    /// Removes a session.
    pub fn remove(&self, id: u64) -> Option<Arc<Session>> {
        lock(&self.sessions).remove(&id)
    }
}
