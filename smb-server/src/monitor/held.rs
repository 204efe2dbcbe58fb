//! Events of inotify that wait until it is known whether they were the server's own doing.
//!
//! Inotify does not say who made a change. One that an SMB client has made is told by its command, which may
//! come to that only after the kernel has told of it; so what the kernel tells waits a little.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use crate::state::Fate;
use crate::wire::change_notify::CompletionFilter;
use crate::wire::fscc::notify_info::NotifyAction;

use super::{Sights, name_filter};

/// How long an event waits: longer than a command takes from its system call to the end, and not so long that
/// a user would call it late.
const WAIT: Duration = Duration::from_millis(250);

/// How many events may wait: as many as the kernel's own queue has, for four who watch the same.
const HELD_MAX: usize = 64 * 1024;

/// The events that wait.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Oldest first; `None` is one that was taken out before its turn, and the first is none such.
    entries: VecDeque<(Instant, Option<Entry>)>,
    /// How many there were before the first.
    gone_by: u64,
    /// Renamings, by watch and cookie.
    renamings: HashMap<(u64, u32), Renaming>,
    /// Those that say that something has changed: once is enough.
    changed: HashSet<(u64, String, u32)>,
    /// Names that have come and not gone since, and which of the entries says so.
    come: HashMap<(u64, String), Come>,
}

/// A name that has come, as an entry that waits says.
#[derive(Debug)]
struct Come {
    due: Instant,
    /// Whether it was only found so far; the kernel may tell of it yet, once.
    guessed: bool,
}

/// What waits of a renaming within one watch.
#[derive(Debug, Default)]
struct Renaming {
    /// The name that it had.
    from: Option<String>,
    /// Which of all entries so far says what it is called now.
    to: Option<u64>,
}

/// What has happened to a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    /// The watch that it concerns.
    pub(super) watch: u64,
    /// What has happened.
    pub(super) fate: Fate,
    /// From the watched directory on.
    pub(super) name: String,
    /// Whom it concerns.
    pub(super) filter: CompletionFilter,
    /// Not 0: one half of a renaming, like the other.
    pub(super) cookie: u32,
    /// Not told by the kernel, but found; the kernel may tell of it yet.
    pub(super) guessed: bool,
}

impl Entry {
    /// A name has come or gone.
    pub(super) fn name(watch: u64, fate: Fate, name: String, directory: bool, cookie: u32) -> Self {
        Self { watch, fate, name, filter: name_filter(directory), cookie, guessed: false }
    }

    /// Something about what has the name has changed.
    pub(super) fn changed(watch: u64, name: String, filter: CompletionFilter) -> Self {
        Self { watch, fate: Fate::Changed, name, filter, cookie: 0, guessed: false }
    }

    fn key(&self) -> (u64, String) {
        (self.watch, self.name.clone())
    }
}

impl Held {
    /// Has an event wait; `false`: there is no room.
    #[must_use]
    pub(super) fn push(&mut self, entry: Entry, now: Instant) -> bool {
        if entry.fate == Fate::Come && self.is_known(&entry) {
            return true;
        }
        if entry.fate == Fate::Changed
            && !self.changed.insert((entry.watch, entry.name.clone(), entry.filter.bits()))
        {
            return true;
        }
        if self.entries.len() >= HELD_MAX {
            return false;
        }
        let due = now + WAIT;
        match entry.fate {
            Fate::Come => {
                self.come.insert(entry.key(), Come { due, guessed: entry.guessed });
            }
            // When it comes again, that is another time.
            Fate::Gone => drop(self.come.remove(&entry.key())),
            Fate::Changed => {}
        }
        self.note_renaming(&entry);
        self.entries.push_back((due, Some(entry)));
        true
    }

    fn note_renaming(&mut self, entry: &Entry) {
        if entry.cookie == 0 {
            return;
        }
        let number = self.gone_by + self.entries.len() as u64;
        let renaming = self.renamings.entry((entry.watch, entry.cookie)).or_default();
        match entry.fate {
            Fate::Gone => renaming.from = Some(entry.name.clone()),
            Fate::Come => renaming.to = Some(number),
            Fate::Changed => {}
        }
    }

