//! Shares whose large transfers go past the page cache: their files have the bytes that were written, whichever way each
//! of them went.

mod support;

use std::fs;
use std::io::IoSliceMut;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use libtest_mimic::Failed;
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use support::content::{Random, same_file, write_file};
use support::requests::{Create, access, nt};
use support::restrict::Restriction;
use support::session::{Session, command, expect, status};
use support::{BACKENDS, Client, Need, Outcome, Serve, Server, ensure};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

fn main() -> ExitCode {
    let mut trials = Vec::new();
    for (backend, own) in BACKENDS {
        let mut trial = |name: &str, needs: &[Need], body: fn(&Server) -> Outcome| {
            let serve = Serve::new().backend(backend).share_option("direct");
            let serve = serve.argument("--threads=1");
            let needs = [own, needs].concat();
            trials.push(support::served(&format!("{name} ({backend})"), &needs, serve, body));
        };
        let disk = [Need::DirectIo];
        trial("transfers of every length carry their bytes", &disk, every_length);
        trial("large transfers that begin with a block go past the page cache", &disk, counted);
        trial(
            "what is signed or sealed goes past it, too",
            &[Need::DirectIo, Need::Smbclient],
            protected,
        );
        trial("at its end a file has what there is", &disk, at_the_end);
        trial("what goes either way is one file", &disk, one_file);
        trial("what is read while others write was there in the meantime", &disk, raced);
        trial("a FLUSH behind such a WRITE succeeds", &disk, flushed);
        trial("what goes past the page cache is not in it then", &disk, leaves_no_trace);
        trial("a file system that has nothing past the cache works", &[Need::Root], without);
    }
    let unprivileged = Serve::new().share_option("direct").restricted(Restriction::Unprivileged);
    let name = "an unprivileged server goes past the page cache, too";
    trials.push(support::served(name, &[Need::DirectIo], unprivileged, counted));
    support::run(trials)
}

fn every_length(server: &Server) -> Outcome {
    let lengths = [
        1,
        4096,
        64 * KIB - 1,
        64 * KIB,
        64 * KIB + 512,
        100_001,
        MIB,
        MIB + 1,
        3 * MIB + 777,
        8 * MIB,
    ];
    let mut session = in_share(server)?;
    // On a block of the smallest disks, of most, and of none.
    session.every_length(server, "file", &lengths, &[0, 512, 8192, 12_345])?;
    Ok(())
}

fn counted(server: &Server) -> Outcome {
    let mut session = in_share(server)?;
    let file = session.opened(Create::open("file", access::READ_AND_WRITE).or_create())?;
    let bytes = Random::new(1).bytes(MIB + 4096);
    for (offset, length) in
        [(0, MIB), (4096, MIB), (0, MIB + 1), (0, 64 * KIB), (0, 4096), (77, MIB)]
    {
        let part = &bytes[..length];
        session.put(file, offset, part)?.done()?;
        ensure(session.get(file, offset, length)?.done()? == part, || "other bytes".to_owned())?;
    }
    let large = 3 * MIB + 1 + 64 * KIB;
    told(
        server,
        &[
            &format!("direction=read route=direct transfers=4 bytes={large}"),
            &format!("direction=write route=direct transfers=4 bytes={large}"),
            "direction=write route=message transfers=1 bytes=4096",
            "direction=write route=spliced transfers=1 bytes=1048576",
        ],
    )
}

fn protected(server: &Server) -> Outcome {
    let (sent, got) = (server.scratch("sent")?, server.scratch("got")?);
    write_file(&sent.join("file"), 5 * MIB as u64 + 999, 3)?;
    for (name, protection) in [("signed", "sign"), ("sealed", "encrypt")] {
        let client = Client::new(server).argument(&format!("--client-protection={protection}"));
        let up = format!("put {} {name}", sent.join("file").display());
        let down = format!("get {name} {}", got.join(name).display());
        client.run(&format!("{up}; {down}"))?.success()?;
        same_file(&sent.join("file"), &server.folder().join(name))?;
        same_file(&sent.join("file"), &got.join(name))?;
    }
    // Whatever is too small in the ends of either file is less than this.
    let routes = server.routes()?;
    for direction in ["read", "write"] {
        let line = format!("direction={direction} route=direct");
        let told = routes.iter().find(|told| told.contains(&line));
        let bytes = told.and_then(|told| told.split("bytes=").nth(1)?.trim().parse::<usize>().ok());
        ensure(bytes.is_some_and(|bytes| bytes >= 8 * MIB), || format!("{line}: {routes:#?}"))?;
    }
    Ok(())
}

