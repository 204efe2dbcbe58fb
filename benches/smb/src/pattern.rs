//! What files hold: bytes that depend on the file and on the place in it, so that a wrong page, or a right one in a wrong
//! place, is noticed.
//!
//! It is one sequence that no part of repeats itself, over and over; a file's seed says where in it the file begins. The
//! sequence has a prime number of pages, so that what is a round distance away is always something else.

const PAGE: usize = 4096;
const PERIOD: usize = 251 * PAGE;

/// How far into the sequence the next seed is: no whole page, so that two files share none.
const STEP: u64 = 37 * PAGE as u64 + 520;

/// The largest READ or WRITE.
pub(crate) const LENGTH_MAX: usize = 8 << 20;

/// The sequence in memory, and as much of it again as one request may want.
pub(crate) struct Pattern {
    bytes: Vec<u8>,
}

impl Pattern {
    pub(crate) fn new() -> Self {
        let words = (0..(PERIOD / 8) as u64).flat_map(|index| mix(index).to_le_bytes());
        let mut bytes: Vec<u8> = words.collect();
        while bytes.len() < PERIOD + LENGTH_MAX {
            let more = (PERIOD + LENGTH_MAX - bytes.len()).min(PERIOD);
            bytes.extend_from_within(..more);
        }
        Self { bytes }
    }

    /// What the file with this seed holds there; `length` is at most [`LENGTH_MAX`].
    pub(crate) fn of(&self, seed: u64, offset: u64, length: usize) -> &[u8] {
        let start = offset.wrapping_add(seed.wrapping_mul(STEP)) % PERIOD as u64;
        &self.bytes[start as usize..][..length.min(LENGTH_MAX)]
    }
}

/// A number that looks like chance, and is the same each time (the finalizer of SplitMix64).
pub(crate) const fn mix(index: u64) -> u64 {
    let mut value = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_unlike_those_at_round_distances_and_in_other_files() {
        let pattern = Pattern::new();
        let page = |seed, offset| pattern.of(seed, offset, PAGE);
        for shift in 12..26 {
            assert_ne!(page(0, 0), page(0, 1 << shift), "{shift}");
        }
        for seed in 1..1000 {
            assert_ne!(page(0, 0), page(seed, 0), "{seed}");
        }
    }

    #[test]
    fn a_long_piece_is_what_its_parts_are() {
        let pattern = Pattern::new();
        let all = pattern.of(3, 12_288, LENGTH_MAX);
        for (index, part) in all.chunks(65_536).enumerate() {
            assert_eq!(part, pattern.of(3, 12_288 + index as u64 * 65_536, part.len()));
        }
    }
}
