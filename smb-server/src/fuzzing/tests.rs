//! Every input that is kept in `fuzz/corpora/`, one in a line, again: seeds, what libFuzzer found to be worth keeping,
//! and each that once broke a promise.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::{TARGETS, Target};

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpora")
}

/// The inputs of a corpus, each with its line's number.
fn corpus(target: &Target) -> Vec<(usize, Vec<u8>)> {
    let path = corpora().join(target.name).with_extension("txt");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let is_input = |line: &str| !line.is_empty() && !line.starts_with('#');
    let lines = text.lines().enumerate().filter(|(_, line)| is_input(line));
    lines.map(|(at, line)| (at + 1, bytes(line))).collect()
}

/// What two hexadecimal digits each stand for; `-` is nothing at all.
fn bytes(line: &str) -> Vec<u8> {
    if line == "-" {
        return Vec::new();
    }
    let (pairs, rest) = line.as_bytes().as_chunks::<2>();
    assert!(rest.is_empty(), "half a byte: {line}");
    let digit = |digit: u8| char::from(digit).to_digit(16).expect("a hexadecimal digit") as u8;
    pairs.iter().map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

#[test]
fn every_kept_input_keeps_the_promises() {
    let mut failed = Vec::new();
    for target in TARGETS {
        for (line, input) in corpus(target) {
            if catch_unwind(AssertUnwindSafe(|| (target.run)(&input))).is_err() {
                failed.push(format!("{}.txt:{line}", target.name));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    for target in TARGETS {
        assert!(corpus(target).len() >= 3, "{} has next to nothing to start from", target.name);
    }
    for entry in std::fs::read_dir(corpora()).expect("the corpora are part of the sources") {
        let path = entry.expect("a directory entry").path();
        let name = path.file_stem().and_then(|name| name.to_str());
        assert!(TARGETS.iter().any(|target| Some(target.name) == name), "{path:?} is nobody's");
    }
}
