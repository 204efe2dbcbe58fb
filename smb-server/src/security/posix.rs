//! The part of a descriptor that unix can say, as an ACL for the kernel to decide by. A descriptor that gives somebody
//! more than the mode would be in vain without.
//!
//! It lets others do no less than the descriptor, which is asked as well, and as little more as unix can: a right to
//! append is one to write, and one to execute one to read.

use crate::vfs::{Permissions, PosixAcl};
use crate::wire::access_mask::AccessMask;
use crate::wire::security::{AceFlags, Acl, SecurityDescriptor, Sid};

use super::unix::{gid_of, uid_of};
use super::{Token, creator_group, creator_owner, granted_by, inherited};

/// The ids that own a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owner {
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// The ACL for a file with this descriptor. `groups_of`: the groups that a user is in.
#[must_use]
pub fn posix_acl(
    descriptor: &SecurityDescriptor,
    owner: Owner,
    is_directory: bool,
    groups_of: &dyn Fn(u32) -> Vec<u32>,
) -> PosixAcl {
    let granted = |token: &Token| permissions(granted_by(descriptor, token), is_directory);
    let named = |id_of: fn(&Sid) -> Option<u32>, but: u32| {
        let mut ids: Vec<u32> =
            sids(descriptor.dacl.as_ref()).filter_map(|sid| id_of(&sid)).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.retain(|id| *id != but);
        ids
    };
    let of_user = |uid| (uid, granted(&Token::of_user(uid, &groups_of(uid))));
    let of_group = |gid| (gid, granted(&Token::of_member(gid)));
    PosixAcl {
        users: named(uid_of, owner.uid).into_iter().map(of_user).collect(),
        group: of_group(owner.gid).1,
        groups: named(gid_of, owner.gid).into_iter().map(of_group).collect(),
        others: granted(&Token::of_anybody()),
    }
}

/// The ACL for what others than we make in a directory with this descriptor.
#[must_use]
pub fn default_posix_acl(
    descriptor: &SecurityDescriptor,
    groups_of: &dyn Fn(u32) -> Vec<u32>,
) -> Option<PosixAcl> {
    // Its owner is not known yet, and nobody has these ids.
    let nobody = Owner { uid: u32::MAX, gid: u32::MAX };
    let creators = (&creator_owner(), &creator_group());
    let down = |is_directory| inherited(descriptor, creators, is_directory);
    let (file, directory) = (down(false), down(true));
    let [file, directory] = [file, directory].map(|descriptor| {
        descriptor.map(|descriptor| posix_acl(&descriptor, nobody, true, groups_of))
    });
    match (file, directory) {
        (Some(file), Some(directory)) => Some(united(file, directory)),
        (one, other) => one.or(other),
    }
}

/// What either of two lets somebody do.
fn united(a: PosixAcl, b: PosixAcl) -> PosixAcl {
    let named = |a: Vec<(u32, Permissions)>, b: Vec<(u32, Permissions)>| {
        let mut all = a;
        for (id, permissions) in b {
            match all.iter_mut().find(|(known, _)| *known == id) {
                Some((_, known)) => *known |= permissions,
                None => all.push((id, permissions)),
            }
        }
        all
    };
    PosixAcl {
        users: named(a.users, b.users),
        group: a.group | b.group,
        groups: named(a.groups, b.groups),
        others: a.others | b.others,
    }
}

/// Whom the entries of an ACL are about that is looked at here.
fn sids(dacl: Option<&Acl>) -> impl Iterator<Item = Sid> {
    let aces = dacl.into_iter().flat_map(|dacl| &dacl.aces);
    let here = aces.filter(|ace| !ace.flags.contains(AceFlags::INHERIT_ONLY));
    here.filter_map(|ace| ace.mask_and_sid().map(|(_, sid)| sid.into_owned()))
}

fn permissions(granted: AccessMask, is_directory: bool) -> Permissions {
    let read = AccessMask::READ_DATA | AccessMask::EXECUTE;
    let mut write = AccessMask::WRITE_DATA | AccessMask::APPEND_DATA;
    let mut execute = AccessMask::EXECUTE;
    if is_directory {
        write |= AccessMask::DELETE_CHILD;
        // Windows lets everybody through to what is below; who lists a directory at least wants to get there.
        execute |= AccessMask::READ_DATA;
    }
    let read = if is_directory { AccessMask::READ_DATA } else { read };
    let bits = [(read, 0o4), (write, 0o2), (execute, 0o1)];
    bits.into_iter().filter(|(rights, _)| granted.intersects(*rights)).map(|(_, bit)| bit).sum()
}

