//! Signed and encrypted READs whose bytes are looked at in the page cache: what arrives is what was there then, and who
//! wants to write gets in.
//!
//! All clients here are on this host, for which what is signed in the page cache is copied from there. The servers of most
//! trials take them for clients on another one, to which the pages themselves go; what these send is then written to only
//! when the client has received it.

mod support;

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, chown};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use support::content::Random;
use support::guard::Protection;
use support::requests::{Create, FileId, access, nt, read};
use support::restrict::{NOBODY, Restriction};
use support::server::HARMLESS;
use support::session::{HEADER, Session, command, expect, status, u64_at};
use support::transfers::READ_FIXED;
use support::{Client, Need, Outcome, Serve, Server, ensure, on_each_backend};

const MIB: usize = 1 << 20;

/// How long something takes that is done at once, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(8);

/// What smbclient calls them.
const SIGNING: [&str; 3] = ["HMAC-SHA256", "AES-128-CMAC", "AES-128-GMAC"];

fn main() -> ExitCode {
    let mut trials = Vec::new();
    let mut add = |name, needs: &[Need], serve: fn() -> Serve, body: fn(&Server) -> Outcome| {
        trials.extend::<Vec<Trial>>(on_each_backend(name, needs, serve, body));
    };
    add("smbclient verifies what is teed", &[Need::Smbclient], remote, smbclient_verifies);
    add("READs of every length are signed as they arrive", &[], remote, every_length);
    add("so they are where transfers fall short", &[], unkind, in_pieces);
    add(
        "READs of every length arrive on this host as they are signed",
        &[],
        local,
        every_length_here,
    );
    add("so they do where transfers fall short", &[], unkind_here, in_pieces_here);
    add("who wants to write waits for no client on this host", &[], local, slow_client_here);
    add("what was signed arrives though the file is cut off", &[], local, cut_off_here);
    add("who writes to a file that is sent here is never signed for", &[], local, raced);
    add("nor is what he writes sealed", &[], unhelped, raced_sealed);
    add("READs of every length are sealed as they are", &[], unhelped, every_length_sealed);
    add("who wants to write does not wait for what is to be sealed", &[], unhelped, slow_sealed);
    add("a program that wants to write gets in at once", &[], remote, program_writes);
    add("a client that wants to write gets in at once", &[], remote, client_writes);
    add("who wants to write waits until a client has what it has read", &[], remote, slow_client);
    add("who wants to write does not wait for a client that is gone", &[], remote, client_gone);
    add(
        "a client that takes nothing is cut off for who wants to write",
        &[],
        remote,
        silent_client,
    );
    add("while somebody may write, and for a while after, bytes are copied", &[], remote, copied);
    trials.push(support::served(
        "files that belong to somebody else are copied, without the right to leases",
        &[Need::Root],
        remote().restricted(Restriction::Unprivileged),
        not_its_own,
    ));
    support::run(trials)
}

fn local() -> Serve {
    Serve::new().argument("--threads=1")
}

/// What is sealed is so where it is mapped only if nobody helps.
fn unhelped() -> Serve {
    local().argument("--helpers=never")
}

fn remote() -> Serve {
    local().argument("--assume-remote-peers")
}

fn unkind() -> Serve {
    remote().faults(HARMLESS)
}

fn unkind_here() -> Serve {
    local().faults(HARMLESS)
}

fn smbclient_verifies(server: &Server) -> Outcome {
    let bytes = file(server, 40 * MIB + 12_345)?;
    let scratch = server.scratch("local")?;
    for algorithm in SIGNING {
        let client = Client::new(server)
            .local(&scratch)
            .argument("--client-protection=sign")
            .option(&format!("client smb3 signing algorithms={algorithm}"));
        client.run("get file got")?.success()?;
        ensure(fs::read(scratch.join("got"))? == bytes, || format!("{algorithm}: other bytes"))?;
    }
    ensure(teed(server)? > 0, || "nothing was teed".to_owned())
}

