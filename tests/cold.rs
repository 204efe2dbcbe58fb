//! Files that the page cache has nothing of, on a disk that takes its time: whoever reads them waits, and nobody else
//! does.

mod support;

use std::collections::HashMap;
use std::fs;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use libtest_mimic::Failed;
use support::content::{Random, same_file};
use support::requests::{Create, access, nt, read};
use support::session::{HEADER, Session, command, expect, status, u64_at};
use support::slow_disk::{SlowDisk, forget};
use support::transfers::READ_FIXED;
use support::{Client, Need, Outcome, Serve, Server, ensure, on_each_backend};

const MIB: usize = 1 << 20;

/// What is read, and how much of it the disk gives in a second.
const LENGTH: usize = 12 * MIB;
const PER_SECOND: u64 = 8 << 20;

/// How many READs the client has on their way.
const DEPTH: usize = 4;

/// Between two questions of who has no part in it; the disk takes a hundred times as long for one READ.
const PAUSE: Duration = Duration::from_millis(1);

fn main() -> ExitCode {
    let needs = [Need::SlowDisk, Need::Smbclient];
    // One core: who waits for nothing shares it with who waits for the disk.
    let serve = || Serve::new().argument("--threads=1");
    let mut trials = Vec::new();
    let mut trial = |name: &str, body: fn(&Server) -> Outcome| {
        let name = format!("{name} READs of a cold file keep nobody else waiting");
        trials.extend(on_each_backend(&name, &needs, serve, body));
    };
    trial("plain", plain);
    trial("signed", |server| by(server, "sign"));
    trial("sealed", |server| by(server, "encrypt"));
    support::run(trials)
}

fn plain(server: &Server) -> Outcome {
    let bytes = Random::new(1).bytes(LENGTH);
    fs::write(server.folder().join("cold"), &bytes)?;
    let mut session = in_share(server)?;
    let file = session.opened(Create::open("cold", access::READ))?;
    while_others_are_served(server, || {
        // Answers come in any order.
        let (mut pending, mut next) = (HashMap::new(), 0);
        while next < LENGTH || !pending.is_empty() {
            if next < LENGTH && pending.len() < DEPTH {
                let body = read(file, u64::try_from(next)?, u32::try_from(MIB)?);
                let request = session.request_charged(command::READ, &body, MIB)?;
                session.wire.send(&request)?;
                pending.insert(u64_at(&request, 24)?, next);
                next += MIB;
                continue;
            }
            let answer = session.wire.receive()?.ok_or("closed instead of an answer")?;
            if status(&answer) == nt::PENDING {
                continue;
            }
            let at = pending.remove(&u64_at(&answer, 24)?).ok_or("an answer to nothing")?;
            expect(status(&answer), nt::SUCCESS, "READ")?;
            let found = answer.get(HEADER + READ_FIXED..).ok_or("a short answer")?;
            ensure(found == &bytes[at..at + MIB], || format!("other bytes at {at}"))?;
        }
        Ok(())
    })?;
    let told = server.told("read ahead so far")?;
    ensure(!told.contains("requests=0"), || format!("nothing was read ahead: {told}"))
}

fn by(server: &Server, protection: &str) -> Outcome {
    let local = server.scratch("local")?;
    fs::write(server.folder().join("cold"), Random::new(2).bytes(LENGTH))?;
    let argument = format!("--client-protection={protection}");
    let client = Client::new(server).argument(&argument).local(&local);
    while_others_are_served(server, || {
        client.run("get cold back")?.success()?;
        Ok(())
    })?;
    same_file(&server.folder().join("cold"), &local.join("back"))
}

/// Reads the file when it is cold. Meanwhile another client asks whether the server is there, again and again: far more
/// often than there are READs, which it can only if its answers do not wait for them.
fn while_others_are_served(server: &Server, reading: impl FnOnce() -> Outcome) -> Outcome {
    forget(&server.folder().join("cold"))?;
    let _slow = SlowDisk::new(server.process(), &server.folder(), PER_SECOND)?;
    let mut other = in_share(server)?;
    let is_over = AtomicBool::new(false);
    let echoes = thread::scope(|scope| {
        let asking = scope.spawn(|| -> Result<usize, Failed> {
            let mut echoes = 0;
            while !is_over.load(Ordering::SeqCst) {
                ensure(other.echo()?, || "no echo".to_owned())?;
                echoes += 1;
                thread::sleep(PAUSE);
            }
            Ok(echoes)
        });
        let read = reading();
        is_over.store(true, Ordering::SeqCst);
        let echoes = asking.join().map_err(|_| Failed::from("who asked panicked"))?;
        read.and(echoes)
    })?;
    ensure(echoes > 5 * LENGTH / MIB, || format!("only {echoes} echoes meanwhile"))
}

/// With the credits for whatever follows.
fn in_share(server: &Server) -> Result<Session, Failed> {
    let mut session = Session::in_share(server.address)?;
    for _ in 0..20 {
        ensure(session.echo()?, || "no echo".to_owned())?;
    }
    Ok(session)
}
