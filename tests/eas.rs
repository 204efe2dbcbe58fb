//! Extended attributes: by smbclient, and over raw SMB for what that never asks.

mod support;

use std::fs;
use std::process::ExitCode;

use libtest_mimic::Failed;
use support::requests::{Create, FileId, access, attribute, file_id, nt};
use support::restrict::Restriction;
use support::session::{HEADER, Session, command, expect, status, u32_at};
use support::{Client, Need, Outcome, Serve, Server, ensure};

/// MS-ERREF 2.3.
const BUFFER_OVERFLOW: u32 = 0x8000_0005;
const NO_MORE_EAS: u32 = 0x8000_0012;
const INVALID_EA_NAME: u32 = 0x8000_0013;
const EA_LIST_INCONSISTENT: u32 = 0x8000_0014;
const INVALID_PARAMETER: u32 = 0xc000_000d;
const BUFFER_TOO_SMALL: u32 = 0xc000_0023;
const EA_TOO_LARGE: u32 = 0xc000_0050;
const NONEXISTENT_EA_ENTRY: u32 = 0xc000_0051;
const NO_EAS_ON_FILE: u32 = 0xc000_0052;

/// MS-FSCC 2.4: FileFullEaInformation.
const FULL_EA: u8 = 15;

/// MS-SMB2 2.2.37.
const RESTART: u32 = 1;
const SINGLE: u32 = 2;
const INDEX: u32 = 4;

fn main() -> ExitCode {
    let trial = |name, needs: &[Need], body: fn(&Server) -> Outcome| {
        support::on_each_backend(name, needs, Serve::new, body)
    };
    let trials = [
        trial("smbclient sets EAs, lists and removes them", &[Need::Smbclient], by_smbclient),
        trial("a query goes on where the one before ended", &[], scan),
        trial("EAs are found by name and by number", &[], chosen),
        trial("an answer has whole EAs only", &[], room),
        trial("what is wrong in a list of EAs is said", &[], wrong),
        trial("a file is made with its EAs, and overwritten without", &[], created),
        trial("EAs take a right of their own", &[], rights),
    ];
    let mut trials: Vec<_> = trials.into_iter().flatten().collect();
    let unprivileged = Serve::new().restricted(Restriction::Unprivileged);
    let name = "EAs of a file that is READONLY are changed all or none";
    trials.push(support::served(name, &[], unprivileged, all_or_none));
    support::run(trials)
}

/// As extended attributes of the file, which is how Samba stores them.
fn by_smbclient(server: &Server) -> Outcome {
    let path = server.folder().join("file");
    fs::write(&path, "contents")?;
    let set =
        Client::new(server).run("setea file One first; setea file Zwei zweites; getea file")?;
    set.success()?.says("One (0) =")?.says("first")?.says("Zwei (0) =")?.says("zweites")?;
    let mut value = [0; 16];
    let length = rustix::fs::getxattr(&path, "user.One", &mut value)?;
    ensure(&value[..length] == b"first", || "another value on the disk".into())?;
    let again =
        Client::new(server).run("setea file ONE \"\"; setea file zwei again; getea file")?;
    let again = again.success()?.says("Zwei (0) =")?.says("again")?;
    ensure(!again.text().contains("One"), || again.text().into())?;
    for (name, status) in [("DOSATTRIB", "ACCESS_DENIED"), ("a:b", "INVALID_EA_NAME")] {
        Client::new(server).run(&format!("setea file {name} x"))?.says(status)?;
    }
    Ok(())
}

// ---- raw

type Pairs<'a> = &'a [(&'a str, &'a str)];

