//! The benchmark of the runtime: Ringway's three backends and its peers, measured in turn in one run.
//!
//! Every sample is a fresh process of this same program, pinned to one core, that runs one job of one
//! [`Runtime`](runtimes::Runtime); the other core has the load. `rows/` has a file for each subject:
//! the job and how it is measured. `runtimes/` has a file for each runtime. `rounds` interleaves,
//! `compare` pairs, `report` and `json` write it down.

mod child;
mod cli;
mod compare;
mod json;
mod load;
mod machine;
mod meter;
mod report;
mod rounds;
mod rows;
mod runtimes;
mod sys;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [verb, runtime, job, rest @ ..] = args.as_slice()
        && verb == "job"
    {
        return child::run(runtime, job, rest);
    }
    match cli::Options::parse(&args) {
        Ok(options) => rounds::run(&options),
        Err(text) => {
            eprintln!("{text}");
            ExitCode::from(2)
        }
    }
}
