//! The bounded pool: its limits, its backlog, its end.

#![allow(unsafe_code, reason = "watches memory that an operation writes")]

mod common;

use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use common::{Bench, poll, read};
use libc::POLLIN;
use ringway_driver::{Driver, Op};
use ringway_epoll::{EpollDriver, Options, Pool, Stats};

fn small() -> Bench {
    Bench::with(&Options { pool_threads_max: 1, pool_queue_max: 1, ..Options::default() })
}

/// Keeps the one thread busy until the sender is dropped.
fn occupy(pool: &Pool) -> mpsc::Sender<()> {
    let (release, released) = mpsc::channel::<()>();
    let (begun, has_begun) = mpsc::channel();
    pool.execute(Box::new(move || {
        begun.send(()).unwrap();
        let _ = released.recv();
    }))
    .unwrap();
    has_begun.recv().unwrap();
    release
}

#[test]
fn a_full_pool_makes_operations_wait_in_the_driver_and_loses_none() {
    let mut bench = small();
    let release = occupy(&bench.driver.pool());
    let file = tempfile::tempfile().unwrap();
    let sync = Op::Fsync { fd: file.as_raw_fd(), data_only: true };
    let tokens: Vec<_> = (0..20).map(|_| bench.submit(sync)).collect();
    assert_eq!(bench.driver.backlog(), 19, "one place in the queue");
    assert!(bench.waits(tokens[0]));
    drop(release);
    for token in tokens {
        assert_eq!(bench.result(token), 0);
    }
    assert_eq!((bench.driver.backlog(), bench.driver.in_flight()), (0, 0));
}

#[test]
fn a_full_queue_of_closures_does_not_leave_the_backlog_asleep() {
    let mut bench = small();
    let pool = bench.driver.pool();
    let release = occupy(&pool);
    pool.execute(Box::new(|| {})).unwrap();
    let file = tempfile::tempfile().unwrap();
    let token = bench.submit(Op::Fsync { fd: file.as_raw_fd(), data_only: true });
    assert_eq!(bench.driver.backlog(), 1);
    let releaser = thread::spawn(move || {
        thread::sleep(Duration::from_millis(30));
        drop(release);
    });
    // No completion is under way that would end this sleep; only the room that appears.
    let start = Instant::now();
    let mut out = Vec::new();
    while out.is_empty() {
        bench.driver.turn(Some(Duration::from_secs(60)), &mut out).unwrap();
    }
    assert!(start.elapsed() < Duration::from_secs(30));
    assert_eq!((out[0].token, out[0].result), (token, 0));
    releaser.join().unwrap();
}

#[test]
fn operations_that_no_thread_has_begun_can_be_cancelled() {
    let mut bench = small();
    let release = occupy(&bench.driver.pool());
    let file = tempfile::tempfile().unwrap();
    let sync = Op::Fsync { fd: file.as_raw_fd(), data_only: true };
    let (queued, behind) = (bench.submit(sync), bench.submit(sync));
    bench.driver.cancel(queued);
    assert_eq!(bench.result(queued), -libc::ECANCELED);
    bench.driver.cancel(behind);
    assert_eq!(bench.result(behind), -libc::ECANCELED);
    drop(release);
    assert_eq!(bench.driver.in_flight(), 0);
}

/// A thread takes its time to begin where there are many.
fn until_running(bench: &Bench) {
    while bench.driver.stats().running == 0 {
        thread::yield_now();
    }
}

#[test]
fn a_running_operation_ends_with_its_own_result_in_spite_of_a_cancel() {
    let mut bench = Bench::new();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let token = bench.submit_blocking(poll(&reader, POLLIN));
    until_running(&bench);
    bench.driver.cancel(token);
    assert!(bench.waits(token));
    writer.write_all(b"x").unwrap();
    assert_eq!(bench.result(token), i32::from(POLLIN));
}

#[test]
fn a_panicking_job_takes_nothing_with_it() {
    let bench = small();
    let pool = bench.driver.pool();
    let (answer, answered) = mpsc::channel::<()>();
    let held = answer.clone();
    let job = move || {
        let _held = held;
        panic!("a job's own fault");
    };
    pool.execute(Box::new(job)).unwrap();
    let mut next: ringway_epoll::Job = Box::new(move || answer.send(()).unwrap());
    while let Err(full) = pool.execute(next) {
        next = full.into_job();
        thread::yield_now();
    }
    answered.recv().unwrap();
    assert!(answered.recv().is_err(), "the job's channel is closed");
}

