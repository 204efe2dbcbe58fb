//! What happens in watched directories, by inotify: each has a watch of the kernel's, and so has each directory
//! below one whose tree is watched.
//!
//! A tree with more directories than can be watched is not seen whole. Who watches it is told to list it again,
//! at first and then now and again.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsStr;
use std::future::pending;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use futures_util::future::{Either, select};
use ringway::fs::{ChangeFlags, Dir, Watch, WatchEvent, WatchFlags, WatchId};

use crate::state::{Fate, Share, Watches};
use crate::vfs::{Handle, Mapping, Subtree, TreeId, is_presentable};

use super::held::{Entry, Held};
use super::places::{Place, Places, join, renamed};
use super::{ATTRIBUTES, CONTENTS, Sights};

/// What is asked for.
const WATCHED: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::ONLYDIR)
    .union(WatchFlags::EXCL_UNLINK);

/// How often who watches a tree that is not seen whole is told to list it again.
const LIST_AGAIN: Duration = Duration::from_secs(60);

/// How many directories are gone through before what has happened meanwhile is taken in: some milliseconds.
const PORTION: usize = 64;

/// How often the queue is read before what it held is told.
const READS_MAX: usize = 64;

/// The directories of a share that are watched by inotify.
#[derive(Debug)]
pub(super) struct Inotify {
    tree: TreeId,
    mapping: Mapping,
    watches: Arc<Watches>,
    /// While anything is watched.
    kernel: Option<Watch>,
    watched: BTreeMap<u64, Watched>,
    places: Places,
    /// Directories that are still to be watched. Each that waits here has got a portion of the places.
    walks: VecDeque<Walk>,
    held: Held,
    /// When those whose trees are not seen whole are told so again.
    list_again: Option<Instant>,
}

#[derive(Debug)]
struct Watched {
    directory: Arc<Handle>,
    subtree: Subtree,
    /// Whether what lies in its directories counts.
    tree: bool,
    /// Whether all of them are watched.
    whole: bool,
}

/// A directory that is to be watched, and for who watches a tree all below it.
#[derive(Debug)]
struct Walk {
    watch: u64,
    /// What they call the directories that are left.
    to_do: Vec<String>,
    /// What is in them counts as new.
    found: bool,
    /// To be told when all are watched.
    seeing: Option<oneshot::Sender<()>>,
    /// Nothing had to be left out.
    whole: bool,
    /// It has taken more than a portion.
    long: bool,
}

impl Walk {
    /// From the directory on that `watch` calls `below`.
    fn new(watch: u64, below: String) -> Self {
        Self { watch, to_do: vec![below], found: false, seeing: None, whole: true, long: false }
    }
}

impl Inotify {
    pub(super) fn new(share: &Share, watches: &Arc<Watches>) -> Self {
        Self {
            tree: share.volume.tree_id(),
            mapping: share.options.mapping,
            watches: Arc::clone(watches),
            kernel: None,
            watched: BTreeMap::new(),
            places: Places::default(),
            walks: VecDeque::new(),
            held: Held::default(),
            list_again: None,
        }
    }

    /// `seeing` is told when nothing is missed any more.
    pub(super) async fn begin(
        &mut self,
        id: u64,
        directory: &Arc<Handle>,
        tree: bool,
        seeing: oneshot::Sender<()>,
    ) {
        if self.kernel.is_none() {
            match Watch::new() {
                Ok(kernel) => self.kernel = Some(kernel),
                // As a watch that sees nothing of its tree, it goes on.
                Err(error) => {
                    tracing::warn!(%error, "no inotify: changes made by others are not seen")
                }
            }
            self.watches.remember_own(self.tree, true);
        }
        let subtree = Subtree::of(directory);
        let directory = Arc::clone(directory);
        self.watched.insert(id, Watched { directory, subtree, tree, whole: true });
        let walk = Walk { seeing: Some(seeing), ..Walk::new(id, String::new()) };
        // Nothing in it counts as new.
        let _ = self.arm(walk).await;
    }

    pub(super) fn end(&mut self, id: u64) {
        if self.watched.remove(&id).is_none() {
            return;
        }
        let unused = self.places.forget(id);
        self.release(unused);
        self.held.forget(id);
        self.walks.retain(|walk| walk.watch != id);
        if self.watched.is_empty() {
            self.kernel = None;
            self.places = Places::default();
            self.list_again = None;
            self.watches.remember_own(self.tree, false);
        }
    }

