//! Tables to read, and what goes into the docs.

use std::fmt::Write;

use measure::pairs;
use measure::text::{self, limit_of_load, number, percent};

use crate::aims;
use crate::chart::{self, Group};
use crate::compare::{Line, RowResult};
use crate::contenders::{Contender, PEER, SERVERS, WAYS};
use crate::machine::Machine;
use crate::sample::Sample;
use crate::shape::Workload;

/// What the peers are compared with.
const OURS: [&str; 3] = ["usmbd", "usmbd-hybrid", "usmbd-epoll"];

/// Those of a row's table, behind the name.
const COLUMNS: usize = 15 + OURS.len();

/// A load that had more than this of its core may have been what was measured.
const LOAD_MAX: f64 = 0.9;

/// What to know before reading the tables.
const GUIDE: &str = "\
# usmbd beside Samba: bytes

How fast usmbd reads and writes, beside Samba on one machine, and beside floors: loops of plain system calls that move \
the same bytes without any protocol, and ciphers that move none.

- Everything goes over loopback, where the server's core does most of the client's receiving. What is sent is copied there \
by the kernel, and no number here says what a network card would do. What is spliced, or goes by sendfile, is not: the \
client's queue gets the pages themselves. Since the load has most of them dropped there, nobody looks at these bytes at \
all; a client that wants them copies them out of the page cache, at its own cost.
- Each server is pinned to one core, the load has the other one. The load is a client of the project's own, the same \
for all. 4 × 8 is four connections with eight requests in flight on each. Files are in the page cache, have no holes, \
and are read over and over through handles that cannot write, so that mappings which are kept are of use: the mapped \
floor's, and usmbd's (\"mapped anew\", below, is without).
- Of answers to reads the load looks at the head, and has the kernel drop the payload uncopied; one in 64, by chance, is \
received in full, and verified or decrypted, and its bytes compared with what the file holds. Answers that are not \
received in full are not authenticated by the client. Some of what was written is read again. Every answer's status and \
length are checked.
- Samples are taken in turn (A B C … A B C …, each round beginning with another), so that what changes on the machine \
in the meantime meets all alike.
- A ratio is the median over pairs of samples of the same round, with the least and the most of them; above 1, usmbd is \
better. n is the number of pairs: a sample is left out if others used the cores meanwhile or if the cores' distance had \
changed, as it does on virtual machines.
- CPU is that of all the server's processes and of the kernel's threads that work for them; the share is of its core. \
Memory is what is theirs alone. System calls are counted in a run of their own; what a ring does is none.
";

/// Of the rows that do not reach their aim; written by hand, from profiles, and to be gone over after a full run.
const SHORT: &str = include_str!("short.md");

/// Before the table of ways.
const WAYS_GUIDE: &str = "\
Which way bytes take, usmbd decides by a table (`usmbd probe --routes`). Here it was left one way where it would choose \
among several: medians of GB/s, with CPU time in s/GB in brackets, one connection. Long plain reads by clients on the same \
host go by splice or out of a mapping, whichever has cost less when both were measured, a few times a second; to another \
host a splice has nothing to copy, and a mapping has. Signed and encrypted reads are mapped only while nobody can \
write to the file, and signed ones teed only if the client is on another host as well; here it was told that it is, and \
nobody wrote. Files of 64 MiB are read over and over through one open, and from the second time on usmbd keeps what it has \
mapped: where each read is mapped anew stands what a file costs that is read once.
";

/// The unit of a row's rates and of its CPU time.
const fn units(workload: Workload) -> (&'static str, &'static str) {
    if workload.moves_bytes() { ("GB/s", "s/GB") } else { ("op/s", "µs/op") }
}

/// One row as a table.
pub(crate) fn row(result: &RowResult) -> String {
    let (rate, cpu) = units(result.shape.workload);
    let mut out = format!("### {} ({rate})\n\n", result.shape);
    let _ = writeln!(
        out,
        "| | median | least – most | op/s | CPU {cpu} | server | load | p50 µs | p90 | p99 | p99.9 | max | \
         syscalls/op | switches/op | memory MiB | verified | {} ÷ |\n|---|{}",
        OURS.join(" ÷ | "),
        "--:|".repeat(COLUMNS)
    );
    for line in &result.lines {
        let _ = writeln!(out, "{}", table_line(result, line));
    }
    let _ = writeln!(out, "{}", circumstances(result));
    out
}

