//! How long the answers to failed logons are withheld. Guessing takes time; who knows the password never waits, and
//! nobody is locked out.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So many failures are answered at once: people mistype.
const FREE: u32 = 2;

/// What the first one after those waits; each further one waits twice as long.
const FIRST: Duration = Duration::from_millis(500);

/// Long enough that guessing is hopeless, short enough that no client gives up.
const LONGEST: Duration = Duration::from_secs(4);

/// A failure is forgotten when none has followed it for so long.
const MEMORY: Duration = Duration::from_secs(10 * 60);

/// Users and addresses that are remembered. Who fails waits, so it takes longer than [`MEMORY`] to push an entry out
/// from one address.
const ENTRIES_MAX: usize = 4096;

/// Answers that one address may have to wait for at once. With the longest wait it bounds the guesses of an address to
/// a few in a second, however many connections it has.
const WITHHELD_MAX: u32 = 32;

/// Characters of a name that count. Names longer than any user's may well share an entry.
const NAME_MAX: usize = 256;

/// The failures of all connections of a server.
#[derive(Debug, Default)]
pub struct Throttle(Mutex<HashMap<Key, Failures>>);

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Key {
    User(String),
    Address(IpAddr),
}

#[derive(Debug)]
struct Failures {
    count: u32,
    last: Instant,
    /// How many answers are being withheld, of an address.
    withheld: u32,
}

/// An answer that has to wait. Its place is free again when this is dropped.
#[derive(Debug)]
pub struct Withheld {
    /// Not before this.
    pub until: Instant,
    address: Key,
    throttle: Arc<Throttle>,
}

impl Throttle {
    /// Whether a logon from `address` may be judged: not while as many of its failures wait as may.
    #[must_use]
    pub fn admits(&self, address: IpAddr) -> bool {
        self.lock().get(&address_key(address)).is_none_or(|found| found.withheld < WITHHELD_MAX)
    }

    /// Notes that `user`, a name that may be anybody's or nobody's, could not log on from `address`.
    #[must_use]
    pub fn failed(self: &Arc<Self>, user: &str, address: IpAddr, now: Instant) -> Withheld {
        let address = address_key(address);
        let mut table = self.lock();
        let by_user = note(&mut table, user_key(user), now).count;
        let of_address = note(&mut table, address.clone(), now);
        of_address.withheld += 1;
        let wait = wait(by_user.max(of_address.count));
        drop(table);
        let until = now.checked_add(wait).unwrap_or(now);
        Withheld { until, address, throttle: Arc::clone(self) }
    }