    fn release(&self, unused: Vec<WatchId>) {
        for id in unused {
            if let Some(kernel) = &self.kernel {
                // It may have ended with its directory.
                let _ = kernel.remove(id);
            }
        }
    }

    /// Waits for events, or until what waits has waited enough; takes none if it is dropped.
    pub(super) async fn next(&mut self) -> io::Result<Vec<WatchEvent>> {
        if !self.walks.is_empty() {
            ringway::task::yield_now().await;
            return Ok(self.take());
        }
        let due = [self.held.next_due(), self.list_again].into_iter().flatten().min();
        let kernel = &mut self.kernel;
        let events = async {
            match kernel {
                Some(kernel) => kernel.next().await,
                None => pending().await,
            }
        };
        let timer = async {
            match due {
                Some(due) => ringway::time::sleep_until(due).await,
                None => pending().await,
            }
        };
        match select(pin!(events), pin!(timer)).await {
            Either::Left((events, _)) => events,
            Either::Right(_) => Ok(Vec::new()),
        }
    }

    /// The events that there are by now.
    pub(super) fn take(&self) -> Vec<WatchEvent> {
        let mut events = Vec::new();
        for _ in 0..READS_MAX {
            let Some(kernel) = &self.kernel else { break };
            match kernel.take_ready() {
                Ok(more) if !more.is_empty() => events.extend(more),
                // An error comes again to who waits.
                _ => break,
            }
        }
        events
    }

    /// Takes events in, and tells what has waited enough.
    pub(super) async fn see(&mut self, events: Vec<WatchEvent>) -> Sights {
        let mut sights = Sights::default();
        self.see_all(events, &mut sights).await;
        let now = Instant::now();
        // When something was found, the kernel had told of it if it was going to; that may lie unread for long
        // where much else goes on.
        if self.held.is_guess_due(now) {
            let events = self.take();
            self.see_all(events, &mut sights).await;
        }
        if let Some(walk) = self.walks.pop_front() {
            sights.missed |= !self.arm(walk).await;
        }
        if sights.missed {
            self.held.clear();
            self.arm_anew(self.ids(|watched| watched.tree)).await;
        }
        self.take_due(now, &mut sights);
        self.list_again().await;
        sights
    }

    async fn see_all(&mut self, events: Vec<WatchEvent>, sights: &mut Sights) {
        for event in events {
            match event {
                WatchEvent::Change { id, what, cookie, name: Some(name) } => {
                    sights.missed |= !self.change(id, what, cookie, &name).await;
                }
                WatchEvent::Ended(id) => self.places.ended(id),
                WatchEvent::Overflow => sights.missed = true,
                _ => {}
            }
        }
    }

    fn take_due(&mut self, now: Instant, sights: &mut Sights) {
        let (watched, watches, tree) = (&self.watched, &self.watches, self.tree);
        let mapping = self.mapping;
        let is_own = |entry: &Entry| {
            watched.get(&entry.watch).is_some_and(|watched| {
                let folder = watched.directory.share_path().components().join("\\");
                // Remembered is what names are on disk.
                let names: Vec<_> =
                    entry.name.split('\\').map(|name| mapping.to_disk(name)).collect();
                let path = join(&folder, &names.join("\\"));
                watches.was_own(tree, entry.watch, &path, entry.fate)
            })
        };
        let left = self.held.take_due(now, is_own, sights);
        for Entry { watch, name, .. } in left {
            // It has gone to where nobody looks.
            let unused = self.places.forget_below(watch, &name);
            self.release(unused);
        }
    }

    async fn list_again(&mut self) {
        if self.list_again.is_none_or(|at| Instant::now() < at) {
            return;
        }
        self.list_again = None;
        let partial = self.ids(|watched| !watched.whole);
        // By now there may be room.
        self.arm_anew(partial.clone()).await;
        self.watches.report_missed(self.tree, |id| partial.contains(&id));
    }

    fn ids(&self, which: impl Fn(&Watched) -> bool) -> Vec<u64> {
        self.watched.iter().filter(|(_, watched)| which(watched)).map(|(id, _)| *id).collect()
    }

