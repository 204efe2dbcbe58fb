//! A disk that is slow for one process: what the kernel's control groups (their first version) do to its reads.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use libtest_mimic::Failed;

const GROUPS: &str = "/sys/fs/cgroup/blkio";
const LIMIT: &str = "blkio.throttle.read_bps_device";

/// Whether this kernel, and who runs the tests, can do it to where temporary files are.
pub(crate) fn is_there() -> bool {
    Path::new(GROUPS).join("cgroup.procs").exists()
        && rustix::process::geteuid().is_root()
        && disk_of(&std::env::temp_dir()).is_ok()
}

/// Until it is dropped.
pub(crate) struct SlowDisk {
    group: PathBuf,
    process: u32,
}

impl SlowDisk {
    /// Makes the disk that has `folder` slow for a process: so many bytes in a second.
    pub(crate) fn new(process: u32, folder: &Path, bytes: u64) -> Result<Self, Failed> {
        let group = Path::new(GROUPS).join(format!("usmbd-test-{process}"));
        fs::create_dir(&group)?;
        let slow = Self { group, process };
        let disk = disk_of(folder)?;
        fs::write(slow.group.join(LIMIT), format!("{disk} {bytes}"))?;
        fs::write(slow.group.join("cgroup.procs"), process.to_string())?;
        Ok(slow)
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        // It may have ended; then the group is empty.
        let _ = fs::write(Path::new(GROUPS).join("cgroup.procs"), self.process.to_string());
        let _ = fs::remove_dir(&self.group);
    }
}

/// The number of the whole disk that has a folder, which may be in one of its partitions.
fn disk_of(folder: &Path) -> Result<String, Failed> {
    let device = fs::metadata(folder)?.dev();
    let number = |device| format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    let of_device = Path::new("/sys/dev/block").join(number(device));
    let whole = match of_device.join("partition").exists() {
        true => fs::canonicalize(&of_device)?.join("../dev"),
        false => of_device.join("dev"),
    };
    let number = fs::read_to_string(whole).map_err(|_| "the folder is not on a disk")?;
    Ok(number.trim().to_owned())
}

/// Drops what the page cache has of a file.
pub(crate) fn forget(path: &Path) -> Result<(), Failed> {
    let file = File::open(path)?;
    file.sync_all()?;
    Ok(rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?)
}
