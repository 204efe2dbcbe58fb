//! What a descriptor grants. MS-DTYP 2.5.3.2.

use crate::wire::access_mask::AccessMask;
use crate::wire::security::{AceFlags, AceType, SecurityDescriptor};

use super::{Token, owner_rights};

const EVERYTHING: AccessMask = AccessMask::FILE_ALL;

/// The most that a descriptor lets `token` do. Of each right the first entry that names it decides, so that
/// what is granted one by one is what is granted together. Entries with conditions, which are not looked
/// into, deny and do not allow.
#[must_use]
pub fn granted_by(descriptor: &SecurityDescriptor, token: &Token) -> AccessMask {
    let Some(dacl) = &descriptor.dacl else {
        // Not the same as one that is empty.
        return EVERYTHING;
    };
    let is_owner = descriptor.owner.as_ref().is_some_and(|owner| token.is(owner));
    let (mut allowed, mut denied) = (AccessMask::empty(), AccessMask::empty());
    let (owner_rights, mut owner_is_named) = (owner_rights(), false);
    for ace in &dacl.aces {
        if ace.flags.contains(AceFlags::INHERIT_ONLY) {
            continue;
        }
        let Some((mask, sid)) = ace.mask_and_sid() else {
            // Whom it would deny what is not known: everything to everybody.
            denied |= if ace.kind.denies() { EVERYTHING } else { AccessMask::empty() };
            continue;
        };
        let names_owner = *sid == owner_rights;
        owner_is_named |= names_owner;
        let concerned = token.is(&sid) || (names_owner && is_owner);
        if !concerned {
            continue;
        }
        let mask = generic_to_specific(mask);
        if ace.kind == AceType::ACCESS_ALLOWED {
            allowed |= mask.difference(denied);
        } else if ace.kind.denies() {
            denied |= mask.difference(allowed);
        }
    }
    if is_owner && !owner_is_named {
        allowed |= AccessMask::READ_CONTROL | AccessMask::WRITE_DAC;
    }
    allowed & EVERYTHING
}

/// Generic rights as those of files, MS-SMB2 2.2.13.1.1.
#[must_use]
pub fn generic_to_specific(access: AccessMask) -> AccessMask {
    const READ: AccessMask = AccessMask::from_bits_retain(0x0012_0089);
    const WRITE: AccessMask = AccessMask::from_bits_retain(0x0012_0116);
    const EXECUTE: AccessMask = AccessMask::from_bits_retain(0x0012_00a0);
    let generic = [
        (AccessMask::GENERIC_READ, READ),
        (AccessMask::GENERIC_WRITE, WRITE),
        (AccessMask::GENERIC_EXECUTE, EXECUTE),
        (AccessMask::GENERIC_ALL, EVERYTHING),
    ];
    generic.into_iter().fold(access, |access, (generic, specific)| match access.contains(generic) {
        true => access.difference(generic) | specific,
        false => access,
    })
}

#[cfg(test)]
mod tests {
    use super::super::user_sid;
    use super::*;
    use crate::wire::codec::Writer;
    use crate::wire::security::{Ace, AceBody, Acl, Sid};

    const READ: AccessMask = AccessMask::READ_DATA;
    const WRITE: AccessMask = AccessMask::WRITE_DATA;
    /// What an owner has without being named.
    const IMPLIED: AccessMask = AccessMask::READ_CONTROL.union(AccessMask::WRITE_DAC);

    fn ace(kind: AceType, flags: AceFlags, mask: AccessMask, sid: Sid) -> Ace {
        Ace { kind, flags, body: AceBody::Basic { mask, sid } }
    }

    fn allow(mask: AccessMask, sid: Sid) -> Ace {
        ace(AceType::ACCESS_ALLOWED, AceFlags::empty(), mask, sid)
    }

    fn deny(mask: AccessMask, sid: Sid) -> Ace {
        ace(AceType::ACCESS_DENIED, AceFlags::empty(), mask, sid)
    }

    fn everyone() -> Sid {
        Sid::new(1, [0])
    }

    /// What the user 1 gets of a file of `owner`.
    fn granted(owner: u32, aces: Vec<Ace>) -> AccessMask {
        let dacl = Some(Acl { revision: Acl::REVISION, aces });
        let owner = Some(user_sid(owner));
        granted_by(
            &SecurityDescriptor { owner, dacl, ..Default::default() },
            &Token::new(1, 1, &[10, 11]),
        )
    }

