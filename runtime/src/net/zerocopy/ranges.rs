//! What `MSG_ZEROCOPY` sends are numbered by: consecutive numbers of 32 bits, told back in ranges.

use std::collections::VecDeque;

/// What is outstanding, by number. The kernel counts a socket's successful sends from 0 on, modulo
/// 2^32, and tells ranges of them in any order, each number once.
#[derive(Debug)]
pub(super) struct Ranges<T> {
    /// The number of the first place.
    base: u32,
    /// One for each number from `base` on that has been sent; empty where it was told already.
    places: VecDeque<Option<T>>,
    len: usize,
}

impl<T> Default for Ranges<T> {
    fn default() -> Self {
        Self { base: 0, places: VecDeque::new(), len: 0 }
    }
}

impl<T> Ranges<T> {
    /// How many are outstanding.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// One more has been sent.
    pub(super) fn push(&mut self, sent: T) {
        self.places.push_back(Some(sent));
        self.len += 1;
    }

    /// Takes what is outstanding of the numbers `lo..=hi`, oldest first.
    pub(super) fn take(&mut self, lo: u32, hi: u32) -> Vec<T> {
        let (from, count) = self.overlap(lo, hi);
        let places = self.places.iter_mut().skip(from).take(count);
        let taken: Vec<_> = places.filter_map(Option::take).collect();
        self.len -= taken.len();
        while let Some(None) = self.places.front() {
            self.places.pop_front();
            self.base = self.base.wrapping_add(1);
        }
        taken
    }

    /// The places of the numbers `lo..=hi`: where they start, and how many there may be.
    fn overlap(&self, lo: u32, hi: u32) -> (usize, usize) {
        let count = hi.wrapping_sub(lo) as usize + 1;
        let from = lo.wrapping_sub(self.base) as usize;
        if from < self.places.len() {
            return (from, count);
        }
        // It begins before what is outstanding.
        let before = self.base.wrapping_sub(lo) as usize;
        (0, count.saturating_sub(before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outstanding(base: u32, count: u32) -> Ranges<u32> {
        let mut ranges = Ranges { base, ..Ranges::default() };
        (0..count).for_each(|i| ranges.push(base.wrapping_add(i)));
        ranges
    }

    #[test]
    fn a_coalesced_range_gives_all_of_its_numbers() {
        let mut ranges = outstanding(0, 5);
        assert_eq!(ranges.take(0, 2), [0, 1, 2]);
        assert_eq!((ranges.len(), ranges.base), (2, 3));
        assert_eq!(ranges.take(3, 4), [3, 4]);
        assert_eq!(ranges.len(), 0);
    }

    #[test]
    fn ranges_come_in_any_order_and_each_number_once() {
        let mut ranges = outstanding(10, 6);
        assert_eq!(ranges.take(13, 14), [13, 14]);
        assert_eq!(ranges.take(13, 14), [] as [u32; 0]);
        assert_eq!(ranges.take(10, 15), [10, 11, 12, 15]);
        ranges.push(16);
        assert_eq!(ranges.take(16, 16), [16]);
    }

    #[test]
    fn numbers_wrap_around_at_two_to_the_thirty_second() {
        let mut ranges = outstanding(u32::MAX - 1, 4);
        assert_eq!(ranges.take(0, 0), [0]);
        assert_eq!(ranges.take(u32::MAX, 1), [u32::MAX, 1]);
        assert_eq!(ranges.take(u32::MAX - 1, u32::MAX - 1), [u32::MAX - 1]);
        ranges.push(2);
        assert_eq!((ranges.base, ranges.take(2, 2)), (2, vec![2]));
    }

    #[test]
    fn numbers_that_are_not_outstanding_take_nothing_else() {
        let mut ranges = outstanding(100, 3);
        assert!(ranges.take(97, 99).is_empty());
        assert!(ranges.take(103, 200).is_empty());
        assert!(ranges.take(7, 5).len() == 3, "all numbers but one");
        let mut ranges = outstanding(100, 3);
        assert_eq!(ranges.take(90, 101), [100, 101]);
    }
}
