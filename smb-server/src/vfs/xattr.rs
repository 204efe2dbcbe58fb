//! Extended attributes of the file system whose number or length is not known before.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use ringway::fs::File;

/// How much the names of all of a file come to, XATTR_LIST_MAX of the kernel.
const NAMES_MAX: usize = 65_536;

/// What most files' names fit into.
const NAMES_USUAL: usize = 1024;

/// The longest value, XATTR_SIZE_MAX of the kernel.
const VALUE_MAX: usize = 65_536;

/// What most values fit into.
const VALUE_USUAL: usize = 256;

/// The names of all that a file has, each with a NUL behind it.
pub(super) async fn names(file: &File) -> io::Result<Vec<u8>> {
    for capacity in [NAMES_USUAL, NAMES_MAX] {
        let (result, names) = file.list_xattr(Vec::with_capacity(capacity)).await;
        match result {
            Ok(_) => return Ok(names),
            Err(error) => match error.raw_os_error() {
                Some(libc::EOPNOTSUPP) => return Ok(Vec::new()),
                Some(libc::ERANGE) => {}
                _ => return Err(error),
            },
        }
    }
    Err(io::Error::from_raw_os_error(libc::ERANGE))
}

/// The names of all that the file at a path has, or none if they cannot be told. A link is not followed. The
/// buffer grows if it has to. Blocks.
pub(super) fn names_at<'a>(path: &str, buffer: &'a mut Vec<u8>) -> &'a [u8] {
    for capacity in [NAMES_USUAL, NAMES_MAX] {
        buffer.resize(buffer.len().max(capacity), 0);
        match rustix::fs::llistxattr(path, buffer.as_mut_slice()) {
            Ok(length) => return buffer.get(..length).unwrap_or_default(),
            Err(rustix::io::Errno::RANGE) => {}
            Err(_) => break,
        }
    }
    &[]
}

/// Gives a file an attribute, also one that is opened only to be looked at.
pub(super) async fn set(file: &File, name: &'static CStr, value: Vec<u8>) -> io::Result<()> {
    match file.set_xattr(name, value.clone()).await {
        Err(error) if error.raw_os_error() == Some(libc::EBADF) => {
            let file = file.clone();
            let flags = rustix::fs::XattrFlags::empty();
            let set = move || rustix::fs::setxattr(path(&file), name, &value, flags);
            let result = ringway::spawn_blocking(set).await;
            Ok(result.map_err(|_| io::Error::from(io::ErrorKind::ResourceBusy))??)
        }
        result => result,
    }
}

/// The way to an open file that takes names.
pub(super) fn path(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_fd().as_raw_fd())
}

/// A value; `None` if there is no such attribute.
pub(super) async fn value(file: &File, name: &CStr) -> io::Result<Option<Vec<u8>>> {
    for capacity in [VALUE_USUAL, VALUE_MAX] {
        let (result, value) = file.get_xattr(name, Vec::with_capacity(capacity)).await;
        match result {
            Ok(_) => return Ok(Some(value)),
            Err(error) => match error.raw_os_error() {
                Some(libc::ENODATA) => return Ok(None),
                Some(libc::ERANGE) => {}
                _ => return Err(error),
            },
        }
    }
    Err(io::Error::from_raw_os_error(libc::ERANGE))
}
