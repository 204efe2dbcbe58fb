//! Whatever the kernel may do to an operation and seldom does: transfers go on after it where they can, say so where
//! they cannot, and nothing hangs, is lost or is left over.

mod support;

use std::io;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, try_join};
use ringway::fs::{Dir, File, OFlags, OpenHow, RenameFlags};
use ringway::net::{RecvPool, TcpListener, TcpStream};
use ringway::pipe::{
    PipePool, copy_file_to_socket, copy_socket_to_file, copy_socket_to_socket, pipe, splice, tee,
};
use ringway::time::{sleep, timeout};
use ringway::{Backend, Builder, Chance, Fault, Faults, OpKind, Runtime};
use support::files::{create, scratch};
use support::pattern;
use tempfile::TempDir;

/// For machines that are busy; what takes longer hangs.
const LONG: Duration = Duration::from_secs(30);

/// More than a pipe or a socket holds, and no multiple of anything.
const LENGTH: usize = 300_001;

/// How often each transfer is made.
const ROUNDS: usize = 12;

/// A transfer of some kind, which panics over a wrong byte.
type Transfer = fn() -> LocalBoxFuture<'static, io::Result<()>>;

const TRANSFERS: [(&str, Transfer); 10] = [
    ("send and receive", || sent_and_received().boxed_local()),
    ("send without a copy", || sent_without_a_copy().boxed_local()),
    ("receive as a stream", || received_as_a_stream().boxed_local()),
    ("accept", || accepted().boxed_local()),
    ("write and read a file", || written_and_read().boxed_local()),
    ("a file's name", || named().boxed_local()),
    ("from file to socket", || from_file_to_socket().boxed_local()),
    ("from socket to file", || from_socket_to_file().boxed_local()),
    ("from socket to socket", || from_socket_to_socket().boxed_local()),
    ("from pipe to pipes", || from_pipe_to_pipes().boxed_local()),
];

