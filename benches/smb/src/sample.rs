//! One measurement: a contender under load in one shape, and what it took.

use std::cell::OnceCell;
use std::io;
use std::time::Duration;

use measure::pairs::Paired;
use measure::phase::Distance;
use measure::syscalls::{Count, Counters};
use measure::{calm, cores, sys};
use smb_common::client::Target;
use smb_common::servers::Usage;

use crate::contenders::Running;
use crate::floors;
use crate::load::{Load, Verify};
use crate::pattern::Pattern;
use crate::shape::Shape;

/// Which of all latencies are told.
pub(crate) const PERCENTILES: [f64; 4] = [0.5, 0.9, 0.99, 0.999];

/// Before anything counts.
const WARM_UP: Duration = Duration::from_millis(300);

/// How long system calls are counted.
const COUNTING: Duration = Duration::from_millis(300);

/// In a shorter time than this, the kernel's accounts of what others used say nothing.
const ACCOUNTED: Duration = Duration::from_millis(200);

/// How it went.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) round: usize,
    pub(crate) operations: u64,
    pub(crate) bytes: u64,
    /// Of the operations: those whose answers were received in full and compared.
    pub(crate) verified: u64,
    pub(crate) time: Duration,
    /// In seconds, at [`PERCENTILES`], and the most.
    pub(crate) latency: Option<([f64; 4], f64)>,
    /// CPU time of the server, if it is one of ours.
    pub(crate) server: Option<Duration>,
    pub(crate) load: Duration,
    pub(crate) switches: Option<u64>,
    pub(crate) memory: Option<u64>,
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
    /// GB per second where bytes are moved, operations per second elsewhere.
    pub(crate) fn rate(&self) -> f64 {
        let amount = if self.bytes > 0 { self.bytes as f64 / 1e9 } else { self.operations as f64 };
        amount / self.time.as_secs_f64()
    }

    pub(crate) fn operation_rate(&self) -> f64 {
        self.operations as f64 / self.time.as_secs_f64()
    }

    /// CPU seconds per GB where bytes are moved, microseconds per operation elsewhere.
    pub(crate) fn cpu(&self) -> f64 {
        let Some(server) = self.server else { return f64::NAN };
        let server = server.as_secs_f64();
        if self.bytes > 0 {
            server * 1e9 / self.bytes as f64
        } else {
            server * 1e6 / self.operations as f64
        }
    }

    /// How much of its core the server used.
    pub(crate) fn server_share(&self) -> f64 {
        self.server.map_or(f64::NAN, |server| server.as_secs_f64() / self.time.as_secs_f64())
    }

    /// How much of a core the load used.
    pub(crate) fn load_share(&self) -> f64 {
        self.load.as_secs_f64() / self.time.as_secs_f64()
    }

    pub(crate) fn per_operation(&self, count: Option<u64>) -> f64 {
        count.map_or(f64::NAN, |count| count as f64 / self.operations as f64)
    }
}

/// What is measured, and how.
pub(crate) struct Subject<'a> {
    pub(crate) running: &'a Running,
    /// Where to log on.
    pub(crate) target: &'a Target,
    pub(crate) shape: &'a Shape,
    /// No two samples of a run have the same.
    pub(crate) number: u64,
    pub(crate) verify: Verify,
    pub(crate) threads: usize,
    pub(crate) realtime: bool,
    pub(crate) pattern: &'static Pattern,
}

pub(crate) fn take(subject: &Subject<'_>, time: Duration, count: Count) -> io::Result<Sample> {
    let before = Distance::probe(cores::ALL);
    let mut sample = match subject.running {
        Running::Cipher(cipher) => {
            let size = subject.shape.size;
            let (operations, time) = floors::encipher(*cipher, size as usize, time)?;
            alone(operations, operations * u64::from(size), time, before)
        }
        _ => under_load(subject, time, count, before)?,
    };
    let after = Distance::probe(cores::ALL);
    sample.distance = before.between(after);
    sample.is_steady = before.is_like(after);
    Ok(sample)
}

/// What nobody else has to do with.
fn alone(operations: u64, bytes: u64, time: Duration, distance: Distance) -> Sample {
    Sample {
        round: 0,
        operations,
        bytes,
        verified: 0,
        time,
        latency: None,
        server: Some(time),
        load: Duration::ZERO,
        switches: None,
        memory: None,
        syscalls: None,
        distance,
        is_steady: true,
        is_undisturbed: true,
    }
}

fn under_load(
    subject: &Subject<'_>,
    time: Duration,
    count: Count,
    distance: Distance,
) -> io::Result<Sample> {
    let Subject { running, target, shape, number, verify, pattern, .. } = *subject;
    let load = match running {
        Running::Floor(way, floor) => {
            Load::of_floor((*way, floor.address), shape, number, verify, pattern)?
        }
        _ => Load::of_smb(target, shape, number, verify, pattern)?,
    };
    let is_ours = !matches!(running, Running::Foreign);
    let counters = OnceCell::new();
    let time = if count == Count::Syscalls { COUNTING.min(time) } else { time };
    let mark = || {
        let processes = running.processes();
        let calls = (count == Count::Syscalls)
            .then(|| counters.get_or_init(|| Counters::start(&processes).ok()))
            .and_then(|counters| Some(counters.as_ref()?.sum()));
        let memory = processes.iter().map(|&pid| sys::own_memory(pid)).sum::<u64>();
        (Usage::until_now(&processes), calls, memory)
    };
    let (done, begin, end) = load.run(subject.threads, (WARM_UP.min(time), time), mark)?;
    let used = end.0.since(&begin.0);
    let latency = &done.tally.latency;
    Ok(Sample {
        verified: done.tally.verified,
        latency: Some((PERCENTILES.map(|share| latency.percentile(share)), latency.most())),
        server: is_ours.then_some(used.server),
        load: used.load,
        switches: is_ours.then_some(used.switches),
        memory: is_ours.then_some(end.2),
        syscalls: end.1.zip(begin.1).map(|(end, begin)| end.saturating_sub(begin)),
        // What uses the cores may be the server, where it is not ours.
        is_undisturbed: !is_ours
            || subject.realtime
            || time < ACCOUNTED
            || calm::is_undisturbed(used.wall, used.foreign, used.delay),
        ..alone(done.tally.operations, done.tally.bytes, done.time, distance)
    })
}
