//! The op table: owns what operations name, from submission to their last completion.
//!
//! It submits nothing and wakes nobody; it says what is to be done, and `op` does it.

#![allow(unsafe_code, reason = "entries are held by raw pointer while the kernel uses them")]

use std::any::Any;
use std::collections::VecDeque;
use std::mem;
use std::ptr::NonNull;
use std::task::Waker;
use std::time::Instant;

use ringway_driver::{Completion, Identity, Op, OpKind, Token};
use slab::Slab;

use crate::ladder::{self, Rung};

/// How many completions of one operation may wait to be taken before it is ended: enough for a turn's
/// worth of connections, and few beside the 1024 descriptors that a process has by default. Whoever asks
/// for more when these are taken begins another one.
const UNTAKEN_MAX: usize = 64;

/// What an entry owns: an operation's parts, of whatever type.
pub(crate) trait Held: Any {
    /// The operation, naming memory and descriptors inside `self` or owned by it.
    fn describe(&mut self) -> Op;

    /// On whose behalf it runs.
    fn credentials(&self) -> Option<Identity> {
        None
    }

    /// Ends an operation that nobody waits for.
    fn abandon(self: Box<Self>, result: i32);

    /// Sees each of several completions when it comes, in the order of coming. Wakers that it puts into
    /// `wake` are woken when the table can be used again.
    fn arrive(&mut self, _: Completion, _wake: &mut Vec<Waker>) -> Arrival {
        Arrival::Kept
    }

    /// Gives back what one of several completions has won, which nobody will ask for. The operation may
    /// be in flight still. Does not call back into the table.
    fn give_back(&mut self, _: Completion) {}
}

/// Where one of several completions goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Arrival {
    /// The table keeps it until it is asked for, or gives it back.
    Kept,
    /// The parts have seen to it.
    Taken,
    /// The same, and the operation is to end early.
    Enough,
}

/// What is to be done about an operation; nothing, mostly.
#[must_use]
pub(crate) enum Ended {
    Nothing,
    /// Its future can go on.
    Wake(Waker),
    /// Its future is gone: the waker is to be dropped.
    Forget(Waker),
    /// Its future is gone: the parts and the result are to be dropped.
    Abandon(Box<dyn Held>, i32),
    /// It was refused, and is to be submitted again, for the rung after the one it was on; or it was interrupted,
    /// and is to be for the same.
    Again(Token, Op),
}

/// What an operation with several completions has to say.
pub(crate) enum Next {
    One(Completion),
    Pending,
    /// All were taken, and the operation is over.
    Over,
}

#[derive(Default)]
pub(crate) struct Table {
    entries: Slab<Entry>,
    /// Goes up with every insertion, so that the same index has another token next time.
    generation: u32,
    /// Entries that are not [`Lifecycle::Completed`].
    in_flight: usize,
    /// Who is to be woken, beside the operations' own futures.
    to_wake: Vec<Waker>,
}

struct Entry {
    generation: u32,
    /// From `Box::into_raw`: a `Box` in here would claim, whenever it moves, to be alone with memory
    /// that the kernel writes to.
    held: NonNull<dyn Held>,
    about: About,
    /// Somebody asked for it to end early.
    cancelled: bool,
    /// The table did, because too many completions wait.
    full: bool,
    answers: Answers,
    state: Lifecycle,
}

/// What the table is told about an operation for the sake of others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About {
    pub(crate) kind: OpKind,
    pub(crate) rung: Rung,
    pub(crate) for_somebody: bool,
    pub(crate) started: Instant,
    /// There is another rung to go to.
    pub(crate) may_climb: bool,
    /// The ring's threads take it in turn with others of its file ([`is_hashed`](crate::uring::is_hashed)).
    pub(crate) hashed: bool,
}

enum Answers {
    /// The first completion's result.
    One(Option<i32>),
    /// Those that were not taken yet, oldest first: [`UNTAKEN_MAX`], and those that come before the
    /// kernel has seen to the cancel that follows.
    Many(VecDeque<Completion>),
}

