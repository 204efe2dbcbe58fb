//! What is remembered of a descriptor whose owner says when it closes it, and what must not be.

#![allow(unsafe_code, reason = "makes messages, duplicates descriptors")]

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::ptr;
use std::thread;
use std::time::{Duration, Instant};

use common::{Bench, poll, polled, read, recv, replace, reset, send, set_option, tcp_pair, write};
use libc::{MSG_DONTWAIT, MSG_OOB, MSG_PEEK, MSG_WAITALL, POLLERR, POLLHUP, POLLIN, POLLRDHUP};
use ringway_driver::{Driver, Op};

/// Long enough for what was sent over loopback to have arrived, turn included.
const ARRIVAL: Duration = Duration::from_millis(20);

/// A driver that has adopted one end, and has found out that there is nothing to receive.
fn drained<S: AsRawFd>((one, other): (S, S)) -> (Bench, S, S) {
    let mut bench = Bench::new();
    bench.driver.adopt(one.as_raw_fd());
    let mut buf = [0; 8];
    let token = bench.submit(recv(&one, &mut buf, 0));
    bench.turn(Duration::ZERO);
    bench.driver.cancel(token);
    assert_eq!(bench.result(token), -libc::ECANCELED);
    while !bench.turn(Duration::ZERO).is_empty() {}
    (bench, one, other)
}

/// Lets the set report what has arrived.
fn hear(bench: &mut Bench) {
    thread::sleep(ARRIVAL);
    assert_eq!(bench.turn(Duration::ZERO), []);
}

/// At once if `now`, else by submission.
fn receive(bench: &mut Bench, now: bool, op: Op) -> i32 {
    if now {
        bench.try_now(op).expect("the descriptor is known to be ready")
    } else {
        bench.run(op)
    }
}

#[test]
fn what_has_said_would_block_is_not_tried_again_before_the_set_says_so() {
    let (mut bench, one, mut other) = drained(tcp_pair());
    other.write_all(b"data").unwrap();
    thread::sleep(ARRIVAL);
    let mut buf = [0; 8];
    assert_eq!(bench.try_now(recv(&one, &mut buf, 0)), None, "no turn has looked");
    bench.turn(Duration::ZERO);
    assert_eq!(bench.try_now(recv(&one, &mut buf, 0)), Some(4));
}

#[test]
fn what_has_been_tried_at_once_is_not_tried_again_by_the_submission_behind_it() {
    for adopted in [false, true] {
        let mut bench = Bench::new();
        let (one, mut other) = UnixStream::pair().unwrap();
        bench.adopt_if(adopted, &one);
        let mut buf = [0; 8];
        assert_eq!(bench.try_now(recv(&one, &mut buf, 0)), None);
        other.write_all(b"data").unwrap();
        let token = bench.submit(recv(&one, &mut buf, 0));
        assert_eq!(bench.driver.stats().waiting, 1, "it waits although there is data");
        assert_eq!(bench.result(token), 4);
        // Only the one that follows at once.
        assert_eq!(bench.try_now(recv(&one, &mut buf, 0)), None);
        other.write_all(b"more").unwrap();
        bench.turn(ARRIVAL);
        bench.submit(recv(&one, &mut buf, 0));
        assert_eq!(bench.driver.stats().waiting, 0);
        assert_eq!(bench.turn(Duration::ZERO).len(), 1);
    }
}

#[test]
fn an_operation_at_once_does_not_overtake_one_that_waits() {
    for adopted in [false, true] {
        let mut bench = Bench::new();
        let (one, mut other) = UnixStream::pair().unwrap();
        bench.adopt_if(adopted, &one);
        let (mut first, mut second) = ([0; 2], [0; 2]);
        let token = bench.submit(recv(&one, &mut first, 0));
        other.write_all(b"1234").unwrap();
        assert_eq!(bench.try_now(recv(&one, &mut second, 0)), None);
        assert_eq!(bench.result(token), 2);
        assert_eq!(bench.try_now(recv(&one, &mut second, 0)), Some(2));
        assert_eq!((&first, &second), (b"12", b"34"));
    }
}

