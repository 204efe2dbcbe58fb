//! Medians, and ratios of samples that were taken in the same round.

use measure::pairs::{self, Paired};
use measure::phase::Distance;
use measure::spread::Spread;

use crate::rows::{Entry, Row, Sample, Unit};
use crate::runtimes::Kind;

/// A sample and the circumstances.
pub(crate) struct Taken {
    pub(crate) round: usize,
    pub(crate) sample: Sample,
    /// Load and server are on two cores, so that their distance matters.
    pub(crate) crosses_cores: bool,
    pub(crate) distance: Distance,
    /// The cores' distance was the same before and after.
    pub(crate) is_steady: bool,
    /// Nobody else took much of the cores.
    pub(crate) is_undisturbed: bool,
}

impl Paired for Taken {
    fn round(&self) -> usize {
        self.round
    }

    fn is_good(&self) -> bool {
        self.is_undisturbed && (self.is_steady || !self.crosses_cores)
    }

    fn distance(&self) -> Option<Distance> {
        self.crosses_cores.then_some(self.distance)
    }
}

/// All samples of one entry of a row.
pub(crate) struct Line {
    pub(crate) entry: Entry,
    pub(crate) samples: Vec<Taken>,
    /// System calls per operation.
    pub(crate) syscalls: Option<f64>,
    pub(crate) error: Option<String>,
}

impl Line {
    pub(crate) fn new(entry: Entry) -> Self {
        Self { entry, samples: Vec::new(), syscalls: None, error: None }
    }

    /// The median of something about the samples, and the least and the most of it.
    pub(crate) fn spread(&self, of: impl Fn(&Sample) -> f64) -> Option<Spread> {
        Spread::of(self.samples.iter().map(|taken| of(&taken.sample)).collect())
    }
}

/// A row when it is done.
pub(crate) struct RowResult {
    pub(crate) name: String,
    pub(crate) unit: Unit,
    pub(crate) note: &'static str,
    pub(crate) lines: Vec<Line>,
}

impl RowResult {
    pub(crate) fn new(row: &dyn Row, lines: Vec<Line>) -> Self {
        Self { name: row.name(), unit: row.unit(), note: row.note(), lines }
    }

    /// Its name with its unit, and with one of its ways if that has a name.
    pub(crate) fn title(&self, way: &str) -> String {
        let comma = if way.is_empty() { "" } else { ", " };
        format!("{}{comma}{way} ({})", self.name, self.unit.text())
    }

    /// A runtime's line, in one of its ways.
    pub(crate) fn line(&self, name: &str, way: &str) -> Option<&Line> {
        let is_it = |line: &&Line| line.entry.contender.name == name && line.entry.way == way;
        self.lines.iter().find(is_it)
    }

    /// The ways in which Ringway does it; the first is the usual one.
    pub(crate) fn ways(&self) -> Vec<&'static str> {
        let ours = self.lines.iter().filter(|line| line.entry.kind() == Kind::Ringway);
        let mut ways = Vec::new();
        for way in ours.map(|line| line.entry.way) {
            if !ways.contains(&way) {
                ways.push(way);
            }
        }
        ways
    }

    /// The line among `others` that is hardest to beat for `ours`.
    pub(crate) fn hardest(&self, ours: &Line, others: impl Fn(&Entry) -> bool) -> Option<&Line> {
        let lines = self.lines.iter().filter(|line| others(&line.entry));
        let ratios = lines.filter_map(|line| Some((self.ratio(ours, line)?.median, line)));
        ratios.min_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, line)| line)
    }

    /// How good `ours` is beside `theirs`, above 1 being better.
    pub(crate) fn ratio(&self, ours: &Line, theirs: &Line) -> Option<Spread> {
        self.pairs(ours, theirs, |our, their| self.unit.ratio(our.value, their.value))
    }

    /// How much less CPU time `ours` takes than `theirs`, above 1 being less.
    pub(crate) fn cpu_ratio(&self, ours: &Line, theirs: &Line) -> Option<Spread> {
        self.pairs(ours, theirs, |our, their| their.cpu_micros() / our.cpu_micros())
    }

    fn pairs(
        &self,
        ours: &Line,
        theirs: &Line,
        ratio: impl Fn(&Sample, &Sample) -> f64,
    ) -> Option<Spread> {
        let ratio = |our: &Taken, their: &Taken| ratio(&our.sample, &their.sample);
        pairs::ratio(&ours.samples, &theirs.samples, ratio)
    }
}
