//! Descriptors that are too long for an extended attribute: files of the [store](Store), each named by the hash of its
//! bytes, so that all files with the same one share it. In the attribute is a short one, which lets nobody but the
//! owner in and is there for servers that know no better, and behind it the hash. None is removed while the server
//! runs, for others may have come to share it.

use aws_lc_rs::digest::{SHA256, digest};

use crate::vfs::Error;
use crate::vfs::metadata::MASK;
use crate::vfs::store::{Section, Store, refresh};

use super::wrap;

/// Between the short one and the hash.
const MARK: &[u8; 16] = b"\0usmbd: stored\0\0";

/// More than any has: two lists of at most 64 KiB each, and two short SIDs.
const LEN_MAX: u64 = 256 * 1024;

/// The SHA-256 of a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(in crate::vfs) struct Hash([u8; 32]);

impl Hash {
    fn of(descriptor: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, descriptor).as_ref());
        Self(hash)
    }

    /// The one at the end of an attribute, if there is one.
    pub(in crate::vfs) fn in_value(value: &[u8]) -> Option<Self> {
        let (rest, hash) = value.split_last_chunk()?;
        rest.ends_with(MARK).then_some(Self(*hash))
    }

    /// Of the file.
    pub(in crate::vfs) fn name(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The descriptor with this hash, if it is there and whole.
pub(super) async fn load(store: &Store, hash: Hash) -> Result<Option<Vec<u8>>, Error> {
    let Some(file) = store.open(Section::Descriptors, &hash.name()).await? else { return Ok(None) };
    let size = file.statx(MASK).await?.stx_size;
    let Some(size) = usize::try_from(size).ok().filter(|_| size <= LEN_MAX) else {
        return Ok(None);
    };
    let (result, descriptor) = file.read_exact_at(vec![0; size], 0).await;
    result?;
    Ok(Some(descriptor).filter(|descriptor| Hash::of(descriptor) == hash))
}

/// Stores a descriptor, and gives what is to be in the attribute instead.
pub(super) async fn store(store: &Store, descriptor: &[u8]) -> Result<Vec<u8>, Error> {
    let hash = Hash::of(descriptor);
    let value = value(descriptor, hash).ok_or(Error::Invalid)?;
    match load(store, hash).await {
        Ok(Some(_)) => {
            let file = store.open(Section::Descriptors, &hash.name()).await?;
            refresh(&file.ok_or(Error::NotFound)?).await?;
        }
        // Also in place of one that is damaged.
        _ => store.write(Section::Descriptors, &hash.name(), descriptor.to_vec()).await?,
    }
    Ok(value)
}

fn value(descriptor: &[u8], hash: Hash) -> Option<Vec<u8>> {
    Some([wrap(&stand_in(descriptor)?)?.as_slice(), MARK, &hash.0].concat())
}

/// A descriptor with the same owner and group, which lets the owner do everything and others nothing. MS-DTYP 2.4.6.
pub(crate) fn stand_in(descriptor: &[u8]) -> Option<Vec<u8>> {
    let (owner, group) = (sid(descriptor, 4)?, sid(descriptor, 8)?);
    let dacl = dacl(owner)?;
    // SE_DACL_PRESENT, SE_DACL_PROTECTED, SE_SELF_RELATIVE.
    let mut header = b"\x01\0\x04\x90".to_vec();
    let mut offset = 20;
    for (part, is_there) in [(owner.len(), !owner.is_empty()), (group.len(), !group.is_empty())] {
        header.extend_from_slice(&u32::to_le_bytes(if is_there { offset } else { 0 }));
        offset += u32::try_from(part).ok()?;
    }
    header.extend_from_slice(&[0; 4]);
    header.extend_from_slice(&offset.to_le_bytes());
    Some([header.as_slice(), owner, group, &dacl].concat())
}

/// The SID whose offset stands at `at`; empty if there is none. MS-DTYP 2.4.2.2.
fn sid(descriptor: &[u8], at: usize) -> Option<&[u8]> {
    let offset = u32::from_le_bytes(*descriptor.get(at..)?.first_chunk()?);
    if offset == 0 {
        return Some(&[]);
    }
    let sid = descriptor.get(usize::try_from(offset).ok()?..)?;
    sid.get(..8 + 4 * usize::from(*sid.get(1)?))
}

/// MS-DTYP 2.4.5, with an ACCESS_ALLOWED_ACE of all rights (2.4.4.2), or nothing for nobody.
fn dacl(owner: &[u8]) -> Option<Vec<u8>> {
    let mut ace = Vec::new();
    if !owner.is_empty() {
        let size = u16::try_from(8 + owner.len()).ok()?;
        ace.extend_from_slice(&[0, 0]);
        ace.extend_from_slice(&size.to_le_bytes());
        ace.extend_from_slice(&0x001f_01ff_u32.to_le_bytes());
        ace.extend_from_slice(owner);
    }
    let size = u16::try_from(8 + ace.len()).ok()?;
    let count = u16::from(!ace.is_empty());
    let header = [2_u16.to_le_bytes(), size.to_le_bytes(), count.to_le_bytes(), [0; 2]].concat();
    Some([header, ace].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::security::user_sid;
    use crate::vfs::nt_acl::unwrap;
    use crate::wire::access_mask::AccessMask;
    use crate::wire::codec::Writer;
    use crate::wire::security::{
        Ace, AceBody, AceFlags, AceType, Acl, Control, SecurityDescriptor,
    };

    fn descriptor(owner: Option<u32>, entries: u32) -> SecurityDescriptor {
        let ace = |id| Ace {
            kind: AceType::ACCESS_ALLOWED,
            flags: AceFlags::empty(),
            body: AceBody::Basic { mask: AccessMask::FILE_ALL, sid: user_sid(id) },
        };
        SecurityDescriptor {
            control: Control::SELF_RELATIVE | Control::DACL_PRESENT,
            owner: owner.map(user_sid),
            group: Some(user_sid(7)),
            sacl: None,
            dacl: Some(Acl { revision: Acl::REVISION, aces: (0..entries).map(ace).collect() }),
        }
    }

    fn encoded(descriptor: &SecurityDescriptor) -> Vec<u8> {
        let mut bytes = Vec::new();
        descriptor.encode(&mut Writer::new(&mut bytes));
        bytes
    }

    #[test]
    fn who_knows_of_no_store_finds_a_descriptor_that_lets_the_owner_in_alone() {
        for (owner, entries) in [(Some(1000), 1), (None, 0)] {
            let long = encoded(&descriptor(owner, 500));
            let hash = Hash::of(&long);
            let value = value(&long, hash).unwrap();
            assert_eq!(Hash::in_value(&value), Some(hash));
            assert!(value.len() < 200);
            let found = SecurityDescriptor::decode(&unwrap(&value).unwrap()).unwrap();
            let long = descriptor(owner, 500);
            assert_eq!((&found.owner, &found.group), (&long.owner, &long.group));
            let aces = found.dacl.unwrap().aces;
            assert_eq!(aces.len(), entries);
            let sids = aces.into_iter().map(|ace| match ace.body {
                AceBody::Basic { sid, .. } => Some(sid),
                _ => None,
            });
            assert!(sids.eq(owner.map(|owner| Some(user_sid(owner)))));
        }
    }

    #[test]
    fn what_is_cut_off_is_no_descriptor_to_be_stored() {
        let whole = encoded(&descriptor(Some(1000), 1));
        let sids = 20 + 2 * (8 + 4 * 2);
        assert!((0..sids).all(|end| stand_in(&whole[..end]).is_none()));
        assert_eq!(Hash::in_value(&whole), None);
    }

    /// `printf abc | sha256sum`
    #[test]
    fn a_descriptor_is_named_by_its_sha_256() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Hash::of(b"abc").name(), expected);
    }
}
