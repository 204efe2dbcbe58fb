//! Requests of the raw client with every field in the test's hand, and what their answers say.

use libtest_mimic::Failed;

use super::Outcome;
use super::session::{HEADER, Session, command, expect, status, u32_at, utf16};

pub(crate) type FileId = [u8; 16];

/// MS-SMB2 2.2.13.1.1.
pub(crate) mod access {
    pub(crate) const WRITE_DATA: u32 = 0x02;
    pub(crate) const APPEND_DATA: u32 = 0x04;
    pub(crate) const DELETE: u32 = 0x0001_0000;
    pub(crate) const WRITE_DAC: u32 = 0x0004_0000;
    pub(crate) const WRITE_OWNER: u32 = 0x0008_0000;
    pub(crate) const READ: u32 = 0x0012_0089;
    pub(crate) const READ_AND_WRITE: u32 = 0x0012_019f;
    pub(crate) const ALL: u32 = 0x001f_01ff;
    pub(crate) const READ_ATTRIBUTES: u32 = 0x80;
    pub(crate) const WRITE_ATTRIBUTES: u32 = 0x100;
    pub(crate) const MAXIMUM_ALLOWED: u32 = 0x0200_0000;
}

/// MS-ERREF 2.3.
pub(crate) mod nt {
    pub(crate) const END_OF_FILE: u32 = 0xc000_0011;
    pub(crate) const SUCCESS: u32 = 0;
    pub(crate) const PENDING: u32 = 0x0000_0103;
    pub(crate) const STOPPED_ON_SYMLINK: u32 = 0x8000_002d;
    pub(crate) const INVALID_PARAMETER: u32 = 0xc000_000d;
    pub(crate) const NO_SUCH_FILE: u32 = 0xc000_000f;
    pub(crate) const INVALID_DEVICE_REQUEST: u32 = 0xc000_0010;
    pub(crate) const ACCESS_DENIED: u32 = 0xc000_0022;
    pub(crate) const OBJECT_NAME_NOT_FOUND: u32 = 0xc000_0034;
    pub(crate) const OBJECT_NAME_COLLISION: u32 = 0xc000_0035;
    pub(crate) const PIPE_DISCONNECTED: u32 = 0xc000_00b0;
    pub(crate) const PIPE_BROKEN: u32 = 0xc000_014b;
    pub(crate) const FILE_LOCK_CONFLICT: u32 = 0xc000_0054;
    pub(crate) const LOCK_NOT_GRANTED: u32 = 0xc000_0055;
    pub(crate) const DISK_FULL: u32 = 0xc000_007f;
    pub(crate) const DELETE_PENDING: u32 = 0xc000_0056;
    pub(crate) const INVALID_OWNER: u32 = 0xc000_005a;
    pub(crate) const INTEGER_OVERFLOW: u32 = 0xc000_0095;
    pub(crate) const NOT_SUPPORTED: u32 = 0xc000_00bb;
    pub(crate) const RANGE_NOT_LOCKED: u32 = 0xc000_007e;
    pub(crate) const FILE_IS_A_DIRECTORY: u32 = 0xc000_00ba;
    pub(crate) const DIRECTORY_NOT_EMPTY: u32 = 0xc000_0101;
    pub(crate) const NOT_A_DIRECTORY: u32 = 0xc000_0103;
    pub(crate) const NOT_A_REPARSE_POINT: u32 = 0xc000_0275;
    pub(crate) const CANCELLED: u32 = 0xc000_0120;
    pub(crate) const CANNOT_DELETE: u32 = 0xc000_0121;
}

/// MS-FSCC 2.6.
pub(crate) mod attribute {
    pub(crate) const READONLY: u32 = 0x01;
    pub(crate) const HIDDEN: u32 = 0x02;
    pub(crate) const DIRECTORY: u32 = 0x10;
    pub(crate) const REPARSE_POINT: u32 = 0x400;
    pub(crate) const ARCHIVE: u32 = 0x20;
    pub(crate) const NORMAL: u32 = 0x80;
}

