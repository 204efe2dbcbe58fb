//! What a trial needs of the machine, and how the lack of it reads.
#![allow(
    unsafe_code,
    reason = "whether the kernel has io_uring at all is asked by a raw system call"
)]

use std::io;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::emulated::is_emulated;
use super::slow_disk;

#[derive(Clone, Copy)]
pub(crate) enum Need {
    Smbclient,
    Root,
    /// Free bytes in the folder for temporary files.
    Space(u64),
    IoUring,
    /// A machine that is not emulated: one that moves tens of megabytes in a second.
    Speed,
    /// Files past the page cache in the folder for temporary files.
    DirectIo,
    /// `mkfs.btrfs`, and a kernel that mounts what it makes; as root.
    Btrfs,
    /// A kernel that mounts shares; as root.
    Cifs,
    /// Control groups that slow a disk down, and a disk below the folder for temporary files; as root.
    SlowDisk,
}

impl Need {
    /// Why the trial cannot run here.
    pub(crate) fn missing(&self) -> Option<String> {
        match self {
            Self::Smbclient if !has_smbclient() => Some("smbclient is not installed".into()),
            Self::Root if !rustix::process::geteuid().is_root() => Some("needs root".into()),
            Self::Space(bytes) if free_space() < *bytes => Some(format!(
                "needs {} MiB free in {}",
                bytes >> 20,
                std::env::temp_dir().display()
            )),
            Self::Btrfs | Self::Cifs if !rustix::process::geteuid().is_root() => {
                Some("needs root".into())
            }
            Self::Btrfs if !has_btrfs() => Some("no mkfs.btrfs, or no btrfs in this kernel".into()),
            Self::Cifs if !has_file_system("cifs") => Some("no cifs in this kernel".into()),
            Self::DirectIo if !has_direct_io() => {
                Some(format!("no O_DIRECT in {}", std::env::temp_dir().display()))
            }
            Self::SlowDisk if !slow_disk::is_there() => {
                Some("needs root, blkio of cgroup v1, and temporary files on a disk".into())
            }
            Self::Speed if is_emulated() => Some("an emulated machine is too slow".into()),
            Self::IoUring if !has_io_uring() => Some("no io_uring on this machine".into()),
            _ => None,
        }
    }
}

fn has_smbclient() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let version = Command::new("smbclient")
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        version.is_ok_and(|status| status.success())
    })
}

fn has_btrfs() -> bool {
    std::path::Path::new("/usr/sbin/mkfs.btrfs").exists() && has_file_system("btrfs")
}

fn has_file_system(name: &str) -> bool {
    // Where it is a module, nobody may have asked for it yet; where it is not, this fails.
    let _ = Command::new("/usr/sbin/modprobe").arg(name).stderr(Stdio::null()).status();
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    known.lines().any(|line| line.ends_with(&format!("\t{name}")))
}

fn has_direct_io() -> bool {
    use rustix::fs::OFlags;
    let made = tempfile::NamedTempFile::new();
    let how = OFlags::RDWR | OFlags::DIRECT | OFlags::CLOEXEC;
    made.is_ok_and(|file| rustix::fs::open(file.path(), how, rustix::fs::Mode::empty()).is_ok())
}

fn free_space() -> u64 {
    rustix::fs::statvfs(std::env::temp_dir())
        .map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Asks for a ring of no entries: EINVAL or EFAULT says that the call is there, ENOSYS or EPERM that it is not.
pub(crate) fn has_io_uring() -> bool {
    // SAFETY: io_uring_setup with zero entries and a null parameter block is refused before anything is made or
    // written; no memory of ours is named.
    let result = unsafe { libc::syscall(libc::SYS_io_uring_setup, 0, std::ptr::null_mut::<u8>()) };
    let errno = io::Error::last_os_error().raw_os_error();
    result == -1 && matches!(errno, Some(libc::EINVAL | libc::EFAULT))
}