#[test]
fn an_operation_at_once_leaves_nothing_half_done() {
    let (mut bench, one, mut other) = drained(tcp_pair());
    other.write_all(b"abc").unwrap();
    hear(&mut bench);
    let mut buf = [0; 6];
    assert_eq!(bench.try_now(recv(&one, &mut buf, MSG_WAITALL)), None);
    let token = bench.submit(recv(&one, &mut buf, MSG_WAITALL));
    assert!(bench.waits(token));
    other.write_all(b"def").unwrap();
    assert_eq!(bench.result(token), 6);
    assert_eq!(&buf, b"abcdef");
}

#[test]
fn a_receive_told_not_to_wait_is_made_whatever_is_known() {
    let (mut bench, one, mut other) = drained(tcp_pair());
    let mut buf = [0; 8];
    assert_eq!(bench.try_now(recv(&one, &mut buf, MSG_DONTWAIT)), Some(-libc::EAGAIN));
    other.write_all(b"data").unwrap();
    thread::sleep(ARRIVAL);
    assert_eq!(bench.try_now(recv(&one, &mut buf, MSG_DONTWAIT)), Some(4));
}

// Short receives: after each there is more to come of which no event will tell.

#[test]
fn after_a_short_receive_new_data_is_heard_of() {
    for now in [false, true] {
        let (mut bench, one, mut other) = drained(tcp_pair());
        let mut buf = [0; 8];
        for part in [&b"one"[..], b"three", b"no"] {
            other.write_all(part).unwrap();
            if now {
                hear(&mut bench);
            }
            assert_eq!(receive(&mut bench, now, recv(&one, &mut buf, 0)), part.len() as i32);
            assert_eq!(bench.try_now(recv(&one, &mut buf, 0)), None);
        }
    }
}

#[test]
fn a_receive_that_fills_its_buffer_leaves_the_rest_to_the_next() {
    let (mut bench, one, mut other) = drained(tcp_pair());
    other.write_all(b"abcde").unwrap();
    hear(&mut bench);
    let mut buf = [0; 2];
    assert_eq!(bench.try_now(recv(&one, &mut buf, 0)), Some(2));
    assert_eq!(bench.try_now(recv(&one, &mut buf, MSG_PEEK)), Some(2));
    assert_eq!(bench.try_now(recv(&one, &mut [0; 8], MSG_PEEK)), Some(3), "short, and still there");
    assert_eq!(bench.run(recv(&one, &mut buf, 0)), 2);
    assert_eq!(bench.run(recv(&one, &mut buf, 0)), 1);
}

#[test]
fn the_end_that_came_with_the_data_is_found_behind_it() {
    for now in [false, true] {
        let (mut bench, one, mut other) = drained(tcp_pair());
        other.write_all(b"bye").unwrap();
        drop(other);
        hear(&mut bench);
        let mut buf = [0; 8];
        assert_eq!(receive(&mut bench, now, recv(&one, &mut buf, 0)), 3);
        assert_eq!(receive(&mut bench, now, recv(&one, &mut buf, 0)), 0);
        assert_eq!(receive(&mut bench, now, recv(&one, &mut buf, 0)), 0, "and stays");
    }
}

#[test]
fn a_reset_is_an_error_once_and_then_the_end() {
    let (mut bench, one, other) = drained(tcp_pair());
    reset(other);
    hear(&mut bench);
    let mut buf = [0; 8];
    assert_eq!(bench.try_now(recv(&one, &mut buf, 0)), Some(-libc::ECONNRESET));
    assert_eq!(bench.try_now(recv(&one, &mut buf, 0)), Some(0));
    assert_eq!(bench.try_now(send(&one, b"x")), Some(-libc::EPIPE));
}

#[test]
fn data_behind_urgent_data_is_found() {
    for now in [false, true] {
        let (mut bench, one, mut other) = drained(tcp_pair());
        other.write_all(b"ab").unwrap();
        // SAFETY: sends one byte of a constant.
        let sent = unsafe { libc::send(other.as_raw_fd(), b"!".as_ptr().cast(), 1, MSG_OOB) };
        assert_eq!(sent, 1);
        other.write_all(b"cd").unwrap();
        hear(&mut bench);
        let mut buf = [0; 8];
        assert_eq!(receive(&mut bench, now, recv(&one, &mut buf, 0)), 2, "up to the mark");
        assert_eq!(receive(&mut bench, now, recv(&one, &mut buf, 0)), 2);
        assert_eq!(&buf[..2], b"cd");
    }
}

