//! Files as SMB sees them: names matched without regard to case, attributes of the DOS kind,
//! listings. It knows no wire types and no NTSTATUS.
//!
//! Start from [`Volume`], one share's tree, and [`Handle`], a file or directory in it. A path comes
//! in as a [`SharePath`]; nothing ever leaves the tree, since every step is an `openat2` that
//! resolves beneath the share's root. Operations run as the [`Identity`](ringway::Identity) they
//! are given, so the kernel's permission checks are the server's.

mod abilities;
mod attributes;
mod blocks;
mod direct;
pub(crate) mod dos_info;
pub(crate) mod ea;
mod error;
mod handle;
mod index;
mod link;
mod listing;
mod look;
mod mapping;
mod metadata;
pub mod name;
pub(crate) mod nt_acl;
pub(crate) mod path;
mod posix_acl;
mod reparse;
mod resolve;
pub mod short_name;
mod snapshots;
mod store;
pub(crate) mod streams;
mod subtree;
mod sweep;
mod symlink;
#[cfg(test)]
mod tests;
mod tunnel;
mod unleased;
mod volume;
mod xattr;

pub use abilities::Abilities;
pub use attributes::Attributes;
pub use direct::Direct;
pub use ea::Ea;
pub use error::Error;
pub use handle::{
    Change, DirectorySecurity, Handle, StreamContents, read_contents, write_contents,
};
pub use listing::{DirEntry, DirStream};
pub use mapping::Mapping;
pub use metadata::{FileKey, Metadata, Time};
pub use path::{SharePath, is_presentable};
pub use posix_acl::{Permissions, PosixAcl};
pub use resolve::TreeId;
pub use snapshots::{Snapshot, Snapshots};
pub use streams::{Alone, StreamInfo, StreamKey};
pub use subtree::Subtree;
pub use sweep::{SweepError, Swept, sweep};
pub use symlink::{LinkInTheWay, ReparsePoint, unix_target};
pub use volume::{
    Action, Disposition, Guard, Kind, Open, Opened, Replaced, Security, SpaceInfo, Volume,
};
