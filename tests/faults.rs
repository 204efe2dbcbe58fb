//! A server under which the kernel is unkind: transfers fall short, are interrupted, lack memory, are cancelled. What can go
//! on does, what cannot fails for whom it concerns alone, and no byte is ever wrong.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use support::content::{Random, same_file, write_file};
use support::guard::Protection;
use support::requests::{Create, FileId, access, nt, write};
use support::server::HARMLESS;
use support::session::{Session, command, framed, u64_at};
use support::transfers::Answer;
use support::{BACKENDS, Client, Need, Outcome, Serve, Server, ensure};

/// What makes requests fail, and connections end: these seldom, or there would be no requests.
const HARMFUL: &str = "short=1/4,interrupted=1/10,no-memory=1/25,cancelled=1/50,\
    recv.no-memory=1/500,recv.cancelled=1/500,send.no-memory=1/500,send.cancelled=1/500,\
    poll.no-memory=1/500,poll.cancelled=1/500";

/// Around the lengths at which the routes change, and as long as a message may be.
const LENGTHS: [usize; 9] =
    [1, 4095, 16 << 10, (32 << 10) - 1, 32 << 10, 100_001, (1 << 20) + 1, (3 << 20) + 777, 8 << 20];

const PROTECTIONS: [Protection; 3] = [Protection::Plain, Protection::Signed, Protection::Sealed];

/// How long the end of a server may take, and what others wait for.
const LIMIT: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let mut trials = Vec::new();
    for (backend, needs) in BACKENDS {
        for protection in PROTECTIONS {
            let name = format!("{protection:?} transfers of every length carry their bytes");
            trials.push(harmless(&name, backend, needs, move |server| {
                every_length(server, protection)
            }));
            let name = format!("{protection:?} transfers that fail leave no byte in a wrong place");
            trials.push(harmful(&name, backend, needs, move |server, seed| {
                some_fail(server, protection, seed)
            }));
        }
        trials.push(broken_payload(backend, needs));
        let needs = [needs, &[Need::Smbclient]].concat();
        trials.push(harmless("smbclient notices nothing", backend, &needs, smbclient));
        let name = "what smbclient says has happened has happened";
        trials.push(harmful(name, backend, &needs, |server, _| said_and_done(server)));
        trials.push(harmless("signals disturb no transfer", backend, &needs, signalled));
    }
    support::run(trials)
}

/// A trial in which nothing may fail.
fn harmless(
    name: &str,
    backend: &'static str,
    needs: &[Need],
    body: impl FnOnce(&Server) -> Outcome + Send + 'static,
) -> Trial {
    support::trial(&format!("{name} ({backend})"), needs, move || {
        let mut server = serve(backend, HARMLESS).start()?;
        let outcome = body(&server).and_then(|()| {
            Client::new(&server).run("ls")?.success()?;
            ended(&mut server, &["short", "interrupted"])
        });
        outcome.map_err(|failed| server.explain(&failed))
    })
}

/// A trial in which requests may fail, by several sequences of faults.
fn harmful(
    name: &str,
    backend: &'static str,
    needs: &[Need],
    body: impl Fn(&Server, u64) -> Outcome + Send + 'static,
) -> Trial {
    support::trial(&format!("{name} ({backend})"), needs, move || {
        for seed in 1..=3 {
            let mut server = started(&serve(backend, &format!("seed={seed},{HARMFUL}")))?;
            let outcome =
                body(&server, seed).and_then(|()| still_serving(&server)).and_then(|()| {
                    ended(&mut server, &["short", "interrupted", "no memory", "cancelled"])
                });
            outcome.map_err(|failed| server.explain(&failed))?;
        }
        Ok(())
    })
}

fn serve(backend: &'static str, faults: &str) -> Serve {
    Serve::new().backend(backend).argument("--threads=1").faults(faults)
}

/// A start may lack memory, too, and says so.
fn started(serve: &Serve) -> Result<Server, Failed> {
    const TRIES: usize = 10;
    let mut started = serve.start();
    for _ in 1..TRIES {
        if started.is_ok() {
            break;
        }
        started = serve.start();
    }
    started
}

/// Not every client has luck, but nobody has to wait for long.
fn still_serving(server: &Server) -> Outcome {
    eventually("no client is served any more", || {
        Ok(Client::new(server).run("ls").and_then(|run| run.success().map(drop)).is_ok())
    })
}

