//! CREATE: opens or creates a file, a directory or a pipe. MS-SMB2 2.2.13 and 2.2.14.

use bitflags::bitflags;

use super::access_mask::AccessMask;
use super::codec::{Malformed, Reader, Writer};
use super::file_id::FileId;
use super::filetime::FileTime;
use super::fscc::attributes::FileAttributes;
use super::utf16::Utf16;

/// MS-SMB2 2.2.13.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreateRequest {
    pub security_flags: u8,
    pub requested_oplock_level: OplockLevel,
    pub impersonation_level: ImpersonationLevel,
    pub smb_create_flags: u64,
    pub desired_access: AccessMask,
    pub file_attributes: FileAttributes,
    pub share_access: ShareAccess,
    pub create_disposition: CreateDisposition,
    pub create_options: CreateOptions,
    /// Relative to the share, without a leading backslash.
    pub name: Utf16,
    /// A chain for [`create_context`](super::create_context), as it came.
    pub contexts: Vec<u8>,
}

/// MS-SMB2 2.2.14.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreateResponse {
    pub oplock_level: OplockLevel,
    pub flags: CreateResponseFlags,
    pub create_action: CreateAction,
    pub creation_time: FileTime,
    pub last_access_time: FileTime,
    pub last_write_time: FileTime,
    pub change_time: FileTime,
    pub allocation_size: u64,
    pub end_of_file: u64,
    pub file_attributes: FileAttributes,
    pub file_id: FileId,
    /// A chain of [`create_context`](super::create_context).
    pub contexts: Vec<u8>,
}

open_enum! {
    /// MS-SMB2 2.2.13, RequestedOplockLevel.
    pub struct OplockLevel(u8) {
        NONE = 0x00,
        II = 0x01,
        EXCLUSIVE = 0x08,
        BATCH = 0x09,
        /// The level stands in a lease context.
        LEASE = 0xff,
    }
}

open_enum! {
    /// MS-SMB2 2.2.13, ImpersonationLevel.
    pub struct ImpersonationLevel(u32) {
        ANONYMOUS = 0,
        IDENTIFICATION = 1,
        IMPERSONATION = 2,
        DELEGATE = 3,
    }
}

open_enum! {
    /// MS-SMB2 2.2.13, CreateDisposition.
    pub struct CreateDisposition(u32) {
        SUPERSEDE = 0,
        OPEN = 1,
        CREATE = 2,
        OPEN_IF = 3,
        OVERWRITE = 4,
        OVERWRITE_IF = 5,
    }
}

open_enum! {
    /// MS-SMB2 2.2.14, CreateAction.
    pub struct CreateAction(u32) {
        SUPERSEDED = 0,
        OPENED = 1,
        CREATED = 2,
        OVERWRITTEN = 3,
    }
}

bitflags! {
    /// What other opens may do meanwhile.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct ShareAccess: u32 {
        const READ = 0x0000_0001;
        const WRITE = 0x0000_0002;
        const DELETE = 0x0000_0004;
    }
}

bitflags! {
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct CreateResponseFlags: u8 {
        const REPARSE_POINT = 0x01;
    }
}

bitflags! {
    /// MS-SMB2 2.2.13, CreateOptions.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct CreateOptions: u32 {
        const DIRECTORY_FILE = 0x0000_0001;
        const WRITE_THROUGH = 0x0000_0002;
        const SEQUENTIAL_ONLY = 0x0000_0004;
        const NO_INTERMEDIATE_BUFFERING = 0x0000_0008;
        const SYNCHRONOUS_IO_ALERT = 0x0000_0010;
        const SYNCHRONOUS_IO_NONALERT = 0x0000_0020;
        const NON_DIRECTORY_FILE = 0x0000_0040;
        const COMPLETE_IF_OPLOCKED = 0x0000_0100;
        const NO_EA_KNOWLEDGE = 0x0000_0200;
        const OPEN_REMOTE_INSTANCE = 0x0000_0400;
        const RANDOM_ACCESS = 0x0000_0800;
        const DELETE_ON_CLOSE = 0x0000_1000;
        const OPEN_BY_FILE_ID = 0x0000_2000;
        const OPEN_FOR_BACKUP_INTENT = 0x0000_4000;
        const NO_COMPRESSION = 0x0000_8000;
        const OPEN_REQUIRING_OPLOCK = 0x0001_0000;
        const DISALLOW_EXCLUSIVE = 0x0002_0000;
        const RESERVE_OPFILTER = 0x0010_0000;
        const OPEN_REPARSE_POINT = 0x0020_0000;
        const OPEN_NO_RECALL = 0x0040_0000;
        const OPEN_FOR_FREE_SPACE_QUERY = 0x0080_0000;
    }
}

