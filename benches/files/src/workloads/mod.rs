//! What is done again and again, a file for each subject.

mod list;
mod names;
mod open;
mod tree;

use std::io;
use std::pin::Pin;
use std::time::Duration;

use smb_common::client::Share;

pub(crate) use names::{BIG, BIG_COUNT, Names};

/// One step of a workload, which ends with how many operations it was.
pub(crate) type Step<'a> = Pin<Box<dyn Future<Output = io::Result<u64>> + 'a>>;

/// How much of it makes a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Amount {
    /// As many steps as begin in this time.
    Time(Duration),
    /// This many steps, whose turns count from zero.
    Steps(u64),
}

/// Something to be done at a rate.
pub(crate) trait Workload {
    /// What the tables call it.
    fn name(&self) -> &'static str;

    /// What is counted.
    fn unit(&self) -> &'static str {
        "operations"
    }

    /// What goes before, in the same sessions, and is not measured.
    fn warm_up(&self, scale: Scale) -> Amount;

    fn amount(&self, scale: Scale) -> Amount;

    /// A step of the warm-up.
    fn prepare<'a>(&'a self, share: &'a Share, names: &'a Names, turn: u64) -> Step<'a> {
        self.step(share, names, turn)
    }

    /// No two steps of a sample have the same `turn`.
    fn step<'a>(&'a self, share: &'a Share, names: &'a Names, turn: u64) -> Step<'a>;
}

/// Workloads that follow upon one another in one sample: each has what the one before has left.
pub(crate) struct Scenario {
    pub(crate) workloads: Vec<Box<dyn Workload>>,
    /// What has to be known about them.
    pub(crate) note: &'static str,
    /// Connections, and requests in flight on each.
    pub(crate) shapes: [(usize, usize); 2],
}

pub(crate) fn all() -> Vec<Scenario> {
    vec![list::scenario(), open::scenario(), open::miss_scenario(), tree::scenario()]
}

/// How thoroughly everything is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scale {
    /// To see that it works.
    Quick,
    /// With this much time for what has no end of its own.
    Full(Duration),
}

impl Scale {
    /// A time, or next to none.
    fn time(self) -> Duration {
        match self {
            Self::Quick => Duration::from_millis(200),
            Self::Full(time) => time,
        }
    }
}