/// MS-FSCC 2.4.16.
fn list(eas: Pairs<'_>) -> Result<Vec<u8>, Failed> {
    let mut list = Vec::new();
    for (index, (name, value)) in eas.iter().enumerate() {
        let mut entry = vec![0; 5];
        entry.push(u8::try_from(name.len())?);
        entry.extend_from_slice(&u16::try_from(value.len())?.to_le_bytes());
        entry.extend_from_slice(&[name.as_bytes(), b"\0", value.as_bytes()].concat());
        push(&mut list, entry, index + 1 == eas.len())?;
    }
    Ok(list)
}

/// MS-FSCC 2.4.16.1.
fn wanted(names: &[&str]) -> Result<Vec<u8>, Failed> {
    let mut list = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let mut entry = vec![0; 4];
        entry.push(u8::try_from(name.len())?);
        entry.extend_from_slice(&[name.as_bytes(), b"\0"].concat());
        push(&mut list, entry, index + 1 == names.len())?;
    }
    Ok(list)
}

fn push(list: &mut Vec<u8>, mut entry: Vec<u8>, last: bool) -> Outcome {
    if !last {
        entry.resize(entry.len().next_multiple_of(4), 0);
        let next = u32::try_from(entry.len())?;
        entry[..4].copy_from_slice(&next.to_le_bytes());
    }
    list.append(&mut entry);
    Ok(())
}

struct Query {
    file: FileId,
    flags: u32,
    index: u32,
    room: u32,
    input: Vec<u8>,
}

/// FileFullEaInformation, with room for all.
fn query(file: FileId, flags: u32) -> Query {
    Query { file, flags, index: 0, room: 4096, input: Vec::new() }
}

/// The status, and the EAs as `name=value` in their order.
fn ask(session: &mut Session, query: Query) -> Result<(u32, Vec<String>), Failed> {
    let mut body = vec![41, 0, 1, FULL_EA];
    body.extend_from_slice(&query.room.to_le_bytes());
    body.extend_from_slice(&u32::try_from(HEADER + 40)?.to_le_bytes());
    for field in [u32::try_from(query.input.len())?, query.index, query.flags] {
        body.extend_from_slice(&field.to_le_bytes());
    }
    body.extend_from_slice(&query.file);
    body.extend_from_slice(&query.input);
    body.push(0);
    let answer = session.call(command::QUERY_INFO, &body)?;
    let status = status(&answer);
    if ![nt::SUCCESS, BUFFER_OVERFLOW].contains(&status) {
        return Ok((status, Vec::new()));
    }
    let length = usize::try_from(u32_at(&answer, HEADER + 4)?)?;
    ensure(length <= query.room as usize, || format!("{length} bytes"))?;
    Ok((status, parsed(answer.get(HEADER + 8..HEADER + 8 + length).ok_or("too short")?)?))
}

fn parsed(mut list: &[u8]) -> Result<Vec<String>, Failed> {
    let mut found = Vec::new();
    loop {
        let next = usize::try_from(u32_at(list, 0)?)?;
        let (name, value) =
            (usize::from(list[5]), usize::from(u16::from_le_bytes([list[6], list[7]])));
        let text = |range: std::ops::Range<usize>| list.get(range).map(String::from_utf8_lossy);
        let name_text = text(8..8 + name).ok_or("a name that is cut off")?;
        let value_text = text(9 + name..9 + name + value).ok_or("a value that is cut off")?;
        found.push(format!("{name_text}={value_text}"));
        if next == 0 {
            ensure(list.len() == 9 + name + value, || "more behind the last".into())?;
            return Ok(found);
        }
        ensure(next % 4 == 0, || format!("the next at {next}"))?;
        list = list.get(next..).ok_or("a next one behind the end")?;
    }
}

fn expect_eas(found: (u32, Vec<String>), wanted: u32, eas: &[&str], what: &str) -> Outcome {
    expect(found.0, wanted, what)?;
    ensure(found.1 == eas, || format!("{what}: {:?} instead of {eas:?}", found.1))
}

