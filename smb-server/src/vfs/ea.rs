//! Extended attributes as SMB has them (EAs), each in an extended attribute of the file, as Samba has them:
//! `user.NAME`. A name is bytes here, those that the client sent and a program on this machine sees: ASCII,
//! UTF-8 if it comes from Linux, or what else the client takes for text.

use std::collections::HashMap;
use std::ffi::CString;
use std::io;

use ringway::fs::File;

use super::attributes::OWNER_WRITE;
use super::metadata::MASK;
use super::{Error, name, xattr};

/// One that a file has, or is to have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ea {
    /// Its name, in whatever case.
    pub name: Vec<u8>,
    /// What it holds. One that holds nothing does not exist.
    pub value: Vec<u8>,
}

const PREFIX: &[u8] = b"user.";

/// The longest name: XATTR_NAME_MAX of the kernel, less the prefix.
const NAME_MAX: usize = 255 - PREFIX.len();

/// The longest value that there is a length for.
const VALUE_MAX: usize = 65_535;

/// How much all of a file come to. MS-FSA 2.1.5.15.5.
const TOTAL_MAX: usize = 65_536 - 5;

/// What servers of SMB and AFP keep there themselves; with a dot at the end, all that begin so.
const PRIVATE: [&[u8]; 8] = [
    b"DOSATTRIB",
    b"DosStream.",
    b"NTACL",
    b"SAMBA_PAI",
    b"SAMBA_STREAMS",
    b"SmbReparse",
    b"org.netatalk.",
    b"usmbd.",
];

/// Characters that no name has, beside those below a space. MS-FSCC 2.4.16.
const FORBIDDEN: &[u8] = b"\"*+,/:;<=>?[\\]|";

impl Ea {
    /// Whether one can have this name. MS-FSCC 2.4.16.
    #[must_use]
    pub fn is_name(name: &[u8]) -> bool {
        (1..=NAME_MAX).contains(&name.len())
            && !name.iter().any(|byte| *byte < b' ' || FORBIDDEN.contains(byte))
    }

    /// The form that is the same for all names that differ in case only.
    #[must_use]
    pub fn folded(name: &[u8]) -> Vec<u8> {
        match str::from_utf8(name) {
            Ok(name) => name::folded(name).into_bytes(),
            Err(_) => name.to_ascii_uppercase(),
        }
    }
}

/// The name of the EA that an extended attribute is, unless no client may see it.
pub(crate) fn ea_name(attribute: &[u8]) -> Option<&[u8]> {
    let name = attribute.strip_prefix(PREFIX)?;
    (Ea::is_name(name) && !is_private(name)).then_some(name)
}

fn is_private(name: &[u8]) -> bool {
    PRIVATE.iter().any(|private| match private.ends_with(b".") {
        true => name.get(..private.len()).is_some_and(|start| start.eq_ignore_ascii_case(private)),
        false => name.eq_ignore_ascii_case(private),
    })
}

pub(crate) fn attribute(name: &[u8]) -> Result<CString, Error> {
    CString::new([PREFIX, name].concat()).map_err(|_| Error::NameInvalid)
}

/// Whether a file system has extended attributes of this kind.
pub(super) async fn are_supported(file: &File) -> bool {
    let (result, _) = file.get_xattr(c"user.DOSATTRIB", Vec::new()).await;
    result.err().and_then(|error| error.raw_os_error()) != Some(libc::EOPNOTSUPP)
}

// ---- how long they are

/// In the form of MS-FSCC 2.4.16: fields of 8 bytes, the name and a NUL, the value.
fn entry_size(name: &[u8], value: usize) -> usize {
    8 + name.len() + 1 + value
}

/// Each entry starts at a multiple of 4.
fn list_size(entries: impl IntoIterator<Item = usize>) -> usize {
    entries.into_iter().fold(0, |total, entry| total.next_multiple_of(4) + entry)
}

/// How much of the list an extended attribute takes, if it is an EA and the length of its value can be told.
fn size_in_list(attribute: &[u8], value: impl FnOnce() -> Option<usize>) -> Option<usize> {
    let name = ea_name(attribute)?;
    let value = value().filter(|value| (1..=VALUE_MAX).contains(value))?;
    Some(entry_size(name, value))
}

