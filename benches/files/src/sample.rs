//! One measurement: a scenario carried out with one server, and what it took.

use std::io;
use std::time::Duration;

use measure::pairs::Paired;
use measure::phase::Distance;
use measure::syscalls::{Count, Counters};
use measure::{calm, cores};
use smb_common::client::Target;
use smb_common::servers::Usage;

use crate::load::{Done, Load};
use crate::workloads::{Names, Scale, Scenario, Workload};

/// How a workload went.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) round: usize,
    pub(crate) done: Done,
    /// CPU time of the server, and of the load.
    pub(crate) server: Duration,
    pub(crate) load: Duration,
    pub(crate) syscalls: Option<u64>,
    pub(crate) distance: Distance,
    /// The cores' distance was the same before and after.
    pub(crate) is_steady: bool,
    /// Nobody else took much of the cores.
    pub(crate) is_undisturbed: bool,
}

impl Paired for Sample {
    fn round(&self) -> usize {
        self.round
    }

    fn is_good(&self) -> bool {
        self.is_steady && self.is_undisturbed
    }

    fn distance(&self) -> Option<Distance> {
        Some(self.distance)
    }
}

impl Sample {
    /// Operations per second.
    pub(crate) fn rate(&self) -> f64 {
        self.done.operations as f64 / self.done.time.as_secs_f64()
    }

    pub(crate) fn cpu_micros(&self) -> f64 {
        self.server.as_secs_f64() * 1e6 / self.done.operations as f64
    }

    /// How much of its core the server used.
    pub(crate) fn server_share(&self) -> f64 {
        self.server.as_secs_f64() / self.done.time.as_secs_f64()
    }

    /// How much of its core the load used.
    pub(crate) fn load_share(&self) -> f64 {
        self.load.as_secs_f64() / self.done.time.as_secs_f64()
    }
}

/// What is measured.
pub(crate) struct Subject<'a> {
    pub(crate) target: &'a Target,
    pub(crate) names: &'a Names,
    pub(crate) shape: (usize, usize),
    /// Nobody else can disturb.
    pub(crate) realtime: bool,
    /// The server's processes, if they are ours to look at. Asked when all connections are there.
    pub(crate) processes: &'a dyn Fn() -> Vec<u32>,
}

/// A sample of each workload of a scenario, in order.
pub(crate) async fn take(
    subject: &Subject<'_>,
    scenario: &Scenario,
    scale: Scale,
    count: Count,
) -> io::Result<Vec<Sample>> {
    let load = Load::connect(subject.target, subject.shape).await?;
    load.make_folder(&subject.names.work).await?;
    let processes = (subject.processes)();
    let mut samples = Vec::new();
    for workload in &scenario.workloads {
        let workload = workload.as_ref();
        load.prepare(workload, subject.names, workload.warm_up(scale)).await?;
        samples.push(measure(&load, subject, &processes, workload, scale, count).await?);
    }
    Ok(samples)
}

async fn measure(
    load: &Load,
    subject: &Subject<'_>,
    processes: &[u32],
    workload: &dyn Workload,
    scale: Scale,
    count: Count,
) -> io::Result<Sample> {
    let before = Distance::probe(cores::ALL);
    let counters = match count {
        Count::Syscalls => Counters::start(processes).ok(),
        Count::Nothing => None,
    };
    let start = Usage::until_now(processes);
    let done = load.run(workload, subject.names, workload.amount(scale)).await?;
    let used = Usage::until_now(processes).since(&start);
    let syscalls = counters.map(|counters| counters.sum());
    let after = Distance::probe(cores::ALL);
    Ok(Sample {
        round: 0,
        done,
        server: used.server,
        load: used.load,
        syscalls,
        distance: before.between(after),
        is_steady: before.is_like(after),
        // The kernel accounts for this in ticks, which says nothing about a short time.
        is_undisturbed: subject.realtime
            || scale == Scale::Quick
            || calm::is_undisturbed(used.wall, used.foreign, used.delay),
    })
}
