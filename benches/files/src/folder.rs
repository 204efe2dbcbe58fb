//! The folder that all servers share, and what is in it before they begin.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use smb_common::servers::ACCOUNT;

use crate::workloads::{BIG, BIG_COUNT, Names};

/// What each of the many files holds.
const CONTENT: &[u8] = &[b'x'; 100];

/// A folder that is there for the run.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
}

impl Folder {
    /// Makes it below `place`, with the big folder in it. One that a run has left there that was broken off goes first.
    pub(crate) fn make(place: &Path) -> io::Result<Self> {
        fs::create_dir_all(place)?;
        let path = fs::canonicalize(place)?.join("files-bench.files");
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        fs::create_dir(&path)?;
        let folder = Self { path };
        hand_over(&folder.path)?;
        make_big(&folder.path)?;
        Ok(folder)
    }

    /// Removes a sample's folder with what is left in it.
    pub(crate) fn remove_work(&self, name: &str) {
        let _ = fs::remove_dir_all(self.path.join(name));
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// The folder with very many files, made by the file system: they have no attributes of any server's.
pub(crate) fn make_big(within: &Path) -> io::Result<()> {
    let big = within.join(BIG);
    fs::create_dir(&big)?;
    hand_over(&big)?;
    for index in 0..BIG_COUNT {
        let file = big.join(Names::in_big(index));
        fs::write(&file, CONTENT)?;
        hand_over(&file)?;
    }
    // So that nothing is left to be written when measuring begins.
    rustix::fs::syncfs(File::open(&big)?)?;
    Ok(())
}

/// Makes it belong to the account that the servers work as, if we may.
fn hand_over(path: &Path) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        chown(path, Some(ACCOUNT), Some(ACCOUNT))?;
    }
    Ok(())
}
