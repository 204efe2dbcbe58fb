//! Tables to read.

use std::fmt::Write;

use measure::pairs::Paired;
use measure::text::{self, number};

use crate::compare::{Line, RowResult};
use crate::machine::Machine;
use crate::rows::{self, Entry, Sample};
use crate::runtimes::Kind;

/// What the peers are compared with.
const OURS: [&str; 3] = ["ringway-uring", "ringway-hybrid", "ringway-epoll"];

/// What to know before reading the tables.
const GUIDE: &str = "\
# Ringway beside other runtimes

How Ringway does beside its peers on one machine, with each of its three backends: io_uring alone, the hybrid \
of both, epoll alone. The summary comes first; each row of it has a table of its own below, with what has to \
be known about it.

- Each sample is a fresh process, pinned to one core; the load, where there is one, has the other core and is \
the same program for all. Samples are taken in turn (A B C … A B C …, each round beginning with another), so \
that what changes on the machine in the meantime meets all alike.
- A ratio is the median over pairs of samples of the same round, with the least and the most of them; above 1, \
Ringway is better, whatever the unit. One whose range has 1 in it says that there is no difference to be \
seen. n is the number of pairs: a sample is left out if others used the cores meanwhile; and where the work \
crosses the cores, only samples are paired between which the distance of the cores had not changed, as it does \
on virtual machines.
- CPU is that of the process, its threads, and the kernel's threads that work for it. System calls are \
counted in a short run of their own, since counting costs time.
- The best peer is the line of the other runtimes that is hardest to beat for Ringway on io_uring, in the \
row's own unit; where that is not there, for the next backend.
- \"none\" is the same work in plain system calls, without a runtime: a floor, which no runtime can be expected \
to reach where it does more.
";

/// One row as a table.
pub(crate) fn row(result: &RowResult) -> String {
    let mut out = format!("### {}\n\n", result.title(""));
    let _ = writeln!(
        out,
        "| | median | least – most | CPU µs/op | syscalls/op | sleeps/op | more | uring ÷ | hybrid ÷ | epoll ÷ |\n\
         |---|--:|--:|--:|--:|--:|---|--:|--:|--:|"
    );
    for line in &result.lines {
        let _ = writeln!(out, "{}", table_line(result, line));
    }
    if !result.note.is_empty() {
        let _ = writeln!(out, "\n{}", result.note);
    }
    let _ = writeln!(out, "{}", distances(result));
    out
}

fn table_line(result: &RowResult, line: &Line) -> String {
    let label = &line.entry.label;
    if let Some(error) = &line.error {
        return format!("| {label} | failed: {error} | | | | | | | | |");
    }
    let value = line.spread(|sample| sample.value);
    let median = value.map_or_else(String::new, |value| number(value.median));
    let range = value.map_or_else(String::new, |value| {
        format!("{} – {}", number(value.least), number(value.most))
    });
    let cpu = line
        .spread(Sample::cpu_micros)
        .map_or_else(String::new, |cpu| format!("{:.3}", cpu.median));
    let calls = line.syscalls.map_or_else(|| "?".to_owned(), |calls| format!("{calls:.2}"));
    let sleeps =
        line.spread(Sample::sleeps).map_or_else(String::new, |n| format!("{:.2}", n.median));
    let way = result.ways().first().copied().unwrap_or_default();
    let ratios = OURS.map(|ours| {
        let ours = result.line(ours, way).filter(|ours| ours.entry.label != *label);
        ours.and_then(|ours| result.ratio(ours, line)).map_or_else(String::new, text::ratio)
    });
    let more = extras(line);
    let ratios = ratios.join(" | ");
    format!("| {label} | {median} | {range} | {cpu} | {calls} | {sleeps} | {more} | {ratios} |")
}

fn extras(line: &Line) -> String {
    let Some(first) = line.samples.first() else { return String::new() };
    let named = first.sample.extra.iter().enumerate().filter_map(|(index, (name, _))| {
        let spread = line.spread(|sample| sample.extra.get(index).map_or(f64::NAN, |e| e.1))?;
        Some(format!("{name} {}", number(spread.median)))
    });
    named.collect::<Vec<_>>().join(", ")
}

