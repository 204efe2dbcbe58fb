//! On whose behalf an operation runs.

use std::fmt;
use std::io;
use std::sync::Arc;

/// An identity for the kernel's permission checks while one operation runs. Clones are cheap and share
/// one list of groups; two with the same ids and the same set of groups are equal.
///
/// While an operation runs for somebody, the kernel sees that user, group and groups in everything
/// that concerns files: who may do what, who owns what is created, whose quota it counts against, and
/// whether there are blocks in reserve. No capability is in effect then, unless the user is 0: who
/// acts for root acts with the capabilities that the process has in effect itself. The umask is the
/// process's in any case.
///
/// The process needs `CAP_SETUID`, `CAP_SETGID` and what it hands on for this, except to act as what
/// it already is. An identity that cannot be had is an operation that fails with `EPERM`: nothing ever
/// runs as the process in its stead.
///
/// The kernel takes note when a thread changes its identity: it stops writing core dumps of the process
/// (`PR_SET_DUMPABLE`) and forgets the thread's `PR_SET_PDEATHSIG`. A process that gives its own
/// privileges up takes them from its runtimes as well: what they act for somebody as is checked each
/// time against what the thread may do now.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Identity(Arc<Ids>);

#[derive(PartialEq, Eq, Hash)]
struct Ids {
    uid: u32,
    gid: u32,
    /// Ascending and without repetition, as a set should be.
    groups: Box<[u32]>,
}

impl Identity {
    /// The kernel's `NGROUPS_MAX`: how many supplementary groups there may be, repetitions not counted.
    pub const GROUPS_MAX: usize = 65_536;

    /// The user `uid` with the group `gid` and the supplementary groups `groups`, which replace the
    /// process's own; in any order.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for an id of `u32::MAX`, which is the kernel's "none", and for
    /// more than [`Self::GROUPS_MAX`] groups.
    pub fn new(uid: u32, gid: u32, groups: &[u32]) -> io::Result<Self> {
        let mut groups = groups.to_vec();
        groups.sort_unstable();
        groups.dedup();
        if groups.len() > Self::GROUPS_MAX {
            let text = format!("{} groups; the kernel takes {}", groups.len(), Self::GROUPS_MAX);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        if [uid, gid].contains(&u32::MAX) || groups.last() == Some(&u32::MAX) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an id of -1 is nobody's"));
        }
        Ok(Self(Arc::new(Ids { uid, gid, groups: groups.into() })))
    }

    /// The user id: who owns what is created.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.0.uid
    }

    /// The group id: the group of what is created, unless the directory gives its own.
    #[must_use]
    pub fn gid(&self) -> u32 {
        self.0.gid
    }

    /// The supplementary groups, ascending.
    #[must_use]
    pub fn groups(&self) -> &[u32] {
        &self.0.groups
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ids { uid, gid, groups } = &*self.0;
        f.debug_struct("Identity")
            .field("uid", uid)
            .field("gid", gid)
            .field("groups", groups)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_groups_in_any_order_are_the_same_identity() {
        let one = Identity::new(1, 2, &[7, 5, 7, 6]).unwrap();
        assert_eq!(one, Identity::new(1, 2, &[5, 6, 7]).unwrap());
        assert_ne!(one, Identity::new(1, 2, &[5, 6]).unwrap());
        assert_eq!((one.uid(), one.gid(), one.groups()), (1, 2, &[5, 6, 7][..]));
        assert_eq!(format!("{one:?}"), "Identity { uid: 1, gid: 2, groups: [5, 6, 7] }");
    }

    #[test]
    fn the_kernels_none_is_nobody() {
        for (uid, gid, group) in [(u32::MAX, 1, 1), (1, u32::MAX, 1), (1, 1, u32::MAX)] {
            let refused = Identity::new(uid, gid, &[group]).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn there_are_65536_groups_at_most_however_often_each_is_named() {
        let mut groups: Vec<u32> = (0..65_536).collect();
        groups.push(3);
        assert_eq!(Identity::new(1, 1, &groups).unwrap().groups().len(), 65_536);
        groups.push(70_000);
        let refused = Identity::new(1, 1, &groups).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
    }
}
