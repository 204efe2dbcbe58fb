//! From the names that a client uses to the names on disk, without regard to case, short names included.
//!
//! The exact name is tried first, so that the usual case costs one system call whatever the depth.
//! Only where it is missing is each directory on the way searched.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;

use std::sync::Arc;
use std::time::Instant;

use ringway::fs::{Dir, File, FileType, Mode, OFlags, OpenHow, ResolveFlags, dir_entries};

use super::abilities::Known;
use super::index::{Answer, Index, Version};
use super::metadata::MASK;
use super::path::{is_presentable, unix};
use super::store::Store;
use super::tunnel::Tunnel;
use super::{Error, Mapping, name, short_name};

/// How much of a directory is read at once.
pub(super) const BATCH: usize = 64 * 1024;

/// Nothing leaves the share, and nothing is reached through the links of /proc.
const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

/// How everything below a share's root is opened.
pub(super) fn beneath(flags: OFlags) -> OpenHow {
    OpenHow::new(flags).resolve(BENEATH)
}

/// A share's tree as one user sees it.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) root: Dir,
    pub(super) index: Arc<Index>,
    pub(super) tunnel: Arc<Tunnel>,
    pub(super) mapping: Mapping,
    pub(super) abilities: Arc<Known>,
    /// The place for what fits no extended attribute.
    pub(super) store: Store,
}

/// Names a share's tree among others, for as long as it is open.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TreeId(usize);

impl Tree {
    pub(super) fn id(&self) -> TreeId {
        TreeId(Arc::as_ptr(&self.index).addr())
    }
}

/// A place in the tree where a name is or could be.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The directory.
    pub(super) parent: Dir,
    /// The directory's own path, as on disk.
    pub(super) parents: Vec<String>,
    /// The name as on disk if it exists there, or else as it is to be.
    pub(super) name: String,
    /// Whether it exists.
    pub(super) exists: bool,
    /// Whether the client has written the name's short one.
    pub(super) by_short_name: bool,
    /// The directory as it was when it was looked into, if that was necessary.
    version: Option<Version>,
}

/// Finds where `parents` and `last` lead.
///
/// # Errors
/// [`Error::PathNotFound`] if one of `parents` does not exist or is no directory.
pub(super) async fn place(tree: &Tree, parents: &[String], last: &str) -> Result<Place, Error> {
    let (parent, parents) = directory(tree, parents).await?;
    let found = find(tree, &parent, last).await?;
    with_found(tree, (parent, parents), last, found).await
}

/// The same for a name that is to be new. What is known of the directory is asked before the kernel, which looks
/// for what it has not heard of on the disk. It may be wrong, as who makes something of that name finds.
pub(super) async fn free_place(
    tree: &Tree,
    parents: &[String],
    last: &str,
) -> Result<Place, Error> {
    let (parent, parents) = directory(tree, parents).await?;
    let version = Version::of(&parent.as_file().statx(MASK).await?);
    let client_name = tree.mapping.to_client(last);
    let found = match tree.index.look_up(version, &client_name, Instant::now()) {
        Answer::Absent => Found { name: None, version: Some(version) },
        Answer::Present(_) | Answer::Unknown => find(tree, &parent, last).await?,
    };
    with_found(tree, (parent, parents), last, found).await
}

async fn with_found(
    tree: &Tree,
    (parent, parents): (Dir, Vec<String>),
    last: &str,
    Found { name, version }: Found,
) -> Result<Place, Error> {
    let exists = name.is_some();
    let known = match name {
        Some(name) => Some(name),
        None => tunnelled(tree, &parent, last, version).await?,
    };
    let by_short_name = known.as_ref().is_some_and(|known| {
        let client_names = [last, known].map(|name| tree.mapping.to_client(name));
        !name::equal(&client_names[0], &client_names[1])
    });
    let name = known.unwrap_or_else(|| last.to_owned());
    Ok(Place { parent, parents, name, exists, by_short_name, version })
}

/// The long name that a new file gets with this short one.
async fn tunnelled(
    tree: &Tree,
    dir: &Dir,
    short: &str,
    version: Option<Version>,
) -> Result<Option<String>, Error> {
    let Some(version) = version.filter(|_| short_name::is_like_ours(short)) else {
        return Ok(None);
    };
    match tree.tunnel.look_up(version.key, short, Instant::now()) {
        Some(long) if !exists(dir, &long).await? => Ok(Some(long)),
        _ => Ok(None),
    }
}

