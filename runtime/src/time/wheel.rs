//! A hierarchical timing wheel over ticks. It knows no clock and wakes nobody: wakers are given out.
//!
//! A timer stands on the level of the highest group of six bits in which its tick differs from the
//! wheel's present, in the slot that this group names. So all of a level comes before all of the next,
//! slots of a level lie in the future in the order of their numbers, and the earliest occupied slot is
//! found by bit maps. When the present reaches a slot of a higher level, its timers move down.

use std::mem;
use std::task::Waker;

/// Bits of a tick that choose a slot within its level.
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;

/// Seven levels of 64 slots: at a tick per millisecond, 139 years.
const LEVELS: usize = 7;

/// The last tick; what is due later stands here.
const TICK_MAX: u64 = (1 << (SLOT_BITS * LEVELS as u32)) - 1;

/// The end of a list, or an empty one.
const NONE: u32 = u32::MAX;

/// The place of a timer that has been given out.
const NOWHERE: u16 = u16::MAX;

pub(super) struct Wheel {
    /// The present: no timer stands in a slot before it.
    now: u64,
    levels: [Level; LEVELS],
    timers: Vec<Timer>,
    /// The first of the list of timers that are not in use.
    free: u32,
    /// Timers that stand in a slot.
    waiting: usize,
}

#[derive(Clone, Copy)]
struct Level {
    /// A bit for each slot that is not empty.
    occupied: u64,
    /// The first of each slot's list; its `prev` is the last.
    heads: [u32; SLOTS],
}

/// Two fit into a cache line; a million of them is where memory is what takes the time.
struct Timer {
    waker: Option<Waker>,
    prev: u32,
    next: u32,
    /// The tick, of which TICK_MAX leaves the upper bits free, above level and slot.
    tick_and_place: u64,
}

/// How many bits of `tick_and_place` are the place.
const PLACE_BITS: u32 = u16::BITS;

impl Timer {
    fn tick(&self) -> u64 {
        self.tick_and_place >> PLACE_BITS
    }

    fn place(&self) -> u16 {
        self.tick_and_place as u16
    }

    fn set_tick(&mut self, tick: u64) {
        let tick = tick.min(TICK_MAX);
        self.tick_and_place = tick << PLACE_BITS | u64::from(self.place());
    }

    fn set_place(&mut self, place: u16) {
        self.tick_and_place = self.tick() << PLACE_BITS | u64::from(place);
    }
}

/// Names a timer from [`Wheel::insert`] to [`Wheel::remove`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Key(u32);

impl Default for Wheel {
    fn default() -> Self {
        let level = Level { occupied: 0, heads: [NONE; SLOTS] };
        Self { now: 0, levels: [level; LEVELS], timers: Vec::new(), free: NONE, waiting: 0 }
    }
}

impl Wheel {
    /// A timer for `tick`; one that has passed is due at once.
    pub(super) fn insert(&mut self, tick: u64, waker: Waker) -> Key {
        let index = self.allocate();
        let timer = self.at(index);
        timer.waker = Some(waker);
        timer.set_tick(tick);
        self.link(index);
        Key(index)
    }

    /// Ends a timer, due or not; gives its waker out to be dropped.
    pub(super) fn remove(&mut self, key: Key) -> Option<Waker> {
        self.unlink(key.0);
        let free = mem::replace(&mut self.free, key.0);
        let timer = self.at(key.0);
        timer.next = free;
        timer.waker.take()
    }

    /// Moves a timer that is not due yet; tells whether it was one.
    pub(super) fn reset(&mut self, key: Key, tick: u64) -> bool {
        let waits = !self.is_due(key);
        if waits {
            self.unlink(key.0);
            self.at(key.0).set_tick(tick);
            self.link(key.0);
        }
        waits
    }

    /// Whether the timer's waker has been given out by [`Wheel::pop_due`].
    pub(super) fn is_due(&self, key: Key) -> bool {
        self.timers[key.0 as usize].place() == NOWHERE
    }