/// How long the list of all EAs of the file at a path is, given the names of its extended attributes.
/// Clients want to know that before they ask for the list. A link is not followed. MS-FSA 2.1.5.12.10, as
/// Samba reckons: without the header that a list had in OS/2.
///
/// Blocks.
pub(super) fn size_at(path: &str, names: &[u8]) -> u32 {
    let sizes = names
        .split(|byte| *byte == 0)
        .filter_map(|name| size_in_list(name, || rustix::fs::lgetxattr_query(path, name).ok()));
    u32::try_from(list_size(sizes)).unwrap_or(u32::MAX)
}

/// That of an open file. What cannot be read is as if it were not there.
pub(super) async fn size(file: &File) -> u32 {
    let file = file.with_identity(None);
    let names = xattr::names(&file).await.unwrap_or_default();
    let mut sizes = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|name| ea_name(name).is_some()) {
        let Ok(attribute) = CString::new(name) else { continue };
        let (length, _) = file.get_xattr(&attribute, Vec::new()).await;
        sizes.extend(size_in_list(name, || length.ok()));
    }
    u32::try_from(list_size(sizes)).unwrap_or(u32::MAX)
}

// ---- what they hold

/// All that a file has, in the order of the file system. One without contents, or with more than there is a
/// length for, is none.
pub(super) async fn load(file: &File) -> Result<Vec<Ea>, Error> {
    let names = xattr::names(file).await?;
    let mut found = Vec::new();
    for name in names.split(|byte| *byte == 0).filter_map(ea_name) {
        let value = xattr::value(file, &attribute(name)?).await?;
        if let Some(value) = value.filter(|value| (1..=VALUE_MAX).contains(&value.len())) {
            found.push(Ea { name: name.to_vec(), value });
        }
    }
    Ok(found)
}

/// Sets EAs, or removes those that are to hold nothing; all of them or none.
pub(super) async fn change(file: &File, changes: &[Ea]) -> Result<(), Error> {
    let before = load(file).await?;
    let after = changed(before.clone(), changes)?;
    make(file, &before, &after).await
}

/// Gives a file these EAs in place of those that it has.
pub(super) async fn replace(file: &File, eas: &[Ea]) -> Result<(), Error> {
    let before = load(file).await?;
    let after = changed(Vec::new(), eas)?;
    make(file, &before, &after).await
}

/// What there is after the changes: names in another case are the same. MS-FSA 2.1.5.15.5.
fn changed(mut eas: Vec<Ea>, changes: &[Ea]) -> Result<Vec<Ea>, Error> {
    // Nor are changes worth a look that no file can have all of.
    fits(changes)?;
    let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
    for (place, ea) in eas.iter().enumerate() {
        places.entry(Ea::folded(&ea.name)).or_insert(place);
    }
    for change in changes {
        if !Ea::is_name(&change.name) {
            return Err(Error::NameInvalid);
        }
        if is_private(&change.name) {
            return Err(Error::AccessDenied);
        }
        let place = *places.entry(Ea::folded(&change.name)).or_insert(eas.len());
        match eas.get_mut(place) {
            Some(ea) => ea.value.clone_from(&change.value),
            None => eas.push(change.clone()),
        }
    }
    eas.retain(|ea| !ea.value.is_empty());
    fits(&eas)?;
    Ok(eas)
}

fn fits(eas: &[Ea]) -> Result<(), Error> {
    let size = list_size(eas.iter().map(|ea| entry_size(&ea.name, ea.value.len())));
    if size > TOTAL_MAX { Err(Error::EaTooLarge) } else { Ok(()) }
}

/// Makes one set of EAs of another, or leaves it as it was.
async fn make(file: &File, before: &[Ea], after: &[Ea]) -> Result<(), Error> {
    match all_or_none(file, before, after).await {
        Err(Error::AccessDenied) => as_owner(file, before, after).await,
        result => result,
    }
}

/// The kernel lets nobody change extended attributes of what he may not write, not even the owner, who on
/// Windows changes EAs of a file that is READONLY.
async fn as_owner(file: &File, before: &[Ea], after: &[Ea]) -> Result<(), Error> {
    let mode = u32::from(file.statx(MASK).await?.stx_mode) & 0o7777;
    if mode & OWNER_WRITE != 0 {
        return Err(Error::AccessDenied);
    }
    file.chmod(mode | OWNER_WRITE).await?;
    let result = all_or_none(file, before, after).await;
    file.chmod(mode).await?;
    result
}

async fn all_or_none(file: &File, before: &[Ea], after: &[Ea]) -> Result<(), Error> {
    let result = step(file, before, after).await;
    if result.is_err() && before != after {
        // Done as far as it can be: the reason to give is why it became necessary.
        let halfway = load(file).await.unwrap_or_default();
        let _ = step(file, &halfway, before).await;
    }
    result
}

