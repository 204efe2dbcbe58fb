//! The order of things: row after row, round after round, and in a round one sample of each contender.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Instant;

use measure::pairs::Paired;
use measure::syscalls::{self, Count};
use measure::text::{number, replace};
use measure::{calm, cores};
use smb_common::client::{Blocking, Target};
use smb_common::servers::{Kind, PASSWORD, Places, SHARE, USER};

use crate::cli::{Foreign, Options};
use crate::compare::{Line, RowResult};
use crate::contenders::{Contender, Running};
use crate::files::{self, Name, Role};
use crate::folder::Folder;
use crate::json::Lines;
use crate::machine::{self, Machine};
use crate::pattern::Pattern;
use crate::report;
use crate::sample::{self, Sample, Subject};
use crate::shape::Shape;
use crate::torture;

/// Where the results of a full run are kept, and its pictures beside them.
const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../smb-server/docs/bytes.md");

/// A run with what it needs.
struct Run<'a> {
    options: &'a Options,
    running: Vec<Running>,
    /// There for as long as the servers are.
    _folder: Option<Folder>,
    lines: Lines,
    samples: u64,
    pattern: &'static Pattern,
}

/// Measures, and writes down what comes of it.
pub(crate) fn run(options: &Options) -> io::Result<()> {
    // One for all threads, until the end.
    let pattern: &'static Pattern = Box::leak(Box::new(Pattern::new()));
    if let Some(foreign) = &options.foreign {
        return run_foreign(foreign, options, pattern);
    }
    eprintln!("making the files");
    let files = options.rows.iter().map(Shape::files).max().unwrap_or(1);
    let folder = Folder::make(&options.folder, files, pattern)?;
    let settings = fs::canonicalize(&options.out)?.join("servers");
    fs::create_dir_all(&settings)?;
    let places = Places {
        usmbd: options.usmbd.clone(),
        samba: options.samba.clone(),
        share: folder.path.clone(),
        settings,
    };
    let machine = machine::describe(options, Some(&places));
    println!("{machine}");
    if options.realtime {
        measure::sys::schedule_in_real_time()?;
    }
    if let Some(reason) = syscalls::cannot_count() {
        eprintln!("{reason}");
    }
    let running = start(options, &places)?;
    let lines = Lines::begin(options.json.as_deref(), &machine)?;
    measure::sys::pin(cores::LOAD);
    if options.smbtorture && !options.write_docs {
        println!("{}", torture::run(options, &running)?);
        return Ok(());
    }
    let mut run = Run { options, running, _folder: Some(folder), lines, samples: 0, pattern };
    let results = run.all()?;
    if options.write_docs {
        let torture = torture::run(options, &run.running)?;
        write_docs(&machine, &results, &torture)?;
    }
    Ok(())
}

/// The load alone, on a server that somebody else has started.
fn run_foreign(foreign: &Foreign, options: &Options, pattern: &'static Pattern) -> io::Result<()> {
    eprintln!("making the files");
    let shape = Shape::default();
    let files = options.rows.iter().map(Shape::files).max().unwrap_or(1);
    let connection = Blocking::connect(&foreign.target(options.rows.first().unwrap_or(&shape)))?;
    for number in 0..files {
        for (role, is_needed) in [
            (Role::Source, options.rows.iter().any(|row| row.workload.reads())),
            (Role::Target, options.rows.iter().any(|row| row.workload.writes())),
        ] {
            if is_needed {
                files::prepare(&connection, Name { role, number }, pattern)?;
            }
        }
    }
    let machine = machine::describe(options, None);
    println!("{machine}");
    let lines = Lines::begin(options.json.as_deref(), &machine)?;
    let running = vec![Running::Foreign];
    Run { options, running, _folder: None, lines, samples: 0, pattern }.all().map(|_| ())
}

fn start(options: &Options, places: &Places) -> io::Result<Vec<Running>> {
    let mut running = Vec::new();
    for contender in Contender::all() {
        let has_row = options.rows.iter().any(|row| contender.is_for(row));
        let is_samba =
            matches!(contender, Contender::Server(it) if matches!(it.kind, Kind::Samba(_)));
        let is_root = rustix::process::geteuid().is_root();
        if !has_row || !options.wants(contender) {
            continue;
        }
        if is_samba && (options.samba.is_none() || !is_root) {
            eprintln!("without {}, which takes its packages and root", contender.name());
        } else {
            running.push(Running::start(contender, places)?);
        }
    }
    Ok(running)
}

