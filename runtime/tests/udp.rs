//! UDP on every backend.

#[path = "support/policies.rs"]
mod policies;
mod support;

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use ringway::buf::IoBufExt;
use ringway::net::{Ecn, RecvMeta, SendMeta, UdpOptions, UdpSocket};
use ringway::time::{sleep, timeout};
use ringway::{Feature, Mask, Runtime};
use support::pattern;

on_each_backend_and_rung!(
    datagrams_keep_their_boundaries_and_their_sender,
    a_datagram_that_is_too_long_for_the_buffer_is_cut_and_says_so,
    a_peek_leaves_the_datagram_there,
    a_receive_waits_for_a_datagram_and_a_dropped_one_leaves_the_socket_working,
    a_connected_socket_hears_its_peer_only,
    a_peer_that_nobody_is_at_refuses,
    a_datagram_that_is_too_long_to_send_is_an_error,
    segments_arrive_as_datagrams,
    segments_larger_than_a_packet_arrive_too,
    a_receive_takes_several_datagrams_where_the_kernel_joins_them,
    ecn_arrives_as_it_was_sent,
    the_destination_is_told_and_can_be_answered_from,
    an_ipv6_socket_for_both_families_tells_both,
    multicast_reaches_members_until_they_leave,
    a_socket_moves_through_std,
    options_reach_the_kernel,
);

const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Long enough for anything that is not lost.
const SOON: Duration = Duration::from_secs(5);

fn local() -> (UdpSocket, SocketAddr) {
    at(LOCAL).unwrap()
}

