//! Random operations on a file, by two mounts and with mappings, against a model in memory.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};
use rustix::fs::{FallocateFlags, copy_file_range, fallocate};

use crate::contents::{Mapping, both};
use crate::mounted::{Place, When, mounted, same, together};
use crate::support::content::Random;
use crate::support::{Outcome, ensure};

const OPERATIONS: usize = 1500;
const LONGEST: usize = 300_000;
const LONGEST_PIECE: usize = 40_000;

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials =
        together(&[("random operations leave what they should", together_with_another)]);
    trials.push(mounted("random operations leave what they should (alone)", "", alone));
    trials
}

/// Nothing is mapped where nothing is kept.
fn together_with_another(place: &Place, at: &Path) -> Outcome {
    let other = place.mount_again()?;
    run(place, at, &other, false)
}

fn alone(place: &Place, at: &Path) -> Outcome {
    run(place, at, at, true)
}

/// A file by two mounts, of which the second only reads, and what should be in it.
struct Model {
    writer: File,
    path: PathBuf,
    reader: PathBuf,
    bytes: Vec<u8>,
    random: Random,
    mappings: bool,
    /// The client punches none in dialect 2.1.
    holes: bool,
}

fn run(place: &Place, at: &Path, other: &Path, mappings: bool) -> Outcome {
    let seed = 1;
    let path = at.join("file");
    let mut model = Model {
        writer: both(&path)?,
        path,
        reader: other.join("file"),
        bytes: Vec::new(),
        random: Random::new(seed),
        mappings,
        holes: !place.options.contains("vers=2.1"),
    };
    for number in 0..OPERATIONS {
        let kind = model.random.below(14);
        model.step(kind).when(&format!("operation {number}, kind {kind}, of seed {seed}"))?;
    }
    drop(model.writer);
    let stored = fs::read(place.folder.join("file"))?;
    same("length at the end", stored.len(), model.bytes.len())?;
    ensure(stored == model.bytes, || "at the end it differs".into())
}

impl Model {
    fn step(&mut self, kind: usize) -> Result<(), String> {
        let outcome = match kind {
            0..=3 => self.write(),
            4..=6 => self.read(),
            7 => self.cut(),
            8 => self.read_by_the_other(),
            9 if self.holes => self.punch(),
            10 => self.copy(),
            11 => self.reopen(),
            12 if self.mappings => self.map(),
            _ => self.writer.sync_all().when("syncing"),
        };
        outcome.map_err(|failed| failed.message().unwrap_or_default().to_owned())
    }

    /// A range that begins in the file, or a little behind it where it may.
    fn range(&mut self, beyond: bool) -> (usize, usize) {
        let limit = if beyond { LONGEST } else { self.bytes.len() };
        let start = self.random.below(limit.max(1));
        let length = self.random.below(LONGEST_PIECE).min(limit - start.min(limit));
        (start, length)
    }

    fn write(&mut self) -> Outcome {
        let (start, length) = self.range(true);
        let piece = self.random.bytes(length);
        self.writer.write_all_at(&piece, start as u64).when("writing")?;
        if length > 0 {
            self.bytes.resize(self.bytes.len().max(start + length), 0);
            self.bytes[start..start + length].copy_from_slice(&piece);
        }
        Ok(())
    }

    fn read(&mut self) -> Outcome {
        let (start, length) = self.range(false);
        let mut piece = vec![0; length];
        self.writer.read_exact_at(&mut piece, start as u64).when("reading")?;
        self.agrees(start, &piece)?;
        same("length", self.writer.metadata()?.len(), self.bytes.len() as u64)
    }

    fn agrees(&self, start: usize, piece: &[u8]) -> Outcome {
        let wanted = self.bytes.get(start..start + piece.len()).ok_or("more than there is")?;
        match piece.iter().zip(wanted).position(|(is, wanted)| is != wanted) {
            None => Ok(()),
            Some(at) => Err(format!("byte {} of {} is wrong", start + at, self.bytes.len()).into()),
        }
    }

    fn cut(&mut self) -> Outcome {
        let length = self.random.below(LONGEST);
        self.writer.set_len(length as u64).when("setting the length")?;
        self.bytes.resize(length, 0);
        Ok(())
    }

    fn read_by_the_other(&mut self) -> Outcome {
        let read = fs::read(&self.reader).when("reading by the other mount")?;
        same("length at the other", read.len(), self.bytes.len())?;
        self.agrees(0, &read)
    }

    fn punch(&mut self) -> Outcome {
        let (start, length) = self.range(false);
        if length > 0 {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            fallocate(&self.writer, flags, start as u64, length as u64).when("punching")?;
            self.bytes[start..start + length].fill(0);
        }
        Ok(())
    }

    /// Within the file, to where it does not overlap.
    fn copy(&mut self) -> Outcome {
        let (start, length) = self.range(false);
        let Some(to) = (start + length).checked_add(self.random.below(5000)) else { return Ok(()) };
        if length == 0 || to + length > LONGEST {
            return Ok(());
        }
        let mut done = 0;
        while done < length {
            let (mut from, mut target) = ((start + done) as u64, (to + done) as u64);
            let (source, sink) = (&self.writer, &self.writer);
            let count =
                copy_file_range(source, Some(&mut from), sink, Some(&mut target), length - done);
            done += count
                .when("copying")
                .and_then(|it| if it == 0 { Err("nothing copied".into()) } else { Ok(it) })?;
        }
        let piece = self.bytes[start..start + length].to_vec();
        self.bytes.resize(self.bytes.len().max(to + length), 0);
        self.bytes[to..to + length].copy_from_slice(&piece);
        Ok(())
    }

    fn reopen(&mut self) -> Outcome {
        self.writer = both(&self.path)?;
        Ok(())
    }

    fn map(&mut self) -> Outcome {
        let (start, length) = self.range(false);
        if length == 0 {
            return Ok(());
        }
        let piece: Result<Vec<u8>, Failed> = Ok(self.random.bytes(length));
        let mut mapping = Mapping::new(&self.writer, self.bytes.len())?;
        self.agrees(0, mapping.bytes())?;
        mapping.bytes()[start..start + length].copy_from_slice(&piece?);
        self.bytes[start..start + length].copy_from_slice(&mapping.bytes()[start..start + length]);
        mapping.sync()
    }
}
