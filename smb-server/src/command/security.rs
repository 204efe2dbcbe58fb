//! The security of a file: who owns it, and who may do what. MS-SMB2 3.3.5.20.3 and 3.3.5.21.3, MS-FSA
//! 2.1.5.14 and 2.1.5.17.

use crate::protocol::{Body, Reply};
use crate::security::{Owner, Token, gid_of, merged, security_of, uid_of};
use crate::state::{FileOpen, Open, Server};
use crate::vfs::Handle;
use crate::wire::access_mask::AccessMask;
use crate::wire::codec::Writer;
use crate::wire::query_info::{QueryInfoRequest, QueryInfoResponse, SecurityInformation};
use crate::wire::security::{Control, SecurityDescriptor, Sid};
use crate::wire::set_info::SetInfoRequest;
use crate::wire::status::NtStatus;

use super::Answer;
use super::access::{effective, security};

/// The parts of a descriptor that are kept. SACLs and what is kept in them are not: nobody has the privilege
/// to read or write one.
const KEPT: SecurityInformation =
    SecurityInformation::OWNER.union(SecurityInformation::GROUP).union(SecurityInformation::DACL);

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
    server: &Server,
    open: &Open,
    file: &FileOpen,
    request: &SetInfoRequest,
) -> Result<(), NtStatus> {
    let parts = SecurityInformation::from_bits_retain(request.additional_information);
    if !open.granted_access.contains(needed_to_write(parts)) {
        return Err(NtStatus::ACCESS_DENIED);
    }
    let new = decoded(&request.buffer)?;
    let parts = parts & KEPT;
    if parts.is_empty() {
        return Ok(());
    }
    let _alone = file.handle.alone().await;
    let current = current(&file.handle).await?;
    let token = &file.token;
    let (owner, group) = (SecurityInformation::OWNER, SecurityInformation::GROUP);
    if parts.contains(owner) && new.owner != current.owner {
        check_owner(token, new.owner.as_ref())?;
    }
    if parts.contains(group) && new.group != current.group {
        check_group(token, new.group.as_ref())?;
    }
    let metadata = file.handle.metadata().await?;
    let descriptor = merged(current, new, parts);
    let before = Owner { uid: metadata.uid, gid: metadata.gid };
    let after = unix_owner(&descriptor, parts, before);
    let kept = security(server, &descriptor, after, metadata.is_directory);
    // First what is most likely to fail: it may be too long for the file system.
    file.handle.set_security(&kept).await?;
    if after != before && server.accounts().are_distinct() {
        file.handle.set_owner(Some(after.uid), Some(after.gid)).await?;
    }
    Ok(())
}

/// Who is given a file owns it to the kernel, too, if the kernel knows whom that means.
fn unix_owner(descriptor: &SecurityDescriptor, parts: SecurityInformation, before: Owner) -> Owner {
    let owner = descriptor.owner.as_ref().filter(|_| parts.contains(SecurityInformation::OWNER));
    let group = descriptor.group.as_ref().filter(|_| parts.contains(SecurityInformation::GROUP));
    Owner {
        uid: owner.and_then(uid_of).unwrap_or(before.uid),
        gid: group.and_then(gid_of).unwrap_or(before.gid),
    }
}

/// Whether the user may make this the owner. MS-FSA 2.1.5.17.
pub(super) fn check_owner(token: &Token, owner: Option<&Sid>) -> Result<(), NtStatus> {
    match owner.is_some_and(|sid| token.may_make_owner(sid)) {
        true => Ok(()),
        false => Err(NtStatus::INVALID_OWNER),
    }
}

/// Whether the user may make this the group.
pub(super) fn check_group(token: &Token, group: Option<&Sid>) -> Result<(), NtStatus> {
    match group.is_some_and(|sid| token.may_make_group(sid)) {
        true => Ok(()),
        false => Err(NtStatus::INVALID_PRIMARY_GROUP),
    }
}

/// What a file is decided by: a descriptor, or what unix says.
async fn current(handle: &Handle) -> Result<SecurityDescriptor, NtStatus> {
    let metadata = handle.metadata().await?;
    match effective(handle, &metadata).await? {
        Some(descriptor) => Ok(descriptor),
        None => Ok(security_of(&metadata, handle.posix_acl().await?.as_ref())),
    }
}

