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

impl SetInfoRequest {
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::body(message, 33, "SET_INFO request")?;
        let info_type = InfoType(r.u8()?);
        let info_class = r.u8()?;
        let length = r.u32()?;
        let offset = r.u16()?;
        r.skip(2)?;
        let additional_information = r.u32()?;
        let file_id = FileId::decode(&mut r)?;
        let buffer = r.window(offset, length)?.to_vec();
        Ok(Self { info_type, info_class, additional_information, file_id, buffer })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u16(33);
        w.put_u8(self.info_type.0);
        w.put_u8(self.info_class);
        let length = w.reserve_u32();
        let offset = w.reserve_u16();
        w.put_u16(0);
        w.put_u32(self.additional_information);
        self.file_id.encode(w);
        w.attach(offset, length, &self.buffer);
        w.pad_if_empty(&self.buffer);
    }
}

impl SetInfoResponse {
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        Reader::body(message, 2, "SET_INFO response").map(|_| Self)
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u16(2);
    }
}
