//! The conformance suite: each operation, on each backend, each rung and under masks and refusals, gives
//! the results and the errors that the plain system calls give; and what is done to operations halfway
//! leaves nothing behind.
//!
//! A [`case::Case`] is a script that runs twice: through Ringway ([`config`] says how) and as plain
//! system calls, the oracle. What both tell is compared line by line. The other trials have no such
//! oracle: they drop, cancel, flood and count.

mod case;
mod child;
mod config;
mod counts;

mod data;
mod metadata;
mod paths;
mod readiness;
mod sockets;
mod world;

mod cancels;
mod descriptors;
mod drops;
mod ends;
mod memlock;
mod pressure;
mod soak;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    if let Some(role) = child::role() {
        return child::play(&role);
    }
    let cases =
        [&data::CASES[..], &metadata::CASES, &paths::CASES, &sockets::CASES, &readiness::CASES];
    let mut trials: Vec<_> = cases.into_iter().flatten().flat_map(config::trials).collect();
    trials.extend(drops::trials());
    trials.extend(descriptors::trials());
    trials.extend(cancels::trials());
    trials.extend(pressure::trials());
    trials.extend(ends::trials());
    trials.extend(memlock::trials());
    trials.extend(soak::trials());
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
