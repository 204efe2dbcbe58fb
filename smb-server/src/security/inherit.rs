//! The descriptors of new files, and of files that get a new one. MS-DTYP 2.5.3.4.

use crate::wire::access_mask::AccessMask;
use crate::wire::query_info::SecurityInformation;
use crate::wire::security::{
    Ace, AceBody, AceFlags, AceType, Acl, Control, SecurityDescriptor, Sid,
};

use super::{creator_group, creator_owner, generic_to_specific};

/// How an entry is handed down.
const HANDED_DOWN: AceFlags = AceFlags::OBJECT_INHERIT
    .union(AceFlags::CONTAINER_INHERIT)
    .union(AceFlags::NO_PROPAGATE_INHERIT)
    .union(AceFlags::INHERIT_ONLY);

/// That of a file or directory which `owner` makes in a directory with the descriptor `parent`. Where
/// nothing is handed down, the owner and the system may do everything, and nobody else anything.
#[must_use]
pub fn for_new(
    parent: &SecurityDescriptor,
    (owner, group): (&Sid, &Sid),
    is_directory: bool,
) -> SecurityDescriptor {
    inherited(parent, (owner, group), is_directory).unwrap_or_else(|| {
        let everything = |sid: &Sid| Ace {
            kind: AceType::ACCESS_ALLOWED,
            flags: AceFlags::empty(),
            body: AceBody::Basic { mask: AccessMask::FILE_ALL, sid: sid.clone() },
        };
        let aces = vec![everything(owner), everything(&Sid::new(5, [18]))];
        with_dacl((owner, group), aces, Control::empty())
    })
}

/// What a directory with the descriptor `parent` hands down to a file or directory of `owner`, if anything.
#[must_use]
pub fn inherited(
    parent: &SecurityDescriptor,
    (owner, group): (&Sid, &Sid),
    is_directory: bool,
) -> Option<SecurityDescriptor> {
    let automatic = parent.control & Control::DACL_AUTO_INHERITED;
    let entries = parent.dacl.iter().flat_map(|dacl| &dacl.aces);
    let aces: Vec<Ace> = entries
        .flat_map(|ace| handed_down(ace, owner, group, is_directory))
        .map(|mut ace| {
            ace.flags.set(AceFlags::INHERITED, !automatic.is_empty());
            ace
        })
        .collect();
    (!aces.is_empty()).then(|| with_dacl((owner, group), aces, automatic))
}

fn with_dacl((owner, group): (&Sid, &Sid), aces: Vec<Ace>, control: Control) -> SecurityDescriptor {
    SecurityDescriptor {
        control: Control::SELF_RELATIVE | Control::DACL_PRESENT | control,
        owner: Some(owner.clone()),
        group: Some(group.clone()),
        sacl: None,
        dacl: Some(Acl { revision: Acl::REVISION, aces }),
    }
}

/// What becomes of one entry: one that counts for what is made, one that waits for what is made in that,
/// both, or nothing.
fn handed_down(ace: &Ace, owner: &Sid, group: &Sid, is_directory: bool) -> Vec<Ace> {
    let to_files = ace.flags.contains(AceFlags::OBJECT_INHERIT);
    let to_directories = ace.flags.contains(AceFlags::CONTAINER_INHERIT);
    let further = is_directory && !ace.flags.contains(AceFlags::NO_PROPAGATE_INHERIT);
    let counts = if is_directory { to_directories } else { to_files };
    let kept = ace.flags.intersection(HANDED_DOWN).difference(AceFlags::INHERIT_ONLY);
    let passed = Ace { flags: kept | AceFlags::INHERIT_ONLY, ..ace.clone() };
    if !counts {
        return if further && to_files { vec![passed] } else { Vec::new() };
    }
    let AceBody::Basic { mask, sid } = &ace.body else {
        let flags = if further { kept } else { AceFlags::empty() };
        return vec![Ace { flags, ..ace.clone() }];
    };
    // Who makes it takes the place of the one who is not known beforehand, and what is generic is made
    // specific; what is passed on stays as it was.
    let known = match sid {
        sid if *sid == creator_owner() => owner,
        sid if *sid == creator_group() => group,
        sid => sid,
    };
    let specific = generic_to_specific(*mask);
    let body = AceBody::Basic { mask: specific, sid: known.clone() };
    let stays = known == sid && specific == *mask;
    match (further, stays) {
        (false, _) => vec![Ace { kind: ace.kind, flags: AceFlags::empty(), body }],
        (true, true) => vec![Ace { kind: ace.kind, flags: kept, body }],
        (true, false) => vec![Ace { kind: ace.kind, flags: AceFlags::empty(), body }, passed],
    }
}

/// `current` with those parts of `new` that are meant. MS-FSA 2.1.5.17.
#[must_use]
pub fn merged(
    current: SecurityDescriptor,
    new: SecurityDescriptor,
    parts: SecurityInformation,
) -> SecurityDescriptor {
    let mut merged = current;
    if parts.contains(SecurityInformation::OWNER) {
        merged.owner = new.owner;
    }
    if parts.contains(SecurityInformation::GROUP) {
        merged.group = new.group;
    }
    if parts.contains(SecurityInformation::DACL) {
        // Inherited by itself only if the client says that it is, and has done what that takes.
        let automatic = Control::DACL_AUTO_INHERIT_REQUIRED | Control::DACL_AUTO_INHERITED;
        let is_automatic = new.control.contains(automatic);
        merged.control.set(Control::DACL_AUTO_INHERITED, is_automatic);
        for bit in [Control::DACL_PROTECTED, Control::DACL_DEFAULTED] {
            merged.control.set(bit, new.control.contains(bit));
        }
        merged.control.insert(Control::DACL_PRESENT);
        merged.dacl = new.dacl.map(specific);
    }
    merged
}

