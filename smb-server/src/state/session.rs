//! A session: one user's tree connects and opens. MS-SMB2 3.3.1.8 and 3.3.1.9.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ringway::Identity;

use crate::auth::Principal;
use crate::security::Token;
use crate::wire::file_id::FileId;

use super::{Notices, Object, Open, Share, lock};

/// How many of a session's opens may be pipes. Clients have a few; smbtorture has more than may wait at once. Each may
/// hold a call and what has not been read of its answers (`rpc::Pipe`).
const PIPES_MAX: usize = 1024;

/// How much a session may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionLimits {
    /// Tree connects.
    pub trees_max: usize,
    /// Open files, folders and pipes.
    pub opens_max: usize,
}

/// Somebody who has logged on, or has come in without.
#[derive(Debug)]
pub struct Session {
    /// Its number, unique in the server.
    pub id: u64,
    /// Whose it is.
    pub principal: Principal,
    /// The way to its client.
    pub notices: Notices,
    limits: SessionLimits,
    tables: Mutex<Tables>,
    next_tree: AtomicU32,
    next_open: AtomicU64,
}

/// What a session has; one lock, since an open belongs to a tree connect.
#[derive(Debug, Default)]
struct Tables {
    trees: HashMap<u32, Arc<TreeConnect>>,
    opens: HashMap<FileId, Arc<Open>>,
    /// Nothing is added any more: a request that was still running must not leave anything behind.
    ended: bool,
}

/// Why an open cannot be added to a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// The session or the tree connect has ended.
    Ended,
    /// The session has too much open.
    TooMany,
}

/// A session's way into a share.
#[derive(Debug)]
pub struct TreeConnect {
    /// Its number, unique in the session.
    pub id: u32,
    /// Where it leads.
    pub target: Target,
}

/// What a tree connect leads to.
#[derive(Debug)]
pub enum Target {
    /// Files.
    Disk {
        /// The share.
        share: Arc<Share>,
        /// As whom the user works in it; `None`: as the process itself.
        identity: Option<Identity>,
        /// As what the user is known to descriptors.
        token: Arc<Token>,
    },
    /// The named pipes.
    Ipc,
}

impl Session {
    /// A session without anything open.
    #[must_use]
    pub fn new(id: u64, principal: Principal, limits: SessionLimits, notices: Notices) -> Self {
        Self {
            id,
            principal,
            notices,
            limits,
            tables: Mutex::default(),
            next_tree: AtomicU32::new(1),
            next_open: AtomicU64::new(1),
        }
    }

    /// Adds a tree connect; `None` when there are too many or the session has ended.
    pub fn connect(&self, target: Target) -> Option<Arc<TreeConnect>> {
        let mut tables = lock(&self.tables);
        if tables.ended || tables.trees.len() >= self.limits.trees_max {
            return None;
        }
        let mut id = self.next_tree.fetch_add(1, Ordering::Relaxed);
        while id == 0 || id == u32::MAX || tables.trees.contains_key(&id) {
            id = self.next_tree.fetch_add(1, Ordering::Relaxed);
        }
        let tree = Arc::new(TreeConnect { id, target });
        tables.trees.insert(id, Arc::clone(&tree));
        Some(tree)
    }

    /// The tree connect of this number.
    #[must_use]
    pub fn tree(&self, id: u32) -> Option<Arc<TreeConnect>> {
        lock(&self.tables).trees.get(&id).cloned()
    }

    /// Removes a tree connect and gives back what was open through it.
    pub fn disconnect(&self, id: u32) -> Option<Vec<Arc<Open>>> {
        let mut tables = lock(&self.tables);
        tables.trees.remove(&id)?;
        let opens = tables.opens.extract_if(|_, open| open.tree_id == id).map(|(_, open)| open);
        Some(in_order(opens.collect()))
    }

    /// A FileId that nothing in this session has.
    #[must_use]
    pub fn new_file_id(&self) -> FileId {
        let volatile = self.next_open.fetch_add(1, Ordering::Relaxed);
        // The persistent half names it in the server, for handles that survive their session.
        FileId { persistent: self.id.rotate_left(32) ^ volatile, volatile }
    }

    /// Adds an open under its FileId.
    ///
    /// # Errors
    /// Gives it back, to be closed, with the reason: its tree connect or the session has ended
    /// meanwhile, or too much is open.
    pub fn insert(&self, open: Arc<Open>) -> Result<(), (Arc<Open>, Refused)> {
        let mut tables = lock(&self.tables);
        if tables.ended || !tables.trees.contains_key(&open.tree_id) {
            return Err((open, Refused::Ended));
        }
        let is_pipe = |open: &Open| matches!(open.object, Object::Pipe(_));
        let pipes = || tables.opens.values().filter(|open| is_pipe(open)).count();
        if tables.opens.len() >= self.limits.opens_max || (is_pipe(&open) && pipes() >= PIPES_MAX) {
            return Err((open, Refused::TooMany));
        }
        tables.opens.insert(open.file_id, open);
        Ok(())
    }

    /// The open of this FileId.
    #[must_use]
    pub fn open(&self, file_id: FileId) -> Option<Arc<Open>> {
        lock(&self.tables).opens.get(&file_id).cloned()
    }

    /// Puts another open in the place of the one that has its FileId; `false` if that has been closed.
    pub fn replace(&self, open: Arc<Open>) -> bool {
        let mut tables = lock(&self.tables);
        let place = tables.opens.get_mut(&open.file_id);
        let replaced = place.map(|place| std::mem::replace(place, open));
        drop(tables);
        replaced.is_some()
    }

    /// Whether anything is open.
    #[must_use]
    pub fn has_opens(&self) -> bool {
        !lock(&self.tables).opens.is_empty()
    }

    /// Everything that is open.
    #[must_use]
    pub fn opens(&self) -> Vec<Arc<Open>> {
        lock(&self.tables).opens.values().cloned().collect()
    }

    /// Removes an open.
    pub fn remove(&self, file_id: FileId) -> Option<Arc<Open>> {
        lock(&self.tables).opens.remove(&file_id)
    }

    /// Ends the session, so that nothing can be added to it any more, and gives back what was open.
    pub fn end(&self) -> Vec<Arc<Open>> {
        let mut tables = lock(&self.tables);
        tables.ended = true;
        tables.trees.clear();
        in_order(tables.opens.drain().map(|(_, open)| open).collect())
    }
}

/// Oldest first: so they are closed, and a lock that one waits for and an older one holds is granted.
fn in_order(mut opens: Vec<Arc<Open>>) -> Vec<Arc<Open>> {
    opens.sort_unstable_by_key(|open| open.file_id.volatile);
    opens
}
