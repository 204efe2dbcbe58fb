//! One share's tree: opening and creating in it.

use std::io;
use std::path::Path;
use std::sync::{Arc, Weak};

use ringway::Identity;
use ringway::fs::{Dir, File, Mode, OFlags, RenameFlags, ResolveFlags, Statx, StatxAttributes};

use super::abilities::{Abilities, Known};
use super::blocks::set_compressed;
use super::dos_info::DosInfo;
use super::handle::{Handle, What};
use super::index::Index;
use super::link::unseen_name;
use super::metadata::{FileKey, FileKind, MASK, Metadata, kind};
use super::path::NamedKind;
use super::resolve::{DIRECTORY_MODE, FILE_MODE, Place, Tree, TreeId, beneath, free_place, place};
use super::store::Store;
use super::tunnel::Tunnel;
use super::unleased::unleased;
use super::{Attributes, Ea, Error, Mapping, PosixAcl, SharePath, ea, nt_acl, posix_acl, symlink};

/// How often an open starts over because somebody made or removed the file meanwhile. One race is
/// likely, a few are possible, this many are an attack.
const RACES_MAX: usize = 16;

/// A share's tree.
#[derive(Clone, Debug)]
pub struct Volume {
    pub(super) tree: Tree,
}

/// What all who have a folder open have in common.
#[derive(Debug)]
pub(super) struct WeakTree(Weak<Index>, Weak<Tunnel>, Weak<Known>);

impl WeakTree {
    /// Whether anybody has.
    pub(super) fn is_open(&self) -> bool {
        self.0.strong_count() != 0
    }
}

/// How to open. MS-FSA 2.1.5.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Open {
    /// Contents are to be read.
    pub read: bool,
    /// Contents are to be written.
    pub write: bool,
    /// What it has to be.
    pub kind: Kind,
    /// What to do if it exists and if it does not.
    pub disposition: Disposition,
    /// A symbolic link is opened itself, not what it leads to.
    pub open_link: bool,
    /// Of a file that this creates.
    pub attributes: Attributes,
    /// Bytes to reserve for a file that this creates; a hint.
    pub allocation_size: u64,
    /// A file that this creates is not compressed, even if its directory's are.
    pub uncompressed: bool,
}

/// Decides about what is to be made, by the security descriptors that are kept with files; and gives it what
/// its maker wants with it.
pub trait Guard {
    /// The security of a new file or directory, in a directory with this descriptor; each may be none.
    ///
    /// # Errors
    /// [`Error::AccessDenied`] if it is not to be made.
    fn admit(
        &self,
        directory: Option<&[u8]>,
        is_directory: bool,
    ) -> Result<Option<Security>, Error>;

    /// Something in a directory with this descriptor is to make room for what gets its name.
    ///
    /// # Errors
    /// [`Error::AccessDenied`] if it is to stay.
    fn replace(&self, directory: Option<&[u8]>, replaced: &Replaced) -> Result<(), Error>;

    /// The EAs that a new file or directory is to have.
    fn eas(&self) -> &[Ea] {
        &[]
    }
}

/// What decides about a file: the descriptor, and, for the kernel, what of it unix can say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Security {
    /// As it is kept.
    pub descriptor: Vec<u8>,
    /// For the file itself; `None` where the kernel takes everybody for one user.
    pub acl: Option<PosixAcl>,
    /// For what is made in it.
    pub default_acl: Option<PosixAcl>,
}

impl Security {
    pub(super) async fn store(&self, file: &File, tree: &Tree) -> Result<(), Error> {
        // First what takes away.
        nt_acl::store(file, tree, &self.descriptor).await?;
        match &self.acl {
            Some(acl) => posix_acl::store(file, acl, self.default_acl.as_ref()).await,
            None => Ok(()),
        }
    }
}

/// What is to make room for another file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replaced {
    /// Its own security descriptor, if one is kept.
    pub descriptor: Option<Vec<u8>>,
    /// Its unix owner.
    pub uid: u32,
    /// Its unix group.
    pub gid: u32,
}

