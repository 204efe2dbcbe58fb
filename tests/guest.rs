//! A runtime inside of loops that others run: a plain epoll program, and tokio.

#![allow(unsafe_code, reason = "puts a descriptor into tokio's set")]

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use ringway::net::{TcpListener, UnixStream};
use ringway::{Backend, Builder, Guest};
use rustix::event::epoll;
use tokio::io::unix::AsyncFd;

const LIMIT: Duration = Duration::from_secs(20);

/// Runs `test` with a guest on each backend that a guest can have.
fn on_each_backend(test: fn(Guest)) {
    for backend in [Backend::Auto, Backend::Hybrid, Backend::Epoll] {
        match Builder::new().backend(backend).build_guest() {
            Ok(guest) => test(guest),
            Err(error) => println!("SKIPPED: {error}"),
        }
    }
}

/// A task that echoes one connection, and where to connect to.
fn echo(guest: &Guest) -> SocketAddr {
    let listener = TcpListener::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let addr = listener.local_addr().unwrap();
    drop(guest.spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut buf = vec![0; 4096];
        loop {
            let (n, back) = stream.recv(buf).await;
            let n = n.unwrap();
            if n == 0 {
                return;
            }
            let (sent, back) = stream.send_all(back[..n].to_vec()).await;
            sent.unwrap();
            buf = vec![0; 4096];
            drop(back);
        }
    }));
    addr
}

/// A client on a thread of its own: `rounds` of a few bytes each, and back.
fn client(addr: SocketAddr, rounds: usize) -> std::thread::JoinHandle<usize> {
    std::thread::spawn(move || {
        let mut stream = std::net::TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        for round in 0..rounds {
            let message = format!("round {round}");
            stream.write_all(message.as_bytes()).unwrap();
            let mut answer = vec![0; message.len()];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(answer, message.as_bytes());
        }
        rounds
    })
}

/// A host of epoll and nothing else: its own descriptor and the guest's. Ends when `done` says so.
fn host(guest: &Guest, mut done: impl FnMut() -> bool) {
    let set = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    epoll::add(&set, guest, epoll::EventData::new_u64(1), epoll::EventFlags::IN).unwrap();
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < LIMIT, "the guest does not get on");
        let sleep = guest.turn().unwrap().unwrap_or(LIMIT).min(Duration::from_millis(200));
        let sleep = rustix::event::Timespec::try_from(sleep).unwrap();
        let mut events = Vec::with_capacity(4);
        match epoll::wait(&set, rustix::buffer::spare_capacity(&mut events), Some(&sleep)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_plain_epoll_program_hosts_sockets() {
    on_each_backend(|guest| {
        let client = client(echo(&guest), 500);
        let start = Instant::now();
        host(&guest, || client.is_finished());
        assert_eq!(client.join().unwrap(), 500);
        // Each round that needed the host's 200 ms would show.
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    });
}

/// Far more sockets than a guest takes events from at a time.
const MANY: usize = 150;

#[test]
fn a_host_that_hears_of_changes_only_is_not_left_with_events_that_nobody_awaits() {
    on_each_backend(|guest| {
        let set = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let edges = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&set, &guest, epoll::EventData::new_u64(1), edges).unwrap();
        let (streams, mut peers): (Vec<_>, Vec<_>) = (0..MANY).map(|_| connection()).unzip();
        let (last, mut last_peer) = connection();
        let quiet = guest.spawn(async move {
            for stream in &streams {
                recv_byte(stream).await;
            }
            // From here on nobody awaits any of them, and each is still told of.
            std::future::pending::<()>().await;
            drop(streams);
        });
        let task = guest.spawn(async move {
            recv_byte(&last).await;
            recv_byte(&last).await;
        });
        settle(&guest);
        for peer in peers.iter_mut().chain([&mut last_peer]) {
            peer.write_all(b"1").unwrap();
            settle(&guest);
        }
        // What the host has heard so far is over.
        while hears(&set) {
            settle(&guest);
        }
        for peer in peers.iter_mut().chain([&mut last_peer]) {
            peer.write_all(b"2").unwrap();
        }
        while !task.is_finished() {
            assert!(hears(&set), "the guest sleeps on what has come");
            settle(&guest);
        }
        assert!(!quiet.is_finished());
    });
}

/// Whether anything is told within a second.
fn hears(set: &impl AsFd) -> bool {
    let second = rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 };
    let mut events = Vec::with_capacity(4);
    loop {
        match epoll::wait(set, rustix::buffer::spare_capacity(&mut events), Some(&second)) {
            Ok(count) => return count > 0,
            // A ring's work interrupts.
            Err(error) => assert_eq!(error, rustix::io::Errno::INTR),
        }
    }
}

/// A connection of the guest's, and its other end.
fn connection() -> (UnixStream, std::os::unix::net::UnixStream) {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    (UnixStream::from_std(ours).unwrap(), theirs)
}

async fn recv_byte(stream: &UnixStream) {
    let (received, _) = stream.recv(Vec::with_capacity(1)).await;
    assert_eq!(received.unwrap(), 1);
}

