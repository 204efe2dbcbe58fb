//! What a host has of what the table's rows take. It is tried, as versions and names tell little about it.

use std::io;
use std::path::Path;

use ringway::fs::{Dir, File, Mode, OFlags, OpenHow};
use ringway::pipe::{PipePool, PipeReader, PipeWriter, pipe_with_size};
use ringway::{Feature, Features, OpKind, Support};

use super::plan::Need;
use super::spliced::{PIPE_MIN, PIPES_MAX};

/// How much of a file is tried with.
const SAMPLE: usize = 1 << 20;

/// A thing that was tried.
#[derive(Debug)]
pub struct Trial {
    /// Which.
    pub what: &'static str,
    /// The rows that need this do without where it is not there.
    pub need: Option<Need>,
    /// What came of it.
    pub found: Found,
}

/// What came of a trial.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    /// It is there, and more about it.
    Yes(String),
    /// It is not, and why.
    No(String),
    /// It could not be tried, for another reason.
    Untried(String),
}

impl Found {
    fn of<T>(result: io::Result<T>) -> Self {
        match result {
            Ok(_) => Self::Yes(String::new()),
            Err(error) => Self::No(error.to_string()),
        }
    }
}

/// Tries everything, as a server on so many cores with files in `folder` would use it.
pub async fn tried(folder: &Path, cores: usize, features: &Features) -> Vec<Trial> {
    let mut trials = vec![pipes(cores)];
    trials.extend(with_files(folder).await);
    trials.extend([sends(features), registered(features)]);
    trials
}

/// What was found missing.
#[must_use]
pub fn lacking(trials: &[Trial]) -> Vec<Need> {
    let missing = trials.iter().filter(|trial| matches!(trial.found, Found::No(_)));
    missing.filter_map(|trial| trial.need).collect()
}

/// As many as the cores would have together: a user's share of them may run out.
fn pipes(cores: usize) -> Trial {
    let wanted = PIPES_MAX.saturating_mul(cores);
    // All are kept until all are made.
    let made: Result<Vec<_>, _> = (0..wanted).map(|_| pipe_with_size(PipePool::SIZE)).collect();
    let capacities = made.and_then(|pipes| capacities(&pipes));
    let found = match capacities {
        Ok(capacities) => of_capacities(&capacities),
        Err(error) => Found::No(error.to_string()),
    };
    Trial { what: "pipes", need: Some(Need::Pipe), found }
}

fn capacities(pipes: &[(PipeReader, PipeWriter)]) -> io::Result<Vec<usize>> {
    pipes.iter().map(|(reader, _)| reader.capacity()).collect()
}

fn of_capacities(capacities: &[usize]) -> Found {
    let of_at_least = |size| capacities.iter().filter(|capacity| **capacity >= size).count();
    let (all, used, whole) = (capacities.len(), of_at_least(PIPE_MIN), of_at_least(PipePool::SIZE));
    let largest = capacities.iter().max().copied().unwrap_or_default() >> 10;
    match (used, all - used, used - whole) {
        (0, ..) => Found::No(format!("of {largest} KiB at most, see pipe(7)")),
        (_, 0, 0) => Found::Yes(format!("{all} of 1 MiB, {PIPES_MAX} a core")),
        (_, unused, less) => Found::Yes(format!(
            "{whole} of 1 MiB, {less} of less, and {unused} too small to be used, see pipe(7)"
        )),
    }
}

/// On a file without a name.
async fn with_files(folder: &Path) -> Vec<Trial> {
    let found = match sample(folder, OFlags::empty()).await {
        Ok(file) => {
            let [cached, out, into, mapped] = on_file(&file).await;
            [past_cache(folder).await, cached, out, into, mapped]
        }
        Err(error) => {
            let why = Found::Untried(format!("no file to try with ({error})"));
            std::array::repeat(why)
        }
    };
    let [past_cache, cached, out, into, mapped] = found;
    let trial = |what, need, found| Trial { what, need, found };
    vec![
        trial("transfers past the page cache", Some(Need::Direct), past_cache),
        trial("telling what is cached", Some(Need::Cached), cached),
        trial("splices out of files", Some(Need::Splice), out),
        trial("splices into files", None, into),
        trial("mappings", Some(Need::Mapping), mapped),
    ]
}

