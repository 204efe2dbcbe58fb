//! Ping-pong: each connection sends a message and waits until it is back.

use std::io;

use super::{Entry, Job, Row, Sample, Scale, Unit, rate};
use crate::child::{self, Child};
use crate::load;
use crate::meter::{Count, Meter};
use crate::runtimes::Runtime;

/// Each connection's only buffer in the server, whatever the size of the messages.
pub(crate) const BUFFER_LEN: usize = 16 << 10;

const SIZES: [(usize, &str); 3] = [(64, "64 B"), (1 << 10, "1 KiB"), (16 << 10, "16 KiB")];

const CONNECTIONS: [usize; 3] = [1, 64, 512];

/// The job: serves until it is killed.
pub(crate) fn serve<R: Runtime>(runtime: R, buffer_len: usize) {
    runtime.block_on(async {
        let (listener, port) = R::listen().await.unwrap_or_else(|error| panic!("{error}"));
        child::ready(port);
        while let Ok(stream) = R::accept(&listener).await {
            R::detach(async move { drop(R::echo(stream, buffer_len).await) });
        }
    });
}

/// Job: the same, with buffers only where something has come.
pub(crate) fn serve_without_buffer<R: Runtime>(runtime: R, buffer_len: usize) {
    runtime.block_on(async {
        let (listener, port) = R::listen().await.unwrap_or_else(|error| panic!("{error}"));
        child::ready(port);
        while let Ok(stream) = R::accept(&listener).await {
            R::detach(async move { drop(R::echo_without_buffer(stream, buffer_len).await) });
        }
    });
}

struct Echo {
    size: usize,
    name: &'static str,
    connections: usize,
}

pub(crate) fn rows() -> Vec<Box<dyn Row>> {
    let row =
        |(size, name), connections| -> Box<dyn Row> { Box::new(Echo { size, name, connections }) };
    SIZES.into_iter().flat_map(|size| CONNECTIONS.map(|count| row(size, count))).collect()
}

impl Row for Echo {
    fn name(&self) -> String {
        format!("echo {}, {} connections", self.name, self.connections)
    }

    fn unit(&self) -> Unit {
        Unit::KiloPerSecond
    }

    fn crosses_cores(&self) -> bool {
        true
    }

    fn entries(&self) -> Vec<Entry> {
        Entry::each(&Job::new("echo", [BUFFER_LEN]), |_| true)
    }

    fn measure(&self, entry: &Entry, scale: Scale, count: Count) -> io::Result<Sample> {
        let mut child = Child::start(entry.contender, &entry.job)?;
        child.go()?;
        let window = scale.window(count);
        let pid = child.pid();
        let start = || Meter::start(pid, count);
        let loaded = load::echo(child.port, self.connections, self.size, window, start)?;
        let mut sample = rate(loaded.ops, loaded.usage.wall, loaded.usage);
        sample.extra.push(("load busy", loaded.load_busy));
        Ok(sample)
    }
}
