//! Leases on every backend.

#![allow(unsafe_code, reason = "truncate(2) has no other name")]

mod support;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ringway::Runtime;
use ringway::fs::{Dir, File, LeaseBreaks, OFlags, OpenHow, ReadLease};
use ringway::time::timeout;
use support::files::scratch;

on_each_backend!(
    a_writer_waits_until_the_lease_is_dropped,
    cutting_a_file_by_its_path_breaks_its_lease,
    an_open_for_writing_of_our_own_keeps_no_loop_waiting,
    there_is_no_lease_while_somebody_may_write,
    readers_names_and_owners_break_nothing,
    each_of_many_leases_is_asked_for_itself,
    every_listener_hears,
    what_is_no_file_has_no_lease,
);

const LIMIT: Duration = Duration::from_secs(20);

fn file_in(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, b"before").unwrap();
    path
}

async fn opened(dir: &Dir, name: &str) -> File {
    dir.open_at(name, &OpenHow::new(OFlags::RDONLY)).await.unwrap()
}

async fn heard(breaks: &mut LeaseBreaks) {
    timeout(LIMIT, breaks.next()).await.expect("word of a break").unwrap();
}

/// Does something in another thread, and tells when it is done.
fn elsewhere(act: impl FnOnce() + Send + 'static) -> mpsc::Receiver<()> {
    let (done, told) = mpsc::channel();
    thread::spawn(move || {
        act();
        let _ = done.send(());
    });
    told
}

/// What `act` does waits for the lease, of which that is told, and goes on when it is dropped.
async fn waits_for_the_lease(lease: ReadLease, act: impl FnOnce() + Send + 'static) {
    let mut breaks = LeaseBreaks::new().unwrap();
    assert!(!lease.is_broken());
    let done = elsewhere(act);
    while !lease.is_broken() {
        heard(&mut breaks).await;
    }
    done.recv_timeout(Duration::from_millis(50)).expect_err("it does not wait");
    drop(lease);
    done.recv_timeout(LIMIT).expect("it goes on");
}

fn a_writer_waits_until_the_lease_is_dropped(rt: Runtime) {
    rt.block_on(async {
        let (scratch, dir) = scratch();
        let path = file_in(scratch.path(), "file");
        let file = opened(&dir, "file").await;
        let lease = file.read_lease().unwrap();
        let written = path.clone();
        waits_for_the_lease(lease, move || fs::write(written, b"after").unwrap()).await;
        assert_eq!(fs::read(path).unwrap(), b"after");
        file.read_lease().expect("a new one when the writer has gone");
    });
}

fn cutting_a_file_by_its_path_breaks_its_lease(rt: Runtime) {
    rt.block_on(async {
        let (scratch, dir) = scratch();
        let path = file_in(scratch.path(), "file");
        let lease = opened(&dir, "file").await.read_lease().unwrap();
        let cut = path.clone();
        let truncate = move || {
            let path = std::ffi::CString::new(cut.to_str().unwrap()).unwrap();
            // SAFETY: the path ends with a zero and lives until the call has returned.
            assert_eq!(unsafe { libc::truncate(path.as_ptr(), 3) }, 0);
        };
        waits_for_the_lease(lease, truncate).await;
        assert_eq!(fs::read(path).unwrap(), b"bef");
    });
}

fn an_open_for_writing_of_our_own_keeps_no_loop_waiting(rt: Runtime) {
    rt.block_on(async {
        let (scratch, dir) = scratch();
        file_in(scratch.path(), "file");
        let lease = opened(&dir, "file").await.read_lease().unwrap();
        let mut breaks = LeaseBreaks::new().unwrap();
        let patient = OpenHow::new(OFlags::RDWR);
        let impatient = OpenHow::new(OFlags::RDWR | OFlags::NONBLOCK);
        let refused = dir.open_at("file", &impatient).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::WouldBlock);
        heard(&mut breaks).await;
        assert!(lease.is_broken());
        let opening = dir.clone();
        let opening = ringway::spawn(async move { opening.open_at("file", &patient).await });
        ringway::time::sleep(Duration::from_millis(20)).await;
        assert!(!opening.is_finished());
        drop(lease);
        timeout(LIMIT, opening).await.expect("it goes on").unwrap().unwrap();
    });
}

fn there_is_no_lease_while_somebody_may_write(rt: Runtime) {
    rt.block_on(async {
        let (scratch, dir) = scratch();
        let path = file_in(scratch.path(), "file");
        let file = opened(&dir, "file").await;
        let writer = fs::OpenOptions::new().append(true).open(path).unwrap();
        assert_eq!(file.read_lease().unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(writer);
        drop(file.read_lease().unwrap());
        let both = dir.open_at("file", &OpenHow::new(OFlags::RDWR)).await.unwrap();
        both.read_lease().unwrap_err();
        assert_eq!(file.read_lease().unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

fn readers_names_and_owners_break_nothing(rt: Runtime) {
    rt.block_on(async {
        let (scratch, dir) = scratch();
        let path = file_in(scratch.path(), "file");
        let file = opened(&dir, "file").await;
        let lease = file.read_lease().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"before");
        let other = opened(&dir, "file").await;
        let second = other.read_lease().unwrap();
        let to = path.with_file_name("other");
        fs::hard_link(&path, &to).unwrap();
        fs::rename(&to, path.with_file_name("third")).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(!lease.is_broken() && !second.is_broken());
        drop(file);
        assert!(!lease.is_broken(), "it keeps its file open");
    });
}

fn each_of_many_leases_is_asked_for_itself(rt: Runtime) {
    rt.block_on(async {
        const FILES: usize = 200;
        let (scratch, dir) = scratch();
        let mut breaks = LeaseBreaks::new().unwrap();
        let mut leases = Vec::new();
        for index in 0..FILES {
            let name = index.to_string();
            file_in(scratch.path(), &name);
            leases.push(opened(&dir, &name).await.read_lease().unwrap());
        }
        let impatient = OpenHow::new(OFlags::WRONLY | OFlags::NONBLOCK);
        for index in (0..FILES).step_by(3) {
            dir.open_at(index.to_string(), &impatient).await.unwrap_err();
        }
        heard(&mut breaks).await;
        for (index, lease) in leases.iter().enumerate() {
            assert_eq!(lease.is_broken(), index % 3 == 0, "{index}");
        }
    });
}

fn every_listener_hears(rt: Runtime) {
    rt.block_on(async {
        let (scratch, dir) = scratch();
        file_in(scratch.path(), "file");
        let lease = opened(&dir, "file").await.read_lease().unwrap();
        let (mut one, mut other) = (LeaseBreaks::new().unwrap(), LeaseBreaks::new().unwrap());
        let impatient = OpenHow::new(OFlags::WRONLY | OFlags::NONBLOCK);
        dir.open_at("file", &impatient).await.unwrap_err();
        heard(&mut one).await;
        heard(&mut other).await;
        assert!(lease.is_broken());
        assert!(ReadLease::break_time() > Duration::ZERO);
    });
}

fn what_is_no_file_has_no_lease(rt: Runtime) {
    rt.block_on(async {
        let (_scratch, dir) = scratch();
        assert_eq!(dir.as_file().read_lease().unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}
