//! Large answers that are signed and sealed by other threads, before their turn comes or when it does.

use std::thread;

use super::ask::Ask;
use super::client::Guard;
use super::pair::{Pair, config, content, perform};
use crate::protocol::Job;
use crate::wire::dialect::Dialect;

/// So long that it may be protected elsewhere.
const LARGE: u32 = 300_000;

fn pair() -> Pair {
    let mut pair = Pair::logged_on(config(), Dialect::SMB_3_1_1);
    // For the credits.
    for _ in 0..40 {
        pair.ask(Guard::Plain, Ask::echo());
    }
    pair
}

/// Has READs of these lengths answered, and nothing sent yet.
fn answer_all(pair: &mut Pair, guard: Guard, lengths: &[u32]) {
    for &length in lengths {
        let charge = u16::try_from(length.div_ceil(65_536)).unwrap();
        let chain = pair.hand_out(guard, &[Ask::read(length).charge(charge)]);
        pair.server.handle_replies(pair.now.instant, chain.id, perform(chain));
    }
}

fn jobs(pair: &mut Pair) -> Vec<Job> {
    std::iter::from_fn(|| pair.server.poll_job(1)).collect()
}

/// What the client gets are these, in this order.
fn assert_sent(pair: &mut Pair, guard: Guard, lengths: &[u32]) {
    let answers = pair.answers();
    let is_protected = |sealed: bool, signed: bool| match guard {
        Guard::Sealed => sealed,
        Guard::Signed => signed,
        Guard::Plain => true,
    };
    assert_eq!(answers.len(), lengths.len());
    for (answer, &length) in answers.into_iter().zip(lengths) {
        let sealed = answer.sealed;
        // That signatures and seals are right the client has seen to.
        let response = answer.one();
        assert!(is_protected(sealed, response.is_signed()));
        assert!(response.payload() == content(length as usize), "{length}");
    }
    assert_eq!((pair.server.queued_bytes(), pair.server.has_queued()), (0, false));
}

#[test]
fn what_others_protect_is_sent_in_its_order() {
    let lengths = [LARGE, 10, LARGE + 1, LARGE + 2, 20, LARGE + 3];
    for guard in [Guard::Signed, Guard::Sealed] {
        let mut pair = pair();
        answer_all(&mut pair, guard, &lengths);
        let queued = pair.server.queued_bytes();
        let jobs = jobs(&mut pair);
        assert_eq!(jobs.len(), 3, "the first is for who sends it");
        let threads = jobs.into_iter().map(|job| thread::spawn(move || (job.id(), job.run())));
        let mut done: Vec<_> = threads.map(|thread| thread.join().unwrap()).collect();
        assert_eq!(pair.server.queued_bytes(), queued);
        // The last first.
        while let Some((id, outcome)) = done.pop() {
            pair.server.handle_job(id, outcome);
        }
        assert_sent(&mut pair, guard, &lengths);
    }
}

#[test]
fn what_nobody_has_begun_when_its_turn_comes_is_done_then() {
    for guard in [Guard::Signed, Guard::Sealed] {
        let mut pair = pair();
        answer_all(&mut pair, guard, &[LARGE; 3]);
        let jobs = jobs(&mut pair);
        assert_eq!(jobs.len(), 2);
        assert_sent(&mut pair, guard, &[LARGE; 3]);
        for job in jobs {
            let id = job.id();
            let done = job.run();
            assert!(done.is_none());
            pair.server.handle_job(id, done);
        }
        pair.assert_silent();
    }
}

#[test]
fn while_somebody_is_at_one_what_follows_waits() {
    let mut pair = pair();
    answer_all(&mut pair, Guard::Sealed, &[LARGE, LARGE + 1, 5]);
    let job = pair.server.poll_job(1).unwrap();
    let (id, done) = (job.id(), job.run());
    assert_eq!(pair.answers().len(), 1);
    assert!(pair.server.has_queued() && pair.server.poll_transmit().is_none());
    assert!(pair.server.poll_transmit_if(|_| true).is_none());
    pair.server.handle_job(id, done);
    assert_sent(&mut pair, Guard::Sealed, &[LARGE + 1, 5]);
}

#[test]
fn one_alone_and_small_ones_and_plain_ones_are_nobodys_job() {
    for (guard, lengths) in [
        (Guard::Sealed, [10, LARGE, 10]),
        (Guard::Sealed, [10_000, 20_000, 200_000]),
        (Guard::Plain, [LARGE; 3]),
    ] {
        let mut pair = pair();
        answer_all(&mut pair, guard, &lengths);
        assert!(!pair.server.has_job(1) && pair.server.poll_job(1).is_none());
        assert_eq!(pair.server.has_job(0), guard == Guard::Sealed && lengths[1] == LARGE);
        assert_sent(&mut pair, guard, &lengths);
    }
}

#[test]
fn a_job_that_was_not_done_comes_back() {
    let mut pair = pair();
    answer_all(&mut pair, Guard::Signed, &[LARGE; 2]);
    let job = pair.server.poll_job(1).unwrap();
    assert!(pair.server.poll_job(1).is_none());
    let id = job.id();
    drop(job);
    pair.server.handle_job(id, None);
    assert!(pair.server.has_job(1));
    assert_sent(&mut pair, Guard::Signed, &[LARGE; 2]);
}

#[test]
fn what_was_lost_keeps_nothing_else_back() {
    let mut pair = pair();
    answer_all(&mut pair, Guard::Sealed, &[LARGE, LARGE, 7]);
    let job = pair.server.poll_job(1).unwrap();
    let id = job.id();
    // As if the thread had died at it.
    drop(job.run());
    pair.server.handle_job(id, None);
    assert_sent(&mut pair, Guard::Sealed, &[LARGE, 7]);
}

#[test]
fn what_a_logoff_has_ended_is_sealed_after_it() {
    let mut pair = pair();
    answer_all(&mut pair, Guard::Sealed, &[LARGE; 2]);
    let logoff = pair.hand_out(Guard::Sealed, &[Ask::logoff()]);
    pair.server.handle_replies(pair.now.instant, logoff.id, perform(logoff));
    assert!(!pair.server.has_session());
    let answers = pair.answers();
    assert_eq!(answers.len(), 3);
    assert!(answers.iter().all(|answer| answer.sealed));
}
