//! Zero-copy sends: every way that they go, on every backend.

mod support;

use std::io::{ErrorKind, Read};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringway::buf::{FixedPool, IoBufExt};
use ringway::cancel::CancelToken;
use ringway::net::{TcpStream, UdpSocket, ZcNotify, ZcUsage};
use ringway::time::{sleep, timeout};
use ringway::{
    Backend, Builder, Feature, Mask, OpKind, Policy, Rung, Runtime, ZeroCopyMetrics,
    ZeroCopyPolicy, spawn,
};
use support::{pair, pattern, poll_once};

/// Declares each test once for every backend and way.
macro_rules! on_each_way {
    ($($name:ident),* $(,)?) => {
        on_each_way!(@ uring_ring Uring Ring [$($name)*]);
        on_each_way!(@ uring_error_queue Uring ErrorQueue [$($name)*]);
        on_each_way!(@ uring_plain Uring Plain [$($name)*]);
        on_each_way!(@ hybrid_ring Hybrid Ring [$($name)*]);
        on_each_way!(@ hybrid_error_queue Hybrid ErrorQueue [$($name)*]);
        on_each_way!(@ epoll_error_queue Epoll ErrorQueue [$($name)*]);
        on_each_way!(@ epoll_plain Epoll Plain [$($name)*]);
        on_each_way!(@ uring_half_refused Uring HalfRefused [$($name)*]);
        on_each_way!(@ epoll_half_refused Epoll HalfRefused [$($name)*]);
    };
    (@ $module:ident $backend:ident $way:ident [$($name:ident)*]) => {
        mod $module {
            $(#[test] fn $name() { super::on(ringway::Backend::$backend, super::Way::$way, super::$name); })*
        }
    };
}

on_each_way!(
    what_was_sent_arrives_and_the_buffer_comes_back,
    a_buffer_may_be_changed_as_soon_as_its_notification_came,
    a_whole_buffer_goes_out_as_one_to_a_slow_reader,
    several_buffers_go_out_in_order,
    datagrams_go_out_whole_and_their_buffers_come_back,
    a_thousand_sends_are_in_flight_at_a_time,
    a_buffer_comes_back_from_a_connection_that_was_reset,
    a_buffer_comes_back_from_a_connection_that_was_shut_down,
    a_peer_that_goes_without_reading_frees_the_buffers,
    the_user_timeout_frees_the_buffers_from_a_peer_that_does_not_answer,
    what_was_sent_before_a_drop_arrives_and_then_the_end,
    a_dropped_send_leaves_the_stream_in_one_piece,
    notifications_are_no_hang_up_and_a_hang_up_is_one,
    nothing_to_send_is_sent_at_once,
    a_socket_without_zero_copy_copies,
    the_end_of_the_runtime_keeps_what_the_kernel_may_read,
    a_stream_of_a_runtime_that_has_ended_sends_on_in_another,
    waiting_for_a_peer_that_does_not_read_costs_no_time,
);

/// What is left of the ladder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Ring,
    ErrorQueue,
    Plain,
    /// All of it, with every second first way refused.
    HalfRefused,
}

impl Way {
    fn mask(self) -> Mask {
        let no_ring =
            Mask::none().without_on_ring(OpKind::SendZc).without_on_ring(OpKind::SendMsgZc);
        match self {
            Self::Ring | Self::HalfRefused => Mask::none(),
            Self::ErrorQueue => no_ring,
            Self::Plain => no_ring.without(Feature::MsgZerocopy),
        }
    }

    /// Whether this kernel has it.
    fn is_there(self, backend: Backend, runtime: &Runtime) -> bool {
        let features = runtime.features();
        let on_ring = |kind| features.rungs(kind).any(|rung| rung == Rung::Ring);
        match self {
            Self::Ring if backend == Backend::Epoll => true,
            Self::Ring => on_ring(OpKind::SendZc) && on_ring(OpKind::SendMsgZc),
            Self::ErrorQueue => features.has(Feature::MsgZerocopy),
            Self::Plain | Self::HalfRefused => true,
        }
    }

    /// The sends that went this way.
    fn count(self, metrics: ZeroCopyMetrics) -> u64 {
        match self {
            Self::Ring => metrics.ring + metrics.fixed,
            Self::ErrorQueue => metrics.error_queue,
            Self::Plain => metrics.plain,
            Self::HalfRefused => metrics.refused,
        }
    }
}

/// Never switched off by what the kernel says, which is "copied" on this host.
const STEADFAST: ZeroCopyPolicy = ZeroCopyPolicy {
    threshold: 4096,
    per_connection: 64 << 20,
    per_runtime: 256 << 20,
    copied_limit: u32::MAX,
};