/// Sends bytes and a descriptor with them.
fn send_with_descriptor(to: &UnixStream, bytes: &[u8], passed: RawFd) {
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut control = [0_u64; 4];
    // SAFETY: the message names one part, and room for one header with one descriptor.
    unsafe {
        let mut msg: libc::msghdr = std::mem::zeroed();
        (msg.msg_iov, msg.msg_iovlen) = (&raw mut part, 1);
        msg.msg_control = control.as_mut_ptr().cast();
        msg.msg_controllen = libc::CMSG_SPACE(4) as usize;
        let header = libc::CMSG_FIRSTHDR(&raw const msg);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(4) as usize;
        libc::CMSG_DATA(header).cast::<RawFd>().write_unaligned(passed);
        assert_eq!(libc::sendmsg(to.as_raw_fd(), &raw const msg, 0), bytes.len() as isize);
    }
}

#[test]
fn data_behind_a_passed_descriptor_is_found() {
    for now in [false, true] {
        let (mut bench, one, mut other) = drained(UnixStream::pair().unwrap());
        send_with_descriptor(&other, b"ab", one.as_raw_fd());
        other.write_all(b"cde").unwrap();
        hear(&mut bench);
        let mut buf = [0; 8];
        assert_eq!(receive(&mut bench, now, recv(&one, &mut buf, 0)), 2, "a receive stops there");
        assert_eq!(receive(&mut bench, now, recv(&one, &mut buf, 0)), 3);
    }
}

#[test]
fn datagrams_and_events_that_fill_no_buffer_are_followed_by_others() {
    let (mut bench, one, other) = drained(UnixDatagram::pair().unwrap());
    for text in [&b"one"[..], b"", b"three"] {
        other.send(text).unwrap();
    }
    hear(&mut bench);
    for len in [3, 0, 5] {
        assert_eq!(bench.try_now(recv(&one, &mut [0; 8], 0)), Some(len));
    }
    assert_eq!(bench.try_now(recv(&one, &mut [0; 8], 0)), None);

    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    bench.driver.adopt(udp.as_raw_fd());
    for text in [&b"four"[..], b"five5"] {
        udp.send_to(text, udp.local_addr().unwrap()).unwrap();
    }
    assert_eq!(bench.run(recv(&udp, &mut [0; 8], 0)), 4);
    assert_eq!(bench.run(recv(&udp, &mut [0; 8], 0)), 5);
}

#[test]
fn a_short_message_in_parts_is_short_as_a_whole() {
    let (mut bench, one, mut other) = drained(tcp_pair());
    let (mut head, mut body) = ([0_u8; 2], [0_u8; 4]);
    let mut parts = [&mut head[..], &mut body[..]]
        .map(|part| libc::iovec { iov_base: part.as_mut_ptr().cast(), iov_len: part.len() });
    // SAFETY: a structure of numbers and null pointers.
    let mut msg: libc::msghdr = unsafe { std::mem::zeroed() };
    (msg.msg_iov, msg.msg_iovlen) = (parts.as_mut_ptr(), parts.len());
    let op = Op::RecvMsg { fd: one.as_raw_fd(), msg: &raw mut msg, flags: 0 };
    // Fills both parts, and leaves one byte.
    other.write_all(b"1234567").unwrap();
    hear(&mut bench);
    assert_eq!(bench.try_now(op), Some(6));
    assert_eq!(bench.try_now(op), Some(1));
    // That was short: not even new data makes it try before a turn has looked.
    other.write_all(b"89").unwrap();
    thread::sleep(ARRIVAL);
    assert_eq!(bench.try_now(op), None);
    assert_eq!(bench.run(op), 2);
}

