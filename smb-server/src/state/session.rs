//! A session: one user's tree connects and opens. MS-SMB2 3.3.1.8 and 3.3.1.9.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ringway::Identity;

use crate::wire::file_id::FileId;

use super::{Open, Share, lock};

/// How many tree connects a session may have: clients have one per share, tests some hundreds.
const TREES_MAX: usize = 4096;

/// How many files a session may have open. Each costs a descriptor, of which the process has
/// commonly half a million.
const OPENS_MAX: usize = 65_536;

/// A user who has logged on.
#[derive(Debug)]
pub struct Session {
    /// Its number, unique in the server.
    pub id: u64,
    /// The user's name as the user store has it.
    pub user: String,
    trees: Mutex<HashMap<u32, Arc<TreeConnect>>>,
    opens: Mutex<HashMap<FileId, Arc<Open>>>,
    next_tree: AtomicU32,
    next_open: AtomicU64,
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
        identity: Option<Arc<Identity>>,
    },
    /// The named pipes.
    Ipc,
}

impl Session {
    /// A session without anything open.
    #[must_use]
    pub fn new(id: u64, user: String) -> Self {
        Self {
            id,
            user,
            trees: Mutex::default(),
            opens: Mutex::default(),
            next_tree: AtomicU32::new(1),
            next_open: AtomicU64::new(1),
        }
    }

    /// Adds a tree connect; `None` when there are too many.
    pub fn connect(&self, target: Target) -> Option<Arc<TreeConnect>> {
        let mut trees = lock(&self.trees);
        if trees.len() >= TREES_MAX {
            return None;
        }
        let mut id = self.next_tree.fetch_add(1, Ordering::Relaxed);
        while id == 0 || id == u32::MAX || trees.contains_key(&id) {
            id = self.next_tree.fetch_add(1, Ordering::Relaxed);
        }
        let tree = Arc::new(TreeConnect { id, target });
        trees.insert(id, Arc::clone(&tree));
        Some(tree)
    }

    /// The tree connect of this number.
    #[must_use]
    pub fn tree(&self, id: u32) -> Option<Arc<TreeConnect>> {
        lock(&self.trees).get(&id).cloned()
    }

    /// Removes a tree connect and gives back what was open through it.
    pub fn disconnect(&self, id: u32) -> Option<Vec<Arc<Open>>> {
        lock(&self.trees).remove(&id)?;
        Some(lock(&self.opens).extract_if(|_, open| open.tree_id == id).map(|(_, open)| open).collect())
    }

    /// A FileId that nothing in this session has; `None` when too much is open.
    pub fn new_file_id(&self) -> Option<FileId> {
        if lock(&self.opens).len() >= OPENS_MAX {
            return None;
        }
        let volatile = self.next_open.fetch_add(1, Ordering::Relaxed);
        // The persistent half names it in the server, for handles that survive their session.
        Some(FileId { persistent: self.id.rotate_left(32) ^ volatile, volatile })
    }

    /// Adds an open under its FileId.
    pub fn insert(&self, open: Arc<Open>) {
        lock(&self.opens).insert(open.file_id, open);
    }

    /// The open of this FileId.
    #[must_use]
    pub fn open(&self, file_id: FileId) -> Option<Arc<Open>> {
        lock(&self.opens).get(&file_id).cloned()
    }

    /// Everything that is open.
    #[must_use]
    pub fn opens(&self) -> Vec<Arc<Open>> {
        lock(&self.opens).values().cloned().collect()
    }

    /// Removes an open.
    pub fn remove(&self, file_id: FileId) -> Option<Arc<Open>> {
        lock(&self.opens).remove(&file_id)
    }

    /// Empties the session and gives back what was open.
    pub fn clear(&self) -> Vec<Arc<Open>> {
        lock(&self.trees).clear();
        lock(&self.opens).drain().map(|(_, open)| open).collect()
    }
}
