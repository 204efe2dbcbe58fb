//! Blocking work on every backend.

mod support;

use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::time::Duration;

use ringway::fs::{Dir, File};
use ringway::time::timeout;
use ringway::{Backend, Builder, Runtime, spawn, spawn_blocking};

on_each_backend!(
    blocking_work_gives_its_result_and_leaves_the_loop_free,
    a_panic_in_blocking_work_is_an_error,
    a_full_queue_makes_spawners_wait_and_loses_nothing,
    file_operations_get_through_a_full_queue,
    dropping_the_future_leaves_the_pool_working,
);

/// The same backend with one thread and one place in the queue.
fn narrow(rt: &Runtime) -> Runtime {
    Builder::new().backend(rt.features().backend()).blocking_pool(1, 1).build().unwrap()
}

fn blocking_work_gives_its_result_and_leaves_the_loop_free(rt: Runtime) {
    rt.block_on(async {
        let (go, wait) = mpsc::channel::<()>();
        let blocked = spawn(spawn_blocking(move || wait.recv().is_ok()));
        ringway::time::sleep(Duration::from_millis(3)).await;
        assert!(!blocked.is_finished());
        go.send(()).unwrap();
        assert!(blocked.await.unwrap().unwrap());
    });
}

fn a_panic_in_blocking_work_is_an_error(rt: Runtime) {
    rt.block_on(async {
        let error = spawn_blocking(|| -> () { panic!("on purpose") }).await.unwrap_err();
        assert!(error.to_string().contains("on purpose"), "{error}");
        assert_eq!(spawn_blocking(|| 2).await.unwrap(), 2);
    });
}

fn a_full_queue_makes_spawners_wait_and_loses_nothing(rt: Runtime) {
    let narrow = narrow(&rt);
    drop(rt);
    narrow.block_on(async {
        let (running, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..200)
            .map(|number| {
                let (running, peak) = (running.clone(), peak.clone());
                spawn(spawn_blocking(move || {
                    peak.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_micros(200));
                    running.fetch_sub(1, Ordering::SeqCst);
                    number
                }))
            })
            .collect();
        for (number, task) in tasks.into_iter().enumerate() {
            let done = timeout(Duration::from_secs(30), task).await.expect("one was forgotten");
            assert_eq!(done.unwrap().unwrap(), number);
        }
        assert_eq!(peak.load(Ordering::SeqCst), 1);
    });
}

fn file_operations_get_through_a_full_queue(rt: Runtime) {
    let narrow = narrow(&rt);
    drop(rt);
    let scratch = tempfile::tempdir().unwrap();
    let dir = Dir::open_ambient(scratch.path()).unwrap();
    narrow.block_on(async {
        let jobs: Vec<_> = (0..20)
            .map(|_| spawn(spawn_blocking(|| std::thread::sleep(Duration::from_millis(1)))))
            .collect();
        // Listing always takes the pool.
        let listings: Vec<_> = (0..20)
            .map(|_| {
                let dir = dir.clone();
                spawn(async move { dir.as_file().read_dir(Vec::with_capacity(4096)).await.0 })
            })
            .collect();
        for listing in listings {
            let listed = timeout(Duration::from_secs(30), listing).await.expect("it waits still");
            listed.unwrap().unwrap();
        }
        for job in jobs {
            timeout(Duration::from_secs(30), job).await.expect("it waits still").unwrap().unwrap();
        }
    });
}

fn dropping_the_future_leaves_the_pool_working(rt: Runtime) {
    let narrow = narrow(&rt);
    drop(rt);
    narrow.block_on(async {
        let both = Arc::new(Barrier::new(2));
        let inside = both.clone();
        let blocking = spawn_blocking(move || inside.wait());
        timeout(Duration::from_millis(1), blocking).await.unwrap_err();
        both.wait();
        assert_eq!(spawn_blocking(|| 3).await.unwrap(), 3);
    });
}

#[test]
fn without_any_thread_blocking_work_is_an_error_and_not_forgotten() {
    // A process in which no thread can be started: none has room for so large a stack.
    const CHILD: &str = "RINGWAY_TEST_NO_THREADS";
    const NAME: &str = "without_any_thread_blocking_work_is_an_error_and_not_forgotten";
    if std::env::var_os(CHILD).is_none() {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", NAME, "--nocapture"]).env(CHILD, "1");
        let status = child.env("RUST_MIN_STACK", (1_u64 << 60).to_string()).status();
        return assert!(status.unwrap().success());
    }
    assert!(std::thread::Builder::new().spawn(|| ()).is_err(), "there are threads");
    for backend in [Backend::Uring, Backend::Hybrid, Backend::Epoll] {
        let Ok(rt) = Builder::new().backend(backend).build() else { continue };
        let told = rt.block_on(timeout(Duration::from_secs(20), there_is_no_thread()));
        assert!(told.is_ok(), "{backend}: still waiting");
    }
}

async fn there_is_no_thread() {
    let (listed, closed) = (spawn(list_here()), spawn(close_one()));
    let error = spawn_blocking(|| ()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    assert!(error.to_string().contains("no thread"), "{error}");
    assert_eq!(listed.await.unwrap().unwrap_err().raw_os_error(), Some(libc::EAGAIN));
    closed.await.unwrap();
}

/// Listing always takes the pool.
async fn list_here() -> std::io::Result<usize> {
    Dir::open_ambient(".").unwrap().as_file().read_dir(Vec::with_capacity(4096)).await.0
}

async fn close_one() {
    let (reader, writer) = std::io::pipe().unwrap();
    File::from(OwnedFd::from(writer)).close().await.unwrap();
    let ends = std::io::Read::read(&mut &reader, &mut [0]);
    assert_eq!(ends.unwrap(), 0, "the descriptor stays open");
}
