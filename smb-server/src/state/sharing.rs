//! Who has which file open, and what each lets the others do: share modes and pending deletes.
//! MS-FSA 2.1.4.12 and 2.1.5.1.2.2.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::vfs::FileKey;
use crate::wire::access_mask::AccessMask;
use crate::wire::create::ShareAccess;

use super::lock;

/// All files that are open, whichever session opened them.
#[derive(Debug, Default)]
pub struct Sharing {
    files: Mutex<HashMap<FileKey, Openers>>,
}

#[derive(Debug, Default)]
struct Openers {
    list: Vec<Opener>,
    /// The file goes when its last opener does; until then nobody else may open it.
    delete_pending: bool,
}

#[derive(Debug)]
struct Opener {
    id: u64,
    access: AccessMask,
    share: ShareAccess,
}

/// Why a file cannot be opened now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Conflict {
    /// Somebody has it open in a way that excludes this.
    Sharing,
    /// It is about to be deleted.
    DeletePending,
}

/// What an opener leaves behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Left {
    /// It was the last, and the file is to be deleted now.
    pub delete: bool,
}

impl Sharing {
    /// Registers an opener by an `id` that is unique.
    ///
    /// # Errors
    /// It would conflict with those that are there.
    pub fn enter(&self, file: FileKey, id: u64, access: AccessMask, share: ShareAccess) -> Result<(), Conflict> {
        let mut files = lock(&self.files);
        let openers = files.entry(file).or_default();
        if openers.delete_pending {
            return Err(Conflict::DeletePending);
        }
        let new = Opener { id, access, share };
        if openers.list.iter().any(|old| conflicts(old, &new)) {
            return Err(Conflict::Sharing);
        }
        openers.list.push(new);
        Ok(())
    }

    /// Takes an opener out.
    pub fn leave(&self, file: FileKey, id: u64) -> Left {
        let mut files = lock(&self.files);
        let Some(openers) = files.get_mut(&file) else { return Left { delete: false } };
        openers.list.retain(|opener| opener.id != id);
        let last = openers.list.is_empty();
        let delete = last && openers.delete_pending;
        if last {
            files.remove(&file);
        }
        Left { delete }
    }

    /// Marks an open file for deletion, or takes the mark back.
    pub fn set_delete_pending(&self, file: FileKey, delete: bool) {
        if let Some(openers) = lock(&self.files).get_mut(&file) {
            openers.delete_pending = delete;
        }
    }

    /// Whether an open file is to be deleted.
    #[must_use]
    pub fn is_delete_pending(&self, file: FileKey) -> bool {
        lock(&self.files).get(&file).is_some_and(|openers| openers.delete_pending)
    }

    /// Whether somebody has the file open.
    #[must_use]
    pub fn is_open(&self, file: FileKey) -> bool {
        lock(&self.files).contains_key(&file)
    }

    /// Whether somebody other than `id` has it open without letting others delete or rename it.
    #[must_use]
    pub fn denies_delete(&self, file: FileKey, id: u64) -> bool {
        let denies = |opener: &Opener| {
            opener.id != id && takes_part(opener.access) && !opener.share.contains(ShareAccess::DELETE)
        };
        lock(&self.files).get(&file).is_some_and(|openers| openers.list.iter().any(denies))
    }
}

/// What each wants must be allowed by the other.
fn conflicts(a: &Opener, b: &Opener) -> bool {
    if !takes_part(a.access) || !takes_part(b.access) {
        return false;
    }
    !allows(a.share, b.access) || !allows(b.share, a.access)
}

/// An open that only looks at or sets attributes neither conflicts nor excludes.
fn takes_part(access: AccessMask) -> bool {
    access.intersects(READS | WRITES | AccessMask::DELETE)
}

fn allows(share: ShareAccess, access: AccessMask) -> bool {
    (share.contains(ShareAccess::READ) || !access.intersects(READS))
        && (share.contains(ShareAccess::WRITE) || !access.intersects(WRITES))
        && (share.contains(ShareAccess::DELETE) || !access.contains(AccessMask::DELETE))
}

const READS: AccessMask = AccessMask::READ_DATA.union(AccessMask::EXECUTE);
const WRITES: AccessMask = AccessMask::WRITE_DATA.union(AccessMask::APPEND_DATA);

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: FileKey = FileKey { dev: 1, ino: 2 };
    const ALL: ShareAccess = ShareAccess::all();
    const NONE: ShareAccess = ShareAccess::empty();

    #[test]
    fn an_exclusive_open_excludes_readers_but_not_those_who_look_at_attributes() {
        let sharing = Sharing::default();
        sharing.enter(FILE, 1, AccessMask::READ_DATA, NONE).unwrap();
        assert_eq!(sharing.enter(FILE, 2, AccessMask::READ_DATA, ALL), Err(Conflict::Sharing));
        sharing.enter(FILE, 3, AccessMask::READ_ATTRIBUTES, NONE).unwrap();
        sharing.leave(FILE, 1);
        sharing.enter(FILE, 2, AccessMask::READ_DATA, ALL).unwrap();
    }

    #[test]
    fn both_sides_must_allow() {
        let sharing = Sharing::default();
        sharing.enter(FILE, 1, AccessMask::WRITE_DATA, ALL).unwrap();
        assert_eq!(sharing.enter(FILE, 2, AccessMask::READ_DATA, ShareAccess::READ), Err(Conflict::Sharing));
        sharing.enter(FILE, 2, AccessMask::READ_DATA, ShareAccess::READ | ShareAccess::WRITE).unwrap();
    }

    #[test]
    fn a_pending_delete_waits_for_the_last_opener_and_lets_nobody_in() {
        let sharing = Sharing::default();
        sharing.enter(FILE, 1, AccessMask::DELETE, ALL).unwrap();
        sharing.enter(FILE, 2, AccessMask::READ_DATA, ALL).unwrap();
        sharing.set_delete_pending(FILE, true);
        assert_eq!(sharing.enter(FILE, 3, AccessMask::READ_ATTRIBUTES, ALL), Err(Conflict::DeletePending));
        assert!(!sharing.leave(FILE, 1).delete);
        assert!(sharing.leave(FILE, 2).delete);
        assert!(!sharing.is_open(FILE));
    }
}