/// Parts of a security descriptor, MS-DTYP 2.4.7.
const OWNER: u32 = 1;
const DACL: u32 = 4;

const DIRECTORY_FILE: u32 = 1;
const NON_DIRECTORY_FILE: u32 = 0x40;
const DELETE_ON_CLOSE: u32 = 0x1000;
const OPEN_REPARSE_POINT: u32 = 0x0020_0000;
const OPEN: u32 = 1;
const OPEN_IF: u32 = 3;
const OVERWRITE: u32 = 4;
const SHARE_ALL: u32 = 7;
/// CREATE's body up to the name, MS-SMB2 2.2.13.
const CREATE_FIXED: usize = 56;
/// IOCTL's body up to its input, MS-SMB2 2.2.31.
const IOCTL_FIXED: usize = 56;
const IS_FSCTL: u32 = 1;
/// More than any control here answers with.
const CONTROL_OUTPUT: u32 = 16 * 1024;

/// A create context.
#[derive(Clone, Copy)]
enum Context {
    MaximalAccess,
    AllocationSize(u64),
    DurableReconnect(FileId),
}

/// A CREATE of what exists, which lets others do everything.
#[derive(Clone, Copy)]
pub(crate) struct Create<'a> {
    name: &'a str,
    access: u32,
    share: u32,
    disposition: u32,
    options: u32,
    attributes: u32,
    context: Option<Context>,
    oplock: u8,
}

impl<'a> Create<'a> {
    pub(crate) fn open(name: &'a str, access: u32) -> Self {
        let (share, disposition, options) = (SHARE_ALL, OPEN, 0);
        let (attributes, context, oplock) = (0, None, 0);
        Self { name, access, share, disposition, options, attributes, context, oplock }
    }

    pub(crate) fn exclusive(self) -> Self {
        Self { share: 0, ..self }
    }

    pub(crate) fn or_create(self) -> Self {
        Self { disposition: OPEN_IF, ..self }
    }

    /// In place of the contents that there are.
    pub(crate) fn overwriting(self) -> Self {
        Self { disposition: OVERWRITE, ..self }
    }

    pub(crate) fn attributes(self, attributes: u32) -> Self {
        Self { attributes, ..self }
    }

    /// With so much room reserved.
    pub(crate) fn allocating(self, size: u64) -> Self {
        Self { context: Some(Context::AllocationSize(size)), ..self }
    }

    /// As what was open before the connection ended.
    pub(crate) fn reconnecting(self, file: FileId) -> Self {
        Self { context: Some(Context::DurableReconnect(file)), ..self }
    }

    pub(crate) fn directory(self) -> Self {
        Self { options: self.options | DIRECTORY_FILE, ..self }
    }

    /// Not to be a directory.
    pub(crate) fn file(self) -> Self {
        Self { options: self.options | NON_DIRECTORY_FILE, ..self }
    }

    /// A reparse point itself.
    pub(crate) fn reparse_point(self) -> Self {
        Self { options: self.options | OPEN_REPARSE_POINT, ..self }
    }

    pub(crate) fn delete_on_close(self) -> Self {
        Self { options: self.options | DELETE_ON_CLOSE, ..self }
    }

    /// MS-SMB2 2.2.13, RequestedOplockLevel.
    pub(crate) fn oplock(self, oplock: u8) -> Self {
        Self { oplock, ..self }
    }

    pub(crate) fn body(&self) -> Result<Vec<u8>, Failed> {
        let mut name = utf16(self.name);
        let length = u16::try_from(name.len())?;
        // The contexts begin at a multiple of eight, and the variable part is never empty.
        name.resize(name.len().next_multiple_of(8).max(8), 0);
        let contexts = self.context.map(|context| context.encoded()).unwrap_or_default();
        let mut contexts_at = 0;
        if self.context.is_some() {
            contexts_at = u32::try_from(HEADER + CREATE_FIXED + name.len())?;
        }
        let mut body = vec![57, 0, 0, self.oplock];
        body.extend_from_slice(&2_u32.to_le_bytes()); // impersonation
        body.extend_from_slice(&[0; 16]);
        for field in [self.access, self.attributes, self.share, self.disposition, self.options] {
            body.extend_from_slice(&field.to_le_bytes());
        }
        body.extend_from_slice(&u16::try_from(HEADER + CREATE_FIXED)?.to_le_bytes());
        body.extend_from_slice(&length.to_le_bytes());
        body.extend_from_slice(&contexts_at.to_le_bytes());
        body.extend_from_slice(&u32::try_from(contexts.len())?.to_le_bytes());
        Ok([body, name, contexts].concat())
    }
}