#[cfg(test)]
mod tests {
    use super::super::{group_sid, user_sid, world};
    use super::*;
    use crate::wire::security::{Ace, AceBody, AceType};

    const READ: AccessMask = AccessMask::READ_DATA;
    const WRITE: AccessMask = AccessMask::WRITE_DATA;
    const OWNER: Owner = Owner { uid: 1, gid: 10 };
    const DOWN: AceFlags =
        AceFlags::OBJECT_INHERIT.union(AceFlags::CONTAINER_INHERIT).union(AceFlags::INHERIT_ONLY);

    fn ace(kind: AceType, flags: AceFlags, mask: AccessMask, sid: Sid) -> Ace {
        Ace { kind, flags, body: AceBody::Basic { mask, sid } }
    }

    fn allow(mask: AccessMask, sid: Sid) -> Ace {
        ace(AceType::ACCESS_ALLOWED, AceFlags::empty(), mask, sid)
    }

    fn descriptor(aces: Vec<Ace>) -> SecurityDescriptor {
        let dacl = Some(Acl { revision: Acl::REVISION, aces });
        SecurityDescriptor { owner: Some(user_sid(1)), dacl, ..Default::default() }
    }

    /// User 3 is in the groups 10 and 12.
    fn groups_of(uid: u32) -> Vec<u32> {
        if uid == 3 { vec![10, 12] } else { Vec::new() }
    }

    fn acl(aces: Vec<Ace>) -> PosixAcl {
        posix_acl(&descriptor(aces), OWNER, false, &groups_of)
    }

    #[test]
    fn who_is_named_has_an_entry_and_the_owner_has_none() {
        let aces = vec![
            allow(READ | WRITE, user_sid(1)),
            allow(READ | WRITE, user_sid(2)),
            allow(READ, group_sid(10)),
            allow(AccessMask::APPEND_DATA, group_sid(11)),
        ];
        let expected = PosixAcl { users: vec![(2, 6)], group: 4, groups: vec![(11, 2)], others: 0 };
        assert_eq!(acl(aces), expected);
    }

    #[test]
    fn an_entry_has_all_that_unix_would_not_look_for_behind_it() {
        // Everybody reads; the groups write; user 3 has an entry that says nothing of either.
        let aces = vec![
            allow(AccessMask::READ_EA, user_sid(3)),
            allow(WRITE, group_sid(12)),
            allow(READ, world()),
        ];
        let expected = PosixAcl { users: vec![(3, 6)], group: 4, groups: vec![(12, 6)], others: 4 };
        assert_eq!(acl(aces), expected);
    }

    #[test]
    fn what_is_denied_is_not_permitted() {
        let deny = ace(AceType::ACCESS_DENIED, AceFlags::empty(), WRITE, user_sid(2));
        let aces = vec![deny, allow(READ | WRITE, world())];
        let expected = PosixAcl { users: vec![(2, 4)], group: 6, groups: vec![], others: 6 };
        assert_eq!(acl(aces), expected);
    }

    #[test]
    fn what_is_handed_down_is_no_permission_here() {
        let down = ace(AceType::ACCESS_ALLOWED, DOWN, READ | WRITE, user_sid(2));
        let descriptor = descriptor(vec![down]);
        let here = posix_acl(&descriptor, OWNER, true, &groups_of);
        assert_eq!(here, PosixAcl::default());
        let default = default_posix_acl(&descriptor, &groups_of).unwrap();
        assert_eq!(default.users, [(2, 7)]);
        let nothing = SecurityDescriptor::default();
        assert_eq!(default_posix_acl(&nothing, &groups_of), None);
    }

    #[test]
    fn who_lists_a_directory_gets_through_it() {
        let descriptor = descriptor(vec![allow(READ, user_sid(2))]);
        assert_eq!(posix_acl(&descriptor, OWNER, true, &groups_of).users, [(2, 5)]);
    }
}
