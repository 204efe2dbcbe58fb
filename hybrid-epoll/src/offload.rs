//! The bounded pool of threads for what can only block.
//!
//! Threads start when there is work and end when there has been none for a while. The queue has an
//! end: who finds it full keeps the work and decides.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use ringway_driver::{Completion, Token};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::notifier::Notifier;
use crate::request::Request;
use crate::{Options, Stats};

/// How long a thread stays without work. Longer than the pauses of a busy server, short enough that
/// a burst's stacks do not stay for good.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// A piece of blocking work.
pub type Job = Box<dyn FnOnce() + Send>;

/// The pool does not take a job, which comes back.
pub enum Refused {
    /// The queue is full. There is room again when a job has been begun.
    Full(Job),
    /// There is no thread and the system gives none, for this reason. Nothing will happen by itself.
    NoThread(Job, io::Error),
}

impl Refused {
    /// The job.
    #[must_use]
    pub fn into_job(self) -> Job {
        match self {
            Self::Full(job) | Self::NoThread(job, _) => job,
        }
    }
}

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.debug_tuple("Full").finish_non_exhaustive(),
            Self::NoThread(_, error) => {
                f.debug_tuple("NoThread").field(error).finish_non_exhaustive()
            }
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str("the queue of the blocking pool is full"),
            Self::NoThread(_, error) => {
                write!(f, "no thread can be started for blocking work: {error}")
            }
        }
    }
}

impl std::error::Error for Refused {}

/// Runs closures on the blocking threads of one driver.
///
/// A handle may outlive the driver; jobs that were accepted run in any case.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        f.debug_struct("Pool")
            .field("threads", &state.threads)
            .field("idle", &state.idle)
            .field("queued", &state.queue.len())
            .finish_non_exhaustive()
    }
}

/// What a pool has come up against since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Strain {
    /// All the threads that it may have were at work, and more came.
    pub all_threads: bool,
    /// Its queue was full.
    pub full_queue: bool,
    /// The errno with which the system refused a thread, last.
    pub no_thread: Option<i32>,
}

impl Strain {
    const ALL_THREADS: u32 = 1;
    const FULL_QUEUE: u32 = 2;
    /// An errno is above the flags.
    const NO_THREAD_SHIFT: u32 = 2;

    fn from_bits(bits: u32) -> Self {
        let errno = (bits >> Self::NO_THREAD_SHIFT).cast_signed();
        Self {
            all_threads: bits & Self::ALL_THREADS != 0,
            full_queue: bits & Self::FULL_QUEUE != 0,
            no_thread: (errno != 0).then_some(errno),
        }
    }
}

struct Shared {
    state: Mutex<State>,
    strain: AtomicU32,
    /// There is work.
    work: Condvar,
    /// An operation has ended.
    ended: Condvar,
    notifier: Arc<Notifier>,
    limits: Options,
    keep_alive: Duration,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Work>,
    threads: usize,
    idle: usize,
    /// Operations that threads are at.
    running: usize,
    /// Closures that threads are at.
    jobs: usize,
    finished: Vec<Completion>,
    /// The driver was turned away and wants to hear when there is room.
    hungry: bool,
    /// The driver is gone: a thread without work ends at once.
    closed: bool,
}

enum Work {
    Request(Request),
    Job(Job),
}

/// Why the queue does not take work.
enum Obstacle {
    Full,
    NoThread(io::Error),
}

impl Pool {
    /// Queues `job`; never blocks. A job that panics ends alone; whoever waits for its answer
    /// learns it from the channel that the job drops.
    ///
    /// # Errors
    /// Gives the job back when the queue is full, or no thread can be started and none is there.
    pub fn execute(&self, job: Job) -> Result<(), Refused> {
        let mut state = self.shared.lock();
        let pushed = self.shared.push(&mut state, Work::Job(job));
        self.shared.wake(state, usize::from(pushed.is_ok()));
        match pushed {
            Err((Work::Job(job), Obstacle::Full)) => Err(Refused::Full(job)),
            Err((Work::Job(job), Obstacle::NoThread(error))) => Err(Refused::NoThread(job, error)),
            Ok(()) | Err((Work::Request(_), _)) => Ok(()),
        }
    }

    pub(crate) fn strain(&self) -> Strain {
        Strain::from_bits(self.shared.strain.load(Ordering::Relaxed))
    }

