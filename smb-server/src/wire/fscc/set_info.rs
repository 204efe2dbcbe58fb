//! What only SET_INFO carries. MS-FSCC 2.4; `FileBasicInfo`, `FilePositionInfo` and `FileModeInfo` are in
//! [`file_info`](super::file_info), being both told and set.

use bitflags::bitflags;

use crate::wire::codec::{Malformed, Reader, Writer};
use crate::wire::utf16::Utf16;

/// MS-FSCC 2.4.37.2 in the form of SMB2. `FileRenameInformationEx` has the same layout with flags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileRenameInfo {
    pub flags: RenameFlags,
    /// 0 over SMB2.
    pub root_directory: u64,
    pub name: Utf16,
}

/// MS-FSCC 2.4.24.2: a hard link, laid out as a rename.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileLinkInfo {
    pub replace_if_exists: bool,
    /// 0 over SMB2.
    pub root_directory: u64,
    pub name: Utf16,
}

/// MS-FSCC 2.4.11.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileDispositionInfo {
    pub delete_pending: bool,
}

/// MS-FSCC 2.4.11 (FileDispositionInformationEx).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileDispositionInfoEx {
    pub flags: DispositionFlags,
}

/// MS-FSCC 2.4.4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileAllocationInfo {
    pub allocation_size: u64,
}

/// MS-FSCC 2.4.13.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileEndOfFileInfo {
    pub end_of_file: u64,
}

bitflags! {
    /// Of `FileRenameInformationEx`; the plain rename knows only the first.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct RenameFlags: u32 {
        const REPLACE_IF_EXISTS = 0x0000_0001;
        const POSIX_SEMANTICS = 0x0000_0002;
        const SUPPRESS_PIN_STATE_INHERITANCE = 0x0000_0004;
        const SUPPRESS_STORAGE_RESERVE_INHERITANCE = 0x0000_0008;
        const NO_INCREASE_AVAILABLE_SPACE = 0x0000_0010;
        const NO_DECREASE_AVAILABLE_SPACE = 0x0000_0020;
        const IGNORE_READONLY_ATTRIBUTE = 0x0000_0040;
    }
}

bitflags! {
    /// Of `FileDispositionInformationEx`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct DispositionFlags: u32 {
        const DELETE = 0x0000_0001;
        const POSIX_SEMANTICS = 0x0000_0002;
        const FORCE_IMAGE_SECTION_CHECK = 0x0000_0004;
        const ON_CLOSE = 0x0000_0008;
        const IGNORE_READONLY_ATTRIBUTE = 0x0000_0010;
    }
}
