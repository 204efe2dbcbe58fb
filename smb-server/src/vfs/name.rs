//! Names compared and matched without regard to case.
//!
//! Case is folded as Windows does: one UTF-16 unit to one, upwards. Windows uses a table of its own;
//! here Unicode's simple mappings stand in for it where they stay within the Basic Multilingual
//! Plane, so that, as there, `ß` and `ﬁ` have no other case and no name changes its length.

/// Whether two names are the same but for case.
#[must_use]
pub fn equal(a: &str, b: &str) -> bool {
    if a.is_ascii() && b.is_ascii() {
        return a.eq_ignore_ascii_case(b);
    }
    a.chars().map(fold).eq(b.chars().map(fold))
}

/// The form that is the same for all names that are equal.
#[must_use]
pub fn folded(name: &str) -> String {
    name.chars().map(fold).collect()
}

fn fold(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        // Windows folds no foreign letter (dotless ı, long ſ) into ASCII.
        (Some(up), None) if up.is_ascii() != c.is_ascii() => c,
        (Some(up), None) if up.len_utf16() == 1 && c.len_utf16() == 1 => up,
        _ => c,
    }
}

/// The longest pattern that is tried, in UTF-16 units. A name has 255 at most; this leaves room for
/// every one of them between wildcards, and bounds what a client can make us do for each entry.
const PATTERN_LEN_MAX: usize = 512;

/// A search pattern, MS-FSA 2.1.4.4.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern {
    units: Vec<u16>,
}

const STAR: u16 = b'*' as u16;
const QUESTION: u16 = b'?' as u16;
/// `<`: like a star, but not beyond the last dot.
const DOS_STAR: u16 = b'<' as u16;
/// `>`: one character, or none before a dot or at the end.
const DOS_QM: u16 = b'>' as u16;
/// `"`: a dot, or nothing at the end.
const DOS_DOT: u16 = b'"' as u16;
const DOT: u16 = b'.' as u16;

impl Pattern {
    /// Reads a pattern; every string is one. What is longer than 512 units matches nothing.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        Self { units: units(pattern) }
    }

    /// Whether `name` matches. Takes time proportional to the product of both lengths at most.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        if self.units == [STAR] {
            return true;
        }
        if self.units.len() > PATTERN_LEN_MAX {
            return false;
        }
        let name = units(name);
        let last_dot = name.iter().rposition(|unit| *unit == DOT);
        // Which positions of the pattern the name so far can have led to.
        let mut reached = vec![false; self.units.len() + 1];
        reached[0] = true;
        for (index, unit) in name.iter().enumerate() {
            self.skip_empty(&mut reached, Some(*unit));
            reached = self.step(&reached, *unit, last_dot.map(|dot| index.cmp(&dot)));
        }
        self.skip_empty(&mut reached, None);
        reached[self.units.len()]
    }

    /// Adds the positions that are reached without a character, before `next`.
    fn skip_empty(&self, reached: &mut [bool], next: Option<u16>) {
        for (position, unit) in self.units.iter().enumerate() {
            let skips = match *unit {
                STAR | DOS_STAR => true,
                DOS_QM => next.is_none_or(|next| next == DOT),
                DOS_DOT => next.is_none(),
                _ => false,
            };
            reached[position + 1] |= reached[position] && skips;
        }
    }

    /// The positions after one character. `to_last_dot`: where it stands, seen from the last dot.
    fn step(
        &self,
        reached: &[bool],
        unit: u16,
        to_last_dot: Option<std::cmp::Ordering>,
    ) -> Vec<bool> {
        let mut after = vec![false; reached.len()];
        for (position, expected) in self.units.iter().enumerate() {
            if !reached[position] {
                continue;
            }
            match *expected {
                STAR => after[position] = true,
                // The last dot itself is the last that it takes.
                DOS_STAR if to_last_dot == Some(std::cmp::Ordering::Equal) => {
                    after[position + 1] = true
                }
                DOS_STAR => after[position] = true,
                QUESTION => after[position + 1] = true,
                DOS_QM => after[position + 1] |= unit != DOT,
                DOS_DOT => after[position + 1] |= unit == DOT,
                expected => after[position + 1] |= unit == expected,
            }
        }
        after
    }
}

