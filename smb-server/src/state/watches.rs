//! Directories that clients watch, and what has changed in them since they asked last. MS-FSA 2.1.5.11.
//!
//! A [`DirectoryWatch`] is one open's: it keeps changes from its first CHANGE_NOTIFY on, and hands all that
//! there are to the request that has waited longest. What does not fit is not kept; the client then lists
//! the directory again.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::mem;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use futures_channel::{mpsc, oneshot};

use crate::vfs::{FileKey, Handle, SharePath, TreeId};
use crate::wire::change_notify::CompletionFilter;
use crate::wire::fscc::notify_info::{FileNotifyInfo, NotifyAction};
use crate::wire::utf16::Utf16;

use super::lock;
use super::own_changes::{Fate, OwnChanges};

/// The most bytes of changes that are kept for one open, whatever it asks for: hundreds of names. In memory
/// they take a few times as much.
const ROOM_MAX: usize = 64 * 1024;

/// An entry of FILE_NOTIFY_INFORMATION without its name, and what entries are aligned to. MS-FSCC 2.7.1.
const ENTRY_FIXED: usize = 12;
const ENTRY_ALIGN: usize = 4;

/// In [`Watches::wanted`], beside the filters: somebody wants to know all that the server itself changes.
const OWN_CHANGES: u32 = 1 << 31;

/// All watched directories.
#[derive(Debug, Default)]
pub struct Watches {
    table: Mutex<Table>,
    /// What any of them is to hear of: of nothing else has anybody to be told.
    wanted: AtomicU32,
}

#[derive(Debug, Default)]
struct Table {
    trees: HashMap<TreeId, InTree>,
    next_id: u64,
}

/// What is watched in one share.
#[derive(Debug, Default)]
struct InTree {
    /// In the order in which they began.
    watched: BTreeMap<u64, Watched>,
    /// Who sees what others change here.
    monitor: Option<mpsc::UnboundedSender<WatchRequest>>,
    /// Who sees that and not who made it has asked for these.
    own: Option<OwnChanges>,
}

impl InTree {
    /// Whether nothing would be lost with it.
    fn is_idle(&self) -> bool {
        self.watched.is_empty() && self.monitor.is_none() && self.own.is_none()
    }
}

/// What who sees the changes of others is told about the watches of a share. There is one of each for an open
/// that watches, and who begins waits for the answer, so opens bound them.
#[derive(Debug)]
pub enum WatchRequest {
    /// A directory is watched now.
    Begin {
        /// By which number.
        id: u64,
        /// The directory.
        directory: Arc<Handle>,
        /// Whether what lies in its directories counts.
        tree: bool,
        /// To be told when no change is missed any more.
        seeing: oneshot::Sender<()>,
    },
    /// It is not any more.
    End(u64),
}

/// Something that was seen to happen below a watched directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// What.
    pub action: NotifyAction,
    /// To which name, from the directory on, with backslashes.
    pub name: String,
    /// Whom it concerns.
    pub filter: CompletionFilter,
}

#[derive(Debug)]
struct Watched {
    directory: Arc<Handle>,
    filter: CompletionFilter,
    /// Whether what lies in its directories counts.
    tree: bool,
    /// The most bytes that `changes` may take.
    room: usize,
    changes: Vec<FileNotifyInfo>,
    bytes: usize,
    overflowed: bool,
    /// Oldest first.
    waiting: VecDeque<oneshot::Sender<News>>,
}

/// What a watch has to tell.
#[derive(Debug)]
pub enum News {
    /// What has changed, in order.
    Changes(Vec<FileNotifyInfo>),
    /// More than there was room for.
    Overflow,
    /// The directory is to be deleted.
    DeletePending,
}

/// Something that has happened to a name.
#[derive(Clone, Debug)]
pub struct Change {
    /// What.
    pub action: NotifyAction,
    /// To which name.
    pub path: SharePath,
    /// Whom it concerns.
    pub filter: CompletionFilter,
    /// Whom it does not, since another change tells them of the same.
    pub told_by: CompletionFilter,
    /// A file system tells nothing of it, only of what has taken its place.
    pub unseen: bool,
}