macro_rules! with_faults {
    ($($name:ident),* $(,)?) => {
        mod uring { $(#[test] fn $name() { super::$name(ringway::Backend::Uring); })* }
        mod hybrid { $(#[test] fn $name() { super::$name(ringway::Backend::Hybrid); })* }
        mod epoll { $(#[test] fn $name() { super::$name(ringway::Backend::Epoll); })* }
    };
}

with_faults!(
    what_is_cut_short_or_interrupted_goes_on_to_its_end,
    what_fails_says_so_and_leaves_nothing_behind,
    a_refusal_for_want_of_memory_is_answered_by_another_rung,
    without_faults_nothing_goes_wrong,
);

/// A runtime with faults, or `None` where the kernel gives no ring.
fn runtime(backend: Backend, faults: Faults) -> Option<Runtime> {
    match Builder::new().backend(backend).faults(faults).build() {
        Ok(runtime) => Some(runtime),
        Err(error) if backend != Backend::Epoll => {
            eprintln!("SKIPPED: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn what_is_cut_short_or_interrupted_goes_on_to_its_end(backend: Backend) {
    let faults = Faults::none()
        .with(Fault::Short, Chance::new(1, 2))
        .with(Fault::Interrupted, Chance::new(1, 3));
    let Some(rt) = runtime(backend, faults) else { return };
    for (name, transfer) in TRANSFERS {
        for _ in 0..ROUNDS {
            let made = rt.block_on(async { timeout(LONG, transfer()).await });
            made.unwrap_or_else(|_| panic!("{name} hangs"))
                .unwrap_or_else(|e| panic!("{name}: {e}"));
        }
    }
    let faults = rt.metrics().faults;
    assert!(faults.short > 100 && faults.interrupted > 10, "{faults}");
    assert_nothing_is_left(rt);
}

fn what_fails_says_so_and_leaves_nothing_behind(backend: Backend) {
    for seed in 0..4 {
        let faults = Faults::none()
            .seed(seed)
            .with(Fault::Short, Chance::new(1, 3))
            .with(Fault::Interrupted, Chance::new(1, 10))
            .with(Fault::NoMemory, Chance::new(1, 30))
            .with(Fault::Cancelled, Chance::new(1, 30));
        let Some(rt) = runtime(backend, faults) else { return };
        let (mut failed, mut succeeded) = (0, 0);
        for (name, transfer) in TRANSFERS {
            for _ in 0..ROUNDS {
                let made = rt.block_on(async { timeout(LONG, transfer()).await });
                match made.unwrap_or_else(|_| panic!("{name} hangs")) {
                    Ok(()) => succeeded += 1,
                    Err(error) => {
                        let errno = error.raw_os_error();
                        let is_ours = [libc::ENOMEM, libc::ECANCELED].map(Some).contains(&errno);
                        assert!(is_ours, "{name}: {error}");
                        failed += 1;
                    }
                }
            }
        }
        assert!(failed > 0 && succeeded > 0, "{failed} failed, {succeeded} did not");
        assert_nothing_is_left(rt);
    }
}

fn a_refusal_for_want_of_memory_is_answered_by_another_rung(backend: Backend) {
    // At its first rung on a ring; without one there is none to follow, and nothing goes wrong here.
    let on_ring = if backend == Backend::Epoll { 0 } else { 1 };
    let faults = Faults::none().with_for(OpKind::Fsync, Fault::NoMemory, Chance::new(on_ring, 2));
    let Some(rt) = runtime(backend, faults) else { return };
    rt.block_on(async {
        let (_guard, dir) = scratch();
        let file = dir.open_at("file", &create()).await.unwrap();
        let mut failed = 0;
        for _ in 0..400 {
            failed += u32::from(file.sync_all().await.is_err());
        }
        // By the ring and by the pool in a quarter of all cases; by both of them is what it takes.
        assert!(failed <= 160, "{failed} of 400");
    });
    assert_eq!(rt.metrics().faults.no_memory > 100, backend != Backend::Epoll);
    assert_nothing_is_left(rt);
}

fn without_faults_nothing_goes_wrong(backend: Backend) {
    let Some(rt) = runtime(backend, Faults::none()) else { return };
    for (name, transfer) in TRANSFERS {
        rt.block_on(transfer()).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    // Unless somebody tries all tests with faults.
    if std::env::var_os("RINGWAY_FAULTS").is_none() {
        assert_eq!(rt.metrics().faults.total(), 0);
    }
    assert_nothing_is_left(rt);
}

/// What dropped calls have left in flight ends soon, and the rest with the runtime.
fn assert_nothing_is_left(rt: Runtime) {
    rt.block_on(async {
        let ended = async {
            while ringway::metrics().in_flight > 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LONG, ended).await.unwrap_or_else(|_| panic!("operations do not end"));
    });
    assert_eq!(rt.shutdown(LONG).leaked, 0);
}

/// A connection that no fault has seen yet.
fn connected() -> io::Result<(TcpStream, TcpStream)> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    let client = std::net::TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    Ok((TcpStream::from_std(client)?, TcpStream::from_std(server)?))
}

async fn received(stream: &TcpStream, expected: &[u8]) -> io::Result<()> {
    let (result, bytes) = stream.recv_exact(Vec::with_capacity(expected.len())).await;
    result?;
    assert!(bytes == expected, "other bytes were received");
    Ok(())
}

async fn sent_and_received() -> io::Result<()> {
    let (client, server) = connected()?;
    let bytes = pattern(LENGTH);
    let sending = async { client.send_all(bytes.clone()).await.0 };
    try_join(sending, received(&server, &bytes)).await.map(drop)
}

async fn sent_without_a_copy() -> io::Result<()> {
    let (client, server) = connected()?;
    let (bytes, several) = (pattern(LENGTH), [pattern(50_000), pattern(70_000)]);
    let mut notifies = (None, None);
    let sending = async {
        let sent = client.send_zc_all(bytes.clone()).await;
        notifies.0 = Some(sent.notify);
        sent.result?;
        let sent = client.sendmsg_zc_all(several.to_vec()).await;
        notifies.1 = Some(sent.notify);
        sent.result
    };
    let all = [bytes.as_slice(), &several[0], &several[1]].concat();
    let made = try_join(sending, received(&server, &all)).await;
    drop((client, server));
    if let Some(notify) = notifies.0 {
        assert!(timeout(LONG, notify).await.unwrap().buf == bytes, "the buffer was changed");
    }
    if let Some(notify) = notifies.1 {
        assert!(timeout(LONG, notify).await.unwrap().buf == several, "the buffers were changed");
    }
    made.map(drop)
}

async fn received_as_a_stream() -> io::Result<()> {
    let (client, server) = connected()?;
    let pool = RecvPool::new(16, 4096)?;
    let bytes = pattern(LENGTH);
    let sending = async {
        client.send_all(bytes.clone()).await.0?;
        client.shutdown(std::net::Shutdown::Write)
    };
    let receiving = async {
        let (mut stream, mut all) = (server.recv_stream(&pool), Vec::new());
        while let Some(piece) = stream.next().await {
            all.extend_from_slice(&piece?);
        }
        assert!(all == bytes, "other bytes were received");
        Ok(())
    };
    try_join(sending, receiving).await.map(drop)
}

async fn accepted() -> io::Result<()> {
    let listener = TcpListener::bind(([127, 0, 0, 1], 0).into())?;
    let addr = listener.local_addr()?;
    let accepting = async { Ok(listener.accept().await?.0) };
    greeted(try_join(TcpStream::connect(addr), accepting).await?).await?;
    let mut incoming = listener.incoming();
    for _ in 0..3 {
        let accepting = async { incoming.next().await.unwrap() };
        greeted(try_join(TcpStream::connect(addr), accepting).await?).await?;
    }
    Ok(())
}

async fn greeted((client, server): (TcpStream, TcpStream)) -> io::Result<()> {
    let sending = async { client.send_all(b"hello".to_vec()).await.0 };
    try_join(sending, received(&server, b"hello")).await.map(drop)
}

/// A file in the page cache.
async fn file_of(bytes: &[u8]) -> io::Result<(TempDir, Dir, File)> {
    let (guard, dir) = scratch();
    let file = dir.open_at("file", &create()).await?;
    file.write_all_at(bytes.to_vec(), 0).await.0?;
    assert!(std::fs::read(guard.path().join("file"))? == bytes, "other bytes are in the file");
    Ok((guard, dir, file))
}

async fn written_and_read() -> io::Result<()> {
    let bytes = pattern(LENGTH);
    let (guard, _dir, file) = file_of(&bytes).await?;
    let (result, read) = file.read_exact_at(Vec::with_capacity(LENGTH - 77), 77).await;
    result?;
    assert!(read == bytes[77..], "other bytes were read");
    let (appended, _) = file.append(b"and more".to_vec()).await;
    let appended = appended?;
    file.sync_data().await?;
    let all = std::fs::read(guard.path().join("file"))?;
    assert!(all[LENGTH..] == b"and more"[..appended], "other bytes were appended");
    file.close().await
}

async fn named() -> io::Result<()> {
    let (guard, dir, file) = file_of(b"a few").await?;
    dir.mkdir_at("folder", 0o755).await?;
    dir.rename_at("file", &dir, "folder/other", RenameFlags::empty()).await?;
    let again = dir.open_at("folder/other", &OpenHow::new(OFlags::RDONLY)).await?;
    file.set_len(3).await?;
    let (read, bytes) = again.read_at(Vec::with_capacity(100), 0).await;
    assert!(b"a f"[..].starts_with(&bytes[..read?]), "other bytes were read");
    dir.unlink_at("folder/other", false).await?;
    assert_eq!(std::fs::read_dir(guard.path().join("folder"))?.count(), 0);
    Ok(())
}

async fn from_file_to_socket() -> io::Result<()> {
    let bytes = pattern(LENGTH);
    let (_guard, _dir, file) = file_of(&bytes).await?;
    let (client, server) = connected()?;
    let pool = PipePool::new(PipePool::SIZE, 2);
    let sending = async {
        let sent = copy_file_to_socket(&file, 0, LENGTH as u64, &client, &pool).await?;
        assert_eq!(sent, LENGTH as u64);
        Ok(())
    };
    try_join(sending, received(&server, &bytes)).await.map(drop)
}

async fn from_socket_to_file() -> io::Result<()> {
    let bytes = pattern(LENGTH);
    let (guard, _dir, file) = file_of(b"before").await?;
    let (client, server) = connected()?;
    let pool = PipePool::new(1 << 16, 2);
    let sending = async { client.send_all(bytes.clone()).await.0 };
    let writing = async {
        let written = copy_socket_to_file(&server, &file, 6, LENGTH as u64, &pool).await?;
        assert_eq!(written, LENGTH as u64);
        Ok(())
    };
    try_join(sending, writing).await?;
    let all = std::fs::read(guard.path().join("file"))?;
    assert!(all[6..] == bytes, "other bytes are in the file");
    Ok(())
}

async fn from_socket_to_socket() -> io::Result<()> {
    let bytes = pattern(LENGTH);
    let ((first, from), (to, last)) = (connected()?, connected()?);
    let pool = PipePool::new(1 << 16, 2);
    let sending = async { first.send_all(bytes.clone()).await.0 };
    let passing = async {
        let passed = copy_socket_to_socket(&from, &to, LENGTH as u64, &pool).await?;
        assert_eq!(passed, LENGTH as u64);
        Ok(())
    };
    try_join(try_join(sending, passing), received(&last, &bytes)).await.map(drop)
}

/// All that is in one pipe is duplicated into another, and goes on through a third.
async fn from_pipe_to_pipes() -> io::Result<()> {
    const ROOM: usize = 4 * 4096;
    let ((from, into), (copy, to_copy), (end, to_end)) = (pipe()?, pipe()?, pipe()?);
    let bytes = pattern(ROOM);
    into.write_all(bytes.clone()).await.0?;
    let mut done = 0;
    while done < ROOM {
        let count = tee(&from, &to_copy, ROOM - done).await?;
        let mut moved = 0;
        while moved < count {
            moved += splice(&from, &to_end, count - moved).await?;
        }
        for reader in [&copy, &end] {
            let (result, read) = reader.read_exact(Vec::with_capacity(count)).await;
            result?;
            assert!(read == bytes[done..done + count], "other bytes came out of a pipe");
        }
        done += count;
    }
    Ok(())
}
