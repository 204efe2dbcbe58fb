//! The benchmark of usmbd with many files, beside Samba: both are programs that are started, given the same folder, and
//! asked the same by a client of our own.
//!
//! The client and the servers are [`smb_common`]'s. `workloads/` has what is asked, `load` asks it over many connections,
//! `contenders` is what is compared. `sample` measures once, `rounds` in turn, `compare` pairs, `report` and
//! `json` write it down.

mod cli;
mod compare;
mod contenders;
mod folder;
mod json;
mod load;
mod machine;
mod report;
mod rounds;
mod sample;
mod workloads;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match cli::Options::parse(&args) {
        Ok(options) => match &options.external {
            Some(target) => rounds::run_against(target, &options),
            None => rounds::run(&options),
        },
        Err(text) => {
            eprintln!("{text}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("files-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
