//! The kernel's own client, cifs, with shares of the real program mounted. Here is what is tried; `./dev client` runs it
//! in a guest that has the client, and where this kernel has it, root may run it as any test.
//!
//! One trial at a time, for what the client says of it in the kernel's log.

#[path = "../support/mod.rs"]
mod support;

mod contents;
mod locks;
mod metadata;
mod mounted;
mod names;
mod random;
mod reconnect;
mod several;
mod ways;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let trials = [
        ways::trials(),
        contents::trials(),
        names::trials(),
        metadata::trials(),
        locks::trials(),
        several::trials(),
        random::trials(),
        reconnect::trials(),
    ];
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect()).exit_code()
}