impl Place {
    /// Of a name as it was found on disk, and which may be gone.
    pub(super) async fn of_known(
        tree: &Tree,
        parents: &[String],
        last: &str,
    ) -> Result<Self, Error> {
        let (parent, parents) = directory(tree, parents).await?;
        let (name, exists) = (last.to_owned(), true);
        Ok(Self { parent, parents, name, exists, by_short_name: false, version: None })
    }

    /// What has this name on disk, in a directory that was not looked for by a client's path.
    pub(super) fn new(parent: Dir, name: String) -> Self {
        let parents = Vec::new();
        Self { parent, parents, name, exists: true, by_short_name: false, version: None }
    }

    /// For something new in the same directory.
    pub(super) fn beside(&self, name: String) -> Self {
        Self { name, exists: false, version: None, ..self.clone() }
    }

    /// Notes that this name has been created here.
    pub(super) async fn note_created(&self, tree: &Tree) {
        if let (Some(before), Ok(stat)) = (self.version, self.parent.as_file().statx(MASK).await) {
            tree.index.add(before, Version::of(&stat), &self.name);
        }
    }
}

/// Opens a directory by the names that a client uses, and tells those on disk.
async fn directory(tree: &Tree, components: &[String]) -> Result<(Dir, Vec<String>), Error> {
    if components.is_empty() {
        return Ok((tree.root.clone(), Vec::new()));
    }
    match open_directory(&tree.root, components).await {
        Ok(dir) => return Ok((dir, components.to_vec())),
        Err(Error::NotFound) => {}
        Err(error) => return Err(of_parent(error)),
    }
    let mut path: Vec<String> = Vec::with_capacity(components.len());
    let mut at = tree.root.clone();
    for component in components {
        let found = find(tree, &at, component).await?.name.ok_or(Error::PathNotFound)?;
        path.push(found);
        at = open_directory(&tree.root, &path).await.map_err(|error| match error {
            // The name has just been found.
            Error::NotFound => Error::LeadsNowhere,
            error => of_parent(error),
        })?;
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

/// What a client's name leads to in a directory.
struct Found {
    /// The name on disk, if there is one.
    name: Option<String>,
    /// The directory as it was, if it had to be looked into.
    version: Option<Version>,
}

/// The name in `dir` that a client means by `wanted`: that very name, or else the first in order of
/// those that differ in case only, or else the one whose short name it is.
async fn find(tree: &Tree, dir: &Dir, wanted: &str) -> Result<Found, Error> {
    if exists(dir, wanted).await? {
        return Ok(Found { name: Some(wanted.to_owned()), version: None });
    }
    // What stands for a reserved character may stand on disk as well, and was not meant so there.
    let client_name = tree.mapping.to_client(wanted);
    if matches!(client_name, Cow::Owned(_)) && exists(dir, &client_name).await? {
        return Ok(Found { name: Some(client_name.into_owned()), version: None });
    }
    // The version before the names: what changes meanwhile makes the index out of date, not wrong.
    let version = Version::of(&dir.as_file().statx(MASK).await?);
    let mut answer = indexed(tree, dir, version, &client_name).await?;
    if answer == Answer::Unknown {
        let _alone = tree.index.making(version.key).await;
        answer = indexed(tree, dir, version, &client_name).await?;
        if answer == Answer::Unknown {
            // Who may not list the directory finds exact names only. That says nothing about others.
            let Some(names) = names_in(dir, tree.mapping).await? else {
                return Ok(Found { name: None, version: None });
            };
            let meant = meant(&names, &client_name, tree.mapping).cloned();
            tree.index.insert(version, names.into_iter(), Instant::now());
            answer = meant.map_or(Answer::Absent, Answer::Present);
        }
    }
    let name = match answer {
        Answer::Present(name) => Some(name),
        Answer::Absent | Answer::Unknown => None,
    };
    Ok(Found { name, version: Some(version) })
}

/// What the index says.
async fn indexed(
    tree: &Tree,
    dir: &Dir,
    version: Version,
    client_name: &str,
) -> Result<Answer, Error> {
    let answer = tree.index.look_up(version, client_name, Instant::now());
    match &answer {
        // Gone within one tick of the directory's clock.
        Answer::Present(found) if !exists(dir, found).await? => Ok(Answer::Unknown),
        _ => Ok(answer),
    }
}

/// Which of all the names in a directory a client means, other than an exact one.
fn meant<'a>(names: &'a [String], client_name: &str, mapping: Mapping) -> Option<&'a String> {
    let equal = |name: &&String| name::equal(&mapping.to_client(name), client_name);
    let first = names.iter().filter(equal).min();
    if first.is_some() || !short_name::is_like_ours(client_name) {
        return first;
    }
    let has_it = |name: &&String| {
        short_name::of(&mapping.to_client(name))
            .is_some_and(|short| short.eq_ignore_ascii_case(client_name))
    };
    let mut having_it = names.iter().filter(has_it);
    having_it.next().filter(|_| having_it.next().is_none())
}