fn units(text: &str) -> Vec<u16> {
    let mut buffer = [0; 2];
    text.chars().flat_map(|c| fold(c).encode_utf16(&mut buffer).to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_equal_but_for_case() {
        for (a, b) in
            [("ReadMe.TXT", "README.txt"), ("ÄÖÜ", "äöü"), ("Ωmega", "ωMEGA"), ("straße", "STRAßE")]
        {
            assert!(equal(a, b), "{a} {b}");
        }
        for (a, b) in [
            ("a", "b"),
            ("strasse", "straße"),
            ("ﬁ", "FI"),
            ("a", "ab"),
            ("𐐨", "𐐀"),
            ("ı", "I"),
            ("ſ", "S"),
        ] {
            assert!(!equal(a, b), "{a} {b}");
        }
    }

    #[test]
    fn wildcards_match_as_ms_fsa_says() {
        let table: &[(&str, &str, bool)] = &[
            ("*", "", true),
            ("*", "a.b", true),
            ("*.txt", "a.TXT", true),
            ("*.txt", "a.txt.bak", false),
            ("?", "a", true),
            ("?", "", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*.*", "abc", false),
            ("*.*", "a.b", true),
            // DOS_STAR: up to and including the last dot.
            ("<", "abc", true),
            ("<.txt", "a.b.txt", true),
            ("<b", "a.b", true),
            ("<", "a.b", false),
            ("<\"*", "a.b", true),
            ("<\"*", "abc", true),
            // DOS_QM: one, or none before a dot or at the end.
            (">", "", true),
            (">>>", "ab", true),
            (">>>", "abcd", false),
            (">>>.txt", "a.txt", true),
            ("a>.b", "a.b", true),
            (">", ".", false),
            // DOS_DOT: a dot, or nothing at the end.
            ("a\"", "a", true),
            ("a\"", "a.", true),
            ("a\"b", "a.b", true),
            ("a\"b", "ab", false),
        ];
        for (pattern, name, expected) in table {
            assert_eq!(Pattern::new(pattern).matches(name), *expected, "{pattern:?} {name:?}");
        }
    }

    /// What Windows' FsRtlIsNameInExpression answers, as ReactOS' kernel tests recorded it.
    #[test]
    fn windows_and_we_agree() {
        for (pattern, name, expected) in [
            ("ntdll.dll", "..", false),
            ("nt??krnl.???", "ntoskrnl.exe", true),
            ("he*o", "helo", true),
            ("he*o", "hella", false),
            (".", "NTDLL.DLL", false),
            ("F0_*.*", "F0_001", false),
            ("*", "..", true),
            (".*", " .txt", false),
            (".*", ".txt", true),
            ("\"ntoskrnl.exe", "ntoskrnl.exe", false),
            ("ntoskrnl\"exe", "ntoskrnl.exe", true),
            ("ntoskrn\".exe", "ntoskrnl.exe", false),
            ("ntoskrn\"\"exe", "ntoskrnl.exe", false),
            ("ntoskrnl.exe\"", "ntoskrnl.exe", true),
            ("ntoskrnl.exe\"", "ntoskrnl.exe.", true),
            ("a.**.c.d", "a.b.c.d", true),
            ("a.b.??.d", "a.b.c.d", false),
            ("a.b.*??.d", "a.b.c.d", false),
            ("a.b.*?*.d", "a.b.c.d", true),
            ("?*?", "a", false),
            ("?*?", "aa", true),
            ("*.*.*.*", "127.0.0.1", true),
            ("*a*ab*abc", "aabaabcdadabdabc", true),
            ("ab<exe", "abcd.exe", true),
            ("ab<exe", "ab.exe", true),
            ("ab<exe", "abcdexe", true),
            ("ab<exe", "acd.exe", false),
            ("a.b<exe", "a.bcd.exe", true),
            ("a<b.exe", "a.bcd.exe", false),
            ("abc.exe", "abc.exe.", false),
            ("a>c.exe", "abc.exe", true),
            ("a>c.exe", "ac.exe", false),
            ("a>>>exe", "abc.exe", false),
            ("<.EXE", "test.exe", true),
        ] {
            assert_eq!(Pattern::new(pattern).matches(name), expected, "{pattern:?} {name:?}");
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_time() {
        let pattern = Pattern::new(&"*a".repeat(100));
        assert!(!pattern.matches(&"a".repeat(99)));
        assert!(pattern.matches(&"a".repeat(255)));
        assert!(!Pattern::new(&"*".repeat(32_767)).matches("a"));
    }
}