fn every_length(server: &Server) -> Outcome {
    of_every_length(signed(server)?, server, "teed", |_, _| true)
}

fn every_length_here(server: &Server) -> Outcome {
    of_every_length(signed(server)?, server, "mapped", is_looked_at)
}

fn every_length_sealed(server: &Server) -> Outcome {
    of_every_length(sealed(server)?, server, "mapped", is_looked_at)
}

/// Where whole pages are mapped, if they are many.
fn is_looked_at(offset: usize, length: usize) -> bool {
    offset.is_multiple_of(4096) && length >= MIB
}

fn of_every_length(
    mut session: Session,
    server: &Server,
    route: &str,
    takes_it: fn(usize, usize) -> bool,
) -> Outcome {
    let bytes = file(server, 9 * MIB + 4321)?;
    let id = leased(&mut session)?;
    let before = moved(server, route)?;
    let mut expected = 0;
    let lengths =
        [64 << 10, (64 << 10) + 1, MIB / 4, MIB - 1, MIB, MIB + 1, 3 * MIB + 777, 8 * MIB];
    for length in lengths {
        for offset in [0, 4096, 12_345, 2 * MIB, 9 * MIB - 4096, bytes.len() - 70_000] {
            let end = bytes.len().min(offset + length);
            let found = get(&mut session, id, offset, length)?;
            ensure(found == bytes[offset..end], || format!("{length} from {offset} on"))?;
            expected += usize::from(takes_it(offset, length));
        }
    }
    let moved = moved(server, route)? - before;
    ensure(moved == expected, || format!("{moved} of {expected} were {route}"))
}

fn in_pieces(server: &Server) -> Outcome {
    moved_in_pieces(server, "teed")
}

fn in_pieces_here(server: &Server) -> Outcome {
    moved_in_pieces(server, "mapped")
}

fn moved_in_pieces(server: &Server, route: &str) -> Outcome {
    let bytes = file(server, 3 * MIB)?;
    let mut session = signed(server)?;
    let id = leased(&mut session)?;
    for round in 0..200 {
        let (offset, length) = (round * 4096, 64 << (10 + round % 5));
        let found = get(&mut session, id, offset, length)?;
        ensure(found == bytes[offset..offset + length], || format!("{length} from {offset} on"))?;
    }
    ensure(moved(server, route)? > 0, || format!("nothing was {route}"))
}

fn raced(server: &Server) -> Outcome {
    raced_by(&mut signed(server)?, server)?;
    let teed = teed(server)?;
    ensure(teed == 0, || format!("{teed} READs were teed to this host"))
}

fn raced_sealed(server: &Server) -> Outcome {
    let mut reader = sealed(server)?;
    raced_by(&mut reader, server)?;
    // On a slow machine there may have been no time for a lease.
    let id = leased(&mut reader)?;
    get(&mut reader, id, 0, MIB)?;
    ensure(moved(server, "mapped")? > 0, || "nothing was mapped".to_owned())
}

/// A program and another client write all the time to what is read.
fn raced_by(reader: &mut Session, server: &Server) -> Outcome {
    file(server, 2 * MIB)?;
    let path = path(server);
    let id = reader.opened(Create::open("file", access::READ))?;
    let mut writer = signed(server)?;
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let writing = scope.spawn(|| -> Outcome {
            for turn in 0_u8.. {
                let local = OpenOptions::new().write(true).open(&path)?;
                local.write_all_at(&vec![turn; MIB], 0)?;
                drop(local);
                let open = writer.opened(Create::open("file", access::READ_AND_WRITE))?;
                writer.put(open, MIB as u64 / 2, &vec![turn; MIB])?.done()?;
                writer.close(open)?;
                if is_over.load(Ordering::SeqCst) {
                    break;
                }
                // Time in which nobody has it open to write, and a lease could be had.
                thread::sleep(Duration::from_millis(20));
            }
            Ok(())
        });
        // Each is verified.
        let reading = (0..300).try_for_each(|_| get(reader, id, 0, MIB).map(drop));
        is_over.store(true, Ordering::SeqCst);
        let written = writing.join().map_err(|_| Failed::from("the writer panicked"))?;
        reading.and(written)
    })
}