fn table_line(result: &RowResult, line: &Line) -> String {
    let name = line.contender.name();
    if let Some(error) = &line.error {
        return format!("| {name} | failed: {error} |{}", " |".repeat(COLUMNS - 1));
    }
    let median = |of: &dyn Fn(&Sample) -> f64, text: &dyn Fn(f64) -> String| {
        line.median(of).map_or_else(String::new, text)
    };
    let range = line
        .spread(Sample::rate)
        .map_or_else(String::new, |rate| format!("{} – {}", number(rate.least), number(rate.most)));
    let ratios = OURS.map(|ours| {
        let ours = result.line(ours).filter(|ours| ours.contender != line.contender);
        ours.and_then(|ours| ours.rate_ratio(line)).map_or_else(String::new, text::ratio)
    });
    let verified: u64 = line.samples.iter().map(|sample| sample.verified).sum();
    let cells = [
        name.to_owned(),
        median(&Sample::rate, &number),
        range,
        median(&Sample::operation_rate, &number),
        median(&Sample::cpu, &number),
        median(&Sample::server_share, &percent),
        median(&Sample::load_share, &percent),
        latencies(line),
        line.syscalls.map_or_else(|| "?".to_owned(), |calls| format!("{calls:.2}")),
        median(&|sample| sample.per_operation(sample.switches), &|count| format!("{count:.2}")),
        median(&memory, &number),
        verified.to_string(),
        ratios.join(" | "),
    ];
    format!("| {} |", cells.join(" | "))
}

fn memory(sample: &Sample) -> f64 {
    sample.memory.map_or(f64::NAN, |bytes| bytes as f64 / f64::from(1 << 20))
}

/// The cells of all percentiles, and of the most, in microseconds.
fn latencies(line: &Line) -> String {
    let of = |get: &dyn Fn(([f64; 4], f64)) -> f64| {
        let median = line.median(|sample| sample.latency.map_or(f64::NAN, get));
        median.map_or_else(String::new, |seconds| format!("{:.0}", seconds * 1e6))
    };
    let percentiles = [0, 1, 2, 3].map(|index| of(&|latency| latency.0[index]));
    format!("{} | {}", percentiles.join(" | "), of(&|latency| latency.1))
}

/// Where the cores were, how many samples are left out, and whether the load was the limit.
fn circumstances(result: &RowResult) -> String {
    let samples = result.lines.iter().flat_map(|line| &line.samples);
    let Some(circumstances) = pairs::circumstances(samples) else { return String::new() };
    let is_limited =
        |line: &&Line| line.median(Sample::load_share).is_some_and(|share| share > LOAD_MAX);
    let limited: Vec<_> =
        result.lines.iter().filter(is_limited).map(|line| line.contender.name()).collect();
    format!("\n{circumstances} {}", limit_of_load(&limited))
}

/// All rows in one table.
pub(crate) fn summary(results: &[RowResult]) -> String {
    let servers = SERVERS.map(|server| server.name).join(" | ");
    let beside = OURS.map(|ours| format!("{ours} ÷ {PEER}")).join(" | ");
    let columns = "--:|".repeat(SERVERS.len() + OURS.len() + 2);
    let mut out = format!(
        "Medians, with CPU time in s/GB or µs/op in brackets; ratios above 1: usmbd is better; in brackets the same for \
         CPU time. The floor is the one with the least CPU time.\n\n\
         | row | {servers} | floor | {beside} | usmbd ÷ floor |\n|---|{columns}\n"
    );
    for result in results {
        let (unit, _) = units(result.shape.workload);
        let medians = SERVERS.map(|server| both(result.line(server.name)));
        let floor = result.floor();
        let named = floor.map_or_else(String::new, |floor| {
            format!("{} {}", floor.contender.name(), both(Some(floor)))
        });
        let beside = OURS.map(|name| both_ratios(result.line(name), result.line(PEER)));
        let over_floor = both_ratios(result.line("usmbd"), floor);
        let _ = writeln!(
            out,
            "| {} ({unit}) | {} | {named} | {} | {over_floor} |",
            result.shape,
            medians.join(" | "),
            beside.join(" | ")
        );
    }
    out
}

fn both(line: Option<&Line>) -> String {
    let medians =
        line.and_then(|line| Some((line.median(Sample::rate)?, line.median(Sample::cpu))));
    medians.map_or_else(String::new, |(rate, cpu)| match cpu {
        Some(cpu) => format!("{} ({})", number(rate), number(cpu)),
        None => number(rate),
    })
}

