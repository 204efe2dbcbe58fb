//! Questions to the kernel that have no safe wrapper, and a few that have one too long for the callers.

#![allow(unsafe_code, reason = "system calls without a safe wrapper")]

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd};
use std::time::Duration;

use rustix::process::{Resource, Rlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

/// Binds the calling thread, and those it makes from now on, to one core.
pub fn pin(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    if let Err(error) = sched_setaffinity(None, &set) {
        eprintln!("cannot bind to core {core}: {error}");
    }
}

/// Lets the calling thread, and what it starts from now on, run whenever it can: `SCHED_RR`.
pub fn schedule_in_real_time() -> io::Result<()> {
    let param = libc::sched_param { sched_priority: 1 };
    // SAFETY: `param` is only read.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_RR, &raw const param) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What process `pid` has used of CPU time in all its threads, those of the kernel's that work for its
/// rings among them.
pub fn cpu_time(pid: u32) -> io::Result<Duration> {
    let mut clock = 0;
    // SAFETY: `clock` is written to.
    let error = unsafe { libc::clock_getcpuclockid(pid.cast_signed(), &raw mut clock) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: `time` is written to where the call succeeds.
    if unsafe { libc::clock_gettime(clock, time.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded.
    let time = unsafe { time.assume_init() };
    Ok(Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32))
}

/// `struct perf_event_attr` in its first version, of 64 bytes.
#[repr(C)]
#[derive(Default)]
struct PerfEventAttr {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    breakpoint_type: u32,
    breakpoint_addr: u64,
}

const PERF_TYPE_TRACEPOINT: u32 = 2;
const PERF_ATTR_INHERIT: u64 = 1 << 1;
const PERF_FLAG_FD_CLOEXEC: u64 = 1 << 3;

/// A counter of tracepoint `id` in thread `tid` and in all threads that it starts from now on.
pub fn tracepoint_counter(id: u64, tid: u32) -> io::Result<OwnedFd> {
    let attr = PerfEventAttr {
        kind: PERF_TYPE_TRACEPOINT,
        size: size_of::<PerfEventAttr>() as u32,
        config: id,
        flags: PERF_ATTR_INHERIT,
        ..PerfEventAttr::default()
    };
    // SAFETY: `attr` is a `perf_event_attr` of the size that it names, and is only read.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attr,
            tid.cast_signed(),
            -1_i32,
            -1_i32,
            PERF_FLAG_FD_CLOEXEC,
        )
    };
    match i32::try_from(fd) {
        // SAFETY: a descriptor that nobody else has.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Allows this process and its children that many descriptors, as far as it may.
pub fn allow_descriptors(count: u64) {
    let limit = Rlimit { current: Some(count), maximum: Some(count) };
    if rustix::process::setrlimit(Resource::Nofile, limit).is_err() {
        let hard = rustix::process::getrlimit(Resource::Nofile).maximum;
        let limit = Rlimit { current: hard, maximum: hard };
        let _ = rustix::process::setrlimit(Resource::Nofile, limit);
    }
}

/// The sum of a number in the `status` files of all threads of `pid`.
pub fn sum_over_threads(pid: u32, key: &str) -> u64 {
    threads(pid).into_iter().map(|tid| status(&format!("/proc/{pid}/task/{tid}/status"), key)).sum()
}

/// A number in the process's `status` file.
pub fn of_process(pid: u32, key: &str) -> u64 {
    status(&format!("/proc/{pid}/status"), key)
}

/// How often the threads of `pid` have given their core up, or lost it.
pub fn switches(pid: u32) -> u64 {
    ["voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"]
        .into_iter()
        .map(|key| sum_over_threads(pid, key))
        .sum()
}

/// Memory of its own that `pid` has, in bytes: no file is behind it, and what it shares with others counts in part.
pub fn own_memory(pid: u32) -> u64 {
    status(&format!("/proc/{pid}/smaps_rollup"), "Pss_Anon") * 1024
}

/// What the kernel has allocated for itself in small objects that it cannot take back, in bytes.
pub fn kernel_memory() -> u64 {
    status("/proc/meminfo", "SUnreclaim") * 1024
}

/// The threads of `pid`.
pub fn threads(pid: u32) -> Vec<u32> {
    let entries = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// How long the threads of `pid` have been ready to run without running.
pub fn run_delay(pid: u32) -> Duration {
    let of_thread = |tid: u32| -> u64 {
        let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/schedstat"));
        let text = text.unwrap_or_default();
        text.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
    };
    Duration::from_nanos(threads(pid).into_iter().map(of_thread).sum())
}

fn status(path: &str, key: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// For how long the two cores have been busy since boot, whoever with.
pub fn busy_time(cores: [usize; 2]) -> Duration {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let busy = |core: usize| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("cpu{core} ")));
        let fields: Vec<u64> =
            line.unwrap_or("").split_whitespace().filter_map(|field| field.parse().ok()).collect();
        // user, nice, system, (idle, iowait,) irq, softirq, steal
        [0, 1, 2, 5, 6, 7].iter().filter_map(|&index| fields.get(index)).sum::<u64>()
    };
    let ticks: u64 = cores.into_iter().map(busy).sum();
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
}

/// CPU time of all children that have been waited for.
pub fn children_cpu() -> Duration {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` is written to; all zeroes are a valid value of it too.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr());
        usage.assume_init()
    };
    let time = |time: libc::timeval| {
        Duration::new(time.tv_sec.cast_unsigned(), time.tv_usec as u32 * 1000)
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}
