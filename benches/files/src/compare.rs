//! Medians, and ratios of samples that were taken in the same round.

use measure::pairs;
use measure::spread::Spread;
use smb_common::servers::Contender;

use crate::sample::Sample;

/// All samples that were taken of a workload with one server.
pub(crate) struct Line {
    pub(crate) contender: Contender,
    pub(crate) samples: Vec<Sample>,
    /// For an operation.
    pub(crate) syscalls: Option<f64>,
    pub(crate) error: Option<String>,
}

/// A workload in one shape when it is done.
pub(crate) struct RowResult {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) note: &'static str,
    pub(crate) lines: Vec<Line>,
}

impl Line {
    pub(crate) const fn new(contender: Contender) -> Self {
        Self { contender, samples: Vec::new(), syscalls: None, error: None }
    }

    pub(crate) fn spread(&self, of: impl Fn(&Sample) -> f64) -> Option<Spread> {
        Spread::of(self.samples.iter().map(of).collect())
    }

    /// How many times the rate of `other` this one has.
    pub(crate) fn rate_ratio(&self, other: &Self) -> Option<Spread> {
        pairs::ratio(&self.samples, &other.samples, |ours, theirs| ours.rate() / theirs.rate())
    }

    /// How many times the CPU time of this one `other` takes.
    pub(crate) fn cpu_ratio(&self, other: &Self) -> Option<Spread> {
        pairs::ratio(&self.samples, &other.samples, |ours, theirs| {
            theirs.cpu_micros() / ours.cpu_micros()
        })
    }
}

impl RowResult {
    pub(crate) fn line(&self, name: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.contender.name == name)
    }
}
