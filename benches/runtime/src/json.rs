//! Every sample, to keep and to look at in other ways.

use serde_json::{Value, json};

use crate::compare::RowResult;
use crate::machine::Machine;
use crate::rows::{Sample, Unit};

/// Everything, sample by sample.
pub(crate) fn of(machine: &Machine, results: &[RowResult]) -> String {
    let settings: Vec<_> = machine
        .settings
        .iter()
        .map(|(name, text)| json!({"name": name, "settings": text}))
        .collect();
    let versions: Vec<_> =
        machine.versions.iter().map(|(name, v)| json!({"name": name, "version": v})).collect();
    let value = machine.run.json(json!({
        "runtimes": settings,
        "packages": versions,
        "rows": results.iter().map(row_json).collect::<Vec<_>>(),
    }));
    format!("{value:#}\n")
}

fn row_json(result: &RowResult) -> Value {
    let lines = result.lines.iter().map(|line| {
        json!({
            "name": line.entry.label,
            "error": line.error,
            "syscalls_per_op": line.syscalls,
            "samples": line.samples.iter().map(|taken| {
                json!({
                    "round": taken.round,
                    "value": taken.sample.value,
                    "ops": taken.sample.ops,
                    "cpu_us_per_op": taken.sample.cpu_micros(),
                    "sleeps_per_op": taken.sample.sleeps(),
                    "wait_for_core_per_s": taken.sample.usage.delay.as_secs_f64()
                        / taken.sample.usage.wall.as_secs_f64(),
                    "core_distance_ns": taken.distance.nanos(),
                    "steady": taken.is_steady,
                    "undisturbed": taken.is_undisturbed,
                    "extra": extra_json(&taken.sample),
                })
            }).collect::<Vec<_>>(),
        })
    });
    let better = if result.unit == Unit::KiloPerSecond { "more" } else { "less" };
    json!({
        "row": result.name,
        "unit": result.unit.text(),
        "better": better,
        "lines": lines.collect::<Vec<_>>(),
    })
}

fn extra_json(sample: &Sample) -> Value {
    sample.extra.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect()
}
