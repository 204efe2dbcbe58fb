//! What QUERY_INFO tells about a file. MS-FSCC 2.4.

use crate::wire::access_mask::AccessMask;
use crate::wire::codec::{Malformed, Reader, Writer};
use crate::wire::compression::CompressionFormat;
use crate::wire::filetime::FileTime;
use crate::wire::fscc::attributes::FileAttributes;
use crate::wire::fscc::chain::{self, Chain};
use crate::wire::utf16::Utf16;

/// MS-FSCC FileBasicInformation. In a set, [`FileTime`]'s special values and empty attributes leave
/// things as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileBasicInfo {
    pub creation_time: FileTime,
    pub last_access_time: FileTime,
    pub last_write_time: FileTime,
    pub change_time: FileTime,
    pub file_attributes: FileAttributes,
}

/// MS-FSCC FileStandardInformation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileStandardInfo {
    pub allocation_size: u64,
    pub end_of_file: u64,
    pub number_of_links: u32,
    pub delete_pending: bool,
    pub directory: bool,
}

/// MS-FSCC FileInternalInformation: the file's number in its volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileInternalInfo {
    pub index_number: u64,
}

/// MS-FSCC FileEaInformation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileEaInfo {
    pub ea_size: u32,
}

/// MS-FSCC FileAccessInformation: what the handle may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileAccessInfo {
    pub access_flags: AccessMask,
}

/// MS-FSCC FilePositionInformation. Also set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FilePositionInfo {
    pub current_byte_offset: u64,
}

/// MS-FSCC FileModeInformation: some of the create options. Also set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileModeInfo {
    pub mode: u32,
}

/// MS-FSCC FileAlignmentInformation: a mask, 0 for byte alignment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileAlignmentInfo {
    pub alignment_requirement: u32,
}

/// MS-FSCC FileAllInformation: many of the others in one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileAllInfo {
    pub basic: FileBasicInfo,
    pub standard: FileStandardInfo,
    pub internal: FileInternalInfo,
    pub ea: FileEaInfo,
    pub access: FileAccessInfo,
    pub position: FilePositionInfo,
    pub mode: FileModeInfo,
    pub alignment: FileAlignmentInfo,
    pub name: Utf16,
}

/// MS-FSCC 2.1.7, a name behind its length: AlternateName, NormalizedName and Name answer with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileNameInfo {
    pub name: Utf16,
}

/// MS-FSCC FileStreamInformation: one stream; [`FileStreamInfo::encode_all`] chains them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileStreamInfo {
    pub size: u64,
    pub allocation_size: u64,
    /// With its type: `::$DATA`, `:name:$DATA`.
    pub name: Utf16,
}

/// MS-FSCC FileCompressionInformation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileCompressionInfo {
    pub compressed_file_size: u64,
    pub compression_format: CompressionFormat,
    pub compression_unit_shift: u8,
    pub chunk_shift: u8,
    pub cluster_shift: u8,
}

/// MS-FSCC FileNetworkOpenInformation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileNetworkOpenInfo {
    pub creation_time: FileTime,
    pub last_access_time: FileTime,
    pub last_write_time: FileTime,
    pub change_time: FileTime,
    pub allocation_size: u64,
    pub end_of_file: u64,
    pub file_attributes: FileAttributes,
}

/// MS-FSCC FileAttributeTagInformation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileAttributeTagInfo {
    pub file_attributes: FileAttributes,
    pub reparse_tag: u32,
}

/// MS-FSCC FileIdInformation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileIdInfo {
    pub volume_serial_number: u64,
    pub file_id: [u8; 16],
}

impl FileBasicInfo {
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let info = Self {
            creation_time: FileTime::decode(r)?,
            last_access_time: FileTime::decode(r)?,
            last_write_time: FileTime::decode(r)?,
            change_time: FileTime::decode(r)?,
            file_attributes: FileAttributes::from_bits_retain(r.u32()?),
        };
        r.skip(4)?;
        Ok(info)
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        self.creation_time.encode(w);
        self.last_access_time.encode(w);
        self.last_write_time.encode(w);
        self.change_time.encode(w);
        w.put_u32(self.file_attributes.bits());
        w.put_u32(0);
    }
}

impl FileStandardInfo {
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let info = Self {
            allocation_size: r.u64()?,
            end_of_file: r.u64()?,
            number_of_links: r.u32()?,
            delete_pending: r.u8()? != 0,
            directory: r.u8()? != 0,
        };
        r.skip(2)?;
        Ok(info)
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u64(self.allocation_size);
        w.put_u64(self.end_of_file);
        w.put_u32(self.number_of_links);
        w.put_u8(u8::from(self.delete_pending));
        w.put_u8(u8::from(self.directory));
        w.put_u16(0);
    }
}

impl FileInternalInfo {
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { index_number: r.u64()? })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u64(self.index_number);
    }
}

impl FileEaInfo {
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { ea_size: r.u32()? })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u32(self.ea_size);
    }
}

