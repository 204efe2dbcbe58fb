//! The files that are read and written, as paths within a share: made by SMB itself, so that any server can have them.
//! None of them has holes, and those that are read are never written to once they are there.

use std::io;

use smb_common::client::{Blocking, Write};
use usmbd::wire::access_mask::AccessMask;
use usmbd::wire::create::{
    CreateDisposition, CreateOptions, CreateRequest, CreateResponse, ImpersonationLevel,
    ShareAccess,
};
use usmbd::wire::file_id::FileId;
use usmbd::wire::read::{ReadRequest, ReadResponse};
use usmbd::wire::status::NtStatus;
use usmbd::wire::utf16::Utf16;
use usmbd::wire::write::{WriteRequest, WriteResponse};

use crate::pattern::Pattern;

/// Of each.
pub(crate) const SIZE: u64 = 64 << 20;

/// More connections share them: all of them together stay in the page cache.
pub(crate) const COUNT_MAX: usize = 8;

/// How much is read or written at once where no one measures: what every dialect allows.
const STEP: u32 = 64 << 10;

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// To be read.
    Source,
    /// To be written.
    Target,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name {
    pub(crate) role: Role,
    pub(crate) number: usize,
}

impl Name {
    pub(crate) fn path(self) -> String {
        match self.role {
            Role::Source => format!("smb-bench read {}", self.number),
            Role::Target => format!("smb-bench write {}", self.number),
        }
    }

    /// What it holds before anybody measures.
    pub(crate) const fn seed(self) -> u64 {
        self.number as u64
    }

    /// To read: nobody may have it open for writing.
    pub(crate) fn request(self) -> CreateRequest {
        let (desired_access, share_access) = match self.role {
            Role::Source => (AccessMask::READ_DATA, ShareAccess::READ),
            Role::Target => (
                AccessMask::READ_DATA | AccessMask::WRITE_DATA,
                ShareAccess::READ | ShareAccess::WRITE,
            ),
        };
        CreateRequest {
            impersonation_level: ImpersonationLevel::IMPERSONATION,
            desired_access: desired_access | AccessMask::READ_ATTRIBUTES,
            share_access,
            create_disposition: CreateDisposition::OPEN,
            create_options: CreateOptions::NON_DIRECTORY_FILE,
            name: Utf16::from_str(&self.path()),
            ..CreateRequest::default()
        }
    }
}

/// Makes the file, unless it is there with its full size; and reads all of it, so that it is in the cache.
pub(crate) fn prepare(connection: &Blocking, name: Name, pattern: &Pattern) -> io::Result<()> {
    let request = CreateRequest {
        desired_access: AccessMask::READ_DATA | AccessMask::WRITE_DATA,
        create_disposition: CreateDisposition::OPEN_IF,
        share_access: ShareAccess::all(),
        ..name.request()
    };
    let CreateResponse { file_id, end_of_file, .. } = connection.create(&request)?;
    if end_of_file != SIZE {
        for offset in (0..SIZE).step_by(STEP as usize) {
            write(connection, file_id, offset, pattern.of(name.seed(), offset, STEP as usize))?;
        }
    }
    for offset in (0..SIZE).step_by(STEP as usize) {
        let bytes = read(connection, file_id, offset, STEP)?;
        if name.role == Role::Source && bytes != pattern.of(name.seed(), offset, STEP as usize) {
            let path = name.path();
            return Err(io::Error::other(format!(
                "'{path}' has something else in it than this program has written; delete it"
            )));
        }
    }
    connection.close(file_id)
}

fn write(connection: &Blocking, file_id: FileId, offset: u64, data: &[u8]) -> io::Result<()> {
    let request = WriteRequest { file_id, offset, ..WriteRequest::default() };
    let answer = connection.call(&Write { request, data })?;
    answer.expect(NtStatus::SUCCESS)?;
    match answer.body(WriteResponse::decode)?.count as usize == data.len() {
        true => Ok(()),
        false => Err(io::Error::other("written in part")),
    }
}

/// Some bytes of a file.
pub(crate) fn read(
    connection: &Blocking,
    file_id: FileId,
    offset: u64,
    length: u32,
) -> io::Result<Vec<u8>> {
    let request = ReadRequest { file_id, offset, length, ..ReadRequest::default() };
    let answer = connection.call(&request)?;
    answer.expect(NtStatus::SUCCESS)?;
    let data = answer.body(ReadResponse::decode)?.data;
    Ok(answer.message().get(data).unwrap_or_default().to_vec())
}