    #[test]
    fn an_empty_acl_grants_nothing_and_none_at_all_everything() {
        assert_eq!(granted(2, vec![]), AccessMask::empty());
        let none = SecurityDescriptor::default();
        assert_eq!(granted_by(&none, &Token::new(1, 1, &[])), EVERYTHING);
    }

    #[test]
    fn the_first_entry_that_names_a_right_decides_it() {
        let both = READ | WRITE;
        let user = || user_sid(1);
        assert_eq!(granted(2, vec![deny(WRITE, user()), allow(both, everyone())]), READ);
        assert_eq!(granted(2, vec![allow(both, everyone()), deny(WRITE, user())]), both);
        assert_eq!(granted(2, vec![deny(WRITE, user_sid(3)), allow(both, everyone())]), both);
    }

    #[test]
    fn groups_count_and_those_of_others_do_not() {
        let group = super::super::group_sid;
        assert_eq!(granted(2, vec![allow(READ, group(11)), allow(WRITE, group(12))]), READ);
    }

    #[test]
    fn an_owner_may_always_mend_the_acl_unless_owners_are_named() {
        assert_eq!(granted(1, vec![deny(IMPLIED, everyone())]), IMPLIED);
        assert_eq!(granted(1, vec![allow(READ, owner_rights())]), READ);
        assert_eq!(granted(2, vec![allow(READ, owner_rights())]), AccessMask::empty());
    }

    #[test]
    fn what_is_only_handed_down_does_not_count() {
        let inherit_only = AceFlags::INHERIT_ONLY | AceFlags::OBJECT_INHERIT;
        let passed = ace(AceType::ACCESS_ALLOWED, inherit_only, READ, everyone());
        let audited = ace(AceType::SYSTEM_AUDIT, AceFlags::empty(), READ, everyone());
        assert_eq!(granted(2, vec![passed, audited]), AccessMask::empty());
    }

    #[test]
    fn generic_rights_count_as_those_of_files() {
        let read = AccessMask::from_bits_retain(0x0012_0089);
        assert_eq!(granted(2, vec![allow(AccessMask::GENERIC_READ, everyone())]), read);
    }

    /// As one of the types with more in it, after `before` and the SID.
    fn conditional(kind: AceType, before: &[u8], mask: AccessMask, sid: &Sid) -> Ace {
        let mut body = mask.bits().to_le_bytes().to_vec();
        body.extend_from_slice(before);
        sid.encode(&mut Writer::new(&mut body));
        body.extend_from_slice(b"artx");
        Ace { kind, flags: AceFlags::empty(), body: AceBody::Other(body) }
    }

    /// S-1-5-11, which administrators let in to keep guests out; S-1-5-32-546 are guests. MS-DTYP 2.4.2.4.
    #[test]
    fn who_has_not_said_who_it_is_is_not_authenticated() {
        let authenticated = Sid::new(5, [11]);
        let guests = Sid::new(5, [32, 546]);
        let aces = vec![allow(READ, authenticated), allow(WRITE, guests)];
        let dacl = Some(Acl { revision: Acl::REVISION, aces });
        let descriptor = SecurityDescriptor { dacl, ..Default::default() };
        let user = Token::new(1, 1, &[]);
        assert_eq!(granted_by(&descriptor, &user), READ);
        assert_eq!(granted_by(&descriptor, &user.of_stranger()), WRITE);
    }

    #[test]
    fn entries_with_conditions_deny_and_do_not_allow() {
        let everybody = || allow(READ | WRITE, everyone());
        let object = [&[1, 0, 0, 0][..], &[7; 16]].concat();
        for (kind, before) in [
            (AceType::ACCESS_DENIED_CALLBACK, &[][..]),
            (AceType::ACCESS_DENIED_OBJECT, &object),
            (AceType::ACCESS_DENIED_CALLBACK_OBJECT, &[0; 4]),
        ] {
            let mine = conditional(kind, before, WRITE, &user_sid(1));
            assert_eq!(granted(2, vec![mine, everybody()]), READ, "{kind}");
            let others = conditional(kind, before, WRITE, &user_sid(3));
            assert_eq!(granted(2, vec![others, everybody()]), READ | WRITE, "{kind}");
            let cut = Ace { body: AceBody::Other(vec![1; 5]), ..everybody() };
            let cut = Ace { kind, ..cut };
            assert_eq!(granted(2, vec![cut, everybody()]), AccessMask::empty(), "{kind}");
        }
        let allows = conditional(AceType::ACCESS_ALLOWED_CALLBACK, &[], READ, &everyone());
        assert_eq!(granted(2, vec![allows]), AccessMask::empty());
    }
}