pub(super) fn encoded(descriptor: &SecurityDescriptor) -> Vec<u8> {
    let mut bytes = Vec::new();
    descriptor.encode(&mut Writer::new(&mut bytes));
    bytes
}

/// How many entries a client's list may have. Most file systems have room for a few hundred, and for the kernel each who
/// is named is looked for in all of them.
const ACES_MAX: usize = 1024;

/// A descriptor that a client sent.
pub(super) fn decoded(bytes: &[u8]) -> Result<SecurityDescriptor, NtStatus> {
    let descriptor = SecurityDescriptor::decode(bytes).map_err(|_| NtStatus::INVALID_PARAMETER)?;
    match descriptor.dacl.as_ref().is_some_and(|dacl| dacl.aces.len() > ACES_MAX) {
        true => Err(NtStatus::INVALID_SECURITY_DESCR),
        false => Ok(descriptor),
    }
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

/// MS-FSA 2.1.5.17, MS-DTYP 2.4.7.
fn needed_to_write(parts: SecurityInformation) -> AccessMask {
    let backup = AccessMask::WRITE_DAC
        .union(AccessMask::WRITE_OWNER)
        .union(AccessMask::ACCESS_SYSTEM_SECURITY);
    let needed = [
        (SecurityInformation::OWNER, AccessMask::WRITE_OWNER),
        (SecurityInformation::GROUP, AccessMask::WRITE_OWNER),
        (SecurityInformation::LABEL, AccessMask::WRITE_OWNER),
        (SecurityInformation::DACL, AccessMask::WRITE_DAC),
        (SecurityInformation::ATTRIBUTE, AccessMask::WRITE_DAC),
        (SecurityInformation::SACL, AccessMask::ACCESS_SYSTEM_SECURITY),
        (SecurityInformation::SCOPE, AccessMask::ACCESS_SYSTEM_SECURITY),
        (SecurityInformation::BACKUP, backup),
    ];
    let needed = needed.into_iter().filter(|(part, _)| parts.contains(*part));
    needed.fold(AccessMask::empty(), |all, (_, right)| all | right)
}

/// The parts that were asked for.
fn only(whole: SecurityDescriptor, parts: SecurityInformation) -> SecurityDescriptor {
    let dacl = parts.contains(SecurityInformation::DACL);
    let of_dacl = Control::DACL_PRESENT
        | Control::DACL_DEFAULTED
        | Control::DACL_AUTO_INHERITED
        | Control::DACL_PROTECTED;
    let control = if dacl { of_dacl } else { Control::empty() };
    SecurityDescriptor {
        control: whole.control & (control | Control::SELF_RELATIVE),
        owner: whole.owner.filter(|_| parts.contains(SecurityInformation::OWNER)),
        group: whole.group.filter(|_| parts.contains(SecurityInformation::GROUP)),
        sacl: None,
        dacl: whole.dacl.filter(|_| dacl),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::security::user_sid;
    use crate::wire::security::{Ace, AceBody, AceFlags, AceType, Acl};

    #[test]
    fn a_list_has_no_more_entries_than_are_looked_at_in_no_time() {
        let sent = |count: usize| {
            let body = AceBody::Basic { mask: AccessMask::READ_DATA, sid: user_sid(1) };
            let ace = Ace { kind: AceType::ACCESS_ALLOWED, flags: AceFlags::empty(), body };
            let dacl = Some(Acl { revision: Acl::REVISION, aces: vec![ace; count] });
            decoded(&encoded(&SecurityDescriptor {
                control: Control::SELF_RELATIVE | Control::DACL_PRESENT,
                dacl,
                ..SecurityDescriptor::default()
            }))
        };
        assert_eq!(sent(ACES_MAX).unwrap().dacl.unwrap().aces.len(), ACES_MAX);
        assert_eq!(sent(ACES_MAX + 1), Err(NtStatus::INVALID_SECURITY_DESCR));
    }
}
