//! Unix sockets on every backend.

#[path = "support/policies.rs"]
mod policies;
mod support;

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ringway::buf::IoBufExt;
use ringway::net::{FDS_MAX, UnixDatagram, UnixListener, UnixStream};
use ringway::time::{sleep, timeout};
use ringway::{Backend, Builder, Runtime};
use rustix::io::FdFlags;
use rustix::pipe::{PipeFlags, pipe_with};
use support::pattern;

on_each_backend_and_rung!(
    a_listener_at_a_path_accepts,
    a_listener_with_an_abstract_name_accepts,
    connecting_to_nobody_is_refused,
    a_full_backlog_makes_clients_wait,
    streams_carry_a_mebibyte_both_ways,
    the_end_of_a_stream_is_seen,
    a_stream_moves_through_std,
    a_peer_is_known_by_its_credentials,
    descriptors_are_passed_and_can_be_used,
    as_many_descriptors_as_the_kernel_passes,
    too_many_descriptors_are_an_error,
    datagrams_keep_their_boundaries_and_their_sender,
    datagrams_pass_descriptors,
    a_datagram_that_is_too_long_is_cut_or_refused,
    a_datagram_to_a_connected_peer_waits_while_its_queue_is_full,
    a_datagram_to_somebody_waits_while_its_queue_is_full,
    a_datagram_between_two_waits_for_room_in_the_senders_buffer,
    a_datagram_to_nobody_is_refused,
);

/// Long enough for anything that is not lost.
const SOON: Duration = Duration::from_secs(5);

/// A name that no other test has.
fn name() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (pid, next) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    SocketAddr::from_abstract_name(format!("ringway-test-{pid}-{next}")).unwrap()
}

fn pipe() -> (OwnedFd, OwnedFd) {
    pipe_with(PipeFlags::CLOEXEC).unwrap()
}

fn is_same_file(one: &OwnedFd, other: &OwnedFd) -> bool {
    let of = |fd: &OwnedFd| {
        let about = File::from(fd.try_clone().unwrap()).metadata().unwrap();
        (about.dev(), about.ino())
    };
    of(one) == of(other)
}

async fn soon<F: Future>(future: F) -> F::Output {
    timeout(SOON, future).await.expect("it still waits")
}