/// Generic rights mean nothing on a file itself; in what is only handed down they stay.
fn specific(acl: Acl) -> Acl {
    let aces = acl.aces.into_iter().map(|mut ace| {
        if let AceBody::Basic { mask, .. } = &mut ace.body
            && !ace.flags.contains(AceFlags::INHERIT_ONLY)
        {
            *mask = generic_to_specific(*mask);
        }
        ace
    });
    Acl { aces: aces.collect(), ..acl }
}

#[cfg(test)]
mod tests {
    use super::super::{group_sid, user_sid};
    use super::*;

    const OI: AceFlags = AceFlags::OBJECT_INHERIT;
    const CI: AceFlags = AceFlags::CONTAINER_INHERIT;
    const NP: AceFlags = AceFlags::NO_PROPAGATE_INHERIT;
    const IO: AceFlags = AceFlags::INHERIT_ONLY;
    const NONE: AceFlags = AceFlags::empty();
    const MASK: AccessMask = AccessMask::WRITE_DATA;

    fn ace(flags: AceFlags, sid: Sid) -> Ace {
        Ace { kind: AceType::ACCESS_ALLOWED, flags, body: AceBody::Basic { mask: MASK, sid } }
    }

    fn parent(aces: Vec<Ace>) -> SecurityDescriptor {
        let dacl = Some(Acl { revision: Acl::REVISION, aces });
        SecurityDescriptor { control: Control::DACL_PRESENT, dacl, ..Default::default() }
    }

    /// What the user 1 makes there.
    fn made_in(parent: &SecurityDescriptor, is_directory: bool) -> SecurityDescriptor {
        for_new(parent, (&user_sid(1), &group_sid(1)), is_directory)
    }

    /// What a file and a directory get of an entry for whoever makes it.
    fn down(flags: AceFlags) -> [Vec<(AceFlags, bool)>; 2] {
        let parent = parent(vec![ace(flags, creator_owner())]);
        [false, true].map(|is_directory| {
            let aces = made_in(&parent, is_directory).dacl.unwrap().aces;
            let kept = aces.into_iter().filter_map(|ace| match ace.body {
                // Without any, the default is here.
                AceBody::Basic { mask, sid } if mask == MASK => {
                    Some((ace.flags, sid == user_sid(1)))
                }
                _ => None,
            });
            kept.collect()
        })
    }

    /// As Windows does it; the table is that of smbtorture's acls.INHERITANCE.
    #[test]
    fn entries_are_handed_down_to_files_and_directories_as_their_flags_say() {
        let (own, creators) = (true, false);
        assert_eq!(down(NONE), [vec![], vec![]]);
        assert_eq!(down(OI), [vec![(NONE, own)], vec![(OI | IO, creators)]]);
        assert_eq!(down(CI), [vec![], vec![(NONE, own), (CI | IO, creators)]]);
        let both = vec![(NONE, own), (OI | CI | IO, creators)];
        assert_eq!(down(OI | CI), [vec![(NONE, own)], both.clone()]);
        assert_eq!(down(OI | CI | IO), [vec![(NONE, own)], both]);
        assert_eq!(down(NP | OI), [vec![(NONE, own)], vec![]]);
        assert_eq!(down(NP | CI), [vec![], vec![(NONE, own)]]);
        assert_eq!(down(NP | IO | OI | CI), [vec![(NONE, own)], vec![(NONE, own)]]);
    }

    #[test]
    fn where_nothing_is_handed_down_only_the_owner_and_the_system_may() {
        let made = made_in(&parent(vec![ace(NONE, Sid::new(1, [0]))]), false);
        let full = |sid| Ace {
            kind: AceType::ACCESS_ALLOWED,
            flags: NONE,
            body: AceBody::Basic { mask: AccessMask::FILE_ALL, sid },
        };
        let aces = vec![full(user_sid(1)), full(Sid::new(5, [18]))];
        assert_eq!(made.dacl.unwrap().aces, aces);
    }

    #[test]
    fn entries_are_marked_as_inherited_where_the_parent_says_so() {
        let mut parent = parent(vec![ace(OI, Sid::new(1, [0]))]);
        parent.control.insert(Control::DACL_AUTO_INHERITED);
        let made = made_in(&parent, false);
        assert!(made.control.contains(Control::DACL_AUTO_INHERITED));
        assert_eq!(made.dacl.unwrap().aces[0].flags, AceFlags::INHERITED);
    }

    #[test]
    fn only_the_parts_that_are_meant_change() {
        let old = parent(vec![ace(NONE, Sid::new(1, [0]))]);
        let old = SecurityDescriptor { owner: Some(Sid::new(22, [1, 1])), ..old };
        let new = SecurityDescriptor { owner: Some(Sid::new(22, [1, 2])), ..parent(vec![]) };
        let owned = merged(old.clone(), new.clone(), SecurityInformation::OWNER);
        assert_eq!((&owned.owner, &owned.dacl), (&new.owner, &old.dacl));
        let listed = merged(old.clone(), new.clone(), SecurityInformation::DACL);
        assert_eq!((&listed.owner, &listed.dacl), (&old.owner, &new.dacl));
    }
}