async fn sample(folder: &Path, flags: OFlags) -> io::Result<File> {
    let directory = Dir::open_ambient(folder)?;
    let how = OpenHow::new(OFlags::TMPFILE | OFlags::RDWR | flags).mode(Mode::RUSR | Mode::WUSR);
    let file = directory.open_at(".", &how).await?;
    if !flags.contains(OFlags::DIRECT) {
        file.write_all_at(vec![1; SAMPLE], 0).await.0?;
    }
    Ok(file)
}

/// Which blocks and which memory, the server finds out of each file.
async fn past_cache(folder: &Path) -> Found {
    Found::of(sample(folder, OFlags::DIRECT).await)
}

async fn on_file(file: &File) -> [Found; 4] {
    let cached = match file.cached_len(0, SAMPLE) {
        Some(SAMPLE) => Found::Yes(String::new()),
        _ => Found::No("not by this file system".to_owned()),
    };
    let mapped = Found::of(file.map(0, SAMPLE));
    let [out, into] = match pipe_with_size(PipePool::SIZE) {
        Ok(pipe) => splices(file, &pipe).await,
        Err(error) => {
            let why = Found::Untried(format!("there is no pipe ({error})"));
            [why.clone(), why]
        }
    };
    [cached, out, into, mapped]
}

/// Out of a file, and back in.
async fn splices(file: &File, (reader, writer): &(PipeReader, PipeWriter)) -> [Found; 2] {
    let out = file.splice_to(0, writer, SAMPLE).await;
    let into = match &out {
        Ok(count) => Found::of(file.splice_from(reader, SAMPLE as u64, *count).await),
        Err(_) => Found::Untried("nothing comes out of files".to_owned()),
    };
    [Found::of(out), into]
}

/// Of what is in a buffer. Connections that copy all the same find that out by themselves.
fn sends(features: &Features) -> Trial {
    let on_ring = features.rungs(OpKind::SendZc).next().is_some();
    let found = match features.support(Feature::MsgZerocopy) {
        _ if on_ring => Found::Yes("on the ring".to_owned()),
        Some(Support::Found) => Found::Yes("by MSG_ZEROCOPY".to_owned()),
        other => why_not(other),
    };
    Trial { what: "sends without a copy", need: None, found }
}

/// What goes through a buffer does without where they are not.
fn registered(features: &Features) -> Trial {
    let found = match features.support(Feature::FixedBuffers) {
        Some(Support::Found) => Found::Yes(String::new()),
        other => why_not(other),
    };
    Trial { what: "registered buffers", need: None, found }
}

fn why_not(support: Option<&Support>) -> Found {
    Found::No(match support {
        Some(Support::Missing(why)) => why.clone(),
        Some(_) => "masked".to_owned(),
        None => "without a ring".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datapath::plan::TABLE;

    fn trials(folder: &Path, cores: usize) -> Vec<Trial> {
        let runtime = ringway::Builder::new().build().unwrap();
        let features = runtime.features().clone();
        runtime.block_on(tried(folder, cores, &features))
    }

    #[test]
    fn a_file_system_in_memory_has_what_every_row_needs() {
        let trials = trials(Path::new("/dev/shm"), 1);
        assert!(lacking(&trials).is_empty(), "{trials:?}");
        assert!(TABLE.iter().all(|row| row.instead(&lacking(&trials)).is_none()));
    }

    #[test]
    fn a_file_system_that_keeps_no_files_is_not_tried_and_lacks_nothing_for_that() {
        let trials = trials(Path::new("/proc"), 1);
        let untried = trials.iter().filter(|trial| matches!(trial.found, Found::Untried(_)));
        assert_eq!(untried.count(), 5, "{trials:?}");
        assert!(lacking(&trials).is_empty());
    }

    #[test]
    fn pipes_that_are_smaller_than_asked_for_are_told() {
        let yes = |text: &str| Found::Yes(text.to_owned());
        assert_eq!(of_capacities(&[1 << 20, 1 << 20]), yes("2 of 1 MiB, 16 a core"));
        assert_eq!(
            of_capacities(&[1 << 20, 64 << 10, 8 << 10]),
            yes("1 of 1 MiB, 1 of less, and 1 too small to be used, see pipe(7)")
        );
        let no = Found::No("of 8 KiB at most, see pipe(7)".to_owned());
        assert_eq!(of_capacities(&[4 << 10, 8 << 10]), no);
    }
}