fn program_writes(server: &Server) -> Outcome {
    let bytes = file(server, 8 * MIB)?;
    let mut session = signed(server)?;
    for round in 0..3 {
        let id = leased(&mut session)?;
        ensure(get(&mut session, id, 0, 8 * MIB)? == bytes, || format!("round {round}"))?;
        let opened = open_to_write(path(server));
        let written = opened.recv_timeout(AT_ONCE).map_err(|_| "a writer waits")??;
        written.write_all_at(&bytes[..100], 0)?;
        // It is read while somebody has it open, too.
        ensure(get(&mut session, id, 0, MIB)? == bytes[..MIB], || "other bytes".to_owned())?;
        session.close(id)?;
    }
    Ok(())
}

fn client_writes(server: &Server) -> Outcome {
    let bytes = file(server, 4 * MIB)?;
    let mut reader = signed(server)?;
    let id = leased(&mut reader)?;
    get(&mut reader, id, 0, MIB)?;
    let mut writer = signed(server)?;
    let begun = Instant::now();
    let written = writer.opened(Create::open("file", access::READ_AND_WRITE))?;
    ensure(begun.elapsed() < AT_ONCE, || format!("it took {:?}", begun.elapsed()))?;
    writer.put(written, 0, &vec![7; MIB])?.done()?;
    let expected = [&vec![7; MIB], &bytes[MIB..]].concat();
    ensure(get(&mut reader, id, 0, 4 * MIB)? == expected, || "other bytes".to_owned())?;
    // What is gone by its name is still there by the open, and another of that name is another file.
    fs::remove_file(path(server))?;
    fs::write(path(server), b"new")?;
    ensure(get(&mut reader, id, 0, 4 * MIB)? == expected, || "other bytes".to_owned())
}

fn slow_client(server: &Server) -> Outcome {
    let bytes = file(server, 8 * MIB)?;
    let mut session = signed(server)?;
    let id = leased(&mut session)?;
    let before = teed(server)?;
    let asked = ask_for_much(&mut session, id)?;
    ensure(teed(server)? > before, || "nothing was teed".to_owned())?;
    let opened = open_to_write(path(server));
    let early = opened.recv_timeout(Duration::from_millis(500));
    ensure(early.is_err(), || "a writer got in while bytes were on their way".to_owned())?;
    for _ in asked {
        ensure(got(&mut session)? == bytes[..4 * MIB], || "other bytes".to_owned())?;
    }
    let written = opened.recv_timeout(AT_ONCE).map_err(|_| "a writer waits")??;
    written.write_all_at(&[1; 100], 0)?;
    ensure(get(&mut session, id, 0, MIB)?[..100] == [1; 100], || "the old bytes".to_owned())
}

fn slow_client_here(server: &Server) -> Outcome {
    slow_here(signed(server)?, server)
}

fn slow_sealed(server: &Server) -> Outcome {
    slow_here(sealed(server)?, server)
}

/// What it has read and not taken is what was there when it was signed or sealed.
fn slow_here(mut session: Session, server: &Server) -> Outcome {
    let bytes = file(server, 8 * MIB)?;
    let id = leased(&mut session)?;
    let before = moved(server, "mapped")?;
    let asked = ask_for_much(&mut session, id)?;
    let carried_out = moved(server, "mapped")? - before;
    ensure(carried_out > 0, || "nothing was mapped".to_owned())?;
    let written = open_to_write(path(server)).recv_timeout(AT_ONCE);
    let written = written.map_err(|_| "a writer waits for a client")??;
    written.write_all_at(&vec![1; 8 * MIB], 0)?;
    // Those that had not been carried out read what is there then, which may be in the middle of the write.
    let old = &bytes[..4 * MIB];
    let mut olds = 0;
    for _ in asked {
        let answer = got(&mut session)?;
        olds += usize::from(answer == old);
        let was_there = answer.iter().zip(old).all(|(byte, old)| byte == old || *byte == 1);
        ensure(was_there && answer.len() == old.len(), || "other bytes".to_owned())?;
    }
    ensure(olds >= carried_out, || format!("{olds} of {carried_out} that had been carried out"))?;
    ensure(get(&mut session, id, 0, MIB)? == vec![1; MIB], || "the old bytes".to_owned())
}