/// An open's watch. Dropping it ends it, and whoever waits.
#[derive(Debug)]
pub struct DirectoryWatch {
    watches: Arc<Watches>,
    tree: TreeId,
    id: u64,
    /// Taken by who waits until no change is missed any more.
    seeing: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Change {
    /// A change that concerns `filter`.
    #[must_use]
    pub fn new(action: NotifyAction, path: SharePath, filter: CompletionFilter) -> Self {
        Self { action, path, filter, told_by: CompletionFilter::empty(), unseen: false }
    }

    /// Another file has taken the place of one.
    #[must_use]
    pub fn replaced(path: SharePath) -> Self {
        let filter = CompletionFilter::FILE_NAME;
        Self { unseen: true, ..Self::new(NotifyAction::REMOVED, path, filter) }
    }
}

impl Watches {
    /// Begins to watch. `room`: the most bytes of changes that the client takes at a time.
    #[must_use]
    pub fn watch(
        self: &Arc<Self>,
        directory: &Arc<Handle>,
        filter: CompletionFilter,
        tree: bool,
        room: usize,
    ) -> DirectoryWatch {
        let watched = Watched {
            directory: Arc::clone(directory),
            filter,
            tree,
            room: room.min(ROOM_MAX),
            changes: Vec::new(),
            bytes: 0,
            overflowed: false,
            waiting: VecDeque::new(),
        };
        let mut table = lock(&self.table);
        let id = table.next_id;
        table.next_id += 1;
        let in_tree = table.trees.entry(directory.tree_id()).or_default();
        in_tree.watched.insert(id, watched);
        let monitor = in_tree.monitor.clone();
        self.note_wanted(&table);
        drop(table);
        let (seen, seeing) = oneshot::channel();
        if let Some(monitor) = monitor {
            let directory = Arc::clone(directory);
            let begin = WatchRequest::Begin { id, directory, tree, seeing: seen };
            // At the server's end there is nobody any more.
            let _ = monitor.unbounded_send(begin);
        }
        let seeing = Mutex::new(Some(seeing));
        DirectoryWatch { watches: Arc::clone(self), tree: directory.tree_id(), id, seeing }
    }

    fn note_wanted(&self, table: &Table) {
        let of_tree = |tree: &InTree| {
            // A client may set any bit.
            let filters = tree.watched.values().map(|watched| watched.filter.bits() & !OWN_CHANGES);
            let own = if tree.own.is_some() { OWN_CHANGES } else { 0 };
            filters.fold(own, |all, filter| all | filter)
        };
        let wanted = table.trees.values().map(of_tree).fold(0, |all, wanted| all | wanted);
        self.wanted.store(wanted, Ordering::Release);
    }

    /// Whether anybody is to hear of any of these.
    #[must_use]
    pub fn wants(&self, filter: CompletionFilter) -> bool {
        self.wanted.load(Ordering::Acquire) & (filter.bits() | OWN_CHANGES) != 0
    }

    /// Tells everybody whom it concerns of changes to names in the tree of `handle`; who waits hears of
    /// all of them at once.
    pub fn report(&self, handle: &Handle, changes: &[Change]) {
        if changes.iter().any(|change| self.wants(change.filter)) {
            self.note_own(handle.tree_id(), changes);
            self.deliver(handle.tree_id(), &mut |_, watched| watched.keep_all(changes));
        }
    }

    /// Tells those who watch a directory that it is to be deleted.
    pub fn tell_delete_pending(&self, directory: &Handle) {
        let mut table = lock(&self.table);
        let Some(in_tree) = table.trees.get_mut(&directory.tree_id()) else { return };
        let id: FileKey = directory.id();
        let watched = in_tree.watched.values_mut().filter(|it| it.directory.id() == id);
        let waiting: Vec<_> = watched.flat_map(|watched| watched.waiting.drain(..)).collect();
        drop(table);
        for waiting in waiting {
            // Who has gone does not need to know.
            let _ = waiting.send(News::DeletePending);
        }
    }

