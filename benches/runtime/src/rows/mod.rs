//! The rows: what is measured. Each file has one subject, with the job that a runtime does in a process of
//! its own, and the row that starts it, loads it and says what came out.

pub(crate) mod accept;
pub(crate) mod echo;
pub(crate) mod files;
pub(crate) mod memory;
pub(crate) mod tasks;
pub(crate) mod timers;
pub(crate) mod transfer;

use std::cell::Cell;
use std::io;
use std::time::{Duration, Instant};

use crate::child::{Child, Done};
use crate::load::Window;
use crate::meter::{Count, Meter, Usage};
use crate::runtimes::{CONTENDERS, Contender, Kind, Runtime, Subject};

/// What a process of its own is to do.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) args: Vec<String>,
}

impl Job {
    pub(crate) fn new<const N: usize>(name: &str, args: [usize; N]) -> Self {
        Self { name: name.to_owned(), args: args.iter().map(ToString::to_string).collect() }
    }

    /// With one more argument.
    pub(crate) fn with(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// An argument, empty if it is lacking.
    pub(crate) fn text(&self, index: usize) -> &str {
        self.args.get(index).map_or("", String::as_str)
    }

    /// An argument that is a number.
    pub(crate) fn number(&self, index: usize) -> usize {
        let number = self.args.get(index).and_then(|arg| arg.parse().ok());
        number.unwrap_or_else(|| panic!("{} lacks its argument {index}", self.name))
    }
}

/// Does `job` in this process, with `runtime`. The jobs without a runtime are in `runtimes/none.rs`.
pub(crate) fn run<R: Runtime>(runtime: R, job: &Job) {
    match job.name.as_str() {
        "echo" => echo::serve(runtime, job.number(0)),
        "accept" => accept::serve(runtime),
        "spawn" => tasks::spawn_and_join(runtime, job.number(0), job.number(1)),
        "yield" => tasks::yield_in_turn(runtime, job.number(0), job.number(1)),
        "wake" => tasks::wake_each_other(runtime, job.number(0)),
        "cross-wake" => tasks::wake_across_cores(runtime, job.number(0)),
        "timers-cancel" => timers::insert_and_cancel(runtime, job.number(0)),
        "timers-fire" => timers::fire(runtime, job.number(0)),
        "read" => files::read(runtime, job.number(0), job.number(1), job.number(2) == 1),
        "stat-file" => files::stat_file(runtime, job.number(0)),
        "stat-path" => files::stat_path(runtime, job.number(0)),
        "open" => files::open_and_close(runtime, job.number(0)),
        "echo-without-buffer" => echo::serve_without_buffer(runtime, job.number(0)),
        "pour" => transfer::send(runtime, job.number(0)),
        "pour-zc" => transfer::send_zc(runtime.for_zero_copy(job.text(1)), job.number(0)),
        "pour-file" => transfer::send_file(runtime, job.number(0), job.text(1)),
        other => panic!("there is no job '{other}'"),
    }
}

/// A row of the table.
pub(crate) trait Row {
    fn name(&self) -> String;

    fn unit(&self) -> Unit;

    /// Whether the distance between the cores matters.
    fn crosses_cores(&self) -> bool;

    /// Who takes part, and with which job.
    fn entries(&self) -> Vec<Entry>;

    fn measure(&self, entry: &Entry, scale: Scale, count: Count) -> io::Result<Sample>;

    /// What a reader must know.
    fn note(&self) -> &'static str {
        ""
    }
}

/// All of them, in the order of the table.
pub(crate) fn all() -> Vec<Box<dyn Row>> {
    let mut rows = Vec::new();
    rows.extend(echo::rows());
    rows.extend(accept::rows());
    rows.extend(tasks::rows());
    rows.extend(timers::rows());
    rows.extend(files::rows());
    rows.extend(transfer::rows());
    rows.extend(memory::rows());
    rows
}

/// One line of a row.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) label: String,
    /// Which of several ways it is, if there are several.
    pub(crate) way: &'static str,
    pub(crate) contender: &'static Contender,
    pub(crate) job: Job,
}

impl Entry {
    /// An entry for each runtime, or each way of having none, that `takes_part`.
    pub(crate) fn each(job: &Job, takes_part: impl Fn(&Contender) -> bool) -> Vec<Self> {
        let contenders = CONTENDERS.iter().filter(|contender| takes_part(contender));
        contenders.map(|contender| Self::new(contender, "", job.clone())).collect()
    }