impl Context {
    /// MS-SMB2 2.2.13.2: a name, and data.
    fn encoded(self) -> Vec<u8> {
        match self {
            // 2.2.13.2.5, without a timestamp.
            Self::MaximalAccess => {
                [&[0, 0, 0, 0, 16, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0], &b"MxAc\0\0\0\0"[..]].concat()
            }
            // 2.2.13.2.2.
            Self::AllocationSize(size) => {
                let fixed = [0, 0, 0, 0, 16, 0, 4, 0, 0, 0, 24, 0, 8, 0, 0, 0];
                [&fixed, &b"AlSi\0\0\0\0"[..], &size.to_le_bytes()].concat()
            }
            // 2.2.13.2.4.
            Self::DurableReconnect(file) => {
                let fixed = [0, 0, 0, 0, 16, 0, 4, 0, 0, 0, 24, 0, 16, 0, 0, 0];
                [&fixed, &b"DHnC\0\0\0\0"[..], &file].concat()
            }
        }
    }
}

impl Session {
    /// The FileId, or the status that refused it.
    pub(crate) fn open(&mut self, create: Create<'_>) -> Result<Result<FileId, u32>, Failed> {
        let answer = self.call(command::CREATE, &create.body()?)?;
        if status(&answer) == nt::SUCCESS {
            Ok(Ok(file_id(&answer)?))
        } else {
            Ok(Err(status(&answer)))
        }
    }

    /// An open that must succeed.
    pub(crate) fn opened(&mut self, create: Create<'_>) -> Result<FileId, Failed> {
        self.open(create)?
            .map_err(|status| format!("opening {:?}: {status:#010x}", create.name).into())
    }

    /// So, with the oplock level that it got.
    pub(crate) fn opened_with_oplock(
        &mut self,
        create: Create<'_>,
    ) -> Result<(FileId, u8), Failed> {
        let answer = self.call(command::CREATE, &create.body()?)?;
        expect(status(&answer), nt::SUCCESS, create.name)?;
        Ok((file_id(&answer)?, *answer.get(HEADER + 2).ok_or("a short answer")?))
    }

    /// An open that must be refused in this way.
    pub(crate) fn refused(&mut self, create: Create<'_>, with: u32) -> Outcome {
        match self.open(create)? {
            Ok(_) => {
                Err(format!("{:?} was opened with access {:#x}", create.name, create.access).into())
            }
            Err(status) => expect(status, with, create.name),
        }
    }

    /// What the server says the user could have of an existing file: its answer to an MxAc context.
    pub(crate) fn maximal_access(&mut self, name: &str) -> Result<u32, Failed> {
        let create = Create {
            context: Some(Context::MaximalAccess),
            ..Create::open(name, access::READ_ATTRIBUTES)
        };
        let answer = self.call(command::CREATE, &create.body()?)?;
        expect(status(&answer), nt::SUCCESS, name)?;
        self.close(file_id(&answer)?)?;
        let context = usize::try_from(u32_at(&answer, HEADER + 80)?)?;
        let data = u32_at(&answer, context + 8)? >> 16; // DataOffset, behind a reserved field
        let data = context + usize::try_from(data)?;
        expect(u32_at(&answer, data)?, nt::SUCCESS, "the QueryStatus")?;
        u32_at(&answer, data + 4)
    }

    pub(crate) fn close(&mut self, file: FileId) -> Outcome {
        let answer = self.call(command::CLOSE, &close(file))?;
        expect(status(&answer), nt::SUCCESS, "CLOSE")
    }