/// Everything may be made, and gets none; and everything may be replaced.
impl Guard for () {
    fn admit(&self, _: Option<&[u8]>, _: bool) -> Result<Option<Security>, Error> {
        Ok(None)
    }

    fn replace(&self, _: Option<&[u8]>, _: &Replaced) -> Result<(), Error> {
        Ok(())
    }
}

/// What an open accepts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Whatever is there; what is created is a file.
    Any,
    /// A regular file.
    File,
    /// A directory.
    Directory,
}

/// What an open does. Contents are never lost here: who overwrites opens first, and empties the
/// file when nobody's share mode forbids it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Disposition {
    /// It must exist.
    Open,
    /// It must not exist.
    Create,
    /// Either.
    OpenIf,
}

/// What an open did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// It was there.
    Opened,
    /// It is new.
    Created,
}

/// An open that succeeded.
#[derive(Debug)]
pub struct Opened {
    /// The file.
    pub handle: Arc<Handle>,
    /// Where it came from.
    pub action: Action,
    /// It is a stream, and its file has come into being with it.
    pub with_file: bool,
    /// What the file system has said of it, if nothing has been done to it since.
    stat: Option<Statx>,
}

impl Opened {
    /// What is known about it, as of its opening.
    ///
    /// # Errors
    /// Those of `statx`.
    pub async fn metadata(&self) -> Result<Metadata, Error> {
        match &self.stat {
            Some(stat) => self.handle.metadata_by(stat).await,
            None => self.handle.metadata().await,
        }
    }
}

/// Room on a file system, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SpaceInfo {
    /// All of it.
    pub total_bytes: u64,
    /// What nobody uses.
    pub free_bytes: u64,
    /// What an ordinary user can get of it.
    pub available_bytes: u64,
    /// The unit of allocation.
    pub block_size: u64,
}

impl SpaceInfo {
    /// That of the file system that holds a file.
    pub(super) async fn of(file: &File) -> io::Result<Self> {
        let stat = file.statfs().await?;
        let unit = u64::try_from(stat.f_frsize).ok().filter(|unit| *unit != 0);
        let block_size = unit.or_else(|| u64::try_from(stat.f_bsize).ok()).unwrap_or(4096);
        Ok(Self {
            total_bytes: stat.f_blocks.saturating_mul(block_size),
            free_bytes: stat.f_bfree.saturating_mul(block_size),
            available_bytes: stat.f_bavail.saturating_mul(block_size),
            block_size,
        })
    }
}

impl Open {
    /// What is there, to read its contents.
    pub const TO_READ: Self = Self {
        read: true,
        write: false,
        kind: Kind::Any,
        disposition: Disposition::Open,
        open_link: false,
        attributes: Attributes::empty(),
        allocation_size: 0,
        uncompressed: false,
    };

    /// Applies what the name says about the kind. MS-FSA 2.1.5.1: one that ends with a separator is a
    /// directory's, one that ends with the type of data a file's.
    fn for_name(mut self, path: &SharePath) -> Result<Self, Error> {
        self.kind = match (path.named_kind(), self.kind) {
            (NamedKind::Any, kind) => kind,
            (NamedKind::Directory, Kind::File) => return Err(Error::NameInvalid),
            (NamedKind::Directory, _) => Kind::Directory,
            (NamedKind::Data, Kind::Directory) => return Err(Error::NotADirectory),
            (NamedKind::Data, _) => Kind::File,
        };
        Ok(self)
    }

    /// How to open what has the stream that is to be opened so: it comes into being with it, and is written
    /// with it.
    fn of_base(self) -> Self {
        let disposition = match self.disposition {
            Disposition::Open => Disposition::Open,
            Disposition::Create | Disposition::OpenIf => Disposition::OpenIf,
        };
        Self { kind: Kind::Any, disposition, allocation_size: 0, ..self }
    }
}

impl Volume {
    /// Opens a share's folder. Blocks; for the start.
    ///
    /// # Errors
    /// Those of `open`.
    pub fn open_root(path: &Path, mapping: Mapping) -> io::Result<Self> {
        Ok(Self::of_root(Dir::open_ambient(path)?, mapping))
    }