    /// Something has happened to a name; `false`: there is no room for it.
    async fn change(&mut self, id: WatchId, what: ChangeFlags, cookie: u32, name: &OsStr) -> bool {
        let name = name.to_str().filter(|name| is_presentable(name, self.mapping));
        let Some(name) = name.map(|name| self.mapping.to_client(name)) else { return true };
        let mut room = true;
        for Place { watch, below } in self.places.of(id).to_vec() {
            let name = join(&below, &name);
            room &= self.change_seen_by(watch, what, cookie, name).await;
        }
        room
    }

    async fn change_seen_by(
        &mut self,
        watch: u64,
        what: ChangeFlags,
        cookie: u32,
        name: String,
    ) -> bool {
        let now = Instant::now();
        let directory = what.contains(ChangeFlags::ISDIR);
        let deeper = directory && self.watched.get(&watch).is_some_and(|watched| watched.tree);
        let named = |fate| Entry::name(watch, fate, name.clone(), directory, cookie);
        if what.intersects(ChangeFlags::MODIFY) {
            return self.held.push(Entry::changed(watch, name, CONTENTS), now);
        }
        if what.intersects(ChangeFlags::ATTRIB) {
            return self.held.push(Entry::changed(watch, name, ATTRIBUTES), now);
        }
        if what.intersects(ChangeFlags::DELETE | ChangeFlags::MOVED_FROM) {
            return self.held.push(named(Fate::Gone), now);
        }
        let created = what.contains(ChangeFlags::CREATE);
        if !created && !what.contains(ChangeFlags::MOVED_TO) {
            return true;
        }
        let room = self.held.push(named(Fate::Come), now);
        if !deeper {
            return room;
        }
        if let Some(from) = self.held.renamed_from(watch, cookie).filter(|_| cookie != 0) {
            self.places.rename(watch, &from, &name);
            let walks = self.walks.iter_mut().filter(|walk| walk.watch == watch);
            for below in walks.flat_map(|walk| &mut walk.to_do) {
                if let Some(renamed) = renamed(below, &from, &name) {
                    *below = renamed;
                }
            }
            return room;
        }
        // What has been made in it before it was watched is found, not told.
        self.arm(Walk { found: created, ..Walk::new(watch, name) }).await && room
    }

    /// What is watched may not be what is there, after events were missed or for want of room.
    async fn arm_anew(&mut self, ids: Vec<u64>) {
        for id in ids {
            let unused = self.places.forget(id);
            self.release(unused);
            if let Some(watched) = self.watched.get_mut(&id) {
                watched.whole = true;
            }
            let mut under_way = self.walks.iter_mut().filter(|walk| walk.watch == id);
            let seeing = under_way.find_map(|walk| walk.seeing.take());
            self.walks.retain(|walk| walk.watch != id);
            // Nothing in it counts as new.
            let _ = self.arm(Walk { seeing, ..Walk::new(id, String::new()) }).await;
        }
    }

    /// Goes on with a walk as far as a portion goes; what is left waits. `false`: there is no room for what was
    /// found.
    async fn arm(&mut self, mut walk: Walk) -> bool {
        let id = walk.watch;
        let Some(watched) = self.watched.get(&id) else { return true };
        let (subtree, tree) = (watched.subtree.clone(), watched.tree);
        let mut room = true;
        for _ in 0..PORTION {
            let Some(below) = walk.to_do.pop() else { break };
            let armed = match subtree.open(&below).await {
                Ok(dir) => self.arm_one(id, &dir, below.clone()).map(|()| dir),
                Err(error) => Err(error),
            };
            match armed {
                Ok(dir) if tree => {
                    let names = walk.found.then_some(&mut room);
                    walk.whole &= self.arm_below(id, &dir, &below, names, &mut walk.to_do).await;
                }
                Ok(_) => {}
                Err(error) if is_nothing_to_see(&error) => {}
                Err(error) => {
                    tracing::debug!(below, %error, "a directory that cannot be watched");
                    walk.whole = false;
                    walk.to_do.clear();
                }
            }
        }
        match walk.to_do.is_empty() {
            true => self.end_walk(walk),
            false => self.walks.push_back(Walk { long: true, ..walk }),
        }
        room
    }

    fn end_walk(&mut self, walk: Walk) {
        let Walk { watch: id, found, seeing, whole, long, .. } = walk;
        let Some(watched) = self.watched.get_mut(&id) else { return };
        // Who was not told that all was seen, and was not told all that is there either, may have missed something.
        let unseen = long && !found && seeing.is_none();
        if unseen || (watched.whole && !whole) {
            self.watches.report_missed(self.tree, |other| other == id);
        }
        if !whole {
            watched.whole = false;
            let path = watched.directory.path();
            tracing::warn!(path, "not all that others change below it can be seen");
            self.list_again.get_or_insert(Instant::now() + LIST_AGAIN);
        }
        if let Some(seeing) = seeing {
            // Who has gone does not need to know.
            let _ = seeing.send(());
        }
    }

