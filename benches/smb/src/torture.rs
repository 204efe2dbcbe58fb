//! Samba's own benches as a second, independent client: smb2.bench.read, write and echo, against each server. It copies
//! every byte that it reads, so its rates say less about servers than ours; CPU time of the server is what to compare. What
//! its reads are of is a hole of one request's length.

use std::fmt::Write;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use measure::cores;
use measure::pairs::{Paired, ratio};
use measure::phase::Distance;
use measure::spread::Spread;
use measure::text::{number, percent};
use regex_lite::Regex;
use rustix::process::{Pid, Signal, kill_process_group};
use smb_common::servers::{PASSWORD, SHARE, Server, USER, Usage};

use crate::cli::Options;
use crate::contenders::{PEER, Running, SERVERS};

const TESTS: [&str; 3] = ["read", "write", "echo"];
const CONNECTIONS: [usize; 2] = [1, 4];
const SIZE: usize = 1 << 20;
const DEPTH: usize = 4;

/// How long it may take beyond its time, to begin and to end: now and then it never does.
const PATIENCE: Duration = Duration::from_secs(30);

/// What runs a program of the tree: $0 the tree.
const ENTER: &str =
    "for m in proc sys dev; do mount --rbind \"/$m\" \"$0/$m\"; done; exec chroot \"$0\" \"$@\"";

/// What one of its tests says at last.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Said {
    operations: f64,
    /// Both per second.
    bytes: f64,
}

/// What came of one run.
struct Taken {
    round: usize,
    rate: f64,
    /// Seconds per GB, or microseconds per operation.
    cost: f64,
    /// Of the server's core.
    share: f64,
}

impl Paired for Taken {
    fn round(&self) -> usize {
        self.round
    }

    fn is_good(&self) -> bool {
        true
    }

    fn distance(&self) -> Option<Distance> {
        None
    }
}

/// Before the table.
const GUIDE: &str = "\
smbtorture's own `smb2.bench.read`, `write` and `echo`, of a mebibyte, with four requests in flight on each connection; it \
reads holes and copies what it receives, so that its rates say less about servers than those above: what to compare is \
their CPU time. Medians; ratios, of runs in the same round, above 1: usmbd is better.
";

/// Runs them, and makes a table of what comes of it.
pub(crate) fn run(options: &Options, running: &[Running]) -> io::Result<String> {
    let tree = options.torture.as_deref();
    let tree = tree.ok_or_else(|| io::Error::other("smbtorture could not be had"))?;
    let mut out = format!(
        "{GUIDE}\n| test | server | GB/s or op/s | CPU s/GB or µs/op | server | rate ÷ {PEER} | CPU ÷ {PEER} |\n\
         |---|---|--:|--:|--:|--:|--:|\n"
    );
    for (test, connections) in TESTS.iter().flat_map(|test| CONNECTIONS.map(|count| (*test, count)))
    {
        eprintln!("smbtorture: {test}, {connections} × {DEPTH}");
        let mut lines: Vec<(&str, Vec<Taken>)> = Vec::new();
        for round in 0..options.rounds {
            for server in in_turn(running, round) {
                let name = server.contender.name;
                match one(tree, server, (test, connections), options.time) {
                    Ok(taken) => {
                        let taken = Taken { round, ..taken };
                        match lines.iter_mut().find(|line| line.0 == name) {
                            Some(line) => line.1.push(taken),
                            None => lines.push((name, vec![taken])),
                        }
                    }
                    Err(error) => eprintln!("  {name} failed: {error}"),
                }
            }
        }
        for server in SERVERS {
            let Some(line) = lines.iter().find(|line| line.0 == server.name) else { continue };
            let peer = lines.iter().find(|line| line.0 == PEER);
            let _ = writeln!(out, "| {test}, {connections} × {DEPTH} | {}", row(line, peer));
        }
    }
    Ok(out)
}

/// A server's cells, with what they are beside the peer's.
fn row((name, taken): &(&str, Vec<Taken>), peer: Option<&(&str, Vec<Taken>)>) -> String {
    let median =
        |of: fn(&Taken) -> f64| Spread::of(taken.iter().map(of).collect()).map(|it| it.median);
    let beside = |of: fn(&Taken, &Taken) -> f64| {
        let spread = peer.filter(|peer| peer.0 != *name).and_then(|peer| ratio(taken, &peer.1, of));
        spread.map_or_else(String::new, |spread| {
            format!("{:.2} ({:.2} – {:.2})", spread.median, spread.least, spread.most)
        })
    };
    format!(
        "{name} | {} | {} | {} | {} | {} |",
        median(|it| it.rate).map_or_else(String::new, number),
        median(|it| it.cost).map_or_else(String::new, number),
        median(|it| it.share).map_or_else(String::new, percent),
        beside(|ours, theirs| ours.rate / theirs.rate),
        beside(|ours, theirs| theirs.cost / ours.cost),
    )
}

