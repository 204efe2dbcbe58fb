//! One runtime per core.
//!
//! Tasks stay on the core that they were started on. [`Cores::spawn_on`] sends work there; what a
//! closure carries along must be `Send`, the task it makes need not be.

mod handle;
mod load;

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::features::Features;
use crate::mailbox::Mailbox;
use crate::runtime::{Builder, Runtime, ShutdownReport};
use crate::task::{self, Remote};
use crate::time::FAR;

pub use crate::mailbox::Closed;
pub use handle::RemoteHandle;
pub use load::Load;

/// How much longer than its grace a core may take before it is given up: a task that never yields
/// cannot be dropped.
const MARGIN: Duration = Duration::from_secs(1);

std::thread_local! {
    static CURRENT: Cell<Option<CoreId>> = const { Cell::new(None) };
}

/// One of the threads of a [`Cores`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CoreId(usize);

impl CoreId {
    /// Its number, from 0 to below [`Cores::len`]: what [`Cores::spawn_on`] takes.
    #[must_use]
    pub fn index(self) -> usize {
        self.0
    }
}

/// The core that the calling code runs on; `None` on a thread that no [`Cores`] has started.
#[must_use]
pub fn current() -> Option<CoreId> {
    CURRENT.get()
}

/// Threads with a runtime each. Cheap to share in an [`Arc`].
///
/// Dropping it stops the cores and does not wait for them; see [`Cores::shutdown`].
#[derive(Debug)]
pub struct Cores {
    cores: Vec<Core>,
    load: Load,
    features: Features,
}

#[derive(Debug)]
struct Core {
    mailbox: Arc<Mailbox>,
    /// The core's report, when it has ended.
    report: std::sync::Mutex<Receiver<ShutdownReport>>,
    /// How long it may drain.
    grace: SyncSender<Duration>,
    thread: Option<JoinHandle<()>>,
}

impl Cores {
    /// Starts `count` threads, at least one, each with a runtime of `builder`'s making. Each is bound
    /// to a CPU of its own if there are enough; their pools' threads run on any.
    ///
    /// # Errors
    /// Those of [`Builder::build`], and of starting threads.
    pub fn start(count: usize, builder: &Builder) -> io::Result<Self> {
        let count = count.max(1);
        let allowed = allowed_cpus();
        // None for anybody if there are not enough.
        let cpus = if allowed.len() < count { &[] } else { &*allowed };
        let builder = builder.clone().pool_cpus(allowed.clone());
        let mut cores = Vec::with_capacity(count);
        let (mut features, mut remotes) = (None, Vec::with_capacity(count));
        for index in 0..count {
            let (core, found, remote) =
                Core::start(index, cpus.get(index).copied(), builder.clone())?;
            cores.push(core);
            remotes.push(remote);
            features.get_or_insert(found);
        }
        let features = features.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self { cores, load: Load::new(remotes), features })
    }

    /// How many cores there are; never zero.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.cores.len()
    }

    /// Calls `f` on core `core` modulo [`Cores::len`] and runs the future that it returns as a task
    /// there. May be called on any thread, and returns at once. The handle gives the task's output on any thread; dropping it lets the
    /// task go on by itself.
    ///
    /// # Errors
    /// When that core is shutting down, or stuck with 65,536 calls waiting.
    pub fn spawn_on<F, Fut>(&self, core: usize, f: F) -> Result<RemoteHandle<Fut::Output>, Closed>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future + 'static,
        Fut::Output: Send,
    {
        let core = self.cores.get(core % self.cores.len()).ok_or(Closed)?;
        let (handle, outcome) = handle::channel();
        // `f` itself runs in the task too, so that its panic is the task's.
        let start = move || drop(task::spawn(outcome.of(async move { f().await })));
        core.mailbox.send(Box::new(start)).map(|()| handle)
    }

    /// Which of the cores are at work, for whoever asks while they are.
    #[must_use]
    pub fn load(&self) -> Load {
        self.load.clone()
    }

    /// How the cores run; the same for each.
    #[must_use]
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// Ends all cores: drops their tasks, cancels what those had in flight, and waits up to `grace`
    /// until the kernel has let go of every buffer. A core whose task does not yield in that time is
    /// left behind, and counts as one leaked operation.
    pub fn shutdown(mut self, grace: Duration) -> ShutdownReport {
        for core in &self.cores {
            let _ = core.grace.try_send(grace);
            core.mailbox.close();
        }
        let deadline = Instant::now() + grace.min(FAR) + MARGIN;
        let mut total = ShutdownReport::default();
        for core in &mut self.cores {
            let report = core.join(deadline);
            total.cancelled += report.cancelled;
            total.drained += report.drained;
            total.leaked += report.leaked;
        }
        total
    }
}

/// Stops the thread, also of a core that was started before another one could not be.
impl Drop for Core {
    fn drop(&mut self) {
        self.mailbox.close();
    }
}

impl Core {
    fn start(
        index: usize,
        cpu: Option<usize>,
        builder: Builder,
    ) -> io::Result<(Self, Features, Arc<Remote>)> {
        let mailbox = Arc::new(Mailbox::default());
        let (grace, grace_given) = mpsc::sync_channel(1);
        let (report_to, report) = mpsc::sync_channel(1);
        let (started_to, started) = mpsc::sync_channel(1);
        let jobs = mailbox.clone();
        let body = move || {
            bind(cpu);
            CURRENT.set(Some(CoreId(index)));
            let runtime = match builder.build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(started_to.send(Err(error))),
            };
            let remote = Arc::clone(runtime.core().tasks.remote());
            let _ = started_to.send(Ok((runtime.features().clone(), remote)));
            serve(&runtime, &jobs);
            let report = match grace_given.try_recv() {
                Ok(grace) => runtime.shutdown(grace),
                Err(_) => return,
            };
            let _ = report_to.send(report);
        };
        let thread = thread::Builder::new().name(format!("ringway-{index}")).spawn(body)?;
        let died = |_| Err(io::Error::other("a core died while it started"));
        let (features, remote) = started.recv().unwrap_or_else(died)?;
        let report = std::sync::Mutex::new(report);
        Ok((Self { mailbox, report, grace, thread: Some(thread) }, features, remote))
    }

    fn join(&mut self, deadline: Instant) -> ShutdownReport {
        let left = deadline.saturating_duration_since(Instant::now());
        let report = self.report.get_mut().map(|report| report.recv_timeout(left));
        match report {
            Ok(Ok(report)) => {
                let _ = self.thread.take().map(JoinHandle::join);
                report
            }
            _ => ShutdownReport { leaked: 1, ..ShutdownReport::default() },
        }
    }
}

/// Runs what comes until the mailbox is closed.
fn serve(runtime: &Runtime, jobs: &Mailbox) {
    runtime.block_on(async {
        while let Some(job) = jobs.receive().await {
            job();
        }
    });
}

/// The CPUs that this thread may run on; none if nobody can say.
fn allowed_cpus() -> Vec<usize> {
    let allowed = sched_getaffinity(None).unwrap_or_default();
    (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).collect()
}

/// Binds this thread to `cpu`. It runs no worse than before if that fails.
fn bind(cpu: Option<usize>) {
    if let Some(cpu) = cpu {
        let mut set = CpuSet::new();
        set.set(cpu);
        let _ = sched_setaffinity(None, &set);
    }
}
