//! When a turn sleeps, what ends its sleep, and what an outsider sees of it.

#![allow(unsafe_code, reason = "interrupts a thread by a signal")]

mod common;

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::thread::JoinHandleExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{Bench, polled, read, recv};
use libc::POLLIN;
use ringway_driver::{Driver, Op};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(60);

#[test]
fn a_turn_sleeps_as_long_as_it_is_told() {
    let mut bench = Bench::new();
    let start = Instant::now();
    assert!(bench.turn(Duration::ZERO).is_empty());
    assert!(start.elapsed() < SHORT);
    assert!(bench.turn(SHORT).is_empty());
    assert!(start.elapsed() >= SHORT);
}

#[test]
fn a_wake_from_another_thread_ends_the_sleep() {
    let mut bench = Bench::new();
    let waker = bench.driver.waker();
    let start = Instant::now();
    let other = thread::spawn(move || {
        thread::sleep(SHORT);
        waker.wake();
    });
    bench.turn(LONG);
    assert!(start.elapsed() >= SHORT && start.elapsed() < LONG / 2);
    other.join().unwrap();
}

#[test]
fn a_wake_before_the_sleep_counts_and_many_count_once() {
    let mut bench = Bench::new();
    let waker = bench.driver.waker();
    for _ in 0..100 {
        waker.wake();
    }
    let start = Instant::now();
    bench.turn(LONG);
    assert!(start.elapsed() < LONG / 2);
    let start = Instant::now();
    bench.turn(SHORT);
    assert!(start.elapsed() >= SHORT);
}

#[test]
fn a_sleep_without_limit_ends_with_data() {
    let mut bench = Bench::new();
    let (one, mut other) = UnixStream::pair().unwrap();
    let mut buf = [0; 4];
    bench.submit(recv(&one, &mut buf, 0));
    let writer = thread::spawn(move || {
        thread::sleep(SHORT);
        other.write_all(b"data").unwrap();
        other
    });
    let mut out = Vec::new();
    bench.driver.turn(None, &mut out).unwrap();
    assert_eq!(out.iter().map(|completion| completion.result).collect::<Vec<_>>(), [4]);
    drop(writer.join().unwrap());
}

extern "C" fn ignore(_: libc::c_int) {}

#[test]
fn an_interrupted_sleep_is_no_error() {
    // SAFETY: the handler does nothing, and there is no SA_RESTART, so that epoll reports EINTR.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = ignore as extern "C" fn(libc::c_int) as usize;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()), 0);
    }
    let sleeper = thread::spawn(|| Bench::new().turn(SHORT * 3).len());
    thread::sleep(SHORT);
    // SAFETY: the thread has not been joined.
    unsafe { libc::pthread_kill(sleeper.as_pthread_t(), libc::SIGUSR1) };
    assert_eq!(sleeper.join().unwrap(), 0);
}

#[test]
fn a_watched_ring_ends_the_sleep_as_long_as_it_is_readable() {
    let mut bench = Bench::new();
    // Any pollable descriptor is as good as a ring's.
    let (mut ring, mut kernel) = UnixStream::pair().unwrap();
    bench.driver.watch_ring(ring.as_fd()).unwrap();
    bench.turn(Duration::ZERO);
    assert!(!bench.driver.take_ring_ready());
    kernel.write_all(b"cqe").unwrap();
    for _ in 0..2 {
        let start = Instant::now();
        bench.turn(LONG);
        assert!(start.elapsed() < LONG / 2);
        assert!(bench.driver.take_ring_ready());
        assert!(!bench.driver.take_ring_ready());
    }
    ring.read_exact(&mut [0; 3]).unwrap();
    bench.turn(SHORT);
    assert!(!bench.driver.take_ring_ready());
}

#[test]
fn an_outsider_sees_when_a_turn_would_make_progress() {
    let mut bench = Bench::new();
    let fd = bench.driver.as_fd().try_clone_to_owned().unwrap();
    let readable = || polled(&fd, POLLIN) != 0;
    bench.turn(Duration::ZERO);
    assert!(!readable());

    bench.submit(Op::Nop);
    assert!(readable(), "an operation that ended inside submit");
    assert_eq!(bench.turn(Duration::ZERO).len(), 1);
    assert!(!readable());

    bench.driver.waker().wake();
    assert!(readable(), "a wake");
    bench.turn(Duration::ZERO);
    assert!(!readable());

    let (one, mut other) = UnixStream::pair().unwrap();
    let mut buf = [0; 4];
    let token = bench.submit(recv(&one, &mut buf, 0));
    assert!(!readable());
    other.write_all(b"data").unwrap();
    assert!(readable(), "a descriptor that became ready");
    assert_eq!(bench.turn(Duration::ZERO).len(), 1);

    let again = bench.submit(recv(&one, &mut buf, 0));
    assert_ne!(token, again);
    bench.driver.cancel(again);
    assert!(readable(), "a cancelled operation");
    assert_eq!(bench.turn(Duration::ZERO).len(), 1);

    let file = tempfile::tempfile().unwrap();
    bench.submit_blocking(read(&file, &mut buf, 0));
    let start = Instant::now();
    while !readable() {
        assert!(start.elapsed() < LONG, "an operation of the pool");
        thread::yield_now();
    }
    assert_eq!(bench.turn(Duration::ZERO).len(), 1);
}