enum Lifecycle {
    /// The kernel or the pool has it; the future waits, or will when it has seen what there is.
    Waiting(Option<Waker>),
    /// The last completion came; parts and result wait for the future.
    Completed,
    /// The future is gone; the last completion frees everything.
    Orphaned,
}

impl Table {
    /// Takes `held` in, for good until [`Self::take`] or [`Ended::Abandon`] gives it out. `about` says
    /// what is known of the operation that it describes.
    pub(crate) fn insert(
        &mut self,
        held: Box<dyn Held>,
        waker: Option<Waker>,
        about: impl FnOnce(&Op) -> About,
    ) -> (Token, Op) {
        let mut held = NonNull::from(Box::leak(held));
        // SAFETY: the pointer comes from a box given up just now, and nobody else has it yet.
        let op = unsafe { held.as_mut() }.describe();
        self.generation = self.generation.wrapping_add(1) % Token::GENERATIONS;
        let about = about(&op);
        let answers = match op.kind().is_multi() {
            true => Answers::Many(VecDeque::new()),
            false => Answers::One(None),
        };
        let entry = Entry {
            generation: self.generation,
            held,
            about,
            cancelled: false,
            full: false,
            answers,
            state: Lifecycle::Waiting(waker),
        };
        // An index has 32 bits, and 2^32 entries would not fit into memory.
        let index = self.entries.insert(entry) as u32;
        self.in_flight += 1;
        (Token::new(index, self.generation), op)
    }

    /// What is known of an operation.
    pub(crate) fn about(&mut self, token: Token) -> Option<&mut About> {
        self.get_mut(token).map(|entry| &mut entry.about)
    }

    /// On whose behalf a refused operation is to run.
    pub(crate) fn credentials(&mut self, token: Token) -> Option<Identity> {
        let entry = self.get_mut(token)?;
        // SAFETY: the pointer is the box's that `insert` gave up; a refused operation is nobody's.
        unsafe { entry.held.as_ref() }.credentials()
    }

    /// Takes a completion in; calls `cancel` if the operation is to end early for it. One with a token
    /// that names nothing (any more) is ignored.
    pub(crate) fn complete(&mut self, completion: Completion, cancel: impl FnOnce(About)) -> Ended {
        let Some(entry) = self.get_mut(completion.token) else { return Ended::Nothing };
        if matches!(entry.state, Lifecycle::Completed) {
            return Ended::Nothing;
        }
        if entry.is_refused(completion) || entry.is_interrupted(completion) {
            if !entry.cancelled {
                // SAFETY: the operation has done nothing, and neither kernel nor pool has the parts.
                let op = unsafe { entry.held.as_mut() }.describe();
                return Ended::Again(completion.token, op);
            }
            return self.settle(Completion { result: -libc::ECANCELED, ..completion }, cancel);
        }
        self.settle(completion, cancel)
    }

    fn settle(&mut self, completion: Completion, cancel: impl FnOnce(About)) -> Ended {
        let Some(entry) = find(&mut self.entries, completion.token) else { return Ended::Nothing };
        let enough = entry.note(completion, &mut self.to_wake);
        if completion.more {
            if enough && !mem::replace(&mut entry.cancelled, true) {
                cancel(entry.about);
            }
            return entry.take_waker();
        }
        let state = mem::replace(&mut entry.state, Lifecycle::Completed);
        self.in_flight -= 1;
        match state {
            Lifecycle::Waiting(Some(waker)) => Ended::Wake(waker),
            Lifecycle::Waiting(None) | Lifecycle::Completed => Ended::Nothing,
            Lifecycle::Orphaned => self.abandon(completion.token),
        }
    }

    /// Parts and result of a completed operation with one answer.
    pub(crate) fn take(&mut self, token: Token) -> Option<(Box<dyn Held>, i32)> {
        let entry = self.get_mut(token)?;
        match (&entry.state, &entry.answers) {
            (Lifecycle::Completed, Answers::One(Some(result))) => {
                let result = *result;
                Some((self.remove(token), result))
            }
            _ => None,
        }
    }

