//! What the process has: descriptors, threads, memory. They are everybody's, so who counts runs alone.

use std::fs;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::{Duration, Instant};

/// Far more than any trial takes, even on an emulated machine that is busy.
const HANGS: Duration = Duration::from_secs(400);

/// What others hold of the process's for a while. A peer that was writing when its connection was closed is one:
/// if the last that it had heard of was a window of zero, it probes until the kernel forgets the closed end, 60 s
/// after (`tcp_fin_timeout`), and then is reset.
pub(crate) const GIVEN_BACK: Duration = Duration::from_secs(120);

static COUNTING: RwLock<()> = RwLock::new(());

/// For a trial that does not count.
pub(crate) fn beside_others() -> RwLockReadGuard<'static, ()> {
    COUNTING.read().unwrap_or_else(PoisonError::into_inner)
}

/// For a trial that counts.
pub(crate) fn alone() -> RwLockWriteGuard<'static, ()> {
    COUNTING.write().unwrap_or_else(PoisonError::into_inner)
}

/// How many descriptors the process has open, but for the one that it looks with.
pub(crate) fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count() - 1
}

/// What they are, and the TCP sockets of the machine, for whoever finds too many.
pub(crate) fn name_descriptors() -> String {
    let named = fs::read_dir("/proc/self/fd").unwrap().flatten().filter_map(|entry| {
        let target = fs::read_link(entry.path()).ok()?;
        Some(format!("{}: {}", entry.file_name().display(), target.display()))
    });
    let named: Vec<_> = named.collect();
    let sockets = fs::read_to_string("/proc/self/net/tcp").unwrap_or_default();
    format!("{}\n{sockets}", named.join(", "))
}

pub(crate) fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

/// Resident memory in KiB.
pub(crate) fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Waits until `count` is down to `expected`: what other threads and the kernel give back comes a little
/// later, also of what was there before.
pub(crate) fn settles_at(expected: usize, count: fn() -> usize) -> Result<(), String> {
    let deadline = Instant::now() + GIVEN_BACK;
    while count() > expected {
        if Instant::now() > deadline {
            return Err(format!("{} are left, {expected} were there before", count()));
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Ends the process, with a word about who it was, if the trial `name` hangs.
pub(crate) fn watch(name: String) -> Sender<()> {
    let (alive, watched) = mpsc::channel();
    thread::spawn(move || {
        if watched.recv_timeout(HANGS) == Err(RecvTimeoutError::Timeout) {
            eprintln!("{name} hangs\n{}", threads_and_rings());
            std::process::abort();
        }
    });
    alive
}

/// Where each thread is, those of the kernel's that work for the rings among them, and what the kernel tells of the
/// rings.
fn threads_and_rings() -> String {
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    let mut said = String::new();
    for task in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let [name, call, stack] =
            ["comm", "syscall", "stack"].map(|of| read(&task.path().join(of)));
        said += &format!("thread {} {name}{call}{stack}", task.file_name().display());
    }
    for open in fs::read_dir("/proc/self/fd").into_iter().flatten().flatten() {
        if fs::read_link(open.path())
            .is_ok_and(|target| target.to_string_lossy().contains("io_uring"))
        {
            let about = read(&Path::new("/proc/self/fdinfo").join(open.file_name()));
            said += &format!("ring {}\n{about}", open.file_name().display());
        }
    }
    said
}