    pub(crate) fn write(&mut self, file: FileId, offset: u64, data: &[u8]) -> Result<u32, Failed> {
        Ok(status(&self.call(command::WRITE, &write(file, offset, data)?)?))
    }

    /// FileDispositionInformation: the file is to be deleted.
    pub(crate) fn mark_deleted(&mut self, file: FileId) -> Result<u32, Failed> {
        self.set_info(file, 13, &[1])
    }

    /// FileRenameInformation, to a name that is free.
    pub(crate) fn rename(&mut self, file: FileId, to: &str) -> Result<u32, Failed> {
        self.rename_to(file, to, false)
    }

    /// So, in place of what has the name.
    pub(crate) fn replace(&mut self, file: FileId, name: &str) -> Result<u32, Failed> {
        self.rename_to(file, name, true)
    }

    fn rename_to(&mut self, file: FileId, to: &str, replace: bool) -> Result<u32, Failed> {
        self.set_info(file, 10, &new_name(to, replace)?)
    }

    /// FileLinkInformation: one more name.
    pub(crate) fn link(&mut self, file: FileId, to: &str, replace: bool) -> Result<u32, Failed> {
        self.set_info(file, 11, &new_name(to, replace)?)
    }

    /// FileStandardInformation: how many names the file has.
    pub(crate) fn links(&mut self, file: FileId) -> Result<u32, Failed> {
        u32_at(&self.query_info(file, 5)?, 16)
    }

    /// FileBasicInformation: attributes, and the times left alone.
    pub(crate) fn set_attributes(&mut self, file: FileId, attributes: u32) -> Result<u32, Failed> {
        self.set_info(file, 4, &[&[0; 32][..], &attributes.to_le_bytes(), &[0; 4]].concat())
    }

    /// A DACL that allows each unix user these rights; everything below a directory inherits it.
    pub(crate) fn set_dacl(&mut self, file: FileId, users: &[(u32, u32)]) -> Result<u32, Failed> {
        let mut aces = Vec::new();
        for (uid, rights) in users {
            // ACCESS_ALLOWED, handed down to files and directories, 36 bytes, for S-1-22-1-uid.
            aces.extend_from_slice(&[0, 3, 24, 0]);
            aces.extend_from_slice(&rights.to_le_bytes());
            aces.extend_from_slice(&[1, 2, 0, 0, 0, 0, 0, 22, 1, 0, 0, 0]);
            aces.extend_from_slice(&uid.to_le_bytes());
        }
        let mut descriptor = vec![1, 0, 4, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0];
        descriptor.extend_from_slice(&[2, 0]);
        descriptor.extend_from_slice(&u16::try_from(aces.len() + 8)?.to_le_bytes());
        descriptor.extend_from_slice(&u16::try_from(users.len())?.to_le_bytes());
        descriptor.extend_from_slice(&[0, 0]);
        descriptor.append(&mut aces);
        self.set_security(file, DACL, &descriptor)
    }

