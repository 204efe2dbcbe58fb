//! Deterministic file contents, and comparisons that say where two files or trees part.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use libtest_mimic::Failed;

use super::{Outcome, ensure};

const BLOCK: usize = 1 << 20;

/// xorshift64*: no zero runs and no repetition that a sparse or deduplicated copy could hide in.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `limit`; `limit` must not be zero.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap_or(0)
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

/// Writes `length` bytes that depend on `seed`.
pub(crate) fn write_file(path: &Path, length: u64, seed: u64) -> Outcome {
    let mut random = Random::new(seed);
    let mut file = BufWriter::with_capacity(BLOCK, File::create(path)?);
    let mut left = length;
    while left > 0 {
        let count = usize::try_from(left).map_or(BLOCK, |left| left.min(BLOCK));
        file.write_all(&random.bytes(count))?;
        left -= count as u64;
    }
    Ok(file.flush()?)
}

/// Compares two files byte by byte, which needs no trust in a checksum.
pub(crate) fn same_file(left: &Path, right: &Path) -> Outcome {
    let (mut a, mut b) = (open(left)?, open(right)?);
    let (mut block_a, mut block_b) = (vec![0; BLOCK], vec![0; BLOCK]);
    let mut offset = 0;
    loop {
        let (count_a, count_b) =
            (read_block(&mut a, &mut block_a)?, read_block(&mut b, &mut block_b)?);
        if block_a[..count_a] != block_b[..count_b] {
            let common = block_a[..count_a]
                .iter()
                .zip(&block_b[..count_b])
                .take_while(|(x, y)| x == y)
                .count();
            let place = offset + common;
            return Err(format!(
                "{} and {} differ at byte {place}",
                left.display(),
                right.display()
            )
            .into());
        }
        if count_a == 0 {
            return Ok(());
        }
        offset += count_a;
    }
}

/// Compares two folders: the same names, and the same contents.
pub(crate) fn same_tree(left: &Path, right: &Path) -> Outcome {
    let (names_left, names_right) = (tree(left)?, tree(right)?);
    for name in names_left.keys().chain(names_right.keys()) {
        if names_left.get(name) != names_right.get(name) {
            return Err(format!(
                "{} is not alike in {} and {}",
                name.display(),
                left.display(),
                right.display()
            )
            .into());
        }
    }
    let mut files = names_left.iter().filter(|(_, is_folder)| !**is_folder);
    files.try_for_each(|(name, _)| same_file(&left.join(name), &right.join(name)))
}

/// Relative paths below `folder`, with whether each is a folder.
pub(crate) fn tree(folder: &Path) -> Result<BTreeMap<PathBuf, bool>, Failed> {
    let mut found = BTreeMap::new();
    let mut open = vec![PathBuf::new()];
    while let Some(inner) = open.pop() {
        for entry in fs::read_dir(folder.join(&inner))? {
            let entry = entry?;
            let name = inner.join(entry.file_name());
            let is_folder = entry.file_type()?.is_dir();
            if is_folder {
                open.push(name.clone());
            }
            found.insert(name, is_folder);
        }
    }
    Ok(found)
}

/// The names in a folder.
pub(crate) fn names(folder: &Path) -> Result<BTreeSet<String>, Failed> {
    let entries = fs::read_dir(folder)?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

pub(crate) fn expect_names(folder: &Path, expected: &[&str]) -> Outcome {
    let found = names(folder)?;
    if found.iter().eq(expected.iter().collect::<BTreeSet<_>>()) {
        return Ok(());
    }
    Err(format!("expected {expected:?} in {}, found {found:?}", folder.display()).into())
}

fn open(path: &Path) -> Result<File, Failed> {
    File::open(path).map_err(|error| format!("{}: {error}", path.display()).into())
}

fn read_block(file: &mut File, block: &mut [u8]) -> Result<usize, Failed> {
    let mut filled = 0;
    while filled < block.len() {
        match file.read(&mut block[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

pub(crate) fn same_text(found: &str, expected: &str) -> Outcome {
    ensure(found == expected, || format!("found {found:?}, expected {expected:?}"))
}