/// Removes first, so that there is room.
async fn step(file: &File, before: &[Ea], after: &[Ea]) -> Result<(), Error> {
    let by_name = |eas: &[Ea]| -> HashMap<Vec<u8>, Vec<u8>> {
        eas.iter().map(|ea| (ea.name.clone(), ea.value.clone())).collect()
    };
    let (had, has) = (by_name(before), by_name(after));
    for name in had.keys().filter(|name| !has.contains_key(*name)) {
        match file.remove_xattr(&attribute(name)?).await {
            // Somebody else has done it.
            Err(error) if error.raw_os_error() == Some(libc::ENODATA) => {}
            result => result?,
        }
    }
    for ea in after.iter().filter(|ea| had.get(&ea.name) != Some(&ea.value)) {
        let set = file.set_xattr(&attribute(&ea.name)?, ea.value.clone()).await;
        if let Err(error) = set {
            return Err(refused(file, error).await);
        }
    }
    Ok(())
}

/// A file system that has no room for more of one file says that, or that it has no room at all.
async fn refused(file: &File, error: io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::EOPNOTSUPP) => Error::NoEas,
        Some(libc::E2BIG | libc::ERANGE) => Error::EaTooLarge,
        Some(libc::ENOSPC) if file.statfs().await.is_ok_and(|stat| stat.f_bavail != 0) => {
            Error::EaTooLarge
        }
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The characters that Windows 2012 refuses, and the names that Samba 4.25.1 neither shows nor sets.
    #[test]
    fn what_is_no_name_and_what_servers_keep_is_not_shown() {
        for shown in
            ["A", "a b.c", "\u{fc}ml", "DosStreamX", "org.netatalk", "NTACL2", "~{}!#$%&'()@^_`-"]
        {
            let attribute = ["user.", shown].concat();
            assert_eq!(ea_name(attribute.as_bytes()), Some(shown.as_bytes()));
        }
        let others =
            ["user.", "trusted.a", "user.a:b", "user.a/b", "user.a\nb", "user.a;b", "user.\""];
        let kept = [
            "user.DOSATTRIB",
            "user.dosattrib",
            "user.DosStream.a:$DATA",
            "user.DosStream.x",
            "user.SAMBA_PAI",
            "user.SAMBA_STREAMS",
            "user.SmbReparse",
            "user.org.netatalk.Metadata",
            "user.NTACL",
            "security.NTACL",
        ];
        for hidden in others.into_iter().chain(kept) {
            assert_eq!(ea_name(hidden.as_bytes()), None, "{hidden}");
        }
        assert!(Ea::is_name(&[b'n'; 250]) && !Ea::is_name(&[b'n'; 251]));
    }

    fn ea(name: &str, value: &str) -> Ea {
        Ea { name: name.into(), value: value.into() }
    }

    #[test]
    fn a_change_finds_its_ea_in_any_case_and_keeps_its_name() {
        let before = vec![ea("One", "1"), ea("\u{e4}", "2"), ea("three", "3")];
        let changes =
            [ea("ONE", "new"), ea("\u{c4}", ""), ea("four", "4"), ea("Four", "5"), ea("no", "")];
        let after = changed(before, &changes).unwrap();
        assert_eq!(after, [ea("One", "new"), ea("three", "3"), ea("four", "5")]);
        // In no encoding that is known: ASCII has cases, the rest is itself.
        assert_eq!(Ea::folded(b"a\x81"), Ea::folded(b"A\x81"));
        assert_ne!(Ea::folded(b"a\x81"), Ea::folded(b"a\x9a"));
    }

    /// MS-FSA 2.1.5.15.5: 64 KiB less 5 bytes.
    #[test]
    fn more_than_smb_lets_a_file_have_is_refused() {
        let large = |value: usize| Ea { name: b"name".to_vec(), value: vec![b'x'; value] };
        let most = 65_531 - (8 + 4 + 1);
        assert!(changed(Vec::new(), &[large(most)]).is_ok());
        assert!(matches!(changed(Vec::new(), &[large(most + 1)]), Err(Error::EaTooLarge)));
        assert!(matches!(changed(vec![large(most)], &[ea("b", "x")]), Err(Error::EaTooLarge)));
        assert!(changed(vec![large(most)], &[ea("b", "x"), ea("name", "")]).is_ok());
    }
}