    /// Gives the file to a unix user.
    pub(crate) fn set_owner(&mut self, file: FileId, uid: u32) -> Result<u32, Failed> {
        let mut descriptor = vec![1, 0, 0, 0x80, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        descriptor.extend_from_slice(&[1, 2, 0, 0, 0, 0, 0, 22, 1, 0, 0, 0]);
        descriptor.extend_from_slice(&uid.to_le_bytes());
        self.set_security(file, OWNER, &descriptor)
    }

    /// SET_INFO of those parts of a descriptor.
    pub(crate) fn set_security(
        &mut self,
        file: FileId,
        parts: u32,
        descriptor: &[u8],
    ) -> Result<u32, Failed> {
        let mut body = vec![33, 0, 3, 0];
        body.extend_from_slice(&u32::try_from(descriptor.len())?.to_le_bytes());
        body.extend_from_slice(&[96, 0, 0, 0]);
        body.extend_from_slice(&parts.to_le_bytes());
        body.extend_from_slice(&file);
        body.extend_from_slice(descriptor);
        Ok(status(&self.call(command::SET_INFO, &body)?))
    }

    /// The attributes in FileBasicInformation.
    pub(crate) fn attributes(&mut self, file: FileId) -> Result<u32, Failed> {
        u32_at(&self.query_info(file, 4)?, 32)
    }

    /// FileAttributeTagInformation: attributes, and the tag of a reparse point.
    pub(crate) fn attribute_tag(&mut self, file: FileId) -> Result<(u32, u32), Failed> {
        let info = self.query_info(file, 35)?;
        Ok((u32_at(&info, 0)?, u32_at(&info, 4)?))
    }

    /// A file-system control: its status and its output.
    pub(crate) fn control(
        &mut self,
        file: FileId,
        code: u32,
        input: &[u8],
    ) -> Result<(u32, Vec<u8>), Failed> {
        let mut body = vec![57, 0, 0, 0];
        body.extend_from_slice(&code.to_le_bytes());
        body.extend_from_slice(&file);
        let input_at = u32::try_from(HEADER + IOCTL_FIXED)?;
        for field in [input_at, u32::try_from(input.len())?, 0, 0, 0, CONTROL_OUTPUT, IS_FSCTL, 0] {
            body.extend_from_slice(&field.to_le_bytes());
        }
        body.extend_from_slice(input);
        if input.is_empty() {
            body.push(0);
        }
        let answer = self.call(command::IOCTL, &body)?;
        if status(&answer) != nt::SUCCESS {
            return Ok((status(&answer), Vec::new()));
        }
        let output = usize::try_from(u32_at(&answer, HEADER + 32)?)?;
        let end = output + usize::try_from(u32_at(&answer, HEADER + 36)?)?;
        let output = answer.get(output..end).ok_or("an output that is cut off")?;
        Ok((nt::SUCCESS, output.to_vec()))
    }

    /// FileAccessInformation: what the open was granted.
    pub(crate) fn granted(&mut self, file: FileId) -> Result<u32, Failed> {
        u32_at(&self.query_info(file, 8)?, 0)
    }

    /// The names of a listing that fits into one answer.
    pub(crate) fn list(&mut self, folder: FileId) -> Result<Vec<String>, Failed> {
        let answer = self.call(command::QUERY_DIRECTORY, &query_directory(folder, "*")?)?;
        expect(status(&answer), nt::SUCCESS, "QUERY_DIRECTORY")?;
        let mut names = Vec::new();
        let mut at = HEADER + 8;
        loop {
            let length = usize::try_from(u32_at(&answer, at + 60)?)?;
            let name = answer.get(at + 104..at + 104 + length).ok_or("a short entry")?;
            let units: Vec<u16> =
                name.chunks(2).map(|it| u16::from(it[0]) | u16::from(it[1]) << 8).collect();
            names.push(String::from_utf16(&units)?);
            match usize::try_from(u32_at(&answer, at)?)? {
                0 => return Ok(names),
                next => at += next,
            }
        }
    }

    /// SET_INFO of a class of information about a file.
    pub(crate) fn set_info(&mut self, file: FileId, class: u8, data: &[u8]) -> Result<u32, Failed> {
        Ok(status(&self.call(command::SET_INFO, &set_info(file, class, data)?)?))
    }

    fn query_info(&mut self, file: FileId, class: u8) -> Result<Vec<u8>, Failed> {
        self.query(file, 1, class)
    }

    /// Information about the volume.
    pub(crate) fn query_volume(&mut self, file: FileId, class: u8) -> Result<Vec<u8>, Failed> {
        self.query(file, 2, class)
    }

    fn query(&mut self, file: FileId, kind: u8, class: u8) -> Result<Vec<u8>, Failed> {
        let mut body = vec![41, 0, kind, class];
        body.extend_from_slice(&1024_u32.to_le_bytes());
        body.extend_from_slice(&[0; 16]); // no input
        body.extend_from_slice(&file);
        let answer = self.call(command::QUERY_INFO, &body)?;
        expect(status(&answer), nt::SUCCESS, "QUERY_INFO")?;
        Ok(answer.get(HEADER + 8..).unwrap_or_default().to_vec())
    }
}

/// A name to be given, as MS-FSCC lays it out for renames and links.
fn new_name(name: &str, replace: bool) -> Result<Vec<u8>, Failed> {
    let name = utf16(name);
    let length = u32::try_from(name.len())?.to_le_bytes();
    let head = [u8::from(replace), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    Ok([&head, &length[..], &name].concat())
}

pub(crate) fn close(file: FileId) -> Vec<u8> {
    [&[24, 0, 0, 0, 0, 0, 0, 0], &file[..]].concat()
}

/// A SET_INFO that gives a file a name that is free.
pub(crate) fn rename(file: FileId, to: &str) -> Result<Vec<u8>, Failed> {
    set_info(file, 10, &new_name(to, false)?)
}

fn set_info(file: FileId, class: u8, data: &[u8]) -> Result<Vec<u8>, Failed> {
    let mut body = vec![33, 0, 1, class];
    body.extend_from_slice(&u32::try_from(data.len())?.to_le_bytes());
    body.extend_from_slice(&[96, 0, 0, 0, 0, 0, 0, 0]);
    body.extend_from_slice(&file);
    body.extend_from_slice(data);
    Ok(body)
}

pub(crate) fn read(file: FileId, offset: u64, length: u32) -> Vec<u8> {
    let mut body = vec![49, 0, 80, 0];
    body.extend_from_slice(&length.to_le_bytes());
    body.extend_from_slice(&offset.to_le_bytes());
    body.extend_from_slice(&file);
    body.extend_from_slice(&[0; 17]);
    body
}

pub(crate) fn write(file: FileId, offset: u64, data: &[u8]) -> Result<Vec<u8>, Failed> {
    let mut body = vec![49, 0, 112, 0];
    body.extend_from_slice(&u32::try_from(data.len())?.to_le_bytes());
    body.extend_from_slice(&offset.to_le_bytes());
    body.extend_from_slice(&file);
    body.extend_from_slice(&[0; 16]);
    body.extend_from_slice(data);
    Ok(body)
}

/// A listing in FileIdBothDirectoryInformation.
pub(crate) fn query_directory(folder: FileId, pattern: &str) -> Result<Vec<u8>, Failed> {
    let pattern = utf16(pattern);
    let mut body = vec![33, 0, 37, 0, 0, 0, 0, 0];
    body.extend_from_slice(&folder);
    body.extend_from_slice(&96_u16.to_le_bytes());
    body.extend_from_slice(&u16::try_from(pattern.len())?.to_le_bytes());
    body.extend_from_slice(&65_536_u32.to_le_bytes());
    body.extend_from_slice(&pattern);
    Ok(body)
}

/// The FileId in a CREATE response.
pub(crate) fn file_id(answer: &[u8]) -> Result<FileId, Failed> {
    let id = answer.get(HEADER + 64..HEADER + 80).ok_or("a CREATE response without a FileId")?;
    Ok(id.try_into()?)
}

/// MS-SMB2 2.2.35.
pub(crate) fn change_notify(dir: FileId, flags: u16, filter: u32, room: u32) -> Vec<u8> {
    let mut body = vec![32, 0];
    body.extend_from_slice(&flags.to_le_bytes());
    body.extend_from_slice(&room.to_le_bytes());
    body.extend_from_slice(&dir);
    body.extend_from_slice(&filter.to_le_bytes());
    body.extend_from_slice(&[0; 4]);
    body
}

/// The changes in a response: actions and names.
pub(crate) fn changes(answer: &[u8]) -> Result<Vec<(u32, String)>, Failed> {
    expect(status(answer), nt::SUCCESS, "CHANGE_NOTIFY")?;
    let mut at = HEADER + 8;
    let mut changes = Vec::new();
    loop {
        let length = usize::try_from(u32_at(answer, at + 8)?)?;
        let name = answer.get(at + 12..at + 12 + length).ok_or("a name that is cut off")?;
        let units: Vec<_> =
            name.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect();
        changes.push((u32_at(answer, at + 4)?, String::from_utf16(&units)?));
        match usize::try_from(u32_at(answer, at)?)? {
            0 => return Ok(changes),
            next => at += next,
        }
    }
}