#[test]
fn a_listener_gives_all_that_came_with_one_event() {
    let mut bench = Bench::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    bench.driver.adopt(listener.as_raw_fd());
    let (addr, addr_len) = (ptr::null_mut(), ptr::null_mut());
    let accept = Op::Accept { fd: listener.as_raw_fd(), addr, addr_len };
    let waiting = bench.submit(accept);
    assert!(bench.waits(waiting));
    let clients = [(); 3].map(|()| TcpStream::connect(listener.local_addr().unwrap()).unwrap());
    let accepted = [bench.result(waiting), bench.try_now(accept).unwrap(), bench.run(accept)];
    for (fd, client) in accepted.into_iter().zip(&clients) {
        // SAFETY: a new descriptor, which nobody else owns.
        let accepted = unsafe { TcpStream::from_raw_fd(fd) };
        assert_eq!(accepted.peer_addr().unwrap(), client.local_addr().unwrap());
    }
    assert_eq!(bench.try_now(accept), None);
}

// One descriptor, several who wait.

#[test]
fn a_reader_and_a_writer_wait_on_one_adopted_socket() {
    let mut bench = Bench::new();
    let (one, mut other) = tcp_pair();
    bench.driver.adopt(one.as_raw_fd());
    let filler = vec![7; 1 << 20];
    let mut filled = 0;
    while let Some(sent) = bench.try_now(send(&one, &filler)) {
        filled += usize::try_from(sent).unwrap();
    }
    let mut buf = [0; 8];
    let reader = bench.submit(recv(&one, &mut buf, 0));
    let writer = bench.submit(send(&one, b"tail"));
    assert!(bench.waits(reader) && bench.waits(writer));
    other.write_all(b"hi").unwrap();
    assert_eq!(bench.result(reader), 2);
    assert!(bench.waits(writer));
    let drain = thread::spawn(move || {
        let mut drained = vec![0; filled + 4];
        other.read_exact(&mut drained).unwrap();
        drained
    });
    assert_eq!(bench.result(writer), 4);
    assert_eq!(drain.join().unwrap()[filled..], *b"tail");
}

#[test]
fn two_readers_of_an_adopted_socket_share_what_one_event_brought() {
    let (mut bench, one, mut other) = drained(tcp_pair());
    let (mut first, mut second, mut third) = ([0; 2], [0; 2], [0; 2]);
    let tokens = [&mut first, &mut second, &mut third].map(|buf| bench.submit(recv(&one, buf, 0)));
    other.write_all(b"1234").unwrap();
    assert_eq!((bench.result(tokens[0]), bench.result(tokens[1])), (2, 2));
    assert!(bench.waits(tokens[2]));
    other.write_all(b"56").unwrap();
    assert_eq!(bench.result(tokens[2]), 2);
    assert_eq!((&first, &second, &third), (b"12", b"34", b"56"));
}

#[test]
fn cancelling_leaves_the_others_on_an_adopted_socket_waiting() {
    let (mut bench, one, mut other) = drained(tcp_pair());
    let (mut first, mut second) = ([0; 2], [0; 2]);
    let a = bench.submit(recv(&one, &mut first, 0));
    let b = bench.submit(recv(&one, &mut second, 0));
    bench.driver.cancel(a);
    assert_eq!(bench.result(a), -libc::ECANCELED);
    assert!(bench.waits(b));
    other.write_all(b"34").unwrap();
    assert_eq!(bench.result(b), 2);
    assert_eq!(&second, b"34");
}

// The peer's end, errors, the error queue.

#[test]
fn the_peers_end_is_seen_while_nothing_is_received() {
    for adopted in [false, true] {
        let (one, mut other) = tcp_pair();
        let mut bench = Bench::new();
        bench.adopt_if(adopted, &one);
        let token = bench.submit(poll(&one, POLLRDHUP));
        other.write_all(b"a request that nobody reads yet").unwrap();
        assert!(bench.waits(token));
        other.shutdown(Shutdown::Write).unwrap();
        assert_eq!(bench.result(token), i32::from(POLLRDHUP));
        assert_eq!(bench.try_now(poll(&one, POLLRDHUP)), Some(i32::from(POLLRDHUP)), "it stays so");
        assert!(bench.run(recv(&one, &mut [0; 64], 0)) > 0);
        assert_eq!(bench.run(recv(&one, &mut [0; 64], 0)), 0);
    }
}

#[test]
fn the_peers_reset_is_seen_while_nothing_is_received() {
    for (adopted, events) in [(false, POLLRDHUP), (true, POLLRDHUP), (false, 0), (true, 0)] {
        let (one, other) = tcp_pair();
        let mut bench = Bench::new();
        bench.adopt_if(adopted, &one);
        let token = bench.submit(poll(&one, events));
        assert!(bench.waits(token));
        reset(other);
        let seen = bench.result(token);
        assert_eq!(seen & i32::from(POLLERR | POLLHUP), i32::from(POLLERR | POLLHUP));
        assert_eq!(seen & i32::from(POLLRDHUP), i32::from(events));
    }
}

