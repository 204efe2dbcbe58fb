//! NTSTATUS codes that a file server says or hears: number, name and meaning in one table. MS-ERREF
//! 2.3.

use std::fmt;

/// An NTSTATUS. Numbers that the table does not have survive.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NtStatus(pub u32);

/// The two highest bits of an NTSTATUS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Success,
    Informational,
    Warning,
    Error,
}

impl NtStatus {
    pub const fn severity(self) -> Severity {
        match self.0 >> 30 {
            0 => Severity::Success,
            1 => Severity::Informational,
            2 => Severity::Warning,
            _ => Severity::Error,
        }
    }

    /// Whether the status is an error proper; a warning such as `BUFFER_OVERFLOW` is not.
    pub const fn is_error(self) -> bool {
        matches!(self.severity(), Severity::Error)
    }
}

/// The name as the field writes it, `STATUS_…`, or the number.
impl fmt::Display for NtStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "STATUS_{name}"),
            None => write!(f, "STATUS_{:#010x}", self.0),
        }
    }
}

impl fmt::Debug for NtStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! statuses {
    ($( $number:literal $name:ident $text:literal; )*) => {
        impl NtStatus {
            $( #[doc = $text] pub const $name: Self = Self($number); )*

            /// Every status of the table.
            pub const ALL: &[Self] = &[$( Self::$name ),*];

            /// The constant's name, without `STATUS_`.
            pub fn name(self) -> Option<&'static str> {
                match self { $( Self::$name => Some(stringify!($name)), )* _ => None }
            }

            /// What it means, for a log.
            pub fn text(self) -> Option<&'static str> {
                match self { $( Self::$name => Some($text), )* _ => None }
            }
        }
    };
}