    /// Gives those whom `change` has told something to who waits for it. Nobody is woken under the lock.
    fn deliver(&self, tree: TreeId, change: &mut dyn FnMut(u64, &mut Watched) -> bool) {
        let mut table = lock(&self.table);
        let mut told = Vec::new();
        for (id, watched) in table.trees.get_mut(&tree).iter_mut().flat_map(|it| &mut it.watched) {
            if change(*id, watched)
                && let Some((waiting, news)) = watched.next_to_tell()
            {
                told.push((*id, waiting, news));
            }
        }
        drop(table);
        for (id, waiting, news) in told {
            if let Err(news) = waiting.send(news) {
                // It was taken back meanwhile, so it is for the next.
                self.deliver(tree, &mut |other, watched| other == id && watched.put_back(&news));
            }
        }
    }

    // ---- for who sees what others change

    /// From now on, `monitor` is told of the watches in a tree.
    pub fn attach(&self, tree: TreeId, monitor: mpsc::UnboundedSender<WatchRequest>) {
        lock(&self.table).trees.entry(tree).or_default().monitor = Some(monitor);
    }

    /// Tells watches, by their numbers, what was seen.
    pub fn report_seen(&self, tree: TreeId, seen: &BTreeMap<u64, Vec<Seen>>) {
        if !seen.is_empty() {
            self.deliver(tree, &mut |id, watched| {
                seen.get(&id).is_some_and(|seen| watched.keep_seen(seen))
            });
        }
    }

    /// Tells those watches of a tree which `concerns` says that changes were missed.
    pub fn report_missed(&self, tree: TreeId, concerns: impl Fn(u64) -> bool) {
        self.deliver(tree, &mut |id, watched| concerns(id) && watched.overflow());
    }

    /// Whether to remember what the server itself changes in a tree.
    pub fn remember_own(&self, tree: TreeId, remember: bool) {
        let mut table = lock(&self.table);
        let in_tree = table.trees.entry(tree).or_default();
        match remember {
            true => drop(in_tree.own.get_or_insert_default()),
            false => in_tree.own = None,
        }
        self.note_wanted(&table);
    }

    /// Whether what a watch has seen of a path is remembered as the server's own doing.
    #[must_use]
    pub fn was_own(&self, tree: TreeId, watch: u64, path: &str, fate: Fate) -> bool {
        let mut table = lock(&self.table);
        let own = table.trees.get_mut(&tree).and_then(|in_tree| in_tree.own.as_mut());
        own.is_some_and(|own| own.take(watch, path, fate, Instant::now()))
    }

    fn note_own(&self, tree: TreeId, changes: &[Change]) {
        let mut table = lock(&self.table);
        let Some(own) = table.trees.get_mut(&tree).and_then(|in_tree| in_tree.own.as_mut()) else {
            return;
        };
        for change in changes.iter().filter(|change| !change.unseen) {
            own.note(change.path.components().join("\\"), change.action, Instant::now());
        }
    }
}

impl Watched {
    /// Keeps those of `changes` that it is to hear of; tells whether there were any.
    fn keep_all(&mut self, changes: &[Change]) -> bool {
        let mut any = false;
        for Change { action, path, filter, told_by, .. } in changes {
            if !self.filter.intersects(*filter) || self.filter.intersects(*told_by) {
                continue;
            }
            let name = self.directory.name_below(path);
            if let Some(name) = name.filter(|name| self.tree || !name.contains('\\')) {
                any = true;
                self.keep(FileNotifyInfo { action: *action, name: Utf16::from_str(&name) });
            }
        }
        any
    }

    /// Keeps those that it is to hear of; tells whether there were any.
    fn keep_seen(&mut self, seen: &[Seen]) -> bool {
        let mut any = false;
        for Seen { action, name, filter } in seen {
            if self.filter.intersects(*filter) {
                any = true;
                self.keep(FileNotifyInfo { action: *action, name: Utf16::from_str(name) });
            }
        }
        any
    }

    /// There was more than can be told.
    fn overflow(&mut self) -> bool {
        self.changes = Vec::new();
        self.overflowed = true;
        true
    }

    fn keep(&mut self, change: FileNotifyInfo) {
        // The same once more says nothing new.
        if self.overflowed || self.changes.last() == Some(&change) {
            return;
        }
        // The last entry has no padding.
        let name = change.name.to_bytes().len();
        self.bytes = self.bytes.next_multiple_of(ENTRY_ALIGN) + ENTRY_FIXED + name;
        self.overflowed = self.bytes > self.room;
        match self.overflowed {
            true => self.changes = Vec::new(),
            false => self.changes.push(change),
        }
    }

