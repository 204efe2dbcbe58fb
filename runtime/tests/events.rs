//! What a runtime tells a subscriber of `tracing`, and that a subscriber may do as it likes.

mod support;

use std::cell::Cell;
use std::fmt::Write;
use std::future::pending;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use ringway::buf::FixedPool;
use ringway::fs::{Dir, FallocateFlags, File, FileType, Mode, OFlags, OpenHow};
use ringway::net::{RecvPool, TcpStream};
use ringway::pipe::PipeWriter;
use ringway::task::yield_now;
use ringway::time::{sleep, timeout};
use ringway::{Backend, Builder, Feature, Mask, Policy, Runtime, ZeroCopyPolicy, spawn};
use rustix::fs::{CWD, mknodat};
use support::{pair, pattern, poll_now};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

const LONG: Duration = Duration::from_secs(20);

/// An event as text: message and fields.
#[derive(Clone, Debug)]
struct Told {
    level: Level,
    target: &'static str,
    text: String,
}

/// Keeps what it is told, and does something each time.
struct Recorder<F> {
    told: Arc<Mutex<Vec<Told>>>,
    then: F,
}

struct AsText(String);

impl Visit for AsText {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, "{}={value:?} ", field.name()).unwrap();
    }
}

impl<F: Fn() + Send + Sync + 'static> Subscriber for Recorder<F> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("ringway")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = AsText(String::new());
        event.record(&mut text);
        let (level, target) = (*event.metadata().level(), event.metadata().target());
        self.told.lock().unwrap().push(Told { level, target, text: text.0 });
        (self.then)();
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// What `f` had to tell, with `then` done at each event.
fn told_and(then: impl Fn() + Send + Sync + 'static, f: impl FnOnce()) -> Vec<Told> {
    let told = Arc::<Mutex<Vec<_>>>::default();
    let recorder = Recorder { told: told.clone(), then };
    tracing::subscriber::with_default(recorder, f);
    told.lock().unwrap().clone()
}

fn told(f: impl FnOnce()) -> Vec<Told> {
    told_and(|| (), f)
}

/// The one event that has all of `parts` in its text.
#[track_caller]
fn one<'a>(told: &'a [Told], parts: &[&str]) -> &'a Told {
    let mut with = told.iter().filter(|told| parts.iter().all(|part| told.text.contains(part)));
    match (with.next(), with.next()) {
        (Some(one), None) => one,
        (None, _) => panic!("nothing of {parts:?} in {told:#?}"),
        (Some(_), Some(_)) => panic!("{parts:?} twice in {told:#?}"),
    }
}

/// A runtime on a ring, if there are any.
fn on_a_ring() -> Option<Runtime> {
    let built = Builder::new().backend(Backend::Uring).build();
    built.inspect_err(|error| eprintln!("SKIPPED: {error}")).ok()
}

#[test]
fn the_choice_of_a_backend_is_told_with_who_chose_it() {
    let told = told(|| drop(Builder::new().backend(Backend::Epoll).build().unwrap()));
    let made = one(&told, &["a runtime was made"]);
    assert_eq!((made.level, made.target), (Level::DEBUG, "ringway::runtime"));
    assert!(made.text.contains("backend=epoll"), "{made:?}");
    assert!(made.text.contains("chosen_by=\"asked for by the program\""), "{made:?}");
    let ended = one(&told, &["a runtime has ended"]);
    assert!(ended.text.contains("cancelled=0 drained=0 leaked=0"), "{ended:?}");
}

#[test]
fn a_missing_feature_is_told_with_its_reason_and_a_masked_one_is_not() {
    let mask = Mask::none().without(Feature::UdpGso);
    let built = || Builder::new().mask(mask).build().unwrap();
    let mut features = None;
    let told = told(|| features = Some(built().features().clone()));
    assert!(!told.iter().any(|told| told.text.contains("UdpGso")), "{told:#?}");
    for feature in Feature::ALL {
        if let Some(ringway::Support::Missing(reason)) = features.as_ref().unwrap().support(feature)
        {
            let missing = one(&told, &["a feature is missing", &format!("feature={feature:?} ")]);
            assert!(missing.text.contains(reason), "{missing:?}");
        }
    }
}