statuses! {
    0x0000_0000 SUCCESS "done";
    0x0000_0103 PENDING "the answer comes later";
    0x0000_0104 REPARSE "a reparse point is in the way";
    0x0000_0105 MORE_ENTRIES "there are more entries than fit";
    0x0000_0107 SOME_NOT_MAPPED "some names could not be translated";
    0x0000_010b NOTIFY_CLEANUP "the watched directory was closed";
    0x0000_010c NOTIFY_ENUM_DIR "too many changes: list the directory again";
    0x8000_0005 BUFFER_OVERFLOW "only the part that fits was returned";
    0x8000_0006 NO_MORE_FILES "the listing is at its end";
    0x8000_0012 NO_MORE_EAS "there are no more extended attributes";
    0x8000_0013 INVALID_EA_NAME "an extended attribute has a bad name";
    0x8000_0014 EA_LIST_INCONSISTENT "the list of extended attributes is inconsistent";
    0x8000_001a NO_MORE_ENTRIES "there are no more entries";
    0x8000_002d STOPPED_ON_SYMLINK "the path leads through a symbolic link";
    0xc000_0001 UNSUCCESSFUL "it failed";
    0xc000_0002 NOT_IMPLEMENTED "not implemented";
    0xc000_0003 INVALID_INFO_CLASS "no such information class here";
    0xc000_0004 INFO_LENGTH_MISMATCH "the buffer has the wrong length for its class";
    0xc000_0008 INVALID_HANDLE "not a handle";
    0xc000_000b INVALID_CID "not a client id";
    0xc000_000d INVALID_PARAMETER "a parameter is wrong";
    0xc000_000e NO_SUCH_DEVICE "no such device";
    0xc000_000f NO_SUCH_FILE "nothing matches";
    0xc000_0010 INVALID_DEVICE_REQUEST "the file cannot do this";
    0xc000_0011 END_OF_FILE "the range starts at or behind the end of the file";
    0xc000_0016 MORE_PROCESSING_REQUIRED "authentication continues";
    0xc000_0017 NO_MEMORY "out of memory";
    0xc000_001e INVALID_LOCK_SEQUENCE "the lock sequence is wrong";
    0xc000_001f INVALID_VIEW_SIZE "the range goes beyond the end of the source";
    0xc000_0022 ACCESS_DENIED "access denied";
    0xc000_0023 BUFFER_TOO_SMALL "the buffer is too small for anything to be returned";
    0xc000_0024 OBJECT_TYPE_MISMATCH "not an object of that type";
    0xc000_0032 DISK_CORRUPT_ERROR "the file system is damaged";
    0xc000_0033 OBJECT_NAME_INVALID "not a valid name";
    0xc000_0034 OBJECT_NAME_NOT_FOUND "the file does not exist";
    0xc000_0035 OBJECT_NAME_COLLISION "the name exists already";
    0xc000_0039 OBJECT_PATH_INVALID "not a valid path";
    0xc000_003a OBJECT_PATH_NOT_FOUND "a directory on the path does not exist";
    0xc000_003b OBJECT_PATH_SYNTAX_BAD "bad path syntax";
    0xc000_003c DATA_OVERRUN "more data than expected";
    0xc000_003e DATA_ERROR "a data error";
    0xc000_003f CRC_ERROR "a checksum error";
    0xc000_0043 SHARING_VIOLATION "another open does not share this access";
    0xc000_0044 QUOTA_EXCEEDED "over quota";
    0xc000_004f EAS_NOT_SUPPORTED "no extended attributes here";
    0xc000_0050 EA_TOO_LARGE "the extended attributes are too large";
    0xc000_0051 NONEXISTENT_EA_ENTRY "no such extended attribute";
    0xc000_0052 NO_EAS_ON_FILE "the file has no extended attributes";
    0xc000_0054 FILE_LOCK_CONFLICT "the range is locked by another open";
    0xc000_0055 LOCK_NOT_GRANTED "the lock conflicts with another";
    0xc000_0056 DELETE_PENDING "the file is being deleted";
    0xc000_005a INVALID_OWNER "who is to own it may not";
    0xc000_005b INVALID_PRIMARY_GROUP "the group is not one of the user's";
    0xc000_005e NO_LOGON_SERVERS "nobody can check this logon";
    0xc000_0061 PRIVILEGE_NOT_HELD "a privilege is missing";
    0xc000_0064 NO_SUCH_USER "no such user";
    0xc000_006a WRONG_PASSWORD "wrong password";
    0xc000_006c PASSWORD_RESTRICTION "the password policy forbids it";
    0xc000_006d LOGON_FAILURE "user name or password is wrong";
    0xc000_006e ACCOUNT_RESTRICTION "the account is restricted";
    0xc000_006f INVALID_LOGON_HOURS "not at this hour";
    0xc000_0070 INVALID_WORKSTATION "not from this workstation";
    0xc000_0071 PASSWORD_EXPIRED "the password has expired";
    0xc000_0072 ACCOUNT_DISABLED "the account is disabled";
    0xc000_0073 NONE_MAPPED "no name could be translated";
    0xc000_0079 INVALID_SECURITY_DESCR "not a valid security descriptor";
    0xc000_007e RANGE_NOT_LOCKED "the range was not locked";
    0xc000_007f DISK_FULL "no space left";
    0xc000_0095 INTEGER_OVERFLOW "a number is too large";
    0xc000_009a INSUFFICIENT_RESOURCES "a resource is exhausted";
    0xc000_009b DFS_EXIT_PATH_FOUND "the path leaves this server";
    0xc000_009c DEVICE_DATA_ERROR "the device has a data error";
    0xc000_00a2 MEDIA_WRITE_PROTECTED "the share is read-only";
    0xc000_00a3 DEVICE_NOT_READY "the device is not ready";
    0xc000_00a5 BAD_IMPERSONATION_LEVEL "the impersonation level is too low";
    0xc000_00ab INSTANCE_NOT_AVAILABLE "no free instance of the pipe";
    0xc000_00ac PIPE_NOT_AVAILABLE "the pipe is not available";
    0xc000_00ad INVALID_PIPE_STATE "the pipe is in the wrong state";
    0xc000_00ae PIPE_BUSY "the pipe is busy";
    0xc000_00b0 PIPE_DISCONNECTED "the pipe is disconnected";
    0xc000_00b1 PIPE_CLOSING "the pipe is closing";
    0xc000_00b5 IO_TIMEOUT "timed out";
    0xc000_00ba FILE_IS_A_DIRECTORY "the file is a directory";
    0xc000_00bb NOT_SUPPORTED "not supported";
    0xc000_00bd DUPLICATE_NAME "the name is in use";
    0xc000_00be BAD_NETWORK_PATH "no such network path";
    0xc000_00bf NETWORK_BUSY "the network is busy";
    0xc000_00c3 INVALID_NETWORK_RESPONSE "the other side makes no sense";
    0xc000_00c4 UNEXPECTED_NETWORK_ERROR "an unexpected network error";
    0xc000_00c9 NETWORK_NAME_DELETED "the tree connection is gone";
    0xc000_00ca NETWORK_ACCESS_DENIED "no access over the network";
    0xc000_00cb BAD_DEVICE_TYPE "the share is of another type";
    0xc000_00cc BAD_NETWORK_NAME "no such share";
    0xc000_00ce TOO_MANY_SESSIONS "too many sessions";
    0xc000_00d0 REQUEST_NOT_ACCEPTED "the server takes no more of these now";
    0xc000_00d4 NOT_SAME_DEVICE "not on the same volume";
    0xc000_00d5 FILE_RENAMED "the file was renamed";
    0xc000_00d8 CANT_WAIT "it would have to wait";
    0xc000_00d9 PIPE_EMPTY "the pipe is empty";
    0xc000_00e2 OPLOCK_NOT_GRANTED "the oplock was not granted";
    0xc000_00e3 INVALID_OPLOCK_PROTOCOL "not an answer to an oplock break";
    0xc000_00e5 INTERNAL_ERROR "an internal error";
    0xc000_00e8 INVALID_USER_BUFFER "the buffer cannot be used";
    0xc000_0101 DIRECTORY_NOT_EMPTY "the directory is not empty";
    0xc000_0102 FILE_CORRUPT_ERROR "the file is damaged";
    0xc000_0103 NOT_A_DIRECTORY "not a directory";
    0xc000_0106 NAME_TOO_LONG "the name is too long";
    0xc000_011f TOO_MANY_OPENED_FILES "too many open files";
    0xc000_0120 CANCELLED "cancelled";
    0xc000_0121 CANNOT_DELETE "the file cannot be deleted";
    0xc000_0123 FILE_DELETED "the file has been deleted";
    0xc000_0128 FILE_CLOSED "the handle is closed";
    0xc000_0148 INVALID_LEVEL "no such level";
    0xc000_014b PIPE_BROKEN "the other end of the pipe is gone";
    0xc000_015b LOGON_TYPE_NOT_GRANTED "this kind of logon is not granted";
    0xc000_0184 INVALID_DEVICE_STATE "the device is in the wrong state";
    0xc000_0185 IO_DEVICE_ERROR "a device error";
    0xc000_0193 ACCOUNT_EXPIRED "the account has expired";
    0xc000_019c FS_DRIVER_REQUIRED "there is no DFS here";
    0xc000_01a1 INVALID_LOCK_RANGE "the range goes beyond the last byte";
    0xc000_0203 USER_SESSION_DELETED "the session is gone";
    0xc000_0205 INSUFF_SERVER_RESOURCES "the server lacks a resource";
    0xc000_0206 INVALID_BUFFER_SIZE "not the size of what is wanted";
    0xc000_020c CONNECTION_DISCONNECTED "the connection is gone";
    0xc000_020d CONNECTION_RESET "the connection was reset";
    0xc000_0224 PASSWORD_MUST_CHANGE "the password must be changed first";
    0xc000_0225 NOT_FOUND "not found";
    0xc000_0234 ACCOUNT_LOCKED_OUT "the account is locked";
    0xc000_0235 HANDLE_NOT_CLOSABLE "the handle cannot be closed";
    0xc000_0240 REQUEST_ABORTED "the request was given up";
    0xc000_0257 PATH_NOT_COVERED "this server does not serve that path";
    0xc000_0265 TOO_MANY_LINKS "the file has as many names as it can have";
    0xc000_0275 NOT_A_REPARSE_POINT "not a reparse point";
    0xc000_0276 IO_REPARSE_TAG_INVALID "not a valid reparse tag";
    0xc000_0277 IO_REPARSE_TAG_MISMATCH "another reparse tag";
    0xc000_0278 IO_REPARSE_DATA_INVALID "not valid reparse data";
    0xc000_0279 IO_REPARSE_TAG_NOT_HANDLED "nobody handles this reparse tag";
    0xc000_02b2 REPARSE_ATTRIBUTE_CONFLICT "another reparse point";
    0xc000_035c NETWORK_SESSION_EXPIRED "authenticate again";
    0xc000_0388 DOWNGRADE_DETECTED "somebody weakened the negotiation";
    0xc000_0413 AUTHENTICATION_FIREWALL_FAILED "this account may not log on here";
    0xc000_0467 FILE_NOT_AVAILABLE "the file is not available now";
    0xc05d_0000 SMB_NO_PREAUTH_INTEGRITY_HASH_OVERLAP "no preauth hash in common";
    0xc000_0909 CANNOT_BREAK_OPLOCK "the oplock cannot be broken";
    0xc05d_0001 SMB_BAD_CLUSTER_DIALECT "a cluster needs another dialect";
    0xc05d_0002 SMB_GUEST_LOGON_BLOCKED "guests are not let in";
    0xc05d_0003 SMB_NO_SIGNING_ALGORITHM_OVERLAP "no signing algorithm in common";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn independent() -> BTreeMap<u32, &'static str> {
        include_str!("ntstatus.txt")
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_once(' ').expect("a number and a name"))
            .map(|(number, name)| {
                let digits = number.strip_prefix("0x").expect("a hexadecimal number");
                (u32::from_str_radix(digits, 16).expect("a hexadecimal number"), name)
            })
            .collect()
    }

    #[test]
    fn numbers_and_names_agree_with_an_independent_table() {
        let ours: BTreeMap<_, _> =
            NtStatus::ALL.iter().map(|s| (s.0, s.name().expect("of the table"))).collect();
        assert_eq!(ours, independent());
        assert_eq!(ours.len(), NtStatus::ALL.len(), "a number stands twice");
    }

    #[test]
    fn the_two_highest_bits_tell_the_severity() {
        assert_eq!(NtStatus::PENDING.severity(), Severity::Success);
        assert_eq!(NtStatus::BUFFER_OVERFLOW.severity(), Severity::Warning);
        assert!(!NtStatus::NO_MORE_FILES.is_error());
        assert!(NtStatus::ACCESS_DENIED.is_error());
    }

    #[test]
    fn a_status_shows_its_name_or_its_number() {
        assert_eq!(NtStatus::FILE_CLOSED.to_string(), "STATUS_FILE_CLOSED");
        assert_eq!(NtStatus(0xdead_beef).to_string(), "STATUS_0xdeadbeef");
    }
}