fn both_ratios(ours: Option<&Line>, theirs: Option<&Line>) -> String {
    let ratios = ours.zip(theirs).and_then(|(ours, theirs)| {
        Some((ours.rate_ratio(theirs)?.median, ours.cpu_ratio(theirs)?.median))
    });
    ratios.map_or_else(String::new, |(rate, cpu)| format!("{rate:.2} ({cpu:.2})"))
}

/// What each way of moving bytes is worth: all that were forced, beside the one that usmbd chooses.
pub(crate) fn ways(results: &[RowResult]) -> String {
    let names = WAYS.map(|way| way.name.trim_start_matches("usmbd, ")).join(" | ");
    let columns = "--:|".repeat(WAYS.len() + 1);
    let mut out = format!("| row | as usmbd chooses | {names} |\n|---|{columns}\n");
    let is_forced = |result: &&RowResult| WAYS.iter().any(|way| result.line(way.name).is_some());
    for result in results.iter().filter(is_forced) {
        let chosen = both(result.line("usmbd"));
        let forced = WAYS.map(|way| both(result.line(way.name))).join(" | ");
        let _ = writeln!(out, "| {} | {chosen} | {forced} |", result.shape);
    }
    out
}

/// A picture, and the name of its file.
pub(crate) struct Picture {
    pub(crate) file: &'static str,
    title: &'static str,
    pub(crate) svg: String,
}

const RATE: &str = "GB/s, more is better";

/// What a bar is as long as, and its unit.
type Measured = (fn(&Sample) -> f64, &'static str);

/// Of reads and writes over four connections: how fast, and at what price.
pub(crate) fn pictures(results: &[RowResult]) -> Vec<Picture> {
    use Workload::{Read, Write};
    let (rate, cpu): (Measured, Measured) =
        ((Sample::rate, RATE), (Sample::cpu, "s/GB, less is better"));
    let kinds = [
        ("bytes-read.svg", "Reading", Read, rate),
        ("bytes-read-cpu.svg", "Reading, CPU time of the server", Read, cpu),
        ("bytes-write.svg", "Writing", Write, rate),
        ("bytes-write-cpu.svg", "Writing, CPU time of the server", Write, cpu),
    ];
    let picture = |(file, title, workload, (of, unit)): (_, _, _, Measured)| {
        let is_shown = |result: &&RowResult| {
            let shape = &result.shape;
            shape.workload == workload && shape.connections == 4 && !shape.random
        };
        let groups: Vec<_> =
            results.iter().filter(is_shown).map(|result| group(result, (of, unit))).collect();
        Picture { file, title, svg: chart::bars(title, unit, &groups) }
    };
    kinds.map(picture).into()
}

/// The servers of a row, and its floor.
fn group(result: &RowResult, (of, unit): Measured) -> Group {
    let servers = SERVERS.iter().filter_map(|server| result.line(server.name));
    // A cipher alone, which moves no byte, has a price to compare with, but is too fast for one scale.
    let is_in_scale =
        |line: &&Line| unit != RATE || !matches!(line.contender, Contender::Cipher(_));
    let lines = servers.chain(result.floor().filter(is_in_scale));
    let bar = |line: &Line| (line.contender.name().to_owned(), line.median(of).unwrap_or(f64::NAN));
    Group { name: result.shape.to_string(), bars: lines.map(bar).collect() }
}

/// Everything, to be kept in the docs.
pub(crate) fn document(machine: &Machine, results: &[RowResult], torture: &str) -> String {
    let rows: Vec<_> = results.iter().map(row).collect();
    let (summary, rows) = (summary(results), rows.join("\n"));
    let (aims, ways) = (aims::table(results), ways(results));
    let mut shown = String::new();
    for picture in pictures(results) {
        let _ = writeln!(shown, "![{}]({})\n", picture.title, picture.file);
    }
    format!(
        "{GUIDE}\n## Aims\n\n{aims}\n{SHORT}\n## Ways to move bytes\n\n{WAYS_GUIDE}\n{ways}\n## In pictures\n\n{shown}## Summary\n\n{summary}\n\
         ## A second client\n\n{torture}\n\
         ## What it was measured on, and how to do it again\n\n{machine}\n## Rows\n\n{rows}"
    )
}