    /// Changes whom to wake; gives the old waker out if there is one to drop.
    pub(super) fn set_waker(&mut self, key: Key, waker: &Waker) -> Option<Waker> {
        match &mut self.at(key.0).waker {
            Some(old) if old.will_wake(waker) => None,
            old => old.replace(waker.clone()),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// The tick at which there is something to do: a timer is due, or timers are to move down.
    pub(super) fn next_tick(&self) -> Option<u64> {
        self.next_slot().map(|(_, _, tick)| tick)
    }

    /// Gives out the waker of a timer that is due by `now`, earliest first.
    pub(super) fn pop_due(&mut self, now: u64) -> Option<Waker> {
        while let Some((level, slot, tick)) = self.next_slot().filter(|&(_, _, tick)| tick <= now) {
            self.now = tick.max(self.now);
            let head = self.levels[level].heads[slot];
            if level == 0 {
                self.unlink(head);
                return self.at(head).waker.take();
            }
            self.move_down(level, slot, head);
        }
        // Nothing is left before it.
        self.now = now.clamp(self.now, TICK_MAX);
        None
    }

    /// The earliest occupied slot, and the first of its ticks.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        let level = self.levels.iter().position(|level| level.occupied != 0)?;
        let slot = self.levels[level].occupied.trailing_zeros();
        let shift = SLOT_BITS * level as u32;
        let above = self.now >> (shift + SLOT_BITS) << (shift + SLOT_BITS);
        Some((level, slot as usize, above | u64::from(slot) << shift))
    }

    /// Puts the timers of a slot that the present has reached to where they belong from here.
    fn move_down(&mut self, level: usize, slot: usize, head: u32) {
        self.levels[level].occupied &= !(1 << slot);
        self.levels[level].heads[slot] = NONE;
        let mut index = head;
        while index != NONE {
            let next = self.at(index).next;
            self.waiting -= 1;
            self.link(index);
            index = next;
        }
    }

    /// Puts a timer at the end of its slot's list.
    fn link(&mut self, index: u32) {
        let tick = self.at(index).tick().max(self.now);
        let level = (((tick ^ self.now) | 1).ilog2() / SLOT_BITS) as usize;
        let slot = (tick >> (SLOT_BITS * level as u32)) as usize % SLOTS;
        let head = self.levels[level].heads[slot];
        let prev = if head == NONE {
            self.levels[level].occupied |= 1 << slot;
            self.levels[level].heads[slot] = index;
            index
        } else {
            let last = mem::replace(&mut self.at(head).prev, index);
            self.at(last).next = index;
            last
        };
        let timer = self.at(index);
        (timer.prev, timer.next) = (prev, NONE);
        timer.set_place((level * SLOTS + slot) as u16);
        self.waiting += 1;
    }

    /// Takes a timer out of its slot's list, if it stands in one.
    fn unlink(&mut self, index: u32) {
        let timer = self.at(index);
        let (prev, next) = (timer.prev, timer.next);
        let place = timer.place();
        if place == NOWHERE {
            return;
        }
        timer.set_place(NOWHERE);
        self.waiting -= 1;
        let (level, slot) = (place as usize / SLOTS, place as usize % SLOTS);
        let head = self.levels[level].heads[slot];
        if index == head {
            self.levels[level].heads[slot] = next;
        } else {
            self.at(prev).next = next;
        }
        if next != NONE {
            self.at(next).prev = prev;
        } else if index == head {
            self.levels[level].occupied &= !(1 << slot);
        } else {
            self.at(head).prev = prev;
        }
    }

    /// A timer that stands nowhere.
    fn allocate(&mut self) -> u32 {
        let index = self.free;
        if index != NONE {
            self.free = self.at(index).next;
            return index;
        }
        let place = u64::from(NOWHERE);
        self.timers.push(Timer { waker: None, prev: NONE, next: NONE, tick_and_place: place });
        // 2^32 of them would be 128 GiB.
        self.timers.len() as u32 - 1
    }

    fn at(&mut self, index: u32) -> &mut Timer {
        &mut self.timers[index as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::Wake;

    use super::*;

    /// Adds its number to a log when it is woken.
    struct Note(u64, Arc<std::sync::Mutex<Vec<u64>>>);

    impl Wake for Note {
        fn wake(self: Arc<Self>) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    /// SplitMix64, of a fixed seed.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        }

        /// Numbers of every magnitude up to 2^`bits`.
        fn magnitude(&mut self, bits: u64) -> u64 {
            let bits = self.next() % (bits + 1);
            self.next() & ((1 << bits) - 1)
        }
    }

    /// A wheel and, beside it, an ordered map that says what it has to do.
    #[derive(Default)]
    struct Twins {
        wheel: Wheel,
        now: u64,
        /// What waits, by tick and number.
        waiting: BTreeMap<(u64, u64), Key>,
        /// What is due and not yet removed.
        due: Vec<Key>,
        log: Arc<std::sync::Mutex<Vec<u64>>>,
        number: u64,
    }

    impl Twins {
        fn insert(&mut self, tick: u64) {
            let waker = Waker::from(Arc::new(Note(self.number, self.log.clone())));
            let key = self.wheel.insert(tick, waker);
            // What is late when it comes is due now, after what was due now before.
            self.waiting.insert((tick.max(self.now), self.number), key);
            self.number += 1;
        }

        fn nth(&self, nth: u64) -> Option<(u64, u64)> {
            let nth = nth.checked_rem(self.waiting.len() as u64)?;
            self.waiting.keys().nth(nth as usize).copied()
        }

        fn remove(&mut self, nth: u64) {
            if let Some(entry) = self.nth(nth) {
                let key = self.waiting.remove(&entry).unwrap();
                assert!(!self.wheel.is_due(key));
                self.wheel.remove(key);
            }
        }

        fn reset(&mut self, nth: u64, tick: u64) {
            if let Some(entry) = self.nth(nth) {
                let key = self.waiting.remove(&entry).unwrap();
                assert!(self.wheel.reset(key, tick));
                self.waiting.insert((tick, entry.1), key);
            }
        }

        /// Time goes on, and what is due is given out in the order of ticks.
        fn advance(&mut self, now: u64) {
            self.now = now;
            self.log.lock().unwrap().clear();
            while let Some(waker) = self.wheel.pop_due(now) {
                waker.wake();
            }
            let later = self.waiting.split_off(&(now + 1, 0));
            let due = mem::replace(&mut self.waiting, later);
            let ticks: BTreeMap<_, _> = due.keys().map(|&(tick, number)| (number, tick)).collect();
            let given = self.log.lock().unwrap().clone();
            assert_eq!(given.len(), due.len(), "at {now}");
            let given: Vec<_> = given.iter().map(|number| ticks[number]).collect();
            assert!(given.is_sorted(), "{given:?}");
            assert!(due.values().all(|&key| self.wheel.is_due(key)));
            self.due.extend(due.into_values());
        }

        fn check(&self) {
            let earliest = self.waiting.first_key_value().map(|(&(tick, _), _)| tick);
            assert_eq!(self.wheel.is_empty(), earliest.is_none());
            assert_eq!(self.wheel.next_tick().is_none(), earliest.is_none());
            if let (Some(next), Some(earliest)) = (self.wheel.next_tick(), earliest) {
                assert!(next <= earliest.max(self.now), "{next} is after {earliest}");
            }
        }
    }

    #[test]
    fn it_gives_out_what_an_ordered_map_would() {
        for seed in 0..40 {
            let (mut random, mut twins) = (Random(seed), Twins::default());
            let bits = 4 + seed;
            for _ in 0..1500 {
                match random.next() % 8 {
                    0..3 => {
                        let tick = twins.now + random.magnitude(bits);
                        twins.insert(tick.min(TICK_MAX));
                    }
                    3 => twins.insert(twins.now.saturating_sub(random.magnitude(5))),
                    4 => twins.remove(random.next()),
                    5 => {
                        let tick = twins.now + random.magnitude(bits);
                        twins.reset(random.next(), tick.min(TICK_MAX));
                    }
                    6 => twins.advance((twins.now + random.magnitude(bits / 2)).min(TICK_MAX)),
                    _ => {
                        let next = twins.wheel.next_tick().unwrap_or(twins.now);
                        twins.advance(next.max(twins.now));
                    }
                }
                twins.check();
                for key in twins.due.drain(..) {
                    twins.wheel.remove(key);
                }
            }
            twins.advance(TICK_MAX);
            assert!(twins.waiting.is_empty());
        }
    }

    #[test]
    fn the_earliest_deadline_is_reached_in_a_step_for_each_level_at_most() {
        for tick in [0, 1, 63, 64, 65, 4095, 4096, 1 << 20, (1 << 30) + 12345, TICK_MAX, u64::MAX] {
            let mut wheel = Wheel::default();
            let key = wheel.insert(tick, Waker::noop().clone());
            let mut steps = 0;
            while !wheel.is_due(key) {
                let next = wheel.next_tick().unwrap();
                assert!(next <= tick, "never late: {next} for {tick}");
                drop(wheel.pop_due(next));
                steps += 1;
            }
            assert!(steps <= LEVELS, "{steps} steps to {tick}");
            assert_eq!(wheel.next_tick(), None);
        }
    }

    #[test]
    fn equal_ticks_are_given_out_in_the_order_of_their_insertion() {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        struct InOrder(u64);
        impl Wake for InOrder {
            fn wake(self: Arc<Self>) {
                assert_eq!(NEXT.fetch_add(1, Ordering::Relaxed), self.0);
            }
        }
        let mut wheel = Wheel::default();
        for number in 0..100 {
            wheel.insert(5000, Waker::from(Arc::new(InOrder(number))));
        }
        while let Some(waker) = wheel.pop_due(6000) {
            waker.wake();
        }
        assert_eq!(NEXT.load(Ordering::Relaxed), 100);
    }
}
