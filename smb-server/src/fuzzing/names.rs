//! Names of all kinds: paths in shares, search patterns, what the command line calls shares and users.

use std::path::Component;

use crate::config::{ShareName, ShareOptions, UserName};
use crate::vfs::name::{self, Pattern};
use crate::vfs::path::to_client;
use crate::vfs::{Mapping, SharePath};
use crate::wire::utf16::Utf16;

pub(super) fn path(input: &[u8]) {
    let text = match Utf16::decode(input) {
        // A name as it comes from the wire, or as text, which mutates better.
        Ok(units) if input.contains(&0) => units.to_string(),
        _ => String::from_utf8_lossy(input).into_owned(),
    };
    for mapping in [Mapping::None, Mapping::PrivateUse, Mapping::Catia] {
        path_mapped(&text, mapping);
    }
}

fn path_mapped(text: &str, mapping: Mapping) {
    let Ok(path) = SharePath::parse(text, mapping) else { return };
    let unix = path.to_unix();
    assert!(unix.is_relative());
    let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    assert!(unix.components().all(inside), "{text:?} leads elsewhere: {unix:?}");
    assert_eq!(unix.components().count(), path.components().len().max(1), "{text:?}: {unix:?}");
    let mut told = to_client(path.components(), mapping);
    if let Some(stream) = path.stream() {
        told = format!("{told}:{stream}");
    }
    let again = SharePath::parse(&told, mapping).expect("what we show is a name");
    assert_eq!(again.components(), path.components());
    assert_eq!(again.stream(), path.stream());
}

pub(super) fn pattern(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (pattern, name) = text.split_once('\0').unwrap_or((&text, "file.txt"));
    let matches = Pattern::new(pattern).matches(name);
    assert!(Pattern::new("*").matches(name));
    let folded = name::folded(name);
    assert_eq!(name::folded(&folded), folded);
    assert!(name::equal(name, &folded));
    assert_eq!(Pattern::new(pattern).matches(&folded), matches, "the case of {name:?} matters");
    // What the reference takes grows with the powers of the length.
    if pattern.len() <= 12 && name.len() <= 24 && !pattern.contains(['<', '>', '"']) {
        let units = |text: &str| name::folded(text).encode_utf16().collect::<Vec<_>>();
        assert_eq!(matches, reference(&units(pattern), &units(name)), "{pattern:?} {name:?}");
    }
}

/// `*` and `?` in the words of MS-FSA 2.1.4.4: any number of characters, and exactly one.
fn reference(pattern: &[u16], name: &[u16]) -> bool {
    let (star, question) = (u16::from(b'*'), u16::from(b'?'));
    match (pattern.split_first(), name.split_first()) {
        (None, rest) => rest.is_none(),
        (Some((first, rest)), _) if *first == star => {
            (0..=name.len()).any(|taken| reference(rest, &name[taken..]))
        }
        (Some((first, rest)), Some((unit, behind))) => {
            (*first == question || first == unit) && reference(rest, behind)
        }
        (Some(_), None) => false,
    }
}

pub(super) fn config(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok(name) = text.parse::<ShareName>() {
        assert_eq!(&*name, &*text);
        assert!(!text.is_empty() && !text.contains(['\\', '/', ':', '\0']), "{text:?}");
    }
    if let Ok(name) = text.parse::<UserName>() {
        assert_eq!(&*name, &*text);
        assert!(!text.is_empty() && !text.contains(['\0', '\\']), "{text:?}");
    }
    let mut options = ShareOptions::default();
    for word in text.split(',') {
        assert_eq!(options.apply(word), ShareOptions::WORDS.contains(&word), "{word:?}");
    }
}
