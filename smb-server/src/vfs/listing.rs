//! The entries of a directory, with what is known about each.
//!
//! Names come from the kernel by the thousand; what is known about them is asked in portions, as a
//! client takes them: one `statx` each, several at a time, then one trip to the blocking pool for what
//! extended attributes say of all. No file is opened for it, so a listing disturbs nobody's lease.

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd};

use futures_util::{StreamExt, TryStreamExt, stream};
use ringway::fs::{AtFlags, Dir, File, FileType, OFlags, Statx};

use super::dos_info::DosInfo;
use super::metadata::{FileKind, MASK, Metadata, kind};
use super::resolve::{Scan, Tree, beneath, leads_back};
use super::{Error, Mapping, SharePath, ea, xattr};

/// How many entries are looked at in one portion: about what fits in a reply of 8 KiB.
const PORTION: usize = 64;

/// How many of them at once: enough for a disk to have a choice, few enough for its other users.
const AT_ONCE: usize = 16;

/// An entry of a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirEntry {
    /// Its name, as clients have it.
    pub name: String,
    /// What is known about it.
    pub metadata: Metadata,
    /// How long the list of its EAs is; 0 if it has none.
    pub ea_size: u32,
}

/// Reads a directory from front to back: `.` and `..` first, then what is in it.
#[derive(Debug)]
pub struct DirStream {
    tree: Tree,
    dir: Dir,
    path: SharePath,
    scan: Scan,
    /// Names on disk that have been read and not been given.
    names: VecDeque<(String, FileType)>,
    /// Entries that have been looked at and not been given.
    ready: VecDeque<DirEntry>,
    ended: bool,
}

impl DirStream {
    pub(super) fn new(tree: &Tree, directory: &File, path: SharePath) -> Self {
        let dir = Dir::from_file(directory.clone()).with_identity(tree.root.identity());
        let dots = [".", ".."].map(|name| (name.to_owned(), FileType::Directory));
        Self {
            tree: tree.clone(),
            scan: Scan::new(&dir, tree.mapping),
            dir,
            path,
            names: VecDeque::from(dots),
            ready: VecDeque::new(),
            ended: false,
        }
    }

    /// How many names were left out because no client could be shown them: they are not UTF-8, or
    /// have characters that SMB reserves and nothing stands for.
    #[must_use]
    pub fn unpresentable(&self) -> u64 {
        self.scan.unpresentable
    }

