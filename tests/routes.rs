//! The ways that bytes take through the server: each moves the same bytes, and what goes wrong on one disturbs nothing
//! but its own request.

mod support;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use libtest_mimic::Failed;
use support::content::Random;
use support::requests::{Create, FileId, access, nt, read, write};
use support::session::{HEADER, Session, Wire, command, expect, framed, status, u64_at};
use support::transfers::{Answer, READ_FIXED};
use support::{BACKENDS, Need, Outcome, Serve, Server, ensure};

/// Around the lengths at which the routes change, and as long as a message may be.
const LENGTHS: [usize; 13] = [
    1,
    4095,
    (16 << 10) - 1,
    16 << 10,
    (32 << 10) - 1,
    32 << 10,
    100_001,
    (512 << 10) - 1,
    512 << 10,
    1 << 20,
    (1 << 20) + 1,
    (3 << 20) + 777,
    8 << 20,
];

fn main() -> ExitCode {
    let mut trials = Vec::new();
    for (backend, needs) in BACKENDS {
        let serve = || Serve::new().backend(backend).argument("--threads=1");
        let mut trial = |name: &str, body: fn(&Server) -> Outcome| {
            trials.push(support::served(&format!("{name} ({backend})"), needs, serve(), body));
        };
        trial("plain transfers of every length carry their bytes", |server| {
            PLACES.into_iter().try_for_each(|place| every_length(server, place))
        });
        trial("each way is counted, and why it was taken", counted);
        trial("a READ across the end of a file has what there is", |server| {
            PLACES.into_iter().try_for_each(|place| at_the_end(server, place))
        });
        trial("a WRITE that is refused takes its payload with it", refused);
        trial("a WRITE whose head comes in pieces is written whole", in_pieces);
        trial("WRITEs that come in one piece are written in their order", together);
        trial("of a WRITE that breaks off there is no more than what came", broken_off);
        trial("half a WRITE keeps nobody else waiting", half);
        trial("what is read while others write was there in the meantime", |server| {
            PLACES.into_iter().try_for_each(|place| raced(server, place))
        });
        trial(
            "clients that take nothing leave the pipes to nobody, and all are served",
            takes_nothing,
        );
        trial("a stream that is a file in the store takes a file's ways", stored_stream);
        let name = format!(
            "of long READs by clients here it is measured which way costs less ({backend})"
        );
        let fast = [needs, &[Need::Speed]].concat();
        trials.push(support::served(&name, &fast, serve(), weighed));
        let serve = |without: &str| serve().argument(&format!("--without={without}"));
        for (without, ways, is_spliced) in
            [("pipes", "mapped", false), ("mappings", "spliced", true)]
        {
            let name = format!(
                "a file that is cut off while it is {ways} ends that connection at most ({backend})"
            );
            trials.push(support::served(&name, needs, serve(without), move |server| {
                cut_off(server, is_spliced)
            }));
        }
        for (without, ways) in WITHOUT {
            let name = format!("without {without}, bytes take other ways ({backend})");
            trials.push(support::served(&name, needs, serve(without), move |server| {
                PLACES.into_iter().try_for_each(|place| every_length(server, place))?;
                only_these(server, ways)
            }));
        }
    }
    support::run(trials)
}

/// What a server does without, and the ways that are left.
const WITHOUT: [(&str, &[&str]); 3] = [
    ("pipes", &["buffered", "mapped", "message"]),
    ("mappings", &["buffered", "message", "spliced"]),
    ("pipes,mappings", &["buffered", "message"]),
];

fn only_these(server: &Server, ways: &[&str]) -> Outcome {
    let routes = server.routes()?;
    let taken = |way: &&str| routes.iter().any(|line| line.contains(&format!("route={way} ")));
    ensure(ways.iter().all(taken), || format!("not all of {ways:?} in {routes:#?}"))?;
    let others = ["buffered", "mapped", "message", "spliced"].into_iter();
    let mut others = others.filter(|way| !ways.contains(way));
    ensure(!others.any(|way| taken(&way)), || format!("more than {ways:?} in {routes:#?}"))
}

/// Where a client is, as the server sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// At the server's own address.
    Here,
    /// At another.
    Away,
}

const PLACES: [Place; 2] = [Place::Here, Place::Away];

