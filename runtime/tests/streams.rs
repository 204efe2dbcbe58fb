//! Connections and received bytes as streams, on every backend and with features of the ring masked.

mod support;

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ringway::cancel::CancelToken;
use ringway::net::{ListenOptions, RecvBuf, RecvPool, RecvStream, TcpListener, TcpStream};
use ringway::time::{sleep, timeout};
use ringway::{Backend, Builder, Cores, Feature, Mask, OpKind, Policy, Rung, Runtime};
use support::emulated::is_emulated;
use support::{listener, pair};

/// Declares each test for every backend, and for a ring without some of its features.
macro_rules! on_each_way {
    ($($name:ident),* $(,)?) => {
        on_each_way!(@ uring Builder::new().backend(Backend::Uring), $($name),*);
        on_each_way!(@ hybrid Builder::new().backend(Backend::Hybrid), $($name),*);
        on_each_way!(@ epoll Builder::new().backend(Backend::Epoll), $($name),*);
        on_each_way!(@ one_by_one without(&[Feature::MultishotRecv, Feature::MultishotAccept]), $($name),*);
        on_each_way!(@ bundles without(&[Feature::IncrementalBuffers]), $($name),*);
        on_each_way!(@ whole_buffers without(&[Feature::IncrementalBuffers, Feature::RecvBundle]), $($name),*);
        on_each_way!(@ refused refusing(), $($name),*);
    };
    (@ $way:ident $builder:expr, $($name:ident),*) => {
        mod $way {
            #[allow(unused_imports)]
            use super::*;
            $(#[test] fn $name() { super::with($builder, super::$name); })*
        }
    };
}

fn without(features: &[Feature]) -> Builder {
    let mask = features.iter().fold(Mask::none(), |mask, &feature| mask.without(feature));
    Builder::new().backend(Backend::Uring).mask(mask)
}

fn refusing() -> Builder {
    Builder::new().backend(Backend::Uring).policy(Policy::new().refuse_first_rung(40, 3))
}

fn with(builder: Builder, test: fn(Runtime)) {
    match builder.build() {
        Ok(runtime) => test(runtime),
        Err(error) if error.kind() != ErrorKind::InvalidInput => eprintln!("SKIPPED: {error}"),
        Err(error) => panic!("{error}"),
    }
}

on_each_way!(
    bytes_come_complete_and_in_order_whatever_their_sizes,
    buffers_in_hands_keep_their_bytes,
    the_end_of_the_stream_ends_it,
    a_reset_is_one_error_and_then_the_end,
    a_dropped_next_loses_nothing,
    buffers_come_back_from_dropped_streams,
    streams_that_find_no_buffer_wait_and_go_on,
    one_that_does_not_consume_stops_nobody,
    a_burst_longer_than_the_completion_queue_is_received,
    a_cancelled_stream_says_so_and_can_go_on,
    a_stream_ends_with_its_connection,
    incoming_takes_a_burst_of_connections,
    connections_that_nobody_takes_wait_in_the_kernel,
    a_dropped_incoming_closes_what_it_has_won_and_the_listener_goes_on,
    a_pool_outlives_its_runtime_and_its_buffers_outlive_both,
    small_messages_do_not_use_buffers_up,
    what_is_received_can_be_sent_as_it_is,
    readable_and_try_recv_lose_nothing_when_dropped,
);

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % limit as u64) as usize
    }
}

