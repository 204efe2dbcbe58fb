//! What is used of the cores while a server is under load, and by whom.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use measure::{cores, sys};

use super::processes;

/// Counters at one moment.
pub struct Usage {
    at: Instant,
    /// CPU time and context switches of each process of the server.
    server: HashMap<u32, (Duration, u64)>,
    load: Duration,
    busy: Duration,
    delay: Duration,
}

/// What was used from one moment to another.
#[derive(Clone, Copy, Debug)]
pub struct Used {
    /// The time that it was.
    pub wall: Duration,
    /// CPU time of the server.
    pub server: Duration,
    /// How often its threads gave a core up or lost it.
    pub switches: u64,
    /// CPU time of this process.
    pub load: Duration,
    /// What others had of the cores.
    pub foreign: Duration,
    /// How long server and load waited for a core.
    pub delay: Duration,
}

impl Usage {
    /// Of a server with these processes.
    pub fn until_now(processes: &[u32]) -> Self {
        let own = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let own = Duration::new(own.tv_sec.cast_unsigned(), own.tv_nsec as u32);
        let server = |&pid: &u32| Some((pid, (sys::cpu_time(pid).ok()?, sys::switches(pid))));
        Self {
            at: Instant::now(),
            server: processes.iter().filter_map(server).collect(),
            load: own,
            busy: sys::busy_time(cores::ALL),
            delay: processes::run_delay(processes) + sys::run_delay(std::process::id()),
        }
    }

    /// The same, and what processes that are not there any more had used at `earlier`.
    #[must_use]
    pub fn with_the_ended(mut self, earlier: Self) -> Self {
        for (pid, used) in earlier.server {
            self.server.entry(pid).or_insert(used);
        }
        self
    }

    /// A process that has ended meanwhile, as those of connections before do, counts as idle.
    pub fn since(&self, start: &Self) -> Used {
        let (mut server, mut switches) = (Duration::ZERO, 0);
        for (pid, (time, count)) in &self.server {
            let before = start.server.get(pid).copied().unwrap_or_default();
            server += time.saturating_sub(before.0);
            switches += count.saturating_sub(before.1);
        }
        let load = self.load.saturating_sub(start.load);
        Used {
            wall: self.at.duration_since(start.at),
            server,
            switches,
            load,
            foreign: self.busy.saturating_sub(start.busy).saturating_sub(server + load),
            delay: self.delay.saturating_sub(start.delay),
        }
    }
}
