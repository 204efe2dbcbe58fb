//! What a client must not be able to break, each tried over raw SMB against a server process of its own: files that
//! others have open, names that are about to go, the server's memory and its time.

mod support;

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use support::content::{expect_names, names};
use support::requests::{Create, FileId, access, close, file_id, nt, query_directory, read, write};
use support::server::{SHARE, USER};
use support::session::{Session, command, expect, framed, status, u64_at};
use support::{Outcome, Serve, Server, ensure};

/// In a WRITE: at the end of the file, MS-FSA 2.1.5.3.
const AT_THE_END: u64 = u64::MAX;

type Body = fn(&Server) -> Outcome;

fn main() -> ExitCode {
    support::run([deletion(), in_flight(), memory_and_time()].into_iter().flatten().collect())
}

fn deletion() -> Vec<Trial> {
    let trial = |name, body: Body| support::served(name, &[], cores(2), body);
    vec![
        trial("nothing in a read-only share is deleted", read_only_share),
        trial("a file that was opened while another went is there", open_during_delete),
        trial("deleting one hard link leaves the other", hard_links),
        trial("a renamed file is deleted by its new name", renamed_then_deleted),
        trial("a folder keeps its name while something in it is open", busy_folder),
        trial("DELETE_ON_CLOSE does not take the share's root", delete_root),
        trial("DELETE_ON_CLOSE leaves a folder with something in it usable", delete_full_folder),
        trial("a folder with names that SMB cannot show is not empty", hidden_contents),
    ]
}

fn in_flight() -> Vec<Trial> {
    let trial = |name, body: Body| support::served(name, &[], cores(1), body);
    vec![
        trial("LOGOFF leaves no file of a CREATE before it open", create_and_logoff),
        trial("TREE_DISCONNECT leaves no file of a CREATE before it open", create_and_disconnect),
        support::served("what many append at once is all there", &[], cores(2), appends),
    ]
}

fn memory_and_time() -> Vec<Trial> {
    let trial = |name, body: Body| support::served(name, &[], cores(1), body);
    vec![
        trial("a client that takes no READ response fills no memory", read_flood),
        trial("a stranger who takes no ECHO response fills no memory", echo_flood),
        trial("a pattern as long as a message holds nobody up", long_pattern),
    ]
}

fn cores(count: u8) -> Serve {
    Serve::new().argument(&format!("--threads={count}"))
}

fn in_share(server: &Server) -> Result<Session, Failed> {
    Session::in_share(server.address)
}

// ---- deletion

fn read_only_share(server: &Server) -> Outcome {
    let folder = server.readonly_folder();
    fs::write(folder.join("precious"), "contents")?;
    let mut session = Session::of_user(USER, server.address, "readonly")?;
    let most = Create::open("precious", access::MAXIMUM_ALLOWED);
    session.refused(most.delete_on_close(), nt::ACCESS_DENIED)?;
    session.refused(Create::open("precious", access::DELETE), nt::ACCESS_DENIED)?;
    let file = session.opened(most)?;
    expect(session.mark_deleted(file)?, nt::ACCESS_DENIED, "the disposition")?;
    session.close(file)?;
    expect_names(&folder, &["precious"])
}

/// One client's CLOSE deletes the file while another's CREATE comes in: that one makes a new file or is refused, but
/// never gets the old file, which that name leads to no more.
fn open_during_delete(server: &Server) -> Outcome {
    const ROUNDS: u32 = 600;
    let (mut a, mut b) = (in_share(server)?, in_share(server)?);
    let mut opened = 0;
    for round in 0..ROUNDS {
        let name = format!("file{round}");
        // With another name to stay, with a mark, and with the wish from its open.
        if round.is_multiple_of(3) {
            let path = server.folder().join(&name);
            fs::write(&path, "the old file")?;
            fs::hard_link(&path, path.with_extension("stays"))?;
        }
        let wanted = Create::open(&name, access::ALL).or_create();
        let file = if round % 3 == 2 {
            a.opened(wanted.delete_on_close())?
        } else {
            let file = a.opened(wanted)?;
            expect(a.mark_deleted(file)?, nt::SUCCESS, "the disposition")?;
            file
        };
        let closing = framed(&a.request(command::CLOSE, &close(file)));
        let create = b.request(command::CREATE, &wanted.body()?);
        let (opening, id) = (framed(&create), u64_at(&create, 24)?);
        // A little later each time, to come in at every stage.
        a.wire.raw(&closing)?;
        let sent = Instant::now();
        while sent.elapsed() < Duration::from_micros(u64::from(round % 100) * 10) {}
        b.wire.raw(&opening)?;
        let answer = b.answer(id)?.ok_or("closed instead of a CREATE response")?;
        let closed = a.wire.receive()?.ok_or("closed instead of a CLOSE response")?;
        expect(status(&closed), nt::SUCCESS, "CLOSE")?;
        if status(&answer) == nt::SUCCESS {
            opened += 1;
            leads_to(server, &mut b, &name, file_id(&answer)?)
                .map_err(|failed| format!("round {round}: {}", failed.message().unwrap_or("")))?;
        } else {
            expect(status(&answer), nt::DELETE_PENDING, "CREATE of what is being deleted")?;
        }
    }
    ensure(opened > 0, || "no CREATE succeeded, so nothing was tried".into())
}

