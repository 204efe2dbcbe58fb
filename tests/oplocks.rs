//! Oplocks between clients on connections of their own: what takes them back, and who waits for that. Over raw SMB,
//! since smbclient asks for none; smbtorture has the rest.

mod support;

use std::fs;
use std::process::ExitCode;

use libtest_mimic::Failed;
use support::requests::{Create, FileId, access, file_id, nt, rename};
use support::server::Server;
use support::session::{HEADER, Session, command, expect, status, u64_at};
use support::{Outcome, Serve, ensure};

const NONE: u8 = 0;
const LEVEL_2: u8 = 1;
const EXCLUSIVE: u8 = 8;
const BATCH: u8 = 9;

fn main() -> ExitCode {
    let trial =
        |name, body: fn(&Server) -> Outcome| support::on_each_backend(name, &[], Serve::new, body);
    let trials = [
        trial("an open waits until a client has written what it kept", written_back),
        trial("an open waits no longer than for the client", client_gone),
        trial("who closes a file in place of an answer is out of the way", closed_instead),
        trial("a copy is old when somebody writes", level_2),
        trial("an oplock is not taken back before its client knows of it", answer_first),
        trial(
            "a file that is to be deleted goes with the last to open it, who fails",
            left_to_who_fails,
        ),
        trial("a folder is renamed although a client keeps a file in it open", renamed_above),
        trial("an open that is gone with its connection is not had back", not_durable),
        support::on_each_backend(
            "a share without oplocks grants none",
            &[],
            || Serve::new().share_option("no-oplocks"),
            none_granted,
        ),
    ];
    support::run(trials.into_iter().flatten().collect())
}

/// A client that has this file open with a batch oplock.
fn holder(server: &Server, name: &str) -> Result<(Session, FileId), Failed> {
    let mut session = Session::in_share(server.address)?;
    let create = Create::open(name, access::ALL).or_create().oplock(BATCH);
    let (file, level) = session.opened_with_oplock(create)?;
    ensure(level == BATCH, || format!("oplock level {level} instead of a batch oplock"))?;
    Ok((session, file))
}

/// Sends an open that has to wait; the MessageId.
fn begin_open(session: &mut Session, name: &str) -> Result<u64, Failed> {
    let message = session.request(command::CREATE, &Create::open(name, access::READ).body()?);
    session.wire.send(&message)?;
    u64_at(&message, 24)
}

/// The next message, which nobody has asked for: to what level the oplock of which file is lowered.
fn told(session: &mut Session) -> Result<(FileId, u8), Failed> {
    let message = session.wire.receive()?.ok_or("closed instead of a break")?;
    ensure(u64_at(&message, 24)? == u64::MAX, || "an answer instead of a break".into())?;
    let body = message.get(HEADER..HEADER + 24).ok_or("a short break")?;
    Ok((body[8..24].try_into()?, body[2]))
}

/// MS-SMB2 2.2.24.1.
fn acknowledge(session: &mut Session, file: FileId, level: u8) -> Outcome {
    let body = [&[24, 0, level, 0, 0, 0, 0, 0], &file[..]].concat();
    let answer = session.call(command::OPLOCK_BREAK, &body)?;
    expect(status(&answer), nt::SUCCESS, "the acknowledgement")?;
    ensure(answer.get(HEADER + 2) == Some(&level), || "another level than acknowledged".into())
}

fn final_answer(session: &mut Session, id: u64) -> Result<Vec<u8>, Failed> {
    session.answer(id)?.ok_or_else(|| "closed instead of an answer".into())
}

/// MS-SMB2 3.3.5.9.7.
fn not_durable(server: &Server) -> Outcome {
    let (before, file) = holder(server, "file")?;
    drop(before);
    let mut session = Session::in_share(server.address)?;
    let create = Create::open("file", access::ALL).oplock(BATCH).reconnecting(file);
    let refused = session.open(create)?.err();
    ensure(refused == Some(nt::OBJECT_NAME_NOT_FOUND), || format!("{refused:x?}"))?;
    session
        .open(Create::open("file", access::ALL))?
        .map(drop)
        .map_err(|it| format!("{it:x}").into())
}

fn none_granted(server: &Server) -> Outcome {
    let mut session = Session::in_share(server.address)?;
    for level in [LEVEL_2, EXCLUSIVE, BATCH] {
        let create = Create::open("file", access::ALL).or_create().oplock(level);
        let (_, granted) = session.opened_with_oplock(create)?;
        ensure(granted == NONE, || format!("oplock level {granted} for {level}"))?;
    }
    Ok(())
}

fn written_back(server: &Server) -> Outcome {
    let (mut keeps, file) = holder(server, "file")?;
    let mut opens = Session::in_share(server.address)?;
    let id = begin_open(&mut opens, "file")?;
    ensure(told(&mut keeps)? == (file, LEVEL_2), || "another break".into())?;
    expect(keeps.write(file, 0, b"kept until now")?, nt::SUCCESS, "WRITE")?;
    acknowledge(&mut keeps, file, LEVEL_2)?;
    let answer = final_answer(&mut opens, id)?;
    expect(status(&answer), nt::SUCCESS, "the open that waited")?;
    // EndofFile, as it is now.
    ensure(u64_at(&answer, HEADER + 48)? == 14, || "the size is that of before".into())
}

fn client_gone(server: &Server) -> Outcome {
    let (mut keeps, file) = holder(server, "file")?;
    let mut opens = Session::in_share(server.address)?;
    let id = begin_open(&mut opens, "file")?;
    ensure(told(&mut keeps)? == (file, LEVEL_2), || "another break".into())?;
    drop(keeps);
    expect(status(&final_answer(&mut opens, id)?), nt::SUCCESS, "the open that waited")
}

