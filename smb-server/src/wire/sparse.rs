//! The payloads of the controls of sparse files. MS-FSCC 2.3.

use super::codec::{Malformed, Reader, Writer};

/// A range of a file: FILE_ALLOCATED_RANGE_BUFFER, MS-FSCC 2.3.52.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileAllocatedRange {
    pub file_offset: i64,
    pub length: i64,
}

/// FILE_ZERO_DATA_INFORMATION, MS-FSCC 2.3.85.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileZeroDataInfo {
    pub file_offset: i64,
    /// The first byte behind the range.
    pub beyond_final_zero: i64,
}

impl FileAllocatedRange {
    /// Its length, in bytes.
    pub const SIZE: usize = 16;

    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(bytes, "FILE_ALLOCATED_RANGE_BUFFER");
        Ok(Self { file_offset: r.u64()?.cast_signed(), length: r.u64()?.cast_signed() })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u64(self.file_offset.cast_unsigned());
        w.put_u64(self.length.cast_unsigned());
    }
}

impl FileZeroDataInfo {
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(bytes, "FILE_ZERO_DATA_INFORMATION");
        Ok(Self { file_offset: r.u64()?.cast_signed(), beyond_final_zero: r.u64()?.cast_signed() })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u64(self.file_offset.cast_unsigned());
        w.put_u64(self.beyond_final_zero.cast_unsigned());
    }
}

/// FILE_SET_SPARSE_BUFFER, MS-FSCC 2.3.83: without one it is to be sparse.
pub fn decode_set_sparse(input: &[u8]) -> bool {
    input.first().is_none_or(|sparse| *sparse != 0)
}
