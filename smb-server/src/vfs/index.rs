//! The names of directories by their folded form and by their short one, so that a name that is not
//! there need not be looked for in the whole directory each time.
//!
//! Every file that is created, and every probe for one that does not exist, asks for a name that may
//! be there in another case. Reading ten thousand entries for each of ten thousand new files is the
//! price without an index. An index is believed while the directory's times of change are those it
//! was made at; and for a short while only, since the grain of those times is coarse, unless it has been made
//! twice at the same.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::lock::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard};
use ringway::fs::Statx;

use super::metadata::FileKey;
use super::{Mapping, name, short_name};

/// How long an index is believed: what somebody does outside in the same tick of the clock as its
/// making is noticed after this at the latest.
const LIFETIME: Duration = Duration::from_secs(2);

/// How many names one directory's index may have; a larger directory is searched.
const NAMES_MAX: usize = 200_000;

/// How many names all indexes have together: some hundred bytes each.
const NAMES_IN_ALL_MAX: usize = 2 * NAMES_MAX;

/// How many directories have an index at once: those being worked in.
const DIRECTORIES_MAX: usize = 64;

/// How many directories at once can have an index made.
const STRIPES: usize = 8;

/// The indexes of a volume. Looked up are clients' names, found are those on disk.
#[derive(Debug)]
pub(super) struct Index {
    mapping: Mapping,
    directories: Mutex<HashMap<FileKey, Names>>,
    making: [AsyncMutex<()>; STRIPES],
}

/// When a directory last changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamp {
    modified: (i64, u32),
    changed: (i64, u32),
}

/// A directory at a point in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Version {
    pub(super) key: FileKey,
    pub(super) stamp: Stamp,
}

#[derive(Debug)]
struct Names {
    stamp: Stamp,
    made: Instant,
    /// The directory had not changed for longer than the grain of its times when this was made.
    settled: bool,
    /// Of names that differ in case only, the first in order.
    by_folded: HashMap<String, String>,
    /// And the others.
    others: Vec<String>,
    /// Names by their short ones, since one has been looked for; `None` where two have the same.
    by_short: Option<HashMap<String, Option<String>>>,
}

/// What an index says of a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// There is no index to be believed.
    Unknown,
    /// No name equals it but for case, or has it for a short name.
    Absent,
    /// This one does.
    Present(String),
}

impl Version {
    pub(super) fn of(stat: &Statx) -> Self {
        let stamp = Stamp {
            modified: (stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec),
            changed: (stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec),
        };
        Self { key: FileKey::of(stat), stamp }
    }
}

impl Index {
    pub(super) fn new(mapping: Mapping) -> Self {
        Self { mapping, directories: Mutex::default(), making: Default::default() }
    }

    /// What a client means by `wanted`. A long name comes before a short one.
    pub(super) fn look_up(&self, version: Version, wanted: &str, now: Instant) -> Answer {
        let mut directories = self.lock();
        let names =
            directories.get_mut(&version.key).filter(|names| names.is_believed(version.stamp, now));
        let Some(names) = names else { return Answer::Unknown };
        let found = match names.by_folded.get(&name::folded(wanted)) {
            Some(found) => Some(found.clone()),
            None => names.with_short_name(wanted, self.mapping),
        };
        found.map_or(Answer::Absent, Answer::Present)
    }

