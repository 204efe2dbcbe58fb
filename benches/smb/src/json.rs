//! Every sample as a line, to keep and to look at in other ways.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use measure::pairs::Paired;
use serde_json::{Value, json};

use crate::machine::Machine;
use crate::sample::{PERCENTILES, Sample};
use crate::shape::{Shape, protection_text};

/// Where lines go, if anywhere.
pub(crate) struct Lines(Option<File>);

impl Lines {
    /// The first line is about the run.
    pub(crate) fn begin(path: Option<&Path>, machine: &Machine) -> io::Result<Self> {
        let mut lines = Self(path.map(File::create).transpose()?);
        lines.put(&machine.json())?;
        Ok(lines)
    }

    pub(crate) fn sample(&mut self, shape: &Shape, name: &str, sample: &Sample) -> io::Result<()> {
        self.put(&of(shape, name, sample))
    }

    fn put(&mut self, value: &Value) -> io::Result<()> {
        match &mut self.0 {
            Some(file) => writeln!(file, "{value}"),
            None => Ok(()),
        }
    }
}

fn of(shape: &Shape, name: &str, sample: &Sample) -> Value {
    let latency = sample.latency.map(|(percentiles, most)| {
        let named = PERCENTILES.iter().zip(percentiles);
        let named = named.map(|(share, value)| (format!("p{}", share * 100.0), json!(value)));
        Value::Object(named.chain([("max".to_owned(), json!(most))]).collect())
    });
    json!({
        "row": shape.to_string(),
        "workload": shape.workload.name(),
        "size": shape.size,
        "random": shape.random,
        "connections": shape.connections,
        "depth": shape.depth,
        "channels": shape.channels,
        "dialect": format!("{:#06x}", shape.dialect.0),
        "protection": protection_text(shape.protection),
        "name": name,
        "round": sample.round,
        "seconds": sample.time.as_secs_f64(),
        "operations": sample.operations,
        "bytes": sample.bytes,
        "verified": sample.verified,
        "latency_s": latency,
        "server_cpu_s": sample.server.map(|time| time.as_secs_f64()),
        "load_cpu_s": sample.load.as_secs_f64(),
        "switches": sample.switches,
        "memory_bytes": sample.memory,
        "syscalls": sample.syscalls,
        "core_distance_ns": sample.distance.nanos(),
        "good": sample.is_good(),
    })
}
