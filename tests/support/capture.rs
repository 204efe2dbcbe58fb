//! The client's half of the recorded sessions in `smb-server/tests/captures/`.

use std::fs;
use std::path::Path;

use libtest_mimic::Failed;

/// The messages that the client sent in one recorded session, without their frame headers.
pub(crate) fn client_messages(name: &str) -> Result<Vec<Vec<u8>>, Failed> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("smb-server/tests/captures");
    let path = folder.join(format!("{name}.txt"));
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let lines = text.lines().filter_map(|line| line.strip_prefix("C "));
    lines
        .map(|hex| decode(hex).ok_or_else(|| format!("{}: not hexadecimal", path.display()).into()))
        .collect()
}

fn decode(hex: &str) -> Option<Vec<u8>> {
    let pairs = hex.trim().as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
