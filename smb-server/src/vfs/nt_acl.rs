//! The security descriptors that are kept with files, in the form that Samba reads and writes too: in the
//! extended attribute `security.NTACL`, or, by a server that is not root and may not set that, in
//! `user.NTACL`. What is in them is nothing to the file system. One that does not fit there is [stored](stored)
//! elsewhere.

mod stored;

use std::ffi::CStr;
use std::io;

use nix::unistd::geteuid;
use ringway::fs::File;

use super::attributes::OWNER_WRITE;
use super::metadata::MASK;
use super::resolve::Tree;
use super::store::unstorable;
use super::xattr::path;
use super::{Error, xattr};

pub(super) use stored::Hash;
pub(crate) use stored::stand_in;

const SECURITY: &CStr = c"security.NTACL";

/// Anybody who may write a file can set this. So it counts only where all users are one to the kernel.
const USER: &CStr = c"user.NTACL";

/// What most file systems have room for; a longer one takes a second look.
const LEN_USUAL: usize = 4096;

/// Whether an attribute is one of these, be it one that does not count.
pub(super) fn is_of_descriptor(attribute: &[u8]) -> bool {
    [SECURITY, USER].iter().any(|name| attribute == name.to_bytes())
}

/// The descriptor of a file, if one is kept. Read as the process, whoever opened the file.
///
/// # Errors
/// There is one, and it cannot be read: not the same as there being none. [`Error::AccessDenied`] if it is
/// damaged, or in a form that is not known.
pub(super) async fn load(file: &File, tree: &Tree) -> Result<Option<Vec<u8>>, Error> {
    let Some(value) = value(file).await? else { return Ok(None) };
    let descriptor = match Hash::in_value(&value) {
        Some(hash) => stored::load(&tree.store, hash).await?,
        None => unwrap(&value),
    };
    descriptor.map(Some).ok_or_else(|| damaged(file))
}

async fn value(file: &File) -> io::Result<Option<Vec<u8>>> {
    let found = xattr::value_as_process(file, SECURITY, LEN_USUAL).await?;
    if found.is_some() || geteuid().is_root() {
        return Ok(found);
    }
    match xattr::value_as_process(file, USER, LEN_USUAL).await {
        // Without permission to read the file; then nothing in it can be read either.
        Err(error) if error.raw_os_error() == Some(libc::EACCES) => Ok(None),
        found => found,
    }
}

/// Keeps a descriptor. Done as the process: whether the user may is decided by descriptors, not by modes.
///
/// # Errors
/// [`Error::NoSpace`] where there is no room for it; [`Error::NotSupported`] where none can be kept.
pub(super) async fn store(file: &File, tree: &Tree, descriptor: &[u8]) -> Result<(), Error> {
    let value = wrap(descriptor).ok_or(Error::Invalid)?;
    match set(file, value).await {
        Err(Error::NoSpace) => {
            let value = stored::store(&tree.store, descriptor).await.map_err(unstorable)?;
            set(file, value).await
        }
        result => result,
    }
}

async fn set(file: &File, value: Vec<u8>) -> Result<(), Error> {
    let file = file.with_identity(None);
    let result = match xattr::set(&file, SECURITY, value.clone()).await {
        Err(error) if is_forbidden(&error) && !geteuid().is_root() => {
            set_writable(&file, USER, value).await
        }
        result => result,
    };
    result.map_err(|error| match is_forbidden(&error) {
        true => Error::NotSupported,
        false => xattr::error_of_set(error),
    })
}

/// Not ours to set, or nobody's on this file system.
fn is_forbidden(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::EOPNOTSUPP))
}

/// The kernel lets nobody change extended attributes of what he may not write, not even the owner.
async fn set_writable(file: &File, name: &'static CStr, value: Vec<u8>) -> io::Result<()> {
    let mode = u32::from(file.statx(MASK).await?.stx_mode) & 0o7777;
    if mode & OWNER_WRITE != 0 {
        return xattr::set(file, name, value).await;
    }
    file.chmod(mode | OWNER_WRITE).await?;
    let result = xattr::set(file, name, value).await;
    file.chmod(mode).await?;
    result
}

fn damaged(file: &File) -> Error {
    let path = std::fs::read_link(path(file)).unwrap_or_default();
    tracing::warn!(path = %path.display(), "what is kept is no security descriptor; nobody is let in");
    Error::AccessDenied
}