    /// What was found is told by the kernel now, or the other way round; or it is found once more, as when
    /// a directory is looked into for both reasons.
    fn is_known(&mut self, entry: &Entry) -> bool {
        let Some(come) = self.come.get_mut(&entry.key()) else { return false };
        if entry.guessed {
            return true;
        }
        // The next one is another.
        std::mem::take(&mut come.guessed)
    }

    /// Whether something that was only found has waited enough, of which the kernel may have told meanwhile.
    pub(super) fn is_guess_due(&self, now: Instant) -> bool {
        let mut due = self.entries.iter().take_while(|(due, _)| *due <= now);
        due.any(|(_, entry)| entry.as_ref().is_some_and(|entry| entry.guessed))
    }

    /// The name that the other half of a renaming within one watch had.
    pub(super) fn renamed_from(&self, watch: u64, cookie: u32) -> Option<String> {
        self.renamings.get(&(watch, cookie))?.from.clone()
    }

    /// When the first has waited enough.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.entries.front().map(|(due, _)| *due)
    }

    /// Tells what has waited enough and was not our doing, which `is_own` knows; gives the directories that have
    /// left their trees.
    pub(super) fn take_due(
        &mut self,
        now: Instant,
        mut is_own: impl FnMut(&Entry) -> bool,
        sights: &mut Sights,
    ) -> Vec<Entry> {
        let mut left = Vec::new();
        while self.next_due().is_some_and(|due| due <= now) {
            let Some(entry) = self.take_first() else { break };
            let other = self.take_other_half(&entry);
            let own = is_own(&entry);
            let others_own = other.as_ref().is_some_and(&mut is_own);
            let moved = entry.fate == Fate::Gone && entry.cookie != 0 && other.is_none();
            if moved && entry.filter == CompletionFilter::DIR_NAME {
                left.push(entry.clone());
            }
            let Entry { watch, fate, name, filter, .. } = entry;
            match (fate, other) {
                (Fate::Gone, Some(other)) => {
                    let stays = folder(&name) == folder(&other.name);
                    let (from, to) = ((!own).then_some(name), (!others_own).then_some(other.name));
                    sights.tell_renamed(watch, from, to, stays, filter);
                }
                _ if own => {}
                (Fate::Come, _) => sights.tell(watch, NotifyAction::ADDED, name, filter),
                (Fate::Gone, _) => sights.tell(watch, NotifyAction::REMOVED, name, filter),
                (Fate::Changed, _) => sights.tell(watch, NotifyAction::MODIFIED, name, filter),
            }
        }
        left
    }

    fn take_first(&mut self) -> Option<Entry> {
        let (due, entry) = self.entries.pop_front()?;
        self.gone_by += 1;
        self.drop_taken();
        let entry = entry?;
        self.note_taken(due, &entry);
        Some(entry)
    }

    /// The first is to be one that waits.
    fn drop_taken(&mut self) {
        while let Some((_, None)) = self.entries.front() {
            self.entries.pop_front();
            self.gone_by += 1;
        }
    }

    /// With either half that is taken, nothing is left to know of a renaming.
    fn take_other_half(&mut self, entry: &Entry) -> Option<Entry> {
        let renaming = self.renamings.remove(&(entry.watch, entry.cookie))?;
        let number = renaming.to.filter(|_| entry.fate == Fate::Gone)?;
        let at = usize::try_from(number.checked_sub(self.gone_by)?).ok()?;
        let (due, other) = self.entries.get_mut(at)?;
        let (due, other) = (*due, other.take()?);
        self.drop_taken();
        self.note_taken(due, &other);
        Some(other)
    }

    fn note_taken(&mut self, due: Instant, entry: &Entry) {
        match entry.fate {
            Fate::Come => {
                let key = entry.key();
                if self.come.get(&key).is_some_and(|come| come.due == due) {
                    self.come.remove(&key);
                }
            }
            Fate::Gone => {}
            Fate::Changed => {
                self.changed.remove(&(entry.watch, entry.name.clone(), entry.filter.bits()));
            }
        }
    }

    /// Forgets what waits for a watch that has ended.
    pub(super) fn forget(&mut self, watch: u64) {
        for (_, entry) in &mut self.entries {
            entry.take_if(|entry| entry.watch == watch);
        }
        self.drop_taken();
        self.renamings.retain(|(of, _), _| *of != watch);
        self.changed.retain(|(of, ..)| *of != watch);
        self.come.retain(|(of, _), _| *of != watch);
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

fn folder(name: &str) -> Option<&str> {
    name.rsplit_once('\\').map(|(folder, _)| folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WATCH: u64 = 7;

    fn come(name: &str) -> Entry {
        Entry::name(WATCH, Fate::Come, name.into(), false, 0)
    }

    fn half(fate: Fate, name: &str, cookie: u32) -> Entry {
        Entry::name(WATCH, fate, name.into(), false, cookie)
    }

    /// What is told after all has waited.
    fn told(held: &mut Held, now: Instant, own: &[&str]) -> Vec<(NotifyAction, String)> {
        let mut sights = Sights::default();
        held.take_due(now + WAIT, |entry| own.contains(&entry.name.as_str()), &mut sights);
        let seen = sights.seen.remove(&WATCH).unwrap_or_default();
        seen.into_iter().map(|seen| (seen.action, seen.name)).collect()
    }

    fn push_all(held: &mut Held, entries: impl IntoIterator<Item = Entry>, now: Instant) {
        entries.into_iter().for_each(|entry| assert!(held.push(entry, now)));
    }

    #[test]
    fn what_was_our_own_doing_is_not_told_and_nothing_is_told_early() {
        let (mut held, now) = (Held::default(), Instant::now());
        push_all(&mut held, [come("a"), come("b")], now);
        let mut sights = Sights::default();
        held.take_due(now, |_| false, &mut sights);
        assert!(sights.seen.is_empty());
        assert_eq!(held.next_due(), Some(now + WAIT));
        assert_eq!(told(&mut held, now, &["a"]), [(NotifyAction::ADDED, "b".into())]);
        assert_eq!(held.next_due(), None);
    }

    #[test]
    fn a_renaming_is_told_as_one_if_it_stays_in_its_folder_and_is_nobodys() {
        let now = Instant::now();
        let renamed = |to: &str, own: &[&str]| {
            let mut held = Held::default();
            let halves = [half(Fate::Gone, "a", 1), come("between"), half(Fate::Come, to, 1)];
            push_all(&mut held, halves, now);
            let mut told = told(&mut held, now, own);
            told.retain(|(_, name)| name != "between");
            told
        };
        use NotifyAction as A;
        let of = |pairs: &[(A, &str)]| {
            pairs.iter().map(|(action, name)| (*action, (*name).to_owned())).collect::<Vec<_>>()
        };
        let stays = of(&[(A::RENAMED_OLD_NAME, "a"), (A::RENAMED_NEW_NAME, "b")]);
        assert_eq!(renamed("b", &[]), stays);
        assert_eq!(renamed(r"d\b", &[]), of(&[(A::REMOVED, "a"), (A::ADDED, r"d\b")]));
        assert_eq!(renamed("b", &["a", "b"]), []);
        assert_eq!(renamed("b", &["a"]), of(&[(A::ADDED, "b")]));
    }

    #[test]
    fn halves_of_many_renamings_find_each_other_whatever_lies_between() {
        use NotifyAction as A;
        let (mut held, now) = (Held::default(), Instant::now());
        let cookies = 1..=HELD_MAX as u32 / 2;
        let gone = cookies.clone().map(|cookie| half(Fate::Gone, &format!("a{cookie}"), cookie));
        let come = cookies.clone().map(|cookie| half(Fate::Come, &format!("b{cookie}"), cookie));
        push_all(&mut held, gone.chain(come), now);
        assert_eq!(held.renamed_from(WATCH, 3).as_deref(), Some("a3"));
        assert_eq!(held.renamed_from(WATCH + 1, 3), None);
        let halves = |cookie: u32| {
            [
                (A::RENAMED_OLD_NAME, format!("a{cookie}")),
                (A::RENAMED_NEW_NAME, format!("b{cookie}")),
            ]
        };
        // Looking past all the others for each takes several times as long.
        let begun = Instant::now();
        assert!(told(&mut held, now, &[]).into_iter().eq(cookies.flat_map(halves)));
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert!(held.entries.is_empty() && held.renamings.is_empty() && held.come.is_empty());
    }

    #[test]
    fn what_is_forgotten_of_one_watch_leaves_the_renamings_of_another() {
        use NotifyAction as A;
        let (mut held, now) = (Held::default(), Instant::now());
        let other = |entry| Entry { watch: WATCH + 1, ..entry };
        let entries = [
            other(come("x")),
            half(Fate::Gone, "a", 1),
            other(half(Fate::Gone, "y", 2)),
            half(Fate::Come, "b", 1),
        ];
        push_all(&mut held, entries, now);
        held.forget(WATCH + 1);
        let expected = [(A::RENAMED_OLD_NAME, "a".into()), (A::RENAMED_NEW_NAME, "b".into())];
        assert_eq!(told(&mut held, now, &[]), expected);
    }

    #[test]
    fn what_was_found_and_is_then_told_is_one() {
        let (mut held, now) = (Held::default(), Instant::now());
        let found = |name| Entry { guessed: true, ..come(name) };
        push_all(&mut held, [found("a"), come("b"), come("a"), found("b"), found("c")], now);
        let names: Vec<_> = told(&mut held, now, &[]).into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert!(held.come.is_empty());
    }

    #[test]
    fn what_was_found_twice_is_told_once_and_what_comes_again_is_told_again() {
        let (mut held, now) = (Held::default(), Instant::now());
        let found = |name| Entry { guessed: true, ..come(name) };
        push_all(&mut held, [found("a"), found("a"), come("a")], now);
        assert_eq!(told(&mut held, now, &[]), [(NotifyAction::ADDED, "a".into())]);
        // It was there before the kernel was asked to tell, and has come again since.
        push_all(&mut held, [found("b"), half(Fate::Gone, "b", 0), come("b")], now);
        use NotifyAction as A;
        let expected = [A::ADDED, A::REMOVED, A::ADDED].map(|action| (action, "b".to_owned()));
        assert_eq!(told(&mut held, now, &[]), expected);
    }

    #[test]
    fn what_was_found_is_known_to_be_due() {
        let (mut held, now) = (Held::default(), Instant::now());
        push_all(&mut held, [come("a")], now);
        assert!(!held.is_guess_due(now + WAIT));
        push_all(&mut held, [Entry { guessed: true, ..come("b") }], now);
        assert!(!held.is_guess_due(now) && held.is_guess_due(now + WAIT));
    }

    #[test]
    fn a_thousand_writes_are_one_change_and_too_many_events_do_not_fit() {
        let (mut held, now) = (Held::default(), Instant::now());
        let written = Entry::changed(WATCH, "a".into(), CompletionFilter::SIZE);
        push_all(&mut held, std::iter::repeat_n(written.clone(), 1000), now);
        assert_eq!(told(&mut held, now, &[]), [(NotifyAction::MODIFIED, "a".into())]);
        push_all(&mut held, [written], now);
        assert_eq!(told(&mut held, now, &[]).len(), 1);
        push_all(&mut held, (0..HELD_MAX).map(|number| come(&number.to_string())), now);
        assert!(!held.push(come("one more"), now));
        held.forget(WATCH);
        assert!(held.push(come("one more"), now));
    }
}
