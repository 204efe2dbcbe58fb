//! The payloads of server-side copies: FSCTL_SRV_REQUEST_RESUME_KEY and FSCTL_SRV_COPYCHUNK. MS-SMB2 2.2.31.1,
//! 2.2.32.1 and 2.2.32.3.

use super::codec::{Malformed, Reader, Writer};
use super::file_id::FileId;

/// Names an open to be copied from. MS-SMB2 2.2.32.3: 24 bytes that only the server understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResumeKey(pub [u8; 24]);

/// The output of FSCTL_SRV_REQUEST_RESUME_KEY. MS-SMB2 2.2.32.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SrvRequestResumeKey {
    pub resume_key: ResumeKey,
}

/// The input of FSCTL_SRV_COPYCHUNK. MS-SMB2 2.2.31.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SrvCopychunkCopy {
    pub source_key: ResumeKey,
    pub chunks: Vec<SrvCopychunk>,
}

/// One range to be copied. MS-SMB2 2.2.31.1.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SrvCopychunk {
    pub source_offset: u64,
    pub target_offset: u64,
    pub length: u32,
}

/// The output of FSCTL_SRV_COPYCHUNK: what was done, or, with INVALID_PARAMETER, what could be. MS-SMB2
/// 2.2.32.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SrvCopychunkResponse {
    pub chunks_written: u32,
    pub chunk_bytes_written: u32,
    pub total_bytes_written: u32,
}

impl ResumeKey {
    /// The key of an open is its FileId.
    pub fn of(file_id: FileId) -> Self {
        let mut key = [0; 24];
        let (persistent, rest) = key.split_at_mut(8);
        persistent.copy_from_slice(&file_id.persistent.to_le_bytes());
        if let Some(volatile) = rest.first_chunk_mut::<8>() {
            *volatile = file_id.volatile.to_le_bytes();
        }
        Self(key)
    }

    /// The open that it is the key of, if it is one.
    pub fn file_id(&self) -> Option<FileId> {
        let mut r = Reader::new(&self.0, "resume key");
        let file_id = FileId::decode(&mut r).ok()?;
        (Self::of(file_id) == *self).then_some(file_id)
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self(r.array()?))
    }
}

impl SrvRequestResumeKey {
    /// Its length, in bytes.
    pub const SIZE: usize = 32;

    pub fn decode(output: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(output, "SRV_REQUEST_RESUME_KEY");
        Ok(Self { resume_key: ResumeKey::decode(&mut r)? })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_bytes(&self.resume_key.0);
        // No context, which yet takes four bytes, as Windows has it.
        w.put_u32(0);
        w.put_u32(0);
    }
}

impl SrvCopychunkCopy {
    pub fn decode(input: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(input, "SRV_COPYCHUNK_COPY");
        let source_key = ResumeKey::decode(&mut r)?;
        let count = r.u32()?;
        r.skip(4)?;
        let chunks = (0..count).map(|_| SrvCopychunk::decode(&mut r)).collect::<Result<_, _>>()?;
        Ok(Self { source_key, chunks })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_bytes(&self.source_key.0);
        w.put_u32(u32::try_from(self.chunks.len()).unwrap_or(u32::MAX));
        w.put_u32(0);
        self.chunks.iter().for_each(|chunk| chunk.encode(w));
    }
}

impl SrvCopychunk {
    fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let chunk = Self { source_offset: r.u64()?, target_offset: r.u64()?, length: r.u32()? };
        r.skip(4)?;
        Ok(chunk)
    }

    fn encode(&self, w: &mut Writer<'_>) {
        w.put_u64(self.source_offset);
        w.put_u64(self.target_offset);
        w.put_u32(self.length);
        w.put_u32(0);
    }
}

impl SrvCopychunkResponse {
    /// Its length, in bytes.
    pub const SIZE: usize = 12;

    pub fn decode(output: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(output, "SRV_COPYCHUNK_RESPONSE");
        Ok(Self {
            chunks_written: r.u32()?,
            chunk_bytes_written: r.u32()?,
            total_bytes_written: r.u32()?,
        })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u32(self.chunks_written);
        w.put_u32(self.chunk_bytes_written);
        w.put_u32(self.total_bytes_written);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the tables of MS-SMB2 2.2.31.1 and 2.2.31.1.1.
    #[test]
    fn a_copy_has_a_key_a_count_and_chunks_of_24_bytes() {
        let mut input = (1..=24).collect::<Vec<u8>>();
        input.extend_from_slice(&[2, 0, 0, 0, 0xee, 0xee, 0xee, 0xee]);
        input.extend_from_slice(&[0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0]);
        input.extend_from_slice(&[0, 0, 1, 0, 0xee, 0xee, 0xee, 0xee]);
        input.extend_from_slice(&[1; 16]);
        input.extend_from_slice(&[5, 0, 0, 0, 0, 0, 0, 0]);
        let copy = SrvCopychunkCopy::decode(&input).unwrap();
        assert_eq!(copy.source_key.0, *input.first_chunk().unwrap());
        let first = SrvCopychunk { source_offset: 0x1000, target_offset: 0x2000, length: 0x10000 };
        assert_eq!(copy.chunks[0], first);
        assert_eq!(
            (copy.chunks[1].source_offset, copy.chunks[1].length),
            (0x0101_0101_0101_0101, 5)
        );
        assert!(SrvCopychunkCopy::decode(&input[..input.len() - 1]).is_err());
    }

    #[test]
    fn a_key_is_its_opens_and_nobody_elses() {
        let file_id = FileId { persistent: 7, volatile: 9 };
        assert_eq!(ResumeKey::of(file_id).file_id(), Some(file_id));
        assert_eq!(ResumeKey(*b"deadbeefdeadbeefdeadbeef").file_id(), None);
    }

    /// By the tables of MS-SMB2 2.2.32.1 and 2.2.32.3.
    #[test]
    fn answers_are_12_and_32_bytes() {
        let done = SrvCopychunkResponse {
            chunks_written: 1,
            chunk_bytes_written: 2,
            total_bytes_written: 3,
        };
        let mut bytes = Vec::new();
        done.encode(&mut Writer::new(&mut bytes));
        assert_eq!(bytes, [1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0]);
        let key = SrvRequestResumeKey { resume_key: ResumeKey([5; 24]) };
        let mut bytes = Vec::new();
        key.encode(&mut Writer::new(&mut bytes));
        assert_eq!(bytes, [[5; 24].as_slice(), &[0; 8]].concat());
    }
}
