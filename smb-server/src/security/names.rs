//! What SIDs are called, and the reverse: the well-known ones, and those that stand for unix users and groups.

use std::fmt;

use crate::wire::security::Sid;

use super::{group_sid, user_sid};

/// The unix accounts of the system. To look one up may block: the system may ask another machine.
pub trait UnixNames: fmt::Debug + Send + Sync {
    /// The name of a user.
    fn user(&self, uid: u32) -> Option<String>;
    /// The name of a group.
    fn group(&self, gid: u32) -> Option<String>;
    /// The user of this name.
    fn uid(&self, name: &str) -> Option<u32>;
    /// The group of this name.
    fn gid(&self, name: &str) -> Option<u32>;
}

/// What a SID names. MS-LSAT 2.2.13, SID_NAME_USE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum NameUse {
    /// A user.
    User = 1,
    /// A group of a domain.
    Group = 2,
    /// A group of a machine.
    Alias = 4,
    /// What every machine has.
    WellKnownGroup = 5,
    /// Nothing that is known.
    Unknown = 8,
}

/// A SID with its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Known {
    /// What comes before the name, and the SID that it stands for.
    pub domain: (&'static str, Sid),
    /// Of the two halves of the SID, the second.
    pub rid: u32,
    /// The name itself.
    pub name: String,
    /// What it is the name of.
    pub name_use: NameUse,
}

impl Known {
    /// The whole SID.
    #[must_use]
    pub fn sid(&self) -> Sid {
        let mut sid = self.domain.1.clone();
        sid.sub_authorities.push(self.rid);
        sid
    }
}

const USERS: &str = "Unix User";
const GROUPS: &str = "Unix Group";

/// A domain: its name, and its SID's authority and sub-authorities; then what is in it. MS-DTYP 2.4.2.4, with the names
/// that Windows shows.
type Domain = (&'static str, u8, &'static [u32], NameUse, &'static [(u32, &'static str)]);

static WELL_KNOWN: [Domain; 6] = [
    ("", 0, &[], NameUse::WellKnownGroup, &[(0, "NULL SID")]),
    ("", 1, &[], NameUse::WellKnownGroup, &[(0, "Everyone")]),
    ("", 2, &[], NameUse::WellKnownGroup, &[(0, "LOCAL"), (1, "CONSOLE LOGON")]),
    (
        "",
        3,
        &[],
        NameUse::WellKnownGroup,
        &[(0, "CREATOR OWNER"), (1, "CREATOR GROUP"), (4, "OWNER RIGHTS")],
    ),
    (
        "NT AUTHORITY",
        5,
        &[],
        NameUse::WellKnownGroup,
        &[
            (1, "DIALUP"),
            (2, "NETWORK"),
            (3, "BATCH"),
            (4, "INTERACTIVE"),
            (6, "SERVICE"),
            (7, "ANONYMOUS LOGON"),
            (8, "PROXY"),
            (9, "ENTERPRISE DOMAIN CONTROLLERS"),
            (10, "SELF"),
            (11, "Authenticated Users"),
            (12, "RESTRICTED"),
            (13, "TERMINAL SERVER USER"),
            (14, "REMOTE INTERACTIVE LOGON"),
            (15, "This Organization"),
            (17, "IUSR"),
            (18, "SYSTEM"),
            (19, "LOCAL SERVICE"),
            (20, "NETWORK SERVICE"),
        ],
    ),
    (
        "BUILTIN",
        5,
        &[32],
        NameUse::Alias,
        &[
            (544, "Administrators"),
            (545, "Users"),
            (546, "Guests"),
            (547, "Power Users"),
            (548, "Account Operators"),
            (549, "Server Operators"),
            (550, "Print Operators"),
            (551, "Backup Operators"),
            (552, "Replicator"),
        ],
    ),
];

/// What a SID is called. A unix id that has no name is its number.
pub fn by_sid(unix: &dyn UnixNames, sid: &Sid) -> Option<Known> {
    let (rid, domain) = sid.sub_authorities.split_last()?;
    let domain = Sid { authority: sid.authority, sub_authorities: domain.to_vec() };
    let number = || rid.to_string();
    match (domain == users(), domain == groups()) {
        (true, _) => Some(unix_user(*rid, unix.user(*rid).unwrap_or_else(number))),
        (_, true) => Some(unix_group(*rid, unix.group(*rid).unwrap_or_else(number))),
        _ => well_known().find(|known| known.rid == *rid && known.domain.1 == domain),
    }
}

/// Whom `text` names, with or without a domain before it and in any case. The unix users are also those of the domain
/// `own`.
pub fn by_name(unix: &dyn UnixNames, own: &str, text: &str) -> Option<Known> {
    let (domain, name) = match text.split_once('\\') {
        Some((domain, name)) => (Some(domain), name),
        None => (None, text),
    };
    let in_domain = |other: &str| domain.is_none_or(|domain| domain.eq_ignore_ascii_case(other));
    let is_meant =
        |known: &Known| known.name.eq_ignore_ascii_case(name) && in_domain(known.domain.0);
    if let Some(known) = well_known().find(is_meant) {
        return Some(known);
    }
    // Unix tells case apart, and its names are in lower case.
    let lower = name.to_lowercase();
    let spelled = [name, lower.as_str()];
    let user = |name: &&str| unix.uid(name).map(|uid| unix_user(uid, (*name).to_owned()));
    let group = |name: &&str| unix.gid(name).map(|gid| unix_group(gid, (*name).to_owned()));
    let is_user = in_domain(USERS) || in_domain(own);
    let found = is_user.then(|| spelled.iter().find_map(user)).flatten();
    found.or_else(|| in_domain(GROUPS).then(|| spelled.iter().find_map(group)).flatten())
}

fn well_known() -> impl Iterator<Item = Known> {
    WELL_KNOWN.iter().flat_map(|(domain, authority, subs, name_use, names)| {
        names.iter().map(|(rid, name)| Known {
            domain: (domain, Sid::new(*authority, *subs)),
            rid: *rid,
            name: (*name).to_owned(),
            name_use: *name_use,
        })
    })
}

fn unix_user(rid: u32, name: String) -> Known {
    Known { domain: (USERS, users()), rid, name, name_use: NameUse::User }
}

fn unix_group(rid: u32, name: String) -> Known {
    Known { domain: (GROUPS, groups()), rid, name, name_use: NameUse::Group }
}

/// What [`user_sid`] begins with.
fn users() -> Sid {
    without_last(user_sid(0))
}

/// What [`group_sid`] begins with.
fn groups() -> Sid {
    without_last(group_sid(0))
}

fn without_last(mut sid: Sid) -> Sid {
    sid.sub_authorities.pop();
    sid
}
