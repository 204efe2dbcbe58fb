//! How many transfers took which way, and why.

use std::sync::atomic::{AtomicU64, Ordering};

use super::plan::{Direction, Route, Row, TABLE};
use super::scale::{Measured, Way};

/// Counts transfers and their bytes by the row of the table that they took, over all connections.
#[derive(Debug)]
pub struct Counters {
    /// In the order of the table.
    by_row: Vec<Counter>,
    cut_off: AtomicU64,
    read_ahead: Counter,
    /// What the ways that are weighed have cost last; 0: nothing is known.
    mapped_cost: AtomicU64,
    spliced_cost: AtomicU64,
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

/// What went one way for one reason.
#[derive(Clone, Copy)]
pub struct RowCount {
    /// Its row.
    pub row: &'static Row,
    /// READs or WRITEs that succeeded.
    pub transfers: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Default for Counters {
    fn default() -> Self {
        let by_row = TABLE.iter().map(|_| Counter::default()).collect();
        Self {
            by_row,
            cut_off: AtomicU64::new(0),
            read_ahead: Counter::default(),
            mapped_cost: AtomicU64::new(0),
            spliced_cost: AtomicU64::new(0),
        }
    }
}

impl Counters {
    pub(super) fn count(&self, row: &Row, bytes: usize) {
        if let Some(counter) = row.index().and_then(|index| self.by_row.get(index)) {
            counter.transfers.fetch_add(1, Ordering::Relaxed);
            counter.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }

    /// A connection has ended in the middle of an answer, whose file was cut off.
    pub fn count_cut_off(&self) {
        self.cut_off.fetch_add(1, Ordering::Relaxed);
    }

    /// How many connections have ended so.
    #[must_use]
    pub fn cut_off(&self) -> u64 {
        self.cut_off.load(Ordering::Relaxed)
    }

    pub(super) fn note_cost(&self, measured: Measured) {
        let of_way = match measured.way {
            Way::Mapped => &self.mapped_cost,
            Way::Spliced => &self.spliced_cost,
        };
        of_way.store(measured.cost, Ordering::Relaxed);
    }

    /// What long plain READs by clients on this host have cost a core when that was measured last, out of a mapping and by
    /// splices: milliseconds per gigabyte, all that the core did meanwhile included. `None` until both are known.
    #[must_use]
    pub fn costs(&self) -> Option<(u64, u64)> {
        let read = |cost: &AtomicU64| Some(cost.load(Ordering::Relaxed)).filter(|cost| *cost > 0);
        read(&self.mapped_cost).zip(read(&self.spliced_cost))
    }

    pub(super) fn count_read_ahead(&self, bytes: u64) {
        self.read_ahead.transfers.fetch_add(1, Ordering::Relaxed);
        self.read_ahead.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// How often the kernel was asked to read ahead, and how many bytes altogether.
    #[must_use]
    pub fn read_ahead(&self) -> (u64, u64) {
        let Counter { transfers, bytes } = &self.read_ahead;
        (transfers.load(Ordering::Relaxed), bytes.load(Ordering::Relaxed))
    }

    /// What there has been so far, without the rows that nothing took.
    #[must_use]
    pub fn rows(&self) -> Vec<RowCount> {
        let read = |(row, counter): (&'static Row, &Counter)| {
            let transfers = counter.transfers.load(Ordering::Relaxed);
            let bytes = counter.bytes.load(Ordering::Relaxed);
            (transfers > 0).then_some(RowCount { row, transfers, bytes })
        };
        TABLE.iter().zip(&self.by_row).filter_map(read).collect()
    }

    /// The same by way, without those that nothing took.
    #[must_use]
    pub fn counts(&self) -> Vec<Count> {
        let rows = self.rows();
        let mut counts = Vec::new();
        for route in Route::ALL {
            for direction in [Direction::Read, Direction::Write] {
                let these =
                    rows.iter().filter(|it| it.row.route == route && it.row.direction == direction);
                let sum = |(transfers, bytes), it: &RowCount| {
                    (transfers + it.transfers, bytes + it.bytes)
                };
                let (transfers, bytes) = these.fold((0, 0), sum);
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

    fn rows(route: Route, direction: Direction) -> impl Iterator<Item = &'static Row> {
        TABLE.iter().filter(move |row| row.route == route && row.direction == direction)
    }

    #[test]
    fn what_went_one_way_is_counted_there_whatever_the_reason() {
        let counters = Counters::default();
        let mut buffered = rows(Route::Buffered, Direction::Read);
        let (first, second) = (buffered.next().unwrap(), buffered.next().unwrap());
        let message = rows(Route::Message, Direction::Write).next().unwrap();
        for (row, bytes) in [(message, 1), (first, 10), (second, 5), (second, 7)] {
            counters.count(row, bytes);
        }
        let buffered =
            Count { route: Route::Buffered, direction: Direction::Read, transfers: 3, bytes: 22 };
        let message =
            Count { route: Route::Message, direction: Direction::Write, transfers: 1, bytes: 1 };
        assert_eq!(counters.counts(), [buffered, message]);
        let told: Vec<_> = counters.rows().iter().map(|it| (it.transfers, it.bytes)).collect();
        assert_eq!(told, [(1, 10), (2, 12), (1, 1)]);
    }
}
