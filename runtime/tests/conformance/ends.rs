//! The end of a runtime with operations of every kind in flight: all are drained, and counted.

use std::rc::Rc;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use ringway::Builder;
use ringway::time::sleep;

use crate::case::{Stage, World};
use crate::config::{self, BACKENDS};
use crate::connections::pair;
use crate::drops::never_inline;
use crate::{cases, counts};

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name: &str, backend, run: fn(Builder) -> Result<(), Failed>| {
        config::alone_on_backend(format!("ends::{name}::{backend}"), backend, run)
    };
    let of = |backend| {
        [
            trial("amid_everything", backend, amid_everything),
            trial("of_waits_that_would_last", backend, of_lasting_waits),
        ]
    };
    BACKENDS.into_iter().flat_map(of).collect()
}

/// Every case has begun, and is somewhere.
fn amid_everything(builder: Builder) -> Result<(), Failed> {
    let before = counts::descriptors();
    for pause in [0, 1, 3, 10, 30] {
        let runtime = builder.clone().policy(never_inline()).build()?;
        let tasks = cases().count();
        let over = runtime.block_on(async {
            let tasks: Vec<_> = cases()
                .map(|case| {
                    ringway::spawn(async {
                        let stage = Stage::new(World::Ringway);
                        (case.script)(&stage).await;
                    })
                })
                .collect();
            sleep(Duration::from_millis(pause)).await;
            tasks.iter().filter(|task| task.is_finished()).count()
        });
        let report = runtime.shutdown(Duration::from_secs(120));
        // How many operations there were to drain is the tasks' affair: their drop ends some.
        if report.leaked > 0 || report.cancelled != tasks - over {
            return Err(format!("{over} of {tasks} over: {report:?}").into());
        }
        counts::settles_at(before, counts::descriptors)?;
    }
    Ok(())
}

/// Nothing would end these but the end.
fn of_lasting_waits(builder: Builder) -> Result<(), Failed> {
    const WAITS: usize = 50;
    let runtime = builder.build()?;
    let peers: Vec<_> = runtime.block_on(async {
        let pairs = (0..WAITS).map(|_| pair());
        let wait = |(stream, peer)| {
            let stream = Rc::new(stream);
            let other: Rc<ringway::net::TcpStream> = Rc::clone(&stream);
            ringway::spawn(async move { stream.recv(vec![0; 10]).await.0 });
            ringway::spawn(async move { other.hang_up().await });
            peer
        };
        let peers = pairs.map(wait).collect();
        sleep(Duration::from_millis(5)).await;
        peers
    });
    let report = runtime.shutdown(Duration::from_secs(120));
    drop(peers);
    let expected = ringway::ShutdownReport { cancelled: 2 * WAITS, drained: 2 * WAITS, leaked: 0 };
    if report == expected { Ok(()) } else { Err(format!("{report:?}").into()) }
}