#[test]
fn a_poll_hears_of_kinds_of_events_that_have_no_edge_of_their_own() {
    let (mut bench, one, mut other) = drained(tcp_pair());
    let token = bench.submit(poll(&one, libc::POLLRDNORM));
    assert!(bench.waits(token));
    other.write_all(b"x").unwrap();
    assert_eq!(bench.result(token), i32::from(libc::POLLRDNORM));
}

#[test]
fn the_error_queue_is_announced_and_read_past_a_waiting_reader() {
    for adopted in [false, true] {
        let (one, mut other) = tcp_pair();
        set_option(&one, libc::SOL_SOCKET, libc::SO_ZEROCOPY, &1_i32);
        let mut bench = Bench::new();
        bench.adopt_if(adopted, &one);
        let (mut inbox, mut control) = ([0; 8], [0_u64; 16]);
        let reader = bench.submit(recv(&one, &mut inbox, 0));
        let watch = bench.submit(poll(&one, 0));
        assert!(bench.waits(watch) && bench.waits(reader));
        let (fd, buf, len) = (one.as_raw_fd(), b"zero".as_ptr(), 4);
        assert_eq!(bench.run(Op::Send { fd, buf, len, flags: libc::MSG_ZEROCOPY }), 4);
        other.read_exact(&mut [0; 4]).unwrap();
        assert_eq!(bench.result(watch), i32::from(POLLERR));

        // SAFETY: a structure of numbers and null pointers.
        let mut msg: libc::msghdr = unsafe { std::mem::zeroed() };
        msg.msg_control = control.as_mut_ptr().cast();
        msg.msg_controllen = size_of_val(&control);
        let msg = &raw mut msg;
        let notification = Op::RecvMsg { fd, msg, flags: libc::MSG_ERRQUEUE };
        assert_eq!(bench.run(notification), 0);
        assert_ne!(control[0], 0, "it came with its header");
        assert_eq!(bench.try_now(notification), Some(-libc::EAGAIN));
        let watch = bench.submit(poll(&one, 0));
        assert!(bench.waits(watch) && bench.waits(reader));
        other.write_all(b"data").unwrap();
        assert_eq!(bench.result(reader), 4);
    }
}

#[test]
fn an_adopted_socket_connects_or_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // SAFETY: a structure of numbers; sockaddr_in is a prefix of the storage.
    let addr = unsafe {
        let mut storage: libc::sockaddr_storage = std::mem::zeroed();
        let addr = (&raw mut storage).cast::<libc::sockaddr_in>();
        (*addr).sin_family = libc::AF_INET as u16;
        (*addr).sin_port = port.to_be();
        (*addr).sin_addr.s_addr = u32::from(std::net::Ipv4Addr::LOCALHOST).to_be();
        storage
    };
    let mut bench = Bench::new();
    let connect = |bench: &mut Bench| {
        let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: the call gives a new descriptor, which nobody else owns.
        let socket = unsafe { TcpStream::from_raw_fd(libc::socket(libc::AF_INET, kind, 0)) };
        let fd = socket.as_raw_fd();
        bench.driver.adopt(fd);
        let op = Op::Connect { fd, addr: &raw const addr, addr_len: 16 };
        assert_eq!(bench.try_now(op), None);
        let result = bench.run(op);
        (socket, result)
    };
    let (one, result) = connect(&mut bench);
    assert_eq!(result, 0);
    let (mut other, _) = listener.accept().unwrap();
    assert_eq!(bench.run(send(&one, b"hello")), 5);
    other.read_exact(&mut [0; 5]).unwrap();
    other.write_all(b"hi").unwrap();
    assert_eq!(bench.run(recv(&one, &mut [0; 8], 0)), 2);
    drop(listener);
    assert_eq!(connect(&mut bench).1, -libc::ECONNREFUSED);
}

