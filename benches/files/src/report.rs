//! Tables to read.

use std::fmt::Write;

use measure::pairs;
use measure::spread::Spread;
use measure::text::{self, limit_of_load, number, percent};

use crate::compare::{Line, RowResult};
use crate::machine::Machine;

/// What the peers are compared with.
const OURS: &str = "usmbd";

/// The columns of the summary: what each of ours is compared with.
const PAIRS: [(&str, &str); 4] = [
    (OURS, "samba"),
    (OURS, "samba-windows"),
    ("usmbd-epoll", "samba"),
    ("usmbd-epoll", "samba-windows"),
];

/// A load that had more than this of its core may have been what was measured.
const LOAD_MAX: f64 = 0.9;

/// What to know before reading the tables.
const GUIDE: &str = "\
# usmbd beside Samba, with many files

How fast usmbd answers what is about files rather than their contents, beside Samba on one machine. The aim is twice \
Samba's rate.

- Each server is pinned to one core, the load has the other one. The load is a client of the project's own, the same \
for all; 1 × 1 is one connection with one request in flight, which waits for both sides in turn, 4 × 8 is four \
connections with eight on each, which keeps the server busy.
- Samples are taken in turn (A B C … A B C …, each round beginning with another), so that what changes on the machine \
in the meantime meets all alike. Connections are new for each sample; caches are warm.
- A ratio is the median over pairs of samples of the same round, with the least and the most of them; above 1, usmbd is \
better. n is the number of pairs: a sample is left out if others used the cores meanwhile or if the cores' distance had \
changed, as it does on virtual machines.
- CPU is that of all the server's processes and of the kernel's threads that work for them; the share is of its core. \
System calls are counted in a run of their own; what a ring does is none.
- Every answer is checked: statuses, counts, names, sizes.
";

/// One row as a table.
pub(crate) fn row(result: &RowResult) -> String {
    let mut out = format!("### {} ({}/s)\n\n", result.name, result.unit);
    let _ = writeln!(
        out,
        "| | median | least – most | CPU µs/op | server | load | syscalls/op | usmbd ÷ | usmbd-epoll ÷ |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|"
    );
    for line in &result.lines {
        let _ = writeln!(out, "{}", table_line(result, line));
    }
    if !result.note.is_empty() {
        let _ = writeln!(out, "\n{}", result.note);
    }
    let _ = writeln!(out, "{}", circumstances(result));
    out
}

fn table_line(result: &RowResult, line: &Line) -> String {
    let name = line.contender.name;
    if let Some(error) = &line.error {
        return format!("| {name} | failed: {error} | | | | | | | |");
    }
    let of = |spread: Option<Spread>, text: &dyn Fn(Spread) -> String| {
        spread.map_or_else(String::new, text)
    };
    let rate = line.spread(|sample| sample.rate());
    let ratios = [OURS, "usmbd-epoll"].map(|ours| {
        let ours = result.line(ours).filter(|ours| ours.contender.name != name);
        of(ours.and_then(|ours| ours.rate_ratio(line)), &text::ratio)
    });
    let cells = [
        name.to_owned(),
        of(rate, &|rate| number(rate.median)),
        of(rate, &|rate| format!("{} – {}", number(rate.least), number(rate.most))),
        of(line.spread(|sample| sample.cpu_micros()), &|cpu| format!("{:.2}", cpu.median)),
        of(line.spread(|sample| sample.server_share()), &|share| percent(share.median)),
        of(line.spread(|sample| sample.load_share()), &|share| percent(share.median)),
        line.syscalls.map_or_else(|| "?".to_owned(), |calls| format!("{calls:.2}")),
        ratios.join(" | "),
    ];
    format!("| {} |", cells.join(" | "))
}

/// Where the cores were, how many samples are left out, and whether the load was the limit.
fn circumstances(result: &RowResult) -> String {
    let samples = result.lines.iter().flat_map(|line| &line.samples);
    let Some(circumstances) = pairs::circumstances(samples) else { return String::new() };
    let limited = result.lines.iter().filter(|line| {
        line.spread(|sample| sample.load_share()).is_some_and(|share| share.median > LOAD_MAX)
    });
    let limited: Vec<_> = limited.map(|line| line.contender.name).collect();
    format!("\n{circumstances} {}", limit_of_load(&limited))
}

/// All rows in one table.
pub(crate) fn summary(results: &[RowResult]) -> String {
    let mut out = String::from(
        "Medians; ratios above 1: usmbd is better; in brackets the same for CPU time per operation.\n\n\
         | row | usmbd | usmbd-epoll | samba | samba-windows | usmbd ÷ samba | usmbd ÷ samba-windows | \
         usmbd-epoll ÷ samba | usmbd-epoll ÷ samba-windows |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for result in results {
        let median = |name| {
            let rate = result.line(name).and_then(|line| line.spread(|sample| sample.rate()));
            rate.map_or_else(String::new, |rate| number(rate.median))
        };
        let medians = [OURS, "usmbd-epoll", "samba", "samba-windows"].map(median);
        let ratios = PAIRS.map(|(ours, theirs)| both_ratios(result, ours, theirs));
        let (medians, ratios) = (medians.join(" | "), ratios.join(" | "));
        let _ = writeln!(out, "| {} ({}/s) | {medians} | {ratios} |", result.name, result.unit);
    }
    out
}

fn both_ratios(result: &RowResult, ours: &str, theirs: &str) -> String {
    let lines = result.line(ours).zip(result.line(theirs));
    let ratios = lines.and_then(|(ours, theirs)| {
        Some((ours.rate_ratio(theirs)?.median, ours.cpu_ratio(theirs)?.median))
    });
    ratios.map_or_else(String::new, |(rate, cpu)| format!("{rate:.2} ({cpu:.2})"))
}

/// What no figure says: to be read again whenever the figures are.
const NOTES: &str = include_str!("notes.md");

/// Everything, to be kept in the docs.
pub(crate) fn document(machine: &Machine, results: &[RowResult]) -> String {
    let rows: Vec<_> = results.iter().map(row).collect();
    let (summary, rows) = (summary(results), rows.join("\n"));
    format!(
        "{GUIDE}\n## Summary\n\n{summary}\n{NOTES}\n## What it was measured on, and how to do it again\n\n{machine}\n\
         ## Rows\n\n{rows}"
    )
}
