//! Transfers that are left to other threads, on every backend and with half of what is tried first refused.

#[path = "support/policies.rs"]
mod policies;
mod support;

use std::fs;
use std::thread::available_parallelism;
use std::time::Duration;

use futures_util::future::join_all;
use ringway::buf::FixedPool;
use ringway::{Backend, Builder, OpKind, Rung, Runtime};
use support::files::{new_file, scratch};
use support::pattern;

const MIB: u64 = 1 << 20;

on_each_backend_and_rung!(
    what_is_written_apart_is_read_apart,
    a_read_apart_ends_where_the_file_does,
    many_transfers_apart_all_end,
);

fn what_is_written_apart_is_read_apart(rt: Runtime) {
    rt.block_on(async {
        let (scratch, dir) = scratch();
        let file = new_file(&dir, "file").await.apart();
        let bytes = pattern(3_000_001);
        file.write_all_at(bytes.clone(), 777).await.0.unwrap();
        assert!(fs::read(scratch.path().join("file")).unwrap()[777..] == bytes);
        let (read, buf) = file.read_exact_at(vec![0; bytes.len()], 777).await;
        read.unwrap();
        assert!(buf == bytes);
        let piece = FixedPool::new(1, 1 << 20).unwrap().try_get().unwrap();
        let (read, piece) = file.read_fixed_at(piece, 777).await;
        assert_eq!(read.unwrap(), 1 << 20);
        assert!(piece[..] == bytes[..1 << 20]);
    });
}

fn a_read_apart_ends_where_the_file_does(rt: Runtime) {
    rt.block_on(async {
        let (_scratch, dir) = scratch();
        let file = new_file(&dir, "file").await.apart();
        file.write_all_at(b"0123456789".as_slice(), 0).await.0.unwrap();
        let (read, buf) = file.read_at(vec![b'-'; 9], 5).await;
        assert_eq!((read.unwrap(), buf.as_slice()), (5, b"56789----".as_slice()));
        assert_eq!(file.read_at(vec![0; 9], 10).await.0.unwrap(), 0);
    });
}

fn many_transfers_apart_all_end(rt: Runtime) {
    rt.block_on(async {
        let (_scratch, dir) = scratch();
        let file = new_file(&dir, "file").await;
        let bytes = pattern(200_000);
        let writes = (0..50).map(|at| {
            let (file, bytes) = (file.apart(), bytes.clone());
            async move { file.write_all_at(bytes, at * 200_000).await.0.unwrap() }
        });
        join_all(writes).await;
        let reads = (0..50).map(|at| {
            let file = file.apart();
            async move { file.read_exact_at(vec![0; 200_000], at * 200_000).await.1 }
        });
        assert!(join_all(reads).await.iter().all(|read| *read == bytes));
    });
}

#[test]
fn transfers_apart_are_counted_where_they_ran_and_others_where_they_always_do() {
    let backends = [
        (Backend::Uring, Rung::Worker),
        (Backend::Hybrid, Rung::Worker),
        (Backend::Epoll, Rung::Pool),
    ];
    for (backend, rung) in backends {
        let Some(rt) = runtime(backend) else { continue };
        rt.block_on(async {
            let (_scratch, dir) = scratch();
            let file = new_file(&dir, "file").await;
            let apart = file.apart();
            apart.write_all_at(pattern(100_000), 0).await.0.unwrap();
            apart.read_exact_at(vec![0; 100_000], 0).await.0.unwrap();
            file.read_exact_at(vec![0; 1000], 0).await.0.unwrap();
        });
        let metrics = rt.metrics();
        let bytes = |kind, rung| metrics.of(kind, rung).map(|op| op.bytes);
        assert_eq!(bytes(OpKind::Write, rung), Some(100_000), "{backend}\n{metrics}");
        assert_eq!(bytes(OpKind::Read, rung), Some(100_000), "{backend}\n{metrics}");
        assert_eq!(bytes(OpKind::Read, Rung::Inline), Some(1000), "{backend}\n{metrics}");
    }
}

/// The kernel names them after the thread whose ring they are of.
#[test]
fn a_ring_has_no_more_threads_than_it_was_given() {
    let Some(rt) = runtime(Backend::Uring) else { return };
    let (processors, mut most) = (available_parallelism().unwrap().get(), 0);
    rt.block_on(async {
        let (_scratch, dir) = scratch();
        let file = new_file(&dir, "file").await;
        file.write_all_at(pattern(4 << 20), 0).await.0.unwrap();
        for _ in 0..20 {
            let reads: Vec<_> = (0..64)
                .map(|at| {
                    let file = file.apart();
                    ringway::spawn(async move {
                        file.read_exact_at(vec![0; 1 << 20], at % 4 * MIB).await.0.unwrap();
                    })
                })
                .collect();
            ringway::time::sleep(Duration::from_micros(200)).await;
            most = most.max(workers());
            join_all(reads).await;
            most = most.max(workers());
        }
    });
    let metrics = rt.metrics();
    let apart = metrics.of(OpKind::Read, Rung::Worker).map_or(0, |op| op.count);
    assert!(apart >= 20, "{metrics}");
    assert!(most >= 1, "they have other names now");
    assert!(most <= (2 * processors).max(4), "{most} threads");
}

/// How many threads the ring of this thread has.
fn workers() -> usize {
    let name = format!("iou-wrk-{}", rustix::thread::gettid().as_raw_nonzero());
    let threads = fs::read_dir("/proc/self/task").unwrap().filter_map(Result::ok);
    let names = threads.filter_map(|thread| fs::read_to_string(thread.path().join("comm")).ok());
    // Names of threads end after 15 characters.
    names.filter(|comm| name.starts_with(comm.trim())).count()
}

fn runtime(backend: Backend) -> Option<Runtime> {
    match Builder::new().backend(backend).build() {
        Ok(rt) => Some(rt),
        Err(error) => {
            eprintln!("SKIPPED: {error}");
            None
        }
    }
}
