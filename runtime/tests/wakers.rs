//! Wakers of others that panic, on every backend.

mod support;

use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use ringway::net::TcpStream;
use ringway::time::{sleep, timeout};
use ringway::{Runtime, ShutdownReport, spawn, spawn_blocking};
use support::pair;

on_each_backend!(
    an_operations_waker_that_panics_leaves_the_runtime_in_order,
    a_timers_waker_that_panics_leaves_the_runtime_in_order,
    a_join_handles_waker_that_panics_leaves_the_runtime_in_order,
    a_blocking_jobs_waker_that_panics_disturbs_nobody,
    the_end_of_a_runtime_stops_at_no_wakers_panic,
);

const LONG: Duration = Duration::from_secs(20);

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("woken on purpose");
    }
}

/// Polls once with a waker that panics.
fn poll_badly<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(&Waker::from(Arc::new(Panics))))
}

/// Runs until the waker panics.
fn panics<T>(rt: &Runtime, future: impl Future<Output = T>) {
    let waited = timeout(LONG, future);
    let panicked = catch_unwind(AssertUnwindSafe(|| rt.block_on(waited).map(drop))).unwrap_err();
    assert_eq!(panicked.downcast_ref(), Some(&"woken on purpose"));
}

/// Everything works, and nothing is left.
fn is_in_order(rt: Runtime) {
    rt.block_on(async {
        let (client, server) = pair().await;
        let answering = spawn(async move {
            let (n, buf) = server.recv(vec![0; 100]).await;
            assert_eq!(&buf[..n.unwrap()], b"still there?");
            spawn_blocking(|| 7).await.unwrap()
        });
        client.send_all(b"still there?".to_vec()).await.0.unwrap();
        sleep(Duration::from_millis(2)).await;
        assert_eq!(timeout(LONG, answering).await.unwrap().unwrap(), 7);
    });
    assert_eq!(rt.metrics().in_flight, 0);
    assert_eq!(rt.shutdown(LONG), ShutdownReport::default());
}

fn an_operations_waker_that_panics_leaves_the_runtime_in_order(rt: Runtime) {
    let several = rt.block_on(async {
        let mut several = Vec::new();
        for _ in 0..3 {
            several.push(pair().await);
        }
        several
    });
    let receive = |stream: Rc<TcpStream>| async move { stream.recv(vec![0; 9]).await.0 };
    let (ours, theirs): (Vec<_>, Vec<_>) =
        several.into_iter().map(|(one, other)| (Rc::new(one), other.into_std().unwrap())).unzip();
    let mut bad = Box::pin(receive(ours[1].clone()));
    // Others complete in the same turn, before and after it.
    let good = [0, 2].map(|number| receive(ours[number].clone()));
    panics(&rt, async {
        let good = good.map(spawn);
        assert!(poll_badly(bad.as_mut()).is_pending());
        ringway::task::yield_now().await;
        for mut peer in &theirs {
            std::io::Write::write_all(&mut peer, b"x").unwrap();
        }
        for one in good {
            one.await.unwrap().unwrap();
        }
        pending::<()>().await;
    });
    assert_eq!(rt.block_on(timeout(LONG, bad)).unwrap().unwrap(), 1);
    drop(ours);
    is_in_order(rt);
}

fn a_timers_waker_that_panics_leaves_the_runtime_in_order(rt: Runtime) {
    // Long enough for a slow machine to get from here to the poll.
    let soon = Duration::from_millis(200);
    let mut bad = None;
    panics(&rt, async {
        let bad = bad.insert(Box::pin(sleep(soon)));
        assert!(poll_badly(bad.as_mut()).is_pending());
        sleep(soon).await;
        pending::<()>().await;
    });
    rt.block_on(timeout(LONG, bad.unwrap())).unwrap();
    is_in_order(rt);
}

fn a_join_handles_waker_that_panics_leaves_the_runtime_in_order(rt: Runtime) {
    let mut bad = None;
    panics(&rt, async {
        let bad = bad.insert(Box::pin(spawn(sleep(Duration::from_millis(2)))));
        assert!(poll_badly(bad.as_mut()).is_pending());
        pending::<()>().await;
    });
    rt.block_on(timeout(LONG, bad.unwrap())).unwrap().unwrap();
    is_in_order(rt);
}

fn a_blocking_jobs_waker_that_panics_disturbs_nobody(rt: Runtime) {
    rt.block_on(async {
        let mut bad = pin!(spawn_blocking(|| std::thread::sleep(Duration::from_millis(20))));
        assert!(poll_badly(bad.as_mut()).is_pending());
        sleep(Duration::from_millis(60)).await;
        // It was woken on the pool's thread.
        timeout(LONG, bad).await.unwrap().unwrap();
    });
    is_in_order(rt);
}

fn the_end_of_a_runtime_stops_at_no_wakers_panic(rt: Runtime) {
    let (mut receiving, mut joining, _peer) = rt.block_on(async {
        let (client, server) = pair().await;
        let receiving = Box::pin(async move { client.recv(vec![0; 9]).await.0 });
        (receiving, Box::pin(spawn(pending::<()>())), server)
    });
    rt.block_on(poll_fn(|_| {
        assert!(poll_badly(receiving.as_mut()).is_pending());
        assert!(poll_badly(joining.as_mut()).is_pending());
        Poll::Ready(())
    }));
    let report = rt.shutdown(LONG);
    assert_eq!(report, ShutdownReport { cancelled: 1, drained: 1, leaked: 0 });
}
