//! What the two ends of a connection see of each other's end.

use std::future::Future;
use std::io::Read;
use std::net::TcpStream;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use ringway::time::sleep;
use ringway::{Builder, net};

use crate::config::{self, BACKENDS};
use crate::drops::drained;
use crate::emulated::is_emulated;
use crate::world::{abort, later, listener};

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name: &str, backend, run: fn(Builder) -> Result<(), Failed>| {
        config::on_backend(format!("connections::{name}::{backend}"), backend, run)
    };
    let of = |backend| {
        [
            trial("a_close_under_a_receive_sends_the_end", backend, close_sends_fin),
            trial("a_fin_is_noticed_within_a_second", backend, |builder| noticed(builder, drop)),
            trial("a_reset_is_noticed_within_a_second", backend, |builder| noticed(builder, abort)),
        ]
    };
    BACKENDS.into_iter().flat_map(of).collect()
}

/// The end that is tried, and its peer.
pub(crate) fn pair() -> (net::TcpStream, TcpStream) {
    let (listener, addr) = listener();
    let peer = TcpStream::connect(addr).unwrap();
    let (stream, _) = listener.accept().unwrap();
    (net::TcpStream::from_std(stream).unwrap(), peer)
}

/// Polls `future` once, for nobody.
pub(crate) fn begin<F: Future + Unpin>(future: &mut F) -> bool {
    let future = pin!(future);
    future.poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

fn close_sends_fin(builder: Builder) -> Result<(), Failed> {
    let runtime = builder.build()?;
    let (stream, peer) = pair();
    peer.set_read_timeout(Some(Duration::from_secs(30)))?;
    runtime.block_on(async {
        let mut receive = Box::pin(stream.recv(vec![0; 100]));
        let mut hang_up = Box::pin(stream.hang_up());
        assert!(!begin(&mut receive) && !begin(&mut hang_up));
        sleep(Duration::from_millis(5)).await;
        drop((receive, hang_up));
        // Both operations still hold the socket: nothing has told the kernel of their end yet.
        drop(stream);
        // Nor does it get to hear while this thread blocks.
        assert_eq!({ &peer }.read(&mut [0]).unwrap(), 0);
    });
    drained(&runtime)
}

fn noticed(builder: Builder, end: fn(TcpStream)) -> Result<(), Failed> {
    let runtime = builder.build()?;
    let (stream, peer) = pair();
    runtime.block_on(async {
        let ending = later(move || {
            let ended = Instant::now();
            end(peer);
            ended
        });
        stream.hang_up().await.unwrap();
        let took = ending.join().unwrap().elapsed();
        let limit = Duration::from_secs(if is_emulated() { 30 } else { 1 });
        assert!(took < limit, "{took:?}");
    });
    drained(&runtime)
}
