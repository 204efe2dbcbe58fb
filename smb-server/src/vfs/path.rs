//! A path as a client names it, checked before anything is looked up.

use std::borrow::Cow;
use std::path::PathBuf;

use super::{Error, Mapping, mapping};

/// The longest component, in UTF-16 units as SMB counts and in bytes as Linux does.
const COMPONENT_MAX: usize = 255;

/// How deep a path may go; PATH_MAX bounds it anyway.
const DEPTH_MAX: usize = 512;

/// Characters that no component has, MS-FSCC 2.1.5: separators, wildcards, streams.
fn is_forbidden(c: char) -> bool {
    matches!(c, '\\' | '/' | ':' | '*' | '?' | '"' | '<' | '>' | '|')
}

/// Components below a share's root, as on disk; none: the root itself. With a stream, that of what they name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SharePath {
    components: Vec<String>,
    kind: NamedKind,
    stream: Option<String>,
}

/// What the form of a name says about what has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum NamedKind {
    /// Nothing.
    #[default]
    Any,
    /// It ends with the type `$DATA`: no directory.
    Data,
    /// It ends with a separator, or a directory's type.
    Directory,
}

/// What stands behind the first colon of a last component.
enum Suffix {
    Stream(String),
    Unnamed,
    Index,
}

impl SharePath {
    /// Reads a name as SMB2 has it: components separated by backslashes, relative to the share. What stands for
    /// reserved characters is mapped last, so it separates nothing.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a leading backslash, [`Error::PathSyntax`] for `..` out of the share,
    /// otherwise [`Error::NameInvalid`].
    pub fn parse(name: &str, mapping: Mapping) -> Result<Self, Error> {
        if name.starts_with('\\') {
            return Err(Error::Invalid);
        }
        let (name, kind, stream) = match name.strip_suffix('\\') {
            Some(name) => (name, NamedKind::Directory, None),
            None => {
                let last = name.rfind('\\').map_or(0, |at| at + 1);
                match name.get(last..).and_then(|last| last.split_once(':')) {
                    None => (name, NamedKind::Any, None),
                    Some((base, behind)) => {
                        let name = name.get(..last + base.len()).unwrap_or_default();
                        match suffix(behind)? {
                            Suffix::Stream(stream) => (name, NamedKind::Any, Some(stream)),
                            Suffix::Unnamed => (name, NamedKind::Data, None),
                            Suffix::Index => (name, NamedKind::Directory, None),
                        }
                    }
                }
            }
        };
        if name.is_empty() {
            return Ok(Self { components: Vec::new(), kind, stream });
        }
        let mut components = Vec::new();
        for part in name.split('\\') {
            if part == ".." {
                // Backwards within the name, whatever is on disk; not out of the share.
                components.pop().ok_or(Error::PathSyntax)?;
            } else {
                components.push(component(part, mapping)?.into_owned());
            }
        }
        if components.len() > DEPTH_MAX {
            Err(Error::NameInvalid)
        } else {
            Ok(Self { components, kind, stream })
        }
    }

    /// The components, as on disk.
    #[must_use]
    pub fn components(&self) -> &[String] {
        &self.components
    }

    /// The folder that this is in; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.split_last().map(|(parents, _)| Self::from_components(parents.to_vec()))
    }

    /// The components before the last, and the last; `None` for the root.
    #[must_use]
    pub fn split_last(&self) -> Option<(&[String], &str)> {
        let (last, parents) = self.components.split_last()?;
        Some((parents, last))
    }

    /// From components that exist.
    pub(super) fn from_components(components: Vec<String>) -> Self {
        Self { components, ..Self::default() }
    }

    /// What has this name in the directory that this is; the name is one from a listing.
    #[must_use]
    pub fn child(&self, name: &str, mapping: Mapping) -> Self {
        let mut components = self.components.clone();
        components.push(mapping.to_disk(name).into_owned());
        Self::from_components(components)
    }

    /// The stream, if it is not the unnamed one.
    #[must_use]
    pub fn stream(&self) -> Option<&str> {
        self.stream.as_deref()
    }

    /// What has the stream.
    pub(super) fn without_stream(&self) -> Self {
        Self { stream: None, ..self.clone() }
    }

    /// What the form of the name says.
    pub(super) fn named_kind(&self) -> NamedKind {
        self.kind
    }

    /// As the kernel takes it, relative to the root.
    pub(crate) fn to_unix(&self) -> PathBuf {
        unix(&self.components)
    }
}

