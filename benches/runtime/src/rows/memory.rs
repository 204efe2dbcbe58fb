//! What a connection costs in memory while it does nothing.

use std::io::{self, Read, Write};

use super::{Entry, Job, Row, Sample, Scale, Unit, is_runtime};
use crate::child::Child;
use crate::load;
use crate::meter::{Count, Meter};
use crate::runtimes::Subject;
use crate::sys;

/// Each connection's buffer in the server, where it has one. It counts.
const BUFFER_LEN: usize = 4096;

/// How many connections.
const CONNECTIONS: usize = 10_000;

struct Idle {
    has_buffer: bool,
}

pub(crate) fn rows() -> Vec<Box<dyn Row>> {
    vec![Box::new(Idle { has_buffer: true }), Box::new(Idle { has_buffer: false })]
}

impl Row for Idle {
    fn name(&self) -> String {
        let what = if self.has_buffer { "with its buffer" } else { "without a buffer" };
        format!("memory of an idle connection {what}")
    }

    fn unit(&self) -> Unit {
        Unit::Bytes
    }

    fn crosses_cores(&self) -> bool {
        false
    }

    fn entries(&self) -> Vec<Entry> {
        if self.has_buffer {
            Entry::each(&Job::new("echo", [BUFFER_LEN]), is_runtime)
        } else {
            let job = Job::new("echo-without-buffer", [BUFFER_LEN]);
            Entry::each_way(&job, Subject::IdleWithoutBuffer)
        }
    }

    fn measure(&self, entry: &Entry, scale: Scale, count: Count) -> io::Result<Sample> {
        let mut child = Child::start(entry.contender, &entry.job)?;
        child.go()?;
        let meter = Meter::start(child.pid(), count)?;
        // The first connection's share has the runtime's own start in it.
        let first = idle_connection(child.port)?;
        let (before, kernel_before) = (resident(&child), sys::kernel_memory());
        let connections = scale.count(CONNECTIONS);
        let rest: Vec<_> =
            (0..connections).map(|_| idle_connection(child.port)).collect::<io::Result<_>>()?;
        let (after, kernel_after) = (resident(&child), sys::kernel_memory());
        let usage = meter.stop()?;
        drop((first, rest));
        let each = |growth: u64| growth as f64 / connections as f64;
        let value = each(after.saturating_sub(before));
        let kernel = each(kernel_after.saturating_sub(kernel_before));
        Ok(Sample { value, ops: connections as f64, usage, extra: vec![("kernel", kernel)] })
    }

    fn note(&self) -> &'static str {
        if self.has_buffer {
            "Growth of the server's resident anonymous memory per connection that has echoed one message \
             and waits for the next, its task and its buffer of 4 KiB included. \"kernel\" is what the \
             machine's kernel allocated meanwhile, both ends' sockets and everybody else's included: what \
             a waiting operation costs there is in the differences."
        } else {
            "The same for programs that are written so that a connection has no buffer while it waits: \
             the runtime has a pool of buffers for all, or the program waits for readiness and takes a \
             buffer then. glommio has neither."
        }
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