/// A session with a file that has three EAs, in the order in which the file system tells them.
fn with_three(server: &Server) -> Result<(Session, FileId, [String; 3]), Failed> {
    let mut session = Session::in_share(server.address)?;
    let file = session.opened(Create::open("file", access::ALL).or_create())?;
    let eas = [("one", "first"), ("TWO", "2"), ("three", "three's value")];
    expect(session.set_info(file, FULL_EA, &list(&eas)?)?, nt::SUCCESS, "setting three")?;
    let (_, all) = ask(&mut session, query(file, RESTART))?;
    let mut sorted = all.clone();
    sorted.sort();
    ensure(sorted == ["TWO=2", "one=first", "three=three's value"], || format!("{all:?}"))?;
    let all = all.try_into().map_err(|all| format!("{all:?}"))?;
    Ok((session, file, all))
}

/// MS-FSA 2.1.5.12.12.
fn scan(server: &Server) -> Outcome {
    let (mut session, file, [a, b, c]) = with_three(server)?;
    let mut step = |flags, status, eas: &[&str], what: &str| {
        expect_eas(ask(&mut session, query(file, flags))?, status, eas, what)
    };
    step(0, NO_MORE_EAS, &[], "after all")?;
    step(RESTART | SINGLE, nt::SUCCESS, &[&a], "the first")?;
    step(SINGLE, nt::SUCCESS, &[&b], "the second")?;
    step(0, nt::SUCCESS, &[&c], "the rest")?;
    step(SINGLE, NO_MORE_EAS, &[], "none")?;
    step(RESTART, nt::SUCCESS, &[&a, &b, &c], "all again")?;
    let other = session.opened(Create::open("file", access::READ))?;
    expect_eas(ask(&mut session, query(other, SINGLE))?, nt::SUCCESS, &[&a], "another open")?;
    let none = session.opened(Create::open("none", access::ALL).or_create())?;
    expect_eas(ask(&mut session, query(none, 0))?, NO_EAS_ON_FILE, &[], "a file without")
}

fn chosen(server: &Server) -> Outcome {
    let (mut session, file, [a, b, c]) = with_three(server)?;
    for (index, status, eas) in [
        (0, NONEXISTENT_EA_ENTRY, vec![]),
        (1, nt::SUCCESS, vec![a.as_str(), &b, &c]),
        (3, nt::SUCCESS, vec![&c]),
        (4, NO_MORE_EAS, vec![]),
        (5, NONEXISTENT_EA_ENTRY, vec![]),
    ] {
        let query = Query { index, ..query(file, INDEX) };
        expect_eas(ask(&mut session, query)?, status, &eas, &format!("number {index}"))?;
    }
    let named = Query { input: wanted(&["two", "none", "ONE", "Two"])?, ..query(file, 0) };
    // Windows tells of what there is not, with nothing in it; and of each once.
    let eas = ["TWO=2", "none=", "one=first"];
    expect_eas(ask(&mut session, named)?, nt::SUCCESS, &eas, "by name")?;
    let kept = Query { input: wanted(&["DOSATTRIB"])?, ..query(file, 0) };
    expect_eas(ask(&mut session, kept)?, nt::SUCCESS, &["DOSATTRIB="], "the server's own")
}

fn room(server: &Server) -> Outcome {
    let (mut session, file, all) = with_three(server)?;
    let lengths = all.each_ref().map(|ea| 8 + ea.len());
    let two = lengths[0].next_multiple_of(4) + lengths[1];
    for (room, status, count) in [
        (lengths[0] - 1, BUFFER_TOO_SMALL, 0),
        (lengths[0], BUFFER_OVERFLOW, 1),
        (two - 1, BUFFER_OVERFLOW, 1),
        (two, BUFFER_OVERFLOW, 2),
    ] {
        let query = Query { room: u32::try_from(room)?, ..query(file, RESTART) };
        let eas: Vec<_> = all.iter().take(count).map(String::as_str).collect();
        expect_eas(ask(&mut session, query)?, status, &eas, &format!("{room} bytes"))?;
    }
    expect_eas(ask(&mut session, query(file, 0))?, nt::SUCCESS, &[&all[2]], "the rest")
}

