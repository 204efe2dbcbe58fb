//! From the names that a client uses to the names on disk, without regard to case.
//!
//! The exact name is tried first, so that the usual case costs one system call whatever the depth.
//! Only where it is missing is each directory on the way searched.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;

use ringway::fs::{Dir, File, FileType, Mode, OFlags, OpenHow, ResolveFlags, dir_entries};

use super::path::{is_presentable, unix};
use super::{Error, name};

/// How much of a directory is read at once.
pub(super) const BATCH: usize = 64 * 1024;

/// Nothing leaves the share, and nothing is reached through the links of /proc.
const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

/// How everything below a share's root is opened.
pub(super) fn beneath(flags: OFlags) -> OpenHow {
    OpenHow::new(flags).resolve(BENEATH)
}

/// A place in the tree where a name is or could be.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The directory.
    pub(super) parent: Dir,
    /// The directory's own path, as on disk.
    pub(super) parents: Vec<String>,
    /// The name as on disk if it exists there, or else as the client wrote it.
    pub(super) name: String,
    /// Whether it exists.
    pub(super) exists: bool,
}

/// Finds where `parents` and `last` lead.
///
/// # Errors
/// [`Error::PathNotFound`] if one of `parents` does not exist or is no directory.
pub(super) async fn place(root: &Dir, parents: &[String], last: &str) -> Result<Place, Error> {
    let (parent, parents) = directory(root, parents).await?;
    let found = find(&parent, last).await?;
    let exists = found.is_some();
    Ok(Place { parent, parents, name: found.unwrap_or_else(|| last.to_owned()), exists })
}

/// Opens a directory by the names that a client uses, and tells those on disk.
async fn directory(root: &Dir, components: &[String]) -> Result<(Dir, Vec<String>), Error> {
    if components.is_empty() {
        return Ok((root.clone(), Vec::new()));
    }
    match open_directory(root, components).await {
        Ok(dir) => return Ok((dir, components.to_vec())),
        Err(Error::NotFound) => {}
        Err(error) => return Err(of_parent(error)),
    }
    let mut path: Vec<String> = Vec::with_capacity(components.len());
    let mut at = root.clone();
    for component in components {
        let found = find(&at, component).await?.ok_or(Error::PathNotFound)?;
        path.push(found);
        at = open_directory(root, &path).await.map_err(of_parent)?;
    }
    Ok((at, path))
}

fn of_parent(error: Error) -> Error {
    match error {
        Error::NotFound | Error::NotADirectory => Error::PathNotFound,
        error => error,
    }
}

/// Opens a directory so that it can be listed, or at least gone through.
async fn open_directory(root: &Dir, components: &[String]) -> Result<Dir, Error> {
    let path = unix(components);
    let file = match root.open_at(&path, &beneath(OFlags::RDONLY | OFlags::DIRECTORY)).await {
        Err(error) if error.raw_os_error() == Some(libc::EACCES) => {
            root.open_at(&path, &beneath(OFlags::PATH | OFlags::DIRECTORY)).await
        }
        result => result,
    };
    Ok(Dir::from_file(file.map_err(Error::of_open)?).with_identity(root.identity()))
}

/// The name in `dir` that a client means by `wanted`: that very name, or else the first in order of
/// those that differ in case only.
async fn find(dir: &Dir, wanted: &str) -> Result<Option<String>, Error> {
    match dir.open_at(wanted, &beneath(OFlags::PATH | OFlags::NOFOLLOW)).await {
        Ok(_) => return Ok(Some(wanted.to_owned())),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
        Err(error) => return Err(Error::of_open(error)),
    }
    let mut best: Option<String> = None;
    let mut scan = Scan::new(dir);
    while scan.next_batch().await? {
        for entry in scan.entries() {
            if name::equal(entry.name, wanted) && best.as_deref().is_none_or(|best| entry.name < best) {
                best = Some(entry.name.to_owned());
            }
        }
    }
    Ok(best)
}

/// Reads a directory a batch at a time, on a descriptor of its own.
#[derive(Debug)]
pub(super) struct Scan {
    dir: Dir,
    file: Option<File>,
    batch: Vec<u8>,
    /// Names that a client could not be shown.
    pub(super) unpresentable: u64,
}

/// A name in a directory, presentable to clients.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a str,
    pub(super) file_type: FileType,
}

impl Scan {
    pub(super) fn new(dir: &Dir) -> Self {
        Self { dir: dir.clone(), file: None, batch: Vec::new(), unpresentable: 0 }
    }

    /// Reads on; `false` at the end.
    pub(super) async fn next_batch(&mut self) -> Result<bool, Error> {
        let file = match &self.file {
            Some(file) => file,
            None => {
                // The directory's own descriptor may be shared, and so would its position be.
                let how = beneath(OFlags::RDONLY | OFlags::DIRECTORY);
                let opened = match self.dir.open_at(".", &how).await {
                    // What may be gone through and not be listed has nothing to show.
                    Err(error) if error.raw_os_error() == Some(libc::EACCES) => return Ok(false),
                    result => result.map_err(Error::of_open)?,
                };
                self.file.insert(opened)
            }
        };
        let mut batch = std::mem::take(&mut self.batch);
        batch.clear();
        batch.reserve(BATCH);
        let (result, batch) = file.read_dir(batch).await;
        self.batch = batch;
        let read: io::Result<usize> = result;
        let read = read?;
        self.unpresentable += self.names().filter(|(name, _)| name.is_none()).count() as u64;
        Ok(read != 0)
    }

    /// The presentable names of the batch, without `.` and `..`.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.names().filter_map(|(name, file_type)| Some(Entry { name: name?, file_type }))
    }

    fn names(&self) -> impl Iterator<Item = (Option<&str>, FileType)> {
        let entries = dir_entries(&self.batch).filter(|entry| !matches!(entry.name.to_bytes(), b"." | b".."));
        entries.map(|entry| {
            let name = OsStr::from_bytes(entry.name.to_bytes()).to_str();
            (name.filter(|name| is_presentable(name)), entry.file_type)
        })
    }
}

/// The mode of a new file: everybody may read, its owner may write. The server's users come from
/// elsewhere, so the umask of whoever started it says nothing about them.
pub(super) const FILE_MODE: Mode = Mode::from_raw_mode(0o644);

/// The mode of a new directory.
pub(super) const DIRECTORY_MODE: u32 = 0o755;