/// The servers, each round beginning with another one.
fn in_turn(running: &[Running], round: usize) -> Vec<&Server> {
    let mut servers: Vec<_> = running
        .iter()
        .filter_map(|running| match running {
            Running::Server(server) => {
                SERVERS.iter().any(|it| it.name == server.contender.name).then_some(server)
            }
            _ => None,
        })
        .collect();
    let count = servers.len().max(1);
    servers.rotate_left(round % count);
    servers
}

fn one(
    tree: &Path,
    server: &Server,
    (test, connections): (&str, usize),
    time: Duration,
) -> io::Result<Taken> {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &cores::LOAD.to_string(), "unshare", "--mount", "sh", "-c", ENTER]);
    command.arg(tree).arg("smbtorture").arg(format!("//127.0.0.1/{SHARE}"));
    command.args(["-p", &server.address.port().to_string(), "-U", &format!("{USER}%{PASSWORD}")]);
    // It counts in whole seconds.
    let seconds = time.as_secs_f64().ceil() as u64;
    for (name, value) in
        [("timelimit", seconds), ("io_size", SIZE as u64), ("qdepth", DEPTH as u64)]
            .into_iter()
            .chain([("nprocs", connections as u64)])
    {
        command.arg(format!("--option=torture:{name}={value}"));
    }
    command.arg(format!("smb2.bench.{test}")).stdin(Stdio::null());
    // To be ended with its children.
    command.process_group(0);
    let begin = Usage::until_now(&server.processes());
    // A server of one process for each connection has them only meanwhile.
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (process, deadline) = (Pid::from_child(&child), Instant::now() + time + PATIENCE);
    let watch = std::thread::spawn(move || child.wait_with_output());
    let mut end = Usage::until_now(&server.processes());
    while !watch.is_finished() {
        if Instant::now() >= deadline {
            // Nobody waits for it before this, so the number is still its own.
            kill_process_group(process, Signal::KILL)?;
        }
        std::thread::sleep(Duration::from_millis(50));
        end = Usage::until_now(&server.processes()).with_the_ended(end);
    }
    let output = watch.join().map_err(|_| io::Error::other("nobody waited for it"))??;
    // The figures are on one of them, what came of it is on the other.
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    let figures = parse(&out).or_else(|| parse(&err));
    let Some(said) = figures.filter(|_| output.status.success()) else {
        let last = err.lines().chain(out.lines()).rfind(|line| !line.trim().is_empty());
        return Err(io::Error::other(last.unwrap_or("it says nothing").trim().to_owned()));
    };
    let used = end.since(&begin);
    let (cpu, wall) = (used.server.as_secs_f64(), seconds as f64);
    let (rate, cost) = if said.bytes > 0.0 {
        (said.bytes / 1e9, cpu / (said.bytes * wall) * 1e9)
    } else {
        (said.operations, cpu / (said.operations * wall) * 1e6)
    };
    Ok(Taken { round: 0, rate, cost, share: cpu / wall })
}

/// The last of the lines that a test writes over each other.
fn parse(output: &str) -> Option<Said> {
    let regex = Regex::new(r"second: [\w -]+\[num/s=([\d,]+)(?:;bytes/s=([\d,]+))?").ok()?;
    let last = regex.captures_iter(output).last()?;
    let value = |index| {
        let text = last.get(index).map_or("0", |found| found.as_str());
        text.replace(',', "").parse::<f64>().ok()
    };
    Some(Said { operations: value(1)?, bytes: value(2)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_figure_of_a_test_counts() {
        // What smbtorture 4.25 wrote.
        let output = "Running for 2 seconds\n\
            1.00 second: read[num/s=2,686;bytes/s=2,816,475,136;avslat=0.001473;minlat=0.000291;maxlat=0.007315]      \r\
            2.00 second: read[num/s=2,666;bytes/s=2,795,503,616;avslat=0.001484;minlat=0.000291;maxlat=0.007315]\n\
            2.00 seconds\n";
        assert_eq!(parse(output), Some(Said { operations: 2666.0, bytes: 2_795_503_616.0 }));
        let output =
            "1.00 second: echo[num/s=31,024;avslat=0.000128;minlat=0.000019;maxlat=0.002]\n";
        assert_eq!(parse(output), Some(Said { operations: 31_024.0, bytes: 0.0 }));
        assert_eq!(parse("failure: read [no]"), None);
    }
}
