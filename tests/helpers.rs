//! What one core leaves to other processors: large answers that are signed or sealed there, large copies. What the
//! client gets is the same, in the same order, whoever has done it.

mod support;

use std::fs;
use std::process::ExitCode;
use std::thread;

use libtest_mimic::Failed;
use support::content::{Random, same_file};
use support::{Client, Need, Outcome, Serve, Server, ensure, on_each_backend};

/// Several of the largest READs, and no multiple of anything.
const LENGTH: usize = 40_000_001;

/// How many clients there are at a time.
const CLIENTS: usize = 3;

fn main() -> ExitCode {
    let needs = [Need::Smbclient];
    // Whether anything is free on a busy machine or not.
    let always = || Serve::new().argument("--helpers=always").argument("--threads=1");
    let never = || Serve::new().argument("--helpers=never");
    let mut trials = Vec::new();
    for protection in ["encrypt", "sign"] {
        let name = format!("what others {protection} is whole and in order");
        trials.extend(on_each_backend(&name, &needs, always, move |server| {
            round_trips(server, protection)?;
            let told = server.told(LEFT)?;
            let is_none = |what: &str| told.contains(&format!("{what}=0 "));
            ensure(!is_none("protected") && !is_none("copied"), || format!("all alone: {told}"))
        }));
    }
    let name = "a server that is to do everything on its cores leaves nothing to others";
    trials.extend(on_each_backend(name, &needs, never, |server| {
        round_trips(server, "encrypt")?;
        let told = server.told(LEFT)?;
        ensure(told.contains("protected=0 copied=0"), || format!("not alone: {told}"))
    }));
    support::run(trials)
}

/// By which the line begins that says what was left to others.
const LEFT: &str = "left to other processors so far";

/// Several clients get and put large files at the same time.
fn round_trips(server: &Server, protection: &str) -> Outcome {
    let bytes = Random::new(3).bytes(LENGTH);
    fs::write(server.folder().join("large"), &bytes)?;
    thread::scope(|scope| {
        let start = |index| scope.spawn(move || round_trip(server, protection, index));
        let clients: Vec<_> = (0..CLIENTS).map(start).collect();
        clients.into_iter().try_for_each(|client| {
            client.join().map_err(|_| Failed::from("a client's thread panicked"))?
        })
    })
}

fn round_trip(server: &Server, protection: &str, index: usize) -> Outcome {
    let local = server.scratch(&format!("local-{index}"))?;
    let argument = format!("--client-protection={protection}");
    let client = Client::new(server).argument(&argument).local(&local);
    client.run(&format!("get large back; put back copy-{index}"))?.success()?;
    let original = server.folder().join("large");
    same_file(&original, &local.join("back"))?;
    same_file(&original, &server.folder().join(format!("copy-{index}")))
}