    /// What there is, and who has waited longest for it.
    fn next_to_tell(&mut self) -> Option<(oneshot::Sender<News>, News)> {
        self.waiting.retain(|waiting| !waiting.is_canceled());
        let nothing = self.waiting.is_empty() || (self.changes.is_empty() && !self.overflowed);
        if nothing {
            return None;
        }
        let changes = mem::take(&mut self.changes);
        self.bytes = 0;
        let news = match mem::take(&mut self.overflowed) {
            true => News::Overflow,
            false => News::Changes(changes),
        };
        Some((self.waiting.pop_front()?, news))
    }

    /// What nobody has taken goes before what has come since.
    fn put_back(&mut self, news: &News) -> bool {
        let since = mem::take(&mut self.changes);
        self.bytes = 0;
        match news {
            News::Changes(changes) if !self.overflowed => {
                changes.iter().cloned().chain(since).for_each(|change| self.keep(change));
            }
            News::Changes(_) | News::DeletePending => {}
            News::Overflow => self.overflowed = true,
        }
        true
    }
}

impl DirectoryWatch {
    /// What has changed since the last time, now or when something does. An error: it is not watched any
    /// more.
    pub fn next(&self) -> oneshot::Receiver<News> {
        let (tell, news) = oneshot::channel();
        let mut tell = Some(tell);
        self.watches.deliver(self.tree, &mut |id, watched| {
            let own = id == self.id;
            if own {
                watched.waiting.retain(|waiting| !waiting.is_canceled());
                watched.waiting.extend(tell.take());
            }
            own
        });
        news
    }

