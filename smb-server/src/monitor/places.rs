//! Which directory inotify watches for whom, and what they call it.

use std::collections::HashMap;

use ringway::fs::WatchId;

/// How many directories of a share are watched at most, for all watches together, beyond those that clients have
/// open. Each is a kilobyte that the kernel cannot page out, and a user may have 8192 where there is little memory
/// (`max_user_watches`).
pub(super) const PLACES_MAX: usize = 8192;

/// The directories that are watched.
#[derive(Debug, Default)]
pub(super) struct Places {
    by_id: HashMap<WatchId, Vec<Place>>,
    count: usize,
}

/// A directory as one watch sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Place {
    /// The watch.
    pub(super) watch: u64,
    /// From its directory on, with backslashes; empty for that itself.
    pub(super) below: String,
}

/// `name` in the directory `below`.
pub(super) fn join(below: &str, name: &str) -> String {
    if below.is_empty() { name.to_owned() } else { format!("{below}\\{name}") }
}

/// What `path` is called when the directory `from` is called `to`, if that changes it.
pub(super) fn renamed(path: &str, from: &str, to: &str) -> Option<String> {
    rest(path, from).map(|rest| format!("{to}{rest}"))
}

/// Whether `path` is `above` or lies below it; then the rest of it.
fn rest<'a>(path: &'a str, above: &str) -> Option<&'a str> {
    path.strip_prefix(above).filter(|rest| rest.is_empty() || rest.starts_with('\\'))
}

impl Places {
    pub(super) fn is_full(&self) -> bool {
        self.count >= PLACES_MAX
    }

    /// How many more may be added.
    pub(super) fn room(&self) -> usize {
        PLACES_MAX.saturating_sub(self.count)
    }

    /// What a directory is to whom.
    pub(super) fn of(&self, id: WatchId) -> &[Place] {
        self.by_id.get(&id).map_or(&[], Vec::as_slice)
    }

    /// A directory is watched; what this watch called it before does not count any more.
    pub(super) fn add(&mut self, id: WatchId, place: Place) {
        let places = self.by_id.entry(id).or_default();
        match places.iter_mut().find(|known| known.watch == place.watch) {
            Some(known) => *known = place,
            None => {
                places.push(place);
                self.count += 1;
            }
        }
    }

    /// The kernel watches a directory no longer.
    pub(super) fn ended(&mut self, id: WatchId) {
        self.count -= self.by_id.remove(&id).map_or(0, |places| places.len());
    }

    /// A watch has ended; gives what nobody watches any more.
    pub(super) fn forget(&mut self, watch: u64) -> Vec<WatchId> {
        self.retain(|place| place.watch != watch)
    }

    /// A directory of a watched tree has left it; gives what nobody watches any more.
    pub(super) fn forget_below(&mut self, watch: u64, below: &str) -> Vec<WatchId> {
        self.retain(|place| place.watch != watch || rest(&place.below, below).is_none())
    }

    fn retain(&mut self, keep: impl Fn(&Place) -> bool) -> Vec<WatchId> {
        let mut unused = Vec::new();
        let mut count = 0;
        self.by_id.retain(|id, places| {
            places.retain(&keep);
            count += places.len();
            if places.is_empty() {
                unused.push(*id);
            }
            !places.is_empty()
        });
        self.count = count;
        unused
    }

    /// A directory of a watched tree is called otherwise.
    pub(super) fn rename(&mut self, watch: u64, from: &str, to: &str) {
        let places = self.by_id.values_mut().flatten().filter(|place| place.watch == watch);
        for place in places {
            if let Some(below) = renamed(&place.below, from, to) {
                place.below = below;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_lies_below_another_by_whole_names() {
        assert_eq!(rest(r"a\b", "a"), Some(r"\b"));
        assert_eq!(rest("a", "a"), Some(""));
        assert_eq!(rest("ab", "a"), None);
        assert_eq!(join("", "a"), "a");
        assert_eq!(join("a", "b"), r"a\b");
    }
}
