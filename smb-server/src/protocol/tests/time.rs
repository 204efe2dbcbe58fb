//! What happens because time passes: interim responses (MS-SMB2 3.3.4.2), CANCEL (3.3.5.16) and
//! the patience with clients that do not log on.

use std::time::Duration;

use super::ask::Ask;
use super::client::{Answer, Guard};
use super::pair::{LogOn, MIB, Pair, config, offer, perform};
use crate::protocol::{Chain, Config, Disconnect, Event, Reply};
use crate::wire::dialect::Dialect;
use crate::wire::header::{Command, HeaderFlags};
use crate::wire::status::NtStatus;

const LATEST: Dialect = Dialect::SMB_3_1_1;
const INTERIM_AFTER: Duration = Duration::from_millis(500);
const MOMENT: Duration = Duration::from_millis(1);

fn cancelled(pair: &mut Pair) -> Option<crate::protocol::ChainId> {
    match pair.server.poll_event() {
        Some(Event::Cancel(chain)) => Some(chain),
        None => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_slow_request_is_answered_in_the_interim_once() {
    for guard in [Guard::Plain, Guard::Signed, Guard::Sealed] {
        let mut pair = Pair::logged_on(config(), LATEST);
        let id = pair.client.next_message_id();
        let chain = pair.hand_out(guard, &[Ask::read(100)]);
        assert_eq!(pair.server.poll_timeout(), Some(pair.now.instant + INTERIM_AFTER));
        pair.advance(INTERIM_AFTER - MOMENT).unwrap();
        pair.assert_silent();
        pair.advance(MOMENT).unwrap();
        let answer = pair.answer();
        assert_eq!(answer.sealed, guard == Guard::Sealed);
        let interim = answer.one();
        assert_eq!(interim.status(), NtStatus::PENDING);
        assert_eq!((interim.header.command, interim.header.message_id), (Command::READ, id));
        // MS-SMB2 3.3.4.1.1: an interim response is not signed.
        assert!(!interim.is_signed());
        assert!(interim.header.flags.contains(HeaderFlags::ASYNC_COMMAND));
        let async_id = interim.header.async_id().expect("an AsyncId");
        assert_ne!(async_id, 0);

        assert_eq!(pair.server.poll_timeout(), None);
        pair.advance(10 * INTERIM_AFTER).unwrap();
        pair.assert_silent();
        let answer = pair.reply(chain.id, perform(chain));
        assert_eq!(answer.sealed, guard == Guard::Sealed);
        let last = answer.one();
        assert_eq!(last.status(), NtStatus::SUCCESS);
        assert_eq!((last.header.async_id(), last.header.message_id), (Some(async_id), id));
        assert_eq!(last.is_signed(), guard == Guard::Signed);
    }
}

#[test]
fn a_quick_request_has_no_interim_response() {
    let mut pair = Pair::logged_on(config(), LATEST);
    let chain = pair.hand_out(Guard::Signed, &[Ask::read(100)]);
    pair.advance(INTERIM_AFTER - MOMENT).unwrap();
    let response = pair.reply(chain.id, perform(chain)).one();
    assert_eq!(response.header.async_id(), None);
    pair.advance(INTERIM_AFTER).unwrap();
    pair.assert_silent();
}

#[test]
fn slow_requests_have_different_async_ids() {
    let mut pair = Pair::logged_on(config(), LATEST);
    let chains: Vec<Chain> =
        (0..3).map(|_| pair.hand_out(Guard::Signed, &[Ask::read(1)])).collect();
    pair.advance(INTERIM_AFTER).unwrap();
    let mut ids = Vec::new();
    while let Some(transmit) = pair.server.poll_transmit() {
        ids.extend(pair.client.decode(transmit.bytes()).one().header.async_id());
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), chains.len());
}

#[test]
fn some_requests_are_never_answered_in_the_interim() {
    let never = [
        vec![Ask::tree_connect(r"\\srv\share")],
        vec![Ask::set_info()],
        vec![Ask::logoff()],
        vec![Ask::create("a"), Ask::read(1).related(), Ask::close().related()],
    ];
    for asks in never {
        let mut pair = Pair::logged_on(config(), LATEST);
        let chain = pair.hand_out(Guard::Signed, &asks);
        assert_eq!(pair.server.poll_timeout(), None);
        pair.advance(100 * INTERIM_AFTER).unwrap();
        pair.assert_silent();
        let answer = pair.reply(chain.id, perform(chain));
        assert!(answer.responses.iter().all(|it| it.header.async_id().is_none()));
    }
}

#[test]
fn a_request_is_cancelled_by_message_id_before_the_interim_response_and_by_async_id_after() {
    for guard in [Guard::Signed, Guard::Sealed] {
        let mut pair = Pair::logged_on(config(), LATEST);
        let id = pair.client.next_message_id();
        let chain = pair.hand_out(guard, &[Ask::read(100)]);
        let other = pair.hand_out(guard, &[Ask::read(100)]);
        pair.send(guard, &[Ask::cancel(id)]).unwrap();
        assert_eq!(cancelled(&mut pair), Some(chain.id));

        pair.advance(INTERIM_AFTER).unwrap();
        let first = pair.server.poll_transmit().expect("an interim response");
        let async_id = pair.client.decode(first.bytes()).one().header.async_id().unwrap();
        pair.answer();
        pair.send(guard, &[Ask::cancel_async(async_id)]).unwrap();
        assert_eq!(cancelled(&mut pair), Some(chain.id));
        // There is no response to a CANCEL; the request itself is answered.
        pair.assert_silent();
        let last = pair.reply(chain.id, vec![Reply::error(NtStatus::CANCELLED)]).one();
        assert_eq!((last.status(), last.header.message_id), (NtStatus::CANCELLED, id));
        pair.send(guard, &[Ask::cancel_async(async_id)]).unwrap();
        assert_eq!(cancelled(&mut pair), None, "it is answered");
        pair.reply(other.id, perform(other));
    }
}

#[test]
fn a_request_that_waits_for_others_is_answered_in_the_interim_at_once() {
    let mut pair = Pair::logged_on(config(), LATEST);
    let chain = pair.hand_out(Guard::Signed, &[Ask::read(100)]);
    assert!(pair.server.handle_pending(pair.now.instant, chain.id, &mut Vec::new()));
    assert_eq!(pair.answer().one().status(), NtStatus::PENDING);
    // Only one, whatever else would have it sent.
    assert!(pair.server.handle_pending(pair.now.instant, chain.id, &mut Vec::new()));
    pair.advance(2 * INTERIM_AFTER).unwrap();
    pair.assert_silent();
    let last = pair.reply(chain.id, perform(chain)).one();
    assert!(last.header.async_id().is_some());
}

#[test]
fn what_comes_before_a_request_that_waits_is_answered_without_it() {
    for guard in [Guard::Plain, Guard::Signed, Guard::Sealed] {
        let mut pair = Pair::logged_on(config(), LATEST);
        let asks = [Ask::read(1), Ask::read(2).related(), Ask::read(3).related()];
        let chain = pair.hand_out(guard, &asks);
        let id = chain.id;
        let mut replies = perform(chain);
        let last = replies.pop().unwrap();
        assert!(pair.server.handle_pending(pair.now.instant, id, &mut replies));
        assert!(replies.is_empty());
        let [before, interim] = <[Answer; 2]>::try_from(pair.answers()).expect("two messages");
        assert_eq!(before.statuses(), [NtStatus::SUCCESS; 2]);
        let interim = interim.one();
        assert_eq!(interim.status(), NtStatus::PENDING);
        let last = pair.reply(id, vec![last]).one();
        assert_eq!(last.payload().len(), 3);
        assert_eq!(last.header.message_id, interim.header.message_id);
        assert_eq!(last.header.async_id(), interim.header.async_id());
        assert!(!last.header.flags.contains(HeaderFlags::RELATED_OPERATIONS));
    }
}

#[test]
fn no_more_than_511_requests_wait_for_others() {
    let mut pair = Pair::logged_on(Config { credits_max: 1024, ..config() }, LATEST);
    let wait = |pair: &mut Pair| {
        let chain = pair.hand_out(Guard::Plain, &[Ask::read(1)]);
        let waits = pair.server.handle_pending(pair.now.instant, chain.id, &mut Vec::new());
        if waits {
            assert_eq!(pair.answer().one().status(), NtStatus::PENDING);
        }
        (chain, waits)
    };
    let mut waiting: Vec<_> = (0..511).map(|_| wait(&mut pair)).collect();
    assert!(waiting.iter().all(|(_, waits)| *waits));
    let (refused, waits) = wait(&mut pair);
    assert!(!waits);
    pair.reply(refused.id, vec![Reply::error(NtStatus::INSUFFICIENT_RESOURCES)]);
    let (chain, _) = waiting.pop().unwrap();
    pair.reply(chain.id, perform(chain));
    assert!(wait(&mut pair).1);
}

#[test]
fn a_cancel_of_nothing_or_of_somebody_unknown_is_ignored() {
    let mut pair = Pair::logged_on(config(), LATEST);
    let id = pair.client.next_message_id();
    pair.hand_out(Guard::Signed, &[Ask::read(1)]);
    pair.send(Guard::Signed, &[Ask::cancel(id + 1)]).unwrap();
    pair.send(Guard::Signed, &[Ask::cancel_async(1)]).unwrap();
    pair.send(Guard::Plain, &[Ask::cancel(id).session(0x9999)]).unwrap();
    let mut forged = pair.client.encode(Guard::Signed, &[Ask::cancel(id)]);
    forged[50] ^= 1;
    pair.deliver(&forged).unwrap();
    pair.assert_silent();
}

// ---- logon

#[test]
fn a_client_that_does_not_log_on_is_cut_off() {
    let patience = config().unauthenticated_timeout;
    let mut pair = Pair::negotiated(config(), &offer(&[LATEST]));
    assert_eq!(pair.server.poll_timeout(), Some(pair.now.instant + patience));
    pair.advance(patience - MOMENT).unwrap();
    pair.log_on_begin(&LogOn::default());
    // An attempt is no logon.
    assert!(matches!(pair.advance(MOMENT), Err(Disconnect::Unauthenticated)));
}

#[test]
fn who_has_logged_on_has_all_the_time_in_the_world_until_the_last_logoff() {
    let patience = config().unauthenticated_timeout;
    let mut pair = Pair::logged_on(config(), LATEST);
    assert_eq!(pair.server.poll_timeout(), None);
    pair.advance(10 * patience).unwrap();
    pair.carry_out(Guard::Signed, &[Ask::logoff()]);
    assert_eq!(pair.server.poll_timeout(), Some(pair.now.instant + patience));
    pair.advance(patience - MOMENT).unwrap();
    assert!(pair.advance(MOMENT).is_err());
}

#[test]
fn a_failed_reauthentication_starts_the_clock_again() {
    let mut pair = Pair::logged_on(config(), LATEST);
    let session_id = pair.client.session_id;
    let wrong = LogOn { session_id, password: "wrong", guard: Guard::Signed, ..LogOn::default() };
    assert_eq!(pair.log_on(&wrong).status(), NtStatus::LOGON_FAILURE);
    assert!(pair.server.poll_timeout().is_some());
}

#[test]
fn long_messages_are_for_those_who_have_logged_on() {
    let small = 128 * 1024;
    let mut pair = Pair::negotiated(config(), &offer(&[LATEST]));
    assert!(pair.server.message_size_max() <= small);
    pair.log_on_begin(&LogOn::default());
    assert!(pair.server.message_size_max() <= small);
    pair.log_on(&LogOn::default());
    pair.established().expect("a session");
    assert!(pair.server.message_size_max() > (8 * MIB) as usize + 1024);
    pair.carry_out(Guard::Signed, &[Ask::logoff()]);
    assert!(pair.server.message_size_max() <= small);
}
