//! Characters that names on disk may have and names in SMB may not, MS-FSCC 2.1.5, and what stands for them.
//!
//! Everything in [`vfs`](super) has names as they are on disk; here they become those that clients know, and back. A
//! name on disk may already have a character that stands for another, made by a server that maps nothing. Clients
//! know it as it is, and [`resolve`](super::resolve) finds it where nothing has the name that it would be mapped to;
//! where something has, it is not listed, so that no client's name ever means two files.

use std::borrow::Cow;

/// What stands for reserved characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mapping {
    /// Nothing: files with such names are not shown.
    None,
    /// Characters of Unicode's private use area, those of Services for Macintosh. macOS has always sent them, and
    /// Linux by its mount option `mapposix`, which is its default.
    #[default]
    PrivateUse,
    /// Characters of Latin-1 that look a little alike, those of Samba's module `catia`. Controls, and dots and blanks
    /// at the end, have none.
    Catia,
}

/// As on disk, and as clients have them.
const PRIVATE_USE: [(char, char); 8] = [
    ('"', '\u{f020}'),
    ('*', '\u{f021}'),
    (':', '\u{f022}'),
    ('<', '\u{f023}'),
    ('>', '\u{f024}'),
    ('?', '\u{f025}'),
    ('\\', '\u{f026}'),
    ('|', '\u{f027}'),
];

/// At the end of a name only.
const PRIVATE_USE_AT_END: [(char, char); 2] = [(' ', '\u{f028}'), ('.', '\u{f029}')];

/// What the manual page of `vfs_catia` calls comprehensive, without the slash, which no name on disk has.
const CATIA: [(char, char); 8] = [
    ('"', '¨'),
    ('*', '¤'),
    (':', '÷'),
    ('<', '«'),
    ('>', '»'),
    ('?', '¿'),
    ('\\', 'ÿ'),
    ('|', '¦'),
];

impl Mapping {
    /// A name on disk as clients know it.
    #[must_use]
    pub fn to_client(self, name: &str) -> Cow<'_, str> {
        // Those two are directories everywhere.
        if matches!(name, "." | "..") {
            return Cow::Borrowed(name);
        }
        translated(name, |c, is_last| match self {
            Self::None => None,
            Self::PrivateUse => private_use(c, is_last),
            Self::Catia => to_right(&CATIA, c),
        })
    }

    /// A client's name as it is to be on disk. Neither `/` nor NUL comes out of it; `.` and `..` may.
    #[must_use]
    pub fn to_disk(self, name: &str) -> Cow<'_, str> {
        translated(name, |c, is_last| match self {
            Self::None => None,
            Self::PrivateUse => reserved(c, is_last),
            Self::Catia => to_left(&CATIA, c),
        })
    }

    /// Whether the name by which clients know one on disk may mean another as well.
    pub(super) fn is_ambiguous(self, name: &str) -> bool {
        // Nothing of ASCII stands for anything else.
        !name.is_ascii()
            && matches!(self.to_disk(&self.to_client(name)), Cow::Owned(back) if back != name)
    }
}

/// Whether a name has nothing but characters that every name may have, and that stand for themselves: most have.
pub(super) fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.ends_with('.') && name.bytes().all(plain)
}

fn private_use(c: char, is_last: bool) -> Option<char> {
    match c {
        '\u{1}'..='\u{1f}' => char::from_u32(0xf000 + u32::from(c)),
        _ => to_right(&PRIVATE_USE, c)
            .or_else(|| to_right(&PRIVATE_USE_AT_END, c).filter(|_| is_last)),
    }
}

fn reserved(c: char, is_last: bool) -> Option<char> {
    match c {
        '\u{f001}'..='\u{f01f}' => char::from_u32(u32::from(c) - 0xf000),
        _ => {
            to_left(&PRIVATE_USE, c).or_else(|| to_left(&PRIVATE_USE_AT_END, c).filter(|_| is_last))
        }
    }
}

fn to_right(table: &[(char, char)], wanted: char) -> Option<char> {
    table.iter().find(|(left, _)| *left == wanted).map(|(_, right)| *right)
}

fn to_left(table: &[(char, char)], wanted: char) -> Option<char> {
    table.iter().find(|(_, right)| *right == wanted).map(|(left, _)| *left)
}

