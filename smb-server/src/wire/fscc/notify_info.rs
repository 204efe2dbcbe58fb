//! What changed in a watched directory: FILE_NOTIFY_INFORMATION. MS-FSCC 2.7.1.

use crate::wire::codec::{Malformed, Reader, Writer};
use crate::wire::utf16::Utf16;

/// One change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileNotifyInfo {
    pub action: NotifyAction,
    /// Relative to the watched directory, with backslashes.
    pub name: Utf16,
}

open_enum! {
    pub struct NotifyAction(u32) {
        ADDED = 1,
        REMOVED = 2,
        MODIFIED = 3,
        RENAMED_OLD_NAME = 4,
        RENAMED_NEW_NAME = 5,
        ADDED_STREAM = 6,
        REMOVED_STREAM = 7,
        MODIFIED_STREAM = 8,
        REMOVED_BY_DELETE = 9,
    }
}
