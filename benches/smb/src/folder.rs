//! The folder that all servers share, with the files in it that are read and written.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use smb_common::servers::ACCOUNT;

use crate::files::{Name, Role, SIZE};
use crate::pattern::Pattern;

/// How much is written at once.
const STEP: usize = 1 << 20;

/// A folder that is there for the run.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
}

impl Folder {
    /// Makes it below `place`, with so many files to read and to write. One that a run has left there that was broken off
    /// goes first.
    pub(crate) fn make(place: &Path, files: usize, pattern: &Pattern) -> io::Result<Self> {
        fs::create_dir_all(place)?;
        let path = fs::canonicalize(place)?.join("smb-bench.files");
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        fs::create_dir(&path)?;
        let folder = Self { path };
        hand_over(&folder.path)?;
        for number in 0..files {
            for role in [Role::Source, Role::Target] {
                folder.fill(Name { role, number }, pattern)?;
            }
        }
        // So that nothing is left to be written when measuring begins.
        rustix::fs::syncfs(File::open(&folder.path)?)?;
        Ok(folder)
    }

    fn fill(&self, name: Name, pattern: &Pattern) -> io::Result<()> {
        let path = self.path.join(name.path());
        let mut file = File::create(&path)?;
        for offset in (0..SIZE).step_by(STEP) {
            file.write_all(pattern.of(name.seed(), offset, STEP))?;
        }
        hand_over(&path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Makes it belong to the account that the servers work as, if we may.
fn hand_over(path: &Path) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        chown(path, Some(ACCOUNT), Some(ACCOUNT))?;
    }
    Ok(())
}
