//! Who may do what with a file, as Windows decides it: [`Token`]s say who somebody is, descriptors what each may.
//! Where descriptors are kept is the file system's business ([`crate::vfs`]).

mod access;
mod inherit;
mod names;
mod posix;
mod token;
mod unix;

pub use access::{generic_to_specific, granted_by};
pub use inherit::{for_new, inherited, merged};
pub use names::{Known, NameUse, UnixNames, by_name, by_sid};
pub use posix::{Owner, default_posix_acl, posix_acl};
pub use token::Token;
pub use unix::{gid_of, group_sid, security_of, uid_of, user_sid};

use crate::wire::security::Sid;

/// S-1-1-0: everybody.
fn world() -> Sid {
    Sid::new(1, [0])
}

/// S-1-3-0: in an inherited entry, the owner of what is made.
fn creator_owner() -> Sid {
    Sid::new(3, [0])
}

/// S-1-3-1: in an inherited entry, the group of what is made.
fn creator_group() -> Sid {
    Sid::new(3, [1])
}

/// S-1-3-4: the owner, in place of what owners have without being named.
fn owner_rights() -> Sid {
    Sid::new(3, [4])
}
