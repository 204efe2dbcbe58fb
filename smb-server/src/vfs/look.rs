//! What is known about many entries of a directory at once, in one trip to the blocking pool and as the process.
//!
//! Nobody needs more than to search a directory for knowing what is in it, so whoever asks has seen to that the user
//! may. No file is opened for it, so it disturbs nobody's lease.

use ringway::fs::{AtFlags, File, FileType, Statx};
use rustix::io::Errno;

use super::dos_info::DosInfo;
use super::listing::DirEntry;
use super::metadata::{FileKind, MASK, Metadata, kind};
use super::{Error, Mapping, ea, xattr};

/// What has come of a look at a name.
pub(super) enum Seen {
    /// A file or directory.
    Entry(DirEntry),
    /// This takes the user's own eyes: a link, which may lead where he may not go; what is above; or what the process
    /// may not look at, which need not be almighty on the file system of another machine.
    AsUser(String, FileType),
}

/// Looks at names of a directory, in their order. What has gone since its name was read, and what is neither file,
/// directory nor link, is left out.
///
/// # Errors
/// An entry cannot be looked at for another reason, or the pool cannot be had.
pub(super) async fn at_all(
    directory: File,
    names: Vec<(String, FileType)>,
    mapping: Mapping,
) -> Result<Vec<Seen>, Error> {
    let look = move || {
        let mut look = Look::new(&directory, mapping);
        let seen = names.into_iter().map(|(name, file_type)| look.at(name, file_type));
        seen.filter_map(Result::transpose).collect()
    };
    ringway::spawn_blocking(look).await.map_err(|_| Error::Busy)?
}

/// Looks at one entry after another. Blocks.
struct Look<'a> {
    directory: &'a File,
    mapping: Mapping,
    /// For lists of extended attributes.
    buffer: Vec<u8>,
}

impl<'a> Look<'a> {
    fn new(directory: &'a File, mapping: Mapping) -> Self {
        Self { directory, mapping, buffer: Vec::new() }
    }

    fn at(&mut self, name: String, file_type: FileType) -> Result<Option<Seen>, Error> {
        if name == ".." || file_type == FileType::Symlink {
            return Ok(Some(Seen::AsUser(name, file_type)));
        }
        match rustix::fs::statx(self.directory, &name, AtFlags::SYMLINK_NOFOLLOW, MASK) {
            Ok(stat) => Ok(match kind(&stat) {
                FileKind::Symlink => Some(Seen::AsUser(name, FileType::Symlink)),
                FileKind::Other => None,
                FileKind::Regular | FileKind::Directory => {
                    let stored = self.stored(&name);
                    Some(Seen::Entry(stored.entry(&name, &stat, self.mapping)))
                }
            }),
            Err(Errno::ACCESS | Errno::PERM) => Ok(Some(Seen::AsUser(name, file_type))),
            Err(error) => match Error::from(std::io::Error::from(error)) {
                error if is_absence(&error) => Ok(None),
                error => Err(error),
            },
        }
    }

    /// Most files have no extended attribute, and are asked for nothing but that. It tells no more than that a file
    /// is hidden, when it was made, and how long its EAs are.
    fn stored(&mut self, name: &str) -> Stored {
        let names = xattr::names_at(self.directory, name, &mut self.buffer);
        if names.is_empty() {
            return Stored::default();
        }
        let path = format!("{}/{name}", xattr::path(self.directory));
        let has_info = names.split(|byte| *byte == 0).any(DosInfo::is_stored_in);
        let info = if has_info { DosInfo::stored_at(&path) } else { None };
        Stored { info, ea_size: ea::size_at(&path, names) }
    }
}

/// What extended attributes say of an entry.
#[derive(Default)]
pub(super) struct Stored {
    info: Option<DosInfo>,
    ea_size: u32,
}

impl Stored {
    /// All that is known about a name on disk.
    pub(super) fn entry(self, name: &str, stat: &Statx, mapping: Mapping) -> DirEntry {
        let info = self.info.unwrap_or_else(|| DosInfo::default_for(stat, name));
        let metadata = Metadata::new(stat, info.with_stat(stat));
        let name = mapping.to_client(name).into_owned();
        DirEntry { name, metadata, ea_size: self.ea_size }
    }
}

/// Whether an entry that cannot be looked at is none. Anything else fails the listing: who mirrors a
/// folder takes a name that is not listed for one that was deleted.
pub(super) fn is_absence(error: &Error) -> bool {
    matches!(
        error,
        Error::NotFound
            | Error::NotADirectory
            | Error::TooManyLinks
            | Error::Escapes
            | Error::AccessDenied
    )
}