#[test]
fn an_adopted_pipe_is_read_until_its_writers_are_gone() {
    let mut bench = Bench::new();
    let (reader, mut writer) = std::io::pipe().unwrap();
    bench.driver.adopt(reader.as_raw_fd());
    let mut buf = [0; 4];
    let token = bench.submit(read(&reader, &mut buf, u64::MAX));
    assert!(bench.waits(token));
    writer.write_all(b"abcdef").unwrap();
    assert_eq!(bench.result(token), 4);
    assert_eq!(bench.run(read(&reader, &mut buf, u64::MAX)), 2);
    let token = bench.submit(read(&reader, &mut buf, u64::MAX));
    assert!(bench.waits(token));
    drop(writer);
    assert_eq!(bench.result(token), 0);
}

fn parts(of: &mut [u8]) -> [libc::iovec; 2] {
    let (head, tail) = of.split_at_mut(of.len() / 2);
    [head, tail].map(|part| libc::iovec { iov_base: part.as_mut_ptr().cast(), iov_len: part.len() })
}

#[test]
fn reads_and_writes_in_parts_wait_on_streams_like_whole_ones() {
    let mut bench = Bench::new();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let mut buf = [0; 8];
    let (iov, fd, offset) = (parts(&mut buf), reader.as_raw_fd(), u64::MAX);
    let token = bench.submit(Op::ReadV { fd, iov: iov.as_ptr(), count: 2, offset });
    assert!(bench.waits(token));
    assert_eq!((bench.driver.stats().waiting, bench.driver.stats().threads), (1, 0));
    writer.write_all(b"abcdef").unwrap();
    assert_eq!(bench.result(token), 6);
    assert_eq!(&buf[..6], b"abcdef");

    let filler = [0; 4096];
    let fd = writer.as_raw_fd();
    while bench.try_now(write(&writer, &filler, u64::MAX)).is_some() {}
    bench.turn(Duration::ZERO);
    let mut text = *b"tail";
    let iov = parts(&mut text);
    let tail = Op::WriteV { fd, iov: iov.as_ptr(), count: 2, offset };
    // Blocking: a thread waits.
    let threaded = bench.submit(tail);
    assert!(bench.waits(threaded));
    assert_eq!((bench.driver.stats().waiting, bench.driver.stats().running), (0, 1));
    // SAFETY: sets a flag of an open descriptor.
    assert_eq!(unsafe { libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK) }, 0);
    let ready = bench.submit(tail);
    assert!(bench.waits(ready));
    assert_eq!(bench.driver.stats().waiting, 1);
    drop(thread::spawn(move || std::io::copy(&mut { reader }, &mut std::io::sink())));
    assert_eq!((bench.result(threaded), bench.result(ready)), (4, 4));
    drop(writer);
}

#[test]
fn an_adopted_file_is_no_obstacle() {
    let mut bench = Bench::new();
    let file = tempfile::tempfile().unwrap();
    bench.driver.adopt(file.as_raw_fd());
    assert_eq!(bench.run(write(&file, b"text", 0)), 4);
    assert_eq!(bench.run(read(&file, &mut [0; 8], 0)), 4);
    bench.driver.forget(file.as_raw_fd());
}

// Adopting, forgetting, and numbers that are used again.

#[test]
fn forgetting_ends_those_who_wait_and_nobody_else() {
    let (mut bench, one, _other) = drained(tcp_pair());
    let (apart, _peer) = tcp_pair();
    let mut buf = [0; 8];
    let waiting = [bench.submit(recv(&one, &mut buf, 0)), bench.submit(poll(&one, POLLIN))];
    let mut aside = [0; 8];
    let elsewhere = bench.submit(recv(&apart, &mut aside, 0));
    bench.driver.forget(apart.as_raw_fd());
    bench.driver.forget(one.as_raw_fd());
    for token in waiting {
        assert_eq!(bench.result(token), -libc::ECANCELED);
    }
    assert!(bench.waits(elsewhere), "it was not adopted");
    bench.driver.forget(-1);
    bench.driver.forget(RawFd::MAX);
    bench.driver.adopt(-1);
    bench.driver.cancel(elsewhere);
    assert_eq!(bench.result(elsewhere), -libc::ECANCELED);
}

