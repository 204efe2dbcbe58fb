//! The processes of a server as one: what they use, and their end.

use std::collections::HashMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use measure::sys;
use rustix::process::{Pid, Signal, kill_process};

/// A process and all that it has started.
pub(super) fn with_descendants(pid: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = process.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some((pid, parent)) = pid.and_then(|pid| Some((pid, parent_of(pid)?))) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut all = vec![pid];
    let mut done = 0;
    while let Some(pid) = all.get(done) {
        all.extend(children.remove(pid).unwrap_or_default());
        done += 1;
    }
    all
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name, which may have anything in it, in brackets.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// What they have used of CPU time, the kernel's threads that work for their rings included.
pub(crate) fn cpu_time(processes: &[u32]) -> Duration {
    processes.iter().filter_map(|&pid| sys::cpu_time(pid).ok()).sum()
}

/// How long their threads have been ready to run without running.
pub(crate) fn run_delay(processes: &[u32]) -> Duration {
    processes.iter().map(|&pid| sys::run_delay(pid)).sum()
}

/// Running counters of system calls.
pub(crate) struct Counters(Vec<OwnedFd>);

/// Counts those of all threads that there are, and that they start; nothing where the kernel does not let us.
pub(crate) fn syscall_counters(processes: &[u32]) -> Option<Counters> {
    let id = fs::read_to_string("/sys/kernel/tracing/events/raw_syscalls/sys_enter/id").ok()?;
    let id = id.trim().parse().ok()?;
    let threads = processes.iter().flat_map(|&pid| sys::threads(pid));
    let counters = threads.map(|thread| sys::tracepoint_counter(id, thread).ok());
    counters.collect::<Option<Vec<_>>>().map(Counters)
}

impl Counters {
    pub(crate) fn sum(&self) -> u64 {
        let read = |counter| {
            let mut bytes = [0; 8];
            matches!(rustix::io::read(counter, &mut bytes), Ok(8))
                .then(|| u64::from_ne_bytes(bytes))
        };
        self.0.iter().filter_map(read).sum()
    }
}

/// Asks a process to end, and insists if it does not.
pub(super) fn end(process: &mut Child, patience: Duration) {
    let family = with_descendants(process.id());
    let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid.filter(|_| matches!(process.try_wait(), Ok(None))) {
        let _ = kill_process(pid, Signal::TERM);
    }
    let start = Instant::now();
    while start.elapsed() < patience {
        if !matches!(process.try_wait(), Ok(None)) {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    for pid in family.into_iter().filter_map(|pid| Pid::from_raw(pid.cast_signed())) {
        let _ = kill_process(pid, Signal::KILL);
    }
    let _ = process.wait();
}
