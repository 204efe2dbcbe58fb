//! Names made safe to paste into a shell or a URL.

use std::fmt::Write;

/// For a POSIX shell: as it is where that is safe, else in single quotes.
pub(crate) fn shell(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-+=:,./@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// For the Windows command interpreter: names hold no double quote, so a pair of them is enough.
pub(crate) fn windows(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-.:\\/".contains(c);
    if text.chars().all(plain) { text.to_owned() } else { format!("\"{text}\"") }
}

/// For a part of a URL. RFC 3986 2.3: what is not unreserved is percent-encoded.
pub(crate) fn url(text: &str) -> String {
    let mut quoted = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            quoted.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(quoted, "%{byte:02X}");
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    #[test]
    fn a_shell_reads_back_every_quoted_name() {
        for name in
            ["plain", "", "two words", "it's", "$HOME `id` \\", "-n", "a;b&c|d", "ä", "~", "#x"]
        {
            let script = format!("printf %s {}", super::shell(name));
            let output = Command::new("sh").args(["-c", &script]).output().expect("there is a sh");
            assert_eq!(String::from_utf8(output.stdout).unwrap(), name);
        }
    }

    #[test]
    fn urls_carry_bytes_beyond_the_unreserved_percent_encoded() {
        // RFC 3986 2.1 and 2.5, which has the last example.
        assert_eq!(super::url("a b/c@d"), "a%20b%2Fc%40d");
        assert_eq!(super::url("\u{c0}"), "%C3%80");
    }

    #[test]
    fn windows_names_with_blanks_are_in_double_quotes() {
        assert_eq!(super::windows(r"\\host\share"), r"\\host\share");
        assert_eq!(super::windows(r"\\host\my share"), r#""\\host\my share""#);
    }
}
