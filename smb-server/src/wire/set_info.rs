//! SET_INFO: changes attributes of a file or a volume. MS-SMB2 2.2.39 and 2.2.40.

use super::codec::{Malformed, Reader, Writer};
use super::file_id::FileId;
use super::query_info::InfoType;

/// MS-SMB2 2.2.39.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetInfoRequest {
    pub info_type: InfoType,
    /// As in [`QueryInfoRequest`](super::query_info::QueryInfoRequest).
    pub info_class: u8,
    /// [`SecurityInformation`](super::query_info::SecurityInformation) for security.
    pub additional_information: u32,
    pub file_id: FileId,
    pub buffer: Vec<u8>,
}

/// MS-SMB2 2.2.40.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetInfoResponse;
