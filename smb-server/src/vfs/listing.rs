//! The entries of a directory, with what is known about each.
//!
//! Names come from the kernel by the thousand; what is known about them is asked in portions, as a
//! client takes them. That the user may search the directory is asked once for each portion, and allows
//! to [look](super::look) at all of it as the process; what more depends on the user is asked on his behalf.

use std::collections::VecDeque;

use futures_util::{StreamExt, TryStreamExt, stream};
use ringway::fs::{Access, AtFlags, Dir, File, FileType, OFlags, Statx};

use super::look::{self, Seen, Stored, is_absence};
use super::metadata::{FileKind, MASK, Metadata, kind};
use super::resolve::{Scan, Tree, beneath, leads_back};
use super::{Error, SharePath};

/// How many entries are looked at in one portion: about what fits in a reply of 64 KiB.
const PORTION: usize = 512;

/// How many of them in one trip to the pool: several trips at once give a disk a choice.
const TRIP: usize = 128;

/// How many are looked at on the user's behalf at once: few enough for the disk's other users.
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
        let names = self.without_ambiguous(names).await?;
        let seen = match self.may_search().await {
            true => self.look_as_process(names).await?,
            false => names.into_iter().map(|(name, kind)| Seen::AsUser(name, kind)).collect(),
        };
        let rest = seen.iter().filter_map(|seen| match seen {
            Seen::AsUser(name, file_type) => Some((name.as_str(), *file_type)),
            Seen::Entry(_) => None,
        });
        let mut rest = self.look_as_user(rest.collect()).await?.into_iter();
        self.ready.extend(seen.into_iter().filter_map(|seen| match seen {
            Seen::Entry(entry) => Some(entry),
            Seen::AsUser(..) => rest.next().flatten(),
        }));
        Ok(())
    }

    /// Leaves out what has a name that, as clients have it, means another.
    async fn without_ambiguous(
        &self,
        names: Vec<(String, FileType)>,
    ) -> Result<Vec<(String, FileType)>, Error> {
        let mut kept = Vec::with_capacity(names.len());
        for (name, file_type) in names {
            if self.tree.mapping.is_ambiguous(&name) {
                match leads_back(&self.tree, &self.dir, &name).await {
                    Ok(true) => {}
                    Ok(false) => continue,
                    Err(error) if is_absence(&error) => continue,
                    Err(error) => return Err(error),
                }
            }
            kept.push((name, file_type));
        }
        Ok(kept)
    }

    /// Whether the user may know of everything that is in the directory: as the process, or as one whose own
    /// permission to search it has been seen.
    async fn may_search(&self) -> bool {
        self.dir.identity().is_none() || self.dir.access(Access::EXEC_OK).await.is_ok()
    }

    async fn look_as_process(&self, names: Vec<(String, FileType)>) -> Result<Vec<Seen>, Error> {
        let mut names = names.into_iter();
        let trips = std::iter::from_fn(|| {
            let names: Vec<_> = names.by_ref().take(TRIP).collect();
            (!names.is_empty()).then_some(names)
        });
        let look = |names| look::at_all(self.dir.as_file().clone(), names, self.tree.mapping);
        let seen = stream::iter(trips).map(look).buffered(PORTION / TRIP);
        seen.try_concat().await
    }

    async fn look_as_user(
        &self,
        names: Vec<(&str, FileType)>,
    ) -> Result<Vec<Option<DirEntry>>, Error> {
        let look = async |(name, file_type)| match self.look_at(name, file_type).await {
            Ok(Some(stat)) => Ok(Some(Stored::default().entry(name, &stat, self.tree.mapping))),
            Ok(None) => Ok(None),
            Err(error) if is_absence(&error) => Ok(None),
            Err(error) => Err(error),
        };
        stream::iter(names).map(look).buffered(AT_ONCE).try_collect().await
    }

    async fn look_at(&self, name: &str, file_type: FileType) -> Result<Option<Statx>, Error> {
        if name == ".." {
            return self.parent().await.map(Some);
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