fn distances(result: &RowResult) -> String {
    let mut nanos: Vec<f64> =
        result.lines.iter().flat_map(|l| &l.samples).map(|t| t.distance.nanos()).collect();
    nanos.sort_by(f64::total_cmp);
    let bad = |line: &Line| line.samples.iter().filter(|taken| !taken.is_good()).count();
    let bad: usize = result.lines.iter().map(bad).sum();
    match (nanos.first(), nanos.last()) {
        (Some(least), Some(most)) => format!(
            "\nDistance of the cores: {least:.0} to {most:.0} ns. Samples left out of the ratios: {bad} of {}.",
            nanos.len()
        ),
        _ => String::new(),
    }
}

/// All rows in one table: how each backend does beside the best of its peers.
pub(crate) fn summary(results: &[RowResult]) -> String {
    let mut out = String::from(
        "Medians; ratios above 1: Ringway is better; in brackets the same for CPU time per operation.\n\n\
         | row | uring | hybrid | epoll | best peer | none | uring ÷ best peer | hybrid ÷ best peer | \
         epoll ÷ best peer | epoll ÷ tokio | uring ÷ none |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for result in results {
        for way in result.ways() {
            let _ = writeln!(out, "{}", summary_line(result, way));
        }
    }
    out
}

fn summary_line(result: &RowResult, way: &str) -> String {
    let ours = OURS.map(|name| result.line(name, way));
    let hardest = |kind| {
        let mut ours = ours.into_iter().flatten();
        ours.find_map(|ours| result.hardest(ours, |entry| entry.kind() == kind))
    };
    let (peer, floor) = (hardest(Kind::Peer), hardest(Kind::Floor));
    let [uring, _, epoll] = ours;
    let is_tokio = |entry: &Entry| entry.contender.name == "tokio";
    let tokio = epoll.and_then(|epoll| result.hardest(epoll, is_tokio));
    let against = |ours, theirs| both_ratios(result, ours, theirs);
    let cells = [
        result.title(way),
        ours.map(median).join(" | "),
        named_median(peer),
        named_median(floor),
        ours.map(|ours| against(ours, peer)).join(" | "),
        against(epoll, tokio),
        against(uring, floor),
    ];
    format!("| {} |", cells.join(" | "))
}

fn median(line: Option<&Line>) -> String {
    let value = line.and_then(|line| line.spread(|sample| sample.value));
    value.map_or_else(String::new, |value| number(value.median))
}

fn named_median(line: Option<&Line>) -> String {
    line.map_or_else(String::new, |some| format!("{} {}", some.entry.label, median(line)))
}

/// In the row's unit, and of CPU time.
fn both_ratios(result: &RowResult, ours: Option<&Line>, theirs: Option<&Line>) -> String {
    let ratios = ours.zip(theirs).and_then(|(ours, theirs)| {
        Some((result.ratio(ours, theirs)?, result.cpu_ratio(ours, theirs)?))
    });
    ratios
        .map_or_else(String::new, |(ratio, cpu)| format!("{:.2} ({:.2})", ratio.median, cpu.median))
}

/// What no figure says: to be read again whenever the figures are.
const NOTES: &str = include_str!("notes.md");

/// Everything, to be kept in the docs.
pub(crate) fn document(machine: &Machine, results: &[RowResult]) -> String {
    let rows: Vec<_> = results.iter().map(row).collect();
    let (summary, rows, all) = (summary(results), rows.join("\n"), rows::all().len());
    let missing = match results.len() {
        count if count < all => format!("These are {count} rows of {all}.\n\n"),
        _ => String::new(),
    };
    format!(
        "{GUIDE}\n## Summary\n\n{missing}{summary}\n{NOTES}\n## What it was measured on, and how to do it again\n\n\
         {machine}\n## Rows\n\n{rows}"
    )
}
