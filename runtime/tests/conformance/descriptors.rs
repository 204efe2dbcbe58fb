//! A descriptor that an operation wins for a future that is gone is closed.

use std::net::TcpStream;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use ringway::fs::{Dir, OFlags, OpenHow};
use ringway::net::{self, TcpListener};
use ringway::{Builder, OpKind, Policy, Rung, Runtime};

use crate::config::{self, BACKENDS};
use crate::connections::begin;
use crate::counts;
use crate::drops::drained;
use crate::world::listener;

const ROUNDS: usize = 100;

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name: &str, backend, run: fn(Builder) -> Result<(), Failed>| {
        config::alone_on_backend(format!("descriptors::{name}::{backend}"), backend, run)
    };
    let of = |backend| {
        [
            trial("accept", backend, |builder| counted(builder, Policy::new(), accepts)),
            trial("connect", backend, |builder| counted(builder, Policy::new(), connects)),
            trial("open_on_the_ring", backend, |builder| {
                counted(builder, open_on(Rung::Ring), opens)
            }),
            trial("open_on_the_pool", backend, |builder| {
                counted(builder, open_on(Rung::Pool), opens)
            }),
        ]
    };
    BACKENDS.into_iter().flat_map(of).collect()
}

fn open_on(rung: Rung) -> Policy {
    Policy::new().prefer(OpKind::OpenAt, &[rung, Rung::Pool])
}

fn counted(builder: Builder, policy: Policy, orphan: fn(&Runtime)) -> Result<(), Failed> {
    let runtime = builder.policy(policy).build()?;
    let before = counts::descriptors();
    orphan(&runtime);
    drained(&runtime)?;
    Ok(counts::settles_at(before, counts::descriptors)?)
}

/// Long enough for the kernel, or a thread of the pool, to be done while this thread looks away.
fn look_away() {
    std::thread::sleep(Duration::from_millis(2));
}

fn accepts(runtime: &Runtime) {
    runtime.block_on(async {
        let listener = TcpListener::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let addr = listener.local_addr().unwrap();
        for round in 0..ROUNDS {
            let mut accept = Box::pin(listener.accept());
            if begin(&mut accept) {
                continue;
            }
            if round % 2 == 0 {
                ringway::time::sleep(Duration::from_millis(1)).await;
            }
            let peer = TcpStream::connect(addr).unwrap();
            look_away();
            drop(accept);
            // It was won by the one who is gone, and closed, or waits for the next one.
            drop(peer);
        }
    });
}

fn connects(runtime: &Runtime) {
    let (listener, addr) = listener();
    runtime.block_on(async {
        for round in 0..ROUNDS {
            let mut connect = Box::pin(net::TcpStream::connect(addr));
            if begin(&mut connect) {
                continue;
            }
            if round % 2 == 0 {
                ringway::time::sleep(Duration::from_millis(1)).await;
            }
            look_away();
            drop(connect);
        }
    });
    drop(listener);
}

fn opens(runtime: &Runtime) {
    let dir = Dir::open_ambient("/").unwrap();
    let how = OpenHow::new(OFlags::RDONLY);
    runtime.block_on(async {
        for round in 0..ROUNDS {
            let mut open = Box::pin(dir.open_at("proc", &how));
            assert!(!begin(&mut open));
            if round % 2 == 0 {
                ringway::time::sleep(Duration::from_millis(1)).await;
            }
            look_away();
            drop(open);
        }
    });
}
