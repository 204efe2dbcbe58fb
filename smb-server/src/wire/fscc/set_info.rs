//! What only SET_INFO carries. MS-FSCC 2.4; `FileBasicInfo`, `FilePositionInfo` and `FileModeInfo`
//! are in [`file_info`](super::file_info), being both told and set.

use bitflags::bitflags;

use crate::wire::codec::{Malformed, Reader, Writer};
use crate::wire::fscc::file_info::{FileNameInfo, put_name};
use crate::wire::utf16::Utf16;

/// MS-FSCC FileRenameInformation in the form of SMB2. `FileRenameInformationEx` has the same layout
/// with flags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileRenameInfo {
    pub flags: RenameFlags,
    /// 0 over SMB2.
    pub root_directory: u64,
    pub name: Utf16,
}

/// MS-FSCC FileLinkInformation: a hard link, laid out as a rename.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileLinkInfo {
    pub replace_if_exists: bool,
    /// 0 over SMB2.
    pub root_directory: u64,
    pub name: Utf16,
}

/// MS-FSCC FileDispositionInformation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileDispositionInfo {
    pub delete_pending: bool,
}

/// MS-FSCC FileDispositionInformationEx.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileDispositionInfoEx {
    pub flags: DispositionFlags,
}

/// MS-FSCC FileAllocationInformation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileAllocationInfo {
    pub allocation_size: u64,
}

/// MS-FSCC FileEndOfFileInformation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileEndOfFileInfo {
    pub end_of_file: u64,
}

bitflags! {
    /// Of `FileRenameInformationEx`; the plain rename knows only the first.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct RenameFlags: u32 {
        const REPLACE_IF_EXISTS = 0x0000_0001;
        const POSIX_SEMANTICS = 0x0000_0002;
        const SUPPRESS_PIN_STATE_INHERITANCE = 0x0000_0004;
        const SUPPRESS_STORAGE_RESERVE_INHERITANCE = 0x0000_0008;
        const NO_INCREASE_AVAILABLE_SPACE = 0x0000_0010;
        const NO_DECREASE_AVAILABLE_SPACE = 0x0000_0020;
        const IGNORE_READONLY_ATTRIBUTE = 0x0000_0040;
    }
}

bitflags! {
    /// Of `FileDispositionInformationEx`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct DispositionFlags: u32 {
        const DELETE = 0x0000_0001;
        const POSIX_SEMANTICS = 0x0000_0002;
        const FORCE_IMAGE_SECTION_CHECK = 0x0000_0004;
        const ON_CLOSE = 0x0000_0008;
        const IGNORE_READONLY_ATTRIBUTE = 0x0000_0010;
    }
}

impl FileRenameInfo {
    /// Reads `FileRenameInformation`.
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let flags =
            if r.u8()? == 0 { RenameFlags::empty() } else { RenameFlags::REPLACE_IF_EXISTS };
        r.skip(7)?;
        Self::decode_tail(flags, r)
    }

    /// Reads `FileRenameInformationEx`.
    pub fn decode_ex(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let flags = RenameFlags::from_bits_retain(r.u32()?);
        r.skip(4)?;
        Self::decode_tail(flags, r)
    }

    fn decode_tail(flags: RenameFlags, r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let root_directory = r.u64()?;
        Ok(Self { flags, root_directory, name: FileNameInfo::decode(r)?.name })
    }

    /// Writes either; the plain form when no flag but the first is set.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u32(self.flags.bits());
        w.put_u32(0);
        w.put_u64(self.root_directory);
        put_name(&self.name, w);
    }
}

impl FileLinkInfo {
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let replace_if_exists = r.u8()? != 0;
        r.skip(7)?;
        let root_directory = r.u64()?;
        Ok(Self { replace_if_exists, root_directory, name: FileNameInfo::decode(r)?.name })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u64(u64::from(self.replace_if_exists));
        w.put_u64(self.root_directory);
        put_name(&self.name, w);
    }
}

impl FileDispositionInfo {
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { delete_pending: r.u8()? != 0 })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u8(u8::from(self.delete_pending));
    }
}

impl FileDispositionInfoEx {
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { flags: DispositionFlags::from_bits_retain(r.u32()?) })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u32(self.flags.bits());
    }
}

impl FileAllocationInfo {
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { allocation_size: r.u64()? })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u64(self.allocation_size);
    }
}

impl FileEndOfFileInfo {
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { end_of_file: r.u64()? })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u64(self.end_of_file);
    }
}
