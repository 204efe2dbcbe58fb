//! Accept storm: connect, a byte there, a byte back, close.

use std::io;

use super::{Entry, Job, Row, Sample, Scale, Unit, rate};
use crate::child::{self, Child};
use crate::load;
use crate::meter::{Count, Meter};
use crate::runtimes::Runtime;

/// How many connections are on their way at once.
const AT_ONCE: usize = 32;

/// The job: serves until it is killed.
pub(crate) fn serve<R: Runtime>(runtime: R) {
    runtime.block_on(async {
        let (listener, port) = R::listen().await.unwrap_or_else(|error| panic!("{error}"));
        child::ready(port);
        while let Ok(stream) = R::accept(&listener).await {
            R::detach(async move { drop(R::greet(stream).await) });
        }
    });
}

struct Accept;

pub(crate) fn rows() -> Vec<Box<dyn Row>> {
    vec![Box::new(Accept)]
}

impl Row for Accept {
    fn name(&self) -> String {
        format!("accept storm, {AT_ONCE} at once")
    }

    fn unit(&self) -> Unit {
        Unit::KiloPerSecond
    }

    fn crosses_cores(&self) -> bool {
        true
    }

    fn entries(&self) -> Vec<Entry> {
        Entry::each(&Job::new("accept", []), |_| true)
    }

    fn measure(&self, entry: &Entry, scale: Scale, count: Count) -> io::Result<Sample> {
        let mut child = Child::start(entry.contender, &entry.job)?;
        child.go()?;
        let pid = child.pid();
        let start = || Meter::start(pid, count);
        let loaded = load::connects(child.port, AT_ONCE, scale.window(count), start)?;
        let mut sample = rate(loaded.ops, loaded.usage.wall, loaded.usage);
        sample.extra.push(("load busy", loaded.load_busy));
        Ok(sample)
    }

    fn note(&self) -> &'static str {
        "The load makes some eight system calls per connection and may be the limit (\"load busy\" near \
         1); then CPU per operation is what tells."
    }
}
