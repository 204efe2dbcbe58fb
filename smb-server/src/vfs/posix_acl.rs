//! Access control lists of POSIX.1e, acl(5), as Linux keeps them: what unix lets others do with a file, beside its
//! owner. They are the part of a security descriptor that the kernel decides by.

use std::ffi::CStr;
use std::io;

use ringway::fs::File;

use super::metadata::MASK;
use super::{Error, xattr};

const ACCESS: &CStr = c"system.posix_acl_access";
const DEFAULT: &CStr = c"system.posix_acl_default";

/// POSIX_ACL_XATTR_VERSION.
const VERSION: u32 = 2;

/// The tags of linux/posix_acl.h.
const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const OBJ_MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// The id of entries that name nobody, ACL_UNDEFINED_ID.
const NOBODY: u32 = u32::MAX;

/// Read, write and execute, as three bits.
pub type Permissions = u8;

/// What others than its owner may do with a file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PosixAcl {
    /// Users by name.
    pub users: Vec<(u32, Permissions)>,
    /// The file's group.
    pub group: Permissions,
    /// Groups by name.
    pub groups: Vec<(u32, Permissions)>,
    /// Everybody else.
    pub others: Permissions,
}

/// That of a file, if it has one beyond its mode.
pub(super) async fn load(file: &File) -> Result<Option<PosixAcl>, Error> {
    match xattr::value(file, ACCESS).await {
        Ok(value) => Ok(value.as_deref().and_then(PosixAcl::decode)),
        // Opened only to be looked at, or a file system without.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EBADF | libc::EOPNOTSUPP)) => {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Gives a file an ACL, and a directory, or takes from it, the one that new files in it get. What its owner may is as
/// it was, since that says whether it is READONLY. Done as the process; a file system without ACLs keeps none.
pub(super) async fn store(
    file: &File,
    access: &PosixAcl,
    default: Option<&PosixAcl>,
) -> Result<(), Error> {
    let file = file.with_identity(None);
    let stat = file.statx(MASK).await?;
    let mode = u32::from(stat.stx_mode);
    let is_directory = mode & libc::S_IFMT == libc::S_IFDIR;
    let owner = Permissions::try_from(mode >> 6 & 0o7).unwrap_or_default();
    // Who may execute a document is nobody's wish; so nobody gets that who could not before.
    let executable = is_directory || mode & 0o111 != 0;
    let limit = if executable { 0o7 } else { 0o6 };
    set(&file, ACCESS, access.encode(owner, limit)).await?;
    match (is_directory, default) {
        (false, _) => Ok(()),
        (true, Some(default)) => set(&file, DEFAULT, default.encode(0o7, 0o7)).await,
        (true, None) => match file.remove_xattr(DEFAULT).await {
            Err(error) if error.raw_os_error() != Some(libc::ENODATA) => ignore_absence(error),
            _ => Ok(()),
        },
    }
}

async fn set(file: &File, name: &'static CStr, value: Vec<u8>) -> Result<(), Error> {
    match xattr::set(file, name, value).await {
        Err(error) => ignore_absence(error),
        Ok(()) => Ok(()),
    }
}

fn ignore_absence(error: io::Error) -> Result<(), Error> {
    match error.raw_os_error() {
        Some(libc::EOPNOTSUPP) => Ok(()),
        _ => Err(xattr::error_of_set(error)),
    }
}

impl PosixAcl {
    /// What a mode lets others do.
    #[must_use]
    pub fn of_mode(mode: u16) -> Self {
        let bits = |shift: u16| Permissions::try_from(mode >> shift & 0o7).unwrap_or_default();
        Self { group: bits(3), others: bits(0), ..Self::default() }
    }

    /// Little-endian: the version, then the entries, of each tag, permissions and id; in the order of the tags.
    fn encode(&self, owner: Permissions, limit: Permissions) -> Vec<u8> {
        let named = |tag, list: &[(u32, Permissions)]| {
            let entries = list.iter().map(move |(id, permissions)| (tag, *permissions, *id));
            entries.collect::<Vec<_>>()
        };
        let mut entries = named(USER, &self.users);
        entries.push((GROUP_OBJ, self.group, NOBODY));
        entries.extend(named(GROUP, &self.groups));
        let mask = entries.iter().fold(0, |all, (_, permissions, _)| all | permissions);
        if entries.len() > 1 {
            entries.push((OBJ_MASK, mask, NOBODY));
        }
        entries.push((OTHER, self.others, NOBODY));
        let mut value = VERSION.to_le_bytes().to_vec();
        let mut put = |tag: u16, permissions: Permissions, id: u32| {
            value.extend_from_slice(&tag.to_le_bytes());
            value.extend_from_slice(&u16::from(permissions).to_le_bytes());
            value.extend_from_slice(&id.to_le_bytes());
        };
        put(USER_OBJ, owner, NOBODY);
        entries.into_iter().for_each(|(tag, permissions, id)| put(tag, permissions & limit, id));
        value
    }

    /// What it lets them do, the mask applied.
    fn decode(value: &[u8]) -> Option<Self> {
        let (version, entries) = value.split_first_chunk::<4>()?;
        if u32::from_le_bytes(*version) != VERSION {
            return None;
        }
        let (mut acl, mut mask) = (Self::default(), 0o7);
        for entry in entries.chunks_exact(8) {
            let [t0, t1, p0, _, id @ ..] = *<&[u8; 8]>::try_from(entry).ok()?;
            let (tag, permissions) = (u16::from_le_bytes([t0, t1]), p0 & 0o7);
            match tag {
                USER => acl.users.push((u32::from_le_bytes(id), permissions)),
                GROUP_OBJ => acl.group = permissions,
                GROUP => acl.groups.push((u32::from_le_bytes(id), permissions)),
                OBJ_MASK => mask = permissions,
                OTHER => acl.others = permissions,
                _ => {}
            }
        }
        acl.group &= mask;
        let named = acl.users.iter_mut().chain(&mut acl.groups);
        named.for_each(|(_, permissions)| *permissions &= mask);
        Some(acl)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `setfacl -m u:1:r,g:2:rw,m::r` leaves a file of mode 0640; `getfattr -e hex` printed it.
    const BY_SETFACL: [u8; 52] = [
        2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 1, 0, 0, 0, 4, 0, 4, 0, 255, 255,
        255, 255, 8, 0, 6, 0, 2, 0, 0, 0, 16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255,
        255, 255,
    ];

    #[test]
    fn the_mask_is_applied_to_all_but_the_owner_and_others() {
        let acl = PosixAcl::decode(&BY_SETFACL).unwrap();
        let expected = PosixAcl { users: vec![(1, 4)], group: 4, groups: vec![(2, 4)], others: 0 };
        assert_eq!(acl, expected);
        for cut in 0..4 {
            assert_eq!(PosixAcl::decode(&BY_SETFACL[..cut]), None);
        }
    }

    #[test]
    fn the_mask_is_what_the_entries_add_up_to() {
        let acl = PosixAcl { users: vec![(1, 4)], group: 4, groups: vec![(2, 4)], others: 0 };
        let value = acl.encode(6, 6);
        let mut expected = BY_SETFACL;
        expected[30] = 4;
        assert_eq!(value, expected);
        let wider = PosixAcl { users: vec![(1, 7)], ..acl };
        assert_eq!(PosixAcl::decode(&wider.encode(6, 6)).unwrap().users, [(1, 6)]);
    }

    #[test]
    fn without_names_it_is_a_mode() {
        let acl = PosixAcl { group: 5, others: 1, ..PosixAcl::default() };
        let value = acl.encode(7, 7);
        assert_eq!(value.len(), 4 + 3 * 8);
        assert_eq!(PosixAcl::decode(&value), Some(acl));
    }
}