#[test]
fn a_closure_that_finds_the_queue_full_comes_back() {
    let bench = small();
    let pool = bench.driver.pool();
    let release = occupy(&pool);
    pool.execute(Box::new(|| {})).unwrap();
    let ran = Arc::new(AtomicUsize::new(0));
    let job = {
        let ran = Arc::clone(&ran);
        Box::new(move || {
            ran.fetch_add(1, Ordering::Relaxed);
        })
    };
    let full = pool.execute(job).unwrap_err();
    assert_eq!(full.to_string(), "the queue of the blocking pool is full");
    full.into_job()();
    assert_eq!(ran.load(Ordering::Relaxed), 1);
    drop(release);
}

#[test]
fn threads_are_as_many_as_the_work_needs_and_the_limit_allows() {
    let bench =
        Bench::with(&Options { pool_threads_max: 3, pool_queue_max: 100, ..Options::default() });
    // The first three jobs end together, which takes three threads; there is no fourth.
    let (met, together) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(3)));
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (done, all_done) = mpsc::channel();
    for _ in 0..12 {
        let (now, most, done) = (Arc::clone(&now), Arc::clone(&most), done.clone());
        let (met, together) = (Arc::clone(&met), Arc::clone(&together));
        let job = move || {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            if met.fetch_add(1, Ordering::SeqCst) < 3 {
                together.wait();
            }
            now.fetch_sub(1, Ordering::SeqCst);
            done.send(()).unwrap();
        };
        bench.driver.pool().execute(Box::new(job)).unwrap();
    }
    assert_eq!(all_done.iter().take(12).count(), 12);
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

#[test]
fn dropping_the_driver_waits_for_operations_that_threads_are_at() {
    let mut bench = Bench::new();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let mut buf = [0_u8; 4];
    bench.submit_blocking(read(&reader, &mut buf, u64::MAX));
    until_running(&bench);
    let start = Instant::now();
    let releaser = thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        writer.write_all(b"late").unwrap();
    });
    drop(bench);
    assert!(start.elapsed() >= Duration::from_millis(100));
    assert_eq!(&buf, b"late");
    releaser.join().unwrap();
}

#[test]
fn dropping_the_driver_forgets_operations_that_no_thread_has_begun() {
    let mut bench = small();
    let pool = bench.driver.pool();
    let release = occupy(&pool);
    let file = tempfile::NamedTempFile::new().unwrap();
    bench.submit_blocking(common::write(file.as_file(), b"x", 0));
    bench.submit_blocking(common::write(file.as_file(), b"y", 1));
    drop(bench);
    drop(release);
    let (done, is_done) = mpsc::channel();
    pool.execute(Box::new(move || done.send(()).unwrap())).unwrap();
    is_done.recv().unwrap();
    assert_eq!(std::fs::read(file.path()).unwrap(), b"");
}

#[test]
fn a_pool_without_threads_or_queue_is_refused() {
    for (pool_threads_max, pool_queue_max) in [(0, 1), (1, 0)] {
        let refused =
            EpollDriver::new(&Options { pool_threads_max, pool_queue_max, ..Options::default() });
        assert_eq!(refused.err().unwrap().kind(), std::io::ErrorKind::InvalidInput);
    }
}

#[test]
fn what_a_driver_is_at_can_be_counted() {
    let mut bench = small();
    assert_eq!(bench.driver.stats(), Stats::default());
    let release = occupy(&bench.driver.pool());
    let (one, other) = UnixStream::pair().unwrap();
    let mut buf = [0; 4];
    bench.submit(common::recv(&one, &mut buf, 0));
    bench.submit(poll(&other, 0));
    let file = tempfile::tempfile().unwrap();
    let sync = Op::Fsync { fd: file.as_raw_fd(), data_only: true };
    let tokens = [(); 3].map(|()| bench.submit(sync));
    let busy = Stats { threads: 1, idle: 0, queued: 1, running: 1, backlog: 2, waiting: 2 };
    assert_eq!(bench.driver.stats(), busy);
    drop(release);
    for token in tokens {
        assert_eq!(bench.result(token), 0);
    }
    let rested = Stats { threads: 1, idle: 1, waiting: 2, ..Stats::default() };
    let start = Instant::now();
    while bench.driver.stats() != rested {
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", bench.driver.stats());
        thread::yield_now();
    }
}