#[test]
fn who_waits_when_a_descriptor_is_adopted_goes_on_waiting() {
    let mut bench = Bench::new();
    let (one, mut other) = tcp_pair();
    let (mut first, mut second) = ([0; 2], [0; 2]);
    let a = bench.submit(recv(&one, &mut first, 0));
    bench.driver.adopt(one.as_raw_fd());
    let b = bench.submit(recv(&one, &mut second, 0));
    assert!(bench.waits(a) && bench.waits(b));
    other.write_all(b"12").unwrap();
    assert_eq!(bench.result(a), 2);
    other.write_all(b"34").unwrap();
    assert_eq!(bench.result(b), 2);
    assert_eq!((&first, &second), (b"12", b"34"));
}

#[test]
fn a_number_that_was_forgotten_and_used_again_starts_anew() {
    for (adopted_before, adopted_after) in [(true, true), (true, false), (false, true)] {
        let mut bench = Bench::new();
        let (old, mut old_peer) = UnixStream::pair().unwrap();
        let number = old.as_raw_fd();
        bench.adopt_if(adopted_before, &old);
        let mut buf = [0; 8];
        let token = bench.submit(recv(&old, &mut buf, 0));
        bench.turn(Duration::ZERO);
        bench.driver.cancel(token);
        assert_eq!(bench.result(token), -libc::ECANCELED);
        bench.driver.forget(number);
        let (new, mut new_peer) = UnixStream::pair().unwrap();
        // The copy keeps the old socket alive, so the kernel does not clean up behind us.
        let _copy = old.try_clone().unwrap();
        let reused = replace(old, &new);
        bench.adopt_if(adopted_after, &reused);
        let token = bench.submit(recv(&reused, &mut buf, 0));
        old_peer.write_all(b"old").unwrap();
        assert!(bench.waits(token));
        new_peer.write_all(b"newer").unwrap();
        assert_eq!(bench.result(token), 5);
    }
}

#[test]
fn adopting_anew_mends_a_descriptor_that_was_closed_without_a_word() {
    let mut bench = Bench::new();
    let (old, _old_peer) = tcp_pair();
    let number = old.as_raw_fd();
    bench.driver.adopt(number);
    let mut buf = [0; 8];
    let token = bench.submit(recv(&old, &mut buf, 0));
    assert!(bench.waits(token));
    bench.driver.cancel(token);
    assert_eq!(bench.result(token), -libc::ECANCELED);
    let (new, mut peer) = tcp_pair();
    let reused = replace(old, &new);
    bench.driver.adopt(number);
    let token = bench.submit(recv(&reused, &mut buf, 0));
    assert!(bench.waits(token));
    peer.write_all(b"data").unwrap();
    assert_eq!(bench.result(token), 4);
}

#[test]
fn a_forgotten_descriptor_is_out_of_the_set() {
    let (mut bench, one, mut other) = drained(tcp_pair());
    let set = bench.driver.as_fd().try_clone_to_owned().unwrap();
    bench.driver.forget(one.as_raw_fd());
    bench.turn(Duration::ZERO);
    other.write_all(b"x").unwrap();
    thread::sleep(ARRIVAL);
    assert_eq!(polled(&set, POLLIN), 0);
}

#[test]
fn an_outsider_sees_an_adopted_descriptor_become_ready() {
    let (mut bench, one, mut other) = drained(tcp_pair());
    let set = bench.driver.as_fd().try_clone_to_owned().unwrap();
    bench.turn(Duration::ZERO);
    let mut buf = [0; 8];
    let token = bench.submit(recv(&one, &mut buf, 0));
    assert_eq!(polled(&set, POLLIN), 0);
    other.write_all(b"data").unwrap();
    thread::sleep(ARRIVAL);
    assert_eq!(polled(&set, POLLIN), POLLIN);
    assert_eq!(bench.turn(Duration::ZERO).len(), 1);
    assert_eq!(polled(&set, POLLIN), 0);
    assert!(bench.waits(token), "answered, by the turn above");
    let _forgotten = bench.submit(recv(&one, &mut buf, 0));
    bench.driver.forget(one.as_raw_fd());
    assert_eq!(polled(&set, POLLIN), POLLIN, "an operation that forgetting has ended");
}

// Many.

