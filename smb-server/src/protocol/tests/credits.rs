//! Credits and the sequence window: MS-SMB2 3.3.1.1, 3.3.1.2 and 3.3.5.2.3 to 3.3.5.2.5.

use std::time::Duration;

use super::ask::Ask;
use super::client::Guard;
use super::pair::{DIALECTS, Pair, config, offer, perform};
use crate::protocol::{Config, Disconnect, Event};
use crate::wire::dialect::Dialect;
use crate::wire::status::NtStatus;

const LATEST: Dialect = Dialect::SMB_3_1_1;

/// A pair whose client has used up what it holds but `rest` ids.
fn with_credits(rest: u64) -> Pair {
    let mut pair = Pair::logged_on(config(), LATEST);
    while pair.client.credits > rest {
        pair.hand_out(Guard::Signed, &[Ask::read(1)]);
    }
    pair
}

#[test]
fn a_connection_begins_with_one_credit_and_negotiate_gives_the_next() {
    let mut pair = Pair::new(config());
    let response = pair.negotiate(&offer(&DIALECTS));
    assert_eq!(response.header.credits, 1);
    assert_eq!(pair.client.credits, 1);
}

#[test]
fn the_window_grows_as_asked_for_up_to_its_maximum() {
    let config = Config { credits_max: 300, ..config() };
    let mut pair = Pair::negotiated(config, &offer(&[LATEST]));
    pair.log_on(&super::pair::LogOn::default());
    pair.established().expect("a session");
    let before = pair.client.credits;
    let response = pair.ask(Guard::Signed, Ask::echo().credits(10));
    assert_eq!(response.header.credits, 10);
    assert_eq!(pair.client.credits, before + 9);
    pair.ask(Guard::Signed, Ask::echo().credits(u16::MAX));
    assert_eq!(pair.client.credits, 300);
    // At the maximum a request gets back what it spent.
    let response = pair.ask(Guard::Signed, Ask::echo().credits(50));
    assert_eq!(response.header.credits, 1);
}

#[test]
fn a_client_that_asks_for_one_credit_or_none_never_starves() {
    for (dialect, asked) in DIALECTS.into_iter().flat_map(|it| [(it, 0), (it, 1)]) {
        let mut pair = Pair::logged_on(config(), dialect);
        let credits = pair.client.credits;
        for _ in 0..1000 {
            pair.ask(Guard::Signed, Ask::echo().credits(asked));
            assert_eq!(pair.client.credits, credits, "{dialect:?}");
        }
    }
}

#[test]
fn a_large_request_gets_back_all_that_it_was_charged() {
    let mut pair = Pair::logged_on(config(), LATEST);
    let credits = pair.client.credits;
    for _ in 0..20 {
        let response = pair.carry_out(Guard::Signed, &[Ask::read(1 << 20)]).one();
        // MS-SMB2 3.3.4.1.2: the charge of the request is repeated.
        assert_eq!(response.header.credit_charge, 16);
        assert_eq!(response.header.credits, 16);
        assert_eq!(pair.client.credits, credits);
    }
}

#[test]
fn a_message_id_is_good_once() {
    let mut pair = Pair::logged_on(config(), LATEST);
    let id = pair.client.next_message_id();
    pair.ask(Guard::Signed, Ask::echo());
    let error = pair.ask_in_vain(Guard::Signed, &[Ask::echo().message_id(id)]);
    assert!(matches!(error, Disconnect::OutOfWindow(_)));
}

#[test]
fn an_id_that_was_not_granted_ends_the_connection() {
    let next = |pair: &Pair| pair.client.next_message_id() + pair.client.credits;
    let mut pair = Pair::logged_on(config(), LATEST);
    let last = next(&pair) - 1;
    assert_eq!(
        pair.ask(Guard::Signed, Ask::echo().message_id(last)).status(),
        NtStatus::SUCCESS,
        "the last id of the window, out of order"
    );
    for outside in [next(&Pair::logged_on(config(), LATEST)), u64::MAX, u64::MAX - 1] {
        let mut pair = Pair::logged_on(config(), LATEST);
        let error = pair.ask_in_vain(Guard::Signed, &[Ask::echo().message_id(outside)]);
        assert!(matches!(error, Disconnect::OutOfWindow(_)), "{outside}");
    }
    // A charge must fit as a whole.
    let mut pair = Pair::logged_on(config(), LATEST);
    let last = next(&pair) - 1;
    let error = pair.ask_in_vain(Guard::Signed, &[Ask::read(65_537).message_id(last)]);
    assert!(matches!(error, Disconnect::OutOfWindow(_)));
}

