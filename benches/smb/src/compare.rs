//! Medians, and ratios of samples that were taken in the same round.

use measure::pairs;
use measure::spread::Spread;

use crate::contenders::Contender;
use crate::sample::Sample;
use crate::shape::Shape;

/// All samples that were taken of a row with one contender.
pub(crate) struct Line {
    pub(crate) contender: Contender,
    pub(crate) samples: Vec<Sample>,
    /// For an operation.
    pub(crate) syscalls: Option<f64>,
    pub(crate) error: Option<String>,
}

/// A row when it is done.
pub(crate) struct RowResult {
    pub(crate) shape: Shape,
    pub(crate) lines: Vec<Line>,
}

impl Line {
    pub(crate) const fn new(contender: Contender) -> Self {
        Self { contender, samples: Vec::new(), syscalls: None, error: None }
    }

    pub(crate) fn spread(&self, of: impl Fn(&Sample) -> f64) -> Option<Spread> {
        Spread::of(self.samples.iter().map(of).collect())
    }

    pub(crate) fn median(&self, of: impl Fn(&Sample) -> f64) -> Option<f64> {
        self.spread(of).map(|spread| spread.median)
    }

    /// How many times the rate of `other` this one has.
    pub(crate) fn rate_ratio(&self, other: &Self) -> Option<Spread> {
        pairs::ratio(&self.samples, &other.samples, |ours, theirs| ours.rate() / theirs.rate())
    }

    /// How many times the CPU time of this one `other` takes.
    pub(crate) fn cpu_ratio(&self, other: &Self) -> Option<Spread> {
        pairs::ratio(&self.samples, &other.samples, |ours, theirs| theirs.cpu() / ours.cpu())
    }
}

impl RowResult {
    pub(crate) fn line(&self, name: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.contender.name() == name)
    }

    /// The floor with the least CPU time, if the row has any.
    pub(crate) fn floor(&self) -> Option<&Line> {
        let is_floor =
            |line: &&Line| matches!(line.contender, Contender::Floor(_) | Contender::Cipher(_));
        let floors = self.lines.iter().filter(is_floor);
        let cpu = floors.filter_map(|line| Some((line.median(Sample::cpu)?, line)));
        cpu.min_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, line)| line)
    }
}
