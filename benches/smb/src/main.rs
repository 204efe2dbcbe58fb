//! The load generator for SMB servers: bytes read and written, and small requests, by a client of our own that costs little
//! beside the server. It starts usmbd and Samba itself, and the floors below both, or goes to a server that there is.
//!
//! `shape` is what may be asked, `load/` asks it, `pattern` and `files` are what is read and written. `contenders` and
//! `floors/` are what is compared. `sample` measures once, `rounds` in turn, `compare` pairs, `report`, `aims`, `chart` and
//! `json` write it down. `torture` has smbtorture do the same, as a second client.

mod aims;
mod chart;
mod cli;
mod compare;
mod contenders;
mod files;
mod floors;
mod folder;
mod histogram;
mod json;
mod load;
mod machine;
mod pattern;
mod report;
mod rounds;
mod sample;
mod shape;
mod torture;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match floors::run(&args) {
        Some(result) => result,
        None => match cli::Options::parse(&args) {
            Ok(options) => rounds::run(&options),
            Err(text) => {
                eprintln!("{text}");
                return ExitCode::from(2);
            }
        },
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("smb-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