fn every_length(server: &Server, place: Place) -> Outcome {
    let mut session = in_share_from(server, place)?;
    // On a page, and not.
    session.every_length(server, &format!("file-{place:?}"), &LENGTHS, &[0, 12_345])?;
    Ok(())
}

fn counted(server: &Server) -> Outcome {
    const LARGE: usize = 1 << 20;
    const MIDDLE: usize = 128 << 10;
    let (mut here, mut away) = (in_share(server)?, in_share_from(server, Place::Away)?);
    let file = here.opened(Create::open("file", access::READ_AND_WRITE).or_create())?;
    for length in [1000, MIDDLE, LARGE, LARGE] {
        let bytes = Random::new(1).bytes(length);
        expect(put(&mut here, file, 0, &bytes)?, nt::SUCCESS, "WRITE")?;
        get(&mut here, file, 0, length)?;
    }
    let file = away.opened(Create::open("file", access::READ))?;
    get(&mut away, file, 0, LARGE)?;
    let routes = server.routes()?;
    for expected in [
        "direction=read route=mapped transfers=2 bytes=2097152",
        "direction=read route=spliced transfers=2 bytes=1179648",
        "direction=read route=buffered transfers=1 bytes=1000",
        "direction=write route=spliced transfers=3 bytes=2228224",
        "direction=write route=message transfers=1 bytes=1000",
        "when=\"it is shorter than 16 KiB\" because=\"a copy of so little",
        "two more system calls\" transfers=1 bytes=1000",
        "when=\"the client is on this host, and it is 512 KiB or more\"",
    ] {
        let found = routes.iter().any(|line| line.contains(expected));
        ensure(found, || format!("no '{expected}' in {routes:#?}"))?;
    }
    Ok(())
}

fn at_the_end(server: &Server, place: Place) -> Outcome {
    let bytes = Random::new(2).bytes((1 << 20) + 100);
    fs::write(server.folder().join("file"), &bytes)?;
    let mut session = in_share_from(server, place)?;
    let file = session.opened(Create::open("file", access::READ))?;
    for offset in [bytes.len() - 1, bytes.len() - 100_000, 4097, 0] {
        let found = get(&mut session, file, u64::try_from(offset)?, 4 << 20)?;
        ensure(found == bytes[offset..], || format!("from {offset} on"))?;
    }
    let beyond = session.request_charged(command::READ, &read(file, 4 << 20, 1 << 20), 1 << 20)?;
    session.wire.send(&beyond)?;
    let answer = session.answer(u64_at(&beyond, 24)?)?.ok_or("closed")?;
    expect(status(&answer), END_OF_FILE, "READ behind the end")
}

fn refused(server: &Server) -> Outcome {
    let bytes = Random::new(3).bytes(1 << 20);
    fs::write(server.folder().join("file"), b"untouched")?;
    let mut session = in_share(server)?;
    let file = session.opened(Create::open("file", access::READ))?;
    expect(put(&mut session, file, 0, &bytes)?, nt::ACCESS_DENIED, "without the right to")?;
    expect(put(&mut session, [9; 16], 0, &bytes)?, FILE_CLOSED, "of no file")?;
    let far = u64::try_from(i64::MAX)?;
    let writer = session.opened(Create::open("file", access::READ_AND_WRITE))?;
    expect(put(&mut session, writer, far, &bytes)?, nt::INVALID_PARAMETER, "too far")?;
    let tree = std::mem::replace(&mut session.tree, 77);
    let answer = put(&mut session, writer, 0, &bytes)?;
    expect(answer, NETWORK_NAME_DELETED, "of no share")?;
    session.tree = tree;
    ensure(session.echo()?, || "nothing is answered any more".to_owned())?;
    ensure(get(&mut session, file, 0, 9)? == b"untouched", || "it was written".to_owned())
}

