//! Sockets: waiting in order, both ways at once, ending early.

#![allow(unsafe_code, reason = "duplicates descriptors, sets a signal's disposition")]

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::ptr;
use std::time::{Duration, Instant};

use common::{Bench, poll, polled, recv, replace, send, tcp_pair};
use libc::{MSG_DONTWAIT, MSG_WAITALL, POLLIN, POLLOUT, POLLRDHUP};
use ringway_driver::{Driver, Op};

#[test]
fn recv_on_a_blocking_socket_waits_without_blocking_and_then_completes() {
    let mut bench = Bench::new();
    let (one, mut other) = UnixStream::pair().unwrap();
    let mut buf = [0; 8];
    let token = bench.submit(recv(&one, &mut buf, 0));
    assert!(bench.waits(token));
    assert_eq!(bench.driver.in_flight(), 1);
    other.write_all(b"hello").unwrap();
    assert_eq!(bench.result(token), 5);
    assert_eq!(&buf[..5], b"hello");
    assert_eq!(bench.driver.in_flight(), 0);
}

#[test]
fn what_is_ready_at_once_is_still_delivered_by_a_turn() {
    let mut bench = Bench::new();
    let (one, mut other) = UnixStream::pair().unwrap();
    other.write_all(b"x").unwrap();
    let mut buf = [0; 8];
    bench.submit(recv(&one, &mut buf, 0));
    assert_eq!(bench.driver.in_flight(), 1);
    assert_eq!(bench.turn(Duration::from_secs(5)).len(), 1);
}

#[test]
fn a_reader_and_a_writer_wait_on_one_socket() {
    let mut bench = Bench::new();
    let (one, mut other) = UnixStream::pair().unwrap();
    one.set_nonblocking(true).unwrap();
    let filler = [7; 4096];
    while (&one).write(&filler).is_ok() {}
    let mut buf = [0; 8];
    let reader = bench.submit(recv(&one, &mut buf, 0));
    let writer = bench.submit(send(&one, b"tail"));
    assert!(bench.waits(reader) && bench.waits(writer));
    other.write_all(b"hi").unwrap();
    assert_eq!(bench.result(reader), 2);
    assert!(bench.waits(writer));
    other.set_nonblocking(true).unwrap();
    let mut drained = Vec::new();
    let _ = other.read_to_end(&mut drained);
    assert_eq!(bench.result(writer), 4);
    let mut tail = [0; 4];
    other.read_exact(&mut tail).unwrap();
    assert_eq!(&tail, b"tail");
}

#[test]
fn readers_of_one_socket_are_served_in_order() {
    let mut bench = Bench::new();
    let (one, mut other) = UnixStream::pair().unwrap();
    let (mut first, mut second) = ([0; 2], [0; 2]);
    let a = bench.submit(recv(&one, &mut first, 0));
    let b = bench.submit(recv(&one, &mut second, 0));
    other.write_all(b"12").unwrap();
    assert_eq!(bench.result(a), 2);
    assert!(bench.waits(b));
    other.write_all(b"34").unwrap();
    assert_eq!(bench.result(b), 2);
    assert_eq!((&first, &second), (b"12", b"34"));
}

#[test]
fn a_later_reader_does_not_overtake_one_that_waits() {
    let mut bench = Bench::new();
    let (one, mut other) = UnixStream::pair().unwrap();
    let (mut first, mut second) = ([0; 2], [0; 2]);
    let a = bench.submit(recv(&one, &mut first, 0));
    other.write_all(b"1234").unwrap();
    let b = bench.submit(recv(&one, &mut second, 0));
    assert_eq!((bench.result(a), bench.result(b)), (2, 2));
    assert_eq!((&first, &second), (b"12", b"34"));
}

#[test]
fn a_cancelled_recv_leaves_the_data_to_the_next() {
    let mut bench = Bench::new();
    let (one, mut other) = UnixStream::pair().unwrap();
    let mut buf = [0; 8];
    let token = bench.submit(recv(&one, &mut buf, 0));
    bench.driver.cancel(token);
    assert_eq!(bench.result(token), -libc::ECANCELED);
    other.write_all(b"abc").unwrap();
    assert_eq!(bench.run(recv(&one, &mut buf, 0)), 3);
}

#[test]
fn a_cancel_that_comes_too_late_changes_nothing() {
    let mut bench = Bench::new();
    let (one, mut other) = UnixStream::pair().unwrap();
    other.write_all(b"abc").unwrap();
    let mut buf = [0; 8];
    let token = bench.submit(recv(&one, &mut buf, 0));
    bench.driver.cancel(token);
    assert_eq!(bench.result(token), 3);
    bench.driver.cancel(token);
    assert!(bench.turn(Duration::ZERO).is_empty());
}

#[test]
fn cancelling_one_of_two_readers_leaves_the_other_waiting() {
    let mut bench = Bench::new();
    let (one, mut other) = UnixStream::pair().unwrap();
    let (mut first, mut second) = ([0; 2], [0; 2]);
    let a = bench.submit(recv(&one, &mut first, 0));
    let b = bench.submit(recv(&one, &mut second, 0));
    bench.driver.cancel(a);
    assert_eq!(bench.result(a), -libc::ECANCELED);
    assert!(bench.waits(b));
    other.write_all(b"34").unwrap();
    assert_eq!(bench.result(b), 2);
}