/// Ends a server, which has seen such faults and has not suffered from them.
fn ended(server: &mut Server, faults: &[&str]) -> Outcome {
    server.check_alive()?;
    let status = server.terminate(LIMIT)?;
    ensure(status.success(), || format!("the server ended: {status}"))?;
    // The last lines may still be on their way.
    eventually("nothing is told of faults", || {
        Ok(told(server, "have failed on purpose").is_some())
    })?;
    server.check_no_panic()?;
    let counts = told(server, "have failed on purpose").unwrap_or_default();
    for fault in faults {
        let none = format!("{fault} 0");
        ensure(counts.contains(fault) && !counts.contains(&none), || counts.clone())?;
    }
    match told(server, "what they own is leaked") {
        None => Ok(()),
        Some(line) => Err(line.into()),
    }
}

fn told(server: &Server, text: &str) -> Option<String> {
    server.log.lines().iter().find(|line| line.contains(text)).cloned()
}

fn eventually(otherwise: &str, mut holds: impl FnMut() -> Result<bool, Failed>) -> Outcome {
    let deadline = Instant::now() + LIMIT;
    while !holds()? {
        ensure(Instant::now() < deadline, || otherwise.to_owned())?;
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn every_length(server: &Server, protection: Protection) -> Outcome {
    let mut session = Session::with_credits(server, protection)?;
    // On a page, and not.
    session.every_length(server, "file", &LENGTHS, &[0, 12_345])?;
    let ways = match protection {
        Protection::Plain => [
            "direction=read route=spliced",
            "direction=read route=mapped",
            "direction=write route=spliced",
        ]
        .as_slice(),
        _ => &["direction=read route=buffered", "direction=write route=message"],
    };
    let routes = server.routes()?;
    for way in ways {
        let taken = routes.iter().any(|line| line.contains(*way));
        ensure(taken, || format!("no '{way}' in {routes:#?}"))?;
    }
    Ok(())
}

fn smbclient(server: &Server) -> Outcome {
    let local = server.scratch("local")?;
    for (index, protection) in ["off", "sign", "encrypt"].into_iter().enumerate() {
        let (name, back) = (format!("file-{index}"), format!("back-{index}"));
        write_file(&local.join(&name), 3_000_001, index as u64)?;
        let client = Client::new(server).local(&local);
        let client = client.argument(&format!("--client-protection={protection}"));
        let commands = format!(
            "put {name}; get {name} {back}; mkdir d{index}; rename {name} d{index}\\{name}; \
             ls d{index}\\*; allinfo d{index}\\{name}"
        );
        client.run(&commands)?.success()?.says("3000001")?;
        same_file(&local.join(&name), &local.join(&back))?;
        let folder = server.folder().join(format!("d{index}"));
        same_file(&local.join(&name), &folder.join(&name))?;
    }
    Ok(())
}

/// Puts, gets, renames and deletes, each by a client of its own.
fn said_and_done(server: &Server) -> Outcome {
    const ROUNDS: usize = 8;
    /// By chance nothing may go well for a while.
    const ROUNDS_MAX: usize = 80;
    let (local, shared) = (server.scratch("local")?, server.folder());
    let before = server.descriptors()?;
    let done = |commands: &str| {
        let ran = Client::new(server).local(&local).run(commands);
        ran.map(|run| run.succeeded())
    };
    let (mut happened, mut tried) = (0, 0);
    for round in 0..ROUNDS_MAX {
        if round >= ROUNDS && happened > 0 {
            break;
        }
        let (name, other) = (format!("file-{round}"), format!("other-{round}"));
        write_file(&local.join(&name), 150_001, round as u64)?;
        let is_put = done(&format!("put {name}"))?;
        if is_put {
            same_file(&local.join(&name), &shared.join(&name))?;
            if done(&format!("get {name} back"))? {
                same_file(&local.join(&name), &local.join("back"))?;
            }
        }
        let was_there = shared.join(&name).exists();
        let is_renamed = done(&format!("rename {name} {other}"))?;
        let (old, new) = (shared.join(&name).exists(), shared.join(&other).exists());
        ensure(!is_renamed || new && !old, || format!("{name} was not renamed"))?;
        ensure(old != new || !was_there, || format!("{name} was lost"))?;
        let is_deleted = done(&format!("del {other}"))?;
        let is_there = shared.join(&other).exists();
        ensure(!is_deleted || !is_there, || format!("{other} was not deleted"))?;
        tried += 3;
        happened += [is_put, is_renamed, is_deleted].into_iter().filter(|it| *it).count();
    }
    ensure(happened > 0 && happened < tried, || format!("{happened} of {tried} happened"))?;
    descriptors_are_closed(server, before)
}

/// Beside the interruptions that are made up there are real ones.
fn signalled(server: &Server) -> Outcome {
    let over = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        let signalling = scope.spawn(|| -> Outcome {
            while !over.load(std::sync::atomic::Ordering::SeqCst) {
                // Stopping and going on interrupts what waits, whatever its thread.
                drop(server.stopped()?);
                thread::sleep(Duration::from_millis(3));
            }
            Ok(())
        });
        let moved = smbclient(server);
        over.store(true, std::sync::atomic::Ordering::SeqCst);
        let signalled = signalling.join().map_err(|_| Failed::from("the signals panicked"))?;
        moved.and(signalled)
    })
}