fn in_pieces(server: &Server) -> Outcome {
    let bytes = Random::new(4).bytes(200_000);
    let mut session = in_share(server)?;
    let file = session.opened(Create::open("file", access::READ_AND_WRITE).or_create())?;
    // The second comes after one that was taken apart.
    for _ in 0..2 {
        let request = session.request_charged(command::WRITE, &write(file, 0, &bytes)?, 200_000)?;
        let message = framed(&request);
        let (head, rest) = message.split_at(150);
        for piece in head.chunks(7) {
            session.wire.raw(piece)?;
            thread::sleep(Duration::from_millis(1));
        }
        session.wire.raw(rest)?;
        let answer = session.answer(u64_at(&request, 24)?)?.ok_or("closed")?;
        expect(status(&answer), nt::SUCCESS, "WRITE")?;
    }
    let on_disk = fs::read(server.folder().join("file"))?;
    ensure(on_disk == bytes, || "the file is not what was written".to_owned())
}

fn together(server: &Server) -> Outcome {
    let mut session = in_share(server)?;
    let file = session.opened(Create::open("file", access::READ_AND_WRITE).or_create())?;
    let mut random = Random::new(6);
    let (mut stream, mut expected, mut last) = (Vec::new(), Vec::new(), 0);
    for length in [300_000, 50, 70_000, 33_000, 10, 1 << 20] {
        let bytes = random.bytes(length);
        let body = write(file, u64::try_from(expected.len())?, &bytes)?;
        let request = session.request_charged(command::WRITE, &body, length)?;
        last = u64_at(&request, 24)?;
        stream.extend(framed(&request));
        expected.extend(bytes);
    }
    session.wire.raw(&stream)?;
    let mut answered = 0;
    while answered < 6 {
        let answer = session.next_answer()?.ok_or("closed")?;
        expect(status(&answer), nt::SUCCESS, "WRITE")?;
        answered += 1;
    }
    ensure(session.echo()?, || format!("nothing after message {last}"))?;
    let on_disk = fs::read(server.folder().join("file"))?;
    ensure(on_disk == expected, || "the file is not what was written".to_owned())
}

fn broken_off(server: &Server) -> Outcome {
    let bytes = Random::new(7).bytes(1 << 20);
    let mut session = in_share(server)?;
    let file = session.opened(Create::open("file", access::READ_AND_WRITE).or_create())?;
    let request = session.request_charged(command::WRITE, &write(file, 0, &bytes)?, 1 << 20)?;
    session.wire.raw(&framed(&request)[..500_000])?;
    drop(session);
    let mut other = in_share(server)?;
    // The one that is gone has the file open until the server has seen that.
    let again = Create::open("file", access::READ).exclusive();
    let mut tries = 0;
    while let Err(status) = other.open(again)? {
        expect(status, SHARING_VIOLATION, "an open")?;
        tries += 1;
        ensure(tries < 1000, || "a connection that broke off keeps its file open".to_owned())?;
        thread::sleep(Duration::from_millis(10));
    }
    let on_disk = fs::read(server.folder().join("file"))?;
    ensure(bytes.starts_with(&on_disk), || "there is what was never sent".to_owned())
}

fn half(server: &Server) -> Outcome {
    let bytes = Random::new(8).bytes(1 << 20);
    let mut sessions = Vec::new();
    // More than there are pipes.
    for index in 0..20 {
        let mut session = in_share(server)?;
        let name = format!("file-{index}");
        let file = session.opened(Create::open(&name, access::READ_AND_WRITE).or_create())?;
        let request = session.request_charged(command::WRITE, &write(file, 0, &bytes)?, 1 << 20)?;
        let message = framed(&request);
        session.wire.raw(&message[..400_000])?;
        sessions.push((session, message, u64_at(&request, 24)?));
    }
    let mut other = in_share(server)?;
    let file = other.opened(Create::open("other", access::READ_AND_WRITE).or_create())?;
    expect(put(&mut other, file, 0, &bytes)?, nt::SUCCESS, "WRITE")?;
    ensure(get(&mut other, file, 0, 1 << 20)? == bytes, || "other bytes".to_owned())?;
    for (index, (mut session, message, id)) in sessions.into_iter().enumerate() {
        session.wire.raw(&message[400_000..])?;
        let answer = session.answer(id)?.ok_or("closed")?;
        expect(status(&answer), nt::SUCCESS, "the other half of a WRITE")?;
        let on_disk = fs::read(server.folder().join(format!("file-{index}")))?;
        ensure(on_disk == bytes, || "the file is not what was written".to_owned())?;
    }
    Ok(())
}

