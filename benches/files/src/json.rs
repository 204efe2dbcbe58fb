//! Every sample, to keep and to look at in other ways.

use serde_json::{Value, json};

use crate::compare::{Line, RowResult};
use crate::contenders::CONTENDERS;
use crate::machine::Machine;

/// Everything, sample by sample.
pub(crate) fn of(machine: &Machine, results: &[RowResult]) -> String {
    let servers = CONTENDERS.iter().map(|it| json!({"name": it.name, "settings": it.settings}));
    let value = machine.run.json(json!({
        "file_system": machine.file_system,
        "signing": machine.signing,
        "versions": machine.versions,
        "servers": servers.collect::<Vec<_>>(),
        "rows": results.iter().map(row).collect::<Vec<_>>(),
    }));
    format!("{value:#}\n")
}

fn row(result: &RowResult) -> Value {
    json!({
        "row": result.name,
        "unit": format!("{}/s", result.unit),
        "better": "more",
        "lines": result.lines.iter().map(line).collect::<Vec<_>>(),
    })
}

fn line(line: &Line) -> Value {
    let samples = line.samples.iter().map(|sample| {
        json!({
            "round": sample.round,
            "rate": sample.rate(),
            "ops": sample.done.operations,
            "cpu_us_per_op": sample.cpu_micros(),
            "server_share": sample.server_share(),
            "load_share": sample.load_share(),
            "core_distance_ns": sample.distance.nanos(),
            "steady": sample.is_steady,
            "undisturbed": sample.is_undisturbed,
        })
    });
    json!({
        "name": line.contender.name,
        "error": line.error,
        "syscalls_per_op": line.syscalls,
        "samples": samples.collect::<Vec<_>>(),
    })
}