/// The byte at `at` of what connection `number` sends: no two connections, nor any two places that a
/// mistaken offset would confuse, have the same sequence there.
fn byte(number: usize, at: usize) -> u8 {
    let mixed = (at as u64 ^ (number as u64) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as u8
}

fn bytes(number: usize, from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(|at| byte(number, at)).collect()
}

/// Sends `total` bytes of connection `number` in parts of random sizes, and ends.
async fn send_in_parts(stream: TcpStream, number: usize, total: usize, part_max: usize) {
    let (mut dice, mut sent) = (Dice(number as u64 + 1), 0);
    while sent < total {
        let len = (1 + dice.below(part_max)).min(total - sent);
        stream.send_all(bytes(number, sent, len)).await.0.unwrap();
        sent += len;
        if dice.below(8) == 0 {
            support::yield_now().await;
        }
    }
    stream.shutdown(Shutdown::Write).unwrap();
    // Until the other side has seen the end.
    let _ = stream.recv(vec![0; 1]).await;
}

/// Receives all of connection `number`, and checks it; tells how much it was.
async fn check_all(mut stream: RecvStream, number: usize) -> usize {
    let mut at = 0;
    while let Some(received) = stream.next().await {
        let buf = received.unwrap();
        assert!(!buf.is_empty());
        assert!(*buf == *bytes(number, at, buf.len()), "{number}: changed at {at}");
        at += buf.len();
    }
    at
}

/// An emulated machine may be a hundred times slower, and what never ends is told there, too.
async fn within<F: Future>(future: F) -> F::Output {
    within_of("all of it", if is_emulated() { 180 } else { 30 }, future).await
}

/// Tells what does not end, and by the clock and the counters whether it is that, or the clock went on without us, as that of
/// a guest may.
async fn within_of<F: Future>(what: &str, seconds: u64, future: F) -> F::Output {
    let begun = Instant::now();
    match timeout(Duration::from_secs(seconds), future).await {
        Ok(output) => output,
        Err(_) => panic!("{what} takes {:?}: {}", begun.elapsed(), ringway::metrics()),
    }
}

/// Waits until the pool has its buffers again.
async fn all_back(pool: &RecvPool, count: usize) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while pool.available() < count {
        assert!(Instant::now() < deadline, "{pool:?}: {count} were to come back");
        sleep(Duration::from_millis(1)).await;
    }
}

fn bytes_come_complete_and_in_order_whatever_their_sizes(rt: Runtime) {
    const CONNECTIONS: usize = 16;
    const TOTAL: usize = 300_000;
    rt.block_on(within(async {
        let pool = RecvPool::new(24, 4096).unwrap();
        let mut receiving = Vec::new();
        for number in 0..CONNECTIONS {
            let (client, server) = pair().await;
            let part_max = [20, 700, 9_000, 60_000][number % 4];
            let total = TOTAL / if part_max == 20 { 20 } else { 1 };
            drop(ringway::spawn(send_in_parts(client, number, total, part_max)));
            let stream = server.recv_stream(&pool);
            receiving.push(ringway::spawn(async move {
                assert_eq!(check_all(stream, number).await, total);
                drop(server);
            }));
        }
        for receiver in receiving {
            receiver.await.unwrap();
        }
        all_back(&pool, 24).await;
    }));
    let metrics = rt.metrics();
    let multi = metrics.of(OpKind::RecvMulti, Rung::Ring).map_or(0, |op| op.count);
    assert_eq!(multi > 0, rt.features().rungs(OpKind::RecvMulti).count() > 0, "{metrics}");
}

fn buffers_in_hands_keep_their_bytes(rt: Runtime) {
    const CONNECTIONS: usize = 8;
    const TOTAL: usize = 200_000;
    rt.block_on(within(async {
        let pool = RecvPool::new(64, 2048).unwrap().share_max(8);
        let mut receiving = Vec::new();
        for number in 0..CONNECTIONS {
            let (client, server) = pair().await;
            drop(ringway::spawn(send_in_parts(client, number, TOTAL, 3000)));
            let mut stream = server.recv_stream(&pool);
            receiving.push(ringway::spawn(async move {
                let (mut dice, mut at) = (Dice(number as u64), 0);
                let mut held: VecDeque<(usize, RecvBuf)> = VecDeque::new();
                while let Some(received) = stream.next().await {
                    let buf = received.unwrap();
                    let len = buf.len();
                    held.push_back((at, buf));
                    at += len;
                    // Any number that leaves one to receive with, out of order.
                    while held.len() > dice.below(7) {
                        let (at, buf) = held.swap_remove_back(dice.below(held.len())).unwrap();
                        assert!(*buf == *bytes(number, at, buf.len()), "{number}: changed at {at}");
                    }
                }
                assert_eq!(at, TOTAL);
                drop(server);
            }));
        }
        for receiver in receiving {
            receiver.await.unwrap();
        }
        all_back(&pool, 64).await;
    }));
}

