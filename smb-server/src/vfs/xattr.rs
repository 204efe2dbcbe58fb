//! Extended attributes of the file system whose number or length is not known before.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use ringway::fs::{File, list_xattr_at};

use super::Error;

/// How much the names of all of a file come to, XATTR_LIST_MAX of the kernel.
const NAMES_MAX: usize = 65_536;

/// What most files' names fit into.
const NAMES_USUAL: usize = 1024;

/// The longest value, XATTR_SIZE_MAX of the kernel.
pub(super) const VALUE_MAX: usize = 65_536;

/// What most values fit into.
const VALUE_USUAL: usize = 256;

/// What `get` gives of the first capacity that is enough.
pub(super) async fn fitting(
    capacities: [usize; 2],
    get: impl AsyncFn(usize) -> (io::Result<usize>, Vec<u8>),
) -> io::Result<Vec<u8>> {
    for capacity in capacities {
        match get(capacity).await {
            (Ok(_), value) => return Ok(value),
            (Err(error), _) if error.raw_os_error() == Some(libc::ERANGE) => {}
            (Err(error), _) => return Err(error),
        }
    }
    Err(io::Error::from_raw_os_error(libc::ERANGE))
}

/// Why a value could not be set.
pub(super) fn error_of_set(error: io::Error) -> Error {
    match error.raw_os_error() {
        // How a file system says that it has no room for a value of this length.
        Some(libc::ENOSPC | libc::E2BIG | libc::ERANGE) => Error::NoSpace,
        _ => error.into(),
    }
}

/// The names of all that a file has, each with a NUL behind it.
pub(super) async fn names(file: &File) -> io::Result<Vec<u8>> {
    let names = async |capacity| file.list_xattr(Vec::with_capacity(capacity)).await;
    match fitting([NAMES_USUAL, NAMES_MAX], names).await {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(Vec::new()),
        result => result,
    }
}

/// The names of all that an entry of a directory has, or none if they cannot be told. A link is not followed. The
/// buffer grows if it has to. Blocks.
pub(super) fn names_at<'a>(directory: &File, name: &str, buffer: &'a mut Vec<u8>) -> &'a [u8] {
    for capacity in [NAMES_USUAL, NAMES_MAX] {
        buffer.resize(buffer.len().max(capacity), 0);
        match list_xattr_at(directory, name, buffer.as_mut_slice()) {
            Ok(length) => return buffer.get(..length).unwrap_or_default(),
            Err(error) if error.raw_os_error() == Some(libc::ERANGE) => {}
            Err(_) => break,
        }
    }
    &[]
}

/// Gives a file an attribute, also one that is opened only to be looked at.
pub(super) async fn set(file: &File, name: &'static CStr, value: Vec<u8>) -> io::Result<()> {
    match file.set_xattr(name, value.clone()).await {
        Err(error) if error.raw_os_error() == Some(libc::EBADF) => {
            let flags = rustix::fs::XattrFlags::empty();
            by_path(file, move |path| rustix::fs::setxattr(path, name, &value, flags)).await
        }
        result => result,
    }
}

/// What does not work on a file that is opened only to be looked at. As the process.
async fn by_path<T: Send + 'static>(
    file: &File,
    work: impl FnOnce(String) -> rustix::io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let file = file.clone();
    let result = ringway::spawn_blocking(move || work(path(&file))).await;
    Ok(result.map_err(|_| io::Error::from(io::ErrorKind::ResourceBusy))??)
}

/// A value, read as the process, also of a file that is opened only to be looked at; `None` if there is no such
/// attribute, or none at all on its file system. Most are no longer than `usual`.
pub(super) async fn value_as_process(
    file: &File,
    name: &CStr,
    usual: usize,
) -> io::Result<Option<Vec<u8>>> {
    let file = &file.with_identity(None);
    let value = async |capacity| match file.get_xattr(name, Vec::with_capacity(capacity)).await {
        (Err(error), _) if error.raw_os_error() == Some(libc::EBADF) => {
            let name = name.to_owned();
            let get = move |path| {
                let mut value = vec![0; capacity];
                let length = rustix::fs::getxattr(path, &name, &mut value)?;
                value.truncate(length);
                Ok(value)
            };
            match by_path(file, get).await {
                Ok(value) => (Ok(value.len()), value),
                Err(error) => (Err(error), Vec::new()),
            }
        }
        found => found,
    };
    match fitting([usual, VALUE_MAX], value).await {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENODATA | libc::EOPNOTSUPP)) => {
            Ok(None)
        }
        result => result.map(Some),
    }
}

/// The names of all, so also.
pub(super) async fn names_as_process(file: &File) -> io::Result<Vec<u8>> {
    let file = &file.with_identity(None);
    match names(file).await {
        Err(error) if error.raw_os_error() == Some(libc::EBADF) => {
            let list = |path| {
                let mut names = vec![0; NAMES_MAX];
                let length = rustix::fs::listxattr(path, &mut names)?;
                names.truncate(length);
                Ok(names)
            };
            by_path(file, list).await
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
    let value = async |capacity| file.get_xattr(name, Vec::with_capacity(capacity)).await;
    match fitting([VALUE_USUAL, VALUE_MAX], value).await {
        Err(error) if error.raw_os_error() == Some(libc::ENODATA) => Ok(None),
        result => result.map(Some),
    }
}