fn at_the_end(server: &Server) -> Outcome {
    let bytes = Random::new(2).bytes(MIB + 100);
    fs::write(server.folder().join("file"), &bytes)?;
    let mut session = in_share(server)?;
    let file = session.opened(Create::open("file", access::READ_AND_WRITE))?;
    for offset in [0, 4096, MIB - 4096, MIB] {
        let found = session.get(file, u64::try_from(offset)?, 4 * MIB)?.done()?;
        ensure(found == bytes[offset..], || format!("from {offset} on"))?;
    }
    // Far behind the end.
    let more = Random::new(3).bytes(MIB);
    session.put(file, 4 << 20, &more)?.done()?;
    let expected = [&bytes[..], &vec![0; 3 * MIB - 100], &more].concat();
    ensure(session.get(file, 0, 8 * MIB)?.done()? == expected, || "other bytes".to_owned())?;
    let on_disk = fs::read(server.folder().join("file"))?;
    ensure(on_disk == expected, || "other bytes on disk".to_owned())
}

/// Two clients and a program beside the server change and look at a file in turns, at random.
fn one_file(server: &Server) -> Outcome {
    const LEN: usize = 2 * MIB;
    let mut random = Random::new(8);
    let mut expected = random.bytes(LEN);
    let path = server.folder().join("file");
    fs::write(&path, &expected)?;
    let local = fs::OpenOptions::new().read(true).write(true).open(&path)?;
    let mut sessions = [in_share(server)?, in_share(server)?];
    let mut files = Vec::new();
    for session in &mut sessions {
        files.push(session.opened(Create::open("file", access::READ_AND_WRITE))?);
    }
    for round in 0..300 {
        let (offset, length) = match random.below(3) {
            0 => (random.below(LEN / 4096) * 4096, (1 + random.below(8)) * 64 * KIB),
            1 => (random.below(LEN), 1 + random.below(2000)),
            _ => (random.below(LEN), 1 + random.below(200_000)),
        };
        let end = LEN.min(offset + length);
        let (at, range) = (u64::try_from(offset)?, offset..end);
        let who = random.below(3);
        let mut found = vec![0; range.len()];
        if random.below(2) == 0 {
            expected[range.clone()].copy_from_slice(&random.bytes(range.len()));
            match sessions.get_mut(who) {
                Some(session) => {
                    session.put(files[who], at, &expected[range.clone()])?.done()?;
                }
                None => local.write_all_at(&expected[range.clone()], at)?,
            }
        }
        let who = random.below(3);
        match sessions.get_mut(who) {
            Some(session) => found = session.get(files[who], at, range.len())?.done()?,
            None => local.read_exact_at(&mut found, at)?,
        }
        ensure(found == expected[range], || format!("round {round}: {length} at {offset}"))?;
    }
    ensure(fs::read(path)? == expected, || "other bytes on disk".to_owned())?;
    told(
        server,
        &[
            "direction=read route=direct",
            "direction=read route=buffered",
            "direction=write route=direct",
            "direction=write route=message",
        ],
    )
}

/// Each word of the file has the number of the turn in which it was written, past the cache by a client in one turn and
/// through it by a program beside the server in the next. What a READ brings is of turns that were not over when it was
/// asked for, or the last that was, and that had begun when it came.
fn raced(server: &Server) -> Outcome {
    const LEN: usize = 2 * MIB;
    const PIECE: usize = 256 * KIB;
    let path = server.folder().join("file");
    fs::write(&path, vec![0; LEN])?;
    let (begun, done, over) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let local = fs::OpenOptions::new().write(true).open(&path)?;
    let (mut writer, mut reader) = (in_share(server)?, in_share(server)?);
    let written = writer.opened(Create::open("file", access::READ_AND_WRITE))?;
    let read = reader.opened(Create::open("file", access::READ))?;
    thread::scope(|scope| {
        let writing = scope.spawn(|| -> Outcome {
            for turn in 1_u64.. {
                if over.load(Ordering::SeqCst) {
                    break;
                }
                begun.store(turn, Ordering::SeqCst);
                let words = turn.to_le_bytes().repeat(PIECE / 8);
                for offset in (0..LEN as u64).step_by(PIECE) {
                    if turn % 2 == 0 {
                        local.write_all_at(&words, offset)?;
                    } else {
                        writer.put(written, offset, &words)?.done()?;
                    }
                }
                done.store(turn, Ordering::SeqCst);
            }
            Ok(())
        });
        let reading = (0..300_usize).try_for_each(|round| {
            let length = [MIB, 8192, 128 * KIB][round % 3];
            let offset = round * 4096 % (LEN / 2);
            let before = done.load(Ordering::SeqCst);
            let bytes = reader.get(read, offset as u64, length)?.done()?;
            let after = begun.load(Ordering::SeqCst);
            let mut words = bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
            match words.find(|turn| !(before..=after).contains(turn)) {
                None => Ok(()),
                Some(turn) => Err(format!("turn {turn} is not of {before} to {after}").into()),
            }
        });
        over.store(true, Ordering::SeqCst);
        let written = writing.join().map_err(|_| Failed::from("the writer panicked"))?;
        reading.and(written)
    })?;
    told(server, &["direction=read route=direct", "direction=write route=direct"])
}

