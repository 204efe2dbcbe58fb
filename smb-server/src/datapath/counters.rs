//! How many transfers took which way.

use std::sync::atomic::{AtomicU64, Ordering};

use super::plan::{Direction, Route};

/// Counts transfers and their bytes by way and direction, over all connections.
#[derive(Debug, Default)]
pub struct Counters {
    by_route: [[Counter; 2]; Route::ALL.len()],
}

#[derive(Debug, Default)]
struct Counter {
    transfers: AtomicU64,
    bytes: AtomicU64,
}

/// What went one way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Count {
    /// Which way.
    pub route: Route,
    /// To the client or from it.
    pub direction: Direction,
    /// READs or WRITEs that succeeded.
    pub transfers: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Counters {
    pub(super) fn count(&self, route: Route, direction: Direction, bytes: usize) {
        let counter = &self.by_route[route.index()][direction as usize];
        counter.transfers.fetch_add(1, Ordering::Relaxed);
        counter.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// What there has been so far, without the ways that nothing took.
    #[must_use]
    pub fn counts(&self) -> Vec<Count> {
        let mut counts = Vec::new();
        for route in Route::ALL {
            for direction in [Direction::Read, Direction::Write] {
                let counter = &self.by_route[route.index()][direction as usize];
                let transfers = counter.transfers.load(Ordering::Relaxed);
                let bytes = counter.bytes.load(Ordering::Relaxed);
                if transfers > 0 {
                    counts.push(Count { route, direction, transfers, bytes });
                }
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_one_way_is_counted_there() {
        let counters = Counters::default();
        counters.count(Route::Spliced, Direction::Read, 10);
        counters.count(Route::Spliced, Direction::Read, 5);
        counters.count(Route::Message, Direction::Write, 1);
        let spliced =
            Count { route: Route::Spliced, direction: Direction::Read, transfers: 2, bytes: 15 };
        let message =
            Count { route: Route::Message, direction: Direction::Write, transfers: 1, bytes: 1 };
        assert_eq!(counters.counts(), [spliced, message]);
    }
}
