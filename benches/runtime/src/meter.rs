//! What a process uses while it is measured: CPU time, context switches, system calls.

use std::io;
use std::time::{Duration, Instant};

pub(crate) use measure::syscalls::Count;
use measure::syscalls::Counters;

use crate::sys;

/// What a process used.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Usage {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
    /// Voluntary context switches: how often it slept.
    pub(crate) switches: u64,
    /// How long its threads, and the load, wanted a core that somebody else had.
    pub(crate) delay: Duration,
    /// `None` where they were not counted, or cannot be on this machine.
    pub(crate) syscalls: Option<u64>,
}

/// A running measurement of one process.
pub(crate) struct Meter {
    pid: u32,
    start: Instant,
    cpu: Duration,
    switches: u64,
    delay: Duration,
    counters: Option<Counters>,
}

impl Meter {
    pub(crate) fn start(pid: u32, count: Count) -> io::Result<Self> {
        let counters = match count {
            Count::Syscalls => Counters::start(&[pid]).ok(),
            Count::Nothing => None,
        };
        let (switches, delay) = (switches(pid), delay(pid));
        Ok(Self { pid, counters, switches, delay, cpu: sys::cpu_time(pid)?, start: Instant::now() })
    }

    pub(crate) fn stop(self) -> io::Result<Usage> {
        let wall = self.start.elapsed();
        let cpu = sys::cpu_time(self.pid)?.saturating_sub(self.cpu);
        let syscalls = self.counters.map(|counters| counters.sum());
        let switches = switches(self.pid).saturating_sub(self.switches);
        let delay = delay(self.pid).saturating_sub(self.delay);
        Ok(Usage { wall, cpu, switches, delay, syscalls })
    }
}

fn switches(pid: u32) -> u64 {
    sys::sum_over_threads(pid, "voluntary_ctxt_switches")
}

fn delay(pid: u32) -> Duration {
    sys::run_delay(pid) + sys::run_delay(std::process::id())
}
