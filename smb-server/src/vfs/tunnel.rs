//! Long names that have gone from a directory by their short ones, and come back by them. MS-FSA 2.1.1.2.
//!
//! A program that knows short names only saves a file by deleting or renaming the old one and making a new one of the
//! same name. The new one gets the long name that the old one had, if it comes soon.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::metadata::FileKey;
use super::short_name;

/// How long a name is kept. MS-FSA 2.1.1.2.
const LIFETIME: Duration = Duration::from_secs(15);

/// How many names are kept: as many as Windows keeps on a server.
const ENTRIES_MAX: usize = 1024;

/// The names that have gone from the directories of a volume, oldest first.
#[derive(Debug, Default)]
pub(super) struct Tunnel {
    entries: Mutex<VecDeque<Entry>>,
}

#[derive(Debug)]
struct Entry {
    made: Instant,
    directory: FileKey,
    short: String,
    /// As on disk.
    long: String,
}

impl Tunnel {
    /// Notes that a name has gone, which clients know as `client_name`.
    pub(super) fn note(&self, directory: FileKey, name: &str, client_name: &str, now: Instant) {
        let Some(short) = short_name::of(client_name) else { return };
        let mut entries = self.lock();
        entries.retain(|entry| {
            let again = entry.directory == directory && entry.short == short;
            !again && now.saturating_duration_since(entry.made) < LIFETIME
        });
        if entries.len() == ENTRIES_MAX {
            entries.pop_front();
        }
        entries.push_back(Entry { made: now, directory, short, long: name.to_owned() });
    }

    /// The name on disk that had this short name, in any case.
    pub(super) fn look_up(&self, directory: FileKey, short: &str, now: Instant) -> Option<String> {
        let entries = self.lock();
        let found = entries.iter().find(|entry| {
            entry.directory == directory
                && entry.short.eq_ignore_ascii_case(short)
                && now.saturating_duration_since(entry.made) < LIFETIME
        });
        found.map(|entry| entry.long.clone())
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(ino: u64) -> FileKey {
        FileKey { dev: 1, ino }
    }

    #[test]
    fn a_name_comes_back_to_its_directory_for_fifteen_seconds() {
        let (tunnel, now) = (Tunnel::default(), Instant::now());
        let short = short_name::of("long name").unwrap();
        tunnel.note(directory(1), "long name", "long name", now);
        tunnel.note(directory(1), "short", "short", now);
        let found = |ino, short: &str, after| {
            tunnel.look_up(directory(ino), short, now + Duration::from_secs(after))
        };
        assert_eq!(found(1, &short.to_lowercase(), 14).as_deref(), Some("long name"));
        assert_eq!(found(2, &short, 0), None);
        assert_eq!(found(1, "short", 0), None);
        assert_eq!(found(1, &short, 15), None);
    }

    #[test]
    fn the_number_of_names_is_bounded_and_old_ones_go_first() {
        let (tunnel, now) = (Tunnel::default(), Instant::now());
        for number in 0..2 * ENTRIES_MAX {
            let name = format!("a long name, {number}");
            tunnel.note(directory(1), &name, &name, now);
        }
        assert_eq!(tunnel.lock().len(), ENTRIES_MAX);
        let short = |number: usize| short_name::of(&format!("a long name, {number}")).unwrap();
        assert_eq!(tunnel.look_up(directory(1), &short(0), now), None);
        assert!(tunnel.look_up(directory(1), &short(2 * ENTRIES_MAX - 1), now).is_some());
        tunnel.note(directory(1), "another one", "another one", now + LIFETIME);
        assert_eq!(tunnel.lock().len(), 1);
    }
}