/// Something that the ring refuses each time: a mode of `fallocate` that does not exist.
async fn refused(file: &File) {
    let mode = FallocateFlags::from_bits_retain(0x4000_0000);
    let error = file.allocate(mode, 0, 1).await.unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP));
}

fn temporary() -> File {
    File::from(OwnedFd::from(tempfile::tempfile().unwrap()))
}

#[test]
fn a_rung_that_refuses_is_told_of_once_for_each_operation_and_runtime() {
    for _ in 0..2 {
        let Some(rt) = on_a_ring() else { return };
        let file = temporary();
        let told = told(|| {
            rt.block_on(async {
                for _ in 0..3 {
                    refused(&file).await;
                }
            });
        });
        let refusal = one(&told, &["an operation was refused"]);
        assert_eq!((refusal.level, refusal.target), (Level::DEBUG, "ringway::op"));
        assert!(refusal.text.contains("op=Allocate rung=ring errno=95"), "{refusal:?}");
    }
}

/// Opening a FIFO for writing waits for a reader, and a pool thread cannot be interrupted.
fn leak(rt: Runtime) {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("fifo");
    mknodat(CWD, &path, FileType::Fifo, Mode::from(0o600), 0).unwrap();
    let dir = Dir::open_ambient(scratch.path()).unwrap();
    rt.block_on(async {
        spawn(async move { dir.open_at("fifo", &OpenHow::new(OFlags::WRONLY)).await.map(drop) });
        sleep(Duration::from_millis(20)).await;
    });
    assert_eq!(rt.shutdown(Duration::from_millis(20)).leaked, 1);
    // Lets the thread go.
    drop(std::fs::File::options().read(true).write(true).open(&path).unwrap());
}

#[test]
fn what_is_leaked_at_the_end_is_a_warning() {
    let rt = Builder::new().backend(Backend::Epoll).build().unwrap();
    let told = told(|| leak(rt));
    let leaked = one(&told, &["leaked"]);
    assert_eq!((leaked.level, leaked.target), (Level::WARN, "ringway::runtime"));
    assert!(leaked.text.contains("cancelled=1 drained=0 leaked=1"), "{leaked:?}");
}

