//! Who has which file open, and what each lets the others do: share modes and pending deletes.
//! MS-FSA 2.1.4.12 and 2.1.5.1.2.2.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::vfs::{FileKey, Handle, SharePath};
use crate::wire::access_mask::AccessMask;
use crate::wire::create::ShareAccess;

use super::lock;

/// All files that are open, whichever session opened them.
#[derive(Debug, Default)]
pub struct Sharing {
    files: Mutex<HashMap<FileKey, Openers>>,
    next_id: AtomicU64,
    /// Deletions so far.
    deletions: AtomicU64,
}

#[derive(Debug, Default)]
struct Openers {
    list: Vec<Opener>,
    /// The file goes when its last opener does; until then nobody else may open it. Who asked for it
    /// is remembered, since it is that name that goes, and with that user's rights.
    delete: Option<Arc<Handle>>,
}

#[derive(Debug)]
struct Opener {
    id: u64,
    access: AccessMask,
    share: ShareAccess,
    handle: Arc<Handle>,
}

/// Why a file cannot be opened now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Conflict {
    /// Somebody has it open in a way that excludes this.
    Sharing,
    /// It is about to be deleted.
    DeletePending,
}

/// A place among a file's openers, given up when dropped.
#[derive(Debug)]
pub struct Ticket {
    sharing: Arc<Sharing>,
    file: FileKey,
    id: u64,
}

/// The last opener has left a file that is to be deleted. Nobody can open it until this is dropped.
#[derive(Debug)]
pub struct Deletion {
    /// What to remove it by.
    pub handle: Arc<Handle>,
    sharing: Arc<Sharing>,
    file: FileKey,
}

impl Sharing {
    /// Registers an opener.
    ///
    /// # Errors
    /// It would conflict with those that are there.
    pub fn enter(
        self: &Arc<Self>,
        handle: &Arc<Handle>,
        access: AccessMask,
        share: ShareAccess,
    ) -> Result<Ticket, Conflict> {
        self.enter_by(access, handle, access, share)
    }

    /// Registers an opener whose opening takes more than it then has: an overwrite writes, MS-FSA
    /// 2.1.5.1.2.
    ///
    /// # Errors
    /// It would conflict with those that are there.
    pub fn enter_by(
        self: &Arc<Self>,
        taken: AccessMask,
        handle: &Arc<Handle>,
        access: AccessMask,
        share: ShareAccess,
    ) -> Result<Ticket, Conflict> {
        let file = handle.id();
        let mut files = lock(&self.files);
        let openers = files.entry(file).or_default();
        if openers.delete.is_some() {
            return Err(Conflict::DeletePending);
        }
        if openers.list.iter().any(|old| conflicts((old.access, old.share), (taken, share))) {
            return Err(Conflict::Sharing);
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        openers.list.push(Opener { id, access, share, handle: Arc::clone(handle) });
        Ok(Ticket { sharing: Arc::clone(self), file, id })
    }

    /// How many files' deletions have been completed. While this stays the same, none has lost its name so.
    #[must_use]
    pub fn deletions(&self) -> u64 {
        self.deletions.load(Ordering::Acquire)
    }

    /// Whether an open file is to be deleted.
    #[must_use]
    pub fn is_delete_pending(&self, file: FileKey) -> bool {
        lock(&self.files).get(&file).is_some_and(|openers| openers.delete.is_some())
    }

    /// Whether somebody has the file open.
    #[must_use]
    pub fn is_open(&self, file: FileKey) -> bool {
        lock(&self.files).contains_key(&file)
    }

    /// Whether anything below a directory is open.
    #[must_use]
    pub fn is_open_below(&self, directory: &Handle) -> bool {
        let below = |opener: &Opener| opener.handle.is_below(directory);
        lock(&self.files).values().any(|openers| openers.list.iter().any(below))
    }

    /// Whether somebody has a directory open in a way that keeps files from being renamed into it. A
    /// rename is an open that adds a file, and that lets nobody delete the directory, MS-FSA 2.1.5.15.11.
    #[must_use]
    pub fn keeps_names(&self, directory: FileKey) -> bool {
        let rename = (AccessMask::WRITE_DATA, ShareAccess::READ | ShareAccess::WRITE);
        let keeps = |opener: &Opener| conflicts((opener.access, opener.share), rename);
        lock(&self.files).get(&directory).is_some_and(|openers| openers.list.iter().any(keeps))
    }

    /// Tells all who have a file open by a name that the name has changed.
    pub fn renamed(&self, file: FileKey, from: &SharePath, by: &Handle) {
        if let Some(openers) = lock(&self.files).get(&file) {
            openers.list.iter().for_each(|opener| opener.handle.follow_rename(from, by));
        }
    }
}

impl Ticket {
    /// Marks the file for deletion by the name that `handle` has; `None` takes the mark back.
    pub fn set_delete_pending(&self, handle: Option<Arc<Handle>>) {
        if let Some(openers) = lock(&self.sharing.files).get_mut(&self.file) {
            openers.delete = handle;
        }
    }

    /// Whether somebody else has the file open without letting others delete or rename it.
    #[must_use]
    pub fn others_deny_delete(&self) -> bool {
        let denies = |opener: &Opener| {
            opener.id != self.id
                && takes_part(opener.access)
                && !opener.share.contains(ShareAccess::DELETE)
        };
        let files = lock(&self.sharing.files);
        files.get(&self.file).is_some_and(|openers| openers.list.iter().any(denies))
    }