fn the_end_of_the_stream_ends_it(rt: Runtime) {
    rt.block_on(within(async {
        let pool = RecvPool::new(4, 1024).unwrap();
        let (client, server) = pair().await;
        client.send_all(b"last words".as_slice()).await.0.unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut stream = server.recv_stream(&pool);
        let buf = stream.next().await.unwrap().unwrap();
        assert_eq!(&*buf, b"last words");
        for _ in 0..3 {
            assert!(stream.next().await.is_none());
        }
        server.send_all(b"still here".as_slice()).await.0.unwrap();
        client.recv_exact(vec![0; 10]).await.0.unwrap();
        drop(buf);
        all_back(&pool, 4).await;
    }));
}

fn a_reset_is_one_error_and_then_the_end(rt: Runtime) {
    rt.block_on(within(async {
        let pool = RecvPool::new(4, 1024).unwrap();
        let (client, server) = pair().await;
        let mut stream = server.recv_stream(&pool);
        assert!(timeout(Duration::from_millis(5), stream.next()).await.is_err());
        let client = client.into_std().unwrap();
        socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
        drop(client);
        let error = stream.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert!(stream.next().await.is_none());
        all_back(&pool, 4).await;
    }));
}

fn a_dropped_next_loses_nothing(rt: Runtime) {
    const TOTAL: usize = 100_000;
    rt.block_on(within(async {
        let pool = RecvPool::new(8, 1024).unwrap();
        let (client, server) = pair().await;
        drop(ringway::spawn(send_in_parts(client, 5, TOTAL, 500)));
        let mut stream = server.recv_stream(&pool);
        let (mut at, mut dropped) = (0, 0);
        loop {
            // Dropped after its first poll, whatever that has begun.
            let Ok(received) = timeout(Duration::ZERO, stream.next()).await else {
                dropped += 1;
                support::yield_now().await;
                continue;
            };
            let Some(buf) = received else { break };
            let buf = buf.unwrap();
            assert!(*buf == *bytes(5, at, buf.len()), "changed at {at}");
            at += buf.len();
        }
        assert_eq!(at, TOTAL);
        assert!(dropped > 0, "nothing was tried");
    }));
}

fn buffers_come_back_from_dropped_streams(rt: Runtime) {
    rt.block_on(within(async {
        let pool = RecvPool::new(32, 512).unwrap();
        for round in 0..20 {
            let mut streams = Vec::new();
            for _ in 0..4 {
                let (client, server) = pair().await;
                let mut stream = server.recv_stream(&pool);
                assert!(timeout(Duration::ZERO, stream.next()).await.is_err());
                client.send_all(vec![1; 3000]).await.0.unwrap();
                streams.push((stream, server, client));
            }
            // Dropped before, while and after the kernel has received.
            for _ in 0..round % 4 {
                support::yield_now().await;
            }
            let mut held = Vec::new();
            for (stream, ..) in &mut streams[..2] {
                held.push(stream.next().await.unwrap().unwrap());
            }
            // What arrives from now on is for nobody, and must not stay with those who hold the rest.
            for (.., client) in &streams {
                client.try_send(&[1; 700]).unwrap();
            }
            drop(streams);
            all_back(&pool, 32 - held.len()).await;
            assert!(held.iter().all(|buf| buf.iter().all(|&byte| byte == 1)));
            drop(held);
            all_back(&pool, 32).await;
        }
    }));
}

fn streams_that_find_no_buffer_wait_and_go_on(rt: Runtime) {
    const CONNECTIONS: usize = 40;
    const TOTAL: usize = 20_000;
    rt.block_on(within(async {
        let pool = RecvPool::new(2, 512).unwrap();
        let mut receiving = Vec::new();
        for number in 0..CONNECTIONS {
            let (client, server) = pair().await;
            drop(ringway::spawn(send_in_parts(client, number, TOTAL, 2000)));
            let stream = server.recv_stream(&pool);
            receiving.push(ringway::spawn(async move {
                assert_eq!(check_all(stream, number).await, TOTAL);
                drop(server);
            }));
        }
        for receiver in receiving {
            receiver.await.unwrap();
        }
        all_back(&pool, 2).await;
        // With all of it in one hand, others wait without an error or a turn of the loop.
        let (client, server) = pair().await;
        let (other_client, other_server) = pair().await;
        client.send_all(vec![0; 512]).await.0.unwrap();
        other_client.send_all(vec![0; 512]).await.0.unwrap();
        let pool = RecvPool::new(1, 512).unwrap();
        let held = server.recv_stream(&pool).next().await.unwrap().unwrap();
        assert_eq!(held.len(), 512);
        if pool.available() == 1 {
            // The receive was refused by the ring, and took the bytes without a buffer of the pool.
            return;
        }
        let mut other = other_server.recv_stream(&pool);
        assert!(timeout(Duration::from_millis(20), other.next()).await.is_err());
        let waiting = ringway::spawn(async move { other.next().await.unwrap().unwrap().len() });
        sleep(Duration::from_millis(20)).await;
        drop(held);
        assert_eq!(waiting.await.unwrap(), 512);
    }));
}

