//! The ring's own threads, which do what would block: how many there may be, and where they run.

use std::fs;
use std::io;
use std::thread;

use io_uring::squeue::Flags;
use io_uring::{IoUring, opcode};
use rustix::process::Pid;
use rustix::thread::{gettid, sched_getaffinity};

use super::probe;

/// Without a limit, the kernel starts as many threads for slow operations as the user may have
/// processes. A kernel before 5.15 cannot be told; then its own limits stand.
pub(super) fn limit(ring: &IoUring) {
    let cpus = thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1));
    let workers = (2 * cpus).max(4);
    let _ = ring.submitter().register_iowq_max_workers(&mut [workers, workers]);
}

/// Whether they run elsewhere than this thread, if it is bound to fewer than the `cpus` that the process has. Newer
/// kernels keep them where the thread is whose ring it is, whatever is asked of the ring (`IORING_REGISTER_IOWQ_AFF`).
///
/// # Errors
/// If they do not, or nobody can say.
pub(super) fn leave_bound_thread(ring: &mut IoUring, cpus: usize) -> io::Result<()> {
    if sched_getaffinity(None)?.count() as usize >= cpus {
        return Ok(());
    }
    let nothing = opcode::Nop::new().build().flags(Flags::ASYNC);
    probe::run(ring, &nothing)?;
    let worker = worker().ok_or_else(|| io::Error::other("its threads are not to be seen"))?;
    match sched_getaffinity(Some(worker))?.count() as usize >= cpus {
        true => Ok(()),
        false => Err(io::Error::other("its threads are bound as this one is")),
    }
}

/// One of this thread's ring, which the kernel names after it.
fn worker() -> Option<Pid> {
    let name = format!("iou-wrk-{}", gettid().as_raw_nonzero());
    let is_worker = |task: &fs::DirEntry| {
        // Names of threads end after 15 characters.
        fs::read_to_string(task.path().join("comm"))
            .is_ok_and(|comm| name.starts_with(comm.trim_end()))
    };
    let task = fs::read_dir("/proc/self/task").ok()?.filter_map(Result::ok).find(is_worker)?;
    task.file_name().to_str()?.parse().ok().and_then(Pid::from_raw)
}