fn cut_off_here(server: &Server) -> Outcome {
    let bytes = file(server, 8 * MIB)?;
    let mut session = signed(server)?;
    let id = leased(&mut session)?;
    let asked = ask_for_much(&mut session, id)?;
    let written = open_to_write(path(server)).recv_timeout(AT_ONCE);
    written.map_err(|_| "a writer waits for a client")??.set_len(0)?;
    let mut arrived = 0;
    for _ in asked {
        let answer = session.next_answer()?.ok_or("closed instead of an answer")?;
        match status(&answer) {
            // Those that had not been carried out.
            nt::END_OF_FILE => continue,
            found => expect(found, nt::SUCCESS, "READ")?,
        }
        ensure(answer[HEADER + READ_FIXED..] == bytes[..4 * MIB], || "other bytes".to_owned())?;
        arrived += 1;
    }
    ensure(arrived > 0, || "none of them had been carried out".to_owned())
}

fn client_gone(server: &Server) -> Outcome {
    file(server, 8 * MIB)?;
    let mut session = signed(server)?;
    let id = leased(&mut session)?;
    ask_for_much(&mut session, id)?;
    let opened = open_to_write(path(server));
    let early = opened.recv_timeout(Duration::from_millis(200));
    ensure(early.is_err(), || "a writer got in while bytes were on their way".to_owned())?;
    drop(session);
    opened.recv_timeout(AT_ONCE).map_err(|_| "a writer waits for nobody")??;
    Ok(())
}

fn silent_client(server: &Server) -> Outcome {
    let bytes = file(server, 8 * MIB)?;
    let time = fs::read_to_string("/proc/sys/fs/lease-break-time")?;
    let time = Duration::from_secs(time.trim().parse()?);
    let mut other = signed(server)?;
    let read = leased(&mut other)?;
    let mut session = signed(server)?;
    let id = leased(&mut session)?;
    let asked = ask_for_much(&mut session, id)?;
    let begun = Instant::now();
    let opened = open_to_write(path(server));
    let written = opened.recv_timeout(time).map_err(|_| "a writer waits for the kernel")??;
    let waited = begun.elapsed();
    ensure(waited >= time / 3, || format!("cut off after {waited:?}"))?;
    ensure(waited < time * 3 / 4, || format!("cut off only after {waited:?}"))?;
    written.write_all_at(&bytes[..100], 0)?;
    let cut_off = asked.into_iter().try_for_each(|_| got(&mut session).map(drop));
    ensure(cut_off.is_err(), || "it got everything".to_owned())?;
    let told =
        server.log.lines().iter().any(|line| line.contains("does not take what it has read"));
    ensure(told, || "the log does not say so".to_owned())?;
    ensure(get(&mut other, read, 0, 8 * MIB)? == bytes, || {
        "the other client has other bytes".to_owned()
    })
}

fn copied(server: &Server) -> Outcome {
    let bytes = file(server, MIB)?;
    let mut session = signed(server)?;
    let id = session.opened(Create::open("file", access::READ))?;
    let writer = OpenOptions::new().append(true).open(path(server))?;
    for _ in 0..10 {
        ensure(get(&mut session, id, 0, MIB)? == bytes, || "other bytes".to_owned())?;
    }
    drop(writer);
    for _ in 0..10 {
        ensure(get(&mut session, id, 0, MIB)? == bytes, || "other bytes".to_owned())?;
    }
    let early = teed(server)?;
    ensure(early == 0, || format!("{early} were teed"))?;
    for _ in 0..100 {
        ensure(get(&mut session, id, 0, MIB)? == bytes, || "other bytes".to_owned())?;
    }
    ensure(teed(server)? > 0, || "it is never tried again".to_owned())
}

