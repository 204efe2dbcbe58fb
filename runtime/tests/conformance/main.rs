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
mod world;

mod data;
mod messages;
mod metadata;
mod paths;
mod pipes;
mod readiness;
mod sockets;
mod streams;

mod cancels;
mod connections;
mod descriptors;
mod drops;
#[path = "../support/emulated.rs"]
mod emulated;
mod ends;
mod identities;
mod memlock;
mod pressure;
mod soak;
#[path = "../support/watched.rs"]
mod watched;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    if let Some(role) = child::role() {
        return child::play(&role);
    }
    let mut trials: Vec<_> = cases().flat_map(config::trials).collect();
    trials.extend(cases().flat_map(drops::trials));
    trials.extend(cancels::trials());
    trials.extend(connections::trials());
    trials.extend(descriptors::trials());
    trials.extend(ends::trials());
    trials.extend(identities::trials());
    trials.extend(memlock::trials());
    trials.extend(pressure::trials());
    trials.extend(soak::trials());
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// All that have an oracle.
fn cases() -> impl Iterator<Item = &'static case::Case> {
    let files = data::CASES.iter().chain(&metadata::CASES).chain(&paths::CASES);
    let sockets = sockets::CASES.iter().chain(&streams::CASES).chain(&readiness::CASES);
    files.chain(&pipes::CASES).chain(sockets).chain(&messages::CASES)
}
