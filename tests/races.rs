//! Files that change while they are read: by every way that bytes take, what comes was in the file in the meantime, is as
//! long as it says, and has the signature or the seal that belongs to it.

mod support;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use libtest_mimic::{Failed, Trial};
use support::content::Random;
use support::guard::Protection;
use support::requests::{Create, access};
use support::server::HARMLESS;
use support::session::{Session, Wire};
use support::transfers::Answer;
use support::{BACKENDS, Client, Need, Outcome, Serve, Server, ensure};

/// How long the file is that is written anew all the time, and by how much at once.
const LENGTH: usize = 2 << 20;
const PIECE: usize = 256 << 10;
/// How often it is read.
const ROUNDS: u64 = 300;
/// MS-ERREF 2.3.
const END_OF_FILE: u32 = 0xc000_0011;

/// A way that bytes take, and what it is taken for.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    protection: Protection,
    /// Where the client connects from, as the server sees it.
    from: [u8; 4],
    /// A message that has begun is not finished if the file is cut off: the connection ends.
    may_end: bool,
    /// What is to be told of the ways that were taken.
    reads: &'static str,
    writes: &'static str,
    /// What makes smbclient do the same.
    client: Option<&'static str>,
}

/// Another of this host's addresses than the server's is as good as another host's.
const AWAY: [u8; 4] = [127, 0, 0, 2];
const HERE: [u8; 4] = [127, 0, 0, 1];

const CASES: [Case; 4] = [
    Case {
        name: "plain",
        protection: Protection::Plain,
        from: AWAY,
        may_end: false,
        reads: "direction=read route=spliced",
        writes: "direction=write route=spliced",
        client: None,
    },
    Case {
        name: "plain, on this host",
        protection: Protection::Plain,
        from: HERE,
        may_end: true,
        reads: "direction=read route=mapped",
        writes: "direction=write route=spliced",
        client: Some("--client-protection=off"),
    },
    Case {
        name: "signed",
        protection: Protection::Signed,
        from: HERE,
        may_end: false,
        reads: "direction=read route=buffered",
        writes: "direction=write route=message",
        client: Some("--client-protection=sign"),
    },
    Case {
        name: "sealed",
        protection: Protection::Sealed,
        from: HERE,
        may_end: false,
        reads: "direction=read route=buffered",
        writes: "direction=write route=message",
        client: Some("--client-protection=encrypt"),
    },
];

fn main() -> ExitCode {
    let mut trials = Vec::new();
    for case in CASES {
        for (backend, needs) in BACKENDS {
            let serve = Serve::new().backend(backend).argument("--threads=1");
            let unkind = serve.clone().faults(HARMLESS);
            trials.extend([
                trial("what is read while others write was there", case, needs, &serve, raced),
                trial("the same where transfers fall short", case, needs, &unkind, raced),
                trial("a file that is cut off is read as it was", case, needs, &serve, cut_off),
                trial("so it is where transfers fall short", case, needs, &unkind, cut_off),
            ]);
            if let Some(client) = case.client {
                let (name, needs) =
                    (named("smbclient takes it", case, &serve), [needs, &[Need::Smbclient]]);
                let fetched = move |server: &Server| fetched(server, client);
                trials.push(support::served(&name, &needs.concat(), serve, fetched));
            }
        }
    }
    support::run(trials)
}

fn trial(
    what: &str,
    case: Case,
    needs: &[Need],
    serve: &Serve,
    body: fn(&Server, Case) -> Outcome,
) -> Trial {
    let name = named(what, case, serve);
    support::served(&name, needs, serve.clone(), move |server| body(server, case))
}

fn named(what: &str, case: Case, serve: &Serve) -> String {
    format!("{}: {what} ({})", case.name, serve.backend_name())
}

/// What the one who writes tells the one who reads.
#[derive(Default)]
struct Turns {
    begun: AtomicU64,
    done: AtomicU64,
    is_over: AtomicBool,
}

impl Turns {
    /// Has `write` write turn after turn while `read` runs.
    fn around(
        &self,
        mut write: impl FnMut(u64) -> Outcome + Send,
        read: impl FnOnce() -> Outcome,
    ) -> Outcome {
        thread::scope(|scope| {
            let writing = scope.spawn(move || -> Outcome {
                for turn in 1.. {
                    if self.is_over.load(Ordering::SeqCst) {
                        break;
                    }
                    self.begun.store(turn, Ordering::SeqCst);
                    write(turn)?;
                    self.done.store(turn, Ordering::SeqCst);
                }
                Ok(())
            });
            let reading = read();
            self.is_over.store(true, Ordering::SeqCst);
            let written = writing.join().map_err(|_| Failed::from("the writer panicked"))?;
            reading.and(written)
        })
    }

    /// Calls `read`, and checks that what it brings was there in the meantime: it is of turns that were not over when it
    /// was called, or the last that was, and that had begun when it came back. Zeros are of none, where `holes` may be.
    fn check<T: AsRef<[u8]>>(
        &self,
        holes: bool,
        read: impl FnOnce() -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        let before = self.done.load(Ordering::SeqCst);
        let bytes = read()?;
        let after = self.begun.load(Ordering::SeqCst);
        let mut there = [[false; 256]; size_of::<u64>()];
        for turn in (before..=after).chain(holes.then_some(0)) {
            let bytes = turn.to_le_bytes();
            there.iter_mut().zip(bytes).for_each(|(at, byte)| at[usize::from(byte)] = true);
        }
        // Nobody promises that all of a word is of one turn.
        let is_there = |word: &[u8; size_of::<u64>()]| {
            there.iter().zip(word).all(|(at, byte)| at[usize::from(*byte)])
        };
        let strange = bytes.as_ref().as_chunks().0.iter().find(|word| !is_there(word));
        match strange.map(|word| u64::from_le_bytes(*word)) {
            None => Ok(bytes),
            Some(turn) => Err(format!("turn {turn} is not of {before} to {after}").into()),
        }
    }
}

