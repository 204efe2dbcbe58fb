//! What a connection costs in memory while it does nothing.

use std::io::{self, Read, Write};

use super::{Entry, Job, Row, Sample, Scale, Unit, is_runtime};
use crate::child::Child;
use crate::load;
use crate::meter::{Count, Meter};
use crate::sys;

/// Each connection's buffer in the server. It counts.
const BUFFER_LEN: usize = 4096;

/// How many connections.
const CONNECTIONS: usize = 10_000;

struct Idle;

pub(crate) fn rows() -> Vec<Box<dyn Row>> {
    vec![Box::new(Idle)]
}

impl Row for Idle {
    fn name(&self) -> String {
        "memory of an idle connection".to_owned()
    }

    fn unit(&self) -> Unit {
        Unit::Bytes
    }

    fn crosses_cores(&self) -> bool {
        false
    }

    fn entries(&self) -> Vec<Entry> {
        Entry::each(&Job::new("echo", [BUFFER_LEN]), is_runtime)
    }

    fn measure(&self, entry: &Entry, scale: Scale, count: Count) -> io::Result<Sample> {
        let mut child = Child::start(entry.contender, &entry.job)?;
        child.go()?;
        let meter = Meter::start(child.pid(), count)?;
        // The first connection's share has the runtime's own start in it.
        let first = idle_connection(child.port)?;
        let before = resident(&child);
        let connections = scale.count(CONNECTIONS);
        let rest: Vec<_> =
            (0..connections).map(|_| idle_connection(child.port)).collect::<io::Result<_>>()?;
        let after = resident(&child);
        let usage = meter.stop()?;
        drop((first, rest));
        let value = (after.saturating_sub(before)) as f64 / connections as f64;
        Ok(Sample { value, ops: connections as f64, usage, extra: Vec::new() })
    }

    fn note(&self) -> &'static str {
        "Growth of the server's resident anonymous memory per connection that has echoed one message and \
         waits for the next, its task and its buffer of 4 KiB included."
    }
}

/// A connection that has been served once.
fn idle_connection(port: u16) -> io::Result<std::net::TcpStream> {
    let mut socket = load::connect(port)?;
    let mut message = [0x5a; 64];
    socket.write_all(&message)?;
    socket.read_exact(&mut message)?;
    Ok(socket)
}

fn resident(child: &Child) -> u64 {
    sys::of_process(child.pid(), "RssAnon") * 1024
}
