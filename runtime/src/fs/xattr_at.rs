//! The names of the extended attributes of what is in a directory, for who asks about many.

#![allow(unsafe_code, reason = "makes the system call")]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;
use rustix::path::Arg;

/// The number of `listxattrat` (6.13), which is the same on every architecture but alpha.
const SYS_LISTXATTRAT: libc::c_long = 465;

/// Reads the names of the extended attributes of what is called `name` in `directory` into `buf`, each with a NUL
/// behind it, and gives their length in bytes. A symbolic link is not followed; nothing is opened.
///
/// Blocks, as the process: it is for closures on the pool that look at many entries in one trip, see
/// [`spawn_blocking`](crate::spawn_blocking). Where the kernel has no `listxattrat` (before Linux 6.13), the entry is
/// reached through `/proc`, at twice the price.
///
/// # Errors
/// Those of `llistxattr`: `ERANGE` if they do not fit, `EOPNOTSUPP` where the file system has none.
pub fn list_xattr_at(
    directory: impl AsFd,
    name: impl AsRef<Path>,
    buf: &mut [u8],
) -> io::Result<usize> {
    let directory = directory.as_fd();
    let list = |name: &CStr| match list_at(directory, name, buf) {
        Some(result) => result,
        None => list_in_proc(directory, name, buf),
    };
    Ok(name.as_ref().into_with_c_str(list)?)
}

/// `None` where the kernel lacks it.
fn list_at(
    directory: BorrowedFd<'_>,
    name: &CStr,
    buf: &mut [u8],
) -> Option<rustix::io::Result<usize>> {
    static MISSING: AtomicBool = AtomicBool::new(false);
    if MISSING.load(Ordering::Relaxed) {
        return None;
    }
    let flags = libc::AT_SYMLINK_NOFOLLOW;
    let (fd, name, len) = (directory.as_raw_fd(), name.as_ptr(), buf.len());
    // SAFETY: the name ends with a NUL, and the kernel writes no more than `len` bytes into the buffer.
    let result = unsafe { libc::syscall(SYS_LISTXATTRAT, fd, name, flags, buf.as_mut_ptr(), len) };
    if let Ok(len) = usize::try_from(result) {
        return Some(Ok(len));
    }
    match Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL) {
        // Some filters say EPERM of what they do not know, which `listxattr` never does.
        Errno::NOSYS | Errno::PERM => {
            MISSING.store(true, Ordering::Relaxed);
            None
        }
        error => Some(Err(error)),
    }
}

fn list_in_proc(
    directory: BorrowedFd<'_>,
    name: &CStr,
    buf: &mut [u8],
) -> rustix::io::Result<usize> {
    let mut path = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.to_bytes());
    rustix::fs::llistxattr(path, buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Way = fn(BorrowedFd<'_>, &CStr, &mut [u8]) -> Option<rustix::io::Result<usize>>;

    /// What each way finds that the kernel has, and the way of the public function.
    fn found(directory: BorrowedFd<'_>, name: &CStr, len: usize) -> Vec<Result<Vec<u8>, Errno>> {
        let public: Way = |directory, name, buf| {
            let name = Path::new(std::str::from_utf8(name.to_bytes()).unwrap());
            let result = list_xattr_at(directory, name, buf);
            Some(result.map_err(|error| Errno::from_io_error(&error).unwrap()))
        };
        let ways: [Way; 3] =
            [public, list_at, |directory, name, buf| Some(list_in_proc(directory, name, buf))];
        let list = |way: Way| {
            let mut buf = vec![0; len];
            let result = way(directory, name, &mut buf)?;
            Some(result.map(|len| buf[..len.min(buf.len())].to_vec()))
        };
        ways.into_iter().filter_map(list).collect()
    }

    #[test]
    fn the_names_of_an_entry_are_found_whichever_way() {
        let dir = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(dir.path().join("file")).unwrap();
        std::os::unix::fs::symlink("file", dir.path().join("link")).unwrap();
        let directory = std::fs::File::open(dir.path()).unwrap();
        let flags = rustix::fs::XattrFlags::empty();
        if rustix::fs::fsetxattr(&file, c"user.one", b"1", flags) == Err(Errno::OPNOTSUPP) {
            eprintln!("skipped: no extended attributes on this file system");
            return;
        }
        for names in found(directory.as_fd(), c"file", 1024) {
            let names = names.unwrap();
            assert!(names.split(|byte| *byte == 0).any(|name| name == b"user.one"), "{names:?}");
        }
        for names in found(directory.as_fd(), c"link", 1024) {
            let names = names.unwrap();
            assert!(!names.split(|byte| *byte == 0).any(|name| name == b"user.one"), "{names:?}");
        }
        assert!(found(directory.as_fd(), c"file", 3).iter().all(|it| *it == Err(Errno::RANGE)));
        assert!(found(directory.as_fd(), c"none", 1024).iter().all(|it| *it == Err(Errno::NOENT)));
    }
}