impl FileAccessInfo {
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { access_flags: AccessMask::from_bits_retain(r.u32()?) })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u32(self.access_flags.bits());
    }
}

impl FilePositionInfo {
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { current_byte_offset: r.u64()? })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u64(self.current_byte_offset);
    }
}

impl FileModeInfo {
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { mode: r.u32()? })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u32(self.mode);
    }
}

impl FileAlignmentInfo {
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { alignment_requirement: r.u32()? })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u32(self.alignment_requirement);
    }
}

impl FileAllInfo {
    /// What a buffer must have room for: Windows' structure, which ends with a first character and padding.
    /// The name may be cut off behind it.
    pub const FIXED: usize = 104;

    pub fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            basic: FileBasicInfo::decode(r)?,
            standard: FileStandardInfo::decode(r)?,
            internal: FileInternalInfo::decode(r)?,
            ea: FileEaInfo::decode(r)?,
            access: FileAccessInfo::decode(r)?,
            position: FilePositionInfo::decode(r)?,
            mode: FileModeInfo::decode(r)?,
            alignment: FileAlignmentInfo::decode(r)?,
            name: FileNameInfo::decode(r)?.name,
        })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        self.basic.encode(w);
        self.standard.encode(w);
        self.internal.encode(w);
        self.ea.encode(w);
        self.access.encode(w);
        self.position.encode(w);
        self.mode.encode(w);
        self.alignment.encode(w);
        put_name(&self.name, w);
    }
}

impl FileNameInfo {
    /// What a buffer must have room for: Windows' structure, which ends with a first character and padding.
    pub const FIXED: usize = 8;

    pub fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let length = r.length()?;
        Ok(Self { name: Utf16::decode(r.take(length)?)? })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        put_name(&self.name, w);
    }
}

/// A name behind its length in bytes.
pub(super) fn put_name(name: &Utf16, w: &mut Writer<'_>) {
    let name = name.to_bytes();
    w.put_length_u32(name.len());
    w.put_bytes(&name);
}

impl FileStreamInfo {
    /// What a buffer must have room for: Windows' structure, which ends with a first character and padding.
    pub const FIXED: usize = 32;

    /// The streams of a chain; an empty buffer has none.
    pub fn decode_all(chain: &[u8]) -> Result<Vec<Self>, Malformed> {
        chain::decode(chain, "FileStreamInformation", Self::decode)
    }

    /// As many of the streams as fit into `limit` bytes, and whether that was all.
    pub fn encode_all(streams: &[Self], limit: usize) -> (Vec<u8>, bool) {
        let mut chain = Chain::new(8, limit);
        let all = streams.iter().all(|stream| chain.push(|w| stream.encode(w)).is_ok());
        (chain.into_bytes(), all)
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let length = r.length()?;
        let size = r.u64()?;
        let allocation_size = r.u64()?;
        Ok(Self { size, allocation_size, name: Utf16::decode(r.take(length)?)? })
    }

    fn encode(&self, w: &mut Writer<'_>) {
        let name = self.name.to_bytes();
        w.put_length_u32(name.len());
        w.put_u64(self.size);
        w.put_u64(self.allocation_size);
        w.put_bytes(&name);
    }
}

impl FileCompressionInfo {
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let info = Self {
            compressed_file_size: r.u64()?,
            compression_format: CompressionFormat(r.u16()?),
            compression_unit_shift: r.u8()?,
            chunk_shift: r.u8()?,
            cluster_shift: r.u8()?,
        };
        r.skip(3)?;
        Ok(info)
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u64(self.compressed_file_size);
        w.put_u16(self.compression_format.0);
        w.put_u8(self.compression_unit_shift);
        w.put_u8(self.chunk_shift);
        w.put_u8(self.cluster_shift);
        w.put_zeros(3);
    }
}

impl FileNetworkOpenInfo {
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let info = Self {
            creation_time: FileTime::decode(r)?,
            last_access_time: FileTime::decode(r)?,
            last_write_time: FileTime::decode(r)?,
            change_time: FileTime::decode(r)?,
            allocation_size: r.u64()?,
            end_of_file: r.u64()?,
            file_attributes: FileAttributes::from_bits_retain(r.u32()?),
        };
        r.skip(4)?;
        Ok(info)
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        self.creation_time.encode(w);
        self.last_access_time.encode(w);
        self.last_write_time.encode(w);
        self.change_time.encode(w);
        w.put_u64(self.allocation_size);
        w.put_u64(self.end_of_file);
        w.put_u32(self.file_attributes.bits());
        w.put_u32(0);
    }
}

impl FileAttributeTagInfo {
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            file_attributes: FileAttributes::from_bits_retain(r.u32()?),
            reparse_tag: r.u32()?,
        })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u32(self.file_attributes.bits());
        w.put_u32(self.reparse_tag);
    }
}

impl FileIdInfo {
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { volume_serial_number: r.u64()?, file_id: r.array()? })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u64(self.volume_serial_number);
        w.put_bytes(&self.file_id);
    }
}