    fn arm_one(&mut self, watch: u64, dir: &Dir, below: String) -> io::Result<()> {
        // What a client has opened itself is never too much.
        if !below.is_empty() && self.places.is_full() {
            return Err(io::Error::other("too many directories"));
        }
        let kernel = self.kernel.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        self.places.add(kernel.add(dir, WATCHED)?, Place { watch, below });
        Ok(())
    }

    /// Adds the directories in one to those that are to be watched; `false`: they are too many. All names count as
    /// new where there is somebody to tell whether there was room for them.
    async fn arm_below(
        &mut self,
        id: u64,
        dir: &Dir,
        below: &str,
        mut new: Option<&mut bool>,
        to_do: &mut Vec<String>,
    ) -> bool {
        let waiting: usize = self.walks.iter().map(|walk| walk.to_do.len()).sum();
        let (now, most) = (Instant::now(), self.places.room().saturating_sub(waiting));
        let (mut whole, held) = (true, &mut self.held);
        let Some(watched) = self.watched.get(&id) else { return true };
        let listed = watched.subtree.list(dir, |name, directory| {
            let name = join(below, name);
            if let Some(room) = &mut new {
                let entry = Entry::name(id, Fate::Come, name.clone(), directory, 0);
                **room &= held.push(Entry { guessed: true, ..entry }, now);
            }
            if directory && to_do.len() < most {
                to_do.push(name);
            } else if directory {
                whole = false;
            }
            whole && new.as_ref().is_none_or(|room| **room)
        });
        // One that cannot be listed has nothing to be seen in it.
        let _ = listed.await;
        whole
    }
}

/// A directory that is gone, or that not even the server may look into.
fn is_nothing_to_see(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::EACCES))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ShareOptions;
    use crate::vfs::{Kind, Open, SharePath};

    async fn opened(share: &Share, name: &str) -> Arc<Handle> {
        let how = Open { kind: Kind::Directory, ..Open::TO_READ };
        let path = SharePath::parse(name, Mapping::default()).unwrap();
        share.volume.open(None, &path, &how, &()).await.unwrap().handle
    }

    /// Takes in what there is, and goes on with what is under way.
    async fn see(inotify: &mut Inotify) -> Sights {
        let events = inotify.next().await.unwrap();
        inotify.see(events).await
    }

    #[test]
    fn while_a_large_tree_is_gone_through_what_happens_elsewhere_is_taken_in() {
        const LARGE: usize = 4 * PORTION;
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("small")).unwrap();
        let (large, small) = (folder.path().join("large"), folder.path().join("small"));
        for number in 0..LARGE {
            std::fs::create_dir_all(large.join(format!("{number}/deep"))).unwrap();
        }
        let share = Share::open("share", folder.path(), ShareOptions::default()).unwrap();
        let mut inotify = Inotify::new(&share, &Arc::default());
        ringway::Builder::new().build().unwrap().block_on(async {
            let (seeing, mut seen) = oneshot::channel();
            inotify.begin(1, &opened(&share, "small").await, false, seeing).await;
            assert_eq!(seen.try_recv(), Ok(Some(())));
            let (seeing, mut seen) = oneshot::channel();
            inotify.begin(2, &opened(&share, "large").await, true, seeing).await;
            assert_eq!(seen.try_recv(), Ok(None));
            // Some of it has been gone through, and some not: it has to be found under the new name.
            std::fs::write(small.join("a"), "").unwrap();
            for number in 0..LARGE {
                std::fs::rename(large.join(number.to_string()), large.join(format!("new{number}")))
                    .unwrap();
            }
            see(&mut inotify).await;
            assert!(inotify.held.next_due().is_some());
            assert_eq!(seen.try_recv(), Ok(None));
            while seen.try_recv() == Ok(None) {
                see(&mut inotify).await;
            }
            // The small one, the large one, and two for each in it.
            assert_eq!(inotify.places.room(), super::super::places::PLACES_MAX - 2 - 2 * LARGE);
            let told = see(&mut inotify).await;
            assert!(!told.missed && told.seen.contains_key(&1));
        });
    }
}