#[test]
fn a_descriptor_number_used_again_is_not_taken_for_its_predecessor() {
    let mut bench = Bench::new();
    let (old, mut old_peer) = UnixStream::pair().unwrap();
    let mut buf = [0; 8];
    let token = bench.submit(recv(&old, &mut buf, 0));
    bench.driver.cancel(token);
    assert_eq!(bench.result(token), -libc::ECANCELED);
    // The copy keeps the old socket alive, so the kernel does not clean up behind us.
    let _copy = old.try_clone().unwrap();
    let (new, mut new_peer) = UnixStream::pair().unwrap();
    let reused = replace(old, &new);
    let token = bench.submit(recv(&reused, &mut buf, 0));
    old_peer.write_all(b"old").unwrap();
    assert!(bench.waits(token));
    new_peer.write_all(b"newer").unwrap();
    assert_eq!(bench.result(token), 5);
}

#[test]
fn waitall_keeps_receiving_until_the_buffer_is_full() {
    let mut bench = Bench::new();
    let (one, mut other) = tcp_pair();
    let mut buf = [0; 6];
    let token = bench.submit(recv(&one, &mut buf, MSG_WAITALL));
    for part in [b"ab", b"cd"] {
        other.write_all(part).unwrap();
        assert!(bench.waits(token));
    }
    other.write_all(b"efgh").unwrap();
    assert_eq!(bench.result(token), 6);
    assert_eq!(&buf, b"abcdef");
}

#[test]
fn waitall_returns_what_it_has_at_the_end_or_when_cancelled() {
    let mut bench = Bench::new();
    let (one, mut other) = tcp_pair();
    let mut buf = [0; 6];
    let token = bench.submit(recv(&one, &mut buf, MSG_WAITALL));
    other.write_all(b"ab").unwrap();
    assert!(bench.waits(token));
    bench.driver.cancel(token);
    assert_eq!(bench.result(token), 2);
    let token = bench.submit(recv(&one, &mut buf, MSG_WAITALL));
    other.write_all(b"cde").unwrap();
    drop(other);
    assert_eq!(bench.result(token), 3);
    assert_eq!(bench.run(recv(&one, &mut buf, MSG_WAITALL)), 0);
}

#[test]
fn waitall_takes_one_datagram_for_all() {
    let mut bench = Bench::new();
    let (one, other) = UnixDatagram::pair().unwrap();
    other.send(b"ab").unwrap();
    assert_eq!(bench.run(recv(&one, &mut [0; 6], MSG_WAITALL)), 2);
}

#[test]
fn a_recv_told_not_to_wait_does_not() {
    let mut bench = Bench::new();
    let (one, _other) = UnixStream::pair().unwrap();
    assert_eq!(bench.run(recv(&one, &mut [0; 6], MSG_DONTWAIT)), -libc::EAGAIN);
}

#[test]
fn sending_to_a_closed_peer_fails_and_does_not_kill() {
    // SAFETY: the default disposition, which ends the process on the signal.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let mut bench = Bench::new();
    let (one, other) = UnixStream::pair().unwrap();
    drop(other);
    assert_eq!(bench.run(send(&one, b"x")), -libc::EPIPE);
}

fn connect_op(fd: i32, addr: &libc::sockaddr_storage) -> Op {
    Op::Connect { fd, addr, addr_len: size_of::<libc::sockaddr_in>() as u32 }
}

fn loopback(port: u16) -> libc::sockaddr_storage {
    // SAFETY: a structure of numbers; sockaddr_in is a prefix of the storage.
    unsafe {
        let mut storage: libc::sockaddr_storage = std::mem::zeroed();
        let addr = (&raw mut storage).cast::<libc::sockaddr_in>();
        (*addr).sin_family = libc::AF_INET as u16;
        (*addr).sin_port = port.to_be();
        (*addr).sin_addr.s_addr = u32::from(std::net::Ipv4Addr::LOCALHOST).to_be();
        storage
    }
}

fn tcp_socket(flags: i32) -> OwnedFd {
    // SAFETY: the call gives a new descriptor, which nobody else owns.
    unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC | flags, 0);
        assert!(fd >= 0);
        OwnedFd::from_raw_fd(fd)
    }
}

#[test]
fn connect_reports_success_and_refusal() {
    let mut bench = Bench::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = loopback(listener.local_addr().unwrap().port());
    for flags in [0, libc::SOCK_NONBLOCK] {
        let socket = tcp_socket(flags);
        assert_eq!(bench.run(connect_op(socket.as_raw_fd(), &addr)), 0);
        listener.accept().unwrap();
        // SAFETY: asks for numbers.
        let now = unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_GETFL) };
        assert_eq!(now & libc::O_NONBLOCK, flags, "the socket's own mode is back");
    }
    drop(listener);
    let socket = tcp_socket(libc::SOCK_NONBLOCK);
    assert_eq!(bench.run(connect_op(socket.as_raw_fd(), &addr)), -libc::ECONNREFUSED);
}

