//! What one mount does, as another sees it: oplocks and their breaks, many writers, and changes that are told of.
#![allow(unsafe_code, reason = "a directory is watched by a control of the client's own")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::contents::both;
use crate::mounted::{Place, When, forget, mounted, same, together};
use crate::support::content::Random;
use crate::support::{Outcome, ensure};

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = together(&[
        ("what one mount writes the other reads", seen),
        ("ten append lines to one file by two mounts", appenders),
    ]);
    trials.extend([
        mounted("what is closed is there for another (2.1)", "vers=2.1,actimeo=0", closed),
        mounted("what is closed is there for another (3.1.1)", "actimeo=0", closed),
        mounted("what one mount makes and removes the other sees", "actimeo=0", names),
        mounted("a file that one mount has open another renames and deletes", "actimeo=0", removed),
        mounted("what is done at the server is seen", "actimeo=0", at_the_server),
        mounted("ten write at once, each a file", "", writers),
        mounted("ten write at once, each its part of one file", "", writers_of_one),
        mounted("a directory is watched", "", watched),
    ]);
    trials
}

fn seen(place: &Place, at: &Path) -> Outcome {
    let other = place.mount_again()?;
    let (one, two) = (both(&at.join("file"))?, both(&other.join("file"))?);
    let mut read = [0; 8];
    for round in 0..20_u64 {
        let (writer, reader) = if round % 2 == 0 { (&one, &two) } else { (&two, &one) };
        writer.write_all_at(&round.to_le_bytes(), round % 3 * 5000).when("writing")?;
        // The client reads up to the length that it knows of, and asks for that here.
        reader.metadata().when("looking")?;
        reader.read_exact_at(&mut read, round % 3 * 5000).when("reading")?;
        same("what was written", u64::from_le_bytes(read), round)?;
    }
    Ok(())
}

/// What was written is there for who opens the file after it was closed, whatever is kept meanwhile.
fn closed(place: &Place, at: &Path) -> Outcome {
    let other = place.mount_again()?;
    let mut wanted = Vec::new();
    for round in 0..8 {
        let (here, there) = if round % 2 == 0 { (at, &*other) } else { (&*other, at) };
        let piece = Random::new(round).bytes(70_000);
        let mut file =
            OpenOptions::new().append(true).create(true).open(here.join("file")).when("opening")?;
        file.write_all(&piece).when("writing")?;
        drop(file);
        wanted.extend_from_slice(&piece);
        let read = fs::read(there.join("file")).when("reading")?;
        same("length", read.len(), wanted.len())?;
        ensure(read == wanted, || format!("it reads as something else in round {round}"))?;
    }
    Ok(())
}

fn names(place: &Place, at: &Path) -> Outcome {
    let other = place.mount_again()?;
    for round in 0..10 {
        let (here, there) = if round % 2 == 0 { (at, &*other) } else { (&*other, at) };
        fs::write(here.join("file"), "content").when("making")?;
        same("names", fs::read_dir(there)?.count(), 1)?;
        fs::rename(there.join("file"), there.join("other")).when("renaming")?;
        ensure(!here.join("file").exists(), || "the old name is still seen".into())?;
        ensure(here.join("other").exists(), || "the new name is not seen".into())?;
        fs::create_dir(here.join("folder")).when("making a directory")?;
        fs::remove_file(here.join("other")).when("removing")?;
        fs::remove_dir(there.join("folder")).when("removing a directory")?;
        same("names", fs::read_dir(here)?.count(), 0)?;
    }
    Ok(())
}

fn removed(place: &Place, at: &Path) -> Outcome {
    let other = place.mount_again()?;
    fs::write(at.join("file"), "content")?;
    let mut file = both(&at.join("file"))?;
    fs::rename(other.join("file"), other.join("renamed")).when("renaming")?;
    let mut read = String::new();
    file.read_to_string(&mut read).when("reading")?;
    same("what is open", read.as_str(), "content")?;
    fs::remove_file(other.join("renamed")).when("deleting")?;
    file.write_all(b" more").when("writing")?;
    drop(file);
    same("what is left", fs::read_dir(&place.folder)?.count(), 0)
}

fn at_the_server(place: &Place, at: &Path) -> Outcome {
    fs::write(place.folder.join("file"), "by the server")?;
    same("new", fs::read_to_string(at.join("file")).when("reading")?, "by the server".into())?;
    fs::write(place.folder.join("file"), "once more, and longer")?;
    forget()?;
    same(
        "changed",
        fs::read_to_string(at.join("file")).when("reading")?,
        "once more, and longer".into(),
    )?;
    fs::remove_file(place.folder.join("file"))?;
    ensure(!at.join("file").exists(), || "it is still seen".into())
}