/// How long the file is that is written anew all the time, and by how much at once.
const RACED: usize = 2 << 20;
const PIECE: usize = 256 << 10;

/// Each word of the file has the number of the turn in which it was written: one turn by a program beside the server,
/// one by another client. What a READ brings is of turns that
/// were not over when it was asked for, or the last that was, and that had begun when it came.
fn raced(server: &Server, place: Place) -> Outcome {
    let path = server.folder().join("file");
    fs::write(&path, vec![0; RACED])?;
    let turns = Turns::default();
    let mut writer = in_share(server)?;
    let written = writer.opened(Create::open("file", access::READ_AND_WRITE))?;
    let local = fs::OpenOptions::new().write(true).open(&path)?;
    let mut reader = in_share_from(server, place)?;
    let read = reader.opened(Create::open("file", access::READ))?;
    thread::scope(|scope| {
        let writing = scope.spawn(|| -> Outcome {
            for turn in 1.. {
                if turns.is_over.load(Ordering::SeqCst) {
                    break;
                }
                turns.begun.store(turn, Ordering::SeqCst);
                let words = turn.to_le_bytes().repeat(PIECE / 8);
                for offset in (0..RACED as u64).step_by(PIECE) {
                    if turn % 2 == 0 {
                        local.write_all_at(&words, offset)?;
                    } else {
                        expect(put(&mut writer, written, offset, &words)?, nt::SUCCESS, "WRITE")?;
                    }
                }
                turns.done.store(turn, Ordering::SeqCst);
            }
            Ok(())
        });
        let reading = (0..300_u64).try_for_each(|round| {
            let length = [1 << 20, 8192, 100_000][usize::try_from(round % 3)?];
            let offset = round * 4096 % (RACED as u64 / 2);
            let before = turns.done.load(Ordering::SeqCst);
            let bytes = get(&mut reader, read, offset, length)?;
            let after = turns.begun.load(Ordering::SeqCst);
            let words = bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
            match words.into_iter().find(|turn| !(before..=after).contains(turn)) {
                None => Ok(()),
                Some(turn) => Err(format!("turn {turn} is not of {before} to {after}").into()),
            }
        });
        turns.is_over.store(true, Ordering::SeqCst);
        let written = writing.join().map_err(|_| Failed::from("the writer panicked"))?;
        reading.and(written)
    })?;
    let routes = server.routes()?;
    let expected = match place {
        Place::Here => ["direction=read route=mapped", "direction=write route=spliced"],
        Place::Away => ["direction=read route=spliced", "direction=write route=spliced"],
    };
    let taken = |way: &&str| routes.iter().any(|line| line.contains(*way));
    ensure(expected.iter().all(taken), || format!("not {expected:?}: {routes:#?}"))
}

/// What the one who writes tells the one who reads.
#[derive(Default)]
struct Turns {
    begun: AtomicU64,
    done: AtomicU64,
    is_over: AtomicBool,
}

/// Clients that have all the pipes, with READs of a file which they do not take; and how many each has asked for.
fn silent(server: &Server) -> Result<Vec<Session>, Failed> {
    let mut silent = Vec::new();
    for _ in 0..8 {
        let mut session = in_share_from(server, Place::Away)?;
        let file = session.opened(Create::open("file", access::READ))?;
        for _ in 0..4 {
            ensure(session.echo()?, || "no echo".to_owned())?;
        }
        for _ in 0..SILENT_READS {
            let request =
                session.request_charged(command::READ, &read(file, 0, 1 << 20), 1 << 20)?;
            session.wire.send(&request)?;
        }
        silent.push(session);
    }
    Ok(silent)
}

const SILENT_READS: usize = 6;

