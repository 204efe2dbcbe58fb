//! What all sessions of a server share. MS-SMB2 3.3.1.5.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::rpc;

use super::{
    Accounts, Locks, Oplocks, Session, SessionLimits, Share, Sharing, Target, Watches, lock,
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
    /// What the RPC services tell.
    pub rpc: Arc<rpc::ServerInfo>,
    /// What each session may hold.
    pub session_limits: SessionLimits,
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
            rpc,
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

    /// Where a share name leads a user. Names are compared without regard to case.
    #[must_use]
    pub fn target(&self, name: &str, user: &str) -> Option<Target> {
        if name.eq_ignore_ascii_case("IPC$") {
            return Some(Target::Ipc);
        }
        let name = name.to_lowercase();
        let share = self.shares.iter().find(|share| share.name.to_lowercase() == name)?;
        let identity = self.accounts.identity(user, share.owner).ok()?;
        Some(Target::Disk { share: Arc::clone(share), identity })
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