fn one_that_does_not_consume_stops_nobody(rt: Runtime) {
    const OTHERS: usize = 10;
    rt.block_on(within(async {
        let pool = RecvPool::new(8, 1024).unwrap().share_max(2);
        let (flooder, victim) = pair().await;
        let mut slow = victim.recv_stream(&pool);
        assert!(timeout(Duration::ZERO, slow.next()).await.is_err());
        let total = 100_000;
        drop(ringway::spawn(send_in_parts(flooder, 99, total, 5000)));
        // It is armed, and is not looked at again until the others are done.
        sleep(Duration::from_millis(20)).await;
        assert!(pool.available() >= 6, "{pool:?}");
        let mut receiving = Vec::new();
        for number in 0..OTHERS {
            let (client, server) = pair().await;
            drop(ringway::spawn(send_in_parts(client, number, 50_000, 3000)));
            let stream = server.recv_stream(&pool);
            receiving.push(ringway::spawn(async move {
                assert_eq!(check_all(stream, number).await, 50_000);
                drop(server);
            }));
        }
        for receiver in receiving {
            receiver.await.unwrap();
        }
        assert_eq!(check_all(slow, 99).await, total);
        all_back(&pool, 8).await;
    }));
}

fn a_burst_longer_than_the_completion_queue_is_received(rt: Runtime) {
    const CONNECTIONS: usize = 1500;
    rt.block_on(within(async {
        let pool = RecvPool::new(2048, 256).unwrap();
        let (listener, addr) = listener();
        let (mut clients, mut servers) = (Vec::new(), Vec::new());
        for _ in 0..CONNECTIONS {
            clients.push(std::net::TcpStream::connect(addr).unwrap());
            let (server, _) = listener.accept().await.unwrap();
            let mut stream = server.recv_stream(&pool);
            assert!(timeout(Duration::ZERO, stream.next()).await.is_err());
            servers.push((server, stream));
        }
        for round in 0..4 {
            support::yield_now().await;
            // The loop stands still meanwhile, and finds them all at once.
            for (number, client) in clients.iter_mut().enumerate() {
                client.write_all(&bytes(number, round * 64, 64)).unwrap();
            }
            for (number, (_, stream)) in servers.iter_mut().enumerate() {
                let buf = stream.next().await.unwrap().unwrap();
                assert!(*buf == *bytes(number, round * 64, 64), "{number}: changed in {round}");
            }
        }
        drop(servers);
        all_back(&pool, 2048).await;
    }));
}

fn a_cancelled_stream_says_so_and_can_go_on(rt: Runtime) {
    rt.block_on(within(async {
        let pool = RecvPool::new(4, 1024).unwrap();
        let (client, server) = pair().await;
        let mut stream = server.recv_stream(&pool);
        let token = CancelToken::new();
        let canceller = token.clone();
        drop(ringway::spawn(async move {
            sleep(Duration::from_millis(5)).await;
            canceller.cancel();
        }));
        let error = token.run(stream.next()).await.unwrap().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
        client.send_all(b"after".as_slice()).await.0.unwrap();
        assert_eq!(&*stream.next().await.unwrap().unwrap(), b"after");
    }));
}

