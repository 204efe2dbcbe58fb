//! TCP on every backend.

mod support;

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

use ringway::Runtime;
use ringway::buf::IoBufExt;
use ringway::net::{TcpListener, TcpStream, UnixStream};
use ringway::time::{sleep, timeout};
use support::{listener, pair, pattern, poll_once, yield_now};

on_each_backend!(
    echoes_one_byte_to_one_mebibyte,
    serves_many_connections,
    a_task_that_is_always_ready_does_not_keep_sockets_waiting,
    receives_and_sends_at_the_same_time_on_one_stream,
    connecting_to_a_closed_port_is_refused,
    a_dropped_accept_leaves_the_listener_working,
    a_dropped_receive_leaves_the_stream_working,
    a_receive_made_before_the_runtime_runs_waits_beside_one_made_in_it,
    the_end_of_the_stream_reads_as_zero_and_as_unexpected_eof,
    the_peer_sees_the_end_when_a_stream_is_dropped_with_a_receive_pending,
    sending_to_a_peer_that_is_gone_is_an_error_and_no_signal,
    shutdown_ends_a_pending_receive,
    data_from_another_thread_ends_the_sleep,
    a_stream_moves_through_std_unless_operations_are_in_flight,
    ipv6_works_and_addresses_are_told,
    receives_into_the_part_of_a_buffer_that_a_slice_names,
    what_the_peer_has_not_taken_is_told_and_a_reset_throws_it_away,
    a_reset_ends_what_waits,
);

fn echoes_one_byte_to_one_mebibyte(rt: Runtime) {
    rt.block_on(async {
        let (client, server) = pair().await;
        ringway::spawn(async move {
            let mut buf = vec![0; 64 << 10];
            loop {
                let (received, filled) = server.recv(buf).await;
                let count = received.unwrap();
                if count == 0 {
                    return;
                }
                let (sent, part) = server.send_all(filled.slice(..count)).await;
                sent.unwrap();
                buf = part.into_inner();
            }
        });
        let client = Rc::new(client);
        for len in [1, 2, 1000, 4096, 65_537, 1 << 20] {
            let expected = pattern(len);
            let sender = client.clone();
            let bytes = expected.clone();
            let sending = ringway::spawn(async move { sender.send_all(bytes).await.0 });
            let (received, bytes) = client.recv_exact(Vec::with_capacity(len)).await;
            received.unwrap();
            assert!(bytes[..len] == expected, "{len} bytes came back changed");
            sending.await.unwrap().unwrap();
        }
    });
}

fn serves_many_connections(rt: Runtime) {
    const CONNECTIONS: usize = 300;
    rt.block_on(async {
        let (listener, addr) = listener();
        ringway::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                ringway::spawn(async move {
                    let (received, buf) = stream.recv_exact(vec![0; 4]).await;
                    received.unwrap();
                    stream.send_all(buf).await.0.unwrap();
                });
            }
        });
        let clients = (0..CONNECTIONS).map(|number| {
            ringway::spawn(async move {
                let stream = TcpStream::connect(addr).await.unwrap();
                let bytes = (number as u32).to_be_bytes().to_vec();
                stream.send_all(bytes.clone()).await.0.unwrap();
                let (received, answer) = stream.recv_exact(vec![0; 4]).await;
                received.unwrap();
                assert_eq!(answer, bytes);
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.await.unwrap();
        }
    });
}

fn a_task_that_is_always_ready_does_not_keep_sockets_waiting(rt: Runtime) {
    const CONNECTIONS: usize = 128;
    rt.block_on(async {
        let heard = Rc::new(Cell::new(0));
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            // What is written to these is there at once; with TCP another thread may have to run first.
            let (client, server) = std::os::unix::net::UnixStream::pair().unwrap();
            let server = UnixStream::from_std(server).unwrap();
            let heard = heard.clone();
            ringway::spawn(async move {
                for _ in 0..2 {
                    server.recv_exact(vec![0; 1]).await.0.unwrap();
                    heard.set(heard.get() + 1);
                }
            });
            clients.push(client);
        }
        for round in 1..=2 {
            clients.iter_mut().for_each(|client| client.write_all(b"1").unwrap());
            let mut yields = 0;
            while heard.get() < round * CONNECTIONS {
                yields += 1;
                // Some times what it takes if a socket gets as many turns as this task.
                assert!(yields < 5 * CONNECTIONS, "{} sockets were heard of", heard.get());
                yield_now().await;
            }
        }
    });
}

fn receives_and_sends_at_the_same_time_on_one_stream(rt: Runtime) {
    const LEN: usize = 8 << 20;
    async fn exchange(stream: TcpStream) {
        let stream = Rc::new(stream);
        let sender = stream.clone();
        let sending = ringway::spawn(async move { sender.send_all(pattern(LEN)).await.0 });
        let (received, bytes) = stream.recv_exact(Vec::with_capacity(LEN)).await;
        received.unwrap();
        assert!(bytes[..LEN] == pattern(LEN));
        sending.await.unwrap().unwrap();
    }
    rt.block_on(async {
        // Neither side stops sending to receive, so each direction must move by itself.
        let (one, other) = pair().await;
        let other = ringway::spawn(exchange(other));
        exchange(one).await;
        other.await.unwrap();
    });
}

