//! The 16-byte handle of an open file. MS-SMB2 2.2.14.1.

use super::codec::{Malformed, Reader, Writer};

/// A file handle as the client holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    pub persistent: u64,
    pub volatile: u64,
}

impl FileId {
    pub const SIZE: usize = 16;
    /// In a related compound: the handle of the request before. In an ioctl: no handle.
    pub const ANY: Self = Self { persistent: u64::MAX, volatile: u64::MAX };

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { persistent: reader.u64()?, volatile: reader.u64()? })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u64(self.persistent);
        w.put_u64(self.volatile);
    }
}