    /// Notes that `user` has logged on from `address`: both start anew.
    pub fn succeeded(&self, user: &str, address: IpAddr) {
        let mut table = self.lock();
        for key in [user_key(user), address_key(address)] {
            match table.get_mut(&key) {
                Some(found) if found.withheld > 0 => found.count = 0,
                _ => drop(table.remove(&key)),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Failures>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Withheld {
    fn drop(&mut self) {
        if let Some(found) = self.throttle.lock().get_mut(&self.address) {
            found.withheld = found.withheld.saturating_sub(1);
        }
    }
}

/// Counts one failure.
fn note(table: &mut HashMap<Key, Failures>, key: Key, now: Instant) -> &mut Failures {
    if table.len() >= ENTRIES_MAX && !table.contains_key(&key) {
        make_room(table, now);
    }
    let found = table.entry(key).or_insert(Failures { count: 0, last: now, withheld: 0 });
    if is_forgotten(found, now) {
        found.count = 0;
    }
    found.count = found.count.saturating_add(1);
    found.last = now;
    found
}

fn is_forgotten(failures: &Failures, now: Instant) -> bool {
    now.saturating_duration_since(failures.last) >= MEMORY
}

fn make_room(table: &mut HashMap<Key, Failures>, now: Instant) {
    table.retain(|_, found| found.withheld > 0 || !is_forgotten(found, now));
    if table.len() < ENTRIES_MAX {
        return;
    }
    let idle = table.iter().filter(|(_, found)| found.withheld == 0);
    let oldest = idle.min_by_key(|(_, found)| found.last).map(|(key, _)| key.clone());
    if let Some(key) = oldest {
        table.remove(&key);
    }
}

/// How long the answer to so many failures in a row is withheld.
fn wait(count: u32) -> Duration {
    let Some(doublings) = count.checked_sub(FREE + 1) else { return Duration::ZERO };
    let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
    FIRST.saturating_mul(factor).min(LONGEST)
}

fn user_key(name: &str) -> Key {
    Key::User(name.chars().flat_map(char::to_uppercase).take(NAME_MAX).collect())
}

/// A host has all of an IPv6 /64 to choose its addresses from.
fn address_key(address: IpAddr) -> Key {
    Key::Address(match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// What so many failures in a row wait, in milliseconds.
    fn waits(
        throttle: &Arc<Throttle>,
        user: &str,
        from: &str,
        now: Instant,
        count: usize,
    ) -> Vec<u128> {
        let fail = || throttle.failed(user, address(from), now).until - now;
        (0..count).map(|_| fail().as_millis()).collect()
    }

    #[test]
    fn waits_grow_up_to_the_longest() {
        let (throttle, now) = (Arc::default(), Instant::now());
        let waits = waits(&throttle, "ann", "10.0.0.1", now, 8);
        assert_eq!(waits, [0, 0, 500, 1000, 2000, 4000, 4000, 4000]);
        let many = (0..100).map(|_| throttle.failed("ann", address("10.0.0.1"), now).until - now);
        assert!(many.into_iter().all(|wait| wait == LONGEST));
    }

    #[test]
    fn a_user_and_an_address_are_counted_each_on_its_own() {
        let (throttle, now) = (Arc::default(), Instant::now());
        waits(&throttle, "ann", "10.0.0.1", now, 2);
        assert_eq!(waits(&throttle, "ANN", "10.0.0.2", now, 1), [500], "the same user elsewhere");
        assert_eq!(waits(&throttle, "bob", "10.0.0.1", now, 1), [500], "another user there");
        assert_eq!(waits(&throttle, "eve", "10.0.0.3", now, 1), [0], "neither");
    }

    #[test]
    fn a_host_does_not_escape_by_another_address_of_its_network_prefix() {
        let (throttle, now) = (Arc::default(), Instant::now());
        waits(&throttle, "ann", "2001:db8::1", now, 2);
        assert_eq!(waits(&throttle, "bob", "2001:db8::ffff", now, 1), [500]);
        assert_eq!(waits(&throttle, "eve", "2001:db8:0:1::1", now, 1), [0]);
        waits(&throttle, "dan", "10.0.0.1", now, 2);
        assert_eq!(waits(&throttle, "fay", "::ffff:10.0.0.1", now, 1), [500]);
    }

    #[test]
    fn a_success_and_time_make_it_forgotten() {
        let (throttle, now) = (Arc::default(), Instant::now());
        waits(&throttle, "ann", "10.0.0.1", now, 5);
        throttle.succeeded("Ann", address("10.0.0.1"));
        assert_eq!(waits(&throttle, "ann", "10.0.0.1", now, 3), [0, 0, 500]);
        assert_eq!(waits(&throttle, "ann", "10.0.0.1", now + MEMORY, 1), [0]);
    }

    #[test]
    fn an_address_has_only_so_many_answers_to_wait_for() {
        let (throttle, now): (Arc<Throttle>, _) = (Arc::default(), Instant::now());
        let here = address("10.0.0.1");
        let mut withheld: Vec<_> = (0..WITHHELD_MAX)
            .map(|_| {
                assert!(throttle.admits(here));
                throttle.failed("ann", here, now)
            })
            .collect();
        assert!(!throttle.admits(here));
        assert!(throttle.admits(address("10.0.0.2")));
        throttle.succeeded("ann", here);
        assert!(!throttle.admits(here), "what is withheld still is");
        withheld.pop();
        assert!(throttle.admits(here));
    }

    #[test]
    fn the_table_is_bounded_and_the_oldest_entries_go_first() {
        let (throttle, mut now): (Arc<Throttle>, _) = (Arc::default(), Instant::now());
        waits(&throttle, "ann", "10.0.0.1", now, 4);
        for user in 0..2 * ENTRIES_MAX {
            now += Duration::from_millis(1);
            waits(&throttle, &user.to_string(), "10.0.0.2", now, 1);
        }
        assert_eq!(throttle.lock().len(), ENTRIES_MAX);
        assert_eq!(waits(&throttle, "ann", "10.0.0.1", now, 1), [0], "pushed out");
        let last = (2 * ENTRIES_MAX - 1).to_string();
        assert_eq!(waits(&throttle, &last, "10.0.0.9", now, 2), [0, 500], "still there");
    }
}