/// Nothing of the list is done then.
fn wrong(server: &Server) -> Outcome {
    let (mut session, file, [a, b, c]) = with_three(server)?;
    // With the names and what lies between 65,532 bytes, one more than there may be.
    let long = "x".repeat(65_000);
    let mut misaligned = list(&[("one", "x"), ("b", "x")])?;
    misaligned[0] += 1;
    for (status, list, what) in [
        (INVALID_EA_NAME, list(&[("one", "x"), ("a:b", "x")])?, "a bad name"),
        (INVALID_EA_NAME, list(&[("one", "x"), ("", "x")])?, "no name"),
        (INVALID_EA_NAME, b"\0\0\0\0\x01\x01\x01\0a\0x".to_vec(), "a flag that there is none of"),
        (nt::ACCESS_DENIED, list(&[("one", "x"), ("NtAcl", "x")])?, "a name of the server's"),
        (EA_LIST_INCONSISTENT, misaligned, "an entry between multiples of four"),
        (EA_LIST_INCONSISTENT, list(&[("one", "x")])?[..9].to_vec(), "a value that is cut off"),
        (EA_TOO_LARGE, list(&[("one", "x"), ("long", &long), ("more", &long[..487])])?, "too much"),
    ] {
        expect(session.set_info(file, FULL_EA, &list)?, status, what)?;
        let after = ask(&mut session, query(file, RESTART))?;
        expect_eas(after, nt::SUCCESS, &[&a, &b, &c], what)?;
    }
    for (status, input, what) in [
        (INVALID_EA_NAME, wanted(&["one", "a*b"])?, "asking for a bad name"),
        (EA_LIST_INCONSISTENT, wanted(&["one"])?[..8].to_vec(), "asking without a NUL"),
    ] {
        expect_eas(ask(&mut session, Query { input, ..query(file, 0) })?, status, &[], what)?;
    }
    let stream = session.opened(Create::open("file:stream", access::ALL).or_create())?;
    expect_eas(ask(&mut session, query(stream, 0))?, INVALID_PARAMETER, &[], "a stream")?;
    let set = session.set_info(stream, FULL_EA, &list(&[("one", "x")])?)?;
    expect(set, INVALID_PARAMETER, "setting a stream's")
}

/// A CREATE with the context `ExtA` (MS-SMB2 2.2.13.2.1), in another disposition and with more options.
fn create(
    session: &mut Session,
    disposition: u8,
    options: u32,
    eas: &[u8],
) -> Result<Result<FileId, u32>, Failed> {
    let mut body = Create::open("file", access::ALL).body()?;
    let at = u32::try_from(HEADER + body.len())?;
    let mut context = vec![0, 0, 0, 0, 16, 0, 4, 0, 0, 0, 24, 0];
    context.extend_from_slice(&u32::try_from(eas.len())?.to_le_bytes());
    context.extend_from_slice(&[b"ExtA\0\0\0\0", eas].concat());
    body[36] = disposition;
    body[40..44].copy_from_slice(&options.to_le_bytes());
    body[48..52].copy_from_slice(&at.to_le_bytes());
    body[52..56].copy_from_slice(&u32::try_from(context.len())?.to_le_bytes());
    let answer = session.call(command::CREATE, &[body, context].concat())?;
    match status(&answer) {
        nt::SUCCESS => Ok(Ok(file_id(&answer)?)),
        status => Ok(Err(status)),
    }
}