/// The name with each character replaced for which there is another, which also gets to know of the last one.
fn translated(name: &str, other: impl Fn(char, bool) -> Option<char>) -> Cow<'_, str> {
    if is_plain(name) {
        return Cow::Borrowed(name);
    }
    let other = |index: usize, c: char| other(c, index + c.len_utf8() == name.len());
    if name.char_indices().all(|(index, c)| other(index, c).is_none()) {
        return Cow::Borrowed(name);
    }
    Cow::Owned(name.char_indices().map(|(index, c)| other(index, c).unwrap_or(c)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Mapping; 3] = [Mapping::None, Mapping::PrivateUse, Mapping::Catia];

    /// The constants of Linux' fs/smb/client/cifs_unicode.h, `SFM_…`.
    #[test]
    fn private_use_is_that_of_services_for_macintosh() {
        for (disk, client) in [
            ("a\u{1}\n\u{1f}b", "a\u{f001}\u{f00a}\u{f01f}b"),
            ("\"*:<>?\\|", "\u{f020}\u{f021}\u{f022}\u{f023}\u{f024}\u{f025}\u{f026}\u{f027}"),
            (" a ", " a\u{f028}"),
            ("a b.c.", "a b.c\u{f029}"),
            ("a..", "a.\u{f029}"),
            ("...", "..\u{f029}"),
            (" ", "\u{f028}"),
        ] {
            assert_eq!(Mapping::PrivateUse.to_client(disk), client);
            assert_eq!(Mapping::PrivateUse.to_disk(client), disk);
        }
        for name in ["a", "größe.txt", ".hidden", "a b", ".", ".."] {
            assert!(matches!(Mapping::PrivateUse.to_client(name), Cow::Borrowed(_)), "{name}");
        }
        // What means the end of a name means nothing elsewhere.
        assert_eq!(Mapping::PrivateUse.to_disk("a\u{f029}b\u{f028}c"), "a\u{f029}b\u{f028}c");
    }

    /// The example of the manual page vfs_catia(8).
    #[test]
    fn catia_is_that_of_samba() {
        let (disk, client) = (r#"a\a:a*a?a"a<a>a|a"#, "aÿa÷a¤a¿a¨a«a»a¦a");
        assert_eq!(Mapping::Catia.to_client(disk), client);
        assert_eq!(Mapping::Catia.to_disk(client), disk);
        assert_eq!(Mapping::Catia.to_client("a\n."), "a\n.");
    }

    #[test]
    fn without_a_mapping_names_stay() {
        for name in ["a:b", "a\u{f022}b", "a÷b", "a.", ".."] {
            assert_eq!(Mapping::None.to_client(name), name);
            assert_eq!(Mapping::None.to_disk(name), name);
            assert!(!Mapping::None.is_ambiguous(name));
        }
    }

    /// Names with each character in each place, of those about which a mapping says something, and many others.
    fn names() -> impl Iterator<Item = String> {
        let characters =
            ('\u{1}'..='\u{7ff}').chain('\u{f000}'..='\u{f0ff}').chain(['\u{ffff}', '𝄞']);
        characters.flat_map(|c| [format!("a{c}b"), format!("a{c}"), format!("{c}b"), c.to_string()])
    }

    #[test]
    fn no_separator_and_no_end_of_a_string_comes_out() {
        for name in names().filter(|name| !name.contains('/')) {
            for mapping in ALL {
                let both = [mapping.to_disk(&name), mapping.to_client(&name)];
                assert!(both.iter().all(|it| !it.contains(['/', '\0'])), "{mapping:?} {name:?}");
            }
        }
    }

    #[test]
    fn a_name_on_disk_comes_back_unless_it_has_a_character_that_stands_for_another() {
        for name in names().filter(|name| name != ".") {
            for mapping in ALL {
                let client = mapping.to_client(&name);
                let back = mapping.to_disk(&client);
                assert_eq!(mapping.is_ambiguous(&name), back != name, "{mapping:?} {name:?}");
                // Such a character is shown as it is.
                assert!(back == name || client == name, "{mapping:?} {name:?}");
            }
        }
        assert!(Mapping::PrivateUse.is_ambiguous("a\u{f022}"));
        assert!(!Mapping::PrivateUse.is_ambiguous("a\u{f029}b"));
        assert!(Mapping::Catia.is_ambiguous("«a»"));
    }

    #[test]
    fn a_client_s_name_has_one_form_on_disk_and_that_leads_back() {
        for name in names().filter(|name| !name.contains(|c| c < ' ' || "\\/:*?\"<>|".contains(c)))
        {
            for mapping in ALL {
                let back = mapping.to_client(&mapping.to_disk(&name)).into_owned();
                // A dot or blank at the end may also be sent as what it is; and two names are directories.
                let other = mapping == Mapping::PrivateUse
                    && (name.ends_with([' ', '.']) || name == "\u{f029}");
                assert!(back == name || other, "{mapping:?} {name:?} {back:?}");
            }
        }
    }
}
