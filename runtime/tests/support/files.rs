//! A directory to try things in, and files in it.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]

use ringway::fs::{Dir, File, Mode, OFlags, OpenHow};
use tempfile::TempDir;

/// A directory that goes with its guard.
pub fn scratch() -> (TempDir, Dir) {
    let dir = tempfile::tempdir().unwrap();
    let opened = Dir::open_ambient(dir.path()).unwrap();
    (dir, opened)
}

/// To read and write what is there, or else is made.
pub fn create() -> OpenHow {
    OpenHow::new(OFlags::RDWR | OFlags::CREATE).mode(Mode::from_raw_mode(0o644))
}

pub async fn new_file(dir: &Dir, name: &str) -> File {
    dir.open_at(name, &create()).await.unwrap()
}