/// Each word of a piece has the number of the turn in which it was written.
fn piece(turn: u64) -> Vec<u8> {
    turn.to_le_bytes().repeat(PIECE / 8)
}

/// Where the pieces begin.
fn pieces() -> impl Iterator<Item = u64> {
    (0..LENGTH as u64).step_by(PIECE)
}

/// Which parts are read: on pages, more than half of the file at most.
fn part(round: u64) -> (u64, usize) {
    let length = [1 << 20, 8192, 100_000].into_iter().cycle().nth(round as usize).unwrap_or(1);
    (round * 4096 % (LENGTH as u64 / 2), length)
}

/// Every other turn is of a program beside the server, the others of another client.
fn raced(server: &Server, case: Case) -> Outcome {
    let path = server.folder().join("file");
    fs::write(&path, vec![0; LENGTH])?;
    let local = fs::OpenOptions::new().write(true).open(&path)?;
    let mut writer = in_share(server, case)?;
    let written = writer.opened(Create::open("file", access::READ_AND_WRITE))?;
    let mut reader = in_share(server, case)?;
    let read = reader.opened(Create::open("file", access::READ))?;
    let turns = Turns::default();
    let write = |turn| {
        let bytes = piece(turn);
        pieces().try_for_each(|offset| match turn % 2 {
            0 => Ok(local.write_all_at(&bytes, offset)?),
            _ => writer.put(written, offset, &bytes)?.done(),
        })
    };
    turns.around(write, || {
        (0..ROUNDS).try_for_each(|round| {
            let (offset, length) = part(round);
            let bytes = turns.check(false, || reader.get(read, offset, length)?.done())?;
            ensure(bytes.len() == length, || format!("{} of {length} bytes", bytes.len()))
        })
    })?;
    let routes = server.routes()?;
    for expected in [case.reads, case.writes] {
        let taken = routes.iter().any(|line| line.contains(expected));
        ensure(taken, || format!("no '{expected}' in {routes:#?}"))?;
    }
    Ok(())
}

/// A program beside the server cuts the file off somewhere. Every other time it lets it grow again at once, which makes a
/// hole. Then it writes it anew.
fn cut_off(server: &Server, case: Case) -> Outcome {
    let path = server.folder().join("file");
    fs::write(&path, vec![0; LENGTH])?;
    let local = fs::OpenOptions::new().write(true).open(&path)?;
    let mut reader = in_share(server, case)?;
    let mut read = reader.opened(Create::open("file", access::READ))?;
    let (turns, mut random) = (Turns::default(), Random::new(3));
    let write = |turn| {
        local.set_len(8 * random.below(LENGTH / 8) as u64)?;
        if turn % 2 == 0 {
            local.set_len(LENGTH as u64)?;
        }
        let bytes = piece(turn);
        pieces().try_for_each(|offset| Ok(local.write_all_at(&bytes, offset)?))
    };
    let (mut whole, mut short) = (0, 0);
    turns.around(write, || {
        (0..ROUNDS).try_for_each(|round| {
            let (offset, length) = part(round);
            let bytes = turns.check(true, || match reader.get(read, offset, length)? {
                Answer::Refused(END_OF_FILE) => Ok(Vec::new()),
                Answer::Closed if case.may_end => {
                    reader = in_share(server, case)?;
                    read = reader.opened(Create::open("file", access::READ))?;
                    Ok(Vec::new())
                }
                answer => answer.done(),
            })?;
            *if bytes.len() == length { &mut whole } else { &mut short } += 1;
            Ok(())
        })
    })?;
    ensure(reader.echo()?, || "the stream is out of step".to_owned())?;
    ensure(whole > 0 && short > 0, || format!("{whole} were read whole, {short} were not"))
}

/// It checks signatures and seals by code that is not ours.
fn fetched(server: &Server, protection: &str) -> Outcome {
    let path = server.folder().join("file");
    fs::write(&path, vec![0; LENGTH])?;
    let local = fs::OpenOptions::new().write(true).open(&path)?;
    let scratch = server.scratch("local")?;
    let client = Client::new(server).local(&scratch).argument(protection);
    let turns = Turns::default();
    let write = |turn| {
        let bytes = piece(turn);
        pieces().try_for_each(|offset| Ok(local.write_all_at(&bytes, offset)?))
    };
    turns.around(write, || {
        (0..5).try_for_each(|_| {
            let bytes = turns.check(false, || {
                client.run("get file back")?.success()?;
                Ok(fs::read(scratch.join("back"))?)
            })?;
            ensure(bytes.len() == LENGTH, || format!("{} of {LENGTH} bytes", bytes.len()))
        })
    })
}

/// With the credits for whatever follows.
fn in_share(server: &Server, case: Case) -> Result<Session, Failed> {
    let wire = Wire::connect_from(SocketAddr::from((case.from, 0)), server.address)?;
    let mut session = Session::protected_over(wire, case.protection)?;
    ensure(session.earn_credits()?, || "no echo".to_owned())?;
    Ok(session)
}