    /// An entry for each way in which a runtime does that.
    pub(crate) fn each_way(job: &Job, subject: Subject) -> Vec<Self> {
        let of = |contender: &'static Contender| {
            let ways = (contender.ways)(subject).iter();
            ways.map(move |way| Self::new(contender, way, job.clone().with(way)))
        };
        CONTENDERS.iter().flat_map(of).collect()
    }

    pub(crate) fn new(contender: &'static Contender, way: &'static str, job: Job) -> Self {
        let label = match way {
            "" => contender.name.to_owned(),
            _ => format!("{}: {way}", contender.name),
        };
        Self { label, way, contender, job }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.contender.kind
    }
}

/// Whether it is a runtime.
pub(crate) fn is_runtime(contender: &Contender) -> bool {
    contender.kind != Kind::Floor
}

/// What the main number of a row is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unit {
    /// Thousands of operations per second; more is better.
    KiloPerSecond,
    /// Nanoseconds; less is better.
    Nanos,
    /// Seconds of CPU time per 10^9 bytes; less is better.
    CpuPerGigabyte,
    /// Bytes; less is better.
    Bytes,
}

impl Unit {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::KiloPerSecond => "k/s",
            Self::Nanos => "ns",
            Self::CpuPerGigabyte => "CPU s/GB",
            Self::Bytes => "bytes",
        }
    }

    /// How good `ours` is beside `theirs`: above 1, better.
    pub(crate) fn ratio(self, ours: f64, theirs: f64) -> f64 {
        match self {
            Self::KiloPerSecond => ours / theirs,
            Self::Nanos | Self::CpuPerGigabyte | Self::Bytes => theirs / ours,
        }
    }
}

/// One measurement.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// In the row's unit.
    pub(crate) value: f64,
    /// What CPU time and system calls are divided by.
    pub(crate) ops: f64,
    pub(crate) usage: Usage,
    /// Further numbers, by name.
    pub(crate) extra: Vec<(&'static str, f64)>,
}

impl Sample {
    /// CPU time per operation, in microseconds.
    pub(crate) fn cpu_micros(&self) -> f64 {
        self.usage.cpu.as_secs_f64() * 1e6 / self.ops
    }

    /// How often the process slept per operation.
    pub(crate) fn sleeps(&self) -> f64 {
        self.usage.switches as f64 / self.ops
    }
}

/// How much is done for one sample.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scale {
    /// Servers are under load for that long.
    Full(Duration),
    /// Just enough to see that it works.
    Quick,
}

impl Scale {
    /// A number of operations; a fiftieth of it for a quick look.
    pub(crate) fn count(self, full: usize) -> usize {
        match self {
            Self::Full(_) => full,
            Self::Quick => (full / 50).max(1),
        }
    }

    /// How long a server is under load. Where system calls are counted, a part of it is enough.
    pub(crate) fn window(self, count: Count) -> Window {
        let millis = Duration::from_millis;
        let (warm_up, time) = match (self, count) {
            (Self::Quick, _) => (millis(10), millis(50)),
            (Self::Full(time), Count::Nothing) => (millis(300), time),
            (Self::Full(_), Count::Syscalls) => (millis(100), millis(300)),
        };
        Window { warm_up, time }
    }

    /// How long a job works that goes by time, in milliseconds: half as long, since no load disturbs it.
    pub(crate) fn millis(self) -> usize {
        match self {
            Self::Full(time) => (time.as_millis() as usize / 2).max(1),
            Self::Quick => 40,
        }
    }
}

/// Operations between two looks at the clock.
const BATCH: usize = 32;

/// Gives out numbers until the time is up.
pub(crate) struct Counter {
    next: Cell<usize>,
    limit: Cell<usize>,
    deadline: Instant,
}

impl Counter {
    pub(crate) fn new(millis: usize, limit: usize) -> Self {
        let deadline = Instant::now() + Duration::from_millis(millis as u64);
        Self { next: 0.into(), limit: limit.into(), deadline }
    }

    pub(crate) fn next(&self) -> Option<usize> {
        let index = self.next.get();
        if index.is_multiple_of(BATCH) && Instant::now() >= self.deadline {
            self.limit.set(index);
        }
        (index < self.limit.get()).then(|| {
            self.next.set(index + 1);
            index
        })
    }

    pub(crate) fn given(&self) -> usize {
        self.next.get()
    }
}

/// Lets a job that is not a server work, and measures it.
pub(crate) fn work(entry: &Entry, job: &Job, count: Count) -> io::Result<(Done, Usage)> {
    let mut child = Child::start(entry.contender, job)?;
    let meter = Meter::start(child.pid(), count)?;
    child.go()?;
    let done = child.finish()?;
    Ok((done, meter.stop()?))
}

/// A sample whose value is how many operations were done in a second.
pub(crate) fn rate(ops: u64, time: Duration, usage: Usage) -> Sample {
    let value = ops as f64 / time.as_secs_f64() / 1e3;
    Sample { value, ops: ops as f64, usage, extra: Vec::new() }
}