fn connecting_to_a_closed_port_is_refused(rt: Runtime) {
    rt.block_on(async {
        let (listener, addr) = listener();
        drop(listener);
        let error = TcpStream::connect(addr).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

fn a_dropped_accept_leaves_the_listener_working(rt: Runtime) {
    rt.block_on(async {
        let (listener, addr) = listener();
        for _ in 0..20 {
            timeout(Duration::from_micros(100), listener.accept()).await.unwrap_err();
        }
        let connecting = ringway::spawn(TcpStream::connect(addr));
        let (_accepted, peer) = listener.accept().await.unwrap();
        let stream = connecting.await.unwrap().unwrap();
        assert_eq!(stream.local_addr().unwrap(), peer);
    });
}

fn a_dropped_receive_leaves_the_stream_working(rt: Runtime) {
    rt.block_on(async {
        let (client, server) = pair().await;
        for _ in 0..20 {
            timeout(Duration::from_micros(100), server.recv(vec![0; 100])).await.unwrap_err();
        }
        // A cancel that has not been answered yet could still take bytes away: that is what "not
        // cancel safe" means. After a while it has been.
        sleep(Duration::from_millis(20)).await;
        client.send_all(b"after".as_slice()).await.0.unwrap();
        let (received, buf) = server.recv_exact(vec![0; 5]).await;
        received.unwrap();
        assert_eq!(buf, b"after");
    });
}

fn a_receive_made_before_the_runtime_runs_waits_beside_one_made_in_it(rt: Runtime) {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let mut far = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let near = TcpStream::from_std(listener.accept().unwrap().0).unwrap();
    // Its runtime hears of the socket with the first poll.
    let first = Box::pin(near.recv(Vec::with_capacity(1)));
    let mut received = rt.block_on(async {
        let (waits, first) = poll_once(first).await;
        assert!(waits.is_pending());
        let (waits, second) = poll_once(Box::pin(near.recv(Vec::with_capacity(1)))).await;
        assert!(waits.is_pending());
        far.write_all(b"ab").unwrap();
        [first.await.1, second.await.1].concat()
    });
    received.sort_unstable();
    assert_eq!(received, b"ab");
    drop(near);
    assert_eq!(far.read(&mut [0]).unwrap(), 0, "the end");
}

fn the_end_of_the_stream_reads_as_zero_and_as_unexpected_eof(rt: Runtime) {
    rt.block_on(async {
        let (client, server) = pair().await;
        client.send_all(b"abc".as_slice()).await.0.unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let (received, buf) = server.recv_exact(vec![0; 4]).await;
        assert_eq!(received.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert_eq!(&buf[..3], b"abc");
        assert_eq!(server.recv(vec![0; 4]).await.0.unwrap(), 0);
        server.send_all(b"still".as_slice()).await.0.unwrap();
        client.recv_exact(vec![0; 5]).await.0.unwrap();
    });
}

fn the_peer_sees_the_end_when_a_stream_is_dropped_with_a_receive_pending(rt: Runtime) {
    rt.block_on(async {
        let (client, server) = pair().await;
        let receiving = ringway::spawn(async move { server.recv(vec![0; 10]).await.0 });
        sleep(Duration::from_millis(5)).await;
        receiving.abort();
        let end = timeout(Duration::from_secs(5), client.recv(vec![0; 10])).await;
        assert_eq!(end.expect("the peer was not told").0.unwrap(), 0);
        assert!(!receiving.await.unwrap_err().is_panic());
    });
}

fn sending_to_a_peer_that_is_gone_is_an_error_and_no_signal(rt: Runtime) {
    rt.block_on(async {
        let (client, server) = pair().await;
        drop(server);
        let broken = loop {
            if let (Err(error), _) = client.send_all(vec![0; 1 << 16]).await {
                break error.kind();
            }
        };
        assert!(
            matches!(broken, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset),
            "unexpected: {broken}"
        );
    });
}

fn shutdown_ends_a_pending_receive(rt: Runtime) {
    rt.block_on(async {
        let (_client, server) = pair().await;
        let server = Rc::new(server);
        let receiver = server.clone();
        let receiving = ringway::spawn(async move { receiver.recv(vec![0; 10]).await.0 });
        sleep(Duration::from_millis(5)).await;
        server.shutdown(Shutdown::Both).unwrap();
        let ended = timeout(Duration::from_secs(5), receiving).await.expect("it still waits");
        assert_eq!(ended.unwrap().unwrap(), 0);
    });
}

fn data_from_another_thread_ends_the_sleep(rt: Runtime) {
    rt.block_on(async {
        let (listener, addr) = listener();
        let sender = std::thread::spawn(move || {
            let mut stream = std::net::TcpStream::connect(addr).unwrap();
            for _ in 0..20 {
                std::thread::sleep(Duration::from_millis(3));
                stream.write_all(b"x").unwrap();
            }
        });
        let (stream, _) = listener.accept().await.unwrap();
        for _ in 0..20 {
            // Nothing else could end the sleep before the limit.
            let received = timeout(Duration::from_secs(5), stream.recv(vec![0; 1])).await;
            assert_eq!(received.expect("it slept on").0.unwrap(), 1);
        }
        sender.join().unwrap();
    });
}

fn a_stream_moves_through_std_unless_operations_are_in_flight(rt: Runtime) {
    rt.block_on(async {
        let (client, server) = pair().await;
        let server = TcpStream::from_std(server.into_std().unwrap()).unwrap();
        client.send_all(b"x".as_slice()).await.0.unwrap();
        assert_eq!(server.recv(vec![0; 1]).await.0.unwrap(), 1);
        let mut receiving = Box::pin(server.recv(vec![0; 1]));
        let (polled, _) = poll_once(receiving.as_mut()).await;
        assert!(polled.is_pending());
        drop(receiving);
        assert_eq!(server.into_std().unwrap_err().kind(), ErrorKind::ResourceBusy);
        assert_eq!(client.recv(vec![0; 1]).await.0.unwrap(), 0, "refused, so it was closed");
    });
}

fn ipv6_works_and_addresses_are_told(rt: Runtime) {
    rt.block_on(async {
        let Ok(listener) = TcpListener::bind("[::1]:0".parse().unwrap()) else {
            return eprintln!("SKIPPED: no IPv6 on this host");
        };
        let addr = listener.local_addr().unwrap();
        let connecting = ringway::spawn(TcpStream::connect(addr));
        let (accepted, peer) = listener.accept().await.unwrap();
        let client = connecting.await.unwrap().unwrap();
        assert_eq!(client.peer_addr().unwrap(), addr);
        assert_eq!(client.local_addr().unwrap(), peer);
        assert_eq!(accepted.peer_addr().unwrap(), peer);
        accepted.set_nodelay(true).unwrap();
    });
}

fn receives_into_the_part_of_a_buffer_that_a_slice_names(rt: Runtime) {
    rt.block_on(async {
        let (client, server) = pair().await;
        client.send_all(b"0123456789".as_slice().slice(2..6)).await.0.unwrap();
        let mut buf = Vec::with_capacity(64);
        buf.extend_from_slice(b"head");
        let (received, part) = server.recv_exact(buf.slice(4..8)).await;
        received.unwrap();
        assert_eq!(part.into_inner(), b"head2345");
    });
}

fn what_the_peer_has_not_taken_is_told_and_a_reset_throws_it_away(rt: Runtime) {
    rt.block_on(async {
        let (mut peer, stream) = foreign_peer().await;
        assert_eq!(stream.unacknowledged().unwrap(), 0);
        let sent = send_until_full(&stream);
        let left = stream.unacknowledged().unwrap();
        assert!(left > 0 && left <= sent, "{left} of {sent}");
        stream.reset().unwrap();
        assert_eq!(stream.peer_addr().unwrap_err().kind(), ErrorKind::NotConnected);
        let mut received = Vec::new();
        let error = peer.read_to_end(&mut received).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert!(received.len() < sent, "what was still to be sent is gone");
    });
}

fn a_reset_ends_what_waits(rt: Runtime) {
    rt.block_on(async {
        let (_peer, stream) = foreign_peer().await;
        send_until_full(&stream);
        let stream = Rc::new(stream);
        let (receiver, sender) = (stream.clone(), stream.clone());
        let receiving = ringway::spawn(async move { receiver.recv(vec![0; 10]).await.0 });
        let sending = ringway::spawn(async move { sender.send_all(pattern(1 << 20)).await.0 });
        sleep(Duration::from_millis(20)).await;
        assert!(!receiving.is_finished() && !sending.is_finished());
        stream.reset().unwrap();
        let limit = Duration::from_secs(10);
        let received = timeout(limit, receiving).await.expect("it ends").unwrap();
        assert!(matches!(received, Ok(0) | Err(_)), "{received:?}");
        timeout(limit, sending).await.expect("it ends").unwrap().unwrap_err();
    });
}

/// A connection whose other end is not the runtime's.
async fn foreign_peer() -> (std::net::TcpStream, TcpStream) {
    let (listener, addr) = listener();
    let peer = std::net::TcpStream::connect(addr).unwrap();
    (peer, listener.accept().await.unwrap().0)
}

/// To a peer that takes nothing.
fn send_until_full(stream: &TcpStream) -> usize {
    let (bytes, mut sent) = (pattern(1 << 20), 0);
    while let Ok(count) = stream.try_send(&bytes) {
        sent += count;
    }
    sent
}
