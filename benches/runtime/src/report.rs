//! Tables to read, and JSON to keep.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::compare::{Line, RowResult, Spread};
use crate::machine::Machine;
use crate::rows::{Sample, Unit};
use crate::runtimes::Kind;

/// What the peers are compared with.
const OURS: [&str; 3] = ["ringway-uring", "ringway-hybrid", "ringway-epoll"];

/// What to know before reading the tables.
const LEGEND: &str = "\
Each sample is a fresh process, pinned to one core; the load, where there is one, has the other. Samples \
are taken in turn (A B C … A B C …). The ratios are medians over pairs of one round; above 1, Ringway is \
better. Where the work crosses the cores, only samples taken at the same distance of the cores are paired, \
and n says how many pairs there were. CPU is that of the process and of the kernel's threads that work for \
it; system calls are counted in a short run of their own.";

/// One row as a table.
pub(crate) fn row(result: &RowResult) -> String {
    let unit = result.unit.text();
    let mut out = format!("### {} ({unit})\n\n", result.name);
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
    let ratios = OURS.map(|ours| {
        let ratio = result.line(ours).and_then(|ours| result.ratio(ours, line));
        ratio.filter(|_| ours != label).map_or_else(String::new, ratio_text)
    });
    let more = extras(line);
    let ratios = ratios.join(" | ");
    format!("| {label} | {median} | {range} | {cpu} | {calls} | {sleeps} | {more} | {ratios} |")
}

fn ratio_text(ratio: Spread) -> String {
    format!("{:.2} (n={})", ratio.median, ratio.count)
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
    let bad = |line: &Line| {
        line.samples.iter().filter(|taken| !taken.is_good(result.crosses_cores)).count()
    };
    let bad: usize = result.lines.iter().map(bad).sum();
    match (nanos.first(), nanos.last()) {
        (Some(least), Some(most)) => format!(
            "\nDistance of the cores: {least:.0} to {most:.0} ns. Samples left out of the ratios: {bad} of {}.",
            nanos.len()
        ),
        _ => String::new(),
    }
}

fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

/// All rows in one table: how each backend does beside the best of its peers, and in brackets the same for
/// CPU time per operation.
pub(crate) fn summary(results: &[RowResult]) -> String {
    let mut out = String::from(
        "### Summary\n\nIn brackets the same for CPU time per operation, and the peer that it is beside.\n\n\
         | row | uring ÷ best peer | epoll ÷ tokio | hybrid ÷ uring | uring ÷ none |\n\
         |---|--:|--:|--:|--:|\n",
    );
    for result in results {
        let against = |ours: &str, theirs: &str| {
            let (ours, theirs) = (result.line(ours)?, result.line(theirs)?);
            let (ratio, cpu) = (result.ratio(ours, theirs)?, result.cpu_ratio(ours, theirs)?);
            Some(format!("{:.2} ({:.2})", ratio.median, cpu.median))
        };
        let [uring, hybrid, epoll] = OURS;
        let best = best_peer(result, uring).unwrap_or_default();
        let tokio = against(epoll, "tokio").unwrap_or_default();
        let modes = against(hybrid, uring).unwrap_or_default();
        let none = against(uring, "none").unwrap_or_default();
        let _ = writeln!(out, "| {} | {best} | {tokio} | {modes} | {none} |", result.name);
    }
    out
}

/// The ratios to the peers that are hardest to beat, and their names.
fn best_peer(result: &RowResult, ours: &str) -> Option<String> {
    let ours = result.line(ours)?;
    let hardest = |ratio: &dyn Fn(&Line) -> Option<Spread>| {
        let peers = result.lines.iter().filter(|line| line.entry.kind() == Kind::Peer);
        let ratios = peers.filter_map(|peer| Some((ratio(peer)?.median, &peer.entry.label)));
        ratios.min_by(|a, b| a.0.total_cmp(&b.0))
    };
    let (ratio, peer) = hardest(&|peer| result.ratio(ours, peer))?;
    let (cpu, cpu_peer) = hardest(&|peer| result.cpu_ratio(ours, peer))?;
    Some(format!("{ratio:.2} {peer} ({cpu:.2} {cpu_peer})"))
}

/// Everything, to be kept in the docs.
pub(crate) fn document(machine: &Machine, results: &[RowResult]) -> String {
    let rows: Vec<_> = results.iter().map(row).collect();
    format!("{machine}\n{LEGEND}\n\n{}\n{}", summary(results), rows.join("\n"))
}

/// Everything, sample by sample.
pub(crate) fn json(machine: &Machine, results: &[RowResult]) -> String {
    let settings: Vec<_> = machine
        .settings
        .iter()
        .map(|(name, text)| json!({"name": name, "settings": text}))
        .collect();
    let versions: Vec<_> =
        machine.versions.iter().map(|(name, v)| json!({"name": name, "version": v})).collect();
    let value = json!({
        "kernel": machine.kernel,
        "cpu": machine.cpu,
        "cores": machine.cores,
        "realtime": machine.realtime,
        "runtimes": settings,
        "packages": versions,
        "rows": results.iter().map(row_json).collect::<Vec<_>>(),
    });
    format!("{value:#}\n")
}

fn row_json(result: &RowResult) -> Value {
    let lines = result.lines.iter().map(|line| {
        json!({
            "name": line.entry.label,
            "error": line.error,
            "syscalls_per_op": line.syscalls,
            "samples": line.samples.iter().map(|taken| {
                json!({
                    "round": taken.round,
                    "value": taken.sample.value,
                    "ops": taken.sample.ops,
                    "cpu_us_per_op": taken.sample.cpu_micros(),
                    "sleeps_per_op": taken.sample.sleeps(),
                    "wait_for_core_per_s": taken.sample.usage.delay.as_secs_f64()
                        / taken.sample.usage.wall.as_secs_f64(),
                    "core_distance_ns": taken.distance.nanos(),
                    "steady": taken.is_steady,
                    "undisturbed": taken.is_undisturbed,
                    "extra": extra_json(&taken.sample),
                })
            }).collect::<Vec<_>>(),
        })
    });
    let better = if result.unit == Unit::KiloPerSecond { "more" } else { "less" };
    json!({
        "row": result.name,
        "unit": result.unit.text(),
        "better": better,
        "lines": lines.collect::<Vec<_>>(),
    })
}

fn extra_json(sample: &Sample) -> Value {
    sample.extra.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect()
}
