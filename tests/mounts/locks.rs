//! Byte-range locks and locks of whole files, between two mounts.
#![allow(unsafe_code, reason = "ranges are locked by a system call that nothing here wraps")]

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};

use crate::contents::both;
use crate::mounted::{Place, When, fails, mounted, same, together};
use crate::support::{Outcome, ensure};

const TAKEN: [i32; 3] = [libc::EAGAIN, libc::EACCES, libc::EWOULDBLOCK];

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = together(&[
        ("a locked range is another's until it is given back", ranges),
        ("shared locks are shared", shared),
        ("who waits for a range gets it", waited),
        ("a closed file has no locks", closed),
        ("a whole file is locked", whole),
        ("a test says who has a range", tested),
    ]);
    trials.push(mounted("locks stay with one mount", "nobrl", local));
    trials
}

fn lock(file: &File, command: i32, kind: i32, start: i64, length: i64) -> io::Result<libc::flock> {
    let mut lock = libc::flock {
        l_type: i16::try_from(kind).unwrap_or_default(),
        l_whence: 0,
        l_start: start,
        l_len: length,
        l_pid: 0,
    };
    // SAFETY: the call reads and writes the lock, which lives until it is over, and a descriptor that is open.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), command, &mut lock) };
    if result == 0 { Ok(lock) } else { Err(io::Error::last_os_error()) }
}

fn take(file: &File, kind: i32, start: i64, length: i64) -> io::Result<()> {
    lock(file, libc::F_SETLK, kind, start, length).map(drop)
}

/// The same file by two mounts.
fn two(place: &Place, at: &Path) -> Result<(File, File), Failed> {
    fs::write(at.join("file"), [1; 1000])?;
    let other = place.mount_again()?;
    Ok((both(&at.join("file"))?, both(&other.join("file"))?))
}

fn ranges(place: &Place, at: &Path) -> Outcome {
    let (one, two) = two(place, at)?;
    take(&one, libc::F_WRLCK, 0, 100).when("locking")?;
    fails("what is locked", take(&two, libc::F_WRLCK, 50, 10), &TAKEN)?;
    fails("to read", take(&two, libc::F_RDLCK, 99, 1), &TAKEN)?;
    take(&two, libc::F_WRLCK, 100, 100).when("locking beside")?;
    take(&one, libc::F_UNLCK, 0, 100).when("unlocking")?;
    take(&two, libc::F_WRLCK, 0, 100).when("locking what is free")?;
    fails("the reverse", take(&one, libc::F_WRLCK, 0, 1), &TAKEN)
}

fn shared(place: &Place, at: &Path) -> Outcome {
    let (one, two) = two(place, at)?;
    take(&one, libc::F_RDLCK, 0, 100).when("locking")?;
    take(&two, libc::F_RDLCK, 0, 100).when("sharing")?;
    fails("alone", take(&two, libc::F_WRLCK, 0, 100), &TAKEN)?;
    take(&one, libc::F_UNLCK, 0, 100).when("unlocking")?;
    take(&two, libc::F_UNLCK, 0, 100).when("unlocking")?;
    take(&two, libc::F_WRLCK, 0, 100).when("locking alone")
}

fn waited(place: &Place, at: &Path) -> Outcome {
    let (one, two) = two(place, at)?;
    take(&one, libc::F_WRLCK, 0, 100).when("locking")?;
    let (done, got) = mpsc::channel();
    let waiter = thread::spawn(move || {
        let _ = done.send(lock(&two, libc::F_SETLKW, libc::F_WRLCK, 0, 100).map(drop));
    });
    ensure(got.recv_timeout(Duration::from_millis(700)).is_err(), || "it did not wait".into())?;
    take(&one, libc::F_UNLCK, 0, 100).when("unlocking")?;
    got.recv_timeout(Duration::from_secs(30)).when("waiting")?.when("locking")?;
    waiter.join().map_err(|_| "the waiter panicked".into())
}

fn closed(place: &Place, at: &Path) -> Outcome {
    let (one, two) = two(place, at)?;
    take(&one, libc::F_WRLCK, 0, 0).when("locking all")?;
    fails("what is locked", take(&two, libc::F_WRLCK, 5, 1), &TAKEN)?;
    drop(one);
    take(&two, libc::F_WRLCK, 5, 1).when("locking after the close")
}

fn whole(place: &Place, at: &Path) -> Outcome {
    let (one, two) = two(place, at)?;
    one.try_lock().when("locking")?;
    ensure(two.try_lock().is_err(), || "both have it".into())?;
    one.unlock().when("unlocking")?;
    two.try_lock().when("locking what is free")?;
    drop(two);
    one.lock_shared().when("sharing")
}

fn tested(place: &Place, at: &Path) -> Outcome {
    let (one, two) = two(place, at)?;
    take(&one, libc::F_WRLCK, 10, 10).when("locking")?;
    let found = lock(&two, libc::F_GETLK, libc::F_WRLCK, 0, 100).when("testing")?;
    ensure(i32::from(found.l_type) != libc::F_UNLCK, || "it is said to be free".into())?;
    let found = lock(&two, libc::F_GETLK, libc::F_WRLCK, 30, 10).when("testing beside")?;
    same("what is free", i32::from(found.l_type), libc::F_UNLCK)
}

fn local(place: &Place, at: &Path) -> Outcome {
    let (one, two) = two(place, at)?;
    take(&one, libc::F_WRLCK, 0, 100).when("locking")?;
    take(&two, libc::F_WRLCK, 0, 100).when("locking by another mount")
}