fn takes_nothing(server: &Server) -> Outcome {
    let bytes = Random::new(9).bytes(8 << 20);
    fs::write(server.folder().join("file"), &bytes)?;
    let silent = silent(server)?;
    let mut other = in_share_from(server, Place::Away)?;
    let file = other.opened(Create::open("file", access::READ))?;
    for length in LENGTHS {
        for offset in [0, 3, 4096] {
            let end = bytes.len().min(offset + length);
            let found = get(&mut other, file, u64::try_from(offset)?, length)?;
            ensure(found == bytes[offset..end], || format!("{length} at {offset}"))?;
        }
    }
    for mut session in silent {
        for _ in 0..SILENT_READS {
            let answer = session.next_answer()?.ok_or("closed")?;
            expect(status(&answer), nt::SUCCESS, "READ")?;
            ensure(answer[HEADER + READ_FIXED..] == bytes[..1 << 20], || "other bytes".to_owned())?;
        }
    }
    let file = other.opened(Create::open("other", access::READ_AND_WRITE).or_create())?;
    expect(put(&mut other, file, 0, b"here")?, nt::SUCCESS, "WRITE")?;
    expect(put(&mut other, file, 0, &bytes[..1 << 20])?, nt::SUCCESS, "WRITE")?;
    let routes = server.routes()?;
    for way in ["mapped", "spliced", "buffered"] {
        let taken = routes.iter().any(|line| line.contains(&format!("direction=read route={way}")));
        ensure(taken, || format!("nothing was {way}: {routes:#?}"))?;
    }
    Ok(())
}

/// Which it is, the machine decides.
fn weighed(server: &Server) -> Outcome {
    const LENGTH: usize = 1 << 20;
    let bytes = Random::new(12).bytes(LENGTH);
    fs::write(server.folder().join("file"), &bytes)?;
    let mut session = in_share(server)?;
    let file = session.opened(Create::open("file", access::READ))?;
    // One way is settled and measured, and then the other: 16 and 32 MiB. What the page cache has dropped goes neither
    // way, and a span that takes a second is measured again, so here and there it takes more of them.
    let mut routes = Vec::new();
    for _ in 0..10 {
        for _ in 0..2 * (16 + 32) {
            ensure(get(&mut session, file, 0, LENGTH)? == bytes, || "other bytes".to_owned())?;
        }
        routes = server.routes()?;
        let found = |what: &str| routes.iter().any(|line| line.contains(what));
        if ["route=mapped ", "route=spliced ", "ms per GB"].into_iter().all(found) {
            return Ok(());
        }
    }
    Err(format!("not both ways and what they cost: {routes:#?}").into())
}

/// The file is emptied, and written anew, by a program beside the server while clients have not taken what is to be
/// sent of it. Of what is spliced to a client on this host they have the pages themselves, and the kernel empties what
/// the file ends in.
fn cut_off(server: &Server, is_spliced: bool) -> Outcome {
    const LEFT: usize = 100;
    let bytes = Random::new(10).bytes(1 << 20);
    let path = server.folder().join("file");
    fs::write(&path, &bytes)?;
    fs::write(server.folder().join("beside"), &bytes)?;
    let mut other = in_share(server)?;
    let beside = other.opened(Create::open("beside", access::READ))?;
    let mut sessions = Vec::new();
    for _ in 0..4 {
        let mut session = in_share(server)?;
        let file = session.opened(Create::open("file", access::READ))?;
        // More than the sockets take.
        for _ in 0..16 {
            let request =
                session.request_charged(command::READ, &read(file, 0, 1 << 20), 1 << 20)?;
            session.wire.send(&request)?;
        }
        sessions.push(session);
    }
    // Answers are under way, and more of them wait.
    ensure(get(&mut other, beside, 0, 1 << 20)? == bytes, || "other bytes".to_owned())?;
    fs::OpenOptions::new().write(true).open(&path)?.set_len(u64::try_from(LEFT)?)?;
    let mut ended = 0;
    for session in &mut sessions {
        for _ in 0..16 {
            let Some(answer) = session.next_answer()? else {
                ended += 1;
                break;
            };
            let status = status(&answer);
            ensure([nt::SUCCESS, END_OF_FILE].contains(&status), || format!("{status:#x}"))?;
            let found = answer.get(HEADER + READ_FIXED..).unwrap_or_default();
            let is_error = status == END_OF_FILE;
            let was_there =
                bytes.starts_with(found) || is_spliced && is_emptied(found, &bytes, LEFT);
            ensure(is_error || was_there, || "bytes that never were there".to_owned())?;
        }
    }
    ensure(get(&mut other, beside, 0, 1 << 20)? == bytes, || "other bytes".to_owned())?;
    let mut again = in_share(server)?;
    let file = again.opened(Create::open("file", access::READ))?;
    ensure(get(&mut again, file, 0, 1 << 20)? == bytes[..LEFT], || "not what is left".to_owned())?;
    let file = again.opened(Create::open("two", access::READ_AND_WRITE).or_create())?;
    expect(put(&mut again, file, 0, b"here")?, nt::SUCCESS, "WRITE")?;
    expect(put(&mut again, file, 0, &bytes)?, nt::SUCCESS, "WRITE")?;
    if is_spliced {
        return ensure(ended == 0, || {
            format!("{ended} ended, in answers that nothing is missing of")
        });
    }
    let routes = server.routes()?;
    let told = format!("whose file was cut off connections={ended}");
    ensure(ended > 0, || "nobody was in the middle of an answer".to_owned())?;
    ensure(routes.iter().any(|line| line.contains(&told)), || format!("not {told}: {routes:#?}"))
}

