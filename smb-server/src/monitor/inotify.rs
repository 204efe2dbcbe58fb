//! What happens in watched directories, by inotify: each has a watch of the kernel's, and so has each directory
//! below one whose tree is watched.
//!
//! A tree with more directories than can be watched is not seen whole. Who watches it is told to list it again,
//! at first and then now and again.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::future::pending;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{Either, select};
use ringway::fs::{ChangeFlags, Dir, Watch, WatchEvent, WatchFlags, WatchId};

use crate::state::{Fate, Share, Watches};
use crate::vfs::{Handle, Mapping, Subtree, TreeId, is_presentable};

use super::held::{Entry, Held};
use super::places::{Place, Places, join};
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

/// The kernel watches no more directories for us.
struct Full;

impl Inotify {
    pub(super) fn new(share: &Share, watches: &Arc<Watches>) -> Self {
        Self {
            tree: share.volume.tree_id(),
            mapping: share.options.mapping,
            watches: Arc::clone(watches),
            kernel: None,
            watched: BTreeMap::new(),
            places: Places::default(),
            held: Held::default(),
            list_again: None,
        }
    }

    pub(super) async fn begin(&mut self, id: u64, directory: &Arc<Handle>, tree: bool) {
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
        self.arm(id, String::new(), false).await;
    }

    pub(super) fn end(&mut self, id: u64) {
        if self.watched.remove(&id).is_none() {
            return;
        }
        let unused = self.places.forget(id);
        self.release(unused);
        self.held.forget(id);
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
    pub(super) fn take(&mut self) -> Vec<WatchEvent> {
        let mut events = Vec::new();
        for _ in 0..READS_MAX {
            let Some(kernel) = &mut self.kernel else { break };
            let Some(Ok(more)) = kernel.next().now_or_never() else { break };
            events.extend(more);
        }
        events
    }

    /// Takes events in, and tells what has waited enough.
    pub(super) async fn see(&mut self, events: Vec<WatchEvent>) -> Sights {
        let mut sights = Sights::default();
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
        if sights.missed {
            self.held.clear();
            self.arm_anew().await;
        }
        self.take_due(&mut sights);
        self.say_list_again();
        sights
    }

    fn take_due(&mut self, sights: &mut Sights) {
        let (watched, watches, tree) = (&self.watched, &self.watches, self.tree);
        let is_own = |entry: &Entry| {
            watched.get(&entry.watch).is_some_and(|watched| {
                let folder = watched.directory.share_path().components().join("\\");
                watches.was_own(tree, entry.watch, &join(&folder, &entry.name), entry.fate)
            })
        };
        let left = self.held.take_due(Instant::now(), is_own, sights);
        for Entry { watch, name, .. } in left {
            // It has gone to where nobody looks.
            let unused = self.places.forget_below(watch, &name);
            self.release(unused);
        }
    }

    fn say_list_again(&mut self) {
        let now = Instant::now();
        if self.list_again.is_none_or(|at| now < at) {
            return;
        }
        let watched = &self.watched;
        self.watches.report_missed(self.tree, |id| watched.get(&id).is_some_and(|it| !it.whole));
        let partial = watched.values().any(|watched| !watched.whole);
        self.list_again = partial.then(|| now + LIST_AGAIN);
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
        if deeper {
            match self.held.renamed_from(watch, cookie).filter(|_| cookie != 0) {
                Some(from) => self.places.rename(watch, &from, &name),
                // What has been made in it before it was watched is found, not told.
                None => self.arm(watch, name, created).await,
            }
        }
        room
    }

    /// After events were missed, what is watched may not be what is there.
    async fn arm_anew(&mut self) {
        let trees = self.watched.iter().filter(|(_, watched)| watched.tree);
        for id in trees.map(|(id, _)| *id).collect::<Vec<_>>() {
            let unused = self.places.forget(id);
            self.release(unused);
            self.arm(id, String::new(), false).await;
        }
    }

    /// Watches a directory that a watch calls `below`, and those below it if it watches a tree. What is in them
    /// counts as new, if it is to be `found`.
    async fn arm(&mut self, id: u64, below: String, found: bool) {
        let Some(watched) = self.watched.get(&id) else { return };
        let (subtree, tree) = (watched.subtree.clone(), watched.tree);
        let mut to_do = vec![below];
        while let Some(below) = to_do.pop() {
            // One that is gone, or that not even the server may look into, is no directory to be watched.
            let Ok(dir) = subtree.open(&below).await else { continue };
            let armed = self.arm_one(id, &dir, below.clone());
            let whole = match armed {
                Ok(true) if tree => self.arm_below(id, &dir, &below, found, &mut to_do).await,
                Ok(_) => true,
                Err(Full) => false,
            };
            if !whole {
                self.note_partial(id);
                return;
            }
        }
    }

    /// Whether the directory is watched now.
    fn arm_one(&mut self, watch: u64, dir: &Dir, below: String) -> Result<bool, Full> {
        let kernel = self.kernel.as_ref().filter(|_| !self.places.is_full()).ok_or(Full)?;
        match kernel.add(dir, WATCHED) {
            Ok(id) => {
                self.places.add(id, Place { watch, below });
                Ok(true)
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => Err(Full),
            Err(_) => Ok(false),
        }
    }

    /// Adds the directories in one to those that are to be watched; `false`: they are too many.
    async fn arm_below(
        &mut self,
        id: u64,
        dir: &Dir,
        below: &str,
        found: bool,
        to_do: &mut Vec<String>,
    ) -> bool {
        let (now, room) = (Instant::now(), self.places.room());
        let (mut whole, held) = (true, &mut self.held);
        let Some(watched) = self.watched.get(&id) else { return true };
        let listed = watched.subtree.list(dir, |name, directory| {
            let name = join(below, name);
            if found {
                let entry = Entry::name(id, Fate::Come, name.clone(), directory, 0);
                whole &= held.push(Entry { guessed: true, ..entry }, now);
            }
            if directory {
                to_do.push(name);
            }
            whole &= to_do.len() <= room;
            whole
        });
        // One that cannot be listed has nothing to be seen in it.
        let _ = listed.await;
        whole
    }

    fn note_partial(&mut self, id: u64) {
        if let Some(watched) = self.watched.get_mut(&id) {
            let path = watched.directory.path();
            tracing::warn!(path, "a tree has more directories than can be watched by inotify");
            watched.whole = false;
        }
        self.watches.report_missed(self.tree, |other| other == id);
        self.list_again.get_or_insert(Instant::now() + LIST_AGAIN);
    }
}