#[test]
fn a_refused_request_has_spent_its_id_all_the_same() {
    let mut pair = Pair::logged_on(config(), LATEST);
    let id = pair.client.next_message_id();
    let refused = pair.ask(Guard::Plain, Ask::read(1).session(0x9999));
    assert_eq!(refused.status(), NtStatus::USER_SESSION_DELETED);
    assert_eq!(refused.header.credits, 1);
    pair.ask_in_vain(Guard::Signed, &[Ask::echo().message_id(id)]);
}

#[test]
fn a_charge_that_is_too_small_is_refused() {
    // MS-SMB2 3.3.5.2.5; a charge of 0 pays for 64 KiB.
    let unpaid = [
        Ask::read(65_537).charge(1),
        Ask::read(65_537).charge(0),
        Ask::read(8 << 20).charge(127),
        Ask::write(&[1; 65_537]).charge(1),
    ];
    for ask in unpaid {
        let mut pair = Pair::logged_on(config(), LATEST);
        pair.ask(Guard::Signed, Ask::echo().credits(512));
        assert_eq!(pair.ask(Guard::Signed, ask).status(), NtStatus::INVALID_PARAMETER);
        pair.assert_silent();
    }
    for paid in [Ask::read(65_536).charge(0), Ask::read(65_537).charge(3), Ask::read(8 << 20)] {
        let mut pair = Pair::logged_on(config(), LATEST);
        pair.ask(Guard::Signed, Ask::echo().credits(512));
        pair.hand_out(Guard::Signed, &[paid]);
    }
}

#[test]
fn more_than_the_largest_transfer_is_refused_however_well_it_is_paid() {
    let mut pair = Pair::logged_on(config(), LATEST);
    pair.ask(Guard::Signed, Ask::echo().credits(512));
    let response = pair.ask(Guard::Signed, Ask::read((8 << 20) + 1));
    assert_eq!(response.status(), NtStatus::INVALID_PARAMETER);
    // 2.0.2 has no charge to go by, only the limit of 64 KiB that NEGOTIATE told.
    let mut pair = Pair::logged_on(config(), Dialect::SMB_2_0_2);
    pair.hand_out(Guard::Signed, &[Ask::read(65_536).charge(0)]);
    let response = pair.ask(Guard::Signed, Ask::read(65_537).charge(0));
    assert_eq!(response.status(), NtStatus::INVALID_PARAMETER);
}

#[test]
fn in_2_0_2_a_request_spends_one_id_whatever_it_says() {
    // MS-SMB2 2.2.1: the field is reserved there.
    let mut pair = Pair::logged_on(config(), Dialect::SMB_2_0_2);
    let id = pair.client.next_message_id();
    pair.ask(Guard::Signed, Ask::echo().charge(9).message_id(id));
    pair.ask(Guard::Signed, Ask::echo().message_id(id + 1));
}

#[test]
fn a_compound_gets_its_credits_in_the_last_response() {
    let mut pair = Pair::logged_on(config(), LATEST);
    let asks = [Ask::create("a").credits(3), Ask::read(70_000).credits(4), Ask::close()];
    let answer = pair.carry_out(Guard::Signed, &asks);
    let credits: Vec<u16> = answer.responses.iter().map(|it| it.header.credits).collect();
    // Spent 1 + 2 + 1, and 2 + 3 + 0 asked for beyond one for each.
    assert_eq!(credits, [0, 0, 9]);
}

#[test]
fn a_cancel_spends_nothing() {
    let mut pair = with_credits(1);
    let id = pair.client.next_message_id() - 1;
    for _ in 0..3 {
        pair.send(Guard::Signed, &[Ask::cancel(id)]).unwrap();
        assert!(matches!(pair.server.poll_event(), Some(Event::Cancel(_))));
        pair.assert_silent();
    }
    let id = pair.client.next_message_id();
    assert_eq!(pair.ask(Guard::Signed, Ask::echo()).header.message_id, id);
}

#[test]
fn the_credits_of_an_asynchronous_request_come_once() {
    let mut pair = Pair::logged_on(config(), LATEST);
    let before = pair.client.credits;
    let chain = pair.hand_out(Guard::Signed, &[Ask::read(1 << 20).credits(20)]);
    pair.advance(Duration::from_millis(500)).unwrap();
    // Charged 16 and asked for 19 beyond one.
    assert_eq!(pair.answer().one().header.credits, 35);
    let last = pair.reply(chain.id, perform(chain)).one();
    assert_eq!(last.header.credits, 0);
    assert_eq!(pair.client.credits, before + 19);
}

#[test]
fn a_client_that_holds_no_credits_gets_them_back_with_its_answers() {
    let mut pair = with_credits(2);
    let one = pair.hand_out(Guard::Signed, &[Ask::read(1)]);
    let two = pair.hand_out(Guard::Signed, &[Ask::read(1)]);
    assert_eq!(pair.client.credits, 0);
    for chain in [two, one] {
        pair.reply(chain.id, perform(chain));
    }
    assert_eq!(pair.client.credits, 2);
}
