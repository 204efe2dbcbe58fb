//! Whether a processor is free to take part in what takes one core long, and how often one has.
//!
//! A connection lives on one core, and what it has to compute and to copy takes that core's time. Others may do some
//! of it, if nothing of this server runs there: fewer of its cores are awake, with those that help already, than
//! there are processors. What other programs do there is the kernel's to weigh.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::available_parallelism;

use ringway::cores::Load;

/// When a core leaves some of its work to others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Helping {
    /// Where a processor is free.
    #[default]
    Auto,
    /// Never.
    Never,
    /// Whether one is free or not, up to as many at a time as there are.
    Always,
}

impl fmt::Display for Helping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Auto => "auto",
            Self::Never => "never",
            Self::Always => "always",
        })
    }
}

impl FromStr for Helping {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "never" => Ok(Self::Never),
            "always" => Ok(Self::Always),
            _ => Err("it should be auto, never or always"),
        }
    }
}

/// What others may do for a core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Help {
    /// Sign or seal an answer.
    Protect,
    /// Copy bytes out of a file, or into one.
    Copy,
}

/// The processors, as far as this server uses them. All cores share one.
#[derive(Debug)]
pub struct Processors {
    helping: Helping,
    count: usize,
    load: Load,
    /// How many help now.
    helpers: AtomicUsize,
    /// How often one has, by [`Help`].
    helped: [AtomicU64; 2],
}

/// A processor that helps until this is dropped, on whatever thread.
#[derive(Debug)]
pub struct Helper(Arc<Processors>);

impl Processors {
    /// All that this process may run on, of which `load` tells how many the cores use.
    #[must_use]
    pub fn new(helping: Helping, load: Load) -> Self {
        let count = available_parallelism().map_or(1, usize::from);
        Self { helping, count, load, helpers: AtomicUsize::new(0), helped: Default::default() }
    }

    /// One to help, which is counted, if one is free.
    #[must_use]
    pub fn help(self: &Arc<Self>, with: Help) -> Option<Helper> {
        let max = self.helpers_max();
        // Two cores may find the same one free; but no more help than there are processors that are free to one.
        let one_more = |helpers: usize| (helpers < max).then_some(helpers + 1);
        self.helpers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        self.helped[with as usize].fetch_add(1, Ordering::Relaxed);
        Some(Helper(Arc::clone(self)))
    }

    /// Whether one is free.
    fn has_help(&self) -> bool {
        self.helpers.load(Ordering::Relaxed) < self.helpers_max()
    }

    fn helpers_max(&self) -> usize {
        match self.helping {
            Helping::Never => 0,
            Helping::Always => self.count,
            Helping::Auto => self.count.saturating_sub(self.load.awake()),
        }
    }

    /// How often others have helped with that.
    #[must_use]
    pub fn helped(&self, with: Help) -> u64 {
        self.helped[with as usize].load(Ordering::Relaxed)
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.0.helpers.fetch_sub(1, Ordering::Relaxed);
    }
}

thread_local! {
    /// Who may help this core; nobody helps a thread that is none.
    static PROCESSORS: RefCell<Option<Arc<Processors>>> = const { RefCell::new(None) };
    /// Requests that this core is at.
    static AT_WORK: Cell<usize> = const { Cell::new(0) };
}

/// Lets this core be helped.
pub(crate) fn join(processors: Arc<Processors>) {
    PROCESSORS.set(Some(processors));
}

/// One to help this core, if one is free.
#[must_use]
pub(crate) fn help(with: Help) -> Option<Helper> {
    PROCESSORS.with_borrow(|processors| processors.as_ref()?.help(with))
}

/// Whether one is free to help this core.
#[must_use]
pub(crate) fn has_help() -> bool {
    PROCESSORS.with_borrow(|processors| processors.as_ref().is_some_and(|it| it.has_help()))
}

/// A request that a core is at, until it is answered or waits for what others do.
#[derive(Debug)]
pub(crate) struct AtWork(());

impl AtWork {
    /// On this core.
    pub(crate) fn new() -> Self {
        AT_WORK.set(AT_WORK.get() + 1);
        Self(())
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        AT_WORK.set(AT_WORK.get().saturating_sub(1));
    }
}

/// Whether this core is at more than one request.
pub(crate) fn has_more_to_do() -> bool {
    AT_WORK.get() > 1
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use ringway::{Builder, Cores};

    use super::*;

    /// With so many processors, of which two are cores' of their own.
    fn processors(helping: Helping, count: usize, cores: &Cores) -> Arc<Processors> {
        Arc::new(Processors { count, ..Processors::new(helping, cores.load()) })
    }

    fn cores() -> Cores {
        let cores = Cores::start(2, &Builder::new()).unwrap();
        reach(&cores, 0);
        cores
    }

    /// Waits until so many are awake.
    fn reach(cores: &Cores, awake: usize) {
        while cores.load().awake() != awake {
            std::thread::yield_now();
        }
    }

    #[test]
    fn no_more_help_at_a_time_than_there_are_processors() {
        let cores = cores();
        for helping in [Helping::Auto, Helping::Always] {
            let processors = processors(helping, 2, &cores);
            let (first, second) = (processors.help(Help::Protect), processors.help(Help::Copy));
            assert!(first.is_some() && second.is_some());
            assert!(processors.help(Help::Copy).is_none());
            drop(first);
            assert!(processors.help(Help::Protect).is_some());
            assert_eq!((processors.helped(Help::Protect), processors.helped(Help::Copy)), (2, 1));
        }
        assert!(processors(Helping::Never, 2, &cores).help(Help::Copy).is_none());
    }

    #[test]
    fn a_processor_is_free_while_fewer_cores_are_awake_than_there_are() {
        let cores = cores();
        let awake = Arc::new(Barrier::new(3));
        for core in 0..2 {
            let awake = Arc::clone(&awake);
            let busy = move || async move {
                awake.wait();
                awake.wait();
            };
            cores.spawn_on(core, busy).unwrap();
        }
        awake.wait();
        assert!(processors(Helping::Auto, 2, &cores).help(Help::Copy).is_none());
        assert!(processors(Helping::Always, 2, &cores).help(Help::Copy).is_some());
        let three = processors(Helping::Auto, 3, &cores);
        let helper = three.help(Help::Copy);
        assert!(helper.is_some() && three.help(Help::Copy).is_none());
        awake.wait();
    }

    #[test]
    fn nobody_helps_a_thread_that_is_no_core() {
        assert!(help(Help::Protect).is_none());
        join(processors(Helping::Always, 1, &cores()));
        assert!(help(Help::Protect).is_some());
    }

    #[test]
    fn a_core_has_more_to_do_while_it_is_at_two_requests() {
        let one = AtWork::new();
        assert!(!has_more_to_do());
        let other = AtWork::new();
        assert!(has_more_to_do());
        drop(one);
        assert!(!has_more_to_do());
        drop(other);
    }
}
