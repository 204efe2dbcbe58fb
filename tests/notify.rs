//! Changes in directories that clients watch, made by other clients. Over raw SMB, since smbclient shows them one at a
//! time and takes none back.

mod support;

use std::process::ExitCode;

use libtest_mimic::Failed;
use support::requests::{Create, FileId, access, attribute, nt};
use support::server::Server;
use support::session::{HEADER, Session, command, expect, status, u32_at, u64_at};
use support::{Need, Outcome, Serve, ensure};

const TREE: u16 = 1;
const NAMES: u32 = 3;
const ATTRIBUTES: u32 = 4;
const SIZE: u32 = 8;
const EA: u32 = 0x80;

const NOTIFY_CLEANUP: u32 = 0x0000_010b;

/// MS-FSCC 2.7.1.
const ADDED: u32 = 1;
const REMOVED: u32 = 2;
const MODIFIED: u32 = 3;
const OLD_NAME: u32 = 4;
const NEW_NAME: u32 = 5;

const BACKENDS: [(&str, &[Need]); 3] =
    [("uring", &[Need::IoUring]), ("hybrid", &[Need::IoUring]), ("epoll", &[])];

fn main() -> ExitCode {
    let mut trials = Vec::new();
    for (backend, needs) in BACKENDS {
        let mut trial = |name: &str, body: fn(&Server) -> Outcome| {
            let serve = Serve::new().backend(backend);
            trials.push(support::served(&format!("{name} ({backend})"), needs, serve, body));
        };
        trial("a watched directory tells of names", names);
        trial("a watched tree tells of what is deeper", tree);
        trial("a watch tells of what it was asked for", filters);
        trial("changes are kept between two requests", kept);
        trial("what does not fit is to be listed", overflow);
        trial("a closed directory ends the wait", closed);
        trial("a directory that is to be deleted ends the wait", deleted);
        trial("who logs off hears the end of everything first", logged_off);
    }
    support::run(trials)
}

/// A client with a directory open, and another client.
fn watcher(server: &Server) -> Result<(Session, FileId, Session), Failed> {
    let mut one = Session::in_share(server.address)?;
    let dir = one.opened(Create::open("dir", access::READ).or_create().directory())?;
    Ok((one, dir, Session::in_share(server.address)?))
}

/// MS-SMB2 2.2.35.
fn change_notify(dir: FileId, flags: u16, filter: u32, room: u32) -> Vec<u8> {
    let mut body = vec![32, 0];
    body.extend_from_slice(&flags.to_le_bytes());
    body.extend_from_slice(&room.to_le_bytes());
    body.extend_from_slice(&dir);
    body.extend_from_slice(&filter.to_le_bytes());
    body.extend_from_slice(&[0; 4]);
    body
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

/// The changes in a response: actions and names.
fn changes(answer: &[u8]) -> Result<Vec<(u32, String)>, Failed> {
    expect(status(answer), nt::SUCCESS, "CHANGE_NOTIFY")?;
    let mut at = HEADER + 8;
    let mut changes = Vec::new();
    loop {
        let length = usize::try_from(u32_at(answer, at + 8)?)?;
        let name = answer.get(at + 12..at + 12 + length).ok_or("a name that is cut off")?;
        let units: Vec<_> =
            name.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect();
        changes.push((u32_at(answer, at + 4)?, String::from_utf16(&units)?));
        match usize::try_from(u32_at(answer, at)?)? {
            0 => return Ok(changes),
            next => at += next,
        }
    }
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
    expect(other.mark_deleted(file)?, nt::SUCCESS, "a deletion")?;
    other.close(file)?;
    told(&mut one, id, &[(REMOVED, "d")])
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
    const NOTIFY_ENUM_DIR: u32 = 0x0000_010c;
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
