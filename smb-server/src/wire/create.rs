//! CREATE: opens or creates a file, a directory or a pipe. MS-SMB2 2.2.13 and 2.2.14.

use bitflags::bitflags;

use super::access_mask::AccessMask;
use super::codec::{Malformed, Reader, Writer};
use super::file_id::FileId;
use super::filetime::FileTime;
use super::fscc::attributes::FileAttributes;
use super::utf16::Utf16;

/// MS-SMB2 2.2.13.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreateRequest {
    pub security_flags: u8,
    pub requested_oplock_level: OplockLevel,
    pub impersonation_level: ImpersonationLevel,
    pub smb_create_flags: u64,
    pub desired_access: AccessMask,
    pub file_attributes: FileAttributes,
    pub share_access: ShareAccess,
    pub create_disposition: CreateDisposition,
    pub create_options: CreateOptions,
    /// Relative to the share, without a leading backslash.
    pub name: Utf16,
    /// A chain for [`create_context`](super::create_context), as it came.
    pub contexts: Vec<u8>,
}

/// MS-SMB2 2.2.14.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreateResponse {
    pub oplock_level: OplockLevel,
    pub flags: CreateResponseFlags,
    pub create_action: CreateAction,
    pub creation_time: FileTime,
    pub last_access_time: FileTime,
    pub last_write_time: FileTime,
    pub change_time: FileTime,
    pub allocation_size: u64,
    pub end_of_file: u64,
    pub file_attributes: FileAttributes,
    pub file_id: FileId,
    /// A chain of [`create_context`](super::create_context).
    pub contexts: Vec<u8>,
}

open_enum! {
    /// MS-SMB2 2.2.13, RequestedOplockLevel.
    pub struct OplockLevel(u8) {
        NONE = 0x00,
        II = 0x01,
        EXCLUSIVE = 0x08,
        BATCH = 0x09,
        /// The level stands in a lease context.
        LEASE = 0xff,
    }
}

open_enum! {
    /// MS-SMB2 2.2.13, ImpersonationLevel.
    pub struct ImpersonationLevel(u32) {
        ANONYMOUS = 0,
        IDENTIFICATION = 1,
        IMPERSONATION = 2,
        DELEGATE = 3,
    }
}

open_enum! {
    /// MS-SMB2 2.2.13, CreateDisposition.
    pub struct CreateDisposition(u32) {
        SUPERSEDE = 0,
        OPEN = 1,
        CREATE = 2,
        OPEN_IF = 3,
        OVERWRITE = 4,
        OVERWRITE_IF = 5,
    }
}

open_enum! {
    /// MS-SMB2 2.2.14, CreateAction.
    pub struct CreateAction(u32) {
        SUPERSEDED = 0,
        OPENED = 1,
        CREATED = 2,
        OVERWRITTEN = 3,
    }
}

bitflags! {
    /// What other opens may do meanwhile.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct ShareAccess: u32 {
        const READ = 0x0000_0001;
        const WRITE = 0x0000_0002;
        const DELETE = 0x0000_0004;
    }
}

bitflags! {
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct CreateResponseFlags: u8 {
        const REPARSE_POINT = 0x01;
    }
}

bitflags! {
    /// MS-SMB2 2.2.13, CreateOptions.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct CreateOptions: u32 {
        const DIRECTORY_FILE = 0x0000_0001;
        const WRITE_THROUGH = 0x0000_0002;
        const SEQUENTIAL_ONLY = 0x0000_0004;
        const NO_INTERMEDIATE_BUFFERING = 0x0000_0008;
        const SYNCHRONOUS_IO_ALERT = 0x0000_0010;
        const SYNCHRONOUS_IO_NONALERT = 0x0000_0020;
        const NON_DIRECTORY_FILE = 0x0000_0040;
        const COMPLETE_IF_OPLOCKED = 0x0000_0100;
        const NO_EA_KNOWLEDGE = 0x0000_0200;
        const OPEN_REMOTE_INSTANCE = 0x0000_0400;
        const RANDOM_ACCESS = 0x0000_0800;
        const DELETE_ON_CLOSE = 0x0000_1000;
        const OPEN_BY_FILE_ID = 0x0000_2000;
        const OPEN_FOR_BACKUP_INTENT = 0x0000_4000;
        const NO_COMPRESSION = 0x0000_8000;
        const OPEN_REQUIRING_OPLOCK = 0x0001_0000;
        const DISALLOW_EXCLUSIVE = 0x0002_0000;
        const RESERVE_OPFILTER = 0x0010_0000;
        const OPEN_REPARSE_POINT = 0x0020_0000;
        const OPEN_NO_RECALL = 0x0040_0000;
        const OPEN_FOR_FREE_SPACE_QUERY = 0x0080_0000;
    }
}
