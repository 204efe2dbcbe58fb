//! Reads the recorded sessions.

use std::fs;
use std::path::PathBuf;

pub(super) use crate::fuzzing::message::Side;
use crate::wire::header::Header;

/// One recorded message, compounds included.
#[derive(Clone, Debug)]
pub(super) struct Captured {
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) from: Side,
    pub(super) bytes: Vec<u8>,
}

fn directory() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "captures"].iter().collect()
}

/// The messages of the session `name`.
pub(super) fn session(name: &str) -> Vec<Captured> {
    let path = directory().join(format!("{name}.txt"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let lines = text.lines().enumerate();
    lines.filter_map(|(index, line)| captured(name, index + 1, line)).collect()
}

/// The messages of every session.
pub(super) fn everything() -> Vec<Captured> {
    let mut names: Vec<String> = fs::read_dir(directory())
        .expect("the captures are part of the sources")
        .map(|entry| entry.expect("a directory entry").file_name().into_string().expect("a name"))
        .filter_map(|name| name.strip_suffix(".txt").map(str::to_owned))
        .collect();
    names.sort();
    names.iter().flat_map(|name| session(name)).collect()
}

fn captured(file: &str, line: usize, text: &str) -> Option<Captured> {
    let (side, hex) = text.split_once(' ')?;
    let from = match side {
        "C" => Side::Client,
        "S" => Side::Server,
        _ => return None,
    };
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    assert!(rest.is_empty(), "{file}:{line}: half a byte");
    let bytes = pairs.iter().map(|pair| (digit(pair[0]) << 4) | digit(pair[1])).collect();
    Some(Captured { file: file.to_owned(), line, from, bytes })
}

fn digit(character: u8) -> u8 {
    char::from(character).to_digit(16).expect("a hexadecimal digit") as u8
}

impl Captured {
    pub(super) fn is_smb2(&self) -> bool {
        self.bytes.starts_with(&Header::PROTOCOL_ID)
    }

    /// The messages of a compound, each from its header to the next one's.
    pub(super) fn messages(&self) -> Vec<&[u8]> {
        let mut messages = Vec::new();
        let mut rest = self.bytes.as_slice();
        loop {
            let header = Header::decode(rest).unwrap_or_else(|error| panic!("{self}: {error}"));
            if header.next_command == 0 {
                messages.push(rest);
                return messages;
            }
            let (message, after) = rest.split_at(header.next_command as usize);
            messages.push(message);
            rest = after;
        }
    }
}

impl std::fmt::Display for Captured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{} ({:?})", self.file, self.line, self.from)
    }
}
