//! 8.3 names, computed from the names that files have and stored nowhere.
//!
//! One is the first letter of the long name, a tilde, six letters of a hash, and up to three characters of the
//! extension: `ReadMe first.html` is `R~` and six letters, `.HTM`. It depends on nothing but the long name, so it is
//! the same tomorrow and after a restart. Two names of one directory with the same short name are one in some hundred
//! million pairs; that short name then leads to neither.

/// What a name of eight and three characters may have beside letters and digits. MS-FSCC 2.1.5.2.1.
const MARKS: &[u8] = b"!#$%&'()-@^_`{}~";

/// What Windows takes for a device, whatever the extension, so that its programs cannot open a file of that name.
const DEVICES: [&str; 4] = ["CON", "PRN", "AUX", "NUL"];

/// Devices with a number from 1 to 9.
const NUMBERED_DEVICES: [&str; 2] = ["COM", "LPT"];

const BASE_MAX: usize = 8;
const EXTENSION_MAX: usize = 3;

/// Letters of the hash: what the first letter and the tilde leave room for.
const HASH_LEN: usize = BASE_MAX - 2;

/// The short name of a file that clients know by `name`; `None` if its name is short itself.
#[must_use]
pub fn of(name: &str) -> Option<String> {
    if matches!(name, "." | "..") || (is_short(name) && !is_device(name)) {
        return None;
    }
    let (base, extension) = split(name.trim_start_matches('.'));
    let mut short = String::with_capacity(BASE_MAX + 1 + EXTENSION_MAX);
    short.push(base.chars().map(upper).find(char::is_ascii_alphanumeric).unwrap_or('_'));
    short.push('~');
    short.extend(letters(hash(name)));
    let extension = extension.unwrap_or_default().chars().map(upper).filter(|c| is_allowed(*c));
    for (index, c) in extension.take(EXTENSION_MAX).enumerate() {
        if index == 0 {
            short.push('.');
        }
        short.push(c);
    }
    Some(short)
}

/// Whether a client's name could be one that [`of`] gives, in any case.
#[must_use]
pub fn is_like_ours(name: &str) -> bool {
    let (base, _) = split(name);
    let hashed = base.as_bytes().get(2..).unwrap_or_default();
    is_short(name)
        && base.as_bytes().get(1) == Some(&b'~')
        && hashed.len() == HASH_LEN
        && hashed.iter().all(u8::is_ascii_alphabetic)
}

/// MS-FSCC 2.1.5.2.1: up to eight characters, and up to three behind a dot.
#[must_use]
pub fn is_short(name: &str) -> bool {
    let (base, extension) = name.split_once('.').unwrap_or((name, "x"));
    let plain = |part: &str, max| (1..=max).contains(&part.len()) && part.chars().all(is_allowed);
    plain(base, BASE_MAX) && plain(extension, EXTENSION_MAX)
}

fn is_device(name: &str) -> bool {
    let base = name.split('.').next().unwrap_or_default();
    let numbered = |device: &str| {
        let prefix = base.get(..3).is_some_and(|prefix| prefix.eq_ignore_ascii_case(device));
        prefix && matches!(base.as_bytes().get(3..), Some([b'1'..=b'9']))
    };
    DEVICES.iter().any(|device| base.eq_ignore_ascii_case(device))
        || NUMBERED_DEVICES.iter().any(|device| numbered(device))
}

/// What stands before the last dot, and behind it.
fn split(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once('.') {
        Some((base, extension)) => (base, Some(extension)),
        None => (name, None),
    }
}

fn upper(c: char) -> char {
    c.to_ascii_uppercase()
}

fn is_allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || u8::try_from(c).is_ok_and(|byte| MARKS.contains(&byte))
}

/// FNV-1a, since it has to be the same in every version of this program.
fn hash(name: &str) -> u64 {
    let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    name.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

/// Letters and no digits: a pattern that means numbered files, such as `*1.txt`, shall not match by chance.
fn letters(hash: u64) -> impl Iterator<Item = char> {
    // The lower bits of FNV know little of the first bytes.
    let mut rest = hash ^ (hash >> 32);
    std::iter::from_fn(move || {
        let letter = u8::try_from(rest % 26).unwrap_or_default();
        rest /= 26;
        Some(char::from(b'A' + letter))
    })
    .take(HASH_LEN)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn names_that_are_short_have_no_other() {
        for name in
            ["a", "README.TXT", "readme.txt", "a~1.c", "12345678.123", "_", "$x'(-).{}!", "com.1"]
        {
            assert_eq!(of(name), None, "{name}");
        }
        assert_eq!((of("."), of("..")), (None, None));
    }

    /// MS-FSCC 2.1.5.2.1.
    #[test]
    fn all_other_names_have_one_that_is_legal() {
        for name in [
            "123456789",
            "a.text",
            "a.b.c",
            ".profile",
            "...",
            "a.",
            "two words",
            "a+b",
            "a[1]",
            "größe",
            "日本語.テキスト",
            "a\u{f022}b",
            "\u{f029}",
            &"x".repeat(255),
        ] {
            let short = of(name).unwrap();
            assert!(is_short(&short) && is_like_ours(&short), "{name}: {short}");
            assert!(is_like_ours(&short.to_lowercase()), "{name}: {short}");
            assert_eq!(short, short.to_ascii_uppercase());
            assert!(!is_device(&short));
        }
    }

    #[test]
    fn a_device_has_one_so_that_windows_can_open_the_file() {
        for name in ["con", "aux.c", "COM1", "lpt9.txt", "Nul.x"] {
            assert!(of(name).is_some(), "{name}");
        }
        for name in ["cons", "com0", "com", "lpt10.txt"] {
            assert!(of(name).is_none(), "{name}");
        }
    }

    /// A change of any of these is a change of every client's shortcuts. The hash was computed with Python.
    #[test]
    fn a_short_name_begins_and_ends_as_the_long_one_and_stays_for_ever() {
        for (name, short) in [
            ("ReadMe first.html", "R~FJTSBJ.HTM"),
            (".profile", "P~ROMGNJ"),
            ("größe", "G~SJKUEC"),
            ("日本語.text", "_~EKWBHR.TEX"),
            ("2026-11-27 notes.c++", "2~IITUAU.C"),
            ("a.tar.gz", "A~EXUFCZ.GZ"),
            ("verylongfilename", "V~WPYFSV"),
            ("aux.c", "A~CSUROZ.C"),
        ] {
            assert_eq!(of(name).as_deref(), Some(short), "{name}");
        }
    }

    #[test]
    fn names_that_are_alike_have_different_ones() {
        let mut names = HashMap::new();
        for number in 0..20_000 {
            let name = format!("Report of the year {number:05}.text");
            let other = names.insert(of(&name).unwrap(), name.clone());
            assert_eq!(other, None, "{name}");
        }
        assert_ne!(of("long name here"), of("Long name here"));
    }

    #[test]
    fn what_is_not_like_ours_is_told_by_its_form() {
        for name in ["R~ABCDEF.HTM", "r~abcdef", "_~ABCDEF.C"] {
            assert!(is_like_ours(name), "{name}");
        }
        for name in ["", "R", "R~", "R~ABCDE", "R~ABCDE1", "README~1", "R~ABCDEF.HTML", "é~ABCDE"]
        {
            assert!(!is_like_ours(name), "{name}");
        }
    }
}