    fn of_root(root: Dir, mapping: Mapping) -> Self {
        let (index, tunnel, abilities) =
            (Arc::new(Index::new(mapping)), Arc::default(), Arc::default());
        let store = Store::new(&root);
        Self { tree: Tree { root, index, tunnel, mapping, abilities, store } }
    }

    /// Says which volumes there are, where a file may come from with something of it in their stores. Once, at the
    /// start.
    pub fn know_others<'a>(&self, others: impl Iterator<Item = &'a Self>) {
        let others = others.filter(|other| other.tree_id() != self.tree_id());
        self.tree.store.know_others(others.map(|other| &other.tree.store));
    }

    /// To be found again by who opens the same folder, for as long as anybody has it open.
    pub(super) fn weak_tree(&self) -> WeakTree {
        let Tree { index, tunnel, abilities, .. } = &self.tree;
        WeakTree(Arc::downgrade(index), Arc::downgrade(tunnel), Arc::downgrade(abilities))
    }

    /// The same folder, as one tree with who has it open.
    pub(super) fn in_tree(&self, WeakTree(index, tunnel, abilities): &WeakTree) -> Option<Self> {
        let (index, tunnel) = (index.upgrade()?, tunnel.upgrade()?);
        let abilities = abilities.upgrade()?;
        Some(Self { tree: Tree { index, tunnel, abilities, ..self.tree.clone() } })
    }

    /// Which tree it is.
    #[must_use]
    pub fn tree_id(&self) -> TreeId {
        self.tree.id()
    }

    /// The share's own folder.
    #[must_use]
    pub fn root(&self) -> &File {
        self.tree.root.as_file()
    }

    /// Opens a folder in another as one that is shared, which no link may lead to. Blocks.
    ///
    /// # Errors
    /// Those of `open`.
    pub(super) fn open_below(root: &Path, below: &Path, mapping: Mapping) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let (no_links, mode) = (ResolveFlags::NO_SYMLINKS, Mode::empty());
        let mut folder = rustix::fs::openat2(rustix::fs::CWD, root, flags, mode, no_links)?;
        if !below.as_os_str().is_empty() {
            let beneath = no_links | ResolveFlags::BENEATH;
            folder = rustix::fs::openat2(&folder, below, flags, mode, beneath)?;
        }
        Ok(Self::of_root(Dir::from_file(File::from(folder)), mapping))
    }

    /// Room on the file system that holds the root.
    ///
    /// # Errors
    /// Those of `fstatfs`.
    pub async fn statfs(&self) -> Result<SpaceInfo, Error> {
        Ok(SpaceInfo::of(self.tree.root.as_file()).await?)
    }

    /// Whether files can have EAs.
    pub async fn has_eas(&self) -> bool {
        ea::are_supported(self.tree.root.as_file()).await
    }

    /// What the file system can do that holds the root.
    pub async fn abilities(&self) -> Abilities {
        self.tree.abilities.of(&self.tree.root).await
    }

    /// The tree as `who` sees it.
    pub(super) fn tree_for(&self, who: Option<&Identity>) -> Tree {
        Tree { root: self.tree.root.with_identity(who.cloned()), ..self.tree.clone() }
    }

    /// Which files a path means: none if it does not exist, two if it is that of a link that leads to a
    /// file.
    ///
    /// # Errors
    /// [`Error::PathNotFound`] if the folder it would be in does not exist.
    pub async fn look_up(
        &self,
        who: Option<&Identity>,
        path: &SharePath,
    ) -> Result<Vec<FileKey>, Error> {
        let tree = self.tree_for(who);
        let Some((parents, last)) = path.split_last() else {
            return Ok(vec![FileKey::of(&tree.root.as_file().statx(MASK).await?)]);
        };
        let place = place(&tree, parents, last).await?;
        if !place.exists {
            return Ok(Vec::new());
        }
        let stat = open_place(&tree.root, &place, OFlags::NOFOLLOW).await?.statx(MASK).await?;
        let mut found = vec![FileKey::of(&stat)];
        if kind(&stat) == FileKind::Symlink
            && let Ok(file) = open_place(&tree.root, &place, OFlags::empty()).await
        {
            found.push(FileKey::of(&file.statx(MASK).await?));
        }
        Ok(found)
    }

    /// Opens or creates as `who`.
    ///
    /// # Errors
    /// [`Error`], with nothing opened and nothing created. [`Error::Busy`] if others make and remove
    /// the file as fast as we look.
    pub async fn open(
        &self,
        who: Option<&Identity>,
        path: &SharePath,
        how: &Open,
        guard: &dyn Guard,
    ) -> Result<Opened, Error> {
        if let Some(stream) = path.stream() {
            return self.open_stream(who, path, stream, how, guard).await;
        }
        let tree = self.tree_for(who);
        let how = &how.for_name(path)?;
        let Some((parents, last)) = path.split_last() else {
            return self.open_itself(tree, how).await;
        };
        if how.disposition != Disposition::Create
            && let Some(file) = open_exact(&tree.root, path, how).await?
        {
            return opened(tree, path.clone(), file, how, false).await;
        }
        for attempt in 0..RACES_MAX {
            let place = match (how.disposition, attempt) {
                (Disposition::Create, 0) => free_place(&tree, parents, last).await?,
                _ => place(&tree, parents, last).await?,
            };
            let result = match (place.exists, how.disposition) {
                (true, Disposition::Create) => return Err(Error::Exists),
                (true, Disposition::Open) => return open_found(&tree, &place, how).await,
                (true, Disposition::OpenIf) => open_found(&tree, &place, how).await,
                (false, Disposition::Open) => return Err(Error::NotFound),
                (false, _) => create(&tree, &place, how, guard).await,
            };
            match result {
                // Somebody else made it, or removed it, since we looked.
                Err(Error::Exists | Error::NotFound) => {}
                result => return result,
            }
        }
        Err(Error::Busy)
    }

    async fn open_stream(
        &self,
        who: Option<&Identity>,
        path: &SharePath,
        stream: &str,
        how: &Open,
        guard: &dyn Guard,
    ) -> Result<Opened, Error> {
        if how.kind == Kind::Directory {
            return Err(Error::NotADirectory);
        }
        let (base, of_base) = (path.without_stream(), how.of_base());
        // It has no stream, so this goes no deeper.
        let base = Box::pin(self.open(who, &base, &of_base, guard)).await?;
        let with_file = base.action == Action::Created;
        let (handle, created) = base.handle.open_stream(stream, how.disposition).await?;
        let action = if created { Action::Created } else { Action::Opened };
        let stat = base.stat.filter(|_| !created);
        Ok(Opened { handle: Arc::new(handle), action, with_file, stat })
    }

    async fn open_itself(&self, tree: Tree, how: &Open) -> Result<Opened, Error> {
        match (how.disposition, how.kind) {
            (Disposition::Create, _) => return Err(Error::Exists),
            (_, Kind::File) => return Err(Error::IsDirectory),
            _ => {}
        }
        // Opened anew, so that permission to list it is checked for this user.
        let file = open_any(&tree.root, Path::new("."), how).await?;
        opened(tree, SharePath::default(), file, how, false).await
    }
}