/// Receives on `count` sockets, for each of which a byte has come since.
struct Ready {
    bench: Bench,
    _sockets: Vec<(UnixStream, UnixStream)>,
    _bufs: Vec<[u8; 1]>,
}

impl Ready {
    fn new(count: usize) -> Self {
        let mut bench = Bench::new();
        let mut sockets: Vec<_> = (0..count).map(|_| UnixStream::pair().unwrap()).collect();
        let mut bufs = vec![[0; 1]; count];
        for ((socket, _), buf) in sockets.iter().zip(&mut bufs) {
            bench.driver.adopt(socket.as_raw_fd());
            bench.submit(recv(socket, buf, 0));
        }
        assert!(bench.turn(Duration::ZERO).is_empty());
        for (_, peer) in &mut sockets {
            peer.write_all(b"1").unwrap();
        }
        Self { bench, _sockets: sockets, _bufs: bufs }
    }
}

#[test]
fn a_turn_beside_other_work_brings_many_at_once() {
    let mut ready = Ready::new(100);
    assert_eq!(ready.bench.turn_beside(true).len(), 100);
    assert!(!ready.bench.driver.has_more());
}

#[test]
fn a_turn_beside_nothing_brings_few_at_once_and_does_not_sleep_on_the_others() {
    let mut ready = Ready::new(100);
    let mut heard = 0;
    while heard < 100 {
        let news = ready.bench.turn(LONG).len();
        assert!((1..=32).contains(&news), "{news} after {heard}");
        heard += news;
        assert!(heard == 100 || ready.bench.driver.has_more());
    }
}

#[test]
fn what_a_turn_has_left_behind_is_not_put_off_by_what_is_there_to_deliver() {
    const COUNT: usize = 200;
    let mut ready = Ready::new(COUNT);
    let first = ready.bench.turn_beside(true).len();
    assert!(first < COUNT, "take more sockets");
    assert!(ready.bench.driver.has_more());
    ready.bench.submit(Op::Nop);
    assert_eq!(ready.bench.turn_beside(true).len(), 1 + COUNT - first);
}

/// Many threads hand work over and wake; every piece is picked up although the driver sleeps without
/// limit in between, and falls asleep as often as it can.
fn hand_over(watched: bool) {
    const THREADS: usize = 3;
    const ROUNDS: usize = 10_000;
    let mut bench = Bench::new();
    if watched {
        let _ = bench.driver.as_fd();
    }
    let (made, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let makers: Vec<_> = (0..THREADS)
        .map(|_| {
            let (made, seen, waker) = (made.clone(), seen.clone(), bench.driver.waker());
            thread::spawn(move || {
                for _ in 0..ROUNDS {
                    let mine = made.fetch_add(1, Ordering::SeqCst) + 1;
                    waker.wake();
                    // Most of the time this lets the driver fall asleep before the next.
                    while seen.load(Ordering::SeqCst) < mine {
                        thread::yield_now();
                    }
                }
            })
        })
        .collect();
    let start = Instant::now();
    while seen.load(Ordering::SeqCst) < THREADS * ROUNDS {
        bench.turn(LONG);
        assert!(start.elapsed() < LONG, "a wake was lost");
        seen.store(made.load(Ordering::SeqCst), Ordering::SeqCst);
    }
    makers.into_iter().for_each(|maker| maker.join().unwrap());
}

#[test]
fn no_wake_is_lost_between_looking_and_falling_asleep() {
    hand_over(false);
}

#[test]
fn no_wake_is_lost_while_an_outsider_watches() {
    hand_over(true);
}

#[test]
fn completions_of_the_pool_and_wakes_do_not_hide_each_other() {
    let mut bench = Bench::new();
    let waker = bench.driver.waker();
    let over = Arc::new(AtomicBool::new(false));
    let until = over.clone();
    let noise = thread::spawn(move || {
        while !until.load(Ordering::SeqCst) {
            waker.wake();
            thread::yield_now();
        }
    });
    let start = Instant::now();
    for _ in 0..500 {
        let token = bench.submit_blocking(Op::Nop);
        assert_eq!(bench.result(token), 0);
    }
    assert!(start.elapsed() < LONG / 2);
    over.store(true, Ordering::SeqCst);
    noise.join().unwrap();
    for _ in 0..200 {
        let token = bench.submit_blocking(Op::Nop);
        assert_eq!(bench.result(token), 0);
    }
    assert!(start.elapsed() < LONG / 2);
}

#[test]
fn a_wake_before_an_outsider_begins_to_watch_is_seen_by_it() {
    let bench = Bench::new();
    bench.driver.waker().wake();
    assert_eq!(polled(&bench.driver.as_fd(), POLLIN), POLLIN);
}

#[test]
fn a_turn_with_something_to_deliver_does_not_sleep() {
    let mut bench = Bench::new();
    let start = Instant::now();
    for _ in 0..10 {
        bench.submit(Op::Nop);
        assert_eq!(bench.turn(LONG).len(), 1);
    }
    assert!(start.elapsed() < LONG / 2);
}
