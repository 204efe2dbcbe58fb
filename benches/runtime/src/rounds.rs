//! The order of things: row after row, round after round, and in a round one sample of each runtime.

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use measure::pairs::Paired;
use measure::phase::Distance;
use measure::text::replace;
use measure::{calm, cores, syscalls};

use crate::cli::Options;
use crate::compare::{Line, RowResult, Taken};
use crate::json;
use crate::machine;
use crate::meter::Count;
use crate::report;
use crate::rows::{self, Entry, Row, Scale, files};
use crate::sys;

/// Where the results of a full run are kept.
const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../runtime/docs/benches.md");

/// Enough for the row with the most connections.
const DESCRIPTORS: u64 = 65_536;

pub(crate) fn run(options: &Options) -> ExitCode {
    match run_all(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("runtime-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_all(options: &Options) -> io::Result<()> {
    // Before this thread is bound to one core.
    let machine = machine::describe(options);
    prepare(options)?;
    println!("{machine}");
    if let Some(reason) = syscalls::cannot_count() {
        eprintln!("{reason}");
    }
    let wanted = |row: &dyn Row| {
        let name = row.name();
        options.rows.is_empty() || options.rows.iter().any(|part| name.contains(part.as_str()))
    };
    let rows: Vec<_> = rows::all().into_iter().filter(|row| wanted(row.as_ref())).collect();
    let mut results = Vec::new();
    let mut progress = Progress::new(&rows);
    for (index, row) in rows.iter().enumerate() {
        eprintln!("\n[{}/{}] {}, {}", index + 1, rows.len(), row.name(), row.unit().text());
        let result = measure_row(row.as_ref(), options);
        println!("{}", report::row(&result));
        results.push(result);
        // After each row, so that a run that is broken off leaves what it has.
        replace(&options.out.join("results.json"), &json::of(&machine, &results))?;
        replace(&options.out.join("results.md"), &report::document(&machine, &results))?;
        progress.tell(row.as_ref());
    }
    println!("{}", report::summary(&results));
    if options.write_docs {
        replace(Path::new(DOCS), &report::document(&machine, &results))?;
    }
    Ok(())
}

/// How far the run is. All lines of rows count alike.
struct Progress {
    begin: Instant,
    done: usize,
    all: usize,
}

impl Progress {
    fn new(rows: &[Box<dyn Row>]) -> Self {
        let all = rows.iter().map(|row| row.entries().len()).sum();
        Self { begin: Instant::now(), done: 0, all }
    }

    fn tell(&mut self, row: &dyn Row) {
        self.done += row.entries().len();
        let elapsed = self.begin.elapsed().as_secs_f64() / 60.0;
        let left = elapsed / self.done.max(1) as f64 * (self.all - self.done) as f64;
        eprintln!("after {elapsed:.1} minutes; about {left:.0} to go");
    }
}

fn prepare(options: &Options) -> io::Result<()> {
    sys::allow_descriptors(DESCRIPTORS);
    if options.realtime {
        sys::schedule_in_real_time()?;
    }
    files::prepare()?;
    fs::create_dir_all(&options.out)?;
    sys::pin(cores::LOAD);
    Ok(())
}

fn measure_row(row: &dyn Row, options: &Options) -> RowResult {
    let wanted = |entry: &Entry| {
        options.only.is_empty() || options.only.iter().any(|name| name == entry.contender.name)
    };
    let entries: Vec<_> = row.entries().into_iter().filter(wanted).collect();
    let mut lines: Vec<_> = entries.into_iter().map(Line::new).collect();
    for round in 0..options.rounds {
        eprint!("  round {}:", round + 1);
        // Each round begins with another one.
        let count = lines.len().max(1);
        for index in (0..lines.len()).map(|index| (index + round) % count) {
            let line = &mut lines[index];
            if line.error.is_none() {
                take(row, line, round, options);
            }
        }
        eprintln!();
    }
    for line in &mut lines {
        count_syscalls(row, line, options.scale);
    }
    RowResult::new(row, lines)
}

fn take(row: &dyn Row, line: &mut Line, round: usize, options: &Options) {
    let retries = if options.scale == Scale::Quick { 0 } else { calm::RETRIES };
    for retry in 0..=retries {
        match sample(row, &line.entry, round, options) {
            Ok(taken) if taken.is_good() || retry == retries => {
                let mark = if taken.is_good() { "" } else { "?" };
                eprint!(" {} {:.1}{mark}", line.entry.label, taken.sample.value);
                return line.samples.push(taken);
            }
            Ok(_) => eprint!(" (again)"),
            Err(error) => {
                eprint!(" {} failed: {error}", line.entry.label);
                return line.error = Some(error.to_string());
            }
        }
    }
}

fn sample(row: &dyn Row, entry: &Entry, round: usize, options: &Options) -> io::Result<Taken> {
    let before = Distance::probe(cores::ALL);
    let (start, busy, own) = (Instant::now(), sys::busy_time(cores::ALL), own_cpu());
    let sample = row.measure(entry, options.scale, Count::Nothing)?;
    let (wall, busy) = (start.elapsed(), sys::busy_time(cores::ALL).saturating_sub(busy));
    // As much as there was in the time that was measured, which is not all of it.
    let delay = wall.mul_f64(sample.usage.delay.as_secs_f64() / sample.usage.wall.as_secs_f64());
    let foreign = busy.saturating_sub(own_cpu().saturating_sub(own));
    let after = Distance::probe(cores::ALL);
    Ok(Taken {
        round,
        sample,
        crosses_cores: row.crosses_cores(),
        distance: before.between(after),
        is_steady: before.is_like(after),
        // In real time nobody else can. And the kernel accounts for this in ticks, which says nothing
        // about a short time.
        is_undisturbed: options.realtime
            || options.scale == Scale::Quick
            || calm::is_undisturbed(wall, foreign, delay),
    })
}

/// What this process and its children have used.
fn own_cpu() -> Duration {
    let own = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(own.tv_sec.cast_unsigned(), own.tv_nsec as u32) + sys::children_cpu()
}

fn count_syscalls(row: &dyn Row, line: &mut Line, scale: Scale) {
    if line.error.is_none()
        && let Ok(sample) = row.measure(&line.entry, scale, Count::Syscalls)
    {
        line.syscalls = sample.usage.syscalls.map(|count| count as f64 / sample.ops);
    }
}
