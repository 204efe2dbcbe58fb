//! A path as a client names it, checked before anything is looked up.

use std::fmt;
use std::path::PathBuf;

use super::Error;

/// The longest component, in UTF-16 units as SMB counts and in bytes as Linux does.
const COMPONENT_MAX: usize = 255;

/// How deep a path may go; PATH_MAX bounds it anyway.
const DEPTH_MAX: usize = 512;

/// Characters that no component has, MS-FSCC 2.1.5: separators, wildcards, streams.
const FORBIDDEN: &str = "\\/:*?\"<>|";

/// Components below a share's root; none: the root itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SharePath {
    components: Vec<String>,
    directory: bool,
}

impl SharePath {
    /// Reads a name as SMB2 has it: components separated by backslashes, relative to the share.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a leading backslash, [`Error::PathSyntax`] for `..` out of the share,
    /// [`Error::NotSupported`] for a named stream, otherwise [`Error::NameInvalid`].
    pub fn parse(name: &str) -> Result<Self, Error> {
        if name.starts_with('\\') {
            return Err(Error::Invalid);
        }
        if name.is_empty() {
            return Ok(Self::default());
        }
        let (name, directory) = match name.strip_suffix('\\') {
            Some(name) => (name, true),
            // The unnamed stream is the file itself, MS-FSCC 2.1.4.
            None => (strip_unnamed_stream(name), false),
        };
        let mut components = Vec::new();
        for part in name.split('\\') {
            if part == ".." {
                // Backwards within the name, whatever is on disk; not out of the share.
                components.pop().ok_or(Error::PathSyntax)?;
            } else {
                components.push(component(part)?);
            }
        }
        if components.len() > DEPTH_MAX {
            Err(Error::NameInvalid)
        } else {
            Ok(Self { components, directory })
        }
    }

    /// The components.
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
        Self { components, directory: false }
    }

    /// Whether it ended with a separator, as only a directory's name does.
    pub(super) fn names_directory(&self) -> bool {
        self.directory
    }

    /// As the kernel takes it, relative to the root.
    pub(super) fn to_unix(&self) -> PathBuf {
        unix(&self.components)
    }
}

/// With backslashes, as SMB shows it.
impl fmt::Display for SharePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.components.join("\\"))
    }
}

/// Components as a path relative to the root, which itself is `.`.
pub(super) fn unix(components: &[String]) -> PathBuf {
    if components.is_empty() { PathBuf::from(".") } else { components.iter().collect() }
}

fn strip_unnamed_stream(name: &str) -> &str {
    const UNNAMED: &str = "::$DATA";
    match name.split_at_checked(name.len().saturating_sub(UNNAMED.len())) {
        Some((file, stream)) if stream.eq_ignore_ascii_case(UNNAMED) => file,
        _ => name,
    }
}

fn component(name: &str) -> Result<String, Error> {
    if name.contains(':') {
        return Err(Error::NotSupported);
    }
    if name.is_empty()
        || name == "."
        || name == ".."
        || name.chars().any(|c| c < ' ' || FORBIDDEN.contains(c))
    {
        return Err(Error::NameInvalid);
    }
    if name.len() > COMPONENT_MAX || name.encode_utf16().count() > COMPONENT_MAX {
        return Err(Error::NameTooLong);
    }
    Ok(name.to_owned())
}

/// Whether a name found on disk can be shown to a client and come back as it is.
pub(super) fn is_presentable(name: &str) -> bool {
    component(name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_split_at_backslashes() {
        let path = SharePath::parse(r"a\b c\ü𝄞").unwrap();
        assert_eq!(path.components(), ["a", "b c", "ü𝄞"]);
        assert_eq!(path.to_string(), r"a\b c\ü𝄞");
        assert!(SharePath::parse("").unwrap().components().is_empty());
        assert_eq!(SharePath::parse("a\\").unwrap().components(), ["a"]);
        assert_eq!(SharePath::parse("a::$data").unwrap().components(), ["a"]);
        assert!(SharePath::parse("a\\").unwrap().names_directory());
        assert!(!SharePath::parse("a").unwrap().names_directory());
    }

    #[test]
    fn names_that_lead_elsewhere_or_nowhere_are_refused() {
        assert!(matches!(SharePath::parse(r"\a"), Err(Error::Invalid)));
        assert!(matches!(SharePath::parse(".."), Err(Error::PathSyntax)));
        assert!(matches!(SharePath::parse(r"a\..\..\b"), Err(Error::PathSyntax)));
        assert_eq!(SharePath::parse(r"a\..\b\..").unwrap().components(), [""; 0]);
        assert_eq!(SharePath::parse(r"a\b\..\c").unwrap().components(), ["a", "c"]);
        assert!(matches!(SharePath::parse("a:stream"), Err(Error::NotSupported)));
        for name in [
            "::$DATA",
            "a\\::$DATA",
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
            assert!(matches!(SharePath::parse(name), Err(Error::NameInvalid)), "{name:?}");
        }
    }

    #[test]
    fn a_component_may_be_255_long_in_both_ways_of_counting() {
        assert!(SharePath::parse(&"a".repeat(255)).is_ok());
        assert!(matches!(SharePath::parse(&"a".repeat(256)), Err(Error::NameTooLong)));
        assert!(matches!(SharePath::parse(&"ü".repeat(128)), Err(Error::NameTooLong)));
    }
}
