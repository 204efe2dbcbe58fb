//! What the server's own clients have changed a short time ago, for who sees changes and not who made them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::wire::fscc::notify_info::NotifyAction;

/// How long a change is remembered. The kernel tells of it at once, so this is for a server that is too
/// busy to listen.
const MEMORY: Duration = Duration::from_secs(1);

/// How many changes are remembered at most. One too few makes a client hear of one twice, which does less
/// harm than not hearing of one.
const CHANGES_MAX: usize = 16 * 1024;

/// Changes of a file that follow each other faster are one.
const GRAIN: Duration = Duration::from_millis(50);

/// The changes, by path.
#[derive(Debug, Default)]
pub(super) struct OwnChanges {
    by_path: HashMap<String, Own>,
    /// Oldest first.
    in_order: VecDeque<(Instant, String)>,
}

#[derive(Debug)]
struct Own {
    last: Instant,
    /// How often it has come and gone.
    count: Counts,
    /// How much of that each watch has seen.
    seen: BTreeMap<u64, Counts>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    come: u32,
    gone: u32,
}

/// What can happen to a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It is new here.
    Come,
    /// It is here no more.
    Gone,
    /// What it names has changed.
    Changed,
}

impl Fate {
    fn of(action: NotifyAction) -> Self {
        match action {
            NotifyAction::ADDED | NotifyAction::RENAMED_NEW_NAME => Self::Come,
            NotifyAction::REMOVED | NotifyAction::RENAMED_OLD_NAME => Self::Gone,
            _ => Self::Changed,
        }
    }
}

impl Own {
    fn new(now: Instant) -> Self {
        Self { last: now, count: Counts::default(), seen: BTreeMap::new() }
    }
}

impl Counts {
    fn of(&mut self, fate: Fate) -> Option<&mut u32> {
        match fate {
            Fate::Come => Some(&mut self.come),
            Fate::Gone => Some(&mut self.gone),
            Fate::Changed => None,
        }
    }
}

impl OwnChanges {
    /// Remembers a change.
    pub(super) fn note(&mut self, path: String, action: NotifyAction, now: Instant) {
        self.forget_old(now);
        let fate = Fate::of(action);
        let known = self.by_path.get(&path).is_some_and(|own| now < own.last + GRAIN);
        if known && fate == Fate::Changed {
            return;
        }
        let own = self.by_path.entry(path.clone()).or_insert_with(|| Own::new(now));
        own.last = now;
        if let Some(count) = own.count.of(fate) {
            *count = count.saturating_add(1);
        }
        self.in_order.push_back((now, path));
    }

    /// Whether something that `watch` sees is what was remembered. Coming and going are so as often as they were
    /// remembered; that something else of it changes goes with any of the three.
    pub(super) fn take(&mut self, watch: u64, path: &str, fate: Fate, now: Instant) -> bool {
        self.forget_old(now);
        let Some(own) = self.by_path.get_mut(path) else { return false };
        let Some(count) = own.count.of(fate) else { return true };
        match own.seen.entry(watch).or_default().of(fate) {
            Some(seen) if *seen < *count => {
                *seen += 1;
                true
            }
            _ => false,
        }
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some((at, _)) = self.in_order.front()
            && (self.in_order.len() > CHANGES_MAX || *at + MEMORY < now)
            && let Some((at, path)) = self.in_order.pop_front()
        {
            if self.by_path.get(&path).is_some_and(|own| own.last == at) {
                self.by_path.remove(&path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_and_goes_is_own_as_often_as_it_was_noted_for_each_watch() {
        let (mut own, now) = (OwnChanges::default(), Instant::now());
        own.note("a".into(), NotifyAction::ADDED, now);
        own.note("a".into(), NotifyAction::RENAMED_OLD_NAME, now);
        own.note("b".into(), NotifyAction::RENAMED_NEW_NAME, now);
        assert!(own.take(1, "a", Fate::Come, now) && !own.take(1, "a", Fate::Come, now));
        assert!(own.take(1, "a", Fate::Gone, now) && !own.take(1, "a", Fate::Gone, now));
        assert!(own.take(2, "a", Fate::Come, now) && !own.take(2, "a", Fate::Come, now));
        assert!(own.take(1, "b", Fate::Come, now) && !own.take(1, "b", Fate::Gone, now));
        assert!(own.take(1, "a", Fate::Changed, now) && own.take(1, "a", Fate::Changed, now));
        assert!(!own.take(1, "c", Fate::Changed, now));
    }

    #[test]
    fn changes_are_forgotten_after_a_while_and_beyond_a_number() {
        let (mut own, now) = (OwnChanges::default(), Instant::now());
        own.note("a".into(), NotifyAction::ADDED, now);
        own.note("a".into(), NotifyAction::MODIFIED, now + MEMORY / 2);
        assert!(own.take(1, "a", Fate::Come, now + MEMORY));
        assert!(!own.take(1, "a", Fate::Changed, now + MEMORY * 2));
        assert!(own.by_path.is_empty() && own.in_order.is_empty());
        for number in 0..CHANGES_MAX * 2 {
            own.note(number.to_string(), NotifyAction::MODIFIED, now);
        }
        assert!(own.by_path.len() <= CHANGES_MAX + 1 && own.in_order.len() <= CHANGES_MAX + 1);
    }
}
