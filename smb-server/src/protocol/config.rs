//! What every connection of a server has in common, as far as the protocol is concerned.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::auth::{AcceptorConfig, Throttle, UserStore};
use crate::wire::guid::Guid;

/// Settings of the protocol, shared by all connections.
#[derive(Debug)]
pub struct Config {
    /// Names the server; stable while it runs, the same on every connection.
    pub server_guid: Guid,
    /// Whether every session must be signed.
    pub require_signing: bool,
    /// Whether every session must be encrypted; clients that cannot are refused.
    pub require_encryption: bool,
    /// Whether sessions without a user are set up.
    pub anonymous: bool,
    /// Whether there are files for guests and sessions without a user. Where there are none, these get no
    /// more room than who has not logged on.
    pub guests_have_files: bool,
    /// The largest READ, WRITE and query, in bytes.
    pub io_size_max: u32,
    /// How many MessageIds a client may hold.
    pub credits_max: u16,
    /// How many sessions one connection may have.
    pub sessions_max: usize,
    /// How long a connection may live without a session.
    pub unauthenticated_timeout: Duration,
    /// Where SessionIds come from.
    pub session_ids: SessionIds,
    /// What the server says of itself during authentication.
    pub acceptor: Arc<AcceptorConfig>,
    /// Who may log on.
    pub users: Arc<UserStore>,
    /// Who could not log on lately.
    pub throttle: Arc<Throttle>,
}

/// Hands out SessionIds that are unique in the server. They start at a random place, so that an id
/// from before a restart does not name somebody else's session, and keep to 32 bits, because some
/// clients do: four thousand million sessions must be set up before one is used again.
#[derive(Debug)]
pub struct SessionIds(AtomicU32);

impl SessionIds {
    /// Ids from `start` on.
    #[must_use]
    pub const fn starting_at(start: u32) -> Self {
        Self(AtomicU32::new(start))
    }

    /// The next id; never 0, which means "no session", and never all ones.
    pub fn next(&self) -> u64 {
        loop {
            let id = self.0.fetch_add(1, Ordering::Relaxed);
            if id != 0 && id != u32::MAX {
                return u64::from(id);
            }
        }
    }
}
