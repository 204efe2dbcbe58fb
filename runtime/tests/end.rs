//! The end of a runtime with operations in flight, on every backend.

mod support;
#[path = "support/watched.rs"]
mod watched;

use std::cell::Cell;
use std::io::Write;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringway::fs::{Dir, FileType, Mode, OFlags, OpenHow};
use ringway::time::sleep;
use ringway::{Backend, Builder, Runtime, spawn};
use rustix::fs::{Advice, CWD, fadvise, mknodat};
use support::{DropFlag, listener, pair, pattern, yield_now};
use watched::Watched;

on_each_backend!(
    nothing_writes_to_a_buffer_that_was_freed_at_the_end,
    thousands_of_pending_operations_are_drained,
    a_connection_won_at_the_end_is_closed,
    an_idle_runtime_has_nothing_to_report,
    a_grace_without_end_is_no_longer_than_it_takes,
);

fn nothing_writes_to_a_buffer_that_was_freed_at_the_end(rt: Runtime) {
    const LEN: usize = 32 << 20;
    // Beside the executable: a temporary directory may be in memory, where every read is quick.
    let beside = std::env::current_exe().unwrap();
    let scratch = tempfile::tempdir_in(beside.parent().unwrap()).unwrap();
    let path = scratch.path().join("large");
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(&pattern(LEN)).unwrap();
    file.sync_all().unwrap();
    fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    let dir = Dir::open_ambient(scratch.path()).unwrap();
    let (buf, after) = Watched::new(LEN);
    rt.block_on(async {
        let file = dir.open_at("large", &OpenHow::new(OFlags::RDONLY)).await.unwrap();
        spawn(async move { drop(file.read_at(buf, 0).await) });
        // Enough turns for the read to be submitted, and begun.
        for _ in 0..20 {
            yield_now().await;
        }
    });
    let report = rt.shutdown(Duration::from_secs(60));
    assert_eq!(report.leaked, 0);
    if report.drained == 0 {
        eprintln!("SKIPPED: the read was over so soon, or the file still in the page cache");
    }
    let at_drop = after.lock().unwrap().pop().expect("the buffer was not freed");
    let copy = at_drop.clone();
    std::thread::sleep(Duration::from_millis(200));
    assert!(at_drop == copy, "the buffer was freed while the kernel wrote to it");
}

fn thousands_of_pending_operations_are_drained(rt: Runtime) {
    const RECEIVES: usize = 3000;
    let client = rt.block_on(async {
        let (client, server) = pair().await;
        let server = Rc::new(server);
        let started = Rc::new(Cell::new(0));
        for _ in 0..RECEIVES {
            let (server, started) = (server.clone(), started.clone());
            spawn(async move {
                started.set(started.get() + 1);
                server.recv(vec![0; 16]).await.0
            });
        }
        while started.get() < RECEIVES {
            yield_now().await;
        }
        client
    });
    let report = rt.shutdown(Duration::from_secs(20));
    assert_eq!((report.cancelled, report.drained, report.leaked), (RECEIVES, RECEIVES, 0));
    drop(client);
}

fn a_connection_won_at_the_end_is_closed(rt: Runtime) {
    let client = rt.block_on(async {
        let (listener, addr) = listener();
        spawn(async move { listener.accept().await.map(drop) });
        sleep(Duration::from_millis(2)).await;
        std::net::TcpStream::connect(addr).unwrap()
    });
    assert_eq!(rt.shutdown(Duration::from_secs(5)).leaked, 0);
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    // Closed, or refused with the listener: not silent.
    match std::io::Read::read(&mut &client, &mut [0]) {
        Ok(count) => assert_eq!(count, 0),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
}

#[test]
fn an_operation_that_cannot_be_cancelled_is_leaked_and_told() {
    // Opening a FIFO for writing waits for a reader; on a thread of the pool nothing interrupts it.
    // (A ring opens it without waiting, and fails.)
    let rt = Builder::new().backend(Backend::Epoll).build().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let fifo = scratch.path().join("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let dir = Dir::open_ambient(scratch.path()).unwrap();
    let (flag, dropped) = DropFlag::new();
    rt.block_on(async {
        spawn(async move {
            let _flag = flag;
            dir.open_at("fifo", &OpenHow::new(OFlags::WRONLY)).await
        });
        // Until a thread has begun it: one that waits in the queue is not leaked, but taken out.
        sleep(Duration::from_millis(500)).await;
    });
    let (grace, began) = (Duration::from_millis(500), Instant::now());
    let report = rt.shutdown(grace);
    assert!(began.elapsed() < grace * 3 / 2, "{:?} for {grace:?} of grace", began.elapsed());
    assert!(dropped.get(), "the task is gone all the same");
    assert_eq!((report.drained, report.leaked), (0, 1), "{report:?}");
}

fn a_grace_without_end_is_no_longer_than_it_takes(rt: Runtime) {
    let client = rt.block_on(async {
        let (client, server) = pair().await;
        spawn(async move { server.recv(vec![0; 1]).await.0 });
        yield_now().await;
        client
    });
    let report = rt.shutdown(Duration::MAX);
    assert_eq!((report.cancelled, report.drained, report.leaked), (1, 1, 0), "{report:?}");
    drop(client);
}

fn an_idle_runtime_has_nothing_to_report(rt: Runtime) {
    rt.block_on(async {
        let (client, server) = pair().await;
        client.send_all(b"x".as_slice()).await.0.unwrap();
        server.recv(vec![0; 1]).await.0.unwrap();
    });
    assert_eq!(rt.shutdown(Duration::ZERO), ringway::ShutdownReport::default());
}
