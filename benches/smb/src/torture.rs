//! Samba's own benches as a second, independent client: smb2.bench.read, write and echo, against each server. It copies
//! every byte that it reads, so its rates say less about servers than ours; CPU time of the server is what to compare. What
//! its reads are of is a hole of one request's length.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use measure::cores;
use measure::text::{number, percent};
use regex_lite::Regex;
use smb_common::servers::{PASSWORD, SHARE, Server, USER, Usage};

use crate::cli::Options;
use crate::contenders::Running;

const TESTS: [&str; 3] = ["read", "write", "echo"];
const CONNECTIONS: [usize; 2] = [1, 4];
const SIZE: usize = 1 << 20;
const DEPTH: usize = 4;

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

pub(crate) fn run(options: &Options, running: &[Running]) -> io::Result<()> {
    let tree = options.torture.as_deref();
    let tree = tree.ok_or_else(|| io::Error::other("smbtorture could not be had"))?;
    println!(
        "smbtorture, 1 MiB, {DEPTH} in flight on each connection; it reads holes and copies what it receives:\n\n\
         | test | server | round | GB/s or op/s | CPU s/GB or µs/op | server |\n|---|---|--:|--:|--:|--:|"
    );
    for (test, connections) in TESTS.iter().flat_map(|test| CONNECTIONS.map(|count| (test, count)))
    {
        for round in 0..options.rounds {
            for server in in_turn(running, round) {
                let line = one(tree, server, (test, connections), options.time)
                    .unwrap_or_else(|error| format!("failed: {error} | | "));
                let name = server.contender.name;
                println!("| {test}, {connections} × {DEPTH} | {name} | {} | {line} |", round + 1);
            }
        }
    }
    Ok(())
}

/// The servers, each round beginning with another one.
fn in_turn(running: &[Running], round: usize) -> Vec<&Server> {
    let mut servers: Vec<_> = running
        .iter()
        .filter_map(|running| match running {
            Running::Server(server) => Some(server),
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
) -> io::Result<String> {
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
    let begin = Usage::until_now(&server.processes());
    // A server of one process for each connection has them only meanwhile.
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let watch = std::thread::spawn(move || child.wait_with_output());
    let mut end = Usage::until_now(&server.processes());
    while !watch.is_finished() {
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
    Ok(format!("{} | {} | {}", number(rate), number(cost), percent(cpu / wall)))
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