    /// Answered, be it with an error, when no change is missed any more; the first time only.
    pub fn seeing(&self) -> Option<oneshot::Receiver<()>> {
        lock(&self.seeing).take()
    }
}

impl Drop for DirectoryWatch {
    fn drop(&mut self) {
        let mut table = lock(&self.watches.table);
        let in_tree = table.trees.get_mut(&self.tree);
        let (ended, monitor) = match in_tree {
            Some(in_tree) => (in_tree.watched.remove(&self.id), in_tree.monitor.clone()),
            None => (None, None),
        };
        // A snapshot is a tree only while somebody looks into it.
        if table.trees.get(&self.tree).is_some_and(InTree::is_idle) {
            table.trees.remove(&self.tree);
        }
        self.watches.note_wanted(&table);
        drop(table);
        if let Some(monitor) = monitor {
            let _ = monitor.unbounded_send(WatchRequest::End(self.id));
        }
        // Who waits is woken by this.
        drop(ended);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::vfs::{Disposition, Kind, Mapping, Open, Volume};

    const NAMES: CompletionFilter = CompletionFilter::FILE_NAME.union(CompletionFilter::DIR_NAME);
    const ROOM: usize = 1000;

    /// The handle of a directory `dir` of a share.
    fn directory() -> (tempfile::TempDir, Arc<Handle>) {
        let folder = tempfile::tempdir().unwrap();
        let volume = Volume::open_root(folder.path(), Mapping::default()).unwrap();
        let disposition = Disposition::OpenIf;
        let how = Open { kind: Kind::Directory, disposition, ..Open::TO_READ };
        let runtime = ringway::Builder::new().build().unwrap();
        let path = SharePath::parse("dir", Mapping::default()).unwrap();
        let handle = runtime.block_on(volume.open(None, &path, &how, &())).unwrap().handle;
        (folder, handle)
    }

    fn added(path: &str) -> Change {
        let path = SharePath::parse(path, Mapping::default()).unwrap();
        Change::new(NotifyAction::ADDED, path, CompletionFilter::FILE_NAME)
    }

    /// The names of changes that have been told by now.
    fn told(news: oneshot::Receiver<News>) -> Option<Vec<String>> {
        match news.now_or_never()? {
            Ok(News::Changes(changes)) => {
                Some(changes.iter().map(|change| change.name.to_string_strict().unwrap()).collect())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nothing_is_kept_of_a_tree_that_nobody_watches() {
        let ((_folder, dir), watches) = (directory(), Arc::new(Watches::default()));
        let watch = watches.watch(&dir, NAMES, false, ROOM);
        let other = watches.watch(&dir, NAMES, false, ROOM);
        drop(watch);
        assert_eq!(lock(&watches.table).trees.len(), 1);
        drop(other);
        assert!(lock(&watches.table).trees.is_empty());
    }

    #[test]
    fn changes_are_kept_until_somebody_asks_and_told_at_once_to_who_waits() {
        let (_folder, dir) = directory();
        let watches = Arc::<Watches>::default();
        let watch = watches.watch(&dir, NAMES, false, ROOM);
        for name in [r"dir\a", r"dir\b", "elsewhere", r"dir\sub\c", "dir"] {
            watches.report(&dir, &[added(name)]);
        }
        assert_eq!(told(watch.next()).unwrap(), ["a", "b"]);
        let (mut first, second) = (watch.next(), watch.next());
        assert!((&mut first).now_or_never().is_none());
        watches.report(&dir, &[added(r"dir\d"), added(r"dir\e")]);
        assert_eq!(told(first).unwrap(), ["d", "e"]);
        assert_eq!(told(second), None);
    }

    #[test]
    fn a_watched_tree_tells_of_what_is_below_its_directories() {
        let (_folder, dir) = directory();
        let watches = Arc::<Watches>::default();
        let watch = watches.watch(&dir, NAMES, true, ROOM);
        watches.report(&dir, &[added(r"dir\sub\c"), added(r"dirt\c")]);
        assert_eq!(told(watch.next()).unwrap(), [r"sub\c"]);
    }

    #[test]
    fn filters_choose_and_the_same_is_told_once() {
        let (_folder, dir) = directory();
        let watches = Arc::<Watches>::default();
        let sizes = watches.watch(&dir, CompletionFilter::SIZE, false, ROOM);
        let both = watches.watch(&dir, NAMES | CompletionFilter::SIZE, false, ROOM);
        let path = SharePath::parse(r"dir\a", Mapping::default()).unwrap();
        let mut change = Change::new(NotifyAction::MODIFIED, path, CompletionFilter::SIZE);
        watches.report(&dir, &[change.clone(), change.clone()]);
        watches.report(&dir, &[change.clone()]);
        assert_eq!(told(sizes.next()).unwrap(), ["a"]);
        assert_eq!(told(both.next()).unwrap(), ["a"]);
        change.told_by = CompletionFilter::FILE_NAME;
        watches.report(&dir, &[change, added(r"dir\b")]);
        assert_eq!(told(sizes.next()).unwrap(), ["a"]);
        assert_eq!(told(both.next()).unwrap(), ["b"]);
    }

    #[test]
    fn too_many_changes_are_one_overflow() {
        let (_folder, dir) = directory();
        let watches = Arc::<Watches>::default();
        let watch = watches.watch(&dir, NAMES, false, 32);
        (0..100).for_each(|number| watches.report(&dir, &[added(&format!(r"dir\{number}"))]));
        assert!(matches!(watch.next().now_or_never(), Some(Ok(News::Overflow))));
        watches.report(&dir, &[added(r"dir\a")]);
        assert_eq!(told(watch.next()).unwrap(), ["a"]);
    }

    #[test]
    fn who_has_given_up_waiting_takes_no_room() {
        let (_folder, dir) = directory();
        let watches = Arc::<Watches>::default();
        let watch = watches.watch(&dir, NAMES, false, ROOM);
        (0..100).for_each(|_| drop(watch.next()));
        assert!(lock(&watches.table).trees[&dir.tree_id()].watched[&0].waiting.len() <= 1);
    }

    #[test]
    fn what_was_for_somebody_who_has_gone_is_for_the_next() {
        let (_folder, dir) = directory();
        let watches = Arc::<Watches>::default();
        let watch = watches.watch(&dir, NAMES, false, ROOM);
        drop(watch.next());
        let second = watch.next();
        watches.report(&dir, &[added(r"dir\a")]);
        assert_eq!(told(second).unwrap(), ["a"]);
        let third = watch.next();
        watches.tell_delete_pending(&dir);
        assert!(matches!(third.now_or_never(), Some(Ok(News::DeletePending))));
        let fourth = watch.next();
        drop(watch);
        assert!(fourth.now_or_never().unwrap().is_err());
        assert!(!watches.wants(NAMES));
    }
}
