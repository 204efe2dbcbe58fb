//! What a failure in the file system is called on the wire: the only such mapping.

use crate::vfs::Error;
use crate::wire::status::NtStatus;

/// The NTSTATUS for a failure of the file system.
#[must_use]
pub fn status_of(error: &Error) -> NtStatus {
    match error {
        Error::NotFound => NtStatus::OBJECT_NAME_NOT_FOUND,
        Error::PathNotFound => NtStatus::OBJECT_PATH_NOT_FOUND,
        Error::Exists => NtStatus::OBJECT_NAME_COLLISION,
        Error::IsDirectory => NtStatus::FILE_IS_A_DIRECTORY,
        Error::NotADirectory => NtStatus::NOT_A_DIRECTORY,
        Error::NotEmpty => NtStatus::DIRECTORY_NOT_EMPTY,
        Error::PathSyntax => NtStatus::OBJECT_PATH_SYNTAX_BAD,
        Error::AccessDenied | Error::Escapes => NtStatus::ACCESS_DENIED,
        Error::ReadOnly => NtStatus::MEDIA_WRITE_PROTECTED,
        Error::NoSpace => NtStatus::DISK_FULL,
        Error::QuotaExceeded => NtStatus::QUOTA_EXCEEDED,
        Error::NoEas => NtStatus::EAS_NOT_SUPPORTED,
        Error::EaTooLarge => NtStatus::EA_TOO_LARGE,
        Error::NameInvalid | Error::NameTooLong => NtStatus::OBJECT_NAME_INVALID,
        Error::TooManyLinks | Error::LeadsNowhere => NtStatus::OBJECT_PATH_NOT_FOUND,
        Error::NoMoreNames => NtStatus::TOO_MANY_LINKS,
        Error::TooManyOpenFiles => NtStatus::TOO_MANY_OPENED_FILES,
        // A device error would say that the disk is broken, and this may go well the next time.
        Error::NoMemory => NtStatus::INSUFFICIENT_RESOURCES,
        Error::Busy => NtStatus::SHARING_VIOLATION,
        Error::CrossDevice => NtStatus::NOT_SAME_DEVICE,
        Error::NotSupported => NtStatus::NOT_SUPPORTED,
        Error::Invalid => NtStatus::INVALID_PARAMETER,
        Error::Cancelled => NtStatus::CANCELLED,
        Error::Io(error) => {
            tracing::warn!(%error, "file system");
            NtStatus::IO_DEVICE_ERROR
        }
    }
}

impl From<Error> for NtStatus {
    fn from(error: Error) -> Self {
        status_of(&error)
    }
}
