//! What changed in a watched directory: FILE_NOTIFY_INFORMATION. MS-FSCC 2.7.1.

use crate::wire::codec::{Malformed, Reader, Writer};
use crate::wire::fscc::chain::{self, Chain, DoesNotFit};
use crate::wire::fscc::file_info::{FileNameInfo, put_name};
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

impl FileNotifyInfo {
    /// The changes of a chain; an empty buffer has none.
    pub fn decode_all(chain: &[u8]) -> Result<Vec<Self>, Malformed> {
        chain::decode(chain, "FILE_NOTIFY_INFORMATION", Self::decode)
    }

    /// A chain of these changes, unless it would be longer than `limit` bytes: then the client has
    /// to list the directory again (`STATUS_NOTIFY_ENUM_DIR`).
    pub fn encode_all(changes: &[Self], limit: usize) -> Result<Vec<u8>, DoesNotFit> {
        let mut chain = Chain::new(4, limit);
        for change in changes {
            chain.push(|w| change.encode(w))?;
        }
        Ok(chain.into_bytes())
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { action: NotifyAction(r.u32()?), name: FileNameInfo::decode(r)?.name })
    }

    fn encode(&self, w: &mut Writer<'_>) {
        w.put_u32(self.action.0);
        put_name(&self.name, w);
    }
}
