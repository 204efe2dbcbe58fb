//! What usmbd is to reach, row by row, and whether it does.

use std::fmt::Write;

use measure::spread::Spread;

use crate::compare::{Line, RowResult};
use crate::contenders::PEER;
use crate::shape::{Shape, Workload};
use smb_common::client::Protection;

/// What is asked of rows of one kind.
struct Aim {
    of: fn(&Shape) -> bool,
    asked: Asked,
}

enum Asked {
    /// No more of the peer's CPU time than this.
    CpuOfPeer(f64),
    /// No more of the floor's CPU time than this.
    CpuOfFloor(f64),
    /// At least so many times the peer's rate.
    RateOfPeer(f64),
}

/// The aims are for transfers of a mebibyte out of the page cache, and for small requests.
const AIMS: [Aim; 7] = [
    Aim { of: |it| is_bulk(it, Workload::Read) && is_plain(it), asked: Asked::CpuOfPeer(0.60) },
    Aim { of: |it| is_bulk(it, Workload::Read) && is_plain(it), asked: Asked::CpuOfFloor(1.15) },
    Aim {
        of: |it| is_bulk(it, Workload::Read) && is_plain(it) && it.connections == 1,
        asked: Asked::RateOfPeer(1.5),
    },
    Aim { of: |it| is_bulk(it, Workload::Write) && is_plain(it), asked: Asked::CpuOfPeer(0.70) },
    Aim {
        of: |it| (is_bulk(it, Workload::Read) || is_bulk(it, Workload::Write)) && !is_plain(it),
        asked: Asked::CpuOfPeer(0.70),
    },
    Aim { of: |it| it.workload == Workload::Echo, asked: Asked::CpuOfPeer(0.50) },
    Aim { of: |it| it.random, asked: Asked::RateOfPeer(2.0) },
];

fn is_bulk(shape: &Shape, workload: Workload) -> bool {
    shape.workload == workload && shape.size == 1 << 20 && !shape.random
}

fn is_plain(shape: &Shape) -> bool {
    shape.protection == Protection::Plain
}

impl Asked {
    fn name(&self) -> String {
        match self {
            Self::CpuOfPeer(most) => format!("at most {most:.2} × Samba's CPU time"),
            Self::CpuOfFloor(most) => format!("at most {most:.2} × the floor's CPU time"),
            Self::RateOfPeer(least) => format!("at least {least:.1} × Samba's rate"),
        }
    }

    /// What was found, of pairs of samples.
    fn found(&self, result: &RowResult, ours: &Line) -> Option<Spread> {
        let less_is_better = |ratio: Spread| Spread {
            median: ratio.median.recip(),
            least: ratio.most.recip(),
            most: ratio.least.recip(),
            ..ratio
        };
        match self {
            Self::CpuOfPeer(_) => ours.cpu_ratio(result.line(PEER)?).map(less_is_better),
            Self::CpuOfFloor(_) => ours.cpu_ratio(result.floor()?).map(less_is_better),
            Self::RateOfPeer(_) => ours.rate_ratio(result.line(PEER)?),
        }
    }

    fn is_reached(&self, found: f64) -> bool {
        match *self {
            Self::CpuOfPeer(most) | Self::CpuOfFloor(most) => found <= most,
            Self::RateOfPeer(least) => found >= least,
        }
    }
}

/// A table of the aims that these rows have.
pub(crate) fn table(results: &[RowResult]) -> String {
    let mut out =
        String::from("| row | aim | found | least – most | reached |\n|---|---|--:|--:|---|\n");
    for aim in &AIMS {
        for result in results.iter().filter(|result| (aim.of)(&result.shape)) {
            let found = result.line("usmbd").and_then(|ours| aim.asked.found(result, ours));
            let cells = found.map_or_else(
                || "| | no pair of samples".to_owned(),
                |found| {
                    let reached = if aim.asked.is_reached(found.median) { "yes" } else { "**no**" };
                    format!(
                        "{:.2} | {:.2} – {:.2} | {reached}",
                        found.median, found.least, found.most
                    )
                },
            );
            let _ = writeln!(out, "| {} | {} | {cells} |", result.shape, aim.asked.name());
        }
    }
    out
}