#[test]
fn those_who_have_something_to_do_at_every_turn_do_not_starve_the_others() {
    let (mut bench, one, mut other) = drained(tcp_pair());
    let mut buf = [0; 8];
    let token = bench.submit(recv(&one, &mut buf, 0));
    other.write_all(b"data").unwrap();
    thread::sleep(ARRIVAL);
    for turns in 1.. {
        bench.submit(Op::Nop);
        let out = bench.turn(Duration::ZERO);
        assert!(!out.is_empty());
        if out.iter().any(|completion| completion.token == token) {
            break;
        }
        assert!(turns < 8, "others' readiness waits for {turns} turns");
    }
}

#[test]
fn a_descriptor_that_is_always_ready_does_not_put_off_the_turn_for_ever() {
    let mut bench = Bench::new();
    let (one, _) = UnixStream::pair().unwrap();
    bench.driver.adopt(one.as_raw_fd());
    for _ in 0..2 {
        let answers = (0..10_000)
            .take_while(|_| bench.try_now(recv(&one, &mut [0; 1], 0)) == Some(0))
            .count();
        assert!((64..1000).contains(&answers), "{answers} answers in a row");
        assert_eq!(bench.run(recv(&one, &mut [0; 1], 0)), 0);
    }
}

#[test]
fn many_idle_waiters_do_not_hold_up_a_busy_one() {
    let mut bench = Bench::new();
    let idle: Vec<_> = (0..500).map(|_| UnixStream::pair().unwrap()).collect();
    let mut buf = [0; 1];
    for (at, (one, _)) in idle.iter().enumerate() {
        bench.adopt_if(at % 2 == 0, one);
        bench.submit(recv(one, &mut buf, 0));
    }
    let (one, other) = tcp_pair();
    bench.driver.adopt(one.as_raw_fd());
    bench.driver.adopt(other.as_raw_fd());
    let start = Instant::now();
    for _ in 0..1000 {
        let mut pong = [0; 4];
        let answer = bench.submit(recv(&one, &mut pong, 0));
        assert_eq!(bench.run(send(&other, b"ping")), 4);
        assert_eq!(bench.result(answer), 4);
    }
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(bench.driver.stats().waiting, 500);
}

#[test]
fn ten_thousand_descriptors_are_served_and_cancelled() {
    const PAIRS: usize = 5_000;
    let limit = libc::rlimit { rlim_cur: 12_000, rlim_max: 12_000 };
    // SAFETY: names a structure on the stack.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        // An ordinary user below that limit cannot have so many.
        return;
    }
    let mut bench = Bench::new();
    let pairs: Vec<_> = (0..PAIRS).map(|_| UnixStream::pair().unwrap()).collect();
    let mut buffers = vec![[0_u8; 1]; PAIRS];
    for (at, (one, _)) in pairs.iter().enumerate() {
        bench.adopt_if(at % 2 == 0, one);
    }
    for round in 0..2 {
        let mut tokens = Vec::new();
        for ((one, _), buf) in pairs.iter().zip(&mut buffers) {
            tokens.push(bench.submit(recv(one, buf, 0)));
        }
        assert_eq!(bench.driver.stats().waiting, PAIRS);
        for (at, (_, other)) in pairs.iter().enumerate() {
            (&mut &*other).write_all(&[at as u8 ^ round]).unwrap();
        }
        let mut done = 0;
        while done < PAIRS {
            let out = bench.turn(Duration::from_secs(20));
            assert!(!out.is_empty());
            assert!(out.iter().all(|completion| completion.result == 1));
            done += out.len();
        }
        assert!((0..PAIRS).all(|at| buffers[at] == [at as u8 ^ round]));
    }
    let tokens: Vec<_> = pairs
        .iter()
        .zip(&mut buffers)
        .map(|((one, _), buf)| bench.submit(recv(one, buf, 0)))
        .collect();
    for token in &tokens {
        bench.driver.cancel(*token);
    }
    for (one, _) in &pairs {
        bench.driver.forget(one.as_raw_fd());
    }
    let mut out = Vec::new();
    while out.len() < PAIRS {
        bench.driver.turn(Some(Duration::ZERO), &mut out).unwrap();
    }
    assert!(out.iter().all(|completion| completion.result == -libc::ECANCELED));
    assert_eq!((bench.driver.in_flight(), bench.driver.stats().waiting), (0, 0));
}