fn created(server: &Server) -> Outcome {
    const OPEN: u8 = 1;
    const OPEN_IF: u8 = 3;
    const OVERWRITE: u8 = 4;
    const NO_EA_KNOWLEDGE: u32 = 0x200;
    let mut session = Session::in_share(server.address)?;
    for (status, options, eas) in [
        (INVALID_EA_NAME, 0, list(&[("a:b", "x")])?),
        (EA_LIST_INCONSISTENT, 0, b"\0\0\0\0\0\x09\x01\0a\0x".to_vec()),
        (nt::ACCESS_DENIED, 0, list(&[("NTACL", "x")])?),
        (nt::ACCESS_DENIED, NO_EA_KNOWLEDGE, list(&[("a", "x")])?),
    ] {
        let refused = create(&mut session, OPEN_IF, options, &eas)?;
        expect(refused.err().unwrap_or_default(), status, "a CREATE that is wrong")?;
        ensure(!server.folder().join("file").exists(), || "it was made".into())?;
    }
    let path = server.folder().join("file");
    fs::write(&path, "contents")?;
    let refused = create(&mut session, OVERWRITE, 0, &list(&[("NTACL", "x")])?)?;
    expect(refused.err().unwrap_or_default(), nt::ACCESS_DENIED, "overwriting with that")?;
    ensure(fs::read(&path)? == b"contents", || "it was emptied".into())?;
    fs::remove_file(&path)?;
    let mut step = |disposition, eas: Pairs<'_>, found: &[&str], what| {
        let file = create(&mut session, disposition, 0, &list(eas)?)?;
        let file = file.map_err(|status| format!("{what}: {status:#010x}"))?;
        let status = if found.is_empty() { NO_EAS_ON_FILE } else { nt::SUCCESS };
        expect_eas(ask(&mut session, query(file, 0))?, status, found, what)?;
        session.close(file)
    };
    step(OPEN_IF, &[("a", "1")], &["a=1"], "made")?;
    step(OPEN, &[("b", "2")], &["a=1"], "opened")?;
    step(OVERWRITE, &[("b", "2")], &["b=2"], "overwritten")?;
    step(OVERWRITE, &[], &[], "overwritten with none")
}

/// The first is gone by the time that a file system says it has no room for the second, as most do.
fn all_or_none(server: &Server) -> Outcome {
    let (mut session, file, _) = with_three(server)?;
    expect(session.set_attributes(file, attribute::READONLY)?, nt::SUCCESS, "READONLY")?;
    let eas = |session: &mut Session| {
        let mut eas = ask(session, query(file, RESTART))?.1;
        eas.sort();
        Ok::<_, Failed>(eas)
    };
    let before = eas(&mut session)?;
    let large = "x".repeat(60_000);
    let changed = session.set_info(file, FULL_EA, &list(&[("one", ""), ("new", &large)])?)?;
    let after = eas(&mut session)?;
    ensure(changed == nt::SUCCESS || after == before, || {
        format!("{changed:#x}, and {after:?} instead of {before:?}")
    })?;
    let removed = session.set_info(file, FULL_EA, &list(&[("one", "")])?)?;
    expect(removed, nt::SUCCESS, "what there is room for")?;
    expect(session.attributes(file)?, attribute::READONLY, "the attributes")
}

fn rights(server: &Server) -> Outcome {
    const READ_EA: u32 = 0x8;
    const WRITE_EA: u32 = 0x10;
    let (mut session, file, _) = with_three(server)?;
    session.close(file)?;
    let change = list(&[("one", "")])?;
    for (right, reads, writes) in [
        (READ_EA, true, false),
        (WRITE_EA, false, true),
        (access::ALL & !(READ_EA | WRITE_EA), false, false),
    ] {
        let file = session.opened(Create::open("file", right))?;
        let expected = |may| if may { nt::SUCCESS } else { nt::ACCESS_DENIED };
        let what = format!("with {right:#x}");
        expect(ask(&mut session, query(file, RESTART))?.0, expected(reads), &what)?;
        expect(session.set_info(file, FULL_EA, &change)?, expected(writes), &what)?;
        session.close(file)?;
    }
    Ok(())
}
