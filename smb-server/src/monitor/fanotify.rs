//! What happens on a share's file system, by fanotify: which of it concerns which watch, and who did it.
//!
//! Directories are known by handles, and told by the paths that these lead to; watched directories are found
//! by the same way, so that links, mounts and renamings change both alike. A path is believed until a
//! directory is renamed, which is an event, too.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ringway::fs::{
    File, FileHandle, FilesystemChange, FilesystemEvent, FilesystemWatch, NamedPlace,
};
use rustix::fs::{AtFlags, StatxFlags};

use crate::vfs::{Handle, Mapping, is_presentable};
use crate::wire::fscc::notify_info::NotifyAction;

use super::{ATTRIBUTES, CONTENTS, Sights, name_filter};

/// How long events are left to gather after the first: the kernel makes one of those that are alike, of which
/// a copy of a large file has thousands.
const GATHER: Duration = Duration::from_millis(10);

/// How often the queue is read before what it held is told: the kernel's queue, twice over.
const READS_MAX: usize = 64;

/// How many paths of directories are kept.
const PATHS_MAX: usize = 4096;

/// A share's file system.
#[derive(Debug)]
pub(super) struct Fanotify {
    watch: FilesystemWatch,
    /// The file system's number.
    device: u64,
    /// Asked on threads that may block, one at a time.
    tree: Arc<Mutex<Tree>>,
    watched: usize,
    own_process: u32,
}

impl Fanotify {
    /// Tries whether everything that it takes is there.
    pub(super) fn new(root: &File, device: u64, mapping: Mapping) -> io::Result<Self> {
        let watch = FilesystemWatch::new(root)?;
        let own_process = rustix::process::getpid().as_raw_nonzero().get().cast_unsigned();
        let mut tree = Tree::new(root.as_fd().try_clone_to_owned()?, own_process, mapping);
        // Where /proc is missing, no handle has a path.
        tree.path_of(&FileHandle::of(root)?).ok_or(io::ErrorKind::Unsupported)?;
        Ok(Self { watch, device, tree: Arc::new(Mutex::new(tree)), watched: 0, own_process })
    }

    /// Whether a directory is on the file system.
    pub(super) fn covers(&self, directory: &Handle) -> bool {
        directory.id().dev == self.device
    }

    pub(super) fn begin(&mut self, id: u64, directory: &Handle, tree: bool) -> io::Result<()> {
        let handle = FileHandle::of(directory.file().ok_or(io::ErrorKind::NotADirectory)?)?;
        if self.watched == 0 {
            self.watch.start()?;
        }
        self.watched = self.with_tree(|it| it.begin(id, handle, tree));
        Ok(())
    }

    pub(super) fn end(&mut self, id: u64) {
        let before = self.watched;
        self.watched = self.with_tree(|tree| tree.end(id));
        if before != 0
            && self.watched == 0
            && let Err(error) = self.watch.stop()
        {
            tracing::warn!(%error, "fanotify goes on");
        }
    }