    /// The next entry whose name is `wanted`; what is not is not looked at. Ask for the same names
    /// each time: some entries are looked at ahead. A link that does not lead to a file or directory of the
    /// share is told of as what it is. An entry that has gone since its name was read, or is neither file,
    /// directory nor link, is left out; so is one whose name, as clients have it, means another.
    ///
    /// Not cancel safe: a dropped call loses entries.
    ///
    /// # Errors
    /// The directory cannot be read on, or an entry cannot be looked at for another reason.
    pub async fn next_matching(
        &mut self,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Option<DirEntry>, Error> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                return Ok(Some(entry));
            }
            let portion = self.take_names(&wanted);
            if !portion.is_empty() {
                self.look_at_all(portion).await?;
                continue;
            }
            if self.ended {
                return Ok(None);
            }
            self.ended = !self.scan.next_batch().await?;
            let entries = self.scan.entries().map(|entry| (entry.name.to_owned(), entry.file_type));
            self.names.extend(entries);
            self.scan.forget_batch();
        }
    }

    fn take_names(&mut self, wanted: impl Fn(&str) -> bool) -> Vec<(String, FileType)> {
        let names = std::iter::from_fn(|| self.names.pop_front());
        let wanted = |name: &str| wanted(&self.tree.mapping.to_client(name));
        names.filter(|(name, _)| wanted(name)).take(PORTION).collect()
    }

    async fn look_at_all(&mut self, names: Vec<(String, FileType)>) -> Result<(), Error> {
        let this = &*self;
        let found: Vec<Option<(String, Statx)>> = stream::iter(names)
            .map(|(name, file_type)| async move {
                match this.look_at(&name, file_type).await {
                    Ok(stat) => Ok(stat.map(|stat| (name, stat))),
                    Err(error) if is_absence(&error) => Ok(None),
                    Err(error) => Err(error),
                }
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let found = found.into_iter().flatten().collect();
        let mapping = self.tree.mapping;
        let entries = with_attributes(self.dir.as_file().clone(), found, mapping).await;
        self.ready.extend(entries);
        Ok(())
    }

    async fn look_at(&self, name: &str, file_type: FileType) -> Result<Option<Statx>, Error> {
        if name == ".." {
            return self.parent().await.map(Some);
        }
        if self.tree.mapping.is_ambiguous(name) && !leads_back(&self.tree, &self.dir, name).await? {
            return Ok(None);
        }
        if file_type == FileType::Symlink {
            return self.look_through_link(name).await;
        }
        let stat = self.dir.statx_at(name, AtFlags::SYMLINK_NOFOLLOW, MASK).await?;
        match kind(&stat) {
            FileKind::Symlink => self.look_through_link(name).await,
            FileKind::Other => Ok(None),
            FileKind::Regular | FileKind::Directory => Ok(Some(stat)),
        }
    }

    /// The directory's own directory; the root is its own, since nothing above it is shown.
    async fn parent(&self) -> Result<Statx, Error> {
        let stat = match self.path.components().len() {
            0 | 1 => self.tree.root.as_file().statx(MASK).await,
            _ => self.dir.statx_at("..", AtFlags::empty(), MASK).await,
        };
        Ok(stat?)
    }

    /// What a link leads to, if that is a file or a directory of the share; otherwise the link.
    async fn look_through_link(&self, name: &str) -> Result<Option<Statx>, Error> {
        let path = self.path.to_unix().join(name);
        match self.tree.root.open_at(path, &beneath(OFlags::PATH)).await.map_err(Error::of_open) {
            Ok(file) => {
                let stat = file.statx(MASK).await?;
                if kind(&stat) != FileKind::Other {
                    return Ok(Some(stat));
                }
            }
            Err(error) if is_absence(&error) => {}
            Err(error) => return Err(error),
        }
        let stat = self.dir.statx_at(name, AtFlags::SYMLINK_NOFOLLOW, MASK).await?;
        Ok((kind(&stat) != FileKind::Other).then_some(stat))
    }
}

/// Whether an entry that cannot be looked at is none. Anything else fails the listing: who mirrors a
/// folder takes a name that is not listed for one that was deleted.
fn is_absence(error: &Error) -> bool {
    matches!(
        error,
        Error::NotFound
            | Error::NotADirectory
            | Error::TooManyLinks
            | Error::Escapes
            | Error::AccessDenied
    )
}

/// What extended attributes say of an entry.
#[derive(Default)]
struct Stored {
    info: Option<DosInfo>,
    ea_size: u32,
}

impl Stored {
    /// Of `name` in `directory`, without opening it and without following a link. Most files have no extended
    /// attribute, and are asked for nothing but that.
    ///
    /// Blocks. It goes by way of `/proc`, as only the newest kernels have `listxattrat`; and it is done as the
    /// process, which tells no more than that a file is hidden, when it was made, and how long its EAs are.
    fn at(directory: &File, name: &str, buffer: &mut Vec<u8>) -> Self {
        if name == ".." {
            // It may be above the share.
            return Self::default();
        }
        let path = format!("/proc/self/fd/{}/{name}", directory.as_fd().as_raw_fd());
        let names = xattr::names_at(&path, buffer);
        let has_info = names.split(|byte| *byte == 0).any(DosInfo::is_stored_in);
        let info = if has_info { DosInfo::stored_at(&path) } else { None };
        Self { info, ea_size: ea::size_at(&path, names) }
    }
}

/// Adds what is stored for each. What a link leads to, and everything if the pool cannot be had, has what it
/// has without.
async fn with_attributes(
    dir: File,
    found: Vec<(String, Statx)>,
    mapping: Mapping,
) -> Vec<DirEntry> {
    let names: Vec<String> = found.iter().map(|(name, _)| name.clone()).collect();
    let stored = ringway::spawn_blocking(move || {
        let mut buffer = Vec::new();
        names.iter().map(|name| Stored::at(&dir, name, &mut buffer)).collect::<Vec<_>>()
    });
    let stored = stored.await.unwrap_or_default().into_iter();
    let stored = stored.chain(std::iter::repeat_with(Stored::default));
    let entry = |((name, stat), stored): ((String, Statx), Stored)| {
        let info = stored.info.unwrap_or_else(|| DosInfo::default_for(&stat, &name));
        let metadata = Metadata::new(&stat, info.with_stat(&stat));
        let name = mapping.to_client(&name).into_owned();
        DirEntry { name, metadata, ea_size: stored.ea_size }
    };
    found.into_iter().zip(stored).map(entry).collect()
}