#[test]
fn accept_on_a_blocking_listener_waits_without_blocking() {
    let mut bench = Bench::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (addr, addr_len) = (ptr::null_mut(), ptr::null_mut());
    let token = bench.submit(Op::Accept { fd: listener.as_raw_fd(), addr, addr_len });
    assert!(bench.waits(token));
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let fd = bench.result(token);
    assert!(fd >= 0);
    // SAFETY: a new descriptor, which nobody else owns.
    let accepted = unsafe { TcpStream::from_raw_fd(fd) };
    assert_eq!(accepted.peer_addr().unwrap(), client.local_addr().unwrap());
}

#[test]
fn poll_waits_for_exactly_its_events() {
    let mut bench = Bench::new();
    let (one, mut other) = tcp_pair();
    let token = bench.submit(poll(&one, POLLRDHUP));
    other.write_all(b"unread").unwrap();
    let start = Instant::now();
    // Unread data must neither complete it nor wake the loop over and over.
    assert!(bench.turn(Duration::from_millis(100)).is_empty());
    assert!(start.elapsed() >= Duration::from_millis(100));
    other.shutdown(Shutdown::Write).unwrap();
    assert_eq!(bench.result(token), i32::from(POLLRDHUP));
    assert_eq!(bench.run(poll(&one, POLLIN)), i32::from(POLLIN));
    assert_eq!(bench.run(poll(&one, POLLIN | POLLOUT)), i32::from(POLLIN | POLLOUT));
}

#[test]
fn poll_for_nothing_still_hears_of_a_hang_up_after_others_were_served() {
    let mut bench = Bench::new();
    let (one, mut other) = UnixStream::pair().unwrap();
    let mut buf = [0; 4];
    let watch = bench.submit(poll(&one, 0));
    let reader = bench.submit(recv(&one, &mut buf, 0));
    other.write_all(b"data").unwrap();
    assert_eq!(bench.result(reader), 4);
    assert!(bench.waits(watch));
    drop(other);
    assert_eq!(bench.result(watch), i32::from(libc::POLLHUP));
}

#[test]
fn polls_and_readers_share_a_descriptor() {
    let mut bench = Bench::new();
    let (one, mut other) = UnixStream::pair().unwrap();
    let mut buf = [0; 4];
    let reader = bench.submit(recv(&one, &mut buf, 0));
    let watch = bench.submit(poll(&one, POLLRDHUP));
    other.write_all(b"data").unwrap();
    assert_eq!(bench.result(reader), 4);
    assert!(bench.waits(watch));
    drop(other);
    assert_ne!(bench.result(watch) & i32::from(POLLRDHUP), 0);
}

#[test]
fn urgent_data_does_not_keep_a_waiting_reader_spinning() {
    let mut bench = Bench::new();
    let (one, other) = tcp_pair();
    let mut buf = [0; 4];
    let token = bench.submit(recv(&one, &mut buf, 0));
    // SAFETY: sends one byte from the stack.
    let sent = unsafe { libc::send(other.as_raw_fd(), b"!".as_ptr().cast(), 1, libc::MSG_OOB) };
    assert_eq!(sent, 1);
    let start = Instant::now();
    let mut turns = 0;
    while start.elapsed() < Duration::from_millis(100) {
        assert!(bench.turn(Duration::from_millis(20)).is_empty());
        turns += 1;
    }
    assert!(turns < 20, "{turns} turns in 100 ms");
    bench.driver.cancel(token);
    assert_eq!(bench.result(token), -libc::ECANCELED);
}

#[test]
fn messages_wait_like_bytes() {
    let mut bench = Bench::new();
    let one = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut buf = [0_u8; 8];
    let mut part = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
    // SAFETY: a structure of numbers and null pointers.
    let mut msg: libc::msghdr = unsafe { std::mem::zeroed() };
    (msg.msg_iov, msg.msg_iovlen) = (&raw mut part, 1);
    let token = bench.submit(Op::RecvMsg { fd: one.as_raw_fd(), msg: &raw mut msg, flags: 0 });
    assert!(bench.waits(token));
    one.send_to(b"datagram!", one.local_addr().unwrap()).unwrap();
    assert_eq!(bench.result(token), 8);
    assert_ne!(msg.msg_flags & libc::MSG_TRUNC, 0);
}

#[test]
fn the_set_forgets_a_descriptor_that_nobody_waits_for() {
    let mut bench = Bench::new();
    let (one, mut other) = UnixStream::pair().unwrap();
    let mut buf = [0; 8];
    let fd = bench.driver.as_fd().try_clone_to_owned().unwrap();
    let token = bench.submit(recv(&one, &mut buf, 0));
    bench.driver.cancel(token);
    assert_eq!(bench.result(token), -libc::ECANCELED);
    other.write_all(b"a").unwrap();
    assert_eq!(polled(&fd, POLLIN), 0);
}