fn a_listener_at_a_path_accepts(rt: Runtime) {
    rt.block_on(async {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(listener.local_addr().unwrap().as_pathname(), Some(path.as_path()));
        let client = UnixStream::connect(&path).await.unwrap();
        let (server, from) = soon(listener.accept()).await.unwrap();
        assert!(from.is_unnamed());
        assert_eq!(client.peer_addr().unwrap().as_pathname(), Some(path.as_path()));
        assert!(server.peer_addr().unwrap().is_unnamed());
        assert_eq!(server.local_addr().unwrap().as_pathname(), Some(path.as_path()));
        client.send_all(b"hello".as_slice()).await.0.unwrap();
        let (received, buf) = soon(server.recv_exact(vec![0; 5])).await;
        received.unwrap();
        assert_eq!(buf, b"hello");
        assert_eq!(UnixListener::bind(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
        assert_eq!(UnixListener::bind("").unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

fn a_listener_with_an_abstract_name_accepts(rt: Runtime) {
    rt.block_on(async {
        let name = name();
        let listener = UnixListener::bind_addr(&name).unwrap();
        let listener = UnixListener::from_std(listener.into_std().unwrap()).unwrap();
        // While the accept waits.
        let listener = Rc::new(listener);
        let server = listener.clone();
        let accepting = ringway::spawn(async move { server.accept().await.unwrap() });
        support::yield_now().await;
        let client = UnixStream::connect_addr(&name).await.unwrap();
        let (server, _) = soon(accepting).await.unwrap();
        assert_eq!(client.peer_addr().unwrap().as_abstract_name(), name.as_abstract_name());
        server.send_all(b"hello".as_slice()).await.0.unwrap();
        assert_eq!(soon(client.recv(vec![0; 9])).await.0.unwrap(), 5);
        assert_eq!(UnixListener::bind_addr(&name).unwrap_err().kind(), ErrorKind::AddrInUse);
    });
}

fn connecting_to_nobody_is_refused(rt: Runtime) {
    rt.block_on(async {
        let error = UnixStream::connect_addr(&name()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let error = UnixStream::connect("/nowhere/at/all").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let error = UnixStream::connect("x".repeat(200)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}

fn a_full_backlog_makes_clients_wait(rt: Runtime) {
    rt.block_on(async {
        let name = name();
        let listener = UnixListener::bind_addr(&name).unwrap();
        // A second listen sets the backlog anew: this one holds two.
        rustix::net::listen(&listener, 1).unwrap();
        let clients: Vec<_> = (0..5)
            .map(|_| {
                let name = name.clone();
                ringway::spawn(async move { UnixStream::connect_addr(&name).await })
            })
            .collect();
        sleep(Duration::from_millis(10)).await;
        assert!(!clients.iter().all(|client| client.is_finished()), "nobody had to wait");
        let mut servers = Vec::new();
        for _ in 0..clients.len() {
            servers.push(soon(listener.accept()).await.unwrap());
        }
        for client in clients {
            soon(client).await.unwrap().unwrap();
        }
    });
}

fn streams_carry_a_mebibyte_both_ways(rt: Runtime) {
    const LEN: usize = 1 << 20;
    async fn exchange(stream: UnixStream) {
        let stream = Rc::new(stream);
        let sender = stream.clone();
        let sending = ringway::spawn(async move { sender.send_all(pattern(LEN)).await.0 });
        let (received, bytes) = soon(stream.recv_exact(Vec::with_capacity(LEN))).await;
        received.unwrap();
        assert!(bytes[..LEN] == pattern(LEN));
        soon(sending).await.unwrap().unwrap();
    }
    rt.block_on(async {
        let (one, other) = UnixStream::pair().unwrap();
        let other = ringway::spawn(exchange(other));
        exchange(one).await;
        other.await.unwrap();
    });
}

fn the_end_of_a_stream_is_seen(rt: Runtime) {
    rt.block_on(async {
        let (one, other) = UnixStream::pair().unwrap();
        one.send_all(b"abc".as_slice()).await.0.unwrap();
        one.shutdown(Shutdown::Write).unwrap();
        soon(other.hang_up()).await.unwrap();
        let (received, buf) = other.recv_exact(vec![0; 4]).await;
        assert_eq!(received.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert_eq!(&buf[..3], b"abc");
        // Dropped with a receive in flight, it tells its peer.
        let receiving = ringway::spawn(async move { one.recv(vec![0; 9]).await.0 });
        sleep(Duration::from_millis(5)).await;
        receiving.abort();
        soon(receiving).await.unwrap_err();
        let broken = loop {
            if let (Err(error), _) = soon(other.send(b"x".as_slice())).await {
                break error.kind();
            }
            sleep(Duration::from_millis(1)).await;
        };
        assert!(matches!(broken, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{broken}");
    });
}

fn a_stream_moves_through_std(rt: Runtime) {
    rt.block_on(async {
        let (one, other) = UnixStream::pair().unwrap();
        let other = UnixStream::from_std(other.into_std().unwrap()).unwrap();
        one.send(b"0123".as_slice().slice(1..3)).await.0.unwrap();
        let (received, buf) = other.recv(vec![0; 4].slice(..2)).await;
        assert_eq!((received.unwrap(), buf.into_inner()), (2, b"12\0\0".to_vec()));
        let mut receiving = Box::pin(other.recv(vec![0; 1]));
        let (polled, _) = support::poll_once(receiving.as_mut()).await;
        assert!(polled.is_pending());
        drop(receiving);
        assert_eq!(other.into_std().unwrap_err().kind(), ErrorKind::ResourceBusy);
        assert_eq!(soon(one.recv(vec![0; 1])).await.0.unwrap(), 0, "refused, so it was closed");
    });
}

fn a_peer_is_known_by_its_credentials(rt: Runtime) {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    rt.block_on(async {
        let name = name();
        let listener = UnixListener::bind_addr(&name).unwrap();
        let client = UnixStream::connect_addr(&name).await.unwrap();
        let (server, _) = soon(listener.accept()).await.unwrap();
        let (one, other) = UnixDatagram::pair().unwrap();
        let known = [client.peer_cred(), server.peer_cred(), one.peer_cred(), other.peer_cred()];
        for peer in known.map(Result::unwrap) {
            assert_eq!((peer.pid, peer.uid, peer.gid), (Some(std::process::id()), uid, gid));
        }
    });
}

fn descriptors_are_passed_and_can_be_used(rt: Runtime) {
    rt.block_on(async {
        let (one, other) = UnixStream::pair().unwrap();
        let ((read, write), (read_too, _write_too)) = (pipe(), pipe());
        let sent = one.send_with_fds(b"two".as_slice(), &[write.as_fd(), read_too.as_fd()]).await.0;
        assert_eq!(sent.unwrap(), 3);
        one.send_with_fds(b"none".as_slice(), &[]).await.0.unwrap();
        drop(write);
        let (meta, buf) = soon(other.recv_with_fds(vec![0; 9], 8)).await;
        let meta = meta.unwrap();
        // A receive ends with the bytes that descriptors came with.
        assert_eq!((meta.len, &buf[..3]), (3, b"two".as_slice()));
        assert!(!meta.fds_truncated && !meta.truncated && meta.from.is_unnamed());
        assert!(meta.fds.iter().all(|fd| rustix::io::fcntl_getfd(fd).unwrap() == FdFlags::CLOEXEC));
        let [write, read_too_too]: [_; 2] = meta.fds.try_into().unwrap();
        assert!(is_same_file(&read_too, &read_too_too));
        File::from(write).write_all(b"through").unwrap();
        let mut through = String::new();
        // To the end: no other end for writing is open any more.
        File::from(read).read_to_string(&mut through).unwrap();
        assert_eq!(through, "through");
        let (meta, _) = soon(other.recv_with_fds(vec![0; 9], 8)).await;
        let meta = meta.unwrap();
        assert_eq!((meta.len, meta.fds.len(), meta.fds_truncated), (4, 0, false));
        // Not without a byte.
        let error = one.send_with_fds(b"".as_slice(), &[read_too.as_fd()]).await.0.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}

fn as_many_descriptors_as_the_kernel_passes(rt: Runtime) {
    rt.block_on(async {
        let (one, other) = UnixStream::pair().unwrap();
        let (read, _write) = pipe();
        let all = [read.as_fd(); FDS_MAX];
        one.send_with_fds(b"x".as_slice(), &all).await.0.unwrap();
        let (meta, _) = soon(other.recv_with_fds(vec![0; 9], usize::MAX)).await;
        let meta = meta.unwrap();
        assert_eq!((meta.fds.len(), meta.fds_truncated), (FDS_MAX, false));
        assert!(meta.fds.iter().all(|fd| is_same_file(fd, &read)));
        for wanted in [1, 2, 3, 0] {
            one.send_with_fds(b"x".as_slice(), &all[..4]).await.0.unwrap();
            let (meta, _) = soon(other.recv_with_fds(vec![0; 1], wanted)).await;
            let meta = meta.unwrap();
            assert_eq!((meta.fds.len(), meta.fds_truncated), (wanted, true));
        }
    });
}

fn too_many_descriptors_are_an_error(rt: Runtime) {
    rt.block_on(async {
        let (one, other) = UnixStream::pair().unwrap();
        let (read, _write) = pipe();
        let (sent, buf) = one.send_with_fds(vec![7; 3], &[read.as_fd(); FDS_MAX + 1]).await;
        assert_eq!(sent.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(buf, [7; 3]);
        timeout(Duration::from_millis(5), other.recv(vec![0; 1])).await.unwrap_err();
    });
}

fn datagrams_keep_their_boundaries_and_their_sender(rt: Runtime) {
    rt.block_on(async {
        let scratch = tempfile::tempdir().unwrap();
        let (from, to) = (scratch.path().join("from"), scratch.path().join("to"));
        let (one, other) = (UnixDatagram::bind(&from).unwrap(), UnixDatagram::bind(&to).unwrap());
        assert_eq!(one.local_addr().unwrap().as_pathname(), Some(from.as_path()));
        // Nothing is there yet.
        let receiver = Rc::new(other);
        let other = receiver.clone();
        let receiving = ringway::spawn(async move { other.recv_from(vec![0; 9]).await });
        support::yield_now().await;
        assert_eq!(one.send_to(b"one".as_slice(), &to).await.0.unwrap(), 3);
        let (meta, buf) = soon(receiving).await.unwrap();
        let meta = meta.unwrap();
        assert_eq!((meta.len, &buf[..3]), (3, b"one".as_slice()));
        assert_eq!(meta.from.as_pathname(), Some(from.as_path()));
        let name = name();
        let named = UnixDatagram::bind_addr(&name).unwrap();
        let nameless = UnixDatagram::unbound().unwrap();
        for len in [0, 1, 100_000] {
            nameless.send_to_addr(pattern(len), &name).await.0.unwrap();
            let (meta, buf) = soon(named.recv_from(vec![0; 100_001])).await;
            let meta = meta.unwrap();
            assert_eq!(meta.len, len);
            assert!(meta.from.is_unnamed() && buf[..len] == pattern(len));
        }
        named.send_to(b"back".as_slice(), &from).await.0.unwrap();
        let (meta, _) = soon(one.recv_from(vec![0; 9])).await;
        assert_eq!(meta.unwrap().from.as_abstract_name(), name.as_abstract_name());
        one.connect_addr(&name).await.unwrap();
        assert_eq!(one.peer_addr().unwrap().as_abstract_name(), name.as_abstract_name());
        one.send(b"connected".as_slice()).await.0.unwrap();
        assert_eq!(soon(named.recv(vec![0; 99])).await.0.unwrap(), 9);
    });
}

fn datagrams_pass_descriptors(rt: Runtime) {
    rt.block_on(async {
        let (one, other) = UnixDatagram::pair().unwrap();
        let (read, _write) = pipe();
        // Even an empty datagram can.
        one.send_with_fds(b"".as_slice(), &[read.as_fd()]).await.0.unwrap();
        let (meta, _) = soon(other.recv_with_fds(vec![0; 9], 1)).await;
        let meta = meta.unwrap();
        assert_eq!((meta.len, meta.fds_truncated), (0, false));
        assert!(is_same_file(&read, &meta.fds[0]));
        one.send_with_fds(b"x".as_slice(), &[read.as_fd()]).await.0.unwrap();
        let meta = soon(other.recv_from(vec![0; 9])).await.0.unwrap();
        assert_eq!((meta.len, meta.fds.len(), meta.fds_truncated), (1, 0, true));
    });
}

fn a_datagram_that_is_too_long_is_cut_or_refused(rt: Runtime) {
    rt.block_on(async {
        let (one, other) = UnixDatagram::pair().unwrap();
        one.send(b"0123456789".as_slice()).await.0.unwrap();
        let (meta, buf) = soon(other.recv_from(vec![0; 4])).await;
        let meta = meta.unwrap();
        assert_eq!((meta.len, meta.truncated, buf), (4, true, b"0123".to_vec()));
        rustix::net::sockopt::set_socket_send_buffer_size(&one, 10_000).unwrap();
        let error = soon(one.send(vec![0; 100_000])).await.0.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
    });
}

/// Sends `count` datagrams, of which the receiver's queue (`net.unix.max_dgram_qlen`) holds fewer, and
/// receives them when their sender waits.
async fn overfill(sender: UnixDatagram, to: Option<SocketAddr>, receiver: &UnixDatagram) {
    let count = 3 + queue_len();
    let sending = ringway::spawn(async move {
        for i in 0..count {
            let bytes = vec![i as u8; 3];
            let (sent, _) = match &to {
                Some(to) => sender.send_to_addr(bytes, to).await,
                None => sender.send(bytes).await,
            };
            sent.unwrap();
        }
    });
    sleep(Duration::from_millis(20)).await;
    assert!(!sending.is_finished(), "nothing had to wait");
    for i in 0..count {
        let (received, buf) = soon(receiver.recv(vec![0; 9])).await;
        assert_eq!((received.unwrap(), buf[0]), (3, i as u8), "in order");
    }
    soon(sending).await.unwrap();
}

fn queue_len() -> usize {
    let text = std::fs::read_to_string("/proc/sys/net/unix/max_dgram_qlen").unwrap();
    text.trim().parse().unwrap()
}

fn a_datagram_to_a_connected_peer_waits_while_its_queue_is_full(rt: Runtime) {
    if queue_len() > 250 {
        return eprintln!("SKIPPED: the queue is longer than the sender's buffer");
    }
    rt.block_on(async {
        let name = name();
        let receiver = UnixDatagram::bind_addr(&name).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        sender.connect_addr(&name).await.unwrap();
        overfill(sender, None, &receiver).await;
    });
}

fn a_datagram_to_somebody_waits_while_its_queue_is_full(rt: Runtime) {
    if queue_len() > 250 {
        return eprintln!("SKIPPED: the queue is longer than the sender's buffer");
    }
    rt.block_on(async {
        let name = name();
        let receiver = UnixDatagram::bind_addr(&name).unwrap();
        overfill(UnixDatagram::unbound().unwrap(), Some(name), &receiver).await;
    });
}

fn a_datagram_between_two_waits_for_room_in_the_senders_buffer(rt: Runtime) {
    const COUNT: usize = 50;
    rt.block_on(async {
        let (one, other) = UnixDatagram::pair().unwrap();
        rustix::net::sockopt::set_socket_send_buffer_size(&one, 20_000).unwrap();
        let sending = ringway::spawn(async move {
            for i in 0..COUNT {
                one.send(vec![i as u8; 10_000]).await.0.unwrap();
            }
        });
        sleep(Duration::from_millis(20)).await;
        assert!(!sending.is_finished(), "nothing had to wait");
        for i in 0..COUNT {
            let (received, buf) = soon(other.recv(vec![0; 10_000])).await;
            assert_eq!((received.unwrap(), buf[9999]), (10_000, i as u8));
        }
        soon(sending).await.unwrap();
    });
}

fn a_datagram_to_nobody_is_refused(rt: Runtime) {
    rt.block_on(async {
        let one = UnixDatagram::unbound().unwrap();
        let error = one.send_to_addr(b"x".as_slice(), &name()).await.0.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let error = one.send_to(b"x".as_slice(), Path::new("/nowhere")).await.0.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let error = one.send(b"x".as_slice()).await.0.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        let name = name();
        let other = UnixDatagram::bind_addr(&name).unwrap();
        one.connect_addr(&name).await.unwrap();
        drop(other);
        let error = one.send(b"x".as_slice()).await.0.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

/// Other tests open descriptors meanwhile, so what counts them has a process of its own.
#[test]
fn no_descriptor_is_left_open() {
    const ROLE: &str = "RINGWAY_TEST_ROLE";
    if std::env::var(ROLE).is_ok() {
        for backend in [Backend::Uring, Backend::Hybrid, Backend::Epoll] {
            match Builder::new().backend(backend).build() {
                Ok(rt) => rt.block_on(count_descriptors()),
                Err(error) => println!("SKIPPED: {error}"),
            }
        }
        return;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "no_descriptor_is_left_open", "--nocapture", "--test-threads=1"])
        .env(ROLE, "count")
        .output()
        .unwrap();
    let told = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&told));
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

async fn count_descriptors() {
    let (one, other) = UnixStream::pair().unwrap();
    let (read, _write) = pipe();
    let three = [read.as_fd(); 3];
    // Threads and buffers of the runtime are there then.
    exchange(&one, &other, &three).await;
    let before = open_descriptors();
    exchange(&one, &other, &three).await;
    assert_eq!(open_descriptors(), before, "received, and dropped");

    // Nobody asked for them.
    one.send_with_fds(b"x".as_slice(), &three).await.0.unwrap();
    other.recv(vec![0; 1]).await.0.unwrap();
    // Fewer were asked for than came.
    one.send_with_fds(b"x".as_slice(), &three).await.0.unwrap();
    let meta = other.recv_with_fds(vec![0; 1], 2).await.0.unwrap();
    assert_eq!((meta.fds.len(), meta.fds_truncated), (2, true));
    assert_eq!(open_descriptors(), before + 2, "those that were asked for");
    drop(meta);
    assert_eq!(open_descriptors(), before);

    for _ in 0..200 {
        win_and_lose(&one, &other, &three).await;
    }
    assert_eq!(open_descriptors(), before, "won by receives that were dropped");

    // A send that is dropped while it waits keeps what it lent only as long as the kernel may look.
    let mut sending = Box::pin(fill_and_send(&one, &three));
    let (polled, _) = support::poll_once(sending.as_mut()).await;
    assert!(polled.is_pending());
    drop(sending);
    sleep(Duration::from_millis(20)).await;
    assert_eq!(open_descriptors(), before, "lent by a send that was dropped");
}

async fn exchange(one: &UnixStream, other: &UnixStream, fds: &[BorrowedFd<'_>]) {
    one.send_with_fds(b"x".as_slice(), fds).await.0.unwrap();
    let meta = soon(other.recv_with_fds(vec![0; 1], fds.len())).await.0.unwrap();
    assert_eq!(meta.fds.len(), fds.len());
}

/// Drops a receive in flight that has won what was sent to it, or is about to.
async fn win_and_lose(one: &UnixStream, other: &UnixStream, fds: &[BorrowedFd<'_>]) {
    let mut receiving = Box::pin(other.recv_with_fds(vec![0; 1], fds.len()));
    let (polled, _) = support::poll_once(receiving.as_mut()).await;
    assert!(polled.is_pending());
    // By the system call, so that it is there before the runtime's thread turns to its drivers.
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = rustix::net::SendAncillaryBuffer::new(&mut space);
    assert!(control.push(rustix::net::SendAncillaryMessage::ScmRights(fds)));
    let bytes = [std::io::IoSlice::new(b"x")];
    let flags = rustix::net::SendFlags::empty();
    rustix::net::sendmsg(one, &bytes, &mut control, flags).unwrap();
    drop(receiving);
    // Whether or not the receive won it, nothing is left of it.
    sleep(Duration::from_millis(2)).await;
    let mut rest = [0; 1];
    let _ = rustix::net::recv(other.as_fd(), &mut rest[..], rustix::net::RecvFlags::DONTWAIT);
}

/// Sends descriptors into a stream that is full.
async fn fill_and_send(stream: &UnixStream, fds: &[BorrowedFd<'_>]) {
    let full = vec![0; 1 << 20];
    let _ = timeout(Duration::from_millis(5), stream.send_all(full)).await;
    stream.send_with_fds(b"x".as_slice(), fds).await.0.unwrap();
}
