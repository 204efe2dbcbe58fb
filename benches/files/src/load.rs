//! A workload, carried out over some connections with some requests in flight on each.

use std::cell::Cell;
use std::io;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use futures_util::stream::{FuturesUnordered, TryStreamExt};
use smb_common::client::{Share, Target};

use crate::workloads::{Amount, Names, Workload};

/// Nothing that is measured takes longer, but where a server does not answer any more.
const PATIENCE: Duration = Duration::from_secs(300);

/// Sessions that a sample is taken with.
pub(crate) struct Load {
    shares: Vec<Share>,
    depth: usize,
}

/// How it went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    pub(crate) operations: u64,
    pub(crate) time: Duration,
}

impl Load {
    pub(crate) async fn connect(target: &Target, shape: (usize, usize)) -> io::Result<Self> {
        let (connections, depth) = shape;
        let shares = try_join_all((0..connections).map(|_| Share::connect(target))).await?;
        Ok(Self { shares, depth })
    }

    pub(crate) async fn make_folder(&self, name: &str) -> io::Result<()> {
        match self.shares.first() {
            Some(share) => share.make_folder(name).await,
            None => Ok(()),
        }
    }

    /// What goes before the measurement.
    pub(crate) async fn prepare(
        &self,
        workload: &dyn Workload,
        names: &Names,
        amount: Amount,
    ) -> io::Result<()> {
        self.steps(amount, |share, turn| workload.prepare(share, names, turn)).await.map(|_| ())
    }

    pub(crate) async fn run(
        &self,
        workload: &dyn Workload,
        names: &Names,
        amount: Amount,
    ) -> io::Result<Done> {
        self.steps(amount, |share, turn| workload.step(share, names, turn)).await
    }

    async fn steps<'a, F>(
        &'a self,
        amount: Amount,
        step: impl Fn(&'a Share, u64) -> F,
    ) -> io::Result<Done>
    where
        F: Future<Output = io::Result<u64>>,
    {
        let turns = Turns::new(amount);
        let worker = async |share: &'a Share| {
            let mut operations = 0;
            while let Some(turn) = turns.next() {
                operations += step(share, turn).await?;
            }
            Ok::<u64, io::Error>(operations)
        };
        let start = Instant::now();
        let workers = self.shares.iter().flat_map(|share| (0..self.depth).map(move |_| share));
        let all: FuturesUnordered<_> = workers.map(worker).collect();
        let sum = all.try_fold(0, async |sum, count| Ok(sum + count));
        let operations = ringway::time::timeout(PATIENCE, sum)
            .await
            .map_err(|_| io::Error::other(format!("it was not done after {PATIENCE:?}")))??;
        Ok(Done { operations, time: start.elapsed() })
    }
}

/// Deals turns out to whoever is free.
struct Turns {
    next: Cell<u64>,
    amount: Amount,
    start: Instant,
}

impl Turns {
    fn new(amount: Amount) -> Self {
        Self { next: Cell::new(0), amount, start: Instant::now() }
    }

    fn next(&self) -> Option<u64> {
        let turn = self.next.replace(self.next.get() + 1);
        let is_on = match self.amount {
            Amount::Time(time) => self.start.elapsed() < time,
            Amount::Steps(steps) => turn < steps,
        };
        is_on.then_some(turn)
    }
}
