//! Files: reads of 4 KiB, attributes, opening and closing; beside the bare system calls.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use rustix::fs::Advice;

use super::{Counter, Entry, Job, Row, Sample, Scale, Unit, rate, work};
use crate::child;
use crate::meter::Count;
use crate::runtimes::Runtime;

/// The file that is read and opened, in [`folder`].
pub(crate) const NAME: &str = "pages";

pub(crate) const PAGE: usize = 4096;

/// Pages in the file: 128 MiB.
pub(crate) const PAGES: usize = 32_768;

/// A prime: multiples of it, modulo [`PAGES`], visit each page once, with no two neighbours in a row.
const STRIDE: usize = 12_911;

/// Where the file is: on the file system of the build folder, or in `RUNTIME_BENCH_FOLDER`.
pub(crate) fn folder() -> io::Result<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/files");
    let folder = std::env::var_os("RUNTIME_BENCH_FOLDER").map_or(default, PathBuf::from);
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Makes the file if it is not there.
pub(crate) fn prepare() -> io::Result<()> {
    let path = folder()?.join(NAME);
    if fs::metadata(&path).is_ok_and(|stat| stat.len() == (PAGES * PAGE) as u64) {
        return Ok(());
    }
    let mut file = File::create(path)?;
    let page: Vec<u8> = (0..PAGE).map(|index| index as u8).collect();
    (0..PAGES).try_for_each(|_| file.write_all(&page))?;
    file.sync_all()
}

/// Brings the file into the page cache, or out of it.
pub(crate) fn set_cached(cached: bool) -> io::Result<()> {
    let file = File::open(NAME)?;
    if cached {
        io::copy(&mut &file, &mut io::sink())?;
    } else {
        file.sync_all()?;
        rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}

/// Where the pieces of the file begin, over and over.
pub(crate) fn pieces(size: usize) -> impl Iterator<Item = u64> {
    (0..PAGES * PAGE / size).map(move |index| (index * size) as u64).cycle()
}

/// Where read number `index` goes.
pub(crate) fn offset(index: usize) -> u64 {
    (index.wrapping_mul(STRIDE) % PAGES * PAGE) as u64
}

/// Job: reads pages for `millis`, `depth` at a time; from the disk, no page twice.
pub(crate) fn read<R: Runtime>(runtime: R, millis: usize, depth: usize, cold: bool) {
    set_cached(!cold).unwrap_or_else(|error| panic!("{NAME}: {error}"));
    repeat::<R>(runtime, millis, depth, if cold { PAGES } else { usize::MAX }, async |at| {
        let file = R::open(NAME).await?;
        let mut buf = Vec::with_capacity(PAGE);
        while let Some(index) = at.next() {
            buf = R::read_at(&file, buf, offset(index)).await?;
        }
        Ok(())
    });
}

/// Job: asks for the attributes of an open file.
pub(crate) fn stat_file<R: Runtime>(runtime: R, millis: usize) {
    repeat::<R>(runtime, millis, 1, usize::MAX, async |at| {
        let file = R::open(NAME).await?;
        while at.next().is_some() {
            R::stat_file(&file).await?;
        }
        Ok(())
    });
}

/// Job: asks for the attributes of a path.
pub(crate) fn stat_path<R: Runtime>(runtime: R, millis: usize) {
    repeat::<R>(runtime, millis, 1, usize::MAX, async |at| {
        while at.next().is_some() {
            R::stat_path(NAME).await?;
        }
        Ok(())
    });
}

/// Job: opens and closes a file.
pub(crate) fn open_and_close<R: Runtime>(runtime: R, millis: usize) {
    repeat::<R>(runtime, millis, 1, usize::MAX, async |at| {
        while at.next().is_some() {
            if let Some(file) = Rc::into_inner(R::open(NAME).await?) {
                R::close(file).await?;
            }
        }
        Ok(())
    });
}

/// Runs `depth` tasks of `work` for `millis`, or for `limit` operations in all.
fn repeat<R: Runtime>(
    runtime: R,
    millis: usize,
    depth: usize,
    limit: usize,
    work: impl AsyncFn(&Counter) -> io::Result<()> + Copy + 'static,
) {
    runtime.block_on(async {
        child::ready(0);
        let counter = Rc::new(Counter::new(millis, limit));
        let start = Instant::now();
        let task = || {
            let counter = counter.clone();
            async move { work(&counter).await.unwrap_or_else(|error| panic!("{NAME}: {error}")) }
        };
        let tasks: Vec<_> = (0..depth).map(|_| R::spawn(task())).collect();
        for task in tasks {
            task.await;
        }
        child::done(counter.given() as u64, start.elapsed(), 0.0);
    });
}

struct Files {
    name: String,
    job: &'static str,
    depth: usize,
    cold: bool,
}

pub(crate) fn rows() -> Vec<Box<dyn Row>> {
    let row =
        |name, job, depth, cold| -> Box<dyn Row> { Box::new(Files { name, job, depth, cold }) };
    let mut rows = Vec::new();
    for (cold, from) in [(false, "the page cache"), (true, "the disk")] {
        for depth in [1, 8, 32] {
            let name = format!("read 4 KiB from {from}, {depth} at a time");
            rows.push(row(name, "read", depth, cold));
        }
    }
    rows.push(row("statx of an open file".to_owned(), "stat-file", 1, false));
    rows.push(row("statx of a path".to_owned(), "stat-path", 1, false));
    rows.push(row("open and close".to_owned(), "open", 1, false));
    rows
}

impl Row for Files {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn unit(&self) -> Unit {
        Unit::KiloPerSecond
    }

    fn crosses_cores(&self) -> bool {
        false
    }

    fn entries(&self) -> Vec<Entry> {
        let job = Job::new(self.job, [0, self.depth, usize::from(self.cold)]);
        // glommio has no statx of a path.
        Entry::each(&job, |contender| self.job != "stat-path" || contender.name != "glommio")
    }

    fn measure(&self, entry: &Entry, scale: Scale, count: Count) -> io::Result<Sample> {
        let job = Job::new(self.job, [scale.millis(), self.depth, usize::from(self.cold)]);
        let (done, usage) = work(entry, &job, count)?;
        Ok(rate(done.ops, done.time, usage))
    }

    fn note(&self) -> &'static str {
        match (self.job, self.cold) {
            ("read", false) => {
                "Random pages of a file of 128 MiB. Without a runtime: pread in a loop, one at a time at \
                 any depth."
            }
            ("read", true) => {
                "Random pages of a file of 128 MiB that was dropped from the page cache, each once. \
                 Without a runtime: pread, one at a time at any depth. The disk is the machine's."
            }
            _ => "One at a time.",
        }
    }
}
