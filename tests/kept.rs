//! What clients read over and over stays mapped until they close it: they read what is in the file, whatever becomes of it
//! meanwhile, and nothing is left.

mod support;

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use support::content::Random;
use support::guard::Protection;
use support::requests::{Create, FileId, access, nt};
use support::session::Session;
use support::{Outcome, Serve, Server, ensure, on_each_backend};

const MIB: usize = 1 << 20;

/// How long something takes that is done at once, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(8);

/// How often a part is read until it is mapped for good: three times until there is a lease, where one is wanted, and then
/// twice.
const OFTEN: usize = 6;

fn main() -> ExitCode {
    let mut trials = Vec::new();
    let mut add = |name, body: fn(&Server) -> Outcome| {
        trials.extend::<Vec<Trial>>(on_each_backend(name, &[], serve, body));
    };
    add("a file is mapped until it is closed", until_closed);
    add("a file is mapped until its client is gone", until_gone);
    add("what is read once is not kept", read_once);
    add("what others write is read", written);
    add("who wants to write to what is mapped gets in at once", lets_in);
    add("what a stream is in may be another file later", stream);
    add("a file that becomes shorter, and longer again, is read as it is", cut_off);
    trials.extend(on_each_backend(
        "nothing is kept where nothing is to be",
        &[],
        keepless,
        keeps_nothing,
    ));
    support::run(trials)
}

fn keepless() -> Serve {
    serve().argument("--without=kept-mappings")
}

fn keeps_nothing(server: &Server) -> Outcome {
    each(server, |session| {
        let bytes = file(server, 3 * MIB)?;
        let id = opened(session)?;
        read_often(session, id, &bytes)?;
        is_mapped(server, 0)?;
        session.close(id)?;
        Ok(())
    })
}

fn serve() -> Serve {
    // What is sealed is so where it is mapped only if nobody helps.
    Serve::new().argument("--threads=1").argument("--helpers=never")
}

/// Sessions whose READs are.
const MAPPED: [Protection; 3] = [Protection::Plain, Protection::Signed, Protection::Sealed];

fn until_closed(server: &Server) -> Outcome {
    each(server, |session| {
        let bytes = file(server, 5 * MIB)?;
        let first = opened(session)?;
        let second = opened(session)?;
        for id in [first, second] {
            read_often(session, id, &bytes)?;
        }
        is_mapped(server, 2 * bytes.len())?;
        session.close(first)?;
        is_mapped(server, bytes.len())?;
        read_often(session, second, &bytes)?;
        is_mapped(server, bytes.len())?;
        session.close(second)?;
        is_mapped(server, 0)
    })
}

fn until_gone(server: &Server) -> Outcome {
    for protection in MAPPED {
        let bytes = file(server, 3 * MIB)?;
        let mut session = Session::with_credits(server, protection)?;
        let id = opened(&mut session)?;
        read_often(&mut session, id, &bytes)?;
        is_mapped(server, 3 * MIB)?;
        drop(session);
        is_mapped(server, 0)?;
    }
    Ok(())
}

fn read_once(server: &Server) -> Outcome {
    each(server, |session| {
        let bytes = file(server, 8 * MIB)?;
        let id = opened(session)?;
        // Until there is a lease, where one is wanted.
        for part in 0..3 {
            read(session, id, &bytes, part * 100_000, 100_000)?;
        }
        for part in 0..8 {
            read(session, id, &bytes, part * MIB, MIB)?;
        }
        is_mapped(server, 0)?;
        session.close(id)?;
        Ok(())
    })
}

fn written(server: &Server) -> Outcome {
    each(server, |session| {
        let mut bytes = file(server, 3 * MIB)?;
        let id = opened(session)?;
        for round in 0..5_u8 {
            read_often(session, id, &bytes)?;
            let at = usize::from(round) * 300_000;
            bytes[at..at + 400_000].fill(round);
            writer(server)?.write_all_at(&bytes[at..at + 400_000], at as u64)?;
        }
        let other = opened_to_write(session)?;
        bytes[..MIB].fill(7);
        session.put(other, 0, &bytes[..MIB])?.done()?;
        read_often(session, id, &bytes)?;
        session.close(other)?;
        session.close(id)?;
        is_mapped(server, 0)
    })
}

fn lets_in(server: &Server) -> Outcome {
    each(server, |session| {
        let mut bytes = file(server, 3 * MIB)?;
        let id = opened(session)?;
        for round in 0..5_u8 {
            // Much more often than it takes after somebody has written.
            for _ in 0..5 {
                read_often(session, id, &bytes)?;
            }
            let begun = Instant::now();
            writer(server)?.write_all_at(&[round; 100], 0)?;
            ensure(begun.elapsed() < AT_ONCE, || format!("it took {:?}", begun.elapsed()))?;
            bytes[..100].fill(round);
        }
        session.close(id)?;
        Ok(())
    })
}