const WRITERS: usize = 10;
const PART: usize = 200_000;

fn writers(place: &Place, at: &Path) -> Outcome {
    write_at_once(place, at, false)
}

fn writers_of_one(place: &Place, at: &Path) -> Outcome {
    write_at_once(place, at, true)
}

fn write_at_once(place: &Place, at: &Path, one_file: bool) -> Outcome {
    let name = |writer: usize| if one_file { "file".into() } else { format!("file {writer}") };
    let offset = |writer: usize| if one_file { writer * PART } else { 0 };
    thread::scope(|scope| {
        let started: Vec<_> = (0..WRITERS)
            .map(|writer| {
                scope.spawn(move || -> Outcome {
                    let file = both(&at.join(name(writer)))?;
                    let bytes = Random::new(writer as u64).bytes(PART);
                    for (piece, start) in bytes.chunks(7001).zip((0..).step_by(7001)) {
                        file.write_all_at(piece, (offset(writer) + start) as u64)
                            .when("writing")?;
                    }
                    file.sync_all().when("syncing")
                })
            })
            .collect();
        started.into_iter().try_for_each(|it| it.join().unwrap_or(Err("a writer panicked".into())))
    })?;
    forget()?;
    for writer in 0..WRITERS {
        let mut bytes = vec![0; PART];
        for folder in [at, &place.folder] {
            File::open(folder.join(name(writer)))?
                .read_exact_at(&mut bytes, offset(writer) as u64)?;
            ensure(bytes == Random::new(writer as u64).bytes(PART), || {
                format!("{writer} is wrong")
            })?;
        }
    }
    Ok(())
}

const LINES: usize = 6;

fn append(path: &Path, line: &str) -> Outcome {
    let mut file = OpenOptions::new().append(true).open(path).when("opening")?;
    file.write_all(line.as_bytes()).when("appending")
}

fn appenders(place: &Place, at: &Path) -> Outcome {
    let other = place.mount_again()?;
    File::create(at.join("log"))?;
    thread::scope(|scope| {
        let started: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let folder = if writer % 2 == 0 { at } else { &other };
                scope.spawn(move || -> Outcome {
                    let turn = both(&folder.join("turn"))?;
                    for line in 0..LINES {
                        // SMB has no append that two clients can do at once, and where the file ends the
                        // client asks when it is opened.
                        turn.lock().when("locking")?;
                        append(&folder.join("log"), &format!("writer {writer} line {line}\n"))?;
                        turn.unlock().when("unlocking")?;
                    }
                    Ok(())
                })
            })
            .collect();
        started.into_iter().try_for_each(|it| it.join().unwrap_or(Err("a writer panicked".into())))
    })?;
    let log = fs::read_to_string(place.folder.join("log"))?;
    for writer in 0..WRITERS {
        for line in 0..LINES {
            let wanted = format!("writer {writer} line {line}");
            same(&wanted, log.lines().filter(|it| *it == wanted).count(), 1)?;
        }
    }
    same("lines", log.lines().count(), WRITERS * LINES)
}

/// CIFS_IOC_NOTIFY and its argument, of fs/smb/client/cifs_ioctl.h: a filter, and whether the tree is meant; packed.
const NOTIFY: u64 = 0x4005_cf09;
const NAMES: u32 = 3;

fn watched(_: &Place, at: &Path) -> Outcome {
    let directory = File::open(at)?;
    let (done, told) = mpsc::channel();
    thread::spawn(move || {
        let mut argument = [0; 5];
        argument[..4].copy_from_slice(&NAMES.to_le_bytes());
        // SAFETY: the control reads five bytes of the argument, which lives until it returns.
        let result = unsafe { libc::ioctl(directory.as_raw_fd(), NOTIFY, argument.as_ptr()) };
        let error = io::Error::last_os_error();
        let _ = done.send(if result == 0 { Ok(()) } else { Err(error) });
    });
    let early = told.recv_timeout(Duration::from_secs(1));
    ensure(early.is_err(), || format!("it ended before there was anything: {early:?}"))?;
    File::create(at.join("new"))?;
    told.recv_timeout(Duration::from_secs(30)).when("waiting")?.when("watching")
}
