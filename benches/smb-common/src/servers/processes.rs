//! The processes of a server as one: what they use, and their end.

use std::collections::HashMap;
use std::fs;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use measure::sys;
use rustix::process::{Pid, Signal, kill_process};

/// A process and all that it has started.
pub(crate) fn with_descendants(pid: u32) -> Vec<u32> {
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

/// How long their threads have been ready to run without running.
pub(super) fn run_delay(processes: &[u32]) -> Duration {
    processes.iter().map(|&pid| sys::run_delay(pid)).sum()
}

/// Asks a process to end, and insists if it does not.
pub(crate) fn end(process: &mut Child, patience: Duration) {
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
