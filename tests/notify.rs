//! Changes in directories that clients watch, made by other clients. Over raw SMB, since smbclient shows them one at a
//! time and takes none back.

mod support;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use support::requests::{Create, FileId, access, attribute, change_notify, changes, nt};
use support::restrict::Restriction;
use support::server::Server;
use support::session::{Session, command, expect, status, u64_at};
use support::{Client, Need, Outcome, Serve, ensure};

const TREE: u16 = 1;
const NAMES: u32 = 3;
const ATTRIBUTES: u32 = 4;
const SIZE: u32 = 8;
const EA: u32 = 0x80;

const NOTIFY_CLEANUP: u32 = 0x0000_010b;
const NOTIFY_ENUM_DIR: u32 = 0x0000_010c;

/// MS-FSCC 2.7.1.
const ADDED: u32 = 1;
const REMOVED: u32 = 2;
const MODIFIED: u32 = 3;
const OLD_NAME: u32 = 4;
const NEW_NAME: u32 = 5;

/// By what a server sees changes that others make, and what makes it do so.
const SOURCES: [(&str, Option<Restriction>); 2] =
    [("fanotify", None), ("inotify", Some(Restriction::Unprivileged))];

fn main() -> ExitCode {
    let trial = |name, body: Body| support::on_each_backend(name, &[], Serve::new, body);
    let trials = [
        trial("a watched directory tells of names", names),
        trial("a name that is taken from another is told as gone first", replaced),
        trial("a watched tree tells of what is deeper", tree),
        trial("a watch tells of what it was asked for", filters),
        trial("changes are kept between two requests", kept),
        trial("what does not fit is to be listed", overflow),
        trial("a closed directory ends the wait", closed),
        trial("a directory that is to be deleted ends the wait", deleted),
        trial("who logs off hears the end of everything first", logged_off),
    ];
    let mut trials: Vec<_> = trials.into_iter().flatten().collect();
    trials.extend(SOURCES.into_iter().flat_map(outside_trials));
    let (_, unprivileged) = SOURCES[1];
    let serve = unprivileged.map_or(Serve::new(), |it| Serve::new().restricted(it));
    let name = "a tree with more directories than can be watched is to be listed (inotify)";
    trials.push(support::served(name, &[], serve, too_many_directories));
    let name = "smbclient's notify shows what a local program does";
    trials.push(support::served(name, &[Need::Smbclient], Serve::new(), stock_client));
    support::run(trials)
}

type Body = fn(&Server) -> Outcome;

