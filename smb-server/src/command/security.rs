//! The security of a file: who owns it, and who may do what. MS-SMB2 3.3.5.20.3 and 3.3.5.21.3, MS-FSA
//! 2.1.5.14 and 2.1.5.17.

use ringway::Identity;

use crate::protocol::{Body, Reply};
use crate::security::{Token, for_new, maximum, merged, security_of, user_sid};
use crate::state::{FULL_ACCESS, FileOpen, Open};
use crate::vfs::{self, Guard, Handle, Metadata, SharePath};
use crate::wire::access_mask::AccessMask;
use crate::wire::codec::Writer;
use crate::wire::query_info::{QueryInfoRequest, QueryInfoResponse, SecurityInformation};
use crate::wire::security::{Control, SecurityDescriptor};
use crate::wire::set_info::SetInfoRequest;
use crate::wire::status::NtStatus;

use super::Answer;

pub(super) async fn query(
    open: &Open,
    file: &FileOpen,
    request: &QueryInfoRequest,
) -> Result<Answer, NtStatus> {
    let parts = SecurityInformation::from_bits_retain(request.additional_information);
    if !open.granted_access.contains(needed_to_read(parts)) {
        return Err(NtStatus::ACCESS_DENIED);
    }
    let bytes = encoded(&only(current(&file.handle).await?, parts));
    if bytes.len() > request.output_buffer_length as usize {
        // MS-SMB2 3.3.5.20.3: all or nothing, and how much that would be.
        let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let body = Body::Error(size.to_le_bytes().to_vec());
        return Ok(Answer::Reply(Reply { status: NtStatus::BUFFER_TOO_SMALL, body }));
    }
    Ok(Body::QueryInfo(QueryInfoResponse { output: bytes }).into())
}

pub(super) async fn set(
    open: &Open,
    file: &FileOpen,
    request: &SetInfoRequest,
) -> Result<(), NtStatus> {
    let parts = SecurityInformation::from_bits_retain(request.additional_information);
    if !open.granted_access.contains(needed_to_write(parts)) {
        return Err(NtStatus::ACCESS_DENIED);
    }
    let new = decoded(&request.buffer)?;
    let current = current(&file.handle).await?;
    let token = Token::of(file.identity.as_ref());
    let (owner, group) = (SecurityInformation::OWNER, SecurityInformation::GROUP);
    for (part, before, after, status) in [
        (owner, &current.owner, &new.owner, NtStatus::INVALID_OWNER),
        (group, &current.group, &new.group, NtStatus::INVALID_PRIMARY_GROUP),
    ] {
        // Without a privilege, one can take what one may take, and not give to others.
        let may = after.as_ref().is_some_and(|sid| token.is(sid)) || before == after;
        if parts.contains(part) && !may {
            return Err(status);
        }
    }
    keep(&file.handle, &merged(current, new, parts)).await
}

/// What a file has: the descriptor that is kept with it, or what unix says.
async fn current(handle: &Handle) -> Result<SecurityDescriptor, NtStatus> {
    match kept(handle).await? {
        Some(descriptor) => Ok(descriptor),
        None => Ok(security_of(&handle.metadata().await?)),
    }
}

/// The descriptor that is kept with a file.
async fn kept(handle: &Handle) -> Result<Option<SecurityDescriptor>, NtStatus> {
    Ok(understood(handle.security().await?)?)
}

/// One that cannot be understood lets nobody in.
fn understood(bytes: Option<Vec<u8>>) -> Result<Option<SecurityDescriptor>, vfs::Error> {
    let decode = |bytes: Vec<u8>| SecurityDescriptor::decode(&bytes);
    bytes.map(decode).transpose().map_err(|_| vfs::Error::AccessDenied)
}

async fn keep(handle: &Handle, descriptor: &SecurityDescriptor) -> Result<(), NtStatus> {
    Ok(handle.set_security(&encoded(descriptor)).await?)
}

fn encoded(descriptor: &SecurityDescriptor) -> Vec<u8> {
    let mut bytes = Vec::new();
    descriptor.encode(&mut Writer::new(&mut bytes));
    bytes
}

/// A descriptor that a client sent.
pub(super) fn decoded(bytes: &[u8]) -> Result<SecurityDescriptor, NtStatus> {
    SecurityDescriptor::decode(bytes).map_err(|_| NtStatus::INVALID_PARAMETER)
}

/// MS-FSA 2.1.5.14.
fn needed_to_read(parts: SecurityInformation) -> AccessMask {
    let mut needed = AccessMask::empty();
    if parts.intersects(SecurityInformation::SACL | SecurityInformation::BACKUP) {
        needed |= AccessMask::ACCESS_SYSTEM_SECURITY;
    }
    if parts.intersects(!SecurityInformation::SACL) {
        needed |= AccessMask::READ_CONTROL;
    }
    needed
}