#[test]
fn the_end_of_a_runtime_that_leaks_needs_no_standard_error() {
    const CHILD: &str = "RINGWAY_TEST_LEAKS_UNHEARD";
    const NAME: &str = "the_end_of_a_runtime_that_leaks_needs_no_standard_error";
    if std::env::var_os(CHILD).is_some() {
        let rt = Builder::new().backend(Backend::Epoll).build().unwrap();
        // Until nobody reads what it says.
        std::thread::sleep(Duration::from_millis(200));
        return leak(rt);
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", NAME, "--nocapture"]).env(CHILD, "1");
    let mut child = child.stderr(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_task_that_panics_unheard_is_an_error() {
    let rt = Builder::new().build().unwrap();
    let told = told(|| {
        rt.block_on(async {
            drop(spawn(async { panic!("no handle") }));
            let unread = spawn(async { panic!("handle not asked") });
            let read = spawn(async { panic!("asked") });
            assert!(read.await.unwrap_err().is_panic());
            drop(unread);
        });
    });
    assert_eq!(told.len(), 2, "{told:#?}");
    for text in ["panic=\"no handle\"", "panic=\"handle not asked\""] {
        assert_eq!(one(&told, &[text]).level, Level::ERROR);
    }
}

/// Sends until zero copy is off, as it is for a connection within a host, and then some.
async fn switch_zero_copy_off() {
    let (client, server) = pair().await;
    spawn(async move { while server.recv(vec![0; 1 << 20]).await.0.unwrap() > 0 {} });
    let mut sends_after = 0;
    while sends_after < 3 {
        let sent = client.send_zc_all(pattern(100_000)).await;
        sent.result.unwrap();
        timeout(LONG, sent.notify).await.expect("no notification");
        sends_after += ringway::metrics().zero_copy.switched_off;
    }
}

fn sending(per_connection: usize) -> Runtime {
    let defaults = ZeroCopyPolicy::default();
    let policy = ZeroCopyPolicy { threshold: 4096, per_connection, copied_limit: 3, ..defaults };
    // By the error queue, which always says whether it copied.
    Builder::new().backend(Backend::Epoll).policy(Policy::new().zero_copy(policy)).build().unwrap()
}

#[test]
fn a_socket_that_switches_zero_copy_off_tells_it_once() {
    let rt = sending(1 << 20);
    let told = told(|| rt.block_on(switch_zero_copy_off()));
    let off = one(&told, &["zero copy is off"]);
    assert_eq!((off.level, off.target), (Level::DEBUG, "ringway::net::zerocopy::send"));
    assert_eq!(told.len(), 1, "{told:#?}");
}

#[test]
fn a_budget_that_is_used_up_and_a_socket_that_refuses_are_told_once() {
    let rt = sending(10_000);
    let told = told(|| {
        rt.block_on(async {
            let (client, server) = pair().await;
            // The second half finds the budget used up by the first.
            for _ in 0..3 {
                client.send_zc_all(pattern(20_000)).await.result.unwrap();
                server.recv_exact(vec![0; 20_000]).await.0.unwrap();
            }
            let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
            let stream = TcpStream::from_std(OwnedFd::from(one).into()).unwrap();
            for _ in 0..3 {
                stream.send_zc_all(pattern(5000)).await.result.unwrap();
            }
        });
    });
    assert_eq!(one(&told, &["a budget for zero copy"]).level, Level::DEBUG);
    one(&told, &["a zero-copy send was refused", "rung=\"error queue\" errno=95"]);
}

#[test]
fn buffers_that_the_ring_does_not_take_are_told() {
    let rt = Builder::new().backend(Backend::Epoll).build().unwrap();
    let told = told(|| drop(rt.block_on(async { FixedPool::new(1, 100).unwrap() })));
    assert_eq!(one(&told, &["a pool of buffers is not registered"]).level, Level::DEBUG);
}

#[test]
fn a_pool_at_its_limits_is_told_once() {
    let pool = Builder::new().backend(Backend::Epoll).blocking_pool(1, 1).build().unwrap();
    let told = told(|| {
        pool.block_on(async {
            for _ in 0..2 {
                let (begin, begun) = mpsc::channel();
                let (release, released) = mpsc::channel::<()>();
                let held = move || {
                    begin.send(()).unwrap();
                    let _ = released.recv();
                };
                let first = spawn(ringway::spawn_blocking(held));
                while begun.try_recv().is_err() {
                    yield_now().await;
                }
                // One in the queue, and one that does not fit into it.
                let others = [(); 2].map(|()| spawn(ringway::spawn_blocking(|| ())));
                yield_now().await;
                drop(release);
                first.await.unwrap().unwrap();
                for other in others {
                    other.await.unwrap().unwrap();
                }
            }
        });
    });
    for text in ["all threads", "the queue of the blocking pool is full"] {
        assert_eq!(one(&told, &[text]).level, Level::WARN);
    }
}

#[test]
fn a_pool_that_gets_no_thread_tells_why() {
    // A process in which no thread can be started: none has room for so large a stack.
    const CHILD: &str = "RINGWAY_TEST_NO_THREADS";
    const NAME: &str = "a_pool_that_gets_no_thread_tells_why";
    if std::env::var_os(CHILD).is_none() {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", NAME, "--nocapture"]).env(CHILD, "1");
        let status = child.env("RUST_MIN_STACK", (1_u64 << 60).to_string()).status();
        return assert!(status.unwrap().success());
    }
    let rt = Builder::new().build().unwrap();
    let told = told(|| assert!(rt.block_on(ringway::spawn_blocking(|| ())).is_err()));
    let warning = one(&told, &["no further thread", "errno=11"]);
    assert_eq!((warning.level, warning.target), (Level::WARN, "ringway::op"));
}

#[test]
fn more_completions_than_the_ring_has_room_for_are_a_warning() {
    const RECEIVES: usize = 3000;
    let Some(rt) = on_a_ring() else { return };
    let told = told(|| {
        let peer = rt.block_on(async {
            let (client, server) = pair().await;
            let server = std::rc::Rc::new(server);
            for _ in 0..RECEIVES {
                let server = server.clone();
                spawn(async move { server.recv(vec![0; 16]).await.0 });
            }
            sleep(Duration::from_millis(20)).await;
            client
        });
        // Which cancels them all at once.
        assert_eq!(rt.shutdown(LONG).drained, RECEIVES);
        drop(peer);
    });
    assert_eq!(one(&told, &["more completions than"]).level, Level::WARN);
}

/// What a subscriber may want of the runtime that it is called from, or of any other.
fn use_the_runtime() {
    thread_local! { static INSIDE: Cell<bool> = const { Cell::new(false) } }
    if INSIDE.replace(true) {
        return;
    }
    let inside = catch_unwind(ringway::metrics).is_ok();
    let work = async || {
        let (_reader, writer) = std::io::pipe().unwrap();
        let writer = PipeWriter::from_fd(writer.into()).unwrap();
        writer.write_all(b"a line of a log".to_vec()).await.0.unwrap();
        refused(&temporary()).await;
        drop(spawn(sleep(Duration::from_millis(1))));
        ringway::spawn_blocking(|| ()).await.unwrap();
    };
    if inside {
        drop(spawn(work()));
        // Some of it here and now, and given up again.
        let mut now = Box::pin(work());
        let _ = poll_now(now.as_mut());
    } else {
        Builder::new().backend(Backend::Epoll).build().unwrap().block_on(work());
    }
    INSIDE.set(false);
}

#[test]
fn a_subscriber_may_use_the_runtime_at_each_event() {
    let told = told_and(use_the_runtime, || {
        let rings = on_a_ring().into_iter();
        for rt in rings.chain([sending(1 << 20), sending(10_000)]) {
            rt.block_on(async {
                refused(&temporary()).await;
                drop(FixedPool::new(1, 100).unwrap());
                drop(spawn(async { panic!("on purpose") }));
                let (client, server) = pair().await;
                let pool = RecvPool::new(4, 4096).unwrap();
                let receiving = spawn(async move {
                    let mut stream = server.recv_stream(&pool);
                    std::future::poll_fn(|cx| {
                        futures_core::Stream::poll_next(std::pin::Pin::new(&mut stream), cx)
                    })
                    .await
                    .is_some()
                });
                client.send_zc_all(pattern(20_000)).await.result.unwrap();
                assert!(timeout(LONG, receiving).await.unwrap().unwrap());
                let blocking =
                    || ringway::spawn_blocking(|| std::thread::sleep(Duration::from_millis(1)));
                for task in [(); 40].map(|()| spawn(blocking())) {
                    task.await.unwrap().unwrap();
                }
                if ringway::metrics().zero_copy.error_queue > 0 {
                    let switching = timeout(Duration::from_secs(1), switch_zero_copy_off());
                    let _ = switching.await;
                }
                drop(spawn(pending::<()>()));
            });
            assert_eq!(rt.shutdown(LONG).leaked, 0);
        }
        leak(Builder::new().backend(Backend::Epoll).build().unwrap());
    });
    for text in ["a runtime was made", "refused", "all threads", "budget", "is off", "on purpose"] {
        assert!(told.iter().any(|told| told.text.contains(text)), "{text}: {told:#?}");
    }
}

#[test]
fn a_subscriber_that_panics_leaves_the_runtime_in_order() {
    let Some(rt) = on_a_ring() else { return };
    told_and(
        || panic!("the subscriber, on purpose"),
        || {
            let run = || {
                rt.block_on(async {
                    drop(spawn(async { panic!("on purpose") }));
                    refused(&temporary()).await;
                });
            };
            assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
            rt.block_on(refused(&temporary()));
        },
    );
    rt.block_on(async { drop(pair().await) });
    assert_eq!(rt.metrics().in_flight, 0);
}