fn a_stream_ends_with_its_connection(rt: Runtime) {
    rt.block_on(within(async {
        let pool = RecvPool::new(4, 1024).unwrap();
        let (client, server) = pair().await;
        let mut stream = server.recv_stream(&pool);
        assert!(timeout(Duration::from_millis(2), stream.next()).await.is_err());
        drop(server);
        assert!(stream.next().await.is_none());
        assert_eq!(client.recv(vec![0; 1]).await.0.unwrap(), 0, "the peer was not told");
        let (client, server) = pair().await;
        let mut stream = server.recv_stream(&pool);
        assert!(timeout(Duration::from_millis(2), stream.next()).await.is_err());
        drop(stream);
        drop(server);
        assert_eq!(client.recv(vec![0; 1]).await.0.unwrap(), 0, "the peer was not told");
    }));
}

fn incoming_takes_a_burst_of_connections(rt: Runtime) {
    const CONNECTIONS: usize = 200;
    rt.block_on(within(async {
        let (listener, addr) = listener();
        let mut incoming = listener.incoming();
        assert!(timeout(Duration::from_millis(1), incoming.next()).await.is_err());
        for _ in 0..3 {
            let clients: Vec<_> =
                (0..CONNECTIONS).map(|_| std::net::TcpStream::connect(addr).unwrap()).collect();
            let mut expected: Vec<_> =
                clients.iter().map(|client| client.local_addr().unwrap()).collect();
            let mut accepted = Vec::new();
            for _ in 0..CONNECTIONS {
                accepted.push(incoming.next().await.unwrap().unwrap());
            }
            let mut peers: Vec<_> =
                accepted.iter().map(|stream| stream.peer_addr().unwrap()).collect();
            peers.sort();
            expected.sort();
            assert_eq!(peers, expected);
        }
    }));
    let metrics = rt.metrics();
    let multi = metrics.of(OpKind::AcceptMulti, Rung::Ring).map_or(0, |op| op.count);
    assert_eq!(multi > 0, rt.features().rungs(OpKind::AcceptMulti).count() > 0, "{metrics}");
}

fn connections_that_nobody_takes_wait_in_the_kernel(rt: Runtime) {
    const CONNECTIONS: usize = 300;
    rt.block_on(within(async {
        let (listener, addr) = listener();
        let mut incoming = listener.incoming();
        assert!(timeout(Duration::from_millis(1), incoming.next()).await.is_err());
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            clients.push(std::net::TcpStream::connect(addr).unwrap());
            sleep(Duration::from_millis(1)).await;
        }
        let metrics = ringway::metrics();
        let won = metrics.of(OpKind::AcceptMulti, Rung::Ring).map_or(0, |op| op.count);
        assert!(won < CONNECTIONS as u64 / 2, "{won} descriptors that nobody asked for");
        let mut accepted = Vec::new();
        for _ in 0..CONNECTIONS {
            accepted.push(incoming.next().await.unwrap().unwrap());
        }
    }));
}