    /// The next completion of an operation with several.
    pub(crate) fn next(&mut self, token: Token) -> Next {
        let Some(entry) = self.get_mut(token) else { return Next::Over };
        let Answers::Many(answers) = &mut entry.answers else { return Next::Over };
        match (answers.pop_front(), &entry.state) {
            (Some(completion), _) => Next::One(completion),
            (None, Lifecycle::Completed) => Next::Over,
            (None, _) => Next::Pending,
        }
    }

    /// The parts of an operation with several completions that is over.
    pub(crate) fn take_parts(&mut self, token: Token) -> Option<Box<dyn Held>> {
        let entry = self.get_mut(token)?;
        matches!(entry.state, Lifecycle::Completed).then(|| self.remove(token))
    }

    /// Changes whom to wake; gives the old waker out if there is one to drop.
    pub(crate) fn set_waker(&mut self, token: Token, waker: &Waker) -> Option<Waker> {
        match &mut self.get_mut(token)?.state {
            Lifecycle::Waiting(Some(old)) if old.will_wake(waker) => None,
            Lifecycle::Waiting(old) => old.replace(waker.clone()),
            _ => None,
        }
    }

    /// Notes that `token` is to end early; tells about it, unless there is nothing left to end.
    pub(crate) fn cancel(&mut self, token: Token) -> Option<About> {
        let entry = self.get_mut(token)?;
        let in_flight = !matches!(entry.state, Lifecycle::Completed);
        entry.cancelled |= in_flight;
        in_flight.then_some(entry.about)
    }

    /// The future of `token` is gone: calls `cancel` if the operation is still in flight.
    pub(crate) fn orphan(&mut self, token: Token, cancel: impl FnOnce(About)) -> Ended {
        let Some(entry) = self.get_mut(token) else { return Ended::Nothing };
        if matches!(entry.state, Lifecycle::Completed) {
            return self.abandon(token);
        }
        entry.give_back_all();
        entry.cancelled = true;
        cancel(entry.about);
        match mem::replace(&mut entry.state, Lifecycle::Orphaned) {
            Lifecycle::Waiting(Some(waker)) => Ended::Forget(waker),
            _ => Ended::Nothing,
        }
    }

    /// Gives out a completed entry that nobody will ask for.
    fn abandon(&mut self, token: Token) -> Ended {
        let Some(entry) = self.get_mut(token) else { return Ended::Nothing };
        entry.give_back_all();
        let result = match entry.answers {
            Answers::One(result) => result.unwrap_or(-libc::ECANCELED),
            Answers::Many(_) => -libc::ECANCELED,
        };
        Ended::Abandon(self.remove(token), result)
    }

    /// Those whom arrivals have given something to do.
    pub(crate) fn take_to_wake(&mut self) -> Vec<Waker> {
        mem::take(&mut self.to_wake)
    }

    pub(crate) fn has_to_wake(&self) -> bool {
        !self.to_wake.is_empty()
    }

    /// Whether the last completion of `token` has come.
    pub(crate) fn is_over(&self, token: Token) -> bool {
        let entry = self.entries.get(token.index() as usize);
        entry.is_none_or(|entry| {
            entry.generation != token.generation() || matches!(entry.state, Lifecycle::Completed)
        })
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(crate) fn for_each_in_flight(&mut self, mut each: impl FnMut(Token, About)) {
        for (index, entry) in &mut self.entries {
            if !matches!(entry.state, Lifecycle::Completed) {
                entry.cancelled = true;
                each(Token::new(index as u32, entry.generation), entry.about);
            }
        }
    }

    fn get_mut(&mut self, token: Token) -> Option<&mut Entry> {
        find(&mut self.entries, token)
    }

    /// Only for entries whose last completion came.
    fn remove(&mut self, token: Token) -> Box<dyn Held> {
        let entry = self.entries.remove(token.index() as usize);
        // SAFETY: the pointer comes from a box that `insert` gave up; the entry is gone, so this
        // happens once; and the operation is over, so neither kernel nor pool uses the memory.
        unsafe { Box::from_raw(entry.held.as_ptr()) }
    }
}

fn find(entries: &mut Slab<Entry>, token: Token) -> Option<&mut Entry> {
    let entry = entries.get_mut(token.index() as usize)?;
    (entry.generation == token.generation()).then_some(entry)
}

fn is_cancelled(completion: Completion) -> bool {
    !completion.more && completion.result == -libc::ECANCELED
}

impl Entry {
    /// Whether another rung is to be asked.
    fn is_refused(&self, completion: Completion) -> bool {
        let first = match &self.answers {
            Answers::One(result) => result.is_none(),
            Answers::Many(_) => false,
        };
        let wanted = !matches!(self.state, Lifecycle::Orphaned);
        first && wanted && self.about.may_climb && ladder::is_refusal(completion.result)
    }