    /// Fills in what is the pool's.
    pub(crate) fn stats(&self) -> Stats {
        let state = self.shared.lock();
        Stats {
            threads: state.threads,
            idle: state.idle,
            queued: state.queue.len(),
            running: state.running + state.jobs,
            ..Stats::default()
        }
    }

    pub(crate) fn new(limits: &Options, notifier: &Arc<Notifier>) -> Self {
        Self::with_keep_alive(limits, notifier, KEEP_ALIVE)
    }

    fn with_keep_alive(limits: &Options, notifier: &Arc<Notifier>, keep_alive: Duration) -> Self {
        let shared = Shared {
            state: Mutex::default(),
            strain: AtomicU32::new(0),
            work: Condvar::new(),
            ended: Condvar::new(),
            notifier: Arc::clone(notifier),
            limits: limits.clone(),
            keep_alive,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Moves requests from the front of `backlog` to the queue while there is room. If some stay,
    /// the driver is notified when there is room again.
    ///
    /// # Errors
    /// The system's, when no thread can be started and none is there: then nobody notifies.
    pub(crate) fn feed(&self, backlog: &mut VecDeque<Request>) -> io::Result<()> {
        if backlog.is_empty() {
            return Ok(());
        }
        let mut state = self.shared.lock();
        let (mut pushed, mut stopped) = (0, Ok(()));
        while let Some(request) = backlog.pop_front() {
            let Err((work, obstacle)) = self.shared.push(&mut state, Work::Request(request)) else {
                pushed += 1;
                continue;
            };
            if let Work::Request(request) = work {
                backlog.push_front(request);
            }
            state.hungry = true;
            if let Obstacle::NoThread(error) = obstacle {
                stopped = Err(error);
            }
            break;
        }
        self.shared.wake(state, pushed);
        stopped
    }

    /// Takes a request back that no thread has begun.
    pub(crate) fn take_back(&self, token: Token) -> Option<Request> {
        let queue = &mut self.shared.lock().queue;
        let at = queue
            .iter()
            .position(|work| matches!(work, Work::Request(request) if request.token == token))?;
        match queue.remove(at)? {
            Work::Request(request) => Some(request),
            Work::Job(_) => None,
        }
    }

    /// Appends what has ended since the last time.
    pub(crate) fn collect(&self, done: &mut Vec<Completion>) {
        done.append(&mut self.shared.lock().finished);
    }

    /// Nobody is there to say that there is room again.
    #[cfg(test)]
    fn has_no_threads(&self) -> bool {
        self.shared.lock().threads == 0
    }

    /// The driver's end. Drops the requests that no thread has begun and waits, however long it takes,
    /// for those that threads are at. Threads do not wait for more work from now on: they would keep
    /// the notifier's descriptor.
    pub(crate) fn close(&self) {
        let mut state = self.shared.lock();
        state.closed = true;
        self.shared.work.notify_all();
        state.queue.retain(|work| matches!(work, Work::Job(_)));
        while state.running > 0 {
            state = self.shared.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Shared {
    /// No code of others runs under this lock, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(self: &Arc<Self>, state: &mut State, work: Work) -> Result<(), (Work, Obstacle)> {
        if state.queue.len() >= self.limits.pool_queue_max {
            self.note(Strain::FULL_QUEUE);
            return Err((work, Obstacle::Full));
        }
        // A thread that was woken and is not up yet still counts as idle, and its work as queued.
        if state.queue.len() >= state.idle {
            if state.threads >= self.limits.pool_threads_max {
                self.note(Strain::ALL_THREADS);
            } else if let Err(error) = self.start_thread() {
                let errno = error.raw_os_error().unwrap_or(libc::EAGAIN).cast_unsigned();
                self.note(errno << Strain::NO_THREAD_SHIFT);
                if state.threads == 0 {
                    return Err((work, Obstacle::NoThread(error)));
                }
                // Slower, but under way: those that are there will come to it.
            } else {
                state.threads += 1;
            }
        }
        state.queue.push_back(work);
        Ok(())
    }

    /// Lets idle threads know of `pushed` pieces of work. The others look before they become idle.
    ///
    /// Each is a system call, and what it wakes wants the lock at once: so not under it.
    fn wake(&self, state: MutexGuard<'_, State>, pushed: usize) {
        let sleepers = state.idle.min(pushed);
        drop(state);
        (0..sleepers).for_each(|_| self.work.notify_one());
    }

    /// Under the lock, so that nobody else changes it meanwhile.
    fn note(&self, strain: u32) {
        let errno = !0 << Strain::NO_THREAD_SHIFT;
        let before = self.strain.load(Ordering::Relaxed);
        let kept = if strain & errno == 0 { before } else { before & !errno };
        self.strain.store(kept | strain, Ordering::Relaxed);
    }

    fn start_thread(self: &Arc<Self>) -> io::Result<()> {
        let shared = Arc::clone(self);
        let builder = thread::Builder::new().name("ringway-pool".into());
        let body = move || {
            shared.leave_starters_cpu();
            shared.serve();
        };
        builder.spawn(body).map(drop)
    }

    /// A thread begins where the one may run that has started it: on one processor, if that is a core's. Work that
    /// goes to the pool to be out of its way would run in turns with it there.
    fn leave_starters_cpu(&self) {
        let mut cpus = CpuSet::new();
        let numbers = self.limits.pool_cpus.iter().filter(|cpu| **cpu < CpuSet::MAX_CPU);
        numbers.for_each(|cpu| cpus.set(*cpu));
        if cpus.count() > 0 {
            // It runs no worse than before if that fails.
            let _ = sched_setaffinity(None, &cpus);
        }
    }

    /// A thread's life.
    fn serve(&self) {
        let mut state = self.lock();
        loop {
            if let Some(work) = state.queue.pop_front() {
                state = self.perform(state, work);
                continue;
            }
            if state.closed {
                state.threads -= 1;
                return;
            }
            state.idle += 1;
            let (guard, wait) = self
                .work
                .wait_timeout(state, self.keep_alive)
                .unwrap_or_else(PoisonError::into_inner);
            state = guard;
            state.idle -= 1;
            if wait.timed_out() && state.queue.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }

    fn perform<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        work: Work,
    ) -> MutexGuard<'a, State> {
        if mem::take(&mut state.hungry) {
            self.notifier.notify();
        }
        match work {
            Work::Request(request) => {
                state.running += 1;
                drop(state);
                let completion = request.run();
                state = self.lock();
                state.running -= 1;
                state.finished.push(completion);
                if state.closed {
                    self.ended.notify_all();
                }
                // Not under the lock, which whoever is woken wants at once.
                drop(state);
                self.notifier.notify();
                state = self.lock();
            }
            Work::Job(job) => {
                state.jobs += 1;
                drop(state);
                if let Err(payload) = catch_unwind(AssertUnwindSafe(job)) {
                    // Dropping it is once more the job's code, which could panic once more.
                    mem::forget(payload);
                }
                state = self.lock();
                state.jobs -= 1;
            }
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Instant;

    use super::*;

    #[test]
    fn threads_end_with_the_driver_and_jobs_that_come_after_it_run() {
        let notifier = Arc::new(Notifier::new().unwrap());
        let minutes = Duration::from_secs(600);
        let pool = Pool::with_keep_alive(&Options::default(), &notifier, minutes);
        for closes in [true, false] {
            let (done, is_done) = mpsc::channel();
            pool.execute(Box::new(move || done.send(()).unwrap())).unwrap();
            is_done.recv().unwrap();
            if closes {
                pool.close();
            }
            let start = Instant::now();
            while !pool.has_no_threads() {
                assert!(start.elapsed() < Duration::from_secs(20), "the thread stays");
                thread::sleep(Duration::from_millis(5));
            }
        }
    }

    #[test]
    fn threads_end_when_there_is_nothing_to_do_and_start_again_when_there_is() {
        let notifier = Arc::new(Notifier::new().unwrap());
        let pool = Pool::with_keep_alive(&Options::default(), &notifier, Duration::from_millis(10));
        for _ in 0..2 {
            let (done, is_done) = mpsc::channel();
            pool.execute(Box::new(move || done.send(()).unwrap())).unwrap();
            is_done.recv().unwrap();
            let start = Instant::now();
            while !pool.has_no_threads() {
                assert!(start.elapsed() < Duration::from_secs(20), "the thread stays");
                thread::sleep(Duration::from_millis(5));
            }
        }
    }
}
