//! System calls, counted by the kernel's own tracepoint. It slows every one of them on the machine by some 50 to 100 ns,
//! so it is done in samples of their own, whose times count for nothing.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use crate::sys;

/// Whether system calls are counted, which slows them; such a sample's times count for nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Count {
    /// They are not.
    Nothing,
    /// They are.
    Syscalls,
}

/// Running counters, of all threads that some processes have and start from now on.
pub struct Counters(Vec<OwnedFd>);

impl Counters {
    /// Begins to count.
    ///
    /// # Errors
    /// Where the kernel does not let us: it takes root and a mounted tracefs.
    pub fn start(processes: &[u32]) -> io::Result<Self> {
        let id = fs::read_to_string("/sys/kernel/tracing/events/raw_syscalls/sys_enter/id")?;
        let id = id.trim().parse().map_err(io::Error::other)?;
        let threads = processes.iter().flat_map(|&pid| sys::threads(pid));
        let counters = threads.map(|thread| sys::tracepoint_counter(id, thread));
        Ok(Self(counters.collect::<io::Result<_>>()?))
    }

    /// What they have counted together.
    pub fn sum(&self) -> u64 {
        let read = |counter| {
            let mut bytes = [0; 8];
            matches!(rustix::io::read(counter, &mut bytes), Ok(8))
                .then(|| u64::from_ne_bytes(bytes))
        };
        self.0.iter().filter_map(read).sum()
    }
}

/// Why system calls cannot be counted on this machine, if they cannot.
pub fn cannot_count() -> Option<String> {
    let error = Counters::start(&[std::process::id()]).err()?;
    Some(format!(
        "system calls are not counted: {error}; it takes root, and mount -t tracefs tracefs /sys/kernel/tracing"
    ))
}