/// What others change, seen by one source.
fn outside_trials((source, restriction): (&'static str, Option<Restriction>)) -> Vec<Trial> {
    let bodies: [(&str, Body); 9] = [
        ("what a local program does to names is told", local_names),
        ("a local write is told as long as it goes on", local_writes),
        ("a watched tree tells of what a local program does deeper", local_tree),
        ("what a local program makes in a new directory is told", local_new_directory),
        ("a directory that a local program moves is followed", local_moves),
        ("what a client does is told once", told_once),
        ("more local changes than the kernel keeps are to be listed", storm),
        ("nothing is told of changes before the watch", before_the_watch),
        ("the kernel watches nothing while no client does", nothing_for_nobody),
    ];
    let needs: &[Need] = if source == "fanotify" { &[Need::Root] } else { &[] };
    let serve = || match restriction {
        Some(restriction) => Serve::new().restricted(restriction),
        None => Serve::new(),
    };
    let trials = bodies.into_iter().map(|(name, body)| {
        support::on_each_backend(&format!("{name}, by {source}"), needs, serve, move |server| {
            sees_by(server, source)?;
            body(server)
        })
    });
    trials.flatten().collect()
}

/// The banner says so.
fn sees_by(server: &Server, source: &str) -> Outcome {
    let lines = server.log.lines();
    let said = lines.iter().find(|line| line.starts_with("changes by others in "));
    let said = said.ok_or("the banner says nothing of changes by others")?;
    ensure(said.contains(&format!(": {source}")), || format!("not by {source}: {said}"))
}

/// A client with a directory open, and another client.
fn watcher(server: &Server) -> Result<(Session, FileId, Session), Failed> {
    let mut one = Session::in_share(server.address)?;
    let dir = one.opened(Create::open("dir", access::READ).or_create().directory())?;
    Ok((one, dir, Session::in_share(server.address)?))
}

/// Asks for changes and sees that there are none yet; the MessageId.
fn watch(session: &mut Session, dir: FileId, flags: u16, filter: u32) -> Result<u64, Failed> {
    let message = session.request(command::CHANGE_NOTIFY, &change_notify(dir, flags, filter, 4096));
    session.wire.send(&message)?;
    let interim = session.wire.receive()?.ok_or("closed instead of an interim response")?;
    expect(status(&interim), nt::PENDING, "a CHANGE_NOTIFY of nothing new")?;
    u64_at(&message, 24)
}

fn answer(session: &mut Session, id: u64) -> Result<Vec<u8>, Failed> {
    session.answer(id)?.ok_or_else(|| "closed instead of an answer".into())
}

fn told(session: &mut Session, id: u64, expected: &[(u32, &str)]) -> Outcome {
    let answer = answer(session, id)?;
    let changes = changes(&answer)?;
    let same =
        changes.iter().map(|(action, name)| (*action, name.as_str())).eq(expected.iter().copied());
    ensure(same, || format!("{changes:?} in place of {expected:?}"))
}

fn names(server: &Server) -> Outcome {
    let (mut one, dir, mut other) = watcher(server)?;
    let id = watch(&mut one, dir, 0, NAMES)?;
    let file = other.opened(Create::open(r"dir\a", access::ALL).or_create())?;
    told(&mut one, id, &[(ADDED, "a")])?;
    let id = watch(&mut one, dir, 0, NAMES)?;
    expect(other.rename(file, r"dir\b")?, nt::SUCCESS, "a renaming")?;
    told(&mut one, id, &[(OLD_NAME, "a"), (NEW_NAME, "b")])?;
    let id = watch(&mut one, dir, 0, NAMES)?;
    expect(other.rename(file, "c")?, nt::SUCCESS, "a renaming to elsewhere")?;
    told(&mut one, id, &[(REMOVED, "b")])?;
    let id = watch(&mut one, dir, 0, NAMES)?;
    expect(other.rename(file, r"dir\d")?, nt::SUCCESS, "a renaming from elsewhere")?;
    told(&mut one, id, &[(ADDED, "d")])?;
    let id = watch(&mut one, dir, 0, NAMES)?;
    expect(other.link(file, r"dir\twin", false)?, nt::SUCCESS, "a hard link")?;
    told(&mut one, id, &[(ADDED, "twin")])?;
    let id = watch(&mut one, dir, 0, NAMES)?;
    expect(other.mark_deleted(file)?, nt::SUCCESS, "a deletion")?;
    other.close(file)?;
    told(&mut one, id, &[(REMOVED, "d")])
}

/// MS-FSA 2.1.5.15.6 and 2.1.5.15.11, and as the one has it that is gone.
fn replaced(server: &Server) -> Outcome {
    let (mut one, dir, mut other) = watcher(server)?;
    let file = other.opened(Create::open(r"dir\new", access::ALL).or_create())?;
    for name in [r"dir\Old", r"dir\Older"] {
        let old = other.opened(Create::open(name, access::ALL).or_create())?;
        other.close(old)?;
    }
    let id = watch(&mut one, dir, 0, NAMES)?;
    expect(other.replace(file, r"dir\old")?, nt::SUCCESS, "a renaming")?;
    told(&mut one, id, &[(REMOVED, "Old"), (OLD_NAME, "new"), (NEW_NAME, "old")])?;
    let id = watch(&mut one, dir, 0, NAMES)?;
    expect(other.link(file, r"dir\Older", true)?, nt::SUCCESS, "a hard link")?;
    told(&mut one, id, &[(REMOVED, "Older"), (ADDED, "Older")])?;
    // It is told once, and what a local program removes is no part of it.
    let id = watch(&mut one, dir, 0, NAMES)?;
    fs::remove_file(server.folder().join("dir/Older"))?;
    told(&mut one, id, &[(REMOVED, "Older")])
}

fn tree(server: &Server) -> Outcome {
    let (mut one, dir, mut other) = watcher(server)?;
    let flat = one.opened(Create::open("dir", access::READ).directory())?;
    let deep = watch(&mut one, dir, TREE, NAMES)?;
    let shallow = watch(&mut one, flat, 0, NAMES)?;
    other.opened(Create::open(r"dir\sub", access::ALL).or_create().directory())?;
    both_told(&mut one, [deep, shallow], ["sub", "sub"])?;
    let deep = watch(&mut one, dir, TREE, NAMES)?;
    let shallow = watch(&mut one, flat, 0, NAMES)?;
    other.opened(Create::open(r"dir\sub\a", access::ALL).or_create())?;
    other.opened(Create::open(r"dir\b", access::ALL).or_create())?;
    both_told(&mut one, [deep, shallow], [r"sub\a", "b"])
}

/// Two waits are answered by a name each that was added, in either order.
fn both_told(session: &mut Session, ids: [u64; 2], names: [&str; 2]) -> Outcome {
    let mut told = Vec::new();
    for _ in ids {
        let message = session.wire.receive()?.ok_or("closed instead of an answer")?;
        told.push((u64_at(&message, 24)?, changes(&message)?));
    }
    told.sort_unstable();
    let expected: Vec<_> =
        ids.into_iter().zip(names).map(|(id, name)| (id, vec![(ADDED, name.to_owned())])).collect();
    ensure(told == expected, || format!("{told:?} in place of {expected:?}"))
}

fn filters(server: &Server) -> Outcome {
    let (mut one, dir, mut other) = watcher(server)?;
    let sizes = one.opened(Create::open("dir", access::READ).directory())?;
    let eas = one.opened(Create::open("dir", access::READ).directory())?;
    let attributes = watch(&mut one, dir, 0, ATTRIBUTES)?;
    let ea = watch(&mut one, eas, 0, EA)?;
    let size = watch(&mut one, sizes, 0, SIZE)?;
    let file = other.opened(Create::open(r"dir\a", access::ALL).or_create())?;
    expect(other.write(file, 0, b"bytes")?, nt::SUCCESS, "WRITE")?;
    told(&mut one, size, &[(MODIFIED, "a")])?;
    expect(other.set_attributes(file, attribute::HIDDEN)?, nt::SUCCESS, "HIDDEN")?;
    told(&mut one, attributes, &[(MODIFIED, "a")])?;
    // FileFullEaInformation: an EA called E, which holds one byte.
    let set = other.set_info(file, 15, b"\0\0\0\0\0\x01\x01\0E\0x")?;
    expect(set, nt::SUCCESS, "setting an EA")?;
    told(&mut one, ea, &[(MODIFIED, "a")])
}

fn kept(server: &Server) -> Outcome {
    let (mut one, dir, mut other) = watcher(server)?;
    let id = watch(&mut one, dir, 0, NAMES)?;
    for name in [r"dir\a", r"dir\b", r"dir\c"] {
        other.opened(Create::open(name, access::ALL).or_create())?;
    }
    told(&mut one, id, &[(ADDED, "a")])?;
    let message = one.request(command::CHANGE_NOTIFY, &change_notify(dir, 0, NAMES, 4096));
    one.wire.send(&message)?;
    told(&mut one, u64_at(&message, 24)?, &[(ADDED, "b"), (ADDED, "c")])
}

fn overflow(server: &Server) -> Outcome {
    let (mut one, dir, mut other) = watcher(server)?;
    let message = one.request(command::CHANGE_NOTIFY, &change_notify(dir, 0, NAMES, 8));
    one.wire.send(&message)?;
    let interim = one.wire.receive()?.ok_or("closed instead of an interim response")?;
    expect(status(&interim), nt::PENDING, "a CHANGE_NOTIFY of nothing new")?;
    other.opened(Create::open(r"dir\a", access::ALL).or_create())?;
    let answer = answer(&mut one, u64_at(&message, 24)?)?;
    expect(status(&answer), NOTIFY_ENUM_DIR, "a change without room for it")
}

fn closed(server: &Server) -> Outcome {
    let (mut one, dir, _) = watcher(server)?;
    let id = watch(&mut one, dir, 0, NAMES)?;
    let close = one.request(command::CLOSE, &support::requests::close(dir));
    one.wire.send(&close)?;
    cleaned_up(&mut one, id, u64_at(&close, 24)?)
}

/// A wait and what ended it are both answered, in either order.
fn cleaned_up(session: &mut Session, wait: u64, end: u64) -> Outcome {
    let mut told = Vec::new();
    for _ in 0..2 {
        let message = session.wire.receive()?.ok_or("closed instead of an answer")?;
        told.push((u64_at(&message, 24)?, status(&message)));
    }
    told.sort_unstable();
    let expected = [(wait, NOTIFY_CLEANUP), (end, nt::SUCCESS)];
    ensure(told == expected, || format!("{told:x?} in place of {expected:x?}"))
}

fn deleted(server: &Server) -> Outcome {
    let (mut one, dir, mut other) = watcher(server)?;
    let id = watch(&mut one, dir, 0, NAMES)?;
    let same = other.opened(Create::open("dir", access::DELETE).directory())?;
    expect(other.mark_deleted(same)?, nt::SUCCESS, "a deletion")?;
    expect(status(&answer(&mut one, id)?), nt::DELETE_PENDING, "the wait")?;
    let answer = one.call(command::CHANGE_NOTIFY, &change_notify(dir, 0, NAMES, 4096))?;
    expect(status(&answer), nt::DELETE_PENDING, "another")
}

fn logged_off(server: &Server) -> Outcome {
    let (mut one, dir, _) = watcher(server)?;
    let id = watch(&mut one, dir, 0, NAMES)?;
    let logoff = one.request(command::LOGOFF, &[4, 0, 0, 0]);
    one.wire.send(&logoff)?;
    let first = one.wire.receive()?.ok_or("closed instead of an answer")?;
    ensure(u64_at(&first, 24)? == id, || "LOGOFF was answered first".into())?;
    expect(status(&first), NOTIFY_CLEANUP, "the wait")?;
    let second = one.wire.receive()?.ok_or("closed instead of an answer")?;
    expect(status(&second), nt::SUCCESS, "LOGOFF")
}

// ---- what others change

/// The watched directory, with a client that has it open. Whoever the server runs as may look into it.
fn outside(server: &Server) -> Result<(Session, FileId, PathBuf), Failed> {
    let (one, dir, _) = watcher(server)?;
    Ok((one, dir, server.folder().join("dir")))
}

/// Takes changes until all that are expected have come, in this order; a source may tell them in one answer or in
/// several.
fn told_in_order(
    session: &mut Session,
    dir: FileId,
    mut id: u64,
    flags: u16,
    filter: u32,
    expected: &[(u32, &str)],
) -> Outcome {
    let mut told = Vec::new();
    loop {
        let answer = answer(session, id)?;
        told.extend(changes(&answer)?);
        let so_far = told.iter().map(|(action, name)| (*action, name.as_str()));
        ensure(so_far.eq(expected.iter().copied().take(told.len())), || {
            format!("{told:?} in place of {expected:?}")
        })?;
        if told.len() == expected.len() {
            return Ok(());
        }
        id = ask(session, dir, flags, filter)?;
    }
}

/// Asks for changes, of which there may be some.
fn ask(session: &mut Session, dir: FileId, flags: u16, filter: u32) -> Result<u64, Failed> {
    let message = session.request(command::CHANGE_NOTIFY, &change_notify(dir, flags, filter, 4096));
    session.wire.send(&message)?;
    u64_at(&message, 24)
}

fn local_names(server: &Server) -> Outcome {
    let (mut one, dir, path) = outside(server)?;
    let id = watch(&mut one, dir, 0, NAMES)?;
    fs::write(path.join("a"), "")?;
    told_in_order(&mut one, dir, id, 0, NAMES, &[(ADDED, "a")])?;
    let id = watch(&mut one, dir, 0, NAMES)?;
    fs::rename(path.join("a"), path.join("B"))?;
    told_in_order(&mut one, dir, id, 0, NAMES, &[(OLD_NAME, "a"), (NEW_NAME, "B")])?;
    let id = watch(&mut one, dir, 0, NAMES)?;
    fs::rename(path.join("B"), path.with_file_name("away"))?;
    told_in_order(&mut one, dir, id, 0, NAMES, &[(REMOVED, "B")])?;
    let id = watch(&mut one, dir, 0, NAMES)?;
    fs::rename(path.with_file_name("away"), path.join("c"))?;
    told_in_order(&mut one, dir, id, 0, NAMES, &[(ADDED, "c")])?;
    let id = watch(&mut one, dir, 0, NAMES)?;
    fs::create_dir(path.join("d"))?;
    // A name as clients have it; one that is no text to them; and nobody has asked for what is deeper.
    fs::write(path.join("a:b"), "")?;
    fs::write(path.join(OsStr::from_bytes(b"latin\xe9")), "")?;
    fs::write(path.join("d/deeper"), "")?;
    fs::remove_file(path.join("c"))?;
    let expected = [(ADDED, "d"), (ADDED, "a\u{f022}b"), (REMOVED, "c")];
    told_in_order(&mut one, dir, id, 0, NAMES, &expected)
}

fn local_writes(server: &Server) -> Outcome {
    let (mut one, dir, path) = outside(server)?;
    fs::write(path.join("a"), "old")?;
    let id = watch(&mut one, dir, 0, SIZE)?;
    let chunk = vec![0; 1000];
    let mut file = fs::OpenOptions::new().append(true).open(path.join("a"))?;
    for _ in 0..5000 {
        std::io::Write::write_all(&mut file, &chunk)?;
    }
    told(&mut one, id, &[(MODIFIED, "a")])?;
    // The rest of them is few answers, not thousands.
    let mut answers = 0;
    loop {
        let id = ask(&mut one, dir, 0, SIZE)?;
        fs::write(path.join("end"), "end")?;
        let changes = changes(&answer(&mut one, id)?)?;
        answers += 1;
        if changes.iter().any(|(_, name)| name == "end") {
            break;
        }
    }
    ensure(answers < 50, || format!("{answers} answers for one write"))?;
    let attributes = one.opened(Create::open("dir", access::READ).directory())?;
    let id = watch(&mut one, attributes, 0, ATTRIBUTES)?;
    fs::set_permissions(path.join("a"), std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    told(&mut one, id, &[(MODIFIED, "a")])
}

fn local_tree(server: &Server) -> Outcome {
    let (mut one, dir, path) = outside(server)?;
    fs::create_dir_all(path.join("x/y"))?;
    let (mut other, flat, _) = outside(server)?;
    let shallow = watch(&mut other, flat, 0, NAMES)?;
    let deep = watch(&mut one, dir, TREE, NAMES)?;
    fs::write(path.join("x/y/a"), "")?;
    fs::rename(path.join("x/y/a"), path.join("x/b"))?;
    fs::remove_dir(path.join("x/y"))?;
    let expected = [(ADDED, r"x\y\a"), (REMOVED, r"x\y\a"), (ADDED, r"x\b"), (REMOVED, r"x\y")];
    told_in_order(&mut one, dir, deep, TREE, NAMES, &expected)?;
    fs::write(path.join("c"), "")?;
    told_in_order(&mut other, flat, shallow, 0, NAMES, &[(ADDED, "c")])
}

fn local_new_directory(server: &Server) -> Outcome {
    let (mut one, dir, path) = outside(server)?;
    let id = watch(&mut one, dir, TREE, NAMES)?;
    fs::create_dir_all(path.join("n/m"))?;
    fs::write(path.join("n/m/a"), "")?;
    let expected = [(ADDED, "n"), (ADDED, r"n\m"), (ADDED, r"n\m\a")];
    told_in_order(&mut one, dir, id, TREE, NAMES, &expected)?;
    let id = watch(&mut one, dir, TREE, NAMES)?;
    fs::write(path.join("n/m/b"), "")?;
    told_in_order(&mut one, dir, id, TREE, NAMES, &[(ADDED, r"n\m\b")])?;
    let id = watch(&mut one, dir, TREE, NAMES)?;
    fs::remove_dir_all(path.join("n/m"))?;
    let answer = answer(&mut one, id)?;
    let mut told = changes(&answer)?;
    while told.last() != Some(&(REMOVED, r"n\m".into())) {
        let id = ask(&mut one, dir, TREE, NAMES)?;
        told.extend(changes(&self::answer(&mut one, id)?)?);
    }
    told.sort_unstable();
    let expected = [r"n\m", r"n\m\a", r"n\m\b"].map(|name| (REMOVED, name.to_owned()));
    ensure(told == expected, || format!("{told:?} in place of {expected:?}"))
}

fn local_moves(server: &Server) -> Outcome {
    let (mut one, dir, path) = outside(server)?;
    fs::create_dir_all(path.join("x/y"))?;
    let id = watch(&mut one, dir, TREE, NAMES)?;
    fs::rename(path.join("x"), path.join("z"))?;
    told_in_order(&mut one, dir, id, TREE, NAMES, &[(OLD_NAME, "x"), (NEW_NAME, "z")])?;
    let id = watch(&mut one, dir, TREE, NAMES)?;
    fs::write(path.join("z/y/a"), "")?;
    told_in_order(&mut one, dir, id, TREE, NAMES, &[(ADDED, r"z\y\a")])?;
    // Out of the tree nothing is told of it; back in it, all.
    let id = watch(&mut one, dir, TREE, NAMES)?;
    fs::rename(path.join("z"), path.with_file_name("away"))?;
    told_in_order(&mut one, dir, id, TREE, NAMES, &[(REMOVED, "z")])?;
    let id = watch(&mut one, dir, TREE, NAMES)?;
    fs::write(path.with_file_name("away").join("y/b"), "")?;
    fs::write(path.join("mark"), "")?;
    told_in_order(&mut one, dir, id, TREE, NAMES, &[(ADDED, "mark")])?;
    let id = watch(&mut one, dir, TREE, NAMES)?;
    fs::rename(path.with_file_name("away"), path.join("w"))?;
    told_in_order(&mut one, dir, id, TREE, NAMES, &[(ADDED, "w")])?;
    let id = watch(&mut one, dir, TREE, NAMES)?;
    fs::write(path.join("w/y/c"), "")?;
    told_in_order(&mut one, dir, id, TREE, NAMES, &[(ADDED, r"w\y\c")])?;
    // The watched directory itself goes elsewhere.
    let id = watch(&mut one, dir, TREE, NAMES)?;
    fs::rename(&path, path.with_file_name("renamed"))?;
    fs::write(path.with_file_name("renamed").join("w/d"), "")?;
    told_in_order(&mut one, dir, id, TREE, NAMES, &[(ADDED, r"w\d")])
}

/// Everything that a client does, and then something that only the kernel tells of: nothing comes twice.
fn told_once(server: &Server) -> Outcome {
    let everything = 0xfff;
    let (mut one, dir, path) = outside(server)?;
    let mut other = Session::in_share(server.address)?;
    let names = watch(&mut one, dir, TREE, NAMES)?;
    let (mut two, all, _) = outside(server)?;
    let all_id = watch(&mut two, all, TREE, everything)?;
    let file = other.opened(Create::open(r"dir\a", access::ALL).or_create())?;
    expect(other.write(file, 0, b"bytes")?, nt::SUCCESS, "WRITE")?;
    expect(other.set_attributes(file, attribute::HIDDEN)?, nt::SUCCESS, "HIDDEN")?;
    expect(other.rename(file, r"dir\b")?, nt::SUCCESS, "a renaming")?;
    other.opened(Create::open(r"dir\sub", access::ALL).or_create().directory())?;
    other.opened(Create::open(r"dir\sub\c", access::ALL).or_create())?;
    // On disk it is another.
    other.opened(Create::open("dir\\a\u{f022}b", access::ALL).or_create())?;
    expect(other.mark_deleted(file)?, nt::SUCCESS, "a deletion")?;
    other.close(file)?;
    // Events are told in their order: whatever comes twice comes before this.
    fs::write(path.join("sub/last"), "")?;
    let name = [
        (ADDED, "a"),
        (OLD_NAME, "a"),
        (NEW_NAME, "b"),
        (ADDED, "sub"),
        (ADDED, r"sub\c"),
        (ADDED, "a\u{f022}b"),
        (REMOVED, "b"),
        (ADDED, r"sub\last"),
    ];
    told_in_order(&mut one, dir, names, TREE, NAMES, &name)?;
    let expected = [
        (ADDED, "a"),
        (MODIFIED, "a"),
        (OLD_NAME, "a"),
        (NEW_NAME, "b"),
        (ADDED, "sub"),
        (ADDED, r"sub\c"),
        (ADDED, "a\u{f022}b"),
        (REMOVED, "b"),
        (ADDED, r"sub\last"),
    ];
    told_in_order(&mut two, all, all_id, TREE, everything, &expected)
}

/// More happens in one directory than the kernel's queue holds while the server cannot look; the watch of another
/// hears that something may have been missed.
fn storm(server: &Server) -> Outcome {
    let (mut one, dir, path) = outside(server)?;
    let noise = path.with_file_name("noise");
    fs::create_dir(&noise)?;
    // So that inotify, too, is to keep what happens there.
    let mut other = Session::in_share(server.address)?;
    let watched = other.opened(Create::open("noise", access::READ).directory())?;
    watch(&mut other, watched, 0, NAMES)?;
    let id = watch(&mut one, dir, 0, NAMES)?;
    let limit = |source| -> Result<usize, Failed> {
        let path = format!("/proc/sys/fs/{source}/max_queued_events");
        Ok(fs::read_to_string(path)?.trim().parse()?)
    };
    let limit = limit("inotify")?.max(limit("fanotify")?);
    ensure(limit <= 100_000, || format!("the kernel keeps {limit} events, which is too many"))?;
    {
        let _stopped = server.stopped()?;
        // It may have looked until it stood still.
        for number in 0..limit + 2000 {
            fs::write(noise.join(number.to_string()), "")?;
        }
    }
    let answer = answer(&mut one, id)?;
    expect(status(&answer), NOTIFY_ENUM_DIR, "the watch of a directory where nothing happened")?;
    // And it goes on.
    let id = watch(&mut one, dir, 0, NAMES)?;
    fs::write(path.join("a"), "")?;
    told_in_order(&mut one, dir, id, 0, NAMES, &[(ADDED, "a")])
}

fn before_the_watch(server: &Server) -> Outcome {
    let (mut one, dir, path) = outside(server)?;
    // Of another open, so that the kernel is asked already.
    let (mut other, earlier, _) = outside(server)?;
    let first = watch(&mut other, earlier, 0, NAMES)?;
    fs::write(path.join("a"), "")?;
    let second = watch(&mut one, dir, 0, NAMES)?;
    fs::write(path.join("b"), "")?;
    told_in_order(&mut one, dir, second, 0, NAMES, &[(ADDED, "b")])?;
    told_in_order(&mut other, earlier, first, 0, NAMES, &[(ADDED, "a"), (ADDED, "b")])
}

fn nothing_for_nobody(server: &Server) -> Outcome {
    ensure(server.kernel_watches()? == 0, || "something is watched at the start".into())?;
    let (mut one, dir, path) = outside(server)?;
    fs::create_dir_all(path.join("x/y"))?;
    watch(&mut one, dir, TREE, NAMES)?;
    ensure(server.kernel_watches()? != 0, || "nothing is watched".into())?;
    let close = one.request(command::CLOSE, &support::requests::close(dir));
    one.wire.send(&close)?;
    let limit = Instant::now() + Duration::from_secs(20);
    while server.kernel_watches()? != 0 {
        ensure(Instant::now() < limit, || "it is watched after the last CLOSE".into())?;
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// One more than the 8192 that a share's monitor watches, with the top.
fn too_many_directories(server: &Server) -> Outcome {
    let (mut one, dir, path) = outside(server)?;
    for number in 0..8192 {
        fs::create_dir(path.join(number.to_string()))?;
    }
    let id = ask(&mut one, dir, TREE, NAMES)?;
    expect(status(&answer(&mut one, id)?), NOTIFY_ENUM_DIR, "a tree that is not seen whole")?;
    // Once; and what is seen is told.
    let id = watch(&mut one, dir, TREE, NAMES)?;
    fs::write(path.join("a"), "")?;
    told_in_order(&mut one, dir, id, TREE, NAMES, &[(ADDED, "a")])?;
    // Who watches only the top sees all of it.
    let flat = one.opened(Create::open("dir", access::READ).directory())?;
    let id = watch(&mut one, flat, 0, NAMES)?;
    fs::write(path.join("b"), "")?;
    told_in_order(&mut one, flat, id, 0, NAMES, &[(ADDED, "b")])
}

fn stock_client(server: &Server) -> Outcome {
    let path = server.folder().join("dir");
    fs::create_dir(&path)?;
    let client = Client::new(server).start("notify dir")?;
    let limit = Instant::now() + Duration::from_secs(20);
    while server.kernel_watches()? == 0 {
        ensure(Instant::now() < limit, || "smbclient does not watch".into())?;
        thread::sleep(Duration::from_millis(10));
    }
    // Who began to watch first is told first.
    let mut session = Session::in_share(server.address)?;
    let dir = session.opened(Create::open("dir", access::READ).directory())?;
    let id = watch(&mut session, dir, 0, NAMES)?;
    fs::write(path.join("local"), "")?;
    told_in_order(&mut session, dir, id, 0, NAMES, &[(ADDED, "local")])?;
    session.close(dir)?;
    // smbclient shows what it has when the directory goes.
    Client::new(server).run(r"del dir\local; rmdir dir")?.success()?;
    let run = client.finish()?;
    // FILE_ACTION_ADDED.
    run.says("0001 local")?.says("NT_STATUS_DELETE_PENDING").map(drop)
}