/// What is written to the open file is on disk under this name.
fn leads_to(server: &Server, session: &mut Session, name: &str, file: FileId) -> Outcome {
    expect(session.write(file, 0, name.as_bytes())?, nt::SUCCESS, "WRITE")?;
    let found = fs::read(server.folder().join(name))?;
    ensure(found.starts_with(name.as_bytes()), || "another file has the name".into())?;
    session.close(file)
}

fn hard_links(server: &Server) -> Outcome {
    let folder = server.folder();
    fs::write(folder.join("one"), "contents")?;
    fs::hard_link(folder.join("one"), folder.join("two"))?;
    let mut session = in_share(server)?;
    let two = session.opened(Create::open("two", access::READ))?;
    let one = session.opened(Create::open("one", access::ALL))?;
    expect(session.mark_deleted(one)?, nt::SUCCESS, "the disposition")?;
    session.close(one)?;
    session.close(two)?;
    expect_names(&folder, &["two"])
}

fn renamed_then_deleted(server: &Server) -> Outcome {
    let folder = server.folder();
    fs::write(folder.join("before"), "contents")?;
    let mut session = in_share(server)?;
    let first = session.opened(Create::open("before", access::ALL))?;
    let second = session.opened(Create::open("before", access::ALL))?;
    expect(session.rename(first, "after")?, nt::SUCCESS, "the rename")?;
    // Somebody else's, by the name that the second handle was opened with.
    fs::write(folder.join("before"), "another file")?;
    expect(session.mark_deleted(second)?, nt::SUCCESS, "the disposition")?;
    session.close(first)?;
    session.close(second)?;
    expect_names(&folder, &["before"])
}

fn busy_folder(server: &Server) -> Outcome {
    let folder = server.folder();
    fs::create_dir_all(folder.join("before/deep"))?;
    fs::write(folder.join("before/deep/file"), "contents")?;
    let (mut a, mut b) = (in_share(server)?, in_share(server)?);
    let file = a.opened(Create::open("before\\deep\\file", access::READ))?;
    let directory = b.opened(Create::open("before", access::ALL).directory())?;
    expect(b.rename(directory, "after")?, nt::ACCESS_DENIED, "the rename of a busy folder")?;
    expect_names(&folder, &["before"])?;
    a.close(file)?;
    expect(b.rename(directory, "after")?, nt::SUCCESS, "the rename of an idle folder")?;
    expect_names(&folder, &["after"])?;
    a.opened(Create::open("after\\deep\\file", access::READ)).map(drop)
}

fn delete_root(server: &Server) -> Outcome {
    let mut session = in_share(server)?;
    for wanted in [access::ALL, access::DELETE, access::MAXIMUM_ALLOWED] {
        let root = Create::open("", wanted).directory().delete_on_close();
        session.refused(root, nt::CANNOT_DELETE)?;
    }
    let root = session.opened(Create::open("", access::ALL).directory())?;
    expect(session.mark_deleted(root)?, nt::CANNOT_DELETE, "the disposition")?;
    session.close(root)?;
    let file = session.opened(Create::open("file", access::ALL).or_create())?;
    session.close(file)?;
    expect_names(&server.folder(), &["file"])
}

