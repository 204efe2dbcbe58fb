//! Why the file system refused.

use std::io;

/// What went wrong, by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The last component does not exist.
    #[error("no such file")]
    NotFound,
    /// A component before the last does not exist, or is no directory.
    #[error("no such folder")]
    PathNotFound,
    /// The name is taken.
    #[error("the name is taken")]
    Exists,
    /// A file was asked for.
    #[error("it is a folder")]
    IsDirectory,
    /// A directory was asked for.
    #[error("it is not a folder")]
    NotADirectory,
    /// A directory that is to go still has entries.
    #[error("the folder is not empty")]
    NotEmpty,
    /// The user may not.
    #[error("access denied")]
    AccessDenied,
    /// The file system is mounted read-only.
    #[error("read-only file system")]
    ReadOnly,
    /// The disk is full.
    #[error("no space left")]
    NoSpace,
    /// The user's quota is used up.
    #[error("quota exceeded")]
    QuotaExceeded,
    /// Files of this file system have no extended attributes.
    #[error("no extended attributes on this file system")]
    NoEas,
    /// The extended attributes are more than SMB or the file system lets one file have.
    #[error("too many or too large extended attributes")]
    EaTooLarge,
    /// No file can have this name.
    #[error("invalid name")]
    NameInvalid,
    /// The name is longer than the file system takes.
    #[error("name too long")]
    NameTooLong,
    /// The path names what lies above something: `..`.
    #[error("a path with ..")]
    PathSyntax,
    /// The path leaves the share.
    #[error("the path leaves the share")]
    Escapes,
    /// A link on the path leads to nothing.
    #[error("a link leads nowhere")]
    LeadsNowhere,
    /// Links lead in a circle.
    #[error("too many levels of links")]
    TooManyLinks,
    /// The file has as many names as its file system lets it have.
    #[error("no more names")]
    NoMoreNames,
    /// The process or the system is out of descriptors.
    #[error("too many open files")]
    TooManyOpenFiles,
    /// The system has no memory for it just now.
    #[error("out of memory")]
    NoMemory,
    /// Somebody else uses it in a way that excludes this.
    #[error("busy")]
    Busy,
    /// The two names lie on different file systems.
    #[error("not on the same file system")]
    CrossDevice,
    /// This file system, or this server, has no such thing.
    #[error("not supported")]
    NotSupported,
    /// The request makes no sense.
    #[error("invalid argument")]
    Invalid,
    /// It was cancelled before it took effect.
    #[error("cancelled")]
    Cancelled,
    /// Anything else.
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ENOENT) => Self::NotFound,
            Some(libc::EEXIST) => Self::Exists,
            Some(libc::EISDIR) => Self::IsDirectory,
            Some(libc::ENOTDIR) => Self::NotADirectory,
            Some(libc::ENOTEMPTY) => Self::NotEmpty,
            // EBADF: an operation that the descriptor was not opened for.
            Some(libc::EACCES | libc::EPERM | libc::EBADF) => Self::AccessDenied,
            Some(libc::EROFS) => Self::ReadOnly,
            Some(libc::ENOSPC | libc::EFBIG) => Self::NoSpace,
            Some(libc::EDQUOT) => Self::QuotaExceeded,
            Some(libc::ENAMETOOLONG) => Self::NameTooLong,
            Some(libc::ELOOP) => Self::TooManyLinks,
            Some(libc::EMLINK) => Self::NoMoreNames,
            Some(libc::EMFILE | libc::ENFILE) => Self::TooManyOpenFiles,
            Some(libc::ENOMEM | libc::ENOBUFS) => Self::NoMemory,
            Some(libc::EBUSY | libc::ETXTBSY | libc::EWOULDBLOCK) => Self::Busy,
            Some(libc::EXDEV) => Self::CrossDevice,
            Some(libc::EOPNOTSUPP | libc::ENOSYS) => Self::NotSupported,
            Some(libc::EINVAL) => Self::Invalid,
            Some(libc::ECANCELED) => Self::Cancelled,
            _ => Self::Io(error),
        }
    }
}

impl Error {
    /// The failure of an open that must stay beneath the root: there EXDEV means that it did not.
    pub(super) fn of_open(error: io::Error) -> Self {
        match Self::from(error) {
            Self::CrossDevice => Self::Escapes,
            error => error,
        }
    }
}
