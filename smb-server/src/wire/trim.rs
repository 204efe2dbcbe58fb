//! The payloads of FSCTL_FILE_LEVEL_TRIM. MS-FSCC 2.3.13 and 2.3.14.

use super::codec::{Malformed, Reader, Writer};

/// FILE_LEVEL_TRIM. Its key is for those who lock on others' behalf, and of no use here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileLevelTrim {
    pub ranges: Vec<FileLevelTrimRange>,
}

/// FILE_LEVEL_TRIM_RANGE, MS-FSCC 2.3.13.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileLevelTrimRange {
    pub offset: u64,
    pub length: u64,
}

/// FILE_LEVEL_TRIM_OUTPUT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileLevelTrimOutput {
    pub num_ranges_processed: u32,
}

impl FileLevelTrim {
    pub fn decode(input: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(input, "FILE_LEVEL_TRIM");
        r.skip(4)?;
        let count = r.u32()?;
        let range = |_| Ok(FileLevelTrimRange { offset: r.u64()?, length: r.u64()? });
        Ok(Self { ranges: (0..count).map(range).collect::<Result<_, _>>()? })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u32(0);
        w.put_length_u32(self.ranges.len());
        for range in &self.ranges {
            w.put_u64(range.offset);
            w.put_u64(range.length);
        }
    }
}

impl FileLevelTrimOutput {
    /// Its length, in bytes.
    pub const SIZE: usize = 4;

    pub fn decode(output: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(output, "FILE_LEVEL_TRIM_OUTPUT");
        Ok(Self { num_ranges_processed: r.u32()? })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u32(self.num_ranges_processed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the tables of MS-FSCC 2.3.13 and 2.3.13.1.
    #[test]
    fn a_trim_has_a_key_a_count_and_ranges_of_16_bytes() {
        let mut input = vec![0xee, 0xee, 0xee, 0xee, 2, 0, 0, 0];
        input.extend_from_slice(&[0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0]);
        input.extend_from_slice(&[0xff; 16]);
        let first = FileLevelTrimRange { offset: 0x1000, length: 0x2000 };
        let second = FileLevelTrimRange { offset: u64::MAX, length: u64::MAX };
        let trim = FileLevelTrim { ranges: vec![first, second] };
        assert_eq!(FileLevelTrim::decode(&input).unwrap(), trim);
        let mut encoded = Vec::new();
        trim.encode(&mut Writer::new(&mut encoded));
        assert_eq!((&encoded[..4], &encoded[4..]), (&[0; 4][..], &input[4..]));
        for cut in 0..input.len() {
            assert!(FileLevelTrim::decode(&input[..cut]).is_err(), "{cut}");
        }
        // A count that lies allocates nothing for it.
        input[4..8].fill(0xff);
        assert!(FileLevelTrim::decode(&input).is_err());
    }
}