fn runtime(backend: Backend, way: Way, zero_copy: ZeroCopyPolicy) -> Option<Runtime> {
    let mut policy = Policy::new().zero_copy(zero_copy);
    if way == Way::HalfRefused {
        policy = policy.refuse_first_rung(50, 11);
    }
    match Builder::new().backend(backend).mask(way.mask()).policy(policy).build() {
        Ok(runtime) if way.is_there(backend, &runtime) => Some(runtime),
        Ok(runtime) => {
            eprintln!("SKIPPED: {}", runtime.features());
            None
        }
        Err(error) if backend != Backend::Epoll => {
            eprintln!("SKIPPED: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn on(backend: Backend, way: Way, test: fn(Runtime, Way)) {
    if let Some(runtime) = runtime(backend, way, STEADFAST) {
        test(runtime, way);
    }
}

/// Leaves rings out that do not say whether they copied.
fn reporting(runtime: Option<Runtime>) -> Option<Runtime> {
    runtime.filter(|runtime| {
        let features = runtime.features();
        features.backend() == Backend::Epoll || features.has(Feature::ReportUsage)
    })
}

const LONG: Duration = Duration::from_secs(20);

/// Notifications of a loopback connection come with its acknowledgements, late by 40 ms at times.
async fn notified<T>(notify: ZcNotify<T>) -> (T, ZcUsage) {
    let done = timeout(LONG, notify).await.expect("the notification did not come");
    (done.buf, done.usage)
}

/// Receives everything until the end.
async fn receive_all(stream: &TcpStream) -> Vec<u8> {
    let (mut all, mut buf) = (Vec::new(), Vec::with_capacity(1 << 20));
    loop {
        buf.clear();
        let (received, filled) = timeout(LONG, stream.recv(buf)).await.expect("no end came");
        if received.unwrap() == 0 {
            return all;
        }
        all.extend_from_slice(&filled);
        buf = filled;
    }
}

fn what_was_sent_arrives_and_the_buffer_comes_back(rt: Runtime, way: Way) {
    rt.block_on(async {
        let (client, server) = pair().await;
        for len in [1, 4095, 4096, 40_000, 65_537, 300_000] {
            let sent = client.send_zc(pattern(len)).await;
            let count = sent.result.unwrap();
            assert!(count > 0 && count <= len);
            let (received, bytes) = server.recv_exact(vec![0; count]).await;
            received.unwrap();
            assert!(bytes == pattern(len)[..count], "{len} bytes came changed");
            let (buf, usage) = notified(sent.notify).await;
            assert!(buf == pattern(len));
            assert_ne!(usage, ZcUsage::ZeroCopy, "loopback always copies");
        }
    });
    let metrics = rt.metrics();
    let within = rt.block_on(async { ringway::metrics() });
    assert_eq!(within.zero_copy, metrics.zero_copy);
    assert!(way.count(metrics.zero_copy) > 0, "{way:?}: {:?}", metrics.zero_copy);
    assert_eq!(metrics.zero_copy_bytes, 0);
    if way == Way::Ring {
        assert_eq!(metrics.zero_copy.ring, 4, "those that are long enough");
        assert_eq!(metrics.of(OpKind::SendZc, Rung::Ring).unwrap().count, 4);
    }
}

fn a_buffer_may_be_changed_as_soon_as_its_notification_came(rt: Runtime, _: Way) {
    const LEN: usize = 256 << 10;
    const ROUNDS: usize = 40;
    rt.block_on(async {
        let (client, server) = pair().await;
        let receiving = spawn(async move {
            // Slowly, so that bytes wait on both sides.
            for round in 0..ROUNDS {
                sleep(Duration::from_millis(1)).await;
                let (received, bytes) = server.recv_exact(vec![0; LEN]).await;
                received.unwrap();
                assert!(bytes.iter().all(|&byte| byte == round as u8), "round {round}");
            }
        });
        let mut free: Vec<Vec<u8>> = (0..4).map(|_| vec![0; LEN]).collect();
        let mut out: std::collections::VecDeque<ZcNotify<Vec<u8>>> = Default::default();
        for round in 0..ROUNDS {
            let mut buf = match free.pop() {
                Some(buf) => buf,
                None => notified(out.pop_front().unwrap()).await.0,
            };
            // If the kernel still read it, the receiver would see it.
            buf.fill(round as u8);
            let sent = client.send_zc_all(buf).await;
            assert_eq!(sent.result.unwrap(), LEN);
            out.push_back(sent.notify);
        }
        timeout(LONG, receiving).await.unwrap().unwrap();
    });
}

fn a_whole_buffer_goes_out_as_one_to_a_slow_reader(rt: Runtime, _: Way) {
    const LEN: usize = 65_537 * 250;
    let long = || pattern(65_537).repeat(250);
    rt.block_on(async {
        let (client, server) = pair().await;
        let sending = spawn(async move {
            let sent = client.send_zc_all(long()).await;
            assert_eq!(sent.result.unwrap(), LEN);
            notified(sent.notify).await
        });
        sleep(Duration::from_millis(30)).await;
        assert!(!sending.is_finished());
        let (received, bytes) = server.recv_exact(vec![0; LEN]).await;
        received.unwrap();
        assert!(bytes == long());
        let (buf, usage) = sending.await.unwrap();
        assert!(buf == long());
        assert_ne!(usage, ZcUsage::ZeroCopy);
    });
    assert_eq!(rt.metrics().zero_copy_bytes, 0);
}

fn several_buffers_go_out_in_order(rt: Runtime, way: Way) {
    rt.block_on(async {
        let (client, server) = pair().await;
        let (head, payload) = (b"head".to_vec(), pattern(100_000));
        let sent = client.sendmsg_zc_all((head, Vec::new(), payload)).await;
        assert_eq!(sent.result.unwrap(), 100_004);
        let (received, bytes) = server.recv_exact(vec![0; 100_004]).await;
        received.unwrap();
        assert!(bytes[..4] == *b"head" && bytes[4..] == pattern(100_000));
        let ((head, nothing, payload), _) = notified(sent.notify).await;
        assert_eq!((head.len(), nothing.len(), payload.len()), (4, 0, 100_000));
        // More than go in one message, and more than the send queue takes.
        let many: Vec<_> = (0..2000).map(|number| vec![number as u8; 4000]).collect();
        let receiving = spawn(async move { server.recv_exact(vec![0; 8_000_000]).await });
        let sent = client.sendmsg_zc_all(many).await;
        assert_eq!(sent.result.unwrap(), 8_000_000);
        let (received, bytes) = receiving.await.unwrap();
        received.unwrap();
        let mut parts = bytes.chunks(4000).enumerate();
        assert!(parts.all(|(number, part)| part.iter().all(|&byte| byte == number as u8)));
        assert_eq!(notified(sent.notify).await.0.len(), 2000);
        // A part of the buffers only.
        let sent = client.sendmsg_zc([pattern(5000).slice(..3), pattern(5000).slice(10..)]).await;
        assert_eq!(sent.result.unwrap(), 4993);
    });
    let metrics = rt.metrics();
    assert!(way.count(metrics.zero_copy) > 0, "{way:?}: {:?}", metrics.zero_copy);
    if way == Way::Ring {
        assert!(metrics.of(OpKind::SendMsgZc, Rung::Ring).unwrap().count >= 3);
    }
}

fn datagrams_go_out_whole_and_their_buffers_come_back(rt: Runtime, way: Way) {
    rt.block_on(async {
        let (client, server) = datagrams().await;
        for len in [0, 1, 4095, 4096, 40_000, 65_507] {
            let sent = client.send_zc(pattern(len)).await;
            assert_eq!(sent.result.unwrap(), len);
            let receiving = server.recv_from(Vec::with_capacity(1 << 16));
            let (meta, bytes) = timeout(LONG, receiving).await.expect("it did not arrive");
            assert!(!meta.unwrap().truncated && bytes == pattern(len), "{len} bytes came changed");
            // The socket still receives, whatever its error queue has.
            server.send_to(vec![7; 9], client.local_addr().unwrap()).await.0.unwrap();
            let (received, _) = timeout(LONG, client.recv(vec![0; 10])).await.unwrap();
            assert_eq!(received.unwrap(), 9);
            let (buf, usage) = notified(sent.notify).await;
            assert!(buf == pattern(len));
            assert_ne!(usage, ZcUsage::ZeroCopy, "loopback always copies");
        }
        let sent = client.send_zc(pattern(65_508)).await;
        assert_eq!(sent.result.unwrap_err().raw_os_error(), Some(libc::EMSGSIZE));
        assert!(notified(sent.notify).await.0 == pattern(65_508));
    });
    let metrics = rt.metrics();
    assert!(way.count(metrics.zero_copy) > 0, "{way:?}: {:?}", metrics.zero_copy);
    assert_eq!(metrics.zero_copy_bytes, 0);
    assert_eq!(rt.shutdown(LONG).leaked, 0);
}

/// Two datagram sockets of this host, the first of which speaks to the second.
async fn datagrams() -> (UdpSocket, UdpSocket) {
    let [client, server] = [(); 2].map(|()| UdpSocket::bind(([127, 0, 0, 1], 0).into()).unwrap());
    client.connect(server.local_addr().unwrap()).await.unwrap();
    (client, server)
}

fn a_thousand_sends_are_in_flight_at_a_time(rt: Runtime, _: Way) {
    const LEN: usize = 8192;
    rt.block_on(async {
        let mut notifies = Vec::new();
        let mut receivers = Vec::new();
        for _ in 0..20 {
            let (client, server) = pair().await;
            for number in 0..50_u8 {
                let sent = client.send_zc_all(vec![number; LEN]).await;
                sent.result.unwrap();
                notifies.push(sent.notify);
            }
            receivers.push((client, server));
        }
        for (_client, server) in receivers {
            let (received, bytes) = server.recv_exact(vec![0; 50 * LEN]).await;
            received.unwrap();
            let mut parts = bytes.chunks(LEN).enumerate();
            assert!(parts.all(|(number, part)| part.iter().all(|&b| b == number as u8)));
        }
        // Last ones first.
        while let Some(notify) = notifies.pop() {
            let (buf, _) = notified(notify).await;
            assert!(buf.iter().all(|&byte| byte == buf[0]) && buf.len() == LEN);
        }
    });
    assert_eq!(rt.metrics().zero_copy_bytes, 0);
    assert_eq!(rt.shutdown(LONG).leaked, 0);
}

fn a_buffer_comes_back_from_a_connection_that_was_reset(rt: Runtime, _: Way) {
    rt.block_on(async {
        let (client, server) = pair().await;
        client.send_all(b"unread".as_slice()).await.0.unwrap();
        sleep(Duration::from_millis(5)).await;
        // Bytes that nobody has read make the end a reset.
        drop(server);
        sleep(Duration::from_millis(5)).await;
        let sent = client.send_zc(pattern(50_000)).await;
        let kind = sent.result.unwrap_err().kind();
        assert!(matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{kind}");
        let (buf, usage) = notified(sent.notify).await;
        assert!(buf == pattern(50_000));
        assert_eq!(usage, ZcUsage::Unknown, "nothing was sent");
    });
    assert_eq!(rt.metrics().zero_copy_bytes, 0);
}

fn a_buffer_comes_back_from_a_connection_that_was_shut_down(rt: Runtime, _: Way) {
    rt.block_on(async {
        let (client, _server) = pair().await;
        client.shutdown(Shutdown::Write).unwrap();
        for len in [10, 50_000] {
            let sent = client.send_zc_all(pattern(len)).await;
            assert_eq!(sent.result.unwrap_err().kind(), ErrorKind::BrokenPipe);
            assert!(notified(sent.notify).await.0 == pattern(len));
        }
    });
}

fn a_peer_that_goes_without_reading_frees_the_buffers(rt: Runtime, way: Way) {
    let reports = rt.features().has(Feature::ReportUsage);
    rt.block_on(async {
        let (client, server) = pair().await;
        let mut notifies = Vec::new();
        // Until the queues of both sides are full.
        while let Ok(sent) =
            timeout(Duration::from_millis(50), client.send_zc(pattern(1 << 20))).await
        {
            sent.result.unwrap();
            notifies.push(sent.notify);
        }
        assert!(notifies.len() > 1);
        drop(server);
        let mut usages = Vec::new();
        for notify in notifies {
            let (buf, usage) = notified(notify).await;
            assert!(buf == pattern(1 << 20));
            usages.push(usage);
        }
        if way == Way::Ring && reports {
            let last = usages.last().unwrap();
            assert_eq!(*last, ZcUsage::ZeroCopy, "it never left the queue: {usages:?}");
        }
        assert!(client.send_zc(pattern(40_000)).await.result.is_err());
    });
    assert_eq!(rt.metrics().zero_copy_bytes, 0);
}

fn the_user_timeout_frees_the_buffers_from_a_peer_that_does_not_answer(rt: Runtime, _: Way) {
    rt.block_on(async {
        let (client, _server) = pair().await;
        client.set_user_timeout(Duration::from_millis(100)).unwrap();
        let mut notifies = Vec::new();
        // The last one waits for room until the connection is given up.
        let error = loop {
            let sent = timeout(LONG, client.send_zc(pattern(300_000))).await.expect("it waits on");
            notifies.push(sent.notify);
            if let Err(error) = sent.result {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        for notify in notifies {
            assert!(notified(notify).await.0 == pattern(300_000));
        }
    });
    assert_eq!(rt.metrics().zero_copy_bytes, 0);
}

fn what_was_sent_before_a_drop_arrives_and_then_the_end(rt: Runtime, _: Way) {
    rt.block_on(async {
        let (client, server) = pair().await;
        let mut expected = Vec::new();
        let mut kept = None;
        while let Ok(sent) =
            timeout(Duration::from_millis(50), client.send_zc(pattern(300_000))).await
        {
            expected.extend_from_slice(&pattern(300_000)[..sent.result.unwrap()]);
            kept = Some(sent.notify);
        }
        drop(client);
        sleep(Duration::from_millis(5)).await;
        // A send that was dropped while it waited for room has sent nothing, or some of its bytes.
        let received = receive_all(&server).await;
        assert!(received.starts_with(&expected));
        assert!(pattern(300_000).starts_with(&received[expected.len()..]));
        notified(kept.unwrap()).await;
    });
    assert_eq!(rt.shutdown(LONG).leaked, 0);
}

fn a_dropped_send_leaves_the_stream_in_one_piece(rt: Runtime, _: Way) {
    rt.block_on(async {
        let (client, server) = pair().await;
        let client = Rc::new(client);
        for round in 0..30 {
            let sender = client.clone();
            let sending = Box::pin(async move { sender.send_zc_all(vec![7; 60_000]).await });
            let (polled, sending) = poll_once(sending).await;
            if polled.is_pending() && round % 2 == 0 {
                support::yield_now().await;
            }
            drop(sending);
        }
        sleep(Duration::from_millis(20)).await;
        let sent = client.send_zc_all(vec![9; 5000]).await;
        sent.result.unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let received = receive_all(&server).await;
        let (before, after) = received.split_at(received.len() - 5000);
        assert!(before.iter().all(|&byte| byte == 7) && after.iter().all(|&byte| byte == 9));
    });
    let report = rt.shutdown(LONG);
    assert_eq!(report.leaked, 0);
}

fn notifications_are_no_hang_up_and_a_hang_up_is_one(rt: Runtime, _: Way) {
    rt.block_on(async {
        let (client, server) = pair().await;
        let client = Rc::new(client);
        let waiter = client.clone();
        let waiting = spawn(async move { waiter.hang_up().await });
        for _ in 0..5 {
            let sent = client.send_zc_all(pattern(100_000)).await;
            sent.result.unwrap();
            server.recv_exact(vec![0; 100_000]).await.0.unwrap();
            notified(sent.notify).await;
        }
        sleep(Duration::from_millis(60)).await;
        assert!(!waiting.is_finished());
        drop(server);
        timeout(LONG, waiting).await.expect("it was not noticed").unwrap().unwrap();
    });
}

fn nothing_to_send_is_sent_at_once(rt: Runtime, _: Way) {
    rt.block_on(async {
        let (client, _server) = pair().await;
        let sent = client.send_zc(Vec::new()).await;
        assert_eq!(sent.result.unwrap(), 0);
        assert!(sent.notify.is_ready());
        assert_eq!(client.send_zc_all(Vec::new()).await.result.unwrap(), 0);
        let none: Vec<Vec<u8>> = Vec::new();
        assert_eq!(client.sendmsg_zc(none).await.result.unwrap(), 0);
    });
}

fn a_socket_without_zero_copy_copies(rt: Runtime, way: Way) {
    rt.block_on(async {
        let (one, mut other) = UnixStream::pair().unwrap();
        let one: std::os::fd::OwnedFd = one.into();
        let stream = TcpStream::from_std(one.into()).unwrap();
        for _ in 0..3 {
            let sent = stream.send_zc_all(pattern(20_000)).await;
            assert_eq!(sent.result.unwrap(), 20_000);
            let (buf, usage) = notified(sent.notify).await;
            assert_eq!((buf.len(), usage), (20_000, ZcUsage::Copied));
            let mut bytes = vec![0; 20_000];
            other.read_exact(&mut bytes).unwrap();
            assert!(bytes == pattern(20_000));
        }
    });
    let metrics = rt.metrics();
    assert_eq!(metrics.zero_copy.plain, 3);
    if way == Way::Ring {
        let tried = metrics.of(OpKind::SendZc, Rung::Ring).unwrap().errors;
        assert_eq!(tried, 1, "the ring is asked once");
    }
}

fn the_end_of_the_runtime_keeps_what_the_kernel_may_read(rt: Runtime, way: Way) {
    let (mut peer, expected) = rt.block_on(async {
        let (client, server) = pair().await;
        let mut expected = Vec::new();
        while let Ok(sent) =
            timeout(Duration::from_millis(50), client.send_zc(pattern(300_000))).await
        {
            expected.extend_from_slice(&pattern(300_000)[..sent.result.unwrap()]);
        }
        (server.into_std().unwrap(), expected)
    });
    let held = rt.metrics().zero_copy_bytes;
    let report = rt.shutdown(Duration::from_millis(50));
    if way == Way::Plain {
        assert_eq!((held, report.leaked), (0, 0));
    } else {
        assert!(held > 0 && report.leaked > 0, "{held} bytes, {report:?}");
    }
    assert_eq!(report.cancelled, 0, "no task was the program's");
    // What was freed is somebody else's by now.
    let others: Vec<_> = (0..40).map(|_| vec![0xff_u8; 300_000]).collect();
    peer.set_nonblocking(false).unwrap();
    peer.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut received = vec![0; expected.len()];
    peer.read_exact(&mut received).unwrap();
    assert!(received == expected);
    drop(others);
}

fn a_stream_of_a_runtime_that_has_ended_sends_on_in_another(rt: Runtime, way: Way) {
    const LEN: usize = 100_000;
    let other = || runtime(rt.features().backend(), way, ZeroCopyPolicy::default()).unwrap();
    let (second, third) = (other(), other());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let mut receive = |count| server.read_exact(&mut vec![0; count * LEN]).unwrap();
    let send = async |client: &TcpStream| {
        let sent = client.send_zc_all(pattern(LEN)).await;
        sent.result.unwrap();
        Some(sent.notify)
    };

    let client = TcpStream::from_std(client).unwrap();
    drop(rt.block_on(send(&client)));
    receive(1);
    // All is acknowledged, and nobody has looked.
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(rt.shutdown(LONG).leaked, 0);

    let mut outstanding = None;
    second.block_on(async {
        let notify = send(&client).await;
        receive(1);
        notified(notify.unwrap()).await;
        outstanding = send(&client).await;
    });
    // This one is in the kernel still, which nobody waits for.
    second.shutdown(Duration::ZERO);

    third.block_on(async {
        let notify = send(&client).await;
        receive(2);
        notified(notify.unwrap()).await;
        drop(outstanding);
    });
    assert_eq!(third.shutdown(LONG).leaked, 0);
}

fn waiting_for_a_peer_that_does_not_read_costs_no_time(rt: Runtime, way: Way) {
    let polls = |rt: &Runtime| {
        let metrics = rt.metrics();
        let rungs = [Rung::Ring, Rung::Ready];
        rungs.iter().filter_map(|&rung| metrics.of(OpKind::Poll, rung)).map(|op| op.count).sum()
    };
    let (client, server) = rt.block_on(async {
        let (client, server) = pair().await;
        while timeout(Duration::from_millis(50), client.send_zc(pattern(300_000))).await.is_ok() {}
        (client, server)
    });
    let before: u64 = polls(&rt);
    // A half-closed and then a shut-down socket is "ready" for ever.
    rt.block_on(async {
        server.shutdown(Shutdown::Write).unwrap();
        sleep(Duration::from_millis(100)).await;
        client.shutdown(Shutdown::Both).unwrap();
        sleep(Duration::from_millis(300)).await;
    });
    let polled = polls(&rt) - before;
    assert!(polled < 60, "{way:?}: {polled} polls");
    rt.block_on(async {
        drop(client);
        receive_all(&server).await;
    });
    assert_eq!(rt.shutdown(LONG).leaked, 0);
}

#[test]
fn a_connection_whose_bytes_are_always_copied_switches_zero_copy_off() {
    for (backend, way) in [(Backend::Uring, Way::Ring), (Backend::Epoll, Way::ErrorQueue)] {
        let policy = ZeroCopyPolicy { copied_limit: 3, ..STEADFAST };
        let Some(rt) = reporting(runtime(backend, way, policy)) else { continue };
        rt.block_on(async {
            let (client, server) = pair().await;
            for _ in 0..10 {
                let sent = client.send_zc_all(pattern(50_000)).await;
                sent.result.unwrap();
                server.recv_exact(vec![0; 50_000]).await.0.unwrap();
                notified(sent.notify).await;
            }
        });
        let metrics = rt.metrics().zero_copy;
        assert_eq!((way.count(metrics), metrics.plain), (3, 7), "{backend}");
        assert_eq!((metrics.copied, metrics.switched_off), (3, 1), "{backend}");
    }
}

#[test]
fn notifications_count_when_nobody_looks_at_them() {
    for (backend, way) in [(Backend::Uring, Way::Ring), (Backend::Epoll, Way::ErrorQueue)] {
        let Some(rt) = reporting(runtime(backend, way, STEADFAST)) else { continue };
        let held = rt.block_on(async {
            let (client, server) = pair().await;
            let dropped = client.send_zc_all(pattern(50_000)).await;
            drop(dropped);
            let held = client.send_zc_all(pattern(50_000)).await;
            server.recv_exact(vec![0; 100_000]).await.0.unwrap();
            sleep(Duration::from_millis(100)).await;
            held
        });
        let metrics = rt.metrics();
        assert_eq!((metrics.zero_copy_bytes, metrics.zero_copy.copied), (0, 2), "{backend}");
        assert!(held.notify.is_ready());
        // The system's word on it is no operation of the program's that would have been cancelled.
        assert_eq!(metrics.in_flight, 0);
    }
}

#[test]
fn what_the_kernel_holds_stays_within_the_budgets() {
    for (backend, way) in [(Backend::Uring, Way::Ring), (Backend::Epoll, Way::ErrorQueue)] {
        let policy = ZeroCopyPolicy { per_connection: 100_000, per_runtime: 150_000, ..STEADFAST };
        let Some(rt) = runtime(backend, way, policy) else { continue };
        let mut connections = Vec::new();
        let mut most = 0;
        for expected in [100_000, 150_000, 150_000] {
            let connection = rt.block_on(async {
                let (client, server) = pair().await;
                // The peer does not read, so nothing is acknowledged beyond what it has room for.
                let full = async {
                    loop {
                        client.send_zc(pattern(80_000)).await.result.unwrap();
                        let held = ringway::metrics().zero_copy_bytes;
                        assert!(held <= expected, "{backend}: {held} of {expected}");
                        most = held.max(most);
                    }
                };
                timeout(Duration::from_millis(300), full).await.unwrap_err();
                (client, server)
            });
            connections.push(connection);
        }
        let metrics = rt.metrics();
        assert!(most > 0 && way.count(metrics.zero_copy) > 0, "{most}, {metrics}");
        assert!(metrics.zero_copy.plain > 0, "the rest was copied: {metrics}");
        rt.block_on(async { drop(connections) });
        assert_eq!(rt.shutdown(LONG).leaked, 0, "{backend}");
    }
}

#[test]
fn a_datagram_beyond_the_budget_is_copied_and_not_cut() {
    for (backend, way) in [(Backend::Uring, Way::Ring), (Backend::Epoll, Way::ErrorQueue)] {
        let policy = ZeroCopyPolicy { per_connection: 20_000, ..STEADFAST };
        let Some(rt) = runtime(backend, way, policy) else { continue };
        rt.block_on(async {
            let (client, server) = datagrams().await;
            for len in [20_001, 20_000] {
                let sent = client.send_zc(pattern(len)).await;
                assert_eq!(sent.result.unwrap(), len);
                assert!(server.recv(Vec::with_capacity(1 << 16)).await.1 == pattern(len));
                notified(sent.notify).await;
            }
        });
        let metrics = rt.metrics().zero_copy;
        assert_eq!((metrics.plain, way.count(metrics)), (1, 1), "{backend}");
    }
}

#[test]
fn without_reports_of_usage_it_is_unknown() {
    let mask = Mask::none().without(Feature::ReportUsage);
    let policy = Policy::new().zero_copy(STEADFAST);
    let builder = Builder::new().backend(Backend::Uring).mask(mask).policy(policy);
    let Ok(rt) = builder.build() else { return eprintln!("SKIPPED: no ring") };
    if rt.features().rungs(OpKind::SendZc).next().is_none() {
        return eprintln!("SKIPPED: no zero-copy sends on the ring");
    }
    rt.block_on(async {
        let (client, server) = pair().await;
        let sent = client.send_zc_all(pattern(50_000)).await;
        server.recv_exact(vec![0; 50_000]).await.0.unwrap();
        assert_eq!(notified(sent.notify).await.1, ZcUsage::Unknown);
        let sent = client.send_zc_all(pattern(50_000)).await;
        let (send, receive) = std::sync::mpsc::channel();
        sent.notify.detach(move |done| send.send(done.buf.len()).unwrap());
        server.recv_exact(vec![0; 50_000]).await.0.unwrap();
        sleep(Duration::from_millis(100)).await;
        assert_eq!(receive.try_recv(), Ok(50_000));
    });
}

#[test]
fn a_cancelled_send_answers_and_gives_its_buffer_back() {
    for (backend, way) in [
        (Backend::Uring, Way::Ring),
        (Backend::Hybrid, Way::ErrorQueue),
        (Backend::Epoll, Way::ErrorQueue),
        (Backend::Epoll, Way::Plain),
    ] {
        let Some(rt) = runtime(backend, way, STEADFAST) else { continue };
        rt.block_on(async {
            let (client, server) = pair().await;
            let token = CancelToken::new();
            let canceller = token.clone();
            spawn(async move {
                sleep(Duration::from_millis(100)).await;
                canceller.cancel();
            });
            let mut cancelled = 0;
            // The first is cancelled while it waits for room, the second as it begins.
            while cancelled < 2 {
                let sending = token.run(client.send_zc(vec![1; 100_000]));
                let sent = timeout(LONG, sending).await.expect("it was not cancelled");
                if let Err(error) = sent.result {
                    assert_eq!(error.raw_os_error(), Some(libc::ECANCELED), "{backend} {way:?}");
                    assert!(notified(sent.notify).await.0 == vec![1; 100_000]);
                    cancelled += 1;
                }
            }
            drop(server);
        });
        assert_eq!(rt.shutdown(LONG).leaked, 0);
    }
}

#[test]
fn a_stream_that_was_sent_on_by_somebody_else_is_not_numbered() {
    let rt = runtime(Backend::Epoll, Way::ErrorQueue, STEADFAST).unwrap();
    rt.block_on(async {
        let (client, server) = pair().await;
        let sent = client.send_zc_all(pattern(50_000)).await;
        server.recv_exact(vec![0; 50_000]).await.0.unwrap();
        notified(sent.notify).await;
        sleep(Duration::from_millis(5)).await;
        let client = TcpStream::from_std(client.into_std().unwrap()).unwrap();
        let sent = client.send_zc_all(pattern(50_000)).await;
        assert!(sent.notify.is_ready());
        sent.result.unwrap();
        server.recv_exact(vec![0; 50_000]).await.0.unwrap();
    });
    let metrics = rt.metrics().zero_copy;
    assert_eq!((metrics.error_queue, metrics.plain), (1, 1));
}

#[test]
fn registered_buffers_are_sent_from_and_come_back_to_their_pool() {
    for backend in [Backend::Uring, Backend::Hybrid, Backend::Epoll] {
        let Some(rt) = runtime(backend, Way::Ring, STEADFAST) else { continue };
        let registered = rt.block_on(async {
            let pool = FixedPool::new(3, 50_000).unwrap();
            let (client, server) = pair().await;
            for _ in 0..10 {
                let mut buf = timeout(LONG, pool.get()).await.unwrap();
                buf.extend_from_slice(&pattern(50_000));
                let sent = client.send_zc_all(buf.slice(1..40_001)).await;
                assert_eq!(sent.result.unwrap(), 40_000);
                let (received, bytes) = server.recv_exact(vec![0; 40_000]).await;
                received.unwrap();
                assert!(bytes == pattern(50_000)[1..40_001]);
                // The buffer goes back to the pool by itself.
                drop(sent.notify);
            }
            let registered = pool.is_registered();
            drop(pool);
            registered
        });
        assert_eq!(registered, rt.features().has(Feature::FixedBuffers), "{backend}");
        let fixed = if registered { 10 } else { 0 };
        assert_eq!(rt.metrics().zero_copy.fixed, fixed, "{backend}");
    }
}

#[test]
fn a_pool_without_a_table_of_registered_buffers_works() {
    let mask = Mask::none().without(Feature::FixedBuffers);
    let Ok(rt) = Builder::new().backend(Backend::Uring).mask(mask).build() else {
        return eprintln!("SKIPPED: no ring");
    };
    rt.block_on(async {
        let pool = FixedPool::new(2, 100_000).unwrap();
        assert!(!pool.is_registered());
        let (client, server) = pair().await;
        let mut buf = pool.try_get().unwrap();
        buf.extend_from_slice(&pattern(100_000));
        let sent = client.send_zc_all(buf).await;
        sent.result.unwrap();
        assert!(server.recv_exact(vec![0; 100_000]).await.1 == pattern(100_000));
        assert!(*notified(sent.notify).await.0 == *pattern(100_000));
    });
    assert_eq!(rt.metrics().zero_copy.fixed, 0);
}

#[test]
fn pool_buffers_and_runtimes_go_in_any_order() {
    for backend in [Backend::Uring, Backend::Epoll] {
        let Some(rt) = runtime(backend, Way::Ring, STEADFAST) else { continue };
        let (pool, mut buf) = rt.block_on(async {
            let pool = FixedPool::new(2, 8192).unwrap();
            let buf = pool.try_get().unwrap();
            (pool, buf)
        });
        drop(pool);
        drop(rt);
        buf.extend_from_slice(b"alone");
        // In another runtime it is memory like any other.
        let Some(rt) = runtime(backend, Way::Ring, STEADFAST) else { continue };
        rt.block_on(async {
            let (client, server) = pair().await;
            buf.extend_from_slice(&[1; 8000]);
            let sent = client.send_zc_all(buf).await;
            sent.result.unwrap();
            assert_eq!(server.recv_exact(vec![0; 8005]).await.1[..6], *b"alone\x01");
        });
        assert_eq!(rt.metrics().zero_copy.fixed, 0);
        // Places are used again.
        let began = Instant::now();
        rt.block_on(async {
            for _ in 0..1100 {
                let pool = FixedPool::new(1, 100).unwrap();
                assert_eq!(pool.is_registered(), rt.features().has(Feature::FixedBuffers));
            }
        });
        assert!(began.elapsed() < LONG);
    }
}

#[test]
fn a_pool_that_ends_on_another_thread_gives_its_place_back() {
    let Some(rt) = runtime(Backend::Uring, Way::Ring, STEADFAST) else { return };
    let has_table = rt.features().has(Feature::FixedBuffers);
    rt.block_on(async {
        // More than a ring has places for.
        for _ in 0..1100 {
            let pool = FixedPool::new(1, 100).unwrap();
            assert_eq!(pool.is_registered(), has_table);
            std::thread::spawn(move || drop(pool)).join().unwrap();
        }
    });
    let pool = rt.block_on(async { FixedPool::new(1, 100).unwrap() });
    std::thread::spawn(move || {
        let mut buf = pool.try_get().unwrap();
        drop(pool);
        let rt = Builder::new().backend(Backend::Uring).build().unwrap();
        rt.block_on(async {
            // To another ring it is memory like any other.
            buf.extend_from_slice(b"elsewhere");
            let file: ringway::fs::File =
                std::os::fd::OwnedFd::from(tempfile::tempfile().unwrap()).into();
            assert_eq!(file.write_fixed_at(buf, 0).await.0.unwrap(), 9);
        });
        let metrics = rt.metrics();
        assert!(metrics.operations.iter().all(|op| op.kind != OpKind::WriteFixed), "{metrics}");
    })
    .join()
    .unwrap();
}

#[test]
fn files_are_read_and_written_through_registered_buffers() {
    for backend in [Backend::Uring, Backend::Hybrid, Backend::Epoll] {
        let Some(rt) = runtime(backend, Way::Ring, STEADFAST) else { continue };
        let file: ringway::fs::File =
            std::os::fd::OwnedFd::from(tempfile::tempfile().unwrap()).into();
        rt.block_on(async {
            let pool = FixedPool::new(2, 10_000).unwrap();
            let mut buf = pool.try_get().unwrap();
            buf.extend_from_slice(&pattern(9000));
            let (written, part) = file.write_fixed_at(buf.slice(1000..), 500).await;
            assert_eq!(written.unwrap(), 8000);
            drop(part);
            let (read, buf) = file.read_fixed_at(pool.try_get().unwrap(), 0).await;
            assert_eq!(read.unwrap(), 8500);
            assert!(buf[500..] == pattern(9000)[1000..] && buf[..500].iter().all(|&b| b == 0));
            let (read, vec) = file.read_fixed_at(Vec::with_capacity(10), 500).await;
            assert_eq!(read.unwrap(), 10);
            assert!(vec == pattern(9000)[1000..1010]);
        });
        let metrics = rt.metrics();
        let fixed = metrics.operations.iter().any(|op| op.kind == OpKind::WriteFixed);
        assert_eq!(fixed, rt.features().has(Feature::FixedBuffers), "{backend}: {metrics}");
    }
}

mod limited {
    //! In a child process, as a user whom the limit on locked memory binds.
    #![allow(unsafe_code, reason = "limits a child process by system calls")]

    use std::process::Command;

    use super::*;

    const ROLE: &str = "RINGWAY_TEST_ZEROCOPY";

    #[test]
    fn beyond_the_limit_on_locked_memory_bytes_are_copied() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "limited::the_child", "--nocapture", "--test-threads=1"])
            .env(ROLE, "memlock")
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && told.contains("REFUSED"), "{told}\n{log}");
    }

    #[test]
    fn the_child() {
        if std::env::var(ROLE).is_err() {
            return;
        }
        let limit = libc::rlimit { rlim_cur: 1 << 20, rlim_max: 1 << 20 };
        // SAFETY: the limit lives through the call, and the other names no memory.
        unsafe {
            assert_eq!(libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit), 0);
            if libc::geteuid() == 0 {
                assert_eq!(libc::setresuid(65_534, 65_534, 65_534), 0);
            }
        }
        for backend in [Backend::Auto, Backend::Epoll] {
            let policy = Policy::new().zero_copy(STEADFAST);
            let rt = Builder::new().backend(backend).policy(policy).build().unwrap();
            rt.block_on(async {
                let pool = FixedPool::new(4, 1 << 20).unwrap();
                assert!(!pool.is_registered(), "4 MiB within a limit of 1");
                let (client, server) = pair().await;
                let receiving = spawn(async move {
                    let (received, bytes) = server.recv_exact(vec![0; 4 << 20]).await;
                    received.unwrap();
                    assert!(bytes == pattern(4 << 20));
                });
                let sent = client.send_zc_all(pattern(4 << 20)).await;
                assert_eq!(sent.result.unwrap(), 4 << 20);
                receiving.await.unwrap();
                let (buf, usage) = notified(sent.notify).await;
                assert_eq!((buf.len(), usage), (4 << 20, ZcUsage::Copied));
            });
            let metrics = rt.metrics().zero_copy;
            assert!(metrics.refused > 0 && metrics.plain > 0, "{backend}: {metrics:?}");
            println!("REFUSED {backend} {metrics:?}");
        }
    }
}