impl Run<'_> {
    fn all(&mut self) -> io::Result<Vec<RowResult>> {
        let begin = Instant::now();
        let rows = &self.options.rows;
        let mut results = Vec::new();
        for (index, shape) in rows.iter().enumerate() {
            eprintln!("\n[{}/{}] {shape}", index + 1, rows.len());
            let result = self.row(shape)?;
            println!("{}", report::row(&result));
            results.push(result);
            let elapsed = begin.elapsed().as_secs_f64() / 60.0;
            let left = elapsed / (index + 1) as f64 * (rows.len() - index - 1) as f64;
            eprintln!("after {elapsed:.1} minutes; about {left:.0} to go");
        }
        if self.options.foreign.is_none() {
            println!("{}", report::summary(&results));
        }
        Ok(results)
    }

    fn row(&mut self, shape: &Shape) -> io::Result<RowResult> {
        let contenders: Vec<_> = self.running.iter().map(Running::contender).collect();
        let taking_part: Vec<_> =
            (0..contenders.len()).filter(|&index| contenders[index].is_for(shape)).collect();
        let mut lines: Vec<_> =
            taking_part.iter().map(|&index| Line::new(contenders[index])).collect();
        for round in 0..self.options.rounds {
            eprint!("  round {}:", round + 1);
            // Each round begins with another one.
            let count = taking_part.len();
            for place in (0..count).map(|place| (place + round) % count) {
                self.take(shape, taking_part[place], round, &mut lines[place])?;
            }
            eprintln!();
        }
        for (line, &index) in lines.iter_mut().zip(&taking_part) {
            if line.error.is_none() && !self.running[index].processes().is_empty() {
                let sample = self.sample(shape, index, Count::Syscalls);
                line.syscalls = sample.ok().and_then(|sample| {
                    sample.syscalls.map(|count| count as f64 / sample.operations as f64)
                });
            }
        }
        Ok(RowResult { shape: *shape, lines })
    }

    /// One sample of the row with one contender.
    fn take(
        &mut self,
        shape: &Shape,
        index: usize,
        round: usize,
        line: &mut Line,
    ) -> io::Result<()> {
        if line.error.is_some() {
            return Ok(());
        }
        let name = line.contender.name();
        for retry in 0..=calm::RETRIES {
            match self.sample(shape, index, Count::Nothing) {
                Ok(sample) if sample.is_good() || retry == calm::RETRIES => {
                    let sample = Sample { round, ..sample };
                    let mark = if sample.is_good() { "" } else { "?" };
                    eprint!(" {name} {}{mark}", number(sample.rate()));
                    self.lines.sample(shape, name, &sample)?;
                    line.samples.push(sample);
                    return Ok(());
                }
                Ok(_) => eprint!(" (again)"),
                Err(error) => {
                    eprint!(" {name} failed: {error}");
                    line.error = Some(error.to_string());
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn sample(&mut self, shape: &Shape, index: usize, count: Count) -> io::Result<Sample> {
        self.samples += 1;
        let running = &self.running[index];
        let subject = Subject {
            running,
            target: &target(running, shape, self.options)?,
            shape,
            number: self.samples,
            verify: self.options.verify,
            threads: self.options.threads,
            realtime: self.options.realtime,
            pattern: self.pattern,
        };
        sample::take(&subject, self.options.time, count)
    }
}

/// Where to log on; floors and ciphers have a log-on of their own, or none.
pub(crate) fn target(running: &Running, shape: &Shape, options: &Options) -> io::Result<Target> {
    let address = match (running, &options.foreign) {
        (Running::Foreign, Some(foreign)) => return Ok(foreign.target(shape)),
        (Running::Server(server), _) => server.address,
        (Running::Floor(_, floor), _) => floor.address,
        _ => ([127, 0, 0, 1], 0).into(),
    };
    Ok(Target {
        address,
        share: SHARE.to_owned(),
        user: USER.to_owned(),
        password: PASSWORD.to_owned(),
        dialect: shape.dialect,
        protection: shape.protection,
    })
}

fn write_docs(machine: &Machine, results: &[RowResult], torture: &str) -> io::Result<()> {
    let docs = Path::new(DOCS);
    for picture in report::pictures(results) {
        replace(&docs.with_file_name(picture.file), &picture.svg)?;
    }
    replace(docs, &report::document(machine, results, torture))
}