fn not_its_own(server: &Server) -> Outcome {
    let bytes = file(server, MIB)?;
    let mut session = signed(server)?;
    let id = session.opened(Create::open("file", access::READ))?;
    for _ in 0..100 {
        ensure(get(&mut session, id, 0, MIB)? == bytes, || "other bytes".to_owned())?;
    }
    let of_others = teed(server)?;
    ensure(of_others == 0, || format!("{of_others} were teed"))?;
    chown(path(server), Some(NOBODY), Some(NOBODY))?;
    let own = leased(&mut session)?;
    ensure(get(&mut session, own, 0, MIB)? == bytes, || "other bytes".to_owned())?;
    ensure(teed(server)? > 0, || "its own are not teed".to_owned())
}

fn path(server: &Server) -> PathBuf {
    server.folder().join("file")
}

fn file(server: &Server, length: usize) -> Result<Vec<u8>, Failed> {
    let bytes = Random::new(1).bytes(length);
    fs::write(path(server), &bytes)?;
    Ok(bytes)
}

/// Opens it in another thread, as long as that may take.
fn open_to_write(path: PathBuf) -> Receiver<std::io::Result<File>> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let _ = tell.send(OpenOptions::new().write(true).open(path));
    });
    told
}

fn teed(server: &Server) -> Result<usize, Failed> {
    moved(server, "teed")
}

/// How many READs have taken this way.
fn moved(server: &Server, route: &str) -> Result<usize, Failed> {
    let routes = server.routes()?;
    let word = format!("route={route}");
    let Some(line) = routes.iter().find(|line| line.contains(&word)) else { return Ok(0) };
    let count = line.split_whitespace().find_map(|word| word.strip_prefix("transfers="));
    Ok(count.ok_or("no count")?.parse()?)
}

/// A session whose messages are signed, with credits for what follows.
fn signed(server: &Server) -> Result<Session, Failed> {
    Session::with_credits(server, Protection::Signed)
}

/// The same, and they are encrypted.
fn sealed(server: &Server) -> Result<Session, Failed> {
    Session::with_credits(server, Protection::Sealed)
}

/// Reads; the signature is verified, or the seal.
fn get(session: &mut Session, id: FileId, offset: usize, length: usize) -> Result<Vec<u8>, Failed> {
    session.get(id, u64::try_from(offset)?, length)?.done()
}

/// Opens the file and reads it until it has a lease.
fn leased(session: &mut Session) -> Result<FileId, Failed> {
    let id = session.opened(Create::open("file", access::READ))?;
    for _ in 0..3 {
        get(session, id, 0, MIB)?;
    }
    Ok(id)
}

/// Asks for more than sockets hold, and takes nothing; when this returns the server is at a loss for more.
fn ask_for_much(session: &mut Session, id: FileId) -> Result<Vec<u64>, Failed> {
    let mut asked = Vec::new();
    for _ in 0..6 {
        let request = session.request_charged(command::READ, &read(id, 0, 4 << 20), 4 * MIB)?;
        session.send(&request)?;
        asked.push(u64_at(&request, 24)?);
    }
    thread::sleep(Duration::from_millis(300));
    Ok(asked)
}

/// What was asked for so, in whatever order.
fn got(session: &mut Session) -> Result<Vec<u8>, Failed> {
    let answer = session.next_answer()?.ok_or("closed instead of an answer")?;
    expect(status(&answer), nt::SUCCESS, "READ")?;
    Ok(answer.get(HEADER + READ_FIXED..).ok_or("a short answer")?.to_vec())
}