fn delete_full_folder(server: &Server) -> Outcome {
    let folder = server.folder().join("folder");
    fs::create_dir(&folder)?;
    fs::write(folder.join("file"), "contents")?;
    let (mut a, mut b) = (in_share(server)?, in_share(server)?);
    let wanted = Create::open("folder", access::ALL).directory();
    let witness = b.opened(wanted)?;
    // Whether it is the open that is refused or the deletion that comes to nothing.
    match a.open(wanted.delete_on_close())? {
        Ok(directory) => a.close(directory)?,
        Err(refusal) => expect(refusal, nt::DIRECTORY_NOT_EMPTY, "DELETE_ON_CLOSE")?,
    }
    // The last opener could still have taken it along, or left it closed to everybody.
    let still = a.opened(wanted)?;
    b.close(witness)?;
    a.close(still)?;
    a.opened(Create::open("folder\\file", access::ALL))?;
    b.opened(Create::open("folder\\new", access::ALL).or_create())?;
    expect_names(&folder, &["file", "new"])
}

type Fill = fn(&Path) -> Outcome;

fn hidden_contents(server: &Server) -> Outcome {
    let mut session = in_share(server)?;
    let make: [(&str, Fill); 3] = [
        ("colon", |folder| Ok(fs::write(folder.join("a:b"), "contents")?)),
        ("fifo", |folder| {
            let mode = Mode::from_raw_mode(0o644);
            Ok(mknodat(CWD, folder.join("pipe"), FileType::Fifo, mode, 0)?)
        }),
        ("link", |folder| Ok(symlink("nowhere", folder.join("link"))?)),
    ];
    for (name, make) in make {
        let folder = server.folder().join(name);
        fs::create_dir(&folder)?;
        make(&folder)?;
        let directory = session.opened(Create::open(name, access::ALL).directory())?;
        let found = session.mark_deleted(directory)?;
        expect(found, nt::DIRECTORY_NOT_EMPTY, &format!("the disposition ({name})"))?;
        session.close(directory)?;
        ensure(names(&folder)?.len() == 1, || format!("{name}: the contents are gone"))?;
    }
    Ok(())
}

// ---- what is in flight

fn create_and_logoff(server: &Server) -> Outcome {
    for round in 0..40 {
        let mut session = in_share(server)?;
        create_and(server, &mut session, command::LOGOFF, round)?;
    }
    Ok(())
}

fn create_and_disconnect(server: &Server) -> Outcome {
    let mut session = in_share(server)?;
    for round in 0..40 {
        create_and(server, &mut session, command::TREE_DISCONNECT, round)?;
        session.connect(SHARE)?;
    }
    Ok(())
}

/// Sends an exclusive CREATE and, in the same segment, what ends its session or tree connect. Once both are answered
/// the file is closed, with all that goes with it, and somebody else can open it exclusively.
fn create_and(server: &Server, session: &mut Session, end: u16, round: u8) -> Outcome {
    let name = format!("file{round}");
    let wanted = Create::open(&name, access::ALL).or_create().exclusive();
    let goes = round.is_multiple_of(2);
    let create = if goes { wanted.delete_on_close() } else { wanted };
    let first = framed(&session.request(command::CREATE, &create.body()?));
    let second = framed(&session.request(end, &[4, 0, 0, 0]));
    session.wire.raw(&[first, second].concat())?;
    for _ in 0..2 {
        session.wire.receive()?.ok_or("closed instead of an answer")?;
    }
    let is_there = server.folder().join(&name).exists();
    ensure(!(goes && is_there), || format!("{name} was not deleted on close"))?;
    in_share(server)?.opened(wanted).map(drop)
}

fn appends(server: &Server) -> Outcome {
    const SESSIONS: u8 = 4;
    const EACH: u8 = 16;
    const LENGTH: usize = 1000;
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        let mut session = in_share(server)?;
        let log = session.opened(Create::open("log", access::APPEND_DATA).or_create())?;
        sessions.push((session, log));
    }
    for (index, (session, log)) in (0..).zip(&mut sessions) {
        let mut segment = Vec::new();
        for number in 0..EACH {
            let body = write(*log, AT_THE_END, &[index * EACH + number; LENGTH])?;
            segment.extend(framed(&session.request(command::WRITE, &body)));
        }
        session.wire.raw(&segment)?;
    }
    for (session, _) in &mut sessions {
        for _ in 0..EACH {
            let answer = session.wire.receive()?.ok_or("closed instead of a WRITE response")?;
            expect(status(&answer), nt::SUCCESS, "WRITE")?;
        }
    }
    let found = fs::read(server.folder().join("log"))?;
    let mut blocks = found.chunks_exact(LENGTH).collect::<Vec<_>>();
    blocks.sort_unstable();
    let expected = (0..SESSIONS * EACH).map(|number| vec![number; LENGTH]);
    ensure(found.len() % LENGTH == 0 && expected.eq(blocks), || {
        format!("{} bytes, and not each block once", found.len())
    })
}

