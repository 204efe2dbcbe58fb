//! One way: the server sends as fast as the client takes it.

use std::io;

use super::{Entry, Job, Row, Sample, Scale, Unit, is_runtime};
use crate::child::{self, Child};
use crate::load;
use crate::meter::{Count, Meter};
use crate::runtimes::{self, Runtime};

const SIZES: [(usize, &str); 3] =
    [(64 << 10, "64 KiB"), (256 << 10, "256 KiB"), (1 << 20, "1 MiB")];

/// Ways to send without a runtime: from memory, then from a file in the page cache.
pub(crate) const BARE: [&str; 5] =
    ["send", "send MSG_ZEROCOPY", "sendfile", "splice", "pread and send"];

/// The job: sends until it is killed, by zero copy or not.
pub(crate) fn serve<R: Runtime>(runtime: R, size: usize, zero_copy: bool) {
    runtime.block_on(async {
        let (listener, port) = R::listen().await.unwrap_or_else(|error| panic!("{error}"));
        child::ready(port);
        if let Ok(stream) = R::accept(&listener).await {
            let _ = match zero_copy {
                true => R::pour_zc(stream, size).await,
                false => R::pour(stream, size).await,
            };
        }
    });
}

struct Transfer {
    size: usize,
    name: &'static str,
    file: bool,
}

pub(crate) fn rows() -> Vec<Box<dyn Row>> {
    let row = |(size, name), file| -> Box<dyn Row> { Box::new(Transfer { size, name, file }) };
    let memory = SIZES.into_iter().map(|size| row(size, false));
    memory.chain(SIZES.into_iter().map(|size| row(size, true))).collect()
}

impl Row for Transfer {
    fn name(&self) -> String {
        let source = if self.file { "a file in the page cache" } else { "memory" };
        format!("send {} at a time from {source}", self.name)
    }

    fn unit(&self) -> Unit {
        Unit::CpuPerGigabyte
    }

    fn crosses_cores(&self) -> bool {
        true
    }

    fn entries(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        if !self.file {
            entries.extend(Entry::each(&Job::new("pour", [self.size, 0]), is_runtime));
            let zero_copy =
                Entry::each(&Job::new("pour", [self.size, 1]), |contender| (contender.send_zc)());
            entries.extend(
                zero_copy
                    .into_iter()
                    .map(|entry| Entry { label: format!("{}: send_zc", entry.label), ..entry }),
            );
        }
        let bare = if self.file { &BARE[2..] } else { &BARE[..2] };
        let none = runtimes::find("none");
        entries.extend(none.into_iter().flat_map(|none| {
            bare.iter().map(|&way| Entry {
                label: format!("none: {way}"),
                contender: none,
                job: Job { name: way.to_owned(), args: vec![self.size.to_string()] },
            })
        }));
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
        if self.file {
            "Loopback, where a spliced page is shared with the receiver, not copied."
        } else {
            "Loopback always copies: the zero-copy lines show the cost of asking for it, and are no \
             result about zero copy."
        }
    }
}