/// Whether the name by which clients know `name` leads to it.
pub(super) async fn leads_back(tree: &Tree, dir: &Dir, name: &str) -> Result<bool, Error> {
    let client_name = tree.mapping.to_client(name);
    let found = find(tree, dir, &tree.mapping.to_disk(&client_name)).await?;
    Ok(found.name.is_some_and(|found| found == name))
}

/// The names in `dir`; `None` if this user may not list it.
async fn names_in(dir: &Dir, mapping: Mapping) -> Result<Option<Vec<String>>, Error> {
    let mut names = Vec::new();
    let mut scan = Scan::new(dir, mapping);
    while scan.next_batch().await? {
        names.extend(scan.entries().map(|entry| entry.name.to_owned()));
    }
    Ok(if scan.denied { None } else { Some(names) })
}

/// Whether a directory has a name, be it a link.
async fn exists(dir: &Dir, name: &str) -> Result<bool, Error> {
    match dir.open_at(name, &beneath(OFlags::PATH | OFlags::NOFOLLOW)).await {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENAMETOOLONG)) => {
            Ok(false)
        }
        Err(error) => Err(Error::of_open(error)),
    }
}

/// Whether a directory has no names but its own two.
///
/// # Errors
/// [`Error::AccessDenied`] to who may not list it.
pub(super) async fn is_empty(dir: &Dir) -> Result<bool, Error> {
    let mut scan = Scan::new(dir, Mapping::None);
    while scan.next_batch().await? {
        if scan.names().next().is_some() {
            return Ok(false);
        }
    }
    if scan.denied { Err(Error::AccessDenied) } else { Ok(true) }
}

/// Reads a directory a batch at a time, on a descriptor of its own.
#[derive(Debug)]
pub(super) struct Scan {
    dir: Dir,
    mapping: Mapping,
    file: Option<File>,
    batch: Vec<u8>,
    /// Names that a client could not be shown.
    pub(super) unpresentable: u64,
    /// The user may go through the directory and not list it; so there were no names.
    denied: bool,
}

/// A name in a directory, as on disk, presentable to clients.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a str,
    pub(super) file_type: FileType,
}

impl Scan {
    pub(super) fn new(dir: &Dir, mapping: Mapping) -> Self {
        Self {
            dir: dir.clone(),
            mapping,
            file: None,
            batch: Vec::new(),
            unpresentable: 0,
            denied: false,
        }
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
                    Err(error) if error.raw_os_error() == Some(libc::EACCES) => {
                        self.denied = true;
                        return Ok(false);
                    }
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
        if read == 0 {
            // A listing may be kept for long after its end.
            self.forget_batch();
            self.file = None;
        }
        self.unpresentable += self.names().filter(|(name, _)| name.is_none()).count() as u64;
        Ok(read != 0)
    }

    /// Gives the batch's memory back once its names have been taken.
    pub(super) fn forget_batch(&mut self) {
        self.batch = Vec::new();
    }

    /// The presentable names of the batch, without `.` and `..`.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.names().filter_map(|(name, file_type)| Some(Entry { name: name?, file_type }))
    }

    fn names(&self) -> impl Iterator<Item = (Option<&str>, FileType)> {
        let entries =
            dir_entries(&self.batch).filter(|entry| !matches!(entry.name.to_bytes(), b"." | b".."));
        entries.map(|entry| {
            let name = OsStr::from_bytes(entry.name.to_bytes()).to_str();
            (name.filter(|name| is_presentable(name, self.mapping)), entry.file_type)
        })
    }
}

/// The mode of a new file: everybody may read, its owner may write. The server's users come from
/// elsewhere, so the umask of whoever started it says nothing about them.
pub(super) const FILE_MODE: Mode = Mode::from_raw_mode(0o644);

/// The mode of a new directory.
pub(super) const DIRECTORY_MODE: u32 = 0o755;
