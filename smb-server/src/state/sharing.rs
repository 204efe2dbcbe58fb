//! Who has which file open, and what each lets the others do: share modes and pending deletes.
//! MS-FSA 2.1.4.12 and 2.1.5.1.2.2.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::vfs::{FileKey, Handle, SharePath, StreamKey};
use crate::wire::access_mask::AccessMask;
use crate::wire::create::ShareAccess;

use super::{Times, lock};

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
    /// Of the file and of its streams.
    list: Vec<Opener>,
    /// What is to be deleted: a stream goes when its last opener does, the file with the last of all; until
    /// then nobody else may open it. Who asked for it is remembered, since it is that name that goes, and
    /// with that user's rights.
    delete: Vec<Mark>,
    times: Arc<Times>,
}

/// Something is to be deleted.
#[derive(Debug)]
struct Mark {
    handle: Arc<Handle>,
    /// Somebody is about it.
    begun: bool,
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
    times: Arc<Times>,
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
        let stream = handle.stream_key();
        if openers.is_delete_pending(stream) {
            return Err(Conflict::DeletePending);
        }
        let conflict = |old: &Opener| {
            if old.handle.stream_key() == stream {
                return conflicts((old.access, old.share), (taken, share));
            }
            // Who deletes the file deletes all its streams.
            let deletes = handle.stream().is_none() && taken.contains(AccessMask::DELETE);
            deletes && takes_part(old.access) && !old.share.contains(ShareAccess::DELETE)
        };
        if openers.list.iter().any(conflict) {
            return Err(Conflict::Sharing);
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        openers.list.push(Opener { id, access, share, handle: Arc::clone(handle) });
        let times = Arc::clone(&openers.times);
        Ok(Ticket { sharing: Arc::clone(self), file, id, times })
    }

    /// How many files' deletions have been completed. While this stays the same, none has lost its name so.
    #[must_use]
    pub fn deletions(&self) -> u64 {
        self.deletions.load(Ordering::Acquire)
    }

    /// Whether an open file, or stream, is to be deleted.
    #[must_use]
    pub fn is_delete_pending(&self, handle: &Handle) -> bool {
        let files = lock(&self.files);
        files
            .get(&handle.id())
            .is_some_and(|openers| openers.is_delete_pending(handle.stream_key()))
    }

    /// Whether somebody has the file open.
    #[must_use]
    pub fn is_open(&self, file: FileKey) -> bool {
        lock(&self.files).contains_key(&file)
    }

    /// Whether somebody has the file, or a stream of it, open for writing.
    #[must_use]
    pub fn is_written(&self, file: FileKey) -> bool {
        let writes = |opener: &Opener| opener.access.intersects(WRITES);
        lock(&self.files).get(&file).is_some_and(|openers| openers.list.iter().any(writes))
    }

    /// Whether somebody has a stream open.
    #[must_use]
    pub fn is_stream_open(&self, stream: StreamKey) -> bool {
        let has = |opener: &Opener| opener.handle.stream_key() == stream;
        lock(&self.files).get(&stream.file).is_some_and(|openers| openers.list.iter().any(has))
    }

    /// Whether anything below a directory is open.
    #[must_use]
    pub fn is_open_below(&self, directory: &Handle) -> bool {
        let below = |opener: &Opener| opener.handle.is_below(directory);
        lock(&self.files).values().any(|openers| openers.list.iter().any(below))
    }

    /// What is open below a directory.
    #[must_use]
    pub fn open_below(&self, directory: &Handle) -> Vec<StreamKey> {
        let files = lock(&self.files);
        let openers = files.values().flat_map(|openers| &openers.list);
        let below = openers.filter(|opener| opener.handle.is_below(directory));
        below.map(|opener| opener.handle.stream_key()).collect()
    }

    /// Whether somebody has a directory open in a way that keeps files from being renamed into it. A
    /// rename is an open that adds a file, and that lets nobody delete the directory, MS-FSA 2.1.5.15.11.
    #[must_use]
    pub fn keeps_names(&self, directory: FileKey) -> bool {
        let rename = (AccessMask::WRITE_DATA, ShareAccess::READ | ShareAccess::WRITE);
        let keeps = |opener: &Opener| conflicts((opener.access, opener.share), rename);
        lock(&self.files).get(&directory).is_some_and(|openers| openers.list.iter().any(keeps))
    }

    /// Tells all who have a stream open by a name that the name has changed.
    pub fn stream_renamed(&self, by: &Handle, from: &str, to: &str) {
        if let Some(openers) = lock(&self.files).get(&by.id()) {
            openers.list.iter().for_each(|opener| opener.handle.follow_stream_rename(from, to));
        }
    }

    /// Tells all who have a file open by a name that the name has changed.
    pub fn renamed(&self, file: FileKey, from: &SharePath, by: &Handle) {
        if let Some(openers) = lock(&self.files).get(&file) {
            openers.list.iter().for_each(|opener| opener.handle.follow_rename(from, by));
        }
    }
}

