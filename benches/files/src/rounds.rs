//! The order of things: scenario after scenario, round after round, and in a round one sample of each server.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Instant;

use measure::pairs::Paired;
use measure::syscalls::Count;
use measure::text::replace;
use measure::{calm, cores, sys};
use ringway::{Builder, Runtime};
use smb_common::client::Target;
use smb_common::servers::{Kind, PASSWORD, Places, SHARE, Server, USER};
use usmbd::wire::dialect::Dialect;

use crate::cli::Options;
use crate::compare::{Line, RowResult};
use crate::contenders::CONTENDERS;
use crate::folder::{self, Folder};
use crate::json;
use crate::machine::{self, Machine};
use crate::report;
use crate::sample::{self, Sample, Subject};
use crate::workloads::{self, Names, Scale, Scenario};

/// Where the results of a full run are kept.
const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../smb-server/docs/benches.md");

/// A run with what it needs.
struct Run<'a> {
    options: &'a Options,
    runtime: Runtime,
    folder: Folder,
    servers: Vec<Server>,
    samples: u64,
}

/// Measures our servers, and writes down what comes of it.
pub(crate) fn run(options: &Options) -> io::Result<()> {
    if let Some(within) = &options.make_big {
        return folder::make_big(within);
    }
    fs::create_dir_all(&options.out)?;
    eprintln!("making the files");
    let folder = Folder::make(options.folder.as_ref().unwrap_or(&options.out))?;
    let settings = fs::canonicalize(&options.out)?.join("servers");
    fs::create_dir_all(&settings)?;
    let places = Places {
        usmbd: options.usmbd.clone(),
        samba: options.samba.clone(),
        share: folder.path.clone(),
        settings,
    };
    let machine = machine::describe(options, &places);
    if options.realtime {
        sys::schedule_in_real_time()?;
    }
    let servers = start(options, &places)?;
    sys::pin(cores::LOAD);
    println!("{machine}");
    let runtime = Builder::new().build()?;
    Run { options, runtime, folder, servers, samples: 0 }.all(&machine)
}

fn start(options: &Options, places: &Places) -> io::Result<Vec<Server>> {
    let mut servers = Vec::new();
    for contender in CONTENDERS {
        let is_wanted =
            options.only.is_empty() || options.only.iter().any(|name| name == contender.name);
        let is_root = rustix::process::geteuid().is_root();
        let is_there = match contender.kind {
            Kind::Usmbd(..) => true,
            Kind::Samba(_) => options.samba.is_some() && is_root,
        };
        if is_wanted && is_there {
            servers.push(Server::start(contender, places)?);
        } else if is_wanted {
            eprintln!("without {}, which takes its packages and root", contender.name);
        }
    }
    Ok(servers)
}

