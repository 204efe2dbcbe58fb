//! Medians, and ratios of samples that were taken in the same round.

use measure::spread::Spread;

use crate::sample::Sample;
use crate::servers::Contender;

/// All samples that were taken of a workload with one server.
pub(crate) struct Line {
    pub(crate) contender: Contender,
    /// With the round of each.
    pub(crate) samples: Vec<(usize, Sample)>,
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
        Spread::of(self.samples.iter().map(|(_, sample)| of(sample)).collect())
    }

    /// How many times the rate of `other` this one has.
    pub(crate) fn rate_ratio(&self, other: &Self) -> Option<Spread> {
        self.pairs(other, |ours, theirs| ours.rate() / theirs.rate())
    }

    /// How many times the CPU time of this one `other` takes.
    pub(crate) fn cpu_ratio(&self, other: &Self) -> Option<Spread> {
        self.pairs(other, |ours, theirs| theirs.cpu_micros() / ours.cpu_micros())
    }

    /// Over pairs of one round, both good, taken at the same distance of the cores.
    fn pairs(&self, other: &Self, ratio: impl Fn(&Sample, &Sample) -> f64) -> Option<Spread> {
        let ratios = self.samples.iter().filter_map(|(round, ours)| {
            let (_, theirs) = other.samples.iter().find(|(other, _)| other == round)?;
            let are_like = ours.distance.is_like(theirs.distance);
            (ours.is_good() && theirs.is_good() && are_like).then(|| ratio(ours, theirs))
        });
        Spread::of(ratios.collect())
    }
}

impl RowResult {
    pub(crate) fn line(&self, name: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.contender.name == name)
    }
}