impl Openers {
    fn is_delete_pending(&self, stream: StreamKey) -> bool {
        self.delete
            .iter()
            .any(|mark| mark.handle.stream().is_none() || mark.handle.stream_key() == stream)
    }

    fn opener(&self, id: u64) -> Option<&Opener> {
        self.list.iter().find(|opener| opener.id == id)
    }

    /// What is to be deleted and has nobody any more who has it open. With the file, its streams go.
    fn begin_deletion(&mut self) -> Option<Arc<Handle>> {
        let nobody = self.list.is_empty();
        let is_free = |mark: &Mark| match mark.handle.stream() {
            None => nobody,
            Some(_) => {
                let stream = mark.handle.stream_key();
                self.list.iter().all(|opener| opener.handle.stream_key() != stream)
            }
        };
        let free = self.delete.iter().enumerate().filter(|(_, mark)| !mark.begun && is_free(mark));
        let (at, _) = free.min_by_key(|(_, mark)| mark.handle.stream().is_some())?;
        let mark = self.delete.get_mut(at)?;
        mark.begun = true;
        Some(Arc::clone(&mark.handle))
    }

    /// It has been deleted, or not.
    fn end_deletion(&mut self, handle: &Handle) {
        let stream = handle.stream_key();
        self.delete.retain(|mark| handle.stream().is_some() && mark.handle.stream_key() != stream);
    }

    /// Whether there is nothing to know of the file any more.
    fn is_over(&self) -> bool {
        self.list.is_empty() && !self.delete.iter().any(|mark| mark.begun)
    }
}

impl Ticket {
    /// Marks what this is an opener of for deletion by the name that `handle` has; `None` takes the mark
    /// back.
    pub fn set_delete_pending(&self, handle: Option<Arc<Handle>>) {
        if let Some(openers) = lock(&self.sharing.files).get_mut(&self.file) {
            let Some(stream) = openers.opener(self.id).map(|own| own.handle.stream_key()) else {
                return;
            };
            openers.delete.retain(|mark| mark.handle.stream_key() != stream);
            openers.delete.extend(handle.map(|handle| Mark { handle, begun: false }));
        }
    }

    /// Whether somebody else has the file open without letting others delete or rename it.
    #[must_use]
    pub fn others_deny_delete(&self) -> bool {
        let files = lock(&self.sharing.files);
        let Some(openers) = files.get(&self.file) else { return false };
        let stream = openers.opener(self.id).map(|own| own.handle.stream_key());
        let denies = |opener: &Opener| {
            opener.id != self.id
                && Some(opener.handle.stream_key()) == stream
                && takes_part(opener.access)
                && !opener.share.contains(ShareAccess::DELETE)
        };
        openers.list.iter().any(denies)
    }

    /// Whether nobody else has it open, but to use nothing beyond `little`.
    #[must_use]
    pub fn is_alone(&self, little: AccessMask) -> bool {
        let files = lock(&self.sharing.files);
        let Some(openers) = files.get(&self.file) else { return false };
        let stream = openers.opener(self.id).map(|own| own.handle.stream_key());
        let disturbs = |opener: &Opener| {
            opener.id != self.id
                && Some(opener.handle.stream_key()) == stream
                && !little.contains(opener.access)
        };
        !openers.list.iter().any(disturbs)
    }

    /// Who is changing the file.
    #[must_use]
    pub fn times(&self) -> &Arc<Times> {
        &self.times
    }

    /// Whether nobody else has the file open.
    #[must_use]
    pub fn is_only_one(&self) -> bool {
        let files = lock(&self.sharing.files);
        files.get(&self.file).is_some_and(|openers| openers.list.len() == 1)
    }

    /// The same opener, of the file that has taken the place of the one that it alone had open; and what it has
    /// marked for deletion is that.
    #[must_use]
    pub fn moved_to(self, handle: &Arc<Handle>) -> Option<Self> {
        let mut files = lock(&self.sharing.files);
        let openers = files.get_mut(&self.file)?;
        let at = openers.list.iter().position(|opener| opener.id == self.id)?;
        let opener = Opener { handle: Arc::clone(handle), ..openers.list.swap_remove(at) };
        let marked = openers.delete.drain(..).next().is_some();
        if openers.is_over() {
            files.remove(&self.file);
        }
        let openers = files.entry(handle.id()).or_default();
        openers.list.push(opener);
        let mark = || Mark { handle: Arc::clone(handle), begun: false };
        openers.delete.extend(marked.then(mark));
        let times = Arc::clone(&openers.times);
        drop(files);
        Some(Self { sharing: Arc::clone(&self.sharing), file: handle.id(), id: self.id, times })
    }