fn at(addr: SocketAddr) -> Option<(UdpSocket, SocketAddr)> {
    let options = UdpOptions::new().recv_buffer(1 << 20);
    match UdpSocket::bind_with(addr, &options) {
        Ok(socket) => {
            let addr = socket.local_addr().unwrap();
            Some((socket, addr))
        }
        Err(error) if addr.is_ipv6() => {
            eprintln!("SKIPPED: no IPv6 on this host: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

async fn recv(socket: &UdpSocket, len: usize) -> (RecvMeta, Vec<u8>) {
    let received = timeout(SOON, socket.recv_from(Vec::with_capacity(len))).await;
    let (meta, buf) = received.expect("nothing came");
    (meta.unwrap(), buf)
}

fn datagrams_keep_their_boundaries_and_their_sender(rt: Runtime) {
    rt.block_on(async {
        let ((one, from), (other, to)) = (local(), local());
        for len in [1, 0, 100, 1472, 9000, 65_507] {
            let (sent, _) = one.send_to(pattern(len), to).await;
            assert_eq!(sent.unwrap(), len);
        }
        for len in [1, 0, 100, 1472, 9000, 65_507] {
            let (meta, buf) = recv(&other, 65_536).await;
            assert_eq!((meta.len, meta.from, meta.truncated), (len, from, false));
            assert!(buf == pattern(len));
            assert_eq!(meta.datagrams(&buf).count(), usize::from(len > 0));
        }
    });
}

fn a_datagram_that_is_too_long_for_the_buffer_is_cut_and_says_so(rt: Runtime) {
    rt.block_on(async {
        let ((one, _), (other, to)) = (local(), local());
        one.send_to(b"0123456789".as_slice(), to).await.0.unwrap();
        one.send_to(b"0123".as_slice(), to).await.0.unwrap();
        let (meta, buf) = other.recv_from(vec![b'x'; 8].slice(2..6)).await;
        let meta = meta.unwrap();
        assert_eq!((meta.len, meta.truncated), (4, true));
        assert_eq!(buf.into_inner(), b"xx0123xx");
        let (meta, buf) = other.recv_from(vec![0; 4]).await;
        assert!(!meta.unwrap().truncated);
        assert_eq!(buf, b"0123");
    });
}

fn a_peek_leaves_the_datagram_there(rt: Runtime) {
    rt.block_on(async {
        let ((one, from), (other, to)) = (local(), local());
        one.send_to(b"again".as_slice(), to).await.0.unwrap();
        let (meta, buf) = other.peek_from(vec![0; 5]).await;
        assert_eq!((meta.unwrap().from, buf.as_slice()), (from, b"again".as_slice()));
        assert_eq!(recv(&other, 5).await.1, b"again");
    });
}

fn a_receive_waits_for_a_datagram_and_a_dropped_one_leaves_the_socket_working(rt: Runtime) {
    rt.block_on(async {
        let ((one, _), (other, to)) = (local(), local());
        for _ in 0..20 {
            timeout(Duration::from_micros(100), other.recv_from(vec![0; 9])).await.unwrap_err();
        }
        // Until cancels have been answered they may still win a datagram.
        sleep(Duration::from_millis(20)).await;
        let other = Rc::new(other);
        let receiver = other.clone();
        let receiving = ringway::spawn(async move { recv(&receiver, 9).await.1 });
        sleep(Duration::from_millis(5)).await;
        one.send_to(b"late".as_slice(), to).await.0.unwrap();
        assert_eq!(receiving.await.unwrap(), b"late");
    });
}

fn a_connected_socket_hears_its_peer_only(rt: Runtime) {
    rt.block_on(async {
        let ((one, one_at), (other, other_at), (third, _)) = (local(), local(), local());
        one.connect(other_at).await.unwrap();
        assert_eq!(one.peer_addr().unwrap(), other_at);
        third.send_to(b"unheard".as_slice(), one_at).await.0.unwrap();
        other.send_to(b"heard".as_slice(), one_at).await.0.unwrap();
        let (received, buf) = one.recv(vec![0; 5]).await;
        assert_eq!((received.unwrap(), buf.as_slice()), (5, b"heard".as_slice()));
        one.send(b"back".as_slice()).await.0.unwrap();
        one.send_segments(b"more".as_slice(), 2, None).await.0.unwrap();
        for expected in [b"back".as_slice(), b"mo", b"re"] {
            assert_eq!(recv(&other, 9).await.1, expected);
        }
    });
}

fn a_peer_that_nobody_is_at_refuses(rt: Runtime) {
    rt.block_on(async {
        let ((one, _), (other, to)) = (local(), local());
        drop(other);
        one.connect(to).await.unwrap();
        // With a receive waiting, and with the error there before.
        let one = Rc::new(one);
        let receiver = one.clone();
        let receiving = ringway::spawn(async move { receiver.recv(vec![0; 9]).await.0 });
        support::yield_now().await;
        one.send(b"x".as_slice()).await.0.unwrap();
        let received = timeout(SOON, receiving).await.expect("it still waits").unwrap();
        assert_eq!(received.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        one.send(b"x".as_slice()).await.0.unwrap();
        sleep(Duration::from_millis(5)).await;
        let sent = one.send(b"x".as_slice()).await.0;
        assert_eq!(sent.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

fn a_datagram_that_is_too_long_to_send_is_an_error(rt: Runtime) {
    rt.block_on(async {
        let ((one, _), (_other, to)) = (local(), local());
        for segments in [false, true] {
            let error = if segments {
                one.send_segments(vec![0; 200_000], 65_508, Some(to)).await.0.unwrap_err()
            } else {
                one.send_to(vec![0; 65_508], to).await.0.unwrap_err()
            };
            assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
        }
        let error = one.send_segments(vec![0; 9], 0, Some(to)).await.0.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}

fn segments_arrive_as_datagrams(rt: Runtime) {
    rt.block_on(async {
        let ((one, from), (other, to)) = (local(), local());
        // The last one short, none short, one alone, less than one, and more than one send takes.
        for (len, size) in
            [(65_536, 1200), (64_000, 1000), (500, 500), (10, 500), (0, 500), (200_000, 1472)]
        {
            let bytes = pattern(len);
            let expected = bytes.clone();
            let (sent, back) = one.send_segments(bytes, size, Some(to)).await;
            sent.unwrap();
            assert!(back == expected, "the buffer came back changed");
            let mut expected = expected.chunks(size);
            for _ in 0..len.div_ceil(size).max(1) {
                let (meta, buf) = recv(&other, 65_536).await;
                assert_eq!((meta.from, meta.segment_size), (from, None));
                assert!(buf == expected.next().unwrap_or_default(), "{len} by {size}");
            }
            assert_eq!(expected.next(), None);
        }
    });
}

/// Loopback's packets have 65,536 bytes; over IPv4 two datagrams of 40,000 do not fit into one send.
fn segments_larger_than_a_packet_arrive_too(rt: Runtime) {
    rt.block_on(async {
        let ((one, _), (other, to)) = (local(), local());
        one.send_segments(pattern(100_000), 40_000, Some(to)).await.0.unwrap();
        for expected in pattern(100_000).chunks(40_000) {
            assert!(recv(&other, 65_536).await.1 == expected);
        }
    });
}

fn a_receive_takes_several_datagrams_where_the_kernel_joins_them(rt: Runtime) {
    rt.block_on(async {
        let ((one, from), (other, to)) = (local(), local());
        let joins = rt.features().has(Feature::UdpGro);
        assert_eq!(other.set_gro(true).unwrap(), joins);
        one.send_segments(pattern(12_500), 1000, Some(to)).await.0.unwrap();
        let (mut datagrams, mut receives) = (Vec::new(), 0);
        while datagrams.len() < 13 {
            let (meta, buf) = recv(&other, 65_536).await;
            assert_eq!((meta.from, meta.truncated), (from, false));
            datagrams.extend(meta.datagrams(&buf).map(<[u8]>::to_vec));
            receives += 1;
        }
        assert!(datagrams.iter().map(Vec::as_slice).eq(pattern(12_500).chunks(1000)));
        // On loopback what was not cut on the way need not be joined.
        let whole = joins && rt.features().has(Feature::UdpGso);
        // Linux 5.10 cuts them on loopback all the same.
        assert!(receives == 13 || whole && receives < 13, "{receives} receives");
        assert!(!other.set_gro(false).unwrap());
        one.send_segments(pattern(2000), 1000, Some(to)).await.0.unwrap();
        assert_eq!(recv(&other, 65_536).await.0.len, 1000);
    });
}

fn ecn_arrives_as_it_was_sent(rt: Runtime) {
    rt.block_on(async {
        for addr in ["127.0.0.1:0", "[::1]:0"] {
            let addr = addr.parse().unwrap();
            let (Some((one, _)), Some((other, to))) = (at(addr), at(addr)) else { continue };
            other.set_recv_ecn(true).unwrap();
            for ecn in [Ecn::Ect0, Ecn::Ce, Ecn::NotEct, Ecn::Ect1] {
                let meta = SendMeta { ecn: Some(ecn), ..SendMeta::to(to) };
                one.send_with(b"x".as_slice(), &meta).await.0.unwrap();
                assert_eq!(recv(&other, 9).await.0.ecn, Some(ecn), "{addr}");
                let meta = SendMeta { segment_size: Some(2), ..meta };
                one.send_with(b"xyz".as_slice(), &meta).await.0.unwrap();
                for _ in 0..2 {
                    assert_eq!(recv(&other, 9).await.0.ecn, Some(ecn), "{addr}, in segments");
                }
            }
            other.set_recv_ecn(false).unwrap();
            one.send_to(b"x".as_slice(), to).await.0.unwrap();
            assert_eq!(recv(&other, 9).await.0.ecn, None);
            // To whom one is connected, without naming it.
            other.set_recv_ecn(true).unwrap();
            one.connect(to).await.unwrap();
            let meta = SendMeta { ecn: Some(Ecn::Ce), ..SendMeta::default() };
            one.send_with(b"x".as_slice(), &meta).await.0.unwrap();
            assert_eq!(recv(&other, 9).await.0.ecn, Some(Ecn::Ce));
        }
    });
}

fn the_destination_is_told_and_can_be_answered_from(rt: Runtime) {
    rt.block_on(async {
        // All of 127/8 is this host.
        let (server, at_all) = at("0.0.0.0:0".parse().unwrap()).unwrap();
        server.set_recv_destination(true).unwrap();
        let (client, client_at) = local();
        for host in ["127.0.0.1", "127.0.0.7", "127.1.2.3"] {
            let to = SocketAddr::new(host.parse().unwrap(), at_all.port());
            client.send_to(b"question".as_slice(), to).await.0.unwrap();
            let (meta, _) = recv(&server, 9).await;
            assert_eq!((meta.from, meta.to), (client_at, Some(to.ip())));
            let answer = SendMeta { from: meta.to, ..SendMeta::to(meta.from) };
            server.send_with(b"answer".as_slice(), &answer).await.0.unwrap();
            assert_eq!(recv(&client, 9).await.0.from, to);
        }
        let Some((server, at_all)) = at("[::]:0".parse().unwrap()) else { return };
        let Some((client, _)) = at("[::1]:0".parse().unwrap()) else { return };
        server.set_recv_destination(true).unwrap();
        let to = SocketAddr::new("::1".parse().unwrap(), at_all.port());
        client.send_to(b"question".as_slice(), to).await.0.unwrap();
        let (meta, _) = recv(&server, 9).await;
        assert_eq!(meta.to, Some(to.ip()));
        let answer = SendMeta { from: meta.to, ..SendMeta::to(meta.from) };
        server.send_with(b"answer".as_slice(), &answer).await.0.unwrap();
        assert_eq!(recv(&client, 9).await.0.from, to);
    });
}

fn an_ipv6_socket_for_both_families_tells_both(rt: Runtime) {
    rt.block_on(async {
        let options = UdpOptions::new().only_v6(false);
        let Ok(server) = UdpSocket::bind_with("[::]:0".parse().unwrap(), &options) else {
            return eprintln!("SKIPPED: no IPv6 on this host");
        };
        server.set_recv_ecn(true).unwrap();
        server.set_recv_destination(true).unwrap();
        let (client, client_at) = local();
        let to = SocketAddr::new("127.0.0.9".parse().unwrap(), server.local_addr().unwrap().port());
        let meta = SendMeta { ecn: Some(Ecn::Ect1), ..SendMeta::to(to) };
        client.send_with(b"question".as_slice(), &meta).await.0.unwrap();
        let (meta, _) = recv(&server, 9).await;
        assert_eq!((meta.to, meta.ecn), (Some(to.ip()), Some(Ecn::Ect1)));
        assert!(meta.from.is_ipv6(), "in the form that can be answered");
        assert_eq!(meta.from.ip().to_canonical(), client_at.ip());
        client.set_recv_ecn(true).unwrap();
        let answer = SendMeta { from: meta.to, ecn: Some(Ecn::Ce), ..SendMeta::to(meta.from) };
        server.send_with(b"answer".as_slice(), &answer).await.0.unwrap();
        let (meta, _) = recv(&client, 9).await;
        assert_eq!((meta.from, meta.ecn), (to, Some(Ecn::Ce)));
    });
}

fn multicast_reaches_members_until_they_leave(rt: Runtime) {
    rt.block_on(async {
        let (member, at_all) = at("0.0.0.0:0".parse().unwrap()).unwrap();
        let (sender, _) = local();
        let group = Ipv4Addr::new(239, 1, 2, 3);
        let to = SocketAddr::new(group.into(), at_all.port());
        member.join_multicast_v4(group, Ipv4Addr::LOCALHOST).unwrap();
        // By the interface of the sender's own address.
        let meta = SendMeta { from: Some(Ipv4Addr::LOCALHOST.into()), ..SendMeta::to(to) };
        socket2::SockRef::from(&sender).set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
        sender.send_with(b"all".as_slice(), &meta).await.0.unwrap();
        assert_eq!(recv(&member, 9).await.1, b"all");
        member.leave_multicast_v4(group, Ipv4Addr::LOCALHOST).unwrap();
        sender.send_with(b"all".as_slice(), &meta).await.0.unwrap();
        timeout(Duration::from_millis(50), member.recv(vec![0; 9])).await.unwrap_err();
        assert!(member.leave_multicast_v4(group, Ipv4Addr::LOCALHOST).is_err());
        if let Some((member, _)) = at("[::]:0".parse().unwrap()) {
            let group = "ff12::77".parse().unwrap();
            member.join_multicast_v6(group, 1).unwrap();
            member.leave_multicast_v6(group, 1).unwrap();
            assert!(member.leave_multicast_v6(group, 1).is_err());
        }
    });
}

fn a_socket_moves_through_std(rt: Runtime) {
    rt.block_on(async {
        let ((one, _), (other, to)) = (local(), local());
        let other = UdpSocket::from_std(other.into_std().unwrap()).unwrap();
        one.send_to(b"x".as_slice(), to).await.0.unwrap();
        assert_eq!(recv(&other, 9).await.1, b"x");
        let mut receiving = Box::pin(other.recv(vec![0; 1]));
        let (polled, _) = support::poll_once(receiving.as_mut()).await;
        assert!(polled.is_pending());
        drop(receiving);
        assert_eq!(other.into_std().unwrap_err().kind(), ErrorKind::ResourceBusy);
    });
}

fn options_reach_the_kernel(_rt: Runtime) {
    let options = UdpOptions::new().reuse_port(true).broadcast(true);
    let options = options.recv_buffer(20_000).send_buffer(30_000);
    let one = UdpSocket::bind_with(LOCAL, &options).unwrap();
    let same = UdpSocket::bind_with(one.local_addr().unwrap(), &options);
    assert!(same.is_ok());
    let taken = UdpSocket::bind(one.local_addr().unwrap()).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    let kernel = socket2::SockRef::from(&one);
    assert!(kernel.broadcast().unwrap());
    // The kernel doubles them (socket(7)).
    assert_eq!(kernel.recv_buffer_size().unwrap(), 40_000);
    assert_eq!(kernel.send_buffer_size().unwrap(), 60_000);
    one.set_broadcast(false).unwrap();
    one.set_recv_buffer(10_000).unwrap();
    one.set_send_buffer(10_000).unwrap();
    assert!(!kernel.broadcast().unwrap());
    assert_eq!(kernel.recv_buffer_size().unwrap(), 20_000);
    assert_eq!(kernel.send_buffer_size().unwrap(), 20_000);
}

#[test]
fn without_the_kernels_help_datagrams_are_cut_and_received_one_by_one() {
    let masks = [
        Mask::none().without(Feature::UdpGso),
        Mask::none().without(Feature::UdpGro),
        Mask::none().without(Feature::UdpGso).without(Feature::UdpGro),
    ];
    for mask in masks {
        policies::masked(mask).for_each(segments_arrive_as_datagrams);
        policies::masked(mask)
            .for_each(a_receive_takes_several_datagrams_where_the_kernel_joins_them);
    }
}

/// What the kernel refuses to cut at all goes out in single datagrams: a socket that sends no checksums
/// cannot leave it to a device to make them.
#[test]
fn a_kernel_that_refuses_to_cut_gets_single_datagrams() {
    for rt in policies::masked(Mask::none()) {
        rt.block_on(async {
            let ((one, _), (other, to)) = (local(), local());
            // SO_NO_CHECK.
            let (fd, on) = (std::os::fd::AsRawFd::as_raw_fd(&std::os::fd::AsFd::as_fd(&one)), 1);
            no_checksums(fd, on);
            one.send_segments(pattern(5000), 1000, Some(to)).await.0.unwrap();
            for expected in pattern(5000).chunks(1000) {
                assert!(recv(&other, 65_536).await.1 == expected);
            }
        });
    }
}

#[allow(unsafe_code, reason = "sets an option that no crate has a word for")]
fn no_checksums(fd: i32, on: i32) {
    let len = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the value is on the stack, and `len` is its size.
    let set = unsafe {
        libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_NO_CHECK, (&raw const on).cast(), len)
    };
    assert_eq!(set, 0);
}