    fn with_tree<T>(&self, act: impl FnOnce(&mut Tree) -> T) -> T {
        act(&mut self.tree.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for events; takes none if it is dropped.
    pub(super) async fn next(&mut self) -> io::Result<Vec<FilesystemEvent>> {
        self.watch.next().await
    }

    /// The events that there are by now.
    pub(super) fn take(&self) -> io::Result<Vec<FilesystemEvent>> {
        let mut events = Vec::new();
        for _ in 0..READS_MAX {
            let more = self.watch.take()?;
            if more.is_empty() {
                break;
            }
            events.extend(more);
        }
        Ok(events)
    }

    /// Whether anybody is to be told, or a path may have changed.
    fn matters(&self, event: &FilesystemEvent) -> bool {
        match event {
            FilesystemEvent::Change { what, pid, .. } => {
                *pid != self.own_process || what.contains(FilesystemChange::ONDIR)
            }
            _ => true,
        }
    }

    /// Finds whom events concern; waits for more of them first if they may `gather`.
    pub(super) async fn see(&self, mut events: Vec<FilesystemEvent>, gather: bool) -> Sights {
        if gather {
            ringway::time::sleep(GATHER).await;
            match self.take() {
                Ok(more) => events.extend(more),
                Err(_) => events.push(FilesystemEvent::Overflow),
            }
        }
        events.retain(|event| self.matters(event));
        if events.is_empty() || self.watched == 0 {
            return Sights::default();
        }
        let tree = Arc::clone(&self.tree);
        // Handles are opened, and what they lead to may have to be read.
        let seen = ringway::spawn_blocking(move || {
            tree.lock().unwrap_or_else(PoisonError::into_inner).see_all(events)
        });
        seen.await.unwrap_or_else(|_| Sights { missed: true, ..Sights::default() })
    }
}

/// Where directories are, and which are watched.
#[derive(Debug)]
struct Tree {
    /// On the file system.
    root: OwnedFd,
    mapping: Mapping,
    own_process: u32,
    watched: BTreeMap<u64, (FileHandle, bool)>,
    /// Which watches are where; out of date if there are none.
    by_path: Option<HashMap<PathBuf, Vec<(u64, bool)>>>,
    paths: HashMap<FileHandle, PathBuf>,
    /// What the directories were called that are gone by the end of what is being seen.
    gone: HashMap<FileHandle, NamedPlace>,
}

impl Tree {
    fn new(root: OwnedFd, own_process: u32, mapping: Mapping) -> Self {
        Self {
            root,
            own_process,
            mapping,
            watched: BTreeMap::new(),
            by_path: None,
            paths: HashMap::new(),
            gone: HashMap::new(),
        }
    }

    fn begin(&mut self, id: u64, directory: FileHandle, tree: bool) -> usize {
        self.watched.insert(id, (directory, tree));
        self.by_path = None;
        self.watched.len()
    }

    fn end(&mut self, id: u64) -> usize {
        if self.watched.remove(&id).is_some() {
            self.by_path = None;
        }
        if self.watched.is_empty() {
            // Nobody says from now on when they are out of date.
            self.paths = HashMap::new();
        }
        self.watched.len()
    }

    fn see_all(&mut self, events: Vec<FilesystemEvent>) -> Sights {
        let mut sights = Sights::default();
        self.gone = events.iter().filter_map(removed_directory).collect();
        for event in events {
            match event {
                FilesystemEvent::Change { what, pid, place, renamed_to, file } => {
                    if pid != self.own_process {
                        self.see(what, &place, renamed_to.as_ref(), &mut sights);
                    }
                    self.learn(what, &place, file);
                }
                _ => {
                    sights.missed = true;
                    self.forget();
                }
            }
        }
        self.gone = HashMap::new();
        sights
    }

    /// Paths are what they were, but for what this event says.
    fn learn(&mut self, what: FilesystemChange, place: &NamedPlace, file: Option<FileHandle>) {
        if !what.contains(FilesystemChange::ONDIR) {
            return;
        }
        if what.contains(FilesystemChange::RENAME) {
            self.forget();
        } else if what.contains(FilesystemChange::CREATE)
            && let (Some(file), Some(name)) = (file, &place.name)
            && let Some(directory) = self.paths.get(&place.directory)
        {
            // It may be gone before anything in it is seen.
            let path = directory.join(name);
            self.keep_path(file, path);
        }
    }

    fn forget(&mut self) {
        self.paths.clear();
        self.by_path = None;
    }

    fn keep_path(&mut self, directory: FileHandle, path: PathBuf) {
        if self.paths.len() >= PATHS_MAX {
            self.paths.clear();
        }
        self.paths.insert(directory, path);
    }

    fn see(
        &mut self,
        what: FilesystemChange,
        place: &NamedPlace,
        renamed_to: Option<&NamedPlace>,
        sights: &mut Sights,
    ) {
        let names = name_filter(what.contains(FilesystemChange::ONDIR));
        let concerned = self.concerned(place);
        if what.contains(FilesystemChange::RENAME) {
            let stays = renamed_to.is_some_and(|to| to.directory == place.directory);
            let mut to = renamed_to.map(|to| self.concerned(to)).unwrap_or_default();
            for (id, from) in concerned {
                sights.tell_renamed(id, Some(from), to.remove(&id), stays, names);
            }
            for (id, to) in to {
                sights.tell_renamed(id, None, Some(to), stays, names);
            }
            return;
        }
        let mut tell = |action, filter| {
            for (id, name) in &concerned {
                sights.tell(*id, action, name.clone(), filter);
            }
        };
        if what.contains(FilesystemChange::CREATE) {
            tell(NotifyAction::ADDED, names);
        }
        if what.contains(FilesystemChange::MODIFY) {
            tell(NotifyAction::MODIFIED, CONTENTS);
        }
        if what.contains(FilesystemChange::ATTRIB) {
            tell(NotifyAction::MODIFIED, ATTRIBUTES);
        }
        if what.contains(FilesystemChange::DELETE) {
            tell(NotifyAction::REMOVED, names);
        }
    }

    /// The watches that a place lies below, and what each of them calls it.
    fn concerned(&mut self, place: &NamedPlace) -> BTreeMap<u64, String> {
        self.concerned_path(place).unwrap_or_default()
    }

    fn concerned_path(&mut self, place: &NamedPlace) -> Option<BTreeMap<u64, String>> {
        let directory = self.path_of(&place.directory)?;
        let (parent, name): (&Path, OsString) = match &place.name {
            Some(name) => (&directory, name.clone()),
            None => (directory.parent()?, directory.file_name()?.to_owned()),
        };
        let path = parent.join(name);
        let mut concerned = BTreeMap::new();
        for above in parent.ancestors() {
            let mapping = self.mapping;
            let Some(watched) = self.by_path().get(above) else { continue };
            let below = path.strip_prefix(above).ok();
            let Some(name) = below.and_then(|path| told(path, mapping)) else { continue };
            let watched = watched.iter().filter(|(_, tree)| *tree || above == parent);
            concerned.extend(watched.map(|(id, _)| (*id, name.clone())));
        }
        Some(concerned)
    }

    fn by_path(&mut self) -> &HashMap<PathBuf, Vec<(u64, bool)>> {
        if self.by_path.is_none() {
            let mut by_path: HashMap<PathBuf, Vec<(u64, bool)>> = HashMap::new();
            for (id, (directory, tree)) in self.watched.clone() {
                if let Some(path) = self.path_of(&directory) {
                    by_path.entry(path).or_default().push((id, tree));
                }
            }
            self.by_path = Some(by_path);
        }
        self.by_path.get_or_insert_default()
    }

    /// Where a directory is, or last was.
    fn path_of(&mut self, directory: &FileHandle) -> Option<PathBuf> {
        if let Some(path) = self.paths.get(directory) {
            return Some(path.clone());
        }
        let path = self.look_up(directory).or_else(|| {
            // What was in it is told before that it is gone itself. Taken, so that there is an end.
            let NamedPlace { directory, name } = self.gone.remove(directory)?;
            Some(self.path_of(&directory)?.join(name?))
        })?;
        self.keep_path(directory.clone(), path.clone());
        Some(path)
    }

    fn look_up(&self, directory: &FileHandle) -> Option<PathBuf> {
        let opened = directory.open(&self.root).ok()?;
        // The path of one that is gone, and that somebody has open, is no path.
        let stat = rustix::fs::statx(&opened, "", AtFlags::EMPTY_PATH, StatxFlags::NLINK).ok()?;
        if stat.stx_nlink == 0 {
            return None;
        }
        std::fs::read_link(format!("/proc/self/fd/{}", opened.as_raw_fd())).ok()
    }
}

fn removed_directory(event: &FilesystemEvent) -> Option<(FileHandle, NamedPlace)> {
    let removed = FilesystemChange::DELETE | FilesystemChange::ONDIR;
    match event {
        FilesystemEvent::Change { what, place, file: Some(file), .. } if what.contains(removed) => {
            Some((file.clone(), place.clone()))
        }
        _ => None,
    }
}

/// A relative path as a client is told it; `None` if it cannot be.
fn told(path: &Path, mapping: Mapping) -> Option<String> {
    let names: Option<Vec<_>> = path
        .components()
        .map(|name| {
            let name = name.as_os_str().to_str().filter(|name| is_presentable(name, mapping));
            name.map(|name| mapping.to_client(name))
        })
        .collect();
    Some(names?.join("\\"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_clients_can_use_are_told() {
        let plain = |path| told(Path::new(path), Mapping::None);
        assert_eq!(plain("a/b c/ü").unwrap(), r"a\b c\ü");
        assert_eq!((plain("a/b:c"), plain(r"a\b")), (None, None));
        assert_eq!(told(Path::new(":usmbd:store/streams/ab"), Mapping::PrivateUse), None);
        let mapped = told(Path::new(r"a/b:c/d\e"), Mapping::PrivateUse);
        assert_eq!(mapped.unwrap(), "a\\b\u{f022}c\\d\u{f026}e");
    }
}