/// Whether these are the bytes of a file, but for those behind its new end, up to the end of a page: the page cache holds
/// files in pieces of some pages.
fn is_emptied(found: &[u8], bytes: &[u8], end: usize) -> bool {
    const PAGE: usize = 4096;
    let zeros = found.iter().skip(end).take_while(|byte| **byte == 0).count();
    let there_again = (end + zeros) / PAGE * PAGE;
    found.len() == bytes.len()
        && found[..end] == bytes[..end]
        && there_again > end
        && found[there_again..] == bytes[there_again..]
}

fn stored_stream(server: &Server) -> Outcome {
    let bytes = Random::new(11).bytes(1 << 20);
    let mut session = in_share(server)?;
    let stream = session.opened(Create::open("file:stream", access::READ_AND_WRITE).or_create())?;
    expect(put(&mut session, stream, 0, b"short")?, nt::SUCCESS, "WRITE")?;
    ensure(get(&mut session, stream, 0, 100)? == b"short", || "other bytes".to_owned())?;
    expect(put(&mut session, stream, 0, &bytes)?, nt::SUCCESS, "WRITE")?;
    for (offset, length) in [(0, 1 << 20), (1, 128 << 10), (1 << 19, 1 << 20)] {
        let found = get(&mut session, stream, u64::try_from(offset)?, length)?;
        let end = bytes.len().min(offset + length);
        ensure(found == bytes[offset..end], || format!("{length} at {offset}"))?;
    }
    let file = session.opened(Create::open("file", access::READ_AND_WRITE))?;
    expect(put(&mut session, file, 0, b"here")?, nt::SUCCESS, "WRITE")?;
    let routes = server.routes()?;
    for expected in [
        "direction=read route=attribute transfers=1",
        "direction=read route=mapped transfers=2",
        "direction=read route=spliced transfers=1",
    ] {
        let found = routes.iter().any(|line| line.contains(expected));
        ensure(found, || format!("no '{expected}' in {routes:#?}"))?;
    }
    Ok(())
}

/// MS-ERREF 2.3.
const END_OF_FILE: u32 = 0xc000_0011;
const SHARING_VIOLATION: u32 = 0xc000_0043;
const NETWORK_NAME_DELETED: u32 = 0xc000_00c9;
const FILE_CLOSED: u32 = 0xc000_0128;

/// With the credits for whatever follows.
fn in_share(server: &Server) -> Result<Session, Failed> {
    in_share_from(server, Place::Here)
}

/// The same from a place.
fn in_share_from(server: &Server, place: Place) -> Result<Session, Failed> {
    let mut session = match place {
        Place::Here => Session::in_share(server.address)?,
        Place::Away => {
            let from = SocketAddr::from(([127, 0, 0, 2], 0));
            Session::in_share_over(Wire::connect_from(from, server.address)?)?
        }
    };
    ensure(session.earn_credits()?, || "no echo".to_owned())?;
    Ok(session)
}

/// Writes, and gives the status.
fn put(session: &mut Session, file: FileId, offset: u64, bytes: &[u8]) -> Result<u32, Failed> {
    match session.put(file, offset, bytes)? {
        Answer::Refused(status) => Ok(status),
        answer => answer.done().map(|()| nt::SUCCESS),
    }
}

/// Reads.
fn get(session: &mut Session, file: FileId, offset: u64, length: usize) -> Result<Vec<u8>, Failed> {
    session.get(file, offset, length)?.done()
}