/// A turn, until there is nothing to do without an event.
fn settle(guest: &Guest) {
    while guest.turn().unwrap() == Some(Duration::ZERO) {}
}

/// Runs the guest for as long as its descriptor asks for it within a second; never for nothing.
fn follow(guest: &Guest, mut done: impl FnMut() -> bool) -> bool {
    let second = rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 };
    while !done() {
        let mut watched = [rustix::event::PollFd::new(guest, rustix::event::PollFlags::IN)];
        if rustix::event::poll(&mut watched, Some(&second)).unwrap() == 0 {
            return false;
        }
        settle(guest);
    }
    true
}

#[test]
fn a_task_that_the_host_starts_between_turns_makes_the_guest_readable() {
    on_each_backend(|guest| {
        for settled in [false, true] {
            if settled {
                settle(&guest);
            }
            let task = guest.spawn(async {});
            assert!(follow(&guest, || task.is_finished()), "settled: {settled}");
        }
    });
}

#[test]
fn a_child_that_the_host_drops_between_turns_makes_the_guest_readable() {
    on_each_backend(|guest| {
        let starting = guest.spawn(async {
            let mut sleeper = std::process::Command::new("sleep");
            sleeper.arg("1000");
            ringway::process::spawn(sleeper).await.unwrap()
        });
        assert!(follow(&guest, || starting.is_finished()));
        let child = starting.now_or_never().unwrap().unwrap();
        let id = child.id();
        // Of what has been told before nothing is left.
        follow(&guest, || false);
        drop(child);
        let pid = rustix::process::Pid::from_raw(id.cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        assert!(follow(&guest, || !std::fs::exists(format!("/proc/{id}/stat")).unwrap()));
    });
}

#[test]
fn what_the_host_cancels_between_turns_ends_without_its_help() {
    on_each_backend(|guest| {
        let token = ringway::cancel::CancelToken::new();
        let (inner, cancelled) = (token.clone(), Rc::new(Cell::new(false)));
        let end = cancelled.clone();
        let task = guest.spawn(async move {
            let (reader, _writer) = std::os::unix::net::UnixStream::pair().unwrap();
            let reader = ringway::AsyncFd::new(reader);
            end.set(inner.run(reader.readable()).await.is_err());
        });
        settle(&guest);
        // Of what has been told before nothing is left.
        follow(&guest, || false);
        token.cancel();
        assert!(follow(&guest, || task.is_finished()));
        assert!(cancelled.get());
    });
}

#[test]
fn a_plain_epoll_program_hosts_timers_the_pool_and_wakes_from_other_threads() {
    on_each_backend(|guest| {
        let steps = Rc::new(Cell::new(0));
        let counted = steps.clone();
        let (sender, receiver) = futures_channel();
        let task = guest.spawn(async move {
            ringway::time::sleep(Duration::from_millis(30)).await;
            counted.set(1);
            let answer = ringway::spawn_blocking(|| {
                std::thread::sleep(Duration::from_millis(30));
                42
            });
            assert_eq!(answer.await.unwrap(), 42);
            counted.set(2);
            receiver.await;
            counted.set(3);
            let dir = ringway::fs::Dir::open_ambient("/").unwrap();
            dir.statx_at("tmp", rustix::fs::AtFlags::empty(), rustix::fs::StatxFlags::BASIC_STATS)
                .await
                .unwrap();
            counted.set(4);
        });
        let waker = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(150));
            sender();
        });
        host(&guest, || task.is_finished());
        waker.join().unwrap();
        assert_eq!(steps.get(), 4);
    });
}

/// Something to call on another thread, and a future that waits for it.
fn futures_channel() -> (impl FnOnce() + Send, impl Future<Output = ()>) {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    (move || sender.send(()).unwrap(), async move { receiver.await.unwrap() })
}

#[test]
fn tokio_hosts_a_guest_beside_its_own_tasks() {
    on_each_backend(|guest| {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = client(echo(&guest), 500);
        tokio.block_on(async {
            let ticks = Rc::new(Cell::new(0));
            let ticking = ticks.clone();
            let local = tokio::task::LocalSet::new();
            local.spawn_local(async move {
                loop {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    ticking.set(ticking.get() + 1);
                }
            });
            let host = async {
                // SAFETY: a guest's descriptor stays open, and the same, as long as the guest.
                let guest = unsafe { AsyncFd::register(guest) }.unwrap();
                while !client.is_finished() {
                    let sleep = guest.get_ref().turn().unwrap().unwrap_or(LIMIT);
                    let sleep = sleep.min(Duration::from_millis(200));
                    if let Ok(ready) = tokio::time::timeout(sleep, guest.readable()).await {
                        ready.unwrap().clear_ready();
                    }
                }
            };
            let hosted = tokio::time::timeout(LIMIT, local.run_until(host)).await;
            hosted.expect("the guest does not get on");
            assert!(ticks.get() > 0, "tokio's own task starved");
        });
        assert_eq!(client.join().unwrap(), 500);
    });
}

#[test]
fn a_guest_that_may_not_sleep_in_epoll_is_refused() {
    let error = Builder::new().backend(Backend::Uring).build_guest().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}