fn flushed(server: &Server) -> Outcome {
    let mut session = in_share(server)?;
    let file = session.opened(Create::open("file", access::READ_AND_WRITE).or_create())?;
    let bytes = Random::new(4).bytes(MIB);
    for _ in 0..2 {
        session.put(file, 0, &bytes)?.done()?;
        // MS-SMB2 2.2.17.
        let flush = [&24_u16.to_le_bytes()[..], &[0; 6], &file].concat();
        expect(status(&session.call(command::FLUSH, &flush)?), nt::SUCCESS, "FLUSH")?;
    }
    told(server, &["direction=write route=direct transfers=2"])
}

fn leaves_no_trace(server: &Server) -> Outcome {
    let bytes = Random::new(6).bytes(MIB);
    let mut session = in_share(server)?;
    let written = session.opened(Create::open("written", access::READ_AND_WRITE).or_create())?;
    session.put(written, 0, &bytes)?.done()?;
    ensure(!is_cached(&server.folder().join("written"))?, || "what was written is".to_owned())?;
    let path = server.folder().join("read");
    fs::write(&path, &bytes)?;
    let local = fs::File::open(&path)?;
    local.sync_all()?;
    rustix::fs::fadvise(&local, 0, None, rustix::fs::Advice::DontNeed)?;
    let read = session.opened(Create::open("read", access::READ))?;
    ensure(session.get(read, 0, MIB)?.done()? == bytes, || "other bytes".to_owned())?;
    ensure(!is_cached(&path)?, || "what was read is".to_owned())?;
    // Short ones are for the cache.
    ensure(session.get(read, 0, 4096)?.done()? == bytes[..4096], || "other bytes".to_owned())?;
    ensure(is_cached(&path)?, || "what is short is not".to_owned())
}

/// Whether the page cache has the beginning of a file: then it is read without waiting.
fn is_cached(path: &Path) -> Result<bool, Failed> {
    let file = fs::File::open(path)?;
    let (mut found, now) = ([0; 512], ReadWriteFlags::NOWAIT);
    match preadv2(&file, &mut [IoSliceMut::new(&mut found)], 0, now) {
        Ok(_) => Ok(true),
        Err(Errno::AGAIN) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn without(server: &Server) -> Outcome {
    let _mounted = Mounted::new(server)?;
    let mut session = in_share(server)?;
    let file = session.opened(Create::open("ram\\file", access::READ_AND_WRITE).or_create())?;
    let bytes = Random::new(7).bytes(2 * MIB);
    for part in [&bytes[..], &bytes[..64 * KIB], &bytes[..100]] {
        session.put(file, 0, part)?.done()?;
        ensure(session.get(file, 0, part.len())?.done()? == part, || "other bytes".to_owned())?;
    }
    let routes = server.routes()?;
    ensure(!routes.iter().any(|line| line.contains("route=direct")), || format!("{routes:#?}"))
}

/// A file system in the share's folder, at `ram`, that lives in the page cache.
struct Mounted(PathBuf);

impl Mounted {
    fn new(server: &Server) -> Result<Self, Failed> {
        let at = server.folder().join("ram");
        fs::create_dir(&at)?;
        let done = Command::new("mount").args(["-t", "ramfs", "none"]).arg(&at).output()?;
        let said = String::from_utf8_lossy(&done.stderr);
        ensure(done.status.success(), || format!("mount: {said}"))?;
        Ok(Self(at))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: the server may still hold the folder.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Whether each of these is in a line of its own of what the server says of the ways that bytes have taken.
fn told(server: &Server, expected: &[&str]) -> Outcome {
    let routes = server.routes()?;
    for expected in expected {
        let found = routes.iter().any(|line| line.contains(expected));
        ensure(found, || format!("no '{expected}' in {routes:#?}"))?;
    }
    Ok(())
}

/// With the credits for whatever follows.
fn in_share(server: &Server) -> Result<Session, Failed> {
    let mut session = Session::in_share(server.address)?;
    for _ in 0..20 {
        ensure(session.echo()?, || "no echo".to_owned())?;
    }
    Ok(session)
}
