//! Failed logons are answered late, by the clock of the connection.

use std::sync::Arc;
use std::time::Duration;

use super::ask::Ask;
use super::client::{Guard, Response};
use super::pair::{LogOn, Pair, config, offer};
use crate::protocol::{Config, Connection, Disconnect, Event};
use crate::wire::dialect::Dialect;
use crate::wire::status::NtStatus;

const LATEST: Dialect = Dialect::SMB_3_1_1;
const MOMENT: Duration = Duration::from_millis(1);

fn wrong() -> LogOn {
    LogOn { password: "Secret", ..LogOn::default() }
}

/// A wrong password, without its answer.
fn guess(pair: &mut Pair) -> Result<(), Disconnect> {
    let (_, exchange) = pair.log_on_begin(&wrong());
    let message = exchange.request(&mut pair.client);
    pair.deliver(&message)
}

/// Waits as long as the server says; how long that was, and the answer.
fn wait(pair: &mut Pair) -> (Duration, Response) {
    pair.assert_silent();
    let until = pair.server.poll_timeout().expect("something is withheld");
    let wait = until - pair.now.instant;
    pair.advance(wait - MOMENT).unwrap();
    pair.assert_silent();
    pair.advance(MOMENT).unwrap();
    (wait, pair.answer().one())
}

fn guessed_twice(pair: &mut Pair) {
    for _ in 0..2 {
        assert_eq!(pair.log_on(&wrong()).status(), NtStatus::LOGON_FAILURE);
    }
}

#[test]
fn from_the_third_wrong_password_on_answers_take_longer_and_longer() {
    let mut pair = Pair::negotiated(config(), &offer(&[LATEST]));
    guessed_twice(&mut pair);
    for millis in [500, 1000, 2000, 4000, 4000] {
        guess(&mut pair).unwrap();
        let (waited, response) = wait(&mut pair);
        assert_eq!(waited, Duration::from_millis(millis));
        assert_eq!(response.status(), NtStatus::LOGON_FAILURE);
    }
}

#[test]
fn who_knows_the_password_does_not_wait_and_starts_anew() {
    let mut pair = Pair::negotiated(config(), &offer(&[LATEST]));
    guessed_twice(&mut pair);
    guess(&mut pair).unwrap();
    assert_eq!(pair.log_on(&LogOn::default()).status(), NtStatus::SUCCESS);
    pair.established().expect("a session");
    wait(&mut pair);
    guessed_twice(&mut pair);
}

#[test]
fn the_connection_goes_on_while_a_refusal_is_withheld() {
    let mut pair = Pair::logged_on(config(), LATEST);
    guessed_twice(&mut pair);
    guess(&mut pair).unwrap();
    assert_eq!(pair.ask(Guard::Signed, Ask::echo()).status(), NtStatus::SUCCESS);
    assert!(!pair.server.is_idle());
    wait(&mut pair);
    assert!(pair.server.is_idle());
}

#[test]
fn another_connection_is_told_of_the_failures_and_one_from_elsewhere_is_not_disturbed() {
    let mut first = Pair::negotiated(config(), &offer(&[LATEST]));
    guessed_twice(&mut first);
    let throttle = Arc::clone(&first.throttle);
    let shared = || Config { throttle: Arc::clone(&throttle), ..config() };
    let mut second = Pair::negotiated(shared(), &offer(&[LATEST]));
    guess(&mut second).unwrap();
    wait(&mut second);

    let mut elsewhere = Pair::new(shared());
    let peer = "198.51.100.7".parse().unwrap();
    elsewhere.server = Connection::new(Arc::new(shared()), peer, elsewhere.now.instant);
    elsewhere.negotiate(&offer(&[LATEST]));
    let bob = LogOn { user: "bob", ..LogOn::default() };
    assert_eq!(elsewhere.log_on(&bob).status(), NtStatus::LOGON_FAILURE, "at once");
}

#[test]
fn an_address_with_too_much_to_wait_for_is_not_heard() {
    let config = Config { credits_max: 512, ..config() };
    let mut pair = Pair::negotiated(config, &offer(&[LATEST]));
    guessed_twice(&mut pair);
    for _ in 0..32 {
        guess(&mut pair).unwrap();
    }
    let request = crate::wire::session_setup::SessionSetupRequest::default();
    let reason = pair.send(Guard::Plain, &[Ask::session_setup(&request)]);
    assert!(matches!(reason, Err(Disconnect::Guessing)));
}

#[test]
fn a_session_whose_user_could_not_prove_to_be_there_ends_before_its_refusal_is_sent() {
    let mut pair = Pair::logged_on(config(), LATEST);
    let session_id = pair.client.session_id;
    guessed_twice(&mut pair);
    let again = LogOn { session_id, guard: Guard::Signed, ..wrong() };
    let (_, exchange) = pair.log_on_begin(&again);
    let message = exchange.request(&mut pair.client);
    pair.deliver(&message).unwrap();
    assert!(matches!(pair.server.poll_event(), Some(Event::Ended(id)) if id == session_id));
    let (_, refusal) = wait(&mut pair);
    assert_eq!(refusal.status(), NtStatus::LOGON_FAILURE);
    assert!(refusal.is_signed());
    assert_eq!(pair.ask(Guard::Plain, Ask::read(1)).status(), NtStatus::USER_SESSION_DELETED);
}
