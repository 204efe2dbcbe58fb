//! One way: the server sends as fast as the client takes it.

use std::io;

use super::{Entry, Job, Row, Sample, Scale, Unit, is_runtime};
use crate::child::{self, Child};
use crate::load;
use crate::meter::{Count, Meter};
use crate::rows::files;
use crate::runtimes::{self, Runtime, Subject};

const SIZES: [(usize, &str); 3] =
    [(64 << 10, "64 KiB"), (256 << 10, "256 KiB"), (1 << 20, "1 MiB")];

/// Ways to send without a runtime: from memory, then from a file in the page cache.
pub(crate) const BARE: [&str; 5] =
    ["send", "send MSG_ZEROCOPY", "sendfile", "splice", "pread and send"];

/// Job: sends from memory until it is killed.
pub(crate) fn send<R: Runtime>(runtime: R, size: usize) {
    to_one(runtime, async |mut stream| {
        let mut buf = vec![0x5a; size];
        loop {
            buf = R::send_all(&mut stream, buf).await?;
        }
    });
}

/// Job: the same by zero copy.
pub(crate) fn send_zc<R: Runtime>(runtime: R, size: usize) {
    to_one(runtime, async |stream| R::pour_zc(stream, size).await);
}

/// Job: sends a file that is in the page cache.
pub(crate) fn send_file<R: Runtime>(runtime: R, size: usize, way: &str) {
    files::set_cached(true).unwrap_or_else(|error| panic!("{}: {error}", files::NAME));
    to_one(runtime, async |stream| R::pour_file(stream, size, way).await);
}

/// Serves one connection.
fn to_one<R: Runtime>(runtime: R, send: impl AsyncFnOnce(R::Stream) -> io::Result<()>) {
    runtime.block_on(async {
        let (listener, port) = R::listen().await.unwrap_or_else(|error| panic!("{error}"));
        child::ready(port);
        if let Ok(stream) = R::accept(&listener).await
            && let Err(error) = send(stream).await
        {
            eprintln!("{error}");
        }
    });
}

#[derive(Clone, Copy)]
enum From {
    Memory,
    MemoryByZeroCopy,
    File,
}

struct Transfer {
    size: usize,
    name: &'static str,
    from: From,
}

pub(crate) fn rows() -> Vec<Box<dyn Row>> {
    let row = |(size, name), from| -> Box<dyn Row> { Box::new(Transfer { size, name, from }) };
    let sources = [From::Memory, From::MemoryByZeroCopy, From::File];
    sources.into_iter().flat_map(|from| SIZES.map(|size| row(size, from))).collect()
}

impl Row for Transfer {
    fn name(&self) -> String {
        let source = match self.from {
            From::Memory => "memory",
            From::MemoryByZeroCopy => "memory by zero copy",
            From::File => "a file in the page cache",
        };
        format!("send {} at a time from {source}", self.name)
    }

    fn unit(&self) -> Unit {
        Unit::CpuPerGigabyte
    }

    fn crosses_cores(&self) -> bool {
        true
    }

    fn entries(&self) -> Vec<Entry> {
        let job = |name| Job::new(name, [self.size]);
        let (mut entries, bare) = match self.from {
            From::Memory => (Entry::each(&job("pour"), is_runtime), &BARE[..1]),
            From::MemoryByZeroCopy => {
                (Entry::each_way(&job("pour-zc"), Subject::ZeroCopy), &BARE[1..2])
            }
            From::File => (Entry::each_way(&job("pour-file"), Subject::SendFile), &BARE[2..]),
        };
        if let Some(none) = runtimes::find("none") {
            entries.extend(bare.iter().map(|way| Entry::new(none, way, job(way))));
        }
        entries
    }

    fn measure(&self, entry: &Entry, scale: Scale, count: Count) -> io::Result<Sample> {
        let mut child = Child::start(entry.contender, &entry.job)?;
        child.go()?;
        let pid = child.pid();
        let loaded = load::sink(child.port, scale.window(count), || Meter::start(pid, count))?;
        let bytes = loaded.ops as f64;
        let gigabytes_per_second = bytes / 1e9 / loaded.usage.wall.as_secs_f64();
        Ok(Sample {
            value: loaded.usage.cpu.as_secs_f64() / (bytes / 1e9),
            ops: bytes / self.size as f64,
            usage: loaded.usage,
            extra: vec![("GB/s", gigabytes_per_second), ("load busy", loaded.load_busy)],
        })
    }

    fn note(&self) -> &'static str {
        match self.from {
            From::Memory => "Loopback: the kernel copies, and the client's core copies again.",
            From::MemoryByZeroCopy => {
                "Up to 16 buffers out. No result about zero copy: whatever a receiver on the same host is \
                 to get is copied, and the kernel says so in the notification of every send. So it is \
                 over loopback, and so it is over a veth pair into another network namespace, which \
                 therefore has no row of its own. What is to be seen is the cost of asking. Ringway by \
                 default believes it after the eighth notification, and sends plainly on that connection \
                 from then on; insisting, it asks every time and without its limits on bytes in the kernel's hands, as the others do. \
                 Runtimes that are not here have no zero-copy send, or, as monoio, only from 10 MiB on."
            }
            From::File => {
                "Loopback, where a spliced page is shared with the receiver, not copied. sendfile in \
                 tokio's async_io is a system call of the program's own that stops the whole thread where \
                 the file is not in the page cache; no runtime's own way does."
            }
        }
    }
}