    /// Whether it is to be made again: a signal came, and nothing has been done.
    fn is_interrupted(&self, completion: Completion) -> bool {
        // A close has happened, and a connect goes on, whatever they say.
        let repeatable = !matches!(self.about.kind, OpKind::Close | OpKind::Connect);
        let wanted = !matches!(self.state, Lifecycle::Orphaned);
        let first = matches!(self.answers, Answers::One(None));
        first && wanted && repeatable && completion.result == -libc::EINTR
    }

    /// Puts a completion where it belongs; tells whether the operation is to end early.
    fn note(&mut self, completion: Completion, wake: &mut Vec<Waker>) -> bool {
        let orphaned = matches!(self.state, Lifecycle::Orphaned);
        let answers = match &mut self.answers {
            // Later ones only say that the memory is free.
            Answers::One(result) => {
                result.get_or_insert(completion.result);
                return false;
            }
            Answers::Many(answers) => answers,
        };
        // SAFETY: as in `give_back`.
        match unsafe { self.held.as_mut() }.arrive(completion, wake) {
            Arrival::Kept if orphaned => self.give_back(completion),
            // The table's own doing, which nobody is told: the operation is just over.
            Arrival::Kept if self.full && is_cancelled(completion) => {}
            Arrival::Kept => {
                answers.push_back(completion);
                self.full |= answers.len() >= UNTAKEN_MAX;
                return self.full;
            }
            Arrival::Taken => {}
            Arrival::Enough => return true,
        }
        false
    }

    fn give_back_all(&mut self) {
        if let Answers::Many(answers) = &mut self.answers {
            for completion in mem::take(answers) {
                self.give_back(completion);
            }
        }
    }

    fn give_back(&mut self, completion: Completion) {
        // SAFETY: the pointer is the box's that `insert` gave up, and the entry's alone on this side.
        // Of an operation with several completions the kernel only reads what the parts own.
        unsafe { self.held.as_mut() }.give_back(completion);
    }