/// Components as clients have them.
pub(crate) fn to_client(components: &[String], mapping: Mapping) -> String {
    let components: Vec<_> = components.iter().map(|name| mapping.to_client(name)).collect();
    components.join("\\")
}

/// Components as a path relative to the root, which itself is `.`.
pub(super) fn unix(components: &[String]) -> PathBuf {
    if components.is_empty() { PathBuf::from(".") } else { components.iter().collect() }
}

/// MS-FSCC 2.1.5: a stream's name, its type, or both.
fn suffix(behind: &str) -> Result<Suffix, Error> {
    let (name, kind) = behind.split_once(':').unwrap_or((behind, "$DATA"));
    let is = |wanted| kind.eq_ignore_ascii_case(wanted);
    match name {
        "" if behind.is_empty() => Err(Error::NameInvalid),
        "" if is("$DATA") => Ok(Suffix::Unnamed),
        name if is("$DATA") && is_stream_name(name) => Ok(Suffix::Stream(name.to_owned())),
        name if is("$INDEX_ALLOCATION")
            && (name.is_empty() || name.eq_ignore_ascii_case("$I30")) =>
        {
            Ok(Suffix::Index)
        }
        _ => Err(Error::NameInvalid),
    }
}

/// MS-FSCC 2.1.5.3: less is forbidden in it than in a component.
pub(super) fn is_stream_name(name: &str) -> bool {
    !name.is_empty()
        && !name.contains(['\\', '/', ':', '\0'])
        && name.encode_utf16().count() <= COMPONENT_MAX
}

/// What the names begin with, on disk, of what is still being made, and of the [store](super::store).
pub(super) const UNSEEN: &str = ":usmbd:";

/// In any case, as there are file systems to which that is one.
fn is_unseen(on_disk: &str) -> bool {
    on_disk.get(..UNSEEN.len()).is_some_and(|start| start.eq_ignore_ascii_case(UNSEEN))
}

/// A client's name, checked, as it is to be on disk.
pub(super) fn component(name: &str, mapping: Mapping) -> Result<Cow<'_, str>, Error> {
    if name.is_empty()
        || name == "."
        || name == ".."
        || name.chars().any(|c| c < ' ' || is_forbidden(c))
    {
        return Err(Error::NameInvalid);
    }
    let on_disk = mapping.to_disk(name);
    if matches!(&*on_disk, "." | "..") || is_unseen(&on_disk) {
        return Err(Error::NameInvalid);
    }
    // No name has more units of UTF-16 than bytes.
    let is_long = name.len() > COMPONENT_MAX && name.encode_utf16().count() > COMPONENT_MAX;
    if is_long || on_disk.len() > COMPONENT_MAX {
        return Err(Error::NameTooLong);
    }
    Ok(on_disk)
}

