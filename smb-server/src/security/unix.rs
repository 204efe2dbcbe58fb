//! What a file's unix owner, group and mode are as a security descriptor.

use crate::vfs::{Attributes, Metadata, Permissions, PosixAcl};
use crate::wire::access_mask::AccessMask;
use crate::wire::security::{
    Ace, AceBody, AceFlags, AceType, Acl, Control, SecurityDescriptor, Sid,
};

use super::{creator_group, creator_owner};

/// The authority under which unix ids have their SIDs, as Samba has them: 1 for users, 2 for groups.
const UNIX: u8 = 22;

/// What reading takes: FILE_GENERIC_READ, MS-DTYP 2.4.3 as files have it.
const READ: AccessMask = AccessMask::READ_DATA.union(AccessMask::READ_EA).union(LOOK);

/// FILE_GENERIC_WRITE.
const WRITE: AccessMask = AccessMask::WRITE_DATA
    .union(AccessMask::APPEND_DATA)
    .union(AccessMask::WRITE_EA)
    .union(AccessMask::WRITE_ATTRIBUTES)
    .union(AccessMask::READ_CONTROL)
    .union(AccessMask::SYNCHRONIZE);

/// FILE_GENERIC_EXECUTE.
const EXECUTE: AccessMask = AccessMask::EXECUTE.union(LOOK);

/// What new files and directories get. That only directories are searched is nothing to Windows.
const NEW_MODE: u16 = 0o755;

/// The bit that READONLY takes away.
const OWNER_WRITE: u16 = 0o200;

/// What unix gives everybody who reaches the file.
const LOOK: AccessMask =
    AccessMask::READ_ATTRIBUTES.union(AccessMask::READ_CONTROL).union(AccessMask::SYNCHRONIZE);

/// What only an owner may, beside what the mode says.
const OWNER: AccessMask = AccessMask::WRITE_DAC
    .union(AccessMask::WRITE_OWNER)
    .union(AccessMask::DELETE)
    .union(AccessMask::WRITE_ATTRIBUTES);

/// The SID of a unix user.
pub fn user_sid(uid: u32) -> Sid {
    Sid::new(UNIX, [1, uid])
}

/// The SID of a unix group.
pub fn group_sid(gid: u32) -> Sid {
    Sid::new(UNIX, [2, gid])
}

/// The unix user that a SID means.
pub fn uid_of(sid: &Sid) -> Option<u32> {
    id_of(sid, 1)
}

/// The unix group that a SID means.
pub fn gid_of(sid: &Sid) -> Option<u32> {
    id_of(sid, 2)
}

fn id_of(sid: &Sid, kind: u32) -> Option<u32> {
    match *sid.sub_authorities.as_slice() {
        [of, id] if of == kind && *sid == Sid::new(UNIX, [of, id]) => Some(id),
        _ => None,
    }
}

/// The descriptor that says what the mode says, or the ACL that a file has beside it. Unix looks at the first that
/// fits of owner, others by name, groups and the rest, and a descriptor adds up all that fit; so what one is not
/// given and a later one is, it is denied first. A directory hands down what new files in it get, so that who changes
/// the list keeps that.
pub fn security_of(file: &Metadata, acl: Option<&PosixAcl>) -> SecurityDescriptor {
    let of_mode = PosixAcl::of_mode(file.mode);
    let owner = (user_sid(file.uid), group_sid(file.gid));
    let mut aces = entries(file, acl.unwrap_or(&of_mode), owner, AceFlags::empty());
    if file.is_directory {
        let below = Metadata { mode: NEW_MODE, attributes: Attributes::empty(), ..*file };
        let down = AceFlags::OBJECT_INHERIT | AceFlags::CONTAINER_INHERIT | AceFlags::INHERIT_ONLY;
        let creators = (creator_owner(), creator_group());
        aces.extend(entries(&below, &PosixAcl::of_mode(NEW_MODE), creators, down));
    }
    SecurityDescriptor {
        control: Control::SELF_RELATIVE | Control::DACL_PRESENT,
        owner: Some(user_sid(file.uid)),
        group: Some(group_sid(file.gid)),
        sacl: None,
        dacl: Some(Acl { revision: Acl::REVISION, aces }),
    }
}

fn entries(
    file: &Metadata,
    acl: &PosixAcl,
    (user, members): (Sid, Sid),
    flags: AceFlags,
) -> Vec<Ace> {
    let given = |permissions: Permissions| {
        rights(&Metadata { mode: permissions.into(), attributes: Attributes::empty(), ..*file }, 0)
    };
    let by_name =
        acl.groups.iter().map(|(gid, permissions)| (group_sid(*gid), given(*permissions)));
    let groups: Vec<_> = std::iter::once((members, given(acl.group))).chain(by_name).collect();
    let others = given(acl.others);
    let by_groups = groups.iter().fold(AccessMask::empty(), |all, (_, mask)| all | *mask);
    let mut users = vec![(user, rights(file, 6) | OWNER)];
    users.extend(acl.users.iter().map(|(uid, permissions)| (user_sid(*uid), given(*permissions))));

    let mut entries = Vec::new();
    for (sid, mask) in users {
        let denied = (by_groups | others).difference(mask | LOOK);
        entries.push((AceType::ACCESS_DENIED, denied, sid.clone()));
        entries.push((AceType::ACCESS_ALLOWED, mask | LOOK, sid));
    }
    for (sid, mask) in groups {
        // Who is in several has what any of them has.
        entries.push((AceType::ACCESS_DENIED, others.difference(by_groups | LOOK), sid.clone()));
        entries.push((AceType::ACCESS_ALLOWED, mask | LOOK, sid));
    }
    entries.push((AceType::ACCESS_ALLOWED, others | LOOK, super::world()));
    let entries = entries.into_iter().filter(|(_, mask, _)| !mask.is_empty());
    let ace = |(kind, mask, sid)| Ace { kind, flags, body: AceBody::Basic { mask, sid } };
    entries.map(ace).collect()
}

fn rights(file: &Metadata, shift: u16) -> AccessMask {
    // READONLY is an attribute, and takes nothing from what the descriptor grants.
    let read_only = file.attributes.contains(Attributes::READONLY) && !file.is_directory;
    let mode = if read_only { file.mode | OWNER_WRITE } else { file.mode };
    let bits = mode >> shift;
    // In a file it means nothing, but what allows everything is to be seen to do so.
    let whole = file.is_directory || bits & 0o7 == 0o7;
    let write = if whole { WRITE | AccessMask::DELETE_CHILD } else { WRITE };
    [(0o4, READ), (0o2, write), (0o1, EXECUTE)]
        .into_iter()
        .filter_map(|(bit, rights)| (bits & bit != 0).then_some(rights))
        .fold(AccessMask::empty(), AccessMask::union)
}