// ---- memory and time

/// The server reads ahead for a client at most what 8 READs of the largest size hold; the rest is room for what any
/// process needs.
const READ_AHEAD_MAX: u64 = 96 << 20;

fn read_flood(server: &Server) -> Outcome {
    const LENGTH: u32 = 65_536;
    const COUNT: u64 = 4096;
    fs::File::create(server.folder().join("big"))?.set_len(u64::from(LENGTH))?;
    let (mut flood, mut other) = (in_share(server)?, in_share(server)?);
    let file = flood.opened(Create::open("big", access::READ))?;
    // Each of these brings more credits than it costs.
    for _ in 0..100 {
        flood.echo()?;
    }
    flood.wire.send_limit(Duration::from_secs(1))?;
    let before = server.peak_memory()?;
    let mut sent = 0;
    for _ in 0..COUNT {
        let request = flood.request(command::READ, &read(file, 0, LENGTH));
        if !takes(flood.wire.send(&request))? {
            break;
        }
        sent += u64::from(LENGTH);
    }
    ensure(sent > 2 * READ_AHEAD_MAX, || format!("only {sent} bytes could be asked for"))?;
    check_growth(server, before, READ_AHEAD_MAX)?;
    still_served(&mut other)
}

fn echo_flood(server: &Server) -> Outcome {
    const TIME: Duration = Duration::from_secs(5);
    let mut flood = Session::negotiate(server.address, "dialect-SMB2_10")?;
    let mut other = in_share(server)?;
    flood.wire.send_limit(Duration::from_secs(1))?;
    // The credits for what follows: 64 with each of these, which need no answer.
    for _ in 0..16 {
        let echo = flood.request(command::ECHO, &[4, 0, 0, 0]);
        flood.wire.send(&echo)?;
    }
    let before = server.peak_memory()?;
    let started = Instant::now();
    let mut taken = true;
    while taken && started.elapsed() < TIME {
        let echoes = echo_compound(&mut flood);
        taken = takes(flood.wire.send(&echoes))?;
    }
    check_growth(server, before, 8 << 20)?;
    still_served(&mut other)
}

/// Sixty-four ECHOs in one message.
fn echo_compound(session: &mut Session) -> Vec<u8> {
    let mut message = Vec::new();
    for index in 0..64 {
        let mut element = session.request(command::ECHO, &[4, 0, 0, 0, 0, 0, 0, 0]);
        if index < 63 {
            let next = u32::try_from(element.len()).unwrap_or(0);
            element[20..24].copy_from_slice(&next.to_le_bytes());
        }
        message.extend(element);
    }
    message
}

/// Whether the server has taken it; `false` when it lets the client wait.
fn takes(sent: std::io::Result<()>) -> Result<bool, Failed> {
    match sent {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Ok(false)
        }
        Err(error) => Err(format!("closed instead of left waiting: {error}").into()),
    }
}

/// Watches for a second how much memory the server has come to need.
fn check_growth(server: &Server, before: u64, limit: u64) -> Outcome {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(1) {
        let growth = server.peak_memory()?.saturating_sub(before);

        ensure(growth < limit, || format!("the server's memory grew by {} MiB", growth >> 20))?;
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn still_served(other: &mut Session) -> Outcome {
    let started = Instant::now();
    ensure(other.echo()?, || "another client was closed".into())?;
    ensure(started.elapsed() < Duration::from_secs(1), || "another client had to wait".into())
}

fn long_pattern(server: &Server) -> Outcome {
    for number in 0..400 {
        fs::write(server.folder().join(format!("{}{number:03}", "a".repeat(240))), "")?;
    }
    let (mut session, mut other) = (in_share(server)?, in_share(server)?);
    let root = session.opened(Create::open("", access::READ).directory())?;
    let pattern = query_directory(root, &"*a".repeat(15_000))?;
    let listing = session.request(command::QUERY_DIRECTORY, &pattern);
    session.wire.send(&listing)?;
    // It has to be under way.
    thread::sleep(Duration::from_millis(100));
    still_served(&mut other)?;
    let answer = session.answer(u64_at(&listing, 24)?)?.ok_or("closed instead of a listing")?;
    expect(status(&answer), nt::NO_SUCH_FILE, "a pattern that no name can match")
}
