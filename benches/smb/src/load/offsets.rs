//! Where in a file the next request is about, and other chance that is the same in each run.

use crate::files;
use crate::pattern::mix;

/// One connection's.
pub(super) struct Offsets {
    size: u64,
    random: bool,
    next: u64,
    chance: u64,
}

impl Offsets {
    /// For requests of `size` bytes. Connections, by their number, begin at different places.
    pub(super) fn new(size: u32, random: bool, connection: usize) -> Self {
        let size = u64::from(size.max(1));
        let chance = mix(connection as u64).wrapping_mul(2);
        let mut offsets = Self { size, random, next: 0, chance };
        offsets.next = offsets.one_of(offsets.places());
        offsets
    }

    /// All of a request is within the file.
    pub(super) fn next(&mut self) -> u64 {
        let place = if self.random {
            self.one_of(self.places())
        } else {
            self.next = (self.next + 1) % self.places();
            self.next
        };
        place * self.size
    }

    /// A number below `count`.
    pub(super) fn one_of(&mut self, count: u64) -> u64 {
        self.chance = self.chance.wrapping_add(1);
        mix(self.chance) % count.max(1)
    }

    const fn places(&self) -> u64 {
        files::SIZE / self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_lie_within_the_file_and_follow_upon_each_other_unless_at_random() {
        for size in [1, 4096, 65_537, 8 << 20] {
            for random in [false, true] {
                let mut offsets = Offsets::new(size, random, 3);
                let mut last = offsets.next();
                for _ in 0..1000 {
                    let next = offsets.next();
                    assert!(next + u64::from(size) <= files::SIZE);
                    assert!(random || next == last + u64::from(size) || next == 0);
                    last = next;
                }
            }
        }
    }
}