    /// Leaves. The last one out of a file that is to be deleted has to do it.
    #[must_use]
    pub fn leave(self) -> Option<Deletion> {
        let mut files = lock(&self.sharing.files);
        let openers = files.get_mut(&self.file)?;
        openers.list.retain(|opener| opener.id != self.id);
        let deletion = openers.begin_deletion().map(|handle| Deletion {
            handle,
            sharing: Arc::clone(&self.sharing),
            file: self.file,
        });
        if openers.is_over() {
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
        openers.list.retain(|opener| opener.id != self.id);
        if openers.is_over() {
            files.remove(&self.file);
        }
    }
}

impl Drop for Deletion {
    fn drop(&mut self) {
        // Counted first: who finds the file free again must see that it was deleted.
        self.sharing.deletions.fetch_add(1, Ordering::Release);
        let mut files = lock(&self.sharing.files);
        let Some(openers) = files.get_mut(&self.file) else { return };
        openers.end_deletion(&self.handle);
        if openers.is_over() {
            files.remove(&self.file);
        }
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
    use crate::vfs::{Disposition, Kind, Mapping, Open, Volume};

    const ALL: ShareAccess = ShareAccess::all();
    const NONE: ShareAccess = ShareAccess::empty();

    /// Two handles of one file.
    fn with_file(test: impl FnOnce(&Arc<Sharing>, &Arc<Handle>, &Arc<Handle>)) {
        with_handles(["file", "file"], |sharing, [a, b]| test(sharing, a, b));
    }

    fn with_handles<const N: usize>(
        names: [&str; N],
        test: impl FnOnce(&Arc<Sharing>, &[Arc<Handle>; N]),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let volume = Volume::open_root(folder.path(), Mapping::default()).unwrap();
        let disposition = Disposition::OpenIf;
        let how = Open { write: true, kind: Kind::File, disposition, ..Open::TO_READ };
        let runtime = ringway::Builder::new().build().unwrap();
        let open = |name| {
            let path = SharePath::parse(name, Mapping::default()).unwrap();
            runtime.block_on(volume.open(None, &path, &how, &())).unwrap().handle
        };
        test(&Arc::default(), &names.map(open));
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
    fn who_is_alone_goes_over_to_another_file_with_what_is_to_be_deleted() {
        with_handles(["file", "other"], |sharing, [file, other]| {
            let first = sharing.enter(file, AccessMask::READ_DATA, NONE).unwrap();
            let second = sharing.enter(file, AccessMask::READ_ATTRIBUTES, ALL).unwrap();
            assert!(!first.is_only_one());
            drop(second);
            assert!(first.is_only_one());
            first.set_delete_pending(Some(Arc::clone(file)));
            let moved = first.moved_to(other).unwrap();
            assert!(!sharing.is_open(file.id()) && !sharing.is_delete_pending(file));
            assert!(sharing.is_delete_pending(other));
            moved.set_delete_pending(None);
            let reads = |handle| sharing.enter(handle, AccessMask::READ_DATA, ALL);
            assert_eq!(reads(other).unwrap_err(), Conflict::Sharing);
            reads(file).unwrap();
            moved.set_delete_pending(Some(Arc::clone(other)));
            let deletion = moved.leave().expect("the last one deletes");
            assert!(Arc::ptr_eq(&deletion.handle, other));
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
    fn streams_share_apart_but_for_who_deletes_the_file() {
        with_handles(["file", "file:a", "file:b"], |sharing, [file, a, b]| {
            let first = sharing.enter(a, AccessMask::WRITE_DATA, NONE).unwrap();
            let again = sharing.enter(a, AccessMask::WRITE_DATA, NONE);
            assert_eq!(again.unwrap_err(), Conflict::Sharing);
            let _other = sharing.enter(b, AccessMask::WRITE_DATA, ALL).unwrap();
            let _file = sharing.enter(file, AccessMask::WRITE_DATA, NONE).unwrap();
            let delete = || sharing.enter(file, AccessMask::DELETE, ALL);
            assert_eq!(delete().unwrap_err(), Conflict::Sharing);
            drop(_file);
            assert_eq!(delete().unwrap_err(), Conflict::Sharing, "a stream denies it");
            drop(first);
            delete().unwrap();
        });
    }

    #[test]
    fn a_file_goes_with_its_last_stream_and_a_stream_by_itself() {
        with_handles(["file", "file:a", "file:b"], |sharing, [file, a, b]| {
            let stream = sharing.enter(a, AccessMask::DELETE, ALL).unwrap();
            let other = sharing.enter(b, AccessMask::READ_DATA, ALL).unwrap();
            stream.set_delete_pending(Some(Arc::clone(a)));
            assert!(sharing.is_delete_pending(a) && !sharing.is_delete_pending(b));
            let deletion = stream.leave().expect("nobody has the stream open any more");
            assert!(Arc::ptr_eq(&deletion.handle, a));
            drop(deletion);
            assert!(!sharing.is_delete_pending(a));
            let whole = sharing.enter(file, AccessMask::DELETE, ALL).unwrap();
            whole.set_delete_pending(Some(Arc::clone(file)));
            assert!(whole.leave().is_none(), "a stream is open");
            let look = sharing.enter(a, AccessMask::READ_DATA, ALL);
            assert_eq!(look.unwrap_err(), Conflict::DeletePending);
            let deletion = other.leave().expect("the last one deletes");
            assert!(Arc::ptr_eq(&deletion.handle, file));
            drop(deletion);
            assert!(!sharing.is_open(file.id()));
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