/// In the share's store, for it is long.
fn stream(server: &Server) -> Outcome {
    const END_OF_FILE: u8 = 20;
    each(server, |session| {
        let create = Create::open("file:stream", access::READ_AND_WRITE).or_create();
        let writer = session.opened(create)?;
        let reader = session.opened(Create::open("file:stream", access::READ))?;
        for round in 0..3 {
            let bytes = Random::new(round).bytes(2 * MIB);
            for offset in [0, MIB] {
                session.put(writer, offset as u64, &bytes[offset..offset + MIB])?.done()?;
            }
            read_often(session, reader, &bytes)?;
            let emptied = session.set_info(writer, END_OF_FILE, &0_u64.to_le_bytes())?;
            ensure(emptied == nt::SUCCESS, || format!("{emptied:#010x}"))?;
        }
        session.close(reader)?;
        session.close(writer)
    })
}

fn cut_off(server: &Server) -> Outcome {
    each(server, |session| {
        let mut bytes = file(server, 4 * MIB)?;
        let id = opened(session)?;
        read_often(session, id, &bytes)?;
        for left in [3 * MIB + 5, 2 * MIB, MIB + 4096] {
            writer(server)?.set_len(left as u64)?;
            read_often(session, id, &bytes[..left])?;
            writer(server)?.set_len(4 * MIB as u64)?;
            bytes[left..].fill(0);
            read_often(session, id, &bytes)?;
        }
        session.close(id)?;
        is_mapped(server, 0)
    })
}

fn each(server: &Server, trial: impl Fn(&mut Session) -> Outcome) -> Outcome {
    for protection in MAPPED {
        let told = |error: Failed| {
            let text = error.message().unwrap_or("it failed").to_owned();
            Failed::from(format!("{protection:?}: {text}"))
        };
        trial(&mut Session::with_credits(server, protection)?).map_err(told)?;
    }
    Ok(())
}

fn opened(session: &mut Session) -> Result<FileId, Failed> {
    session.opened(Create::open("file", access::READ))
}

fn opened_to_write(session: &mut Session) -> Result<FileId, Failed> {
    session.opened(Create::open("file", access::READ_AND_WRITE))
}

/// All of it, in parts of a mebibyte.
fn read_often(session: &mut Session, id: FileId, bytes: &[u8]) -> Outcome {
    for _ in 0..OFTEN {
        for offset in (0..bytes.len()).step_by(MIB) {
            read(session, id, bytes, offset, MIB)?;
        }
    }
    Ok(())
}

fn read(session: &mut Session, id: FileId, bytes: &[u8], offset: usize, length: usize) -> Outcome {
    let expected = &bytes[offset..bytes.len().min(offset + length)];
    let found = session.get(id, offset as u64, length)?.done()?;
    ensure(found == expected, || format!("other bytes of {length} from {offset} on"))
}

fn path(server: &Server) -> PathBuf {
    server.folder().join("file")
}

fn file(server: &Server, length: usize) -> Result<Vec<u8>, Failed> {
    let bytes = Random::new(3).bytes(length);
    fs::write(path(server), &bytes)?;
    Ok(bytes)
}

/// Another program's.
fn writer(server: &Server) -> Result<File, Failed> {
    Ok(OpenOptions::new().write(true).open(path(server))?)
}

/// So many bytes of the file are: in a moment, for what has been sent is given back after it has arrived.
fn is_mapped(server: &Server, expected: usize) -> Outcome {
    let begun = Instant::now();
    loop {
        let found = mapped(server)?;
        if found == expected {
            return Ok(());
        }
        ensure(begun.elapsed() < AT_ONCE, || format!("{found} bytes are mapped, not {expected}"))?;
        thread::sleep(Duration::from_millis(5));
    }
}

/// How many bytes of the file the server has mapped.
fn mapped(server: &Server) -> Result<usize, Failed> {
    // By its number, for the name may be another below a bind mount.
    let number = fs::metadata(path(server))?.ino().to_string();
    let maps = fs::read_to_string(format!("/proc/{}/maps", server.process()))?;
    let areas = maps.lines().filter(|line| line.split_whitespace().nth(4) == Some(&number));
    let size = |line: &str| {
        let (from, to) = line.split_whitespace().next()?.split_once('-')?;
        Some(usize::from_str_radix(to, 16).ok()? - usize::from_str_radix(from, 16).ok()?)
    };
    Ok(areas.map(size).sum::<Option<_>>().ok_or("maps in another form")?)
}
