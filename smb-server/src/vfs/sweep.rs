//! Removes from the [stores](super::store) of folders what no file in these folders refers to: what is left where files
//! were deleted, or given other contents, without SMB. A program by itself, beside the server; all of it blocks.

use std::collections::HashSet;
use std::fs::{self, DirEntry, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::io::Errno;

use super::nt_acl::{self, Hash};
use super::store::{NAME, Section, is_ours};
use super::streams::{self, Id};
use super::xattr;

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Swept {
    /// What was removed, or would be, and how many bytes each took.
    pub removed: Vec<(PathBuf, u64)>,
    /// How many others there are.
    pub kept: usize,
}

/// Why nothing was removed, or no more.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// What is in use is not known as long as this is not.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file or folder.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A store that this user does not use.
    #[error("{path} belongs to another user, or lets others in: sweep as who runs the server")]
    Another {
        /// The store.
        path: String,
    },
    /// It stays.
    #[error("cannot remove {path}: {source}")]
    Remove {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// What files refer to, each by its section and name.
type InUse = HashSet<(Section, String)>;

/// Removes what is unused and has not changed for a while, so that nothing goes that is just being made.
///
/// # Errors
/// [`SweepError`]; nothing that is in use has been removed.
pub fn sweep(folders: &[PathBuf], unchanged: Duration, dry_run: bool) -> Result<Swept, SweepError> {
    let folders = &canonical(folders)?;
    let (mut swept, mut unused) = (Swept::default(), Vec::new());
    for folder in folders {
        for stored in stored_in(folder)? {
            if stored.is_old(unchanged) { unused.push(stored) } else { swept.kept += 1 }
        }
    }
    // Twice: what is moved from a folder not yet looked into to one that was is missed once.
    for _ in 0..2 {
        if unused.is_empty() {
            break;
        }
        let in_use = in_use(folders)?;
        let before = unused.len();
        unused.retain(|stored| !in_use.contains(&stored.is));
        swept.kept += before - unused.len();
    }
    for stored in unused {
        // It may have come into use again meanwhile.
        match stored.again() {
            Some(now) if now.is_old(unchanged) => {}
            _ => continue,
        }
        if !dry_run {
            fs::remove_file(&stored.path).map_err(|source| SweepError::Remove {
                path: stored.path.display().to_string(),
                source,
            })?;
        }
        swept.removed.push((stored.path, stored.metadata.blocks() * 512));
    }
    Ok(swept)
}

/// Each once, and there.
fn canonical(folders: &[PathBuf]) -> Result<Vec<PathBuf>, SweepError> {
    let canonical = |folder: &PathBuf| folder.canonicalize().map_err(unreadable(folder));
    let mut folders = folders.iter().map(canonical).collect::<Result<Vec<_>, _>>()?;
    folders.sort();
    folders.dedup();
    Ok(folders)
}

// ---- what there is

struct Stored {
    is: (Section, String),
    path: PathBuf,
    metadata: Metadata,
}

impl Stored {
    /// By the time that nobody can set, so that what was restored with its times counts as new.
    fn is_old(&self, unchanged: Duration) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let changed = u64::try_from(self.metadata.ctime()).unwrap_or_default();
        now.as_secs() >= changed.saturating_add(unchanged.as_secs())
    }

    fn again(&self) -> Option<Self> {
        let metadata = self.path.symlink_metadata().ok()?;
        Some(Self { is: self.is.clone(), path: self.path.clone(), metadata })
    }
}

fn stored_in(folder: &Path) -> Result<Vec<Stored>, SweepError> {
    let (store, mut found) = (folder.join(NAME), Vec::new());
    let metadata = match store.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        result => result.map_err(unreadable(&store))?,
    };
    if !metadata.is_dir() || !is_ours(metadata.uid(), metadata.mode()) {
        return Err(SweepError::Another { path: store.display().to_string() });
    }
    for section in Section::ALL {
        let section_path = store.join(section.name());
        if !section_path.is_dir() {
            continue;
        }
        for fan in entries(&section_path)? {
            for entry in entries(&fan.path())? {
                let path = entry.path();
                let Ok(metadata) = path.symlink_metadata() else { continue };
                // What is still being made has a longer name, and nobody refers to it.
                let name = entry.file_name().to_string_lossy().into_owned();
                found.push(Stored { is: (section, name), path, metadata });
            }
        }
    }
    Ok(found)
}

// ---- what is in use

/// Also below other mounts, which the server goes into, too; links are not followed.
fn in_use(folders: &[PathBuf]) -> Result<InUse, SweepError> {
    let mut in_use = InUse::new();
    let mut waiting = folders.to_vec();
    while let Some(folder) = waiting.pop() {
        note_references(&folder, &mut in_use)?;
        for entry in entries(&folder)? {
            let path = entry.path();
            let file_type = match entry.file_type() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                result => result.map_err(unreadable(&path))?,
            };
            if file_type.is_symlink() || entry.file_name() == NAME {
                continue;
            }
            match file_type.is_dir() {
                true => waiting.push(path),
                false => note_references(&path, &mut in_use)?,
            }
        }
    }
    Ok(in_use)
}

/// What a file refers to, whoever may have set that: rather one too many.
fn note_references(path: &Path, in_use: &mut InUse) -> Result<(), SweepError> {
    let names = attribute(path, |buffer| rustix::fs::llistxattr(path, buffer))?;
    let names = names.unwrap_or_default();
    for name in names.split(|byte| *byte == 0).filter(|name| may_refer(name)) {
        let value = attribute(path, |buffer| rustix::fs::lgetxattr(path, name, buffer))?;
        let Some(value) = value else { continue };
        let stream = Id::of_pointer(&value).or_else(|| Id::of_interim(&value));
        in_use.extend(stream.map(|id| (Section::Streams, id.name())));
        let descriptor = Hash::in_value(&value);
        in_use.extend(descriptor.map(|hash| (Section::Descriptors, hash.name())));
    }
    Ok(())
}

fn may_refer(attribute: &[u8]) -> bool {
    streams::is_of_stream(attribute) || nt_acl::is_of_descriptor(attribute)
}

/// What there is of an attribute, or of the list of them.
fn attribute(
    path: &Path,
    get: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
) -> Result<Option<Vec<u8>>, SweepError> {
    let mut value = vec![0; xattr::VALUE_MAX];
    match get(&mut value) {
        Ok(len) => {
            value.truncate(len);
            Ok(Some(value))
        }
        // It has gone meanwhile, or there are none here.
        Err(Errno::NODATA | Errno::NOENT | Errno::NOTDIR | Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(unreadable(path)(error.into())),
    }
}

/// What has gone meanwhile is empty.
fn entries(folder: &Path) -> Result<Vec<DirEntry>, SweepError> {
    match fs::read_dir(folder).and_then(Iterator::collect) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        result => result.map_err(unreadable(folder)),
    }
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> SweepError {
    |source| SweepError::Read { path: path.display().to_string(), source }
}
