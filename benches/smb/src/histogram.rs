//! Latencies by size, in memory that does not grow: each bucket is 1/32 of the power of two that it begins with, so a
//! percentile is right to 3 %.

use std::time::Duration;

const STEPS_LOG: u32 = 5;
const STEPS: u64 = 1 << STEPS_LOG;
const BUCKETS: usize = (64 - STEPS_LOG as usize + 1) << STEPS_LOG;

/// How many of each size there were.
#[derive(Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    all: u64,
    most: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], all: 0, most: 0 }
    }
}

impl Histogram {
    pub(crate) fn add(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)] += 1;
        self.all += 1;
        self.most = self.most.max(nanos);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.all += other.all;
        self.most = self.most.max(other.most);
    }

    /// What this share of all took at most, in seconds.
    pub(crate) fn percentile(&self, share: f64) -> f64 {
        let rank = (self.all as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        let nanos = found.map_or(0, |bucket| end_of(bucket).min(self.most));
        nanos as f64 / 1e9
    }

    /// What the slowest took, in seconds.
    pub(crate) fn most(&self) -> f64 {
        self.most as f64 / 1e9
    }
}

const fn bucket(nanos: u64) -> usize {
    if nanos < STEPS {
        return nanos as usize;
    }
    let power = nanos.ilog2() - STEPS_LOG;
    ((power as u64 + 1) * STEPS + (nanos >> power) - STEPS) as usize
}

/// The largest that belongs to it.
const fn end_of(bucket: usize) -> u64 {
    let (power, step) = (bucket as u64 >> STEPS_LOG, bucket as u64 & (STEPS - 1));
    if power == 0 {
        return step;
    }
    let begin = (STEPS + step) << (power - 1);
    begin + ((1 << (power - 1)) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_has_a_bucket_that_is_not_much_wider_than_itself() {
        for nanos in
            (0..200).chain((3..63).flat_map(|power| {
                [(1 << power) - 1, 1 << power, (1 << power) + 1, 3 << (power - 1)]
            }))
        {
            let end = end_of(bucket(nanos));
            assert!(end >= nanos && end - nanos <= nanos / 32, "{nanos} {end}");
        }
        assert_eq!(end_of(bucket(u64::MAX)), u64::MAX);
    }

    #[test]
    fn percentiles_are_those_of_the_numbers() {
        let mut histogram = Histogram::default();
        let mut other = Histogram::default();
        (1..=500).for_each(|micros| histogram.add(Duration::from_micros(micros)));
        (501..=1000).for_each(|micros| other.add(Duration::from_micros(micros)));
        histogram.merge(&other);
        for share in [0.5, 0.9, 0.99] {
            let exact = share * 1e-3;
            let found = histogram.percentile(share);
            assert!(found >= exact && found <= exact * 1.04, "{share} {found}");
        }
        assert_eq!((histogram.percentile(1.0), histogram.most()), (1e-3, 1e-3));
    }
}