    /// Waits until nobody else makes an index of the directory, and keeps others from it: of many who look for a
    /// name, one reads all of them, and the others find what that one has made.
    pub(super) async fn making(&self, directory: FileKey) -> AsyncMutexGuard<'_, ()> {
        // The remainder is below the number of stripes.
        let stripe = usize::try_from(directory.ino % STRIPES as u64).unwrap_or(0);
        self.making[stripe].lock().await
    }

    /// Takes up the names that a directory had, unless they are too many.
    pub(super) fn insert(
        &self,
        version: Version,
        names: impl Iterator<Item = String>,
        now: Instant,
    ) {
        let mut taken = Names::new(version.stamp, now);
        for name in names.take(NAMES_MAX + 1) {
            taken.take(name, self.mapping);
        }
        let mut directories = self.lock();
        taken.settled = directories.remove(&version.key).is_some_and(|before| {
            let age = now.saturating_duration_since(before.made);
            before.stamp == version.stamp && (before.settled || age >= LIFETIME)
        });
        let room = NAMES_IN_ALL_MAX.saturating_sub(taken.len());
        if taken.len() > NAMES_MAX {
            return;
        }
        while directories.len() >= DIRECTORIES_MAX
            || directories.values().map(Names::len).sum::<usize>() > room
        {
            let oldest = directories.iter().min_by_key(|(_, names)| names.made);
            let Some(oldest) = oldest.map(|(key, _)| *key) else { break };
            directories.remove(&oldest);
        }
        directories.insert(version.key, taken);
    }

    /// Notes a name that was added to the directory, which was at `before` and is at `after` now.
    pub(super) fn add(&self, before: Version, after: Version, name: &str) {
        let mut directories = self.lock();
        let Some(names) =
            directories.get_mut(&before.key).filter(|names| names.stamp == before.stamp)
        else {
            return;
        };
        names.stamp = after.stamp;
        names.settled = false;
        names.take(name.to_owned(), self.mapping);
        if names.len() > NAMES_MAX {
            directories.remove(&before.key);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<FileKey, Names>> {
        self.directories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Names {
    fn new(stamp: Stamp, made: Instant) -> Self {
        Self {
            stamp,
            made,
            settled: false,
            by_folded: HashMap::new(),
            others: Vec::new(),
            by_short: None,
        }
    }

    fn len(&self) -> usize {
        self.by_folded.len() + self.others.len()
    }

    fn take(&mut self, name: String, mapping: Mapping) {
        let client_name = mapping.to_client(&name);
        if let Some(by_short) = &mut self.by_short {
            note_short(by_short, &client_name, &name);
        }
        match self.by_folded.entry(name::folded(&client_name)) {
            Entry::Vacant(vacant) => {
                vacant.insert(name);
            }
            Entry::Occupied(mut first) => {
                let other = if name < *first.get() { first.insert(name) } else { name };
                self.others.push(other);
            }
        }
    }

    fn with_short_name(&mut self, wanted: &str, mapping: Mapping) -> Option<String> {
        if !short_name::is_like_ours(wanted) {
            return None;
        }
        let by_short = self.by_short.get_or_insert_with(|| {
            let mut by_short = HashMap::new();
            for name in self.by_folded.values().chain(&self.others) {
                note_short(&mut by_short, &mapping.to_client(name), name);
            }
            by_short
        });
        by_short.get(&wanted.to_ascii_uppercase()).cloned().flatten()
    }

    fn is_believed(&self, stamp: Stamp, now: Instant) -> bool {
        let fresh = now.saturating_duration_since(self.made) < LIFETIME;
        self.stamp == stamp && (self.settled || fresh)
    }
}

fn note_short(by_short: &mut HashMap<String, Option<String>>, client_name: &str, name: &str) {
    if let Some(short) = short_name::of(client_name) {
        by_short.entry(short).and_modify(|only| *only = None).or_insert(Some(name.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(seconds: i64) -> Version {
        let stamp = Stamp { modified: (seconds, 0), changed: (seconds, 0) };
        Version { key: FileKey { dev: 1, ino: 2 }, stamp }
    }

    fn index() -> Index {
        Index::new(Mapping::default())
    }

    fn present(name: &str) -> Answer {
        Answer::Present(name.to_owned())
    }

    #[test]
    fn names_are_found_in_any_case_while_the_directory_is_unchanged() {
        let (index, now) = (index(), Instant::now());
        assert_eq!(index.look_up(version(1), "a", now), Answer::Unknown);
        let names = ["readme", "README", "Ärger"].map(String::from);
        index.insert(version(1), names.into_iter(), now);
        assert_eq!(index.look_up(version(1), "ReadMe", now), present("README"));
        assert_eq!(index.look_up(version(1), "äRGER", now), present("Ärger"));
        assert_eq!(index.look_up(version(1), "a", now), Answer::Absent);
        assert_eq!(index.look_up(version(2), "a", now), Answer::Unknown);
        assert_eq!(index.look_up(version(1), "a", now + LIFETIME), Answer::Unknown);
    }

    #[test]
    fn an_addition_is_noted_only_in_the_version_that_it_was_made_in() {
        let (index, now) = (index(), Instant::now());
        index.insert(version(1), std::iter::empty(), now);
        index.add(version(1), version(2), "New");
        assert_eq!(index.look_up(version(2), "NEW", now), present("New"));
        // Somebody else changed the directory between: the index is of no use any more.
        index.add(version(3), version(4), "Other");
        assert_eq!(index.look_up(version(4), "other", now), Answer::Unknown);
    }

    #[test]
    fn what_was_the_same_twice_is_believed_until_the_directory_changes() {
        let (index, now) = (index(), Instant::now());
        let insert = |at| index.insert(version(1), std::iter::empty(), at);
        insert(now);
        // Not long enough after the first.
        insert(now + LIFETIME / 2);
        let later = now + LIFETIME * 2;
        assert_eq!(index.look_up(version(1), "a", later), Answer::Unknown);
        insert(later);
        assert_eq!(index.look_up(version(1), "a", later + LIFETIME * 100), Answer::Absent);
        assert_eq!(index.look_up(version(2), "a", later), Answer::Unknown);
        index.add(version(1), version(2), "new");
        assert_eq!(index.look_up(version(2), "a", later + LIFETIME), Answer::Unknown);
    }

    #[test]
    fn the_number_of_directories_is_bounded() {
        let (index, now) = (index(), Instant::now());
        for ino in 0..1000 {
            let version = Version { key: FileKey { dev: 1, ino }, ..version(1) };
            index.insert(version, std::iter::empty(), now);
        }
        assert_eq!(index.lock().len(), DIRECTORIES_MAX);
    }

    #[test]
    fn the_number_of_names_is_bounded_however_they_come() {
        let (index, now) = (index(), Instant::now());
        let names = |count: usize| (0..count).map(|number| number.to_string());
        let in_directory = |ino| Version { key: FileKey { dev: 1, ino }, ..version(1) };
        for ino in 0..4 {
            index.insert(in_directory(ino), names(NAMES_MAX), now + Duration::from_millis(ino));
        }
        let kept: Vec<_> = (0..4).map(|ino| index.look_up(in_directory(ino), "0", now)).collect();
        assert_eq!(kept, [Answer::Unknown, Answer::Unknown, present("0"), present("0")]);
        // One more, noted and then found.
        index.add(in_directory(3), Version { stamp: version(2).stamp, ..in_directory(3) }, "more");
        assert!(!index.lock().contains_key(&in_directory(3).key));
        index.insert(in_directory(2), names(NAMES_MAX + 1), now);
        assert!(index.lock().is_empty());
    }

    #[test]
    fn a_short_name_is_found_behind_long_ones_and_leads_to_one_name_only() {
        let (index, now) = (index(), Instant::now());
        let short = |name| short_name::of(name).unwrap();
        // A file may really have the name that would be another's short one.
        let names = ["long name", "Long name", "another.text", &short("another.text")];
        index.insert(version(1), names.into_iter().map(String::from), now);
        for name in ["long name", "Long name"] {
            assert_eq!(index.look_up(version(1), &short(name), now), present(name));
        }
        let lower = short("long name").to_lowercase();
        assert_eq!(index.look_up(version(1), &lower, now), present("long name"));
        let shadowed = short("another.text");
        assert_eq!(index.look_up(version(1), &shadowed, now), present(&shadowed));
        assert_eq!(index.look_up(version(1), &short("another name"), now), Answer::Absent);
        index.add(version(1), version(2), "another name");
        let added = index.look_up(version(2), &short("another name"), now);
        assert_eq!(added, present("another name"));
        // As far as one has to count to find two.
        let twins = ["collision 25233", "collision 44053"];
        assert_eq!(short(twins[0]), short(twins[1]));
        index.add(version(2), version(3), twins[0]);
        assert_eq!(index.look_up(version(3), &short(twins[0]), now), present(twins[0]));
        index.add(version(3), version(4), twins[1]);
        assert_eq!(index.look_up(version(4), &short(twins[0]), now), Answer::Absent);
    }

    #[test]
    fn names_are_looked_up_as_clients_have_them_and_found_as_on_disk() {
        let (index, now) = (index(), Instant::now());
        index.insert(version(1), ["a:B", "c\u{f022}D"].map(String::from).into_iter(), now);
        assert_eq!(index.look_up(version(1), "A\u{f022}b", now), present("a:B"));
        assert_eq!(index.look_up(version(1), "C\u{f022}d", now), present("c\u{f022}D"));
        let short = short_name::of("a\u{f022}B").unwrap();
        assert_eq!(index.look_up(version(1), &short, now), present("a:B"));
    }
}