/// MS-FSA 2.1.5.17.
fn needed_to_write(parts: SecurityInformation) -> AccessMask {
    let mut needed = AccessMask::empty();
    if parts.intersects(
        SecurityInformation::OWNER | SecurityInformation::GROUP | SecurityInformation::LABEL,
    ) {
        needed |= AccessMask::WRITE_OWNER;
    }
    if parts.contains(SecurityInformation::DACL) {
        needed |= AccessMask::WRITE_DAC;
    }
    if parts.contains(SecurityInformation::SACL) {
        needed |= AccessMask::ACCESS_SYSTEM_SECURITY;
    }
    needed
}

/// The parts that were asked for.
fn only(whole: SecurityDescriptor, parts: SecurityInformation) -> SecurityDescriptor {
    let dacl = parts.contains(SecurityInformation::DACL);
    let of_dacl = Control::DACL_PRESENT
        | Control::DACL_DEFAULTED
        | Control::DACL_AUTO_INHERITED
        | Control::DACL_PROTECTED;
    let control = if dacl { whole.control } else { whole.control.difference(of_dacl) };
    SecurityDescriptor {
        control,
        owner: whole.owner.filter(|_| parts.contains(SecurityInformation::OWNER)),
        group: whole.group.filter(|_| parts.contains(SecurityInformation::GROUP)),
        sacl: None,
        dacl: whole.dacl.filter(|_| dacl),
    }
}

/// The most that descriptors let the user do with a file. Where none is kept it is unix that decides, when
/// the file is used; but who may change what it is decided by is the owner alone, as with `chmod`.
pub(super) async fn most(
    handle: &Handle,
    metadata: &Metadata,
    identity: Option<&Identity>,
) -> Result<AccessMask, NtStatus> {
    let token = Token::of(identity);
    let Some(descriptor) = kept(handle).await? else {
        let owns = token.user() == &user_sid(metadata.uid);
        let owners = AccessMask::WRITE_DAC | AccessMask::WRITE_OWNER;
        return Ok(if owns { FULL_ACCESS } else { FULL_ACCESS.difference(owners) });
    };
    // Who sees the file in its directory may look at it, and who may delete all that is in there may
    // delete it, MS-FSA 2.1.5.1.2.1.
    let mut most = maximum(&descriptor, &token) | AccessMask::READ_ATTRIBUTES;
    if !most.contains(AccessMask::DELETE) && !handle.is_root() {
        let directory = understood(handle.directory_security().await?)?;
        let deletes = |directory: &SecurityDescriptor| {
            maximum(directory, &token).contains(AccessMask::DELETE_CHILD)
        };
        most.set(AccessMask::DELETE, directory.as_ref().is_none_or(deletes));
    }
    Ok(most)
}

/// Whether the user may give a file a name in the directory of `to`: that is to make it there, MS-FSA
/// 2.1.5.15.11.
pub(super) async fn check_rename(file: &FileOpen, to: &SharePath) -> Result<(), NtStatus> {
    let identity = file.identity.as_ref();
    let directory = file.share.volume.directory_security(identity, to).await?;
    let Some(directory) = understood(directory)? else { return Ok(()) };
    let right = right_to_make(file.handle.is_directory());
    match maximum(&directory, &Token::of(identity)).contains(right) {
        true => Ok(()),
        false => Err(NtStatus::ACCESS_DENIED),
    }
}

/// What it takes, of a directory, to make something in it: ADD_SUBDIRECTORY or ADD_FILE.
fn right_to_make(is_directory: bool) -> AccessMask {
    if is_directory { AccessMask::APPEND_DATA } else { AccessMask::WRITE_DATA }
}

/// Who makes files, and the descriptor that they are to have, if the client sent one.
pub(super) struct Creator {
    pub(super) token: Token,
    pub(super) given: Option<SecurityDescriptor>,
}

impl Guard for Creator {
    fn admit(
        &self,
        directory: Option<&[u8]>,
        is_directory: bool,
    ) -> Result<Option<Vec<u8>>, vfs::Error> {
        let directory = understood(directory.map(<[u8]>::to_vec))?;
        if directory.is_none() && self.given.is_none() {
            return Ok(None);
        }
        let directory = directory.unwrap_or_else(|| SecurityDescriptor {
            control: Control::SELF_RELATIVE,
            ..SecurityDescriptor::default()
        });
        if !maximum(&directory, &self.token).contains(right_to_make(is_directory)) {
            return Err(vfs::Error::AccessDenied);
        }
        let inherited = for_new(&directory, &self.token, is_directory);
        let descriptor = match self.given.clone() {
            None => inherited,
            Some(given) => {
                let mut parts = SecurityInformation::empty();
                parts.set(SecurityInformation::OWNER, given.owner.is_some());
                parts.set(SecurityInformation::GROUP, given.group.is_some());
                parts.set(SecurityInformation::DACL, given.control.contains(Control::DACL_PRESENT));
                merged(inherited, given, parts)
            }
        };
        Ok(Some(encoded(&descriptor)))
    }
}