/// A receive that fails within a payload, and one behind it that would not.
fn broken_payload(backend: &'static str, needs: &[Need]) -> Trial {
    let name = format!("a payload that breaks off is never taken for requests ({backend})");
    support::trial(&name, needs, move || {
        // On a ring it takes two, since the first is a refusal.
        let faults = if backend == "epoll" { "recv.no-memory=1/15" } else { "recv.no-memory=1/4" };
        let server = started(&serve(backend, faults))?;
        let mut broken = 0;
        for _ in 0..CLIENTS_MAX {
            match payloads_like_requests(&server) {
                Ok(ended) => broken += usize::from(ended),
                Err(failed) if is_an_end(&failed) => {}
                Err(failed) => return Err(server.explain(&failed)),
            }
            if broken == ENOUGH {
                return server.check_no_panic();
            }
        }
        Err(format!("only {broken} payloads broke off").into())
    })
}

/// Writes what looks like requests to a named stream, which is received as a whole; tells whether that broke off.
fn payloads_like_requests(server: &Server) -> Result<bool, Failed> {
    let mut session = Session::protected(server.address, Protection::Plain)?;
    let file = Create::open("file:stream", access::READ_AND_WRITE).or_create();
    let Ok(file) = session.open(file)? else { return Ok(false) };
    for _ in 0..10 {
        let echo = framed(&session.request(command::ECHO, &[4, 0, 0, 0]));
        let payload = echo.repeat(40_000 / echo.len());
        let request = session.request(command::WRITE, &write(file, 0, &payload)?);
        // A server that has closed shows it in the answer that is missing.
        let _ = session.send(&request);
        loop {
            let Some(answer) = session.wire.receive()? else { return Ok(true) };
            ensure(answer.get(12) != Some(&13), || "a payload was answered".to_owned())?;
            if u64_at(&answer, 24)? == u64_at(&request, 24)? {
                break;
            }
        }
    }
    Ok(false)
}

/// How many transfers are to succeed, of each sort; how many one client tries to make; how many clients there are at
/// most, one after the other.
const ENOUGH: usize = 40;
const TRANSFERS: usize = 12;
const CLIENTS_MAX: usize = 300;
/// Where files may end, more or less.
const REACH: usize = 600_000;

fn some_fail(server: &Server, protection: Protection, seed: u64) -> Outcome {
    let mut random = Random::new(seed);
    let mut tally = BTreeMap::new();
    let before = server.descriptors()?;
    for client in 0..CLIENTS_MAX {
        let name = format!("file-{}", client % 3);
        let ended = with_client(server, protection, &name, &mut random, &mut tally);
        match ended {
            Ok(()) => {}
            Err(failed) if is_an_end(&failed) => *tally.entry("ended").or_insert(0) += 1,
            Err(failed) => return Err(failed),
        }
        let has = |what| tally.get(what).is_some_and(|count| *count >= ENOUGH);
        if has("read") && has("written") {
            ensure(tally.contains_key("refused"), || format!("nothing has failed: {tally:?}"))?;
            return nothing_is_left(server, before);
        }
    }
    Err(format!("too little succeeds: {tally:?}").into())
}

/// Connections and files are closed, however they came to their end.
fn nothing_is_left(server: &Server, before: usize) -> Outcome {
    descriptors_are_closed(server, before)?;
    let memory = server.memory()?;
    ensure(memory < MEMORY_MAX, || format!("{memory} bytes in use"))?;
    for file in 0..3 {
        let name = format!("file-{file}");
        let mut last = None;
        let closed = eventually("a file stays open", || {
            last = Some(opened_alone(server, &name));
            Ok(matches!(last, Some(Ok(true))))
        });
        closed.map_err(|_| format!("{name} stays open: {last:?}"))?;
    }
    Ok(())
}

/// Whether nobody else has a file open, if there is one.
fn opened_alone(server: &Server, name: &str) -> Result<bool, Failed> {
    let mut session = Session::protected(server.address, Protection::Plain)?;
    match session.open(Create::open(name, access::READ).exclusive())? {
        Ok(_) | Err(nt::OBJECT_NAME_NOT_FOUND) => Ok(true),
        Err(status) => Err(format!("{status:#010x}").into()),
    }
}

fn descriptors_are_closed(server: &Server, before: usize) -> Outcome {
    /// Pipes that are kept to be used again, with two ends each.
    const KEPT: usize = 2 * 16 + 8;
    eventually("descriptors stay open", || Ok(server.descriptors()? <= before + KEPT))
}

