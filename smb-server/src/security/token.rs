//! Who somebody is.

use nix::unistd::{getegid, geteuid, getgroups};
use ringway::Identity;

use crate::wire::security::Sid;

use super::posix::Owner;
use super::unix::{gid_of, group_sid, uid_of, user_sid};
use super::world;

/// S-1-5-2: who comes over the network.
fn network() -> Sid {
    Sid::new(5, [2])
}

/// S-1-0-0.
fn nobody() -> Sid {
    Sid::new(0, [0])
}

/// What a user is known by. MS-DTYP 2.5.2, without privileges.
#[derive(Clone, Debug)]
pub struct Token {
    user: Sid,
    group: Sid,
    groups: Vec<Sid>,
    /// What is true of more than those in unix's groups.
    others: Vec<Sid>,
}

impl Token {
    /// Of a user who works with these unix ids.
    #[must_use]
    pub fn new(uid: u32, gid: u32, groups: &[u32]) -> Self {
        let groups = groups.iter().copied().map(group_sid).collect();
        // Everybody, who comes over the network, and has logged on.
        let others = vec![world(), network(), Sid::new(5, [11])];
        Self { user: user_sid(uid), group: group_sid(gid), groups, others }
    }

    /// Of a user of whom only the user id and the groups matter.
    #[must_use]
    pub fn of_user(uid: u32, groups: &[u32]) -> Self {
        Self { group: nobody(), ..Self::new(uid, 0, groups) }
    }

    /// Of somebody in a group.
    #[must_use]
    pub fn of_member(gid: u32) -> Self {
        Self { user: nobody(), ..Self::new(0, gid, &[]) }
    }

    /// Of somebody of whom nothing is known.
    #[must_use]
    pub fn of_anybody() -> Self {
        Self { user: nobody(), group: nobody(), ..Self::new(0, 0, &[]) }
    }

    /// Of who works as `identity`; `None` is the process itself.
    #[must_use]
    pub fn of(identity: Option<&Identity>) -> Self {
        if let Some(identity) = identity {
            return Self::new(identity.uid(), identity.gid(), identity.groups());
        }
        let groups = getgroups().unwrap_or_default();
        let groups: Vec<u32> = groups.into_iter().map(nix::unistd::Gid::as_raw).collect();
        Self::new(geteuid().as_raw(), getegid().as_raw(), &groups)
    }

    /// Works in the same way, and has not said who it is.
    #[must_use]
    pub fn of_stranger(self) -> Self {
        // S-1-5-32-546: guests.
        Self { others: vec![world(), network(), Sid::new(5, [32, 546])], ..self }
    }

    /// The unix ids of what this user makes.
    #[must_use]
    pub fn ids(&self) -> Owner {
        let uid = uid_of(&self.user).unwrap_or(u32::MAX);
        Owner { uid, gid: gid_of(&self.group).unwrap_or(u32::MAX) }
    }

    /// Who owns what this user makes.
    #[must_use]
    pub fn user(&self) -> &Sid {
        &self.user
    }

    /// The group of what this user makes.
    #[must_use]
    pub fn group(&self) -> &Sid {
        &self.group
    }

    /// Whether this user may make it the owner of a file: everybody takes, and only unix's root, to whom
    /// `chown` lets it, gives.
    #[must_use]
    pub fn may_make_owner(&self, sid: &Sid) -> bool {
        *sid == self.user || self.is_root()
    }

    /// Whether this user may make it the group of a file: one of the unix groups that the user is in.
    #[must_use]
    pub fn may_make_group(&self, sid: &Sid) -> bool {
        self.is_member(sid) || self.is_root()
    }

    fn is_root(&self) -> bool {
        self.user == user_sid(0)
    }

    fn is_member(&self, sid: &Sid) -> bool {
        *sid == self.group || self.groups.contains(sid)
    }

    /// Whether it is this user, or a group that the user is in.
    #[must_use]
    pub fn is(&self, sid: &Sid) -> bool {
        *sid == self.user || self.is_member(sid) || self.others.contains(sid)
    }
}