/// The file is shared with nobody and goes with its opener: who waits must find neither any more.
fn closed_instead(server: &Server) -> Outcome {
    let mut keeps = Session::in_share(server.address)?;
    let mut opens = Session::in_share(server.address)?;
    for round in 0..20 {
        let create = Create::open("file", access::ALL).exclusive().or_create();
        let (file, level) = keeps.opened_with_oplock(create.oplock(BATCH).delete_on_close())?;
        ensure(level == BATCH, || format!("round {round}: oplock level {level}"))?;
        let create = Create::open("file", access::ALL).exclusive().or_create();
        let message = opens.request(command::CREATE, &create.body()?);
        opens.wire.send(&message)?;
        ensure(told(&mut keeps)? == (file, LEVEL_2), || "another break".into())?;
        keeps.close(file)?;
        let answer = final_answer(&mut opens, u64_at(&message, 24)?)?;
        expect(status(&answer), nt::SUCCESS, &format!("round {round}: the open that waited"))?;
        opens.close(file_id(&answer)?)?;
    }
    Ok(())
}

/// Who waits for an oplock has the file open already.
fn left_to_who_fails(server: &Server) -> Outcome {
    let mut keeps = Session::in_share(server.address)?;
    let create = Create::open("file", access::ALL).or_create().oplock(EXCLUSIVE);
    let (file, level) = keeps.opened_with_oplock(create)?;
    ensure(level == EXCLUSIVE, || format!("oplock level {level} instead of an exclusive one"))?;
    let mut opens = Session::in_share(server.address)?;
    // It is to reserve more than any disk has.
    let create = Create::open("file", access::ALL).overwriting().allocating(1 << 62);
    let message = opens.request(command::CREATE, &create.body()?);
    opens.wire.send(&message)?;
    ensure(told(&mut keeps)? == (file, NONE), || "another break".into())?;
    expect(keeps.mark_deleted(file)?, nt::SUCCESS, "a deletion")?;
    keeps.close(file)?;
    let answer = final_answer(&mut opens, u64_at(&message, 24)?)?;
    ensure(status(&answer) != nt::SUCCESS, || "there was room for it".into())?;
    ensure(!server.folder().join("file").exists(), || "the file is still there".into())
}

/// A compound whose first element gets an oplock and whose second waits for another client; a third opens what the
/// first has opened.
fn answer_first(server: &Server) -> Outcome {
    let (mut other, held) = holder(server, "held")?;
    let mut keeps = Session::in_share(server.address)?;
    let first = Create::open("file", access::ALL).or_create().oplock(BATCH);
    let mut message = keeps.request(command::CREATE, &first.body()?);
    message.resize(message.len().next_multiple_of(8), 0);
    let length = u32::try_from(message.len())?;
    message[20..24].copy_from_slice(&length.to_le_bytes()); // NextCommand
    let second = keeps.request(command::CREATE, &Create::open("held", access::READ).body()?);
    keeps.wire.send(&[message, second].concat())?;
    ensure(told(&mut other)? == (held, LEVEL_2), || "another break".into())?;
    // The first has been carried out, and is not answered.
    let mut opens = Session::in_share(server.address)?;
    let waits = begin_open(&mut opens, "file")?;
    let interim = opens.wire.receive()?.ok_or("closed instead of an interim response")?;
    expect(status(&interim), nt::PENDING, "the open that waits for the first client")?;
    other.close(held)?;
    let answer = keeps.wire.receive()?.ok_or("closed instead of an answer")?;
    ensure(u64_at(&answer, 24)? != u64::MAX, || "the break came first".into())?;
    expect(status(&answer), nt::SUCCESS, "the first CREATE")?;
    let file = file_id(&answer)?;
    ensure(told(&mut keeps)? == (file, LEVEL_2), || "another break".into())?;
    acknowledge(&mut keeps, file, LEVEL_2)?;
    expect(status(&final_answer(&mut opens, waits)?), nt::SUCCESS, "the open that waited")
}

fn level_2(server: &Server) -> Outcome {
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut session = Session::in_share(server.address)?;
        let create = Create::open("file", access::ALL).or_create().oplock(LEVEL_2);
        let (file, level) = session.opened_with_oplock(create)?;
        ensure(level == LEVEL_2, || format!("oplock level {level}"))?;
        clients.push((session, file));
    }
    let mut writes = Session::in_share(server.address)?;
    let file = writes.opened(Create::open("file", access::READ_AND_WRITE))?;
    expect(writes.write(file, 0, b"new")?, nt::SUCCESS, "WRITE")?;
    for (session, file) in &mut clients {
        ensure(told(session)? == (*file, NONE), || "another break".into())?;
    }
    Ok(())
}

fn renamed_above(server: &Server) -> Outcome {
    fs::create_dir(server.folder().join("folder"))?;
    let (mut keeps, file) = holder(server, "folder\\file")?;
    let mut renames = Session::in_share(server.address)?;
    let folder = renames.opened(Create::open("folder", access::ALL).directory())?;
    let message = renames.request(command::SET_INFO, &rename(folder, "renamed")?);
    renames.wire.send(&message)?;
    ensure(told(&mut keeps)? == (file, LEVEL_2), || "another break".into())?;
    keeps.close(file)?;
    let answer = final_answer(&mut renames, u64_at(&message, 24)?)?;
    expect(status(&answer), nt::SUCCESS, "the rename")?;
    ensure(server.folder().join("renamed/file").exists(), || "it is not there".into())
}