/// Whether a name found on disk can be shown to a client and come back as it is.
#[must_use]
pub fn is_presentable(name: &str, mapping: Mapping) -> bool {
    let is_plain = mapping::is_plain(name) && (1..=COMPONENT_MAX).contains(&name.len());
    is_plain || component(&mapping.to_client(name), mapping).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const M: Mapping = Mapping::PrivateUse;

    #[test]
    fn a_path_is_split_at_backslashes() {
        let path = SharePath::parse(r"a\b c\ü𝄞", M).unwrap();
        assert_eq!(path.components(), ["a", "b c", "ü𝄞"]);
        assert_eq!(to_client(path.components(), M), r"a\b c\ü𝄞");
        assert!(SharePath::parse("", M).unwrap().components().is_empty());
        assert_eq!(SharePath::parse("a\\", M).unwrap().components(), ["a"]);
        assert_eq!(SharePath::parse("a::$data", M).unwrap().components(), ["a"]);
        for (name, stream) in [
            (r"a\b", None),
            ("b::$DATA", None),
            ("b:c", Some("c")),
            ("b:\u{5}c?\n*:$dAtA", Some("\u{5}c?\n*")),
            (":c", Some("c")),
        ] {
            assert_eq!(SharePath::parse(name, M).unwrap().stream(), stream, "{name:?}");
        }
        let kind = |name| SharePath::parse(name, M).unwrap().named_kind();
        assert_eq!(kind("a\\"), NamedKind::Directory);
        assert_eq!(kind("a::$index_Allocation"), NamedKind::Directory);
        assert_eq!(kind("a:$I30:$INDEX_ALLOCATION"), NamedKind::Directory);
        assert_eq!(kind("a::$Data"), NamedKind::Data);
        assert_eq!(kind("a"), NamedKind::Any);
    }

    #[test]
    fn names_that_lead_elsewhere_or_nowhere_are_refused() {
        assert!(matches!(SharePath::parse(r"\a", M), Err(Error::Invalid)));
        assert!(matches!(SharePath::parse("..", M), Err(Error::PathSyntax)));
        assert!(matches!(SharePath::parse(r"a\..\..\b", M), Err(Error::PathSyntax)));
        assert_eq!(SharePath::parse(r"a\..\b\..", M).unwrap().components(), [""; 0]);
        assert_eq!(SharePath::parse(r"a\b\..\c", M).unwrap().components(), ["a", "c"]);
        for name in [
            "a\\::$DATA",
            "a\\:stream",
            "a:b\\c",
            "a:",
            "a::",
            "a:b:",
            "a:b:$FOO",
            "a:b:$DATA:c",
            "a:b:$INDEX_ALLOCATION",
            "a:b/c",
            ".",
            r"a\\b",
            "a/b",
            "a*",
            "a?",
            "a<",
            "a>",
            "a\"",
            "a|",
            "a\0",
            "a\x1f",
        ] {
            assert!(matches!(SharePath::parse(name, M), Err(Error::NameInvalid)), "{name:?}");
        }
    }

    #[test]
    fn a_component_may_be_255_long_in_both_ways_of_counting() {
        assert!(SharePath::parse(&"a".repeat(255), M).is_ok());
        assert!(matches!(SharePath::parse(&"a".repeat(256), M), Err(Error::NameTooLong)));
        assert!(matches!(SharePath::parse(&"ü".repeat(128), M), Err(Error::NameTooLong)));
    }

    #[test]
    fn what_stands_for_reserved_characters_neither_separates_nor_leads_elsewhere() {
        let path = SharePath::parse("a\u{f022}b\\c\u{f026}d:e\u{f022}f", M).unwrap();
        assert_eq!(path.components(), ["a:b", "c\\d"]);
        assert_eq!(path.stream(), Some("e\u{f022}f"));
        assert_eq!(to_client(path.components(), M), "a\u{f022}b\\c\u{f026}d");
        let wildcards = SharePath::parse("\u{f021}\u{f025}", M).unwrap();
        assert_eq!(wildcards.components(), ["*?"]);
        // These would be the directory itself, and the one above.
        for name in ["\u{f029}", ".\u{f029}", "a\\.\u{f029}\\b", "a\\.\u{f029}"] {
            assert!(matches!(SharePath::parse(name, M), Err(Error::NameInvalid)), "{name:?}");
        }
        for mapping in [Mapping::None, Mapping::PrivateUse, Mapping::Catia] {
            assert!(matches!(SharePath::parse("a/b", mapping), Err(Error::NameInvalid)));
        }
    }

    #[test]
    fn a_name_s_length_is_that_on_disk_in_bytes_and_that_of_clients_in_units() {
        let colons = "\u{f022}".repeat(255);
        assert_eq!(SharePath::parse(&colons, M).unwrap().components(), [":".repeat(255)]);
        assert!(matches!(SharePath::parse(&colons, Mapping::None), Err(Error::NameTooLong)));
        let more = "\u{f022}".repeat(256);
        assert!(matches!(SharePath::parse(&more, M), Err(Error::NameTooLong)));
    }

    #[test]
    fn names_on_disk_are_presentable_as_far_as_something_stands_for_what_they_have() {
        let names = ["plain", "a:b", "back\\slash", "bell\u{7}", "dot.", "dots...", "a\u{f022}b"];
        let shown = |mapping| names.into_iter().filter(move |name| is_presentable(name, mapping));
        assert!(shown(Mapping::PrivateUse).eq(names));
        let without = ["plain", "dot.", "dots...", "a\u{f022}b"];
        assert!(shown(Mapping::None).eq(without));
        let catia = ["plain", "a:b", "back\\slash", "dot.", "dots...", "a\u{f022}b"];
        assert!(shown(Mapping::Catia).eq(catia));
        // What clients would send for them means a directory.
        assert!(!is_presentable("\u{f029}", M) && !is_presentable(".\u{f029}", M));
    }
}
