//! Corpora as they are kept: a text for each target, an input in hexadecimal digits in each line. A comment right above
//! an input says what went wrong with it once; such inputs stay for good, the others as long as they add something.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use usmbd::fuzzing::Target;

/// The most inputs that are kept of what libFuzzer has found, and the most bytes: for the smallest of them, which come
/// first, reach most of what can be reached.
const INPUTS_MAX: usize = 256;
const BYTES_MAX: usize = 24 * 1024;

/// What is kept for one target.
#[derive(Default)]
pub struct Corpus {
    /// With what each is about.
    pub named: Vec<(String, Vec<u8>)>,
    pub others: BTreeSet<Vec<u8>>,
}

fn file(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpora").join(target.name).with_extension("txt")
}

impl Corpus {
    /// What is kept; nothing, where nothing is.
    pub fn load(target: &Target) -> io::Result<Self> {
        let text = match fs::read_to_string(file(target)) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            text => text?,
        };
        let mut corpus = Self::default();
        let mut name = None;
        for line in text.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                name = Some(comment.to_owned());
            } else if line.is_empty() {
                name = None;
            } else {
                let input = bytes(line).ok_or(ErrorKind::InvalidData)?;
                match name.take() {
                    Some(name) => corpus.named.push((name, input)),
                    None => _ = corpus.others.insert(input),
                }
            }
        }
        Ok(corpus)
    }

    /// Keeps it.
    pub fn store(&self, target: &Target) -> io::Result<()> {
        let mut text = format!("# {}: {}.\n\n", target.name, target.input);
        for (name, input) in &self.named {
            _ = write!(text, "# {name}\n{}\n\n", digits(input));
        }
        let mut others: Vec<_> = self.others.iter().collect();
        others.sort_by_key(|input| input.len());
        let mut left = BYTES_MAX;
        for input in others.into_iter().take(INPUTS_MAX) {
            let Some(less) = left.checked_sub(input.len()) else { break };
            left = less;
            text.push_str(&digits(input));
            text.push('\n');
        }
        fs::write(file(target), text)
    }

    /// A file for each input, as libFuzzer has them.
    pub fn unpack(&self, to: &Path) -> io::Result<()> {
        fs::create_dir_all(to)?;
        let named = self.named.iter().map(|(_, input)| input);
        for (number, input) in named.chain(&self.others).enumerate() {
            fs::write(to.join(format!("kept-{number}")), input)?;
        }
        Ok(())
    }

    /// The inputs in a folder take the place of those without a name.
    pub fn pack(&mut self, from: &Path) -> io::Result<()> {
        self.others.clear();
        for entry in fs::read_dir(from)? {
            self.others.insert(fs::read(entry?.path())?);
        }
        let named: BTreeSet<_> = self.named.iter().map(|(_, input)| input).collect();
        self.others.retain(|input| !named.contains(input));
        Ok(())
    }
}

/// `-` stands for no bytes at all.
fn digits(input: &[u8]) -> String {
    if input.is_empty() {
        return "-".to_owned();
    }
    input.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn bytes(line: &str) -> Option<Vec<u8>> {
    if line == "-" {
        return Some(Vec::new());
    }
    let (pairs, []) = line.as_bytes().as_chunks::<2>() else { return None };
    let byte = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    pairs.iter().map(byte).collect()
}