// ---- what is there

/// Opens a path just as the client wrote it; `None` if there is no such thing.
async fn open_exact(root: &Dir, path: &SharePath, how: &Open) -> Result<Option<File>, Error> {
    match open_any(root, &path.to_unix(), how).await {
        Ok(file) => Ok(Some(file)),
        // A component may exist in another case, or be a file: the slow way tells.
        Err(Error::NotFound | Error::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn open_found(tree: &Tree, place: &Place, how: &Open) -> Result<Opened, Error> {
    let path = place_path(place);
    let unix = path.to_unix();
    let file = match open_any(&tree.root, &unix, how).await {
        // Of what was found just now.
        Err(error @ (Error::NotFound | Error::NotADirectory)) => {
            let lost = matches!(error, Error::NotFound) || how.kind != Kind::Directory;
            let is_link = lost && symlink::open(&tree.root, &unix).await.is_ok();
            return Err(if is_link { Error::LeadsNowhere } else { error });
        }
        result => result?,
    };
    opened(tree.clone(), path, file, how, place.by_short_name).await
}

async fn open_place(root: &Dir, place: &Place, flags: OFlags) -> Result<File, Error> {
    let how = beneath(OFlags::PATH | flags);
    root.open_at(place_path(place).to_unix(), &how).await.map_err(Error::of_open)
}

pub(super) fn place_path(place: &Place) -> SharePath {
    let mut components = place.parents.clone();
    components.push(place.name.clone());
    SharePath::from_components(components)
}

/// Opens what exists.
async fn open_any(root: &Dir, path: &Path, how: &Open) -> Result<File, Error> {
    match open_followed(root, path, how).await {
        // What the kernel says of a link that it is not to follow.
        Err(error @ (Error::TooManyLinks | Error::NotADirectory)) if how.open_link => {
            symlink::open(root, path).await.map_err(|_| error)
        }
        result => result,
    }
}

/// Opens an existing file or directory. `O_NONBLOCK` keeps a FIFO, or somebody's lease on the file,
/// from making a thread wait; `O_NOCTTY` keeps a terminal from becoming ours.
async fn open_followed(root: &Dir, path: &Path, how: &Open) -> Result<File, Error> {
    let mode = match (how.read, how.write) {
        (_, false) => OFlags::RDONLY,
        (false, true) => OFlags::WRONLY,
        (true, true) => OFlags::RDWR,
    };
    let mut flags = OFlags::empty();
    flags.set(OFlags::DIRECTORY, how.kind == Kind::Directory);
    flags.set(OFlags::NOFOLLOW, how.open_link);
    let open =
        async |more| unleased(root, path, &beneath(flags | more)).await.map_err(Error::of_open);
    match open(mode | OFlags::NONBLOCK | OFlags::NOCTTY).await {
        Ok(file) => {
            // It has done its work. Left on, a ring of Linux before 5.11 answers EAGAIN where a read of
            // a file has to wait for the disk. Of those that can be changed it is the only one set.
            rustix::fs::fcntl_setfl(&file, OFlags::empty()).map_err(io::Error::from)?;
            Ok(file)
        }
        // A directory's "contents" are written by creating in it, which needs no open for writing.
        Err(Error::IsDirectory) if how.kind != Kind::File => {
            open(OFlags::RDONLY | OFlags::DIRECTORY).await
        }
        // Who does not want the contents can do with less than permission to read them.
        Err(Error::AccessDenied) if !how.read && !how.write => open(OFlags::PATH).await,
        // A FIFO without a reader: no file for us, as it would be with one.
        Err(Error::Io(error)) if error.raw_os_error() == Some(libc::ENXIO) => {
            Err(Error::AccessDenied)
        }
        result => result,
    }
}

/// Makes sure that it is what was asked for.
async fn opened(
    tree: Tree,
    path: SharePath,
    file: File,
    how: &Open,
    by_short_name: bool,
) -> Result<Opened, Error> {
    let stat = file.statx(MASK).await?;
    let what = what(&tree.root, &path, &stat).await?;
    match (what, how.kind) {
        (What::Directory | What::Link { to_directory: true }, Kind::File) => {
            return Err(Error::IsDirectory);
        }
        (What::File | What::Link { to_directory: false }, Kind::Directory) => {
            return Err(Error::NotADirectory);
        }
        _ => {}
    }
    let handle = Arc::new(Handle::new(tree, path, file, &stat, what, by_short_name));
    Ok(Opened { handle, action: Action::Opened, with_file: false, stat: Some(stat) })
}

/// What it is that has been opened by this path.
pub(super) async fn what(root: &Dir, path: &SharePath, stat: &Statx) -> Result<What, Error> {
    match kind(stat) {
        FileKind::Regular => Ok(What::File),
        FileKind::Directory => Ok(What::Directory),
        FileKind::Symlink => {
            Ok(What::Link { to_directory: symlink::leads_to_directory(root, path).await })
        }
        // FIFOs, sockets and devices are not files to share.
        FileKind::Other => Err(Error::AccessDenied),
    }
}

// ---- what is new

/// Creates what `place` lacks. [`Error::Exists`] if somebody else was faster.
async fn create(
    tree: &Tree,
    place: &Place,
    how: &Open,
    guard: &dyn Guard,
) -> Result<Opened, Error> {
    let directory = nt_acl::load(place.parent.as_file(), tree).await?;
    let security = guard.admit(directory.as_deref(), how.kind == Kind::Directory)?;
    if security.is_some() {
        // Nobody gets at it before it is guarded.
        let unseen = place.beside(unseen_name()?);
        let new = make(tree, place, &unseen, how, (security.clone(), guard.eas())).await?;
        match unseen.show(&place.name).await {
            Ok(()) => return Ok(created(tree, place, new).await),
            Err(error) => {
                unseen.remove(how).await;
                // Not every file system can rename without replacing.
                if error.raw_os_error() != Some(libc::EINVAL) {
                    return Err(error.into());
                }
            }
        }
    }
    let new = make(tree, place, place, how, (security, guard.eas())).await?;
    Ok(created(tree, place, new).await)
}

async fn created(tree: &Tree, place: &Place, handle: Handle) -> Opened {
    place.note_created(tree).await;
    let (handle, action) = (Arc::new(handle), Action::Created);
    Opened { handle, action, with_file: false, stat: None }
}

/// Makes what is to be at `place`, at first under the name of `at`: whole, or not at all.
async fn make(
    tree: &Tree,
    place: &Place,
    at: &Place,
    how: &Open,
    with: (Option<Security>, &[Ea]),
) -> Result<Handle, Error> {
    let file = match how.kind {
        Kind::Directory => create_directory(at).await?,
        Kind::Any | Kind::File => create_file(at, how).await?,
    };
    let new = finish_new(tree, place, file, how, with).await;
    if new.is_err() {
        // What cannot be had as asked for shall not stay behind. If it does, the first error still is the
        // one to tell.
        at.remove(how).await;
    }
    new
}

impl Place {
    /// Gives what is here, and only just made, its name; another's is not taken.
    async fn show(&self, name: &str) -> io::Result<()> {
        self.parent.rename_at(&self.name, &self.parent, name, RenameFlags::NOREPLACE).await
    }

    /// Takes away what was only just made here.
    async fn remove(&self, how: &Open) {
        let _ = self.parent.unlink_at(&self.name, how.kind == Kind::Directory).await;
    }
}

/// Gives a new file the security, the EAs, the attributes and the room that were asked for.
async fn finish_new(
    tree: &Tree,
    place: &Place,
    file: File,
    how: &Open,
    (security, eas): (Option<Security>, &[Ea]),
) -> Result<Handle, Error> {
    if let Some(security) = security {
        security.store(&file, tree).await?;
    }
    if !eas.is_empty() {
        ea::change(&file, eas).await?;
    }
    let stat = file.statx(MASK).await?;
    let wanted = how.attributes | Attributes::default_for(&stat, "");
    if wanted != Attributes::default_for(&stat, &place.name) {
        DosInfo { attributes: wanted, created: None, changed: None, reparse_tag: None }
            .write(&file, &stat)
            .await?;
    }
    if how.uncompressed && stat.stx_attributes.contains(StatxAttributes::COMPRESSED) {
        set_compressed(&file, false).await?;
    }
    let what = if kind(&stat) == FileKind::Directory { What::Directory } else { What::File };
    let handle = Handle::new(tree.clone(), place_path(place), file, &stat, what, false);
    if how.allocation_size != 0 && !handle.is_directory() {
        handle.allocate(how.allocation_size).await?;
    }
    Ok(handle)
}

pub(super) async fn create_directory(place: &Place) -> Result<File, Error> {
    place.parent.mkdir_at(&place.name, DIRECTORY_MODE).await?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    place.parent.open_at(&place.name, &beneath(flags)).await.map_err(Error::of_open)
}

async fn create_file(place: &Place, how: &Open) -> Result<File, Error> {
    // Opened for both: who creates a file may have to give it attributes and room.
    let mode = if how.read || !how.write { OFlags::RDWR } else { OFlags::WRONLY };
    let flags = mode | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    place.parent.open_at(&place.name, &beneath(flags).mode(FILE_MODE)).await.map_err(Error::of_open)
}