/// What a server without connections has use for, and the buffers that are kept to be used again.
const MEMORY_MAX: u64 = 160 << 20;

/// Makes transfers as long as the connection lives.
fn with_client(
    server: &Server,
    protection: Protection,
    name: &str,
    random: &mut Random,
    tally: &mut BTreeMap<&'static str, usize>,
) -> Outcome {
    let path = server.folder().join(name);
    let mut session = Session::protected(server.address, protection)?;
    if !session.earn_credits()? {
        return Ok(());
    }
    let mut note = |what| *tally.entry(what).or_insert(0) += 1;
    let Ok(file) = session.open(Create::open(name, access::READ_AND_WRITE).or_create())? else {
        note("refused");
        return Ok(());
    };
    for _ in 0..TRANSFERS {
        let (offset, length) = (random.below(REACH / 2), 1 + random.below(REACH / 2));
        let answer = match random.below(2) {
            0 => a_write(&mut session, file, &path, offset, &random.bytes(length))?,
            _ => a_read(&mut session, file, &path, offset, length)?,
        };
        match answer {
            Answer::Done(what) => note(what),
            Answer::Refused(status) => {
                ensure(REFUSALS.contains(&status), || format!("a wrong status: {status:#010x}"))?;
                note("refused");
            }
            Answer::Closed => {
                note("ended");
                return Ok(());
            }
        }
    }
    session.close(file)
}

/// MS-ERREF 2.3: what says that it may go well another time, and nothing of disks that are broken.
const REFUSALS: [u32; 4] =
    [INSUFFICIENT_RESOURCES, CANCELLED, END_OF_FILE, CONNECTION_DISCONNECTED];
const INSUFFICIENT_RESOURCES: u32 = 0xc000_009a;
const CANCELLED: u32 = 0xc000_0120;
const END_OF_FILE: u32 = 0xc000_0011;
const CONNECTION_DISCONNECTED: u32 = 0xc000_020c;

/// One that succeeds is in the file; of one that fails there may be a part. Nothing else changes.
fn a_write(
    session: &mut Session,
    file: FileId,
    path: &Path,
    offset: usize,
    bytes: &[u8],
) -> Result<Answer<&'static str>, Failed> {
    let mut before = fs::read(path)?;
    let answer = session.put(file, offset as u64, bytes)?;
    let after = fs::read(path)?;
    before.resize(before.len().max(after.len()), 0);
    let (from, to) = (offset.min(before.len()), (offset + bytes.len()).min(before.len()));
    let outside = before.len() == after.len()
        && before[..from] == after[..from]
        && before[to..] == after[to..];
    ensure(outside, || format!("a WRITE of {} at {offset} changed what is beside", bytes.len()))?;
    let mut inside = before[from..to].iter().zip(&after[from..to]).zip(bytes);
    let is_one_of_both = inside.all(|((old, now), new)| now == old || now == new);
    ensure(is_one_of_both, || format!("neither old nor new at {offset}"))?;
    if let Answer::Done(()) = answer {
        let there = after.get(offset..offset + bytes.len()) == Some(bytes);
        ensure(there, || format!("a WRITE of {} at {offset} is not there", bytes.len()))?;
    }
    Ok(named(answer, "written").0)
}

/// One that succeeds brings what there is, and all of it.
fn a_read(
    session: &mut Session,
    file: FileId,
    path: &Path,
    offset: usize,
    length: usize,
) -> Result<Answer<&'static str>, Failed> {
    let on_disk = fs::read(path)?;
    let to = (offset + length).min(on_disk.len());
    let there = on_disk.get(offset..to).unwrap_or_default();
    let (answer, bytes) = named(session.get(file, offset as u64, length)?, "read");
    if let Some(bytes) = bytes {
        ensure(bytes == there, || format!("{} of {length} at {offset}", bytes.len()))?;
    }
    if answer == Answer::Refused(END_OF_FILE) {
        ensure(there.is_empty(), || format!("the file has not ended at {offset}"))?;
    }
    Ok(answer)
}

fn named<T>(answer: Answer<T>, name: &'static str) -> (Answer<&'static str>, Option<T>) {
    match answer {
        Answer::Done(it) => (Answer::Done(name), Some(it)),
        Answer::Refused(status) => (Answer::Refused(status), None),
        Answer::Closed => (Answer::Closed, None),
    }
}

/// Whether a failure is that of a connection which has ended or a logon that was refused, and not silence, a wrong byte or
/// a bad signature.
fn is_an_end(failed: &Failed) -> bool {
    let text = failed.message().unwrap_or_default();
    ["closed instead", "was answered with", "Broken pipe", "reset by peer"]
        .iter()
        .any(|end| text.contains(end))
}