fn is_closed(mut stream: &std::net::TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    match stream.read(&mut [0; 1]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

fn a_dropped_incoming_closes_what_it_has_won_and_the_listener_goes_on(rt: Runtime) {
    const CONNECTIONS: usize = 20;
    rt.block_on(within(async {
        let (listener, addr) = listener();
        let mut incoming = listener.incoming();
        assert!(timeout(Duration::from_millis(1), incoming.next()).await.is_err());
        let clients: Vec<_> =
            (0..CONNECTIONS).map(|_| std::net::TcpStream::connect(addr).unwrap()).collect();
        let one = within_of("the first", 20, incoming.next()).await.unwrap().unwrap();
        let taken = one.peer_addr().unwrap();
        drop(incoming);
        // Those that were won are closed, the others can still be accepted; nothing is left hanging. One that is
        // connected at the client's end may take a while to be so at this one.
        let mut waiting: Vec<_> =
            clients.into_iter().filter(|client| client.local_addr().unwrap() != taken).collect();
        let deadline = Instant::now() + Duration::from_secs(10);
        while !waiting.is_empty() {
            assert!(Instant::now() < deadline, "neither closed nor to be accepted: {waiting:?}");
            if let Ok(accepted) = timeout(Duration::from_millis(50), listener.accept()).await {
                let (_, peer) = accepted.unwrap();
                let of_peer = |client: &std::net::TcpStream| client.local_addr().unwrap() == peer;
                let accepted = waiting.iter().position(of_peer).expect("nobody's");
                waiting.swap_remove(accepted);
            }
            waiting.retain(|client| !is_closed(client));
        }
        // A dropped accept may still win a connection before it is cancelled.
        assert!(timeout(Duration::from_millis(1), listener.accept()).await.is_err());
        sleep(Duration::from_millis(5)).await;
        let client = std::net::TcpStream::connect(addr).unwrap();
        let (_, peer) = within_of("the last", 20, listener.accept()).await.unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
    }));
}

fn a_pool_outlives_its_runtime_and_its_buffers_outlive_both(rt: Runtime) {
    let pool = RecvPool::new(4, 64).unwrap();
    let (held, stream, ends) = rt.block_on(within(async {
        let (client, server) = pair().await;
        client.send_all(b"kept".as_slice()).await.0.unwrap();
        let mut stream = server.recv_stream(&pool);
        let held = stream.next().await.unwrap().unwrap();
        // More arrives and is not taken.
        assert!(timeout(Duration::from_millis(1), stream.next()).await.is_err());
        client.send_all(b"left".as_slice()).await.0.unwrap();
        support::yield_now().await;
        (held, stream, (client, server))
    }));
    let report = rt.shutdown(Duration::from_secs(5));
    assert_eq!(report.leaked, 0);
    drop(ends);
    assert_eq!(&*held, b"kept");
    drop(stream);
    // What was a ring's is a list now.
    let next = Builder::new().backend(Backend::Epoll).build().unwrap();
    next.block_on(within(async {
        let (client, server) = pair().await;
        client.send_all(b"new".as_slice()).await.0.unwrap();
        let mut stream = server.recv_stream(&pool);
        assert_eq!(&*stream.next().await.unwrap().unwrap(), b"new");
    }));
    drop(next);
    drop(pool);
    assert_eq!(&*held, b"kept");
}

fn small_messages_do_not_use_buffers_up(rt: Runtime) {
    let features = rt.features();
    let piecewise =
        features.has(Feature::IncrementalBuffers) || !features.has(Feature::MultishotRecv);
    rt.block_on(within(async {
        let pool = RecvPool::new(4, 1024).unwrap().share_max(100);
        let (client, server) = pair().await;
        client.set_nodelay(true).unwrap();
        let mut stream = server.recv_stream(&pool);
        let mut held = Vec::new();
        for round in 0..3 {
            client.send_all(bytes(1, round * 64, 64)).await.0.unwrap();
            held.push(stream.next().await.unwrap().unwrap());
        }
        for (round, buf) in held.iter().enumerate() {
            assert!(**buf == *bytes(1, round * 64, 64), "{round}");
        }
        if piecewise {
            assert_eq!(pool.available(), 4);
        }
    }));
}

fn what_is_received_can_be_sent_as_it_is(rt: Runtime) {
    rt.block_on(within(async {
        let pool = RecvPool::new(4, 4096).unwrap();
        let (client, server) = pair().await;
        drop(ringway::spawn(async move {
            let mut stream = server.recv_stream(&pool);
            while let Some(received) = stream.next().await {
                server.send_all(received.unwrap()).await.0.unwrap();
            }
        }));
        for round in 0..100 {
            let sent = bytes(round, 0, 1 + round * 50);
            client.send_all(sent.clone()).await.0.unwrap();
            let (received, back) = client.recv_exact(vec![0; sent.len()]).await;
            received.unwrap();
            assert!(back == sent, "{round}");
        }
    }));
}

fn readable_and_try_recv_lose_nothing_when_dropped(rt: Runtime) {
    const TOTAL: usize = 200_000;
    rt.block_on(within(async {
        let (client, server) = pair().await;
        let sending = ringway::spawn(async move {
            let all = bytes(3, 0, TOTAL);
            let mut sent = 0;
            while sent < TOTAL {
                client.writable().await.unwrap();
                match client.try_send(&all[sent..(sent + 5000).min(TOTAL)]) {
                    Ok(count) => sent += count,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
            }
            client.shutdown(Shutdown::Write).unwrap();
            client.recv(vec![0; 1]).await.0.unwrap();
        });
        let (mut at, mut buf, mut tried) = (0, vec![0; 3000], 0);
        assert_eq!(server.try_recv(&mut []).unwrap_or_default(), 0);
        loop {
            tried += 1;
            // Now dropped after its first poll, now when it may have an answer.
            let patience = Duration::from_micros(500 * (tried % 2));
            if timeout(patience, server.readable()).await.is_err() {
                continue;
            }
            match server.try_recv(&mut buf) {
                Ok(0) => break,
                Ok(count) => {
                    assert!(buf[..count] == *bytes(3, at, count), "changed at {at}");
                    at += count;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        assert_eq!(at, TOTAL);
        drop(server);
        sending.await.unwrap();
    }));
}

#[test]
fn a_pool_belongs_to_one_runtime_at_a_time() {
    let (Ok(one), Ok(other)) = (
        Builder::new().backend(Backend::Uring).build(),
        Builder::new().backend(Backend::Uring).build(),
    ) else {
        return eprintln!("SKIPPED: no ring");
    };
    if !one.features().has(Feature::MultishotRecv) {
        return eprintln!("SKIPPED: no pool is shared with this kernel");
    }
    let pool = RecvPool::new(4, 64).unwrap();
    let first = |rt: &Runtime| {
        rt.block_on(within(async {
            let (client, server) = pair().await;
            client.send_all(b"x".as_slice()).await.0.unwrap();
            server.recv_stream(&pool).next().await.unwrap().map(|buf| buf.len())
        }))
    };
    assert_eq!(first(&one).unwrap(), 1);
    assert_eq!(first(&other).unwrap_err().kind(), ErrorKind::InvalidInput);
    drop(one);
    assert_eq!(first(&other).unwrap(), 1);
}

#[test]
fn a_pool_says_which_sizes_it_cannot_have() {
    for (count, size) in [(0, 1024), (4, 0), (u16::MAX, 1024), (1, 1 << 30)] {
        assert_eq!(RecvPool::new(count, size).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(RecvPool::new(RecvPool::COUNT_MAX, 16).unwrap().available(), 1 << 15);
}

#[test]
fn listeners_on_one_port_share_its_connections_among_cores() {
    const CONNECTIONS: usize = 200;
    let cores = Cores::start(2, &Builder::new()).unwrap();
    let options = ListenOptions::new().reuse_port(true).backlog(CONNECTIONS as u32);
    // It keeps the port while the cores bind theirs; without `listen` it would take no connections.
    let first = TcpListener::bind_with(([127, 0, 0, 1], 0).into(), &options).unwrap();
    let addr = first.local_addr().unwrap();
    let counts: Arc<[AtomicUsize; 2]> = Arc::default();
    let (ready, wait) = std::sync::mpsc::channel();
    for core in 0..2 {
        let (counts, options, ready) = (counts.clone(), options.clone(), ready.clone());
        cores
            .spawn_on(core, move || async move {
                let listener = TcpListener::bind_with(addr, &options).unwrap();
                ready.send(()).unwrap();
                let mut incoming = listener.incoming();
                while let Some(stream) = incoming.next().await {
                    counts[core].fetch_add(1, Ordering::Relaxed);
                    stream.unwrap().send_all(vec![core as u8]).await.0.unwrap();
                }
            })
            .unwrap();
    }
    (0..2).for_each(|_| wait.recv().unwrap());
    drop(first);
    let mut seen = [0; 2];
    for _ in 0..CONNECTIONS {
        let mut answer = [0];
        let mut client = std::net::TcpStream::connect(addr).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        client.read_exact(&mut answer).unwrap();
        seen[usize::from(answer[0])] += 1;
    }
    let counted = [0, 1].map(|core: usize| counts[core].load(Ordering::Relaxed));
    assert_eq!(counted, seen);
    assert!(seen.iter().all(|&count| count > CONNECTIONS / 10), "{seen:?}");
}

/// Runs the test called `name` once more, in a process of its own; true if this is that.
fn alone(name: &str) -> bool {
    const VARIABLE: &str = "STREAMS_ALONE";
    if std::env::var_os(VARIABLE).is_some() {
        return true;
    }
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(VARIABLE, "1")
        .status();
    assert!(status.unwrap().success());
    false
}

/// The limit is the process's.
#[test]
fn incoming_pauses_when_descriptors_have_run_out() {
    if !alone("incoming_pauses_when_descriptors_have_run_out") {
        return;
    }
    for backend in [Backend::Uring, Backend::Hybrid, Backend::Epoll] {
        support::on(backend, run_out_of_descriptors);
    }
}

fn run_out_of_descriptors(rt: Runtime) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    rt.block_on(within(async {
        let (listener, addr) = listener();
        let mut incoming = listener.incoming();
        let waiting = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let waiting = waiting.unwrap();
        // The ring takes the limit of the time when an accept is submitted.
        let before = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(3), ..before }).unwrap();
        let restoring = ringway::spawn(async move {
            sleep(Duration::from_millis(300)).await;
            setrlimit(Resource::Nofile, before).unwrap();
        });
        waiting.connect(&addr.into()).unwrap();
        let (mut errors, began) = (0, Instant::now());
        let stream = loop {
            match incoming.next().await.unwrap() {
                Ok(stream) => break stream,
                Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EMFILE)),
            }
            errors += 1;
        };
        restoring.await.unwrap();
        let pauses = began.elapsed().as_millis() / 50 + 1;
        assert!(errors > 0 && errors <= pauses, "{errors} errors in {pauses} pauses");
        let addr = waiting.local_addr().unwrap().as_socket();
        assert_eq!(stream.peer_addr().ok(), addr);
    }));
}

/// The memory of many connections that wait, as a number: what the whole process has more.
#[test]
fn an_idle_connection_takes_less_than_a_kibibyte() {
    if !alone("an_idle_connection_takes_less_than_a_kibibyte") {
        return;
    }
    let Ok(rt) = Builder::new().backend(Backend::Uring).build() else {
        return eprintln!("SKIPPED: no ring");
    };
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    // Both ends are here.
    let count = limit.map_or(10_000, |limit| (limit.saturating_sub(100) / 2).min(10_000)) as usize;
    rt.block_on(async {
        let pool = RecvPool::new(256, 16 << 10).unwrap();
        let (listener, addr) = listener();
        let mut clients = Vec::with_capacity(count);
        let mut servers = Vec::with_capacity(count);
        for _ in 0..count {
            clients.push(std::net::TcpStream::connect(addr).unwrap());
            servers.push(listener.accept().await.unwrap().0);
        }
        let before = resident_bytes();
        let live = Rc::new(Cell::new(0));
        for server in servers {
            let (pool, live) = (pool.clone(), live.clone());
            drop(ringway::spawn(async move {
                let mut stream = server.recv_stream(&pool);
                live.set(live.get() + 1);
                while let Some(received) = stream.next().await {
                    // What it takes to answer is in memory when there is something to answer.
                    Box::pin(server.send_all(received.unwrap())).await.0.unwrap();
                }
            }));
        }
        while live.get() < count {
            support::yield_now().await;
        }
        sleep(Duration::from_millis(100)).await;
        let each = resident_bytes().saturating_sub(before) / count;
        eprintln!("{count} idle connections: {each} bytes each, tasks and all");
        assert!(each < 1024, "{each} bytes");
        let mut client = &clients[count / 2];
        client.write_all(b"hello").unwrap();
        client.set_nonblocking(true).unwrap();
        let mut back = [0; 5];
        let deadline = Instant::now() + Duration::from_secs(30);
        while !client.peek(&mut back).is_ok_and(|n| n == 5) {
            assert!(Instant::now() < deadline, "no answer");
            sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(&back, b"hello");
    });
}

/// The process's resident memory.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = status.split(' ').nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size()
}

#[test]
fn listen_options_are_the_kernels() {
    let addr: SocketAddr = ([127, 0, 0, 1], 0).into();
    let alone = TcpListener::bind(addr).unwrap();
    let options = ListenOptions::new().reuse_port(true);
    let taken = TcpListener::bind_with(alone.local_addr().unwrap(), &options);
    assert_eq!(taken.unwrap_err().kind(), ErrorKind::AddrInUse);
    let Ok(both) =
        TcpListener::bind_with("[::]:0".parse().unwrap(), &ListenOptions::new().only_v6(false))
    else {
        return eprintln!("SKIPPED: no IPv6 on this host");
    };
    let port = both.local_addr().unwrap().port();
    let _: io::Result<_> = std::net::TcpStream::connect(("127.0.0.1", port)).inspect_err(|error| {
        panic!("IPv4 is turned away: {error}");
    });
}