/// What is in front of what we store: the version, twice (2 bytes each), and a pointer (4).
const HEADER: &[u8; 8] = b"\x01\0\x01\0\0\0\x02\0";

/// Where the descriptor starts. In later versions there is a second pointer, and a hash of what it was made
/// for (behind its type, of 2 bytes); in version 4 also what that is, as a text with a NUL, when it was made
/// (8 bytes), and another hash. None of that is looked at: what a client has set stands.
fn start(value: &[u8]) -> Option<usize> {
    let version = u16::from_le_bytes(*value.first_chunk()?);
    match version {
        1 => Some(HEADER.len()),
        2 => Some(12 + 16),
        3 => Some(12 + 2 + 64 + 2),
        4 => {
            let text = 12 + 2 + 64;
            let length = value.get(text..)?.iter().position(|byte| *byte == 0)?;
            let behind = text.checked_add(length)?.checked_add(1)?;
            behind.checked_next_multiple_of(4)?.checked_add(8 + 64)
        }
        _ => None,
    }
}

pub(crate) fn unwrap(value: &[u8]) -> Option<Vec<u8>> {
    let start = start(value)?;
    let mut descriptor = value.get(start..)?.to_vec();
    let start = u32::try_from(start).ok()?;
    moved(&mut descriptor, |offset| offset.checked_sub(start))?;
    Some(descriptor)
}

/// `None` for what is no descriptor.
pub(crate) fn wrap(descriptor: &[u8]) -> Option<Vec<u8>> {
    let mut value = [HEADER, descriptor].concat();
    let start = u32::try_from(HEADER.len()).ok()?;
    moved(value.get_mut(HEADER.len()..)?, |offset| offset.checked_add(start))?;
    Some(value)
}

/// Its four offsets, of which 0 says that there is nothing, count from the start of all that is stored.
fn moved(descriptor: &mut [u8], to: impl Fn(u32) -> Option<u32>) -> Option<()> {
    let (offsets, _) = descriptor.get_mut(4..20)?.as_chunks_mut();
    for bytes in offsets {
        match u32::from_le_bytes(*bytes) {
            0 => {}
            offset => *bytes = to(offset)?.to_le_bytes(),
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everybody may read and execute: the descriptor that the stored ones below have.
    const OFFSETS: [u32; 4] = [20, 48, 0, 64];

    /// A descriptor's start with these offsets, and a part of what follows.
    fn descriptor(offsets: [u32; 4]) -> Vec<u8> {
        let offsets = offsets.map(u32::to_le_bytes).concat();
        [b"\x01\0\x04\x80", offsets.as_slice(), b"\x01\x05"].concat()
    }

    /// What Samba 4.25.1 stored when smbcacls added an entry, with `ignore system acls` and without; the
    /// hashes shortened to zeros.
    fn stored() -> [Vec<u8>; 2] {
        let third = b"\x03\0\x03\0\0\0\x02\0\x04\0\x02\0\x01\0";
        let fourth = b"\x04\0\x04\0\0\0\x02\0\x04\0\x02\0\x01\0";
        let third = [third, [0; 66].as_slice(), &descriptor([0x64, 0x80, 0, 0x90])].concat();
        let made_for = [b"posix_acl\0", [0; 72].as_slice()].concat();
        let descriptor = descriptor([0xb4, 0xd0, 0, 0xe0]);
        [third, [fourth, [0; 64].as_slice(), &made_for, &descriptor].concat()]
    }

    #[test]
    fn what_samba_stored_is_found_and_its_offsets_count_from_its_start() {
        for value in stored() {
            let found = unwrap(&value).unwrap();
            assert_eq!(found, descriptor(OFFSETS));
            assert_eq!(unwrap(&wrap(&found).unwrap()).unwrap(), found);
        }
    }

    #[test]
    fn what_is_cut_off_or_unknown_is_not_taken_for_nothing() {
        for value in stored() {
            let header = value.len() - descriptor(OFFSETS).len();
            for end in 0..header + 20 {
                assert_eq!(unwrap(&value[..end]), None, "{end}");
            }
        }
        let unknown = [b"\x09\0\x09\0", [0; 200].as_slice()].concat();
        assert_eq!(unwrap(&unknown), None);
    }
}