impl Run<'_> {
    fn all(&mut self, machine: &Machine) -> io::Result<()> {
        let mut results = Vec::new();
        let begin = Instant::now();
        for scenario in wanted(self.options) {
            for shape in scenario.shapes {
                let rows = self.rows(&scenario, shape);
                rows.iter().for_each(|row| println!("{}", report::row(row)));
                results.extend(rows);
                // After each row, so that a run that is broken off leaves what it has.
                let out = &self.options.out;
                replace(&out.join("results.json"), &json::of(machine, &results))?;
                replace(&out.join("results.md"), &report::document(machine, &results))?;
                eprintln!("after {:.1} minutes", begin.elapsed().as_secs_f64() / 60.0);
            }
        }
        println!("{}", report::summary(&results));
        if self.options.write_docs {
            replace(Path::new(DOCS), &report::document(machine, &results))?;
        }
        Ok(())
    }

    /// A row for each workload of the scenario.
    fn rows(&mut self, scenario: &Scenario, shape: (usize, usize)) -> Vec<RowResult> {
        let mut rows: Vec<_> = scenario
            .workloads
            .iter()
            .map(|workload| RowResult {
                name: format!("{}, {} × {}", workload.name(), shape.0, shape.1),
                unit: workload.unit(),
                note: scenario.note,
                lines: self.servers.iter().map(|server| Line::new(server.contender)).collect(),
            })
            .collect();
        for round in 0..self.options.rounds {
            eprint!("{}, round {}:", names(&rows), round + 1);
            // Each round begins with another one.
            let count = self.servers.len();
            for server in (0..count).map(|index| (index + round) % count) {
                self.take(scenario, shape, server, round, &mut rows);
            }
            eprintln!();
        }
        for server in 0..self.servers.len() {
            self.count_syscalls(scenario, shape, server, &mut rows);
        }
        rows
    }

    /// One sample of each workload of the scenario with one server.
    fn take(
        &mut self,
        scenario: &Scenario,
        shape: (usize, usize),
        server: usize,
        round: usize,
        rows: &mut [RowResult],
    ) {
        if rows.iter().any(|row| row.lines[server].error.is_some()) {
            return;
        }
        let name = self.servers[server].contender.name;
        let retries = if self.options.scale == Scale::Quick { 0 } else { calm::RETRIES };
        for retry in 0..=retries {
            match self.sample(scenario, shape, server, self.options.scale, Count::Nothing) {
                Ok(samples) if samples.iter().all(Paired::is_good) || retry == retries => {
                    for (row, sample) in rows.iter_mut().zip(samples) {
                        let sample = Sample { round, ..sample };
                        let mark = if sample.is_good() { "" } else { "?" };
                        eprint!(" {name} {:.0}{mark}", sample.rate());
                        row.lines[server].samples.push(sample);
                    }
                    return;
                }
                Ok(_) => eprint!(" (again)"),
                Err(error) => {
                    eprint!(" {name} failed: {error}");
                    rows.iter_mut()
                        .for_each(|row| row.lines[server].error = Some(error.to_string()));
                    return;
                }
            }
        }
    }

    fn count_syscalls(
        &mut self,
        scenario: &Scenario,
        shape: (usize, usize),
        server: usize,
        rows: &mut [RowResult],
    ) {
        let Ok(samples) = self.sample(scenario, shape, server, Scale::Quick, Count::Syscalls)
        else {
            return;
        };
        for (row, sample) in rows.iter_mut().zip(samples) {
            let operations = sample.done.operations as f64;
            row.lines[server].syscalls = sample.syscalls.map(|count| count as f64 / operations);
        }
    }

    fn sample(
        &mut self,
        scenario: &Scenario,
        shape: (usize, usize),
        server: usize,
        scale: Scale,
        count: Count,
    ) -> io::Result<Vec<Sample>> {
        self.samples += 1;
        let server = &self.servers[server];
        let target = Target {
            address: server.address,
            share: SHARE.to_owned(),
            user: USER.to_owned(),
            password: PASSWORD.to_owned(),
            dialect: Dialect::SMB_3_1_1,
            protection: self.options.protection(),
        };
        let names = Names { work: format!("work {}", self.samples), sample: self.samples };
        let processes = || server.processes();
        let realtime = self.options.realtime;
        let subject =
            Subject { target: &target, names: &names, shape, realtime, processes: &processes };
        let samples = self.runtime.block_on(sample::take(&subject, scenario, scale, count));
        self.folder.remove_work(&names.work);
        samples
    }
}

/// The load alone, on a server that somebody else has started.
pub(crate) fn run_against(target: &Target, options: &Options) -> io::Result<()> {
    let runtime = Builder::new().build()?;
    for scenario in wanted(options) {
        for shape in scenario.shapes {
            let sample = std::process::id().into();
            let names = Names { work: format!("files-bench {sample} {}", shape.0), sample };
            let realtime = false;
            let subject = Subject { target, names: &names, shape, realtime, processes: &Vec::new };
            let samples = sample::take(&subject, &scenario, options.scale, Count::Nothing);
            for (workload, sample) in scenario.workloads.iter().zip(runtime.block_on(samples)?) {
                let (name, unit, rate) = (workload.name(), workload.unit(), sample.rate());
                let load = sample.load_share() * 100.0;
                println!("{name}, {} × {}: {rate:.0} {unit}/s, load {load:.0} %", shape.0, shape.1);
            }
        }
    }
    Ok(())
}

/// The scenarios that have anything that is asked for.
fn wanted(options: &Options) -> Vec<Scenario> {
    let wants = |scenario: &Scenario| {
        scenario.workloads.iter().any(|workload| options.wants(workload.name()))
    };
    workloads::all().into_iter().filter(wants).collect()
}

fn names(rows: &[RowResult]) -> String {
    rows.iter().map(|row| row.name.as_str()).collect::<Vec<_>>().join("; ")
}
