//! What a file system can do with the contents of its files beyond keeping them. None says so; it is tried, on a
//! file without a name.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use ringway::fs::{Dir, FallocateFlags, File, Mode, OFlags, StatxFlags};
use rustix::fs::IFlags;

use super::blocks::{NO_COMPRESSION, block_size, change_flags};
use super::resolve::beneath;
use super::{Error, FileKey};

/// How many file systems are remembered before that begins anew. On btrfs each snapshot that somebody looks into is
/// one.
const KNOWN_MAX: usize = 4096;

/// What a file system can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Abilities {
    /// Files can share blocks.
    pub clones: bool,
    /// A part of a file can be given back, and is zeros then.
    pub punches: bool,
    /// Files can be compressed.
    pub compresses: bool,
}

/// What has been found out, by device number.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashMap<u64, Abilities>>);

impl Known {
    /// What the file system of `directory` can do. What cannot be tried there now is nothing, and tried again the
    /// next time.
    pub(super) async fn of(&self, directory: &Dir) -> Abilities {
        let Ok(stat) = directory.as_file().statx(StatxFlags::INO).await else {
            return Abilities::default();
        };
        let dev = FileKey::of(&stat).dev;
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&dev).copied();
        if let Some(known) = known {
            return known;
        }
        let abilities = match probe(directory).await {
            Ok(abilities) => abilities,
            Err(error) => {
                tracing::debug!(%error, dev, "cannot try what the file system can do");
                return Abilities::default();
            }
        };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(dev, abilities);
        abilities
    }
}

/// As the process, since it is no user who wants to know.
async fn probe(directory: &Dir) -> Result<Abilities, Error> {
    let how = beneath(OFlags::TMPFILE | OFlags::RDWR).mode(Mode::RUSR | Mode::WUSR);
    let file = match directory.with_identity(None).open_at(".", &how).await.map_err(Error::of_open)
    {
        Ok(file) => file,
        // Without files that have no names there is nothing to try with.
        Err(Error::NotSupported | Error::IsDirectory) => return Ok(Abilities::default()),
        Err(error) => return Err(error),
    };
    let block = block_size(&file).await?;
    // A hole: it is shared as data is, and takes no room.
    file.set_len(2 * block).await?;
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    Ok(Abilities {
        clones: tried(file.clone_range(block, &file, 0, block).await.map_err(Error::from))?,
        punches: tried(file.allocate(hole, 0, block).await.map_err(Error::from))?,
        compresses: compresses(&file).await?,
    })
}

/// Some file systems keep every flag that they are given, ext4 among them, and do nothing about it. One that means it
/// refuses to compress and not to compress.
async fn compresses(file: &File) -> Result<bool, Error> {
    let set = async |flags| tried(change_flags(file, move |had| had | flags).await);
    Ok(set(IFlags::COMPRESSED).await? && !set(IFlags::COMPRESSED | NO_COMPRESSION).await?)
}

/// Whether something can be done, from its having been done. What else may be wrong says nothing about it.
fn tried(result: Result<(), Error>) -> Result<bool, Error> {
    match result {
        Ok(()) => Ok(true),
        Err(Error::NotSupported | Error::Invalid) => Ok(false),
        // ENOTTY, of a file system without inode flags.
        Err(Error::Io(error)) if error.raw_os_error() == Some(libc::ENOTTY) => Ok(false),
        Err(error) => Err(error),
    }
}
