//! The payload of FSCTL_DUPLICATE_EXTENTS_TO_FILE, in its two forms. MS-FSCC 2.3.7 and 2.3.9.

use super::codec::{Malformed, Reader, Writer};
use super::file_id::FileId;

/// SMB2_DUPLICATE_EXTENTS_DATA, MS-FSCC 2.3.7.2, and SMB2_DUPLICATE_EXTENTS_DATA_EX, 2.3.9.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DuplicateExtentsData {
    pub source_file_id: FileId,
    pub source_file_offset: i64,
    pub target_file_offset: i64,
    pub byte_count: i64,
    /// DUPLICATE_EXTENTS_DATA_EX_SOURCE_ATOMIC, which the longer form alone has.
    pub source_atomic: bool,
}

/// What the longer form says its size is: that of Windows' own structure, with a handle in place of a FileId.
const EX_STRUCTURE_SIZE: u64 = 0x30;

const SOURCE_ATOMIC: u32 = 0x1;

impl DuplicateExtentsData {
    pub fn decode(input: &[u8]) -> Result<Self, Malformed> {
        Self::decode_common(&mut Reader::new(input, "SMB2_DUPLICATE_EXTENTS_DATA"))
    }

    pub fn decode_ex(input: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(input, "SMB2_DUPLICATE_EXTENTS_DATA_EX");
        if r.u64()? != EX_STRUCTURE_SIZE {
            return Err(r.malformed());
        }
        let data = Self::decode_common(&mut r)?;
        let flags = r.u32()?;
        r.skip(4)?;
        Ok(Self { source_atomic: flags & SOURCE_ATOMIC != 0, ..data })
    }

    fn decode_common(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            source_file_id: FileId::decode(r)?,
            source_file_offset: r.u64()?.cast_signed(),
            target_file_offset: r.u64()?.cast_signed(),
            byte_count: r.u64()?.cast_signed(),
            source_atomic: false,
        })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        self.source_file_id.encode(w);
        w.put_u64(self.source_file_offset.cast_unsigned());
        w.put_u64(self.target_file_offset.cast_unsigned());
        w.put_u64(self.byte_count.cast_unsigned());
    }

    pub fn encode_ex(&self, w: &mut Writer<'_>) {
        w.put_u64(EX_STRUCTURE_SIZE);
        self.encode(w);
        w.put_u32(if self.source_atomic { SOURCE_ATOMIC } else { 0 });
        w.put_u32(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: DuplicateExtentsData = DuplicateExtentsData {
        source_file_id: FileId { persistent: 0x0101, volatile: 0x0202 },
        source_file_offset: 0x1000,
        target_file_offset: 0x2000,
        byte_count: 0x3000,
        source_atomic: false,
    };

    /// By the tables of MS-FSCC 2.3.7.2 and 2.3.9.2.
    #[test]
    fn the_two_forms_are_40_and_56_bytes() {
        let id = [1, 1, 0, 0, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 0, 0];
        let numbers = [0x10_u8, 0x20, 0x30].map(|n| [0, n, 0, 0, 0, 0, 0, 0]).concat();
        let short = [id.as_slice(), &numbers].concat();
        assert_eq!(short.len(), 40);
        assert_eq!(DuplicateExtentsData::decode(&short).unwrap(), DATA);
        let long =
            [&[0x30, 0, 0, 0, 0, 0, 0, 0], short.as_slice(), &[1, 0, 0, 0], &[0; 4]].concat();
        assert_eq!(long.len(), 56);
        let atomic = DuplicateExtentsData { source_atomic: true, ..DATA };
        assert_eq!(DuplicateExtentsData::decode_ex(&long).unwrap(), atomic);
        let mut encoded = Vec::new();
        DATA.encode(&mut Writer::new(&mut encoded));
        assert_eq!(encoded, short);
        encoded.clear();
        atomic.encode_ex(&mut Writer::new(&mut encoded));
        assert_eq!(encoded, long);
    }

    #[test]
    fn what_is_cut_off_or_of_another_size_is_malformed() {
        let mut long = Vec::new();
        DATA.encode_ex(&mut Writer::new(&mut long));
        for cut in 0..40 {
            assert!(DuplicateExtentsData::decode(&long[8..8 + cut]).is_err(), "{cut}");
        }
        for cut in 0..long.len() {
            assert!(DuplicateExtentsData::decode_ex(&long[..cut]).is_err(), "{cut}");
        }
        long[0] = 0x38;
        assert!(DuplicateExtentsData::decode_ex(&long).is_err());
    }
}