    fn take_waker(&mut self) -> Ended {
        match &mut self.state {
            Lifecycle::Waiting(waker) => waker.take().map_or(Ended::Nothing, Ended::Wake),
            _ => Ended::Nothing,
        }
    }
}

impl Drop for Table {
    /// Frees what completed and was never asked for. What is still in flight is leaked: the kernel may
    /// be using it.
    fn drop(&mut self) {
        let done: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| matches!(entry.state, Lifecycle::Completed))
            .map(|(index, entry)| Token::new(index as u32, entry.generation))
            .collect();
        for token in done {
            if let Ended::Abandon(held, result) = self.abandon(token) {
                held.abandon(result);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    const ACCEPT: Op = Op::AcceptMulti { fd: -1 };

    /// Counts how often it is freed, and notes the result it was abandoned with.
    struct Probe {
        op: Op,
        /// From this result on it has had enough; others it leaves to the table.
        enough: i32,
        given_back: Rc<Cell<usize>>,
        drops: Rc<Cell<usize>>,
        abandoned: Rc<Cell<Option<i32>>>,
    }

    impl Held for Probe {
        fn describe(&mut self) -> Op {
            self.op
        }

        fn arrive(&mut self, completion: Completion, wake: &mut Vec<Waker>) -> Arrival {
            if completion.result < self.enough {
                return Arrival::Kept;
            }
            wake.push(Waker::noop().clone());
            Arrival::Enough
        }

        fn give_back(&mut self, _: Completion) {
            self.given_back.set(self.given_back.get() + 1);
        }

        fn abandon(self: Box<Self>, result: i32) {
            self.abandoned.set(Some(result));
        }
    }

    impl Drop for Probe {
        fn drop(&mut self) {
            self.drops.set(self.drops.get() + 1);
        }
    }

    #[derive(Default)]
    struct Fixture {
        table: Table,
        given_back: Rc<Cell<usize>>,
        drops: Rc<Cell<usize>>,
        abandoned: Rc<Cell<Option<i32>>>,
    }

    impl Fixture {
        fn insert(&mut self) -> Token {
            self.insert_with(Op::Nop, false)
        }

        fn complete(&mut self, completion: Completion) -> Ended {
            self.table.complete(completion, |_| panic!("nobody has had enough"))
        }

        fn insert_with(&mut self, op: Op, may_climb: bool) -> Token {
            let (drops, abandoned) = (self.drops.clone(), self.abandoned.clone());
            let given_back = self.given_back.clone();
            let probe = Probe { op, enough: 100, drops, abandoned, given_back };
            let (kind, rung, started) = (op.kind(), Rung::Ring, Instant::now());
            let about =
                About { kind, rung, for_somebody: false, started, may_climb, hashed: false };
            self.table.insert(Box::new(probe), Some(Waker::noop().clone()), |_| about).0
        }
    }

    #[test]
    fn an_orphan_is_kept_until_its_last_completion() {
        let mut fixture = Fixture::default();
        let token = fixture.insert();
        let mut cancelled = false;
        let _ = fixture.table.orphan(token, |_| cancelled = true);
        assert!(cancelled);
        let first = Completion { more: true, ..Completion::last(token, 7) };
        assert!(matches!(fixture.complete(first), Ended::Nothing));
        assert_eq!((fixture.drops.get(), fixture.table.in_flight()), (0, 1));
        let Ended::Abandon(held, result) = fixture.complete(Completion::last(token, 0)) else {
            panic!("the last completion ends an orphan");
        };
        held.abandon(result);
        assert_eq!((fixture.drops.get(), fixture.abandoned.get()), (1, Some(7)));
        assert_eq!(fixture.table.in_flight(), 0);
    }

    #[test]
    fn a_completion_for_an_earlier_use_of_an_entry_is_ignored() {
        let mut fixture = Fixture::default();
        let old = fixture.insert();
        assert!(matches!(fixture.complete(Completion::last(old, 1)), Ended::Wake(_)));
        assert_eq!(fixture.table.take(old).map(|(_, result)| result), Some(1));
        let new = fixture.insert();
        assert_eq!((new.index(), new == old), (old.index(), false));
        assert!(matches!(fixture.complete(Completion::last(old, 2)), Ended::Nothing));
        assert!(fixture.table.take(new).is_none());
        assert_eq!(fixture.table.in_flight(), 1);
    }

    #[test]
    fn what_is_in_flight_when_the_table_goes_is_leaked_and_what_is_done_is_freed() {
        let mut fixture = Fixture::default();
        let (_in_flight, done) = (fixture.insert(), fixture.insert());
        let _ = fixture.complete(Completion::last(done, 3));
        drop(fixture.table);
        assert_eq!((fixture.drops.get(), fixture.abandoned.get()), (1, Some(3)));
    }

    #[test]
    fn completions_of_a_multishot_come_in_order_and_what_nobody_took_is_given_back() {
        let mut fixture = Fixture::default();
        let token = fixture.insert_with(ACCEPT, false);
        let more = |result| Completion { more: true, ..Completion::last(token, result) };
        for result in [5, 6, 7] {
            let ended = fixture.complete(more(result));
            assert_eq!(matches!(ended, Ended::Wake(_)), result == 5, "woken once until it looks");
        }
        assert!(matches!(fixture.table.next(token), Next::One(done) if done.result == 5));
        let _ = fixture.table.orphan(token, |_| ());
        assert_eq!(fixture.given_back.get(), 2);
        assert!(matches!(fixture.complete(more(8)), Ended::Nothing));
        assert_eq!((fixture.given_back.get(), fixture.drops.get()), (3, 0));
        let last = Completion::last(token, -libc::ECANCELED);
        assert!(matches!(fixture.complete(last), Ended::Abandon(..)));
    }

    #[test]
    fn a_multishot_that_nobody_takes_from_is_ended_and_nothing_of_it_is_lost() {
        let mut fixture = Fixture::default();
        let token = fixture.insert_with(ACCEPT, false);
        let mut cancels = 0;
        for _ in 0..UNTAKEN_MAX + 2 {
            let completion = Completion { more: true, ..Completion::last(token, 5) };
            let _ = fixture.table.complete(completion, |_| cancels += 1);
        }
        assert_eq!(cancels, 1);
        let last = Completion::last(token, -libc::ECANCELED);
        let _ = fixture.table.complete(last, |_| cancels += 1);
        for _ in 0..UNTAKEN_MAX + 2 {
            assert!(matches!(fixture.table.next(token), Next::One(done) if done.result == 5));
        }
        assert!(matches!(fixture.table.next(token), Next::Over), "the end is no error");
        assert_eq!((cancels, fixture.given_back.get()), (1, 0));
    }

    #[test]
    fn an_operation_that_has_had_enough_is_cancelled_once_and_those_it_names_are_to_be_woken() {
        let mut fixture = Fixture::default();
        let token = fixture.insert_with(ACCEPT, false);
        let mut cancels = 0;
        for result in [5, 100, 101] {
            let completion = Completion { more: true, ..Completion::last(token, result) };
            let _ = fixture.table.complete(completion, |_| cancels += 1);
        }
        assert_eq!((cancels, fixture.table.take_to_wake().len()), (1, 2));
        assert!(matches!(fixture.table.next(token), Next::One(done) if done.result == 5));
        assert!(matches!(fixture.table.next(token), Next::Pending), "the others were taken");
        assert_eq!(fixture.given_back.get(), 0);
    }

    #[test]
    fn a_refused_operation_asks_for_another_rung_once_and_not_after_a_cancel() {
        let mut fixture = Fixture::default();
        let token = fixture.insert_with(Op::Nop, true);
        let refusal = Completion::last(token, -libc::EINVAL);
        assert!(matches!(fixture.complete(refusal), Ended::Again(..)));
        fixture.table.about(token).unwrap().may_climb = false;
        assert!(matches!(fixture.complete(refusal), Ended::Wake(_)));
        assert_eq!(fixture.table.take(token).map(|(_, result)| result), Some(-libc::EINVAL));

        let token = fixture.insert_with(Op::Nop, true);
        assert_eq!(fixture.table.cancel(token).map(|about| about.rung), Some(Rung::Ring));
        let refusal = Completion::last(token, -libc::EINVAL);
        assert!(matches!(fixture.complete(refusal), Ended::Wake(_)));
        assert_eq!(fixture.table.take(token).map(|(_, result)| result), Some(-libc::ECANCELED));
    }

    #[test]
    fn an_interrupted_operation_is_made_again_unless_it_has_happened_or_was_cancelled() {
        let mut fixture = Fixture::default();
        let token = fixture.insert_with(Op::Nop, false);
        let interrupted = Completion::last(token, -libc::EINTR);
        assert!(matches!(fixture.complete(interrupted), Ended::Again(..)));
        assert_eq!(fixture.table.cancel(token).map(|about| about.rung), Some(Rung::Ring));
        assert!(matches!(fixture.complete(interrupted), Ended::Wake(_)));
        assert_eq!(fixture.table.take(token).map(|(_, result)| result), Some(-libc::ECANCELED));

        let token = fixture.insert_with(Op::Close { fd: -1 }, false);
        assert!(matches!(fixture.complete(Completion::last(token, -libc::EINTR)), Ended::Wake(_)));
    }
}