impl CreateRequest {
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::body(message, 57, "CREATE request")?;
        let security_flags = r.u8()?;
        let requested_oplock_level = OplockLevel(r.u8()?);
        let impersonation_level = ImpersonationLevel(r.u32()?);
        let smb_create_flags = r.u64()?;
        r.skip(8)?;
        let desired_access = AccessMask::from_bits_retain(r.u32()?);
        let file_attributes = FileAttributes::from_bits_retain(r.u32()?);
        let share_access = ShareAccess::from_bits_retain(r.u32()?);
        let create_disposition = CreateDisposition(r.u32()?);
        let create_options = CreateOptions::from_bits_retain(r.u32()?);
        let name = (r.u16()?, r.u16()?);
        let contexts = (r.u32()?, r.u32()?);
        let name = Utf16::decode(r.window(name.0, name.1)?)?;
        let contexts = r.window(contexts.0, contexts.1)?.to_vec();
        Ok(Self {
            security_flags,
            requested_oplock_level,
            impersonation_level,
            smb_create_flags,
            desired_access,
            file_attributes,
            share_access,
            create_disposition,
            create_options,
            name,
            contexts,
        })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u16(57);
        w.put_u8(self.security_flags);
        w.put_u8(self.requested_oplock_level.0);
        w.put_u32(self.impersonation_level.0);
        w.put_u64(self.smb_create_flags);
        w.put_u64(0);
        w.put_u32(self.desired_access.bits());
        w.put_u32(self.file_attributes.bits());
        w.put_u32(self.share_access.bits());
        w.put_u32(self.create_disposition.0);
        w.put_u32(self.create_options.bits());
        let (name_offset, name_length) = (w.reserve_u16(), w.reserve_u16());
        let (contexts_offset, contexts_length) = (w.reserve_u32(), w.reserve_u32());
        let name = self.name.to_bytes();
        w.attach(name_offset, name_length, &name);
        w.pad_if_empty(&name);
        if !self.contexts.is_empty() {
            w.align(8);
        }
        w.attach_if_any(contexts_offset, contexts_length, &self.contexts);
    }
}

impl CreateResponse {
    pub fn decode(message: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::body(message, 89, "CREATE response")?;
        let oplock_level = OplockLevel(r.u8()?);
        let flags = CreateResponseFlags::from_bits_retain(r.u8()?);
        let create_action = CreateAction(r.u32()?);
        let creation_time = FileTime::decode(&mut r)?;
        let last_access_time = FileTime::decode(&mut r)?;
        let last_write_time = FileTime::decode(&mut r)?;
        let change_time = FileTime::decode(&mut r)?;
        let allocation_size = r.u64()?;
        let end_of_file = r.u64()?;
        let file_attributes = FileAttributes::from_bits_retain(r.u32()?);
        r.skip(4)?;
        let file_id = FileId::decode(&mut r)?;
        let contexts = (r.u32()?, r.u32()?);
        let contexts = r.window(contexts.0, contexts.1)?.to_vec();
        Ok(Self {
            oplock_level,
            flags,
            create_action,
            creation_time,
            last_access_time,
            last_write_time,
            change_time,
            allocation_size,
            end_of_file,
            file_attributes,
            file_id,
            contexts,
        })
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        w.put_u16(89);
        w.put_u8(self.oplock_level.0);
        w.put_u8(self.flags.bits());
        w.put_u32(self.create_action.0);
        self.creation_time.encode(w);
        self.last_access_time.encode(w);
        self.last_write_time.encode(w);
        self.change_time.encode(w);
        w.put_u64(self.allocation_size);
        w.put_u64(self.end_of_file);
        w.put_u32(self.file_attributes.bits());
        w.put_u32(0);
        self.file_id.encode(w);
        // The fixed part ends on a multiple of 8, which is where contexts must start.
        let (offset, length) = (w.reserve_u32(), w.reserve_u32());
        w.attach_if_any(offset, length, &self.contexts);
    }
}
