//! The entries of a directory, with what is known about each.

use std::collections::VecDeque;

use ringway::fs::{AtFlags, Dir, File, FileType, OFlags, Statx};

use super::metadata::{FileKind, MASK, Metadata, kind};
use super::resolve::{Scan, beneath};
use super::{Attributes, Error, SharePath};

/// An entry of a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirEntry {
    /// Its name.
    pub name: String,
    /// What is known about it.
    pub metadata: Metadata,
}

/// Reads a directory from front to back: `.` and `..` first, then what is in it.
#[derive(Debug)]
pub struct DirStream {
    root: Dir,
    dir: Dir,
    path: SharePath,
    scan: Scan,
    /// Names that have been read and not been given.
    names: VecDeque<(String, FileType)>,
    ended: bool,
}

impl DirStream {
    pub(super) fn new(root: &Dir, directory: &File, path: SharePath) -> Self {
        let dir = Dir::from_file(directory.clone()).with_identity(root.identity());
        let dots = [".", ".."].map(|name| (name.to_owned(), FileType::Directory));
        Self {
            root: root.clone(),
            scan: Scan::new(&dir),
            dir,
            path,
            names: VecDeque::from(dots),
            ended: false,
        }
    }

    /// How many names were left out because no client could be shown them: they are not UTF-8, or
    /// have characters that SMB reserves.
    #[must_use]
    pub fn unpresentable(&self) -> u64 {
        self.scan.unpresentable
    }

    /// The next entry whose name is `wanted`; what is not is not looked at. An entry that has gone
    /// since its name was read, or is a link that leads nowhere or out of the share, or is neither
    /// file nor directory, is left out.
    ///
    /// # Errors
    /// The directory cannot be read on.
    pub async fn next_matching(&mut self, wanted: impl Fn(&str) -> bool) -> Result<Option<DirEntry>, Error> {
        loop {
            while let Some((name, file_type)) = self.names.pop_front() {
                if !wanted(&name) {
                    continue;
                }
                if let Some(metadata) = self.look_at(&name, file_type).await {
                    return Ok(Some(DirEntry { name, metadata }));
                }
            }
            if self.ended {
                return Ok(None);
            }
            self.ended = !self.scan.next_batch().await?;
            let entries = self.scan.entries().map(|entry| (entry.name.to_owned(), entry.file_type));
            self.names.extend(entries);
        }
    }

    async fn look_at(&self, name: &str, file_type: FileType) -> Option<Metadata> {
        if name == ".." {
            return self.parent().await;
        }
        if file_type == FileType::Symlink {
            return self.look_through_link(name).await;
        }
        let stat = self.dir.statx_at(name, AtFlags::SYMLINK_NOFOLLOW, MASK).await.ok()?;
        match kind(&stat) {
            FileKind::Symlink => self.look_through_link(name).await,
            FileKind::Other => None,
            _ => Some(Metadata::new(&stat, self.attributes(name, &stat).await)),
        }
    }

    /// The directory's own directory; the root is its own, since nothing above it is shown.
    async fn parent(&self) -> Option<Metadata> {
        let stat = match self.path.components().len() {
            0 | 1 => self.root.as_file().statx(MASK).await,
            _ => self.dir.statx_at("..", AtFlags::empty(), MASK).await,
        };
        let stat = stat.ok()?;
        Some(Metadata::new(&stat, Attributes::default_for(&stat, "..")))
    }

    /// What a link leads to, if that lies in the share.
    async fn look_through_link(&self, name: &str) -> Option<Metadata> {
        let path = self.path.to_unix().join(name);
        let file = self.root.open_at(path, &beneath(OFlags::PATH)).await.ok()?;
        let stat = file.statx(MASK).await.ok()?;
        let served = matches!(kind(&stat), FileKind::Regular | FileKind::Directory);
        served.then(|| Metadata::new(&stat, Attributes::default_for(&stat, name).with_mode(&stat)))
    }

    /// Reading an extended attribute takes a descriptor. Who may not open the file sees it with
    /// those attributes that it has without.
    async fn attributes(&self, name: &str, stat: &Statx) -> Attributes {
        let how = beneath(OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK);
        match self.dir.open_at(name, &how).await {
            Ok(file) => Attributes::read(&file, stat, name).await,
            Err(_) => Attributes::default_for(stat, name).with_mode(stat),
        }
    }
}