    /// Leaves. The last one out of a file that is to be deleted has to do it.
    #[must_use]
    pub fn leave(self) -> Option<Deletion> {
        let mut files = lock(&self.sharing.files);
        let openers = files.get_mut(&self.file)?;
        openers.list.retain(|opener| opener.id != self.id);
        let delete = openers.list.is_empty().then(|| openers.delete.clone()).flatten();
        // Dropping this ticket then finds the list empty, and the entry stays while there is a deletion.
        let deletion = delete.map(|handle| Deletion {
            handle,
            sharing: Arc::clone(&self.sharing),
            file: self.file,
        });
        if deletion.is_none() && openers.list.is_empty() {
            files.remove(&self.file);
        }
        drop(files);
        deletion
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut files = lock(&self.sharing.files);
        let Some(openers) = files.get_mut(&self.file) else { return };
        let before = openers.list.len();
        openers.list.retain(|opener| opener.id != self.id);
        if openers.list.is_empty() && before != 0 {
            files.remove(&self.file);
        }
    }
}

impl Drop for Deletion {
    fn drop(&mut self) {
        // Counted first: who finds the file free again must see that it was deleted.
        self.sharing.deletions.fetch_add(1, Ordering::Release);
        lock(&self.sharing.files).remove(&self.file);
    }
}

/// What each wants must be allowed by the other.
fn conflicts(a: (AccessMask, ShareAccess), b: (AccessMask, ShareAccess)) -> bool {
    takes_part(a.0) && takes_part(b.0) && (!allows(a.1, b.0) || !allows(b.1, a.0))
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

/// Rights that read contents.
pub const READS: AccessMask = AccessMask::READ_DATA.union(AccessMask::EXECUTE);

/// Rights that change contents.
pub const WRITES: AccessMask = AccessMask::WRITE_DATA.union(AccessMask::APPEND_DATA);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::{Disposition, Kind, Open, Volume};

    const ALL: ShareAccess = ShareAccess::all();
    const NONE: ShareAccess = ShareAccess::empty();

    /// Two handles of one file.
    fn with_file(test: impl FnOnce(&Arc<Sharing>, &Arc<Handle>, &Arc<Handle>)) {
        let folder = tempfile::tempdir().unwrap();
        let volume = Volume::open_root(folder.path()).unwrap();
        let path = SharePath::parse("file").unwrap();
        let how = Open {
            read: true,
            write: true,
            kind: Kind::File,
            disposition: Disposition::OpenIf,
            attributes: Default::default(),
            allocation_size: 0,
        };
        let runtime = ringway::Builder::new().build().unwrap();
        let open = || runtime.block_on(volume.open(None, &path, &how, &())).unwrap().handle;
        test(&Arc::default(), &open(), &open());
    }

    #[test]
    fn an_exclusive_open_excludes_readers_but_not_those_who_look_at_attributes() {
        with_file(|sharing, a, b| {
            let first = sharing.enter(a, AccessMask::READ_DATA, NONE).unwrap();
            assert_eq!(
                sharing.enter(b, AccessMask::READ_DATA, ALL).unwrap_err(),
                Conflict::Sharing
            );
            let _looks = sharing.enter(b, AccessMask::READ_ATTRIBUTES, NONE).unwrap();
            assert!(first.leave().is_none());
            sharing.enter(b, AccessMask::READ_DATA, ALL).unwrap();
        });
    }

    #[test]
    fn both_sides_must_allow() {
        with_file(|sharing, a, b| {
            let _writer = sharing.enter(a, AccessMask::WRITE_DATA, ALL).unwrap();
            let reads = |share| sharing.enter(b, AccessMask::READ_DATA, share);
            assert_eq!(reads(ShareAccess::READ).unwrap_err(), Conflict::Sharing);
            reads(ShareAccess::READ | ShareAccess::WRITE).unwrap();
        });
    }

    #[test]
    fn a_file_that_is_to_go_lets_nobody_in_until_it_is_gone() {
        with_file(|sharing, a, b| {
            let first = sharing.enter(a, AccessMask::DELETE, ALL).unwrap();
            let second = sharing.enter(b, AccessMask::READ_DATA, ALL).unwrap();
            first.set_delete_pending(Some(Arc::clone(a)));
            let look = || sharing.enter(b, AccessMask::READ_ATTRIBUTES, ALL);
            assert_eq!(look().unwrap_err(), Conflict::DeletePending);
            assert!(first.leave().is_none());
            let deletion = second.leave().expect("the last one deletes");
            assert!(Arc::ptr_eq(&deletion.handle, a), "by the handle of who asked");
            assert_eq!(look().unwrap_err(), Conflict::DeletePending);
            drop(deletion);
            assert!(!sharing.is_open(a.id()));
            look().unwrap();
        });
    }

    #[test]
    fn names_stay_out_of_a_directory_that_is_open_to_be_deleted_or_denies_writing() {
        with_file(|sharing, directory, _| {
            let keeps = |access, share| {
                let ticket = sharing.enter(directory, access, share).unwrap();
                let keeps = sharing.keeps_names(directory.id());
                assert!(ticket.leave().is_none());
                keeps
            };
            assert!(keeps(AccessMask::DELETE, ALL));
            assert!(keeps(AccessMask::READ_DATA, ShareAccess::READ | ShareAccess::DELETE));
            assert!(!keeps(AccessMask::READ_DATA, ShareAccess::READ | ShareAccess::WRITE));
            assert!(!keeps(AccessMask::READ_ATTRIBUTES, NONE), "it only looks");
        });
    }

    #[test]
    fn a_dropped_ticket_leaves_nothing_behind() {
        with_file(|sharing, a, _| {
            drop(sharing.enter(a, AccessMask::READ_DATA, NONE).unwrap());
            assert!(!sharing.is_open(a.id()));
        });
    }
}
