//! Compounds: MS-SMB2 3.3.5.2.7 and 3.3.4.1.3.

use super::ask::Ask;
use super::client::{Answer, Guard};
use super::pair::{LogOn, MIB, Pair, config, content, perform};
use crate::protocol::{Reply, Request, Work};
use crate::wire::dialect::Dialect;
use crate::wire::header::{Command, HeaderFlags};
use crate::wire::status::NtStatus;

const LATEST: Dialect = Dialect::SMB_3_1_1;
const GUARDS: [Guard; 3] = [Guard::Plain, Guard::Signed, Guard::Sealed];

fn rich_pair() -> Pair {
    let mut pair = Pair::logged_on(config(), LATEST);
    pair.ask(Guard::Signed, Ask::echo().credits(512));
    pair
}

/// What holds for the layout of every compound that the server sends.
fn assert_chained(answer: &Answer) {
    let (last, before) = answer.responses.split_last().expect("a response");
    assert_eq!(last.header.next_command, 0);
    for response in before {
        assert_eq!(response.header.next_command as usize, response.message.len());
        assert!(response.message.len().is_multiple_of(8));
    }
}

#[test]
fn related_requests_share_session_and_tree_whatever_their_headers_say() {
    let mut pair = Pair::logged_on(config(), LATEST);
    let session_id = pair.client.session_id;
    let chain = pair.hand_out(
        Guard::Sealed,
        &[
            Ask::create("a").tree(5),
            Ask::read(10).related().session(u64::MAX).tree(u32::MAX),
            Ask::close().related().session(0).tree(0),
        ],
    );
    let seen: Vec<_> =
        chain.elements.iter().map(|it| (it.session_id, it.tree_id, it.related)).collect();
    let expected = [(session_id, 5, false), (session_id, 5, true), (session_id, 5, true)];
    assert_eq!(seen, expected);
    let answer = pair.reply(chain.id, perform(chain));
    assert_chained(&answer);
    for (response, related) in answer.responses.iter().zip([false, true, true]) {
        let flag = response.header.flags.contains(HeaderFlags::RELATED_OPERATIONS);
        assert_eq!(flag, related, "MS-SMB2 3.3.4.1.3: as in the request");
        assert_eq!((response.header.session_id, response.header.tree_id()), (session_id, Some(5)));
    }
}

#[test]
fn unrelated_requests_keep_what_their_headers_say() {
    let mut pair = Pair::logged_on(config(), LATEST);
    let alice = pair.client.session_id;
    pair.log_on(&LogOn { user: "bob", password: "secret2", ..LogOn::default() });
    pair.established().expect("a session");
    let bob = pair.client.session_id;
    let asks = [
        Ask::read(1).tree(5),
        Ask::read(2).session(alice).tree(6),
        Ask::read(3).related().session(bob).tree(7),
    ];
    let chain = pair.hand_out(Guard::Plain, &asks);
    let seen: Vec<_> = chain.elements.iter().map(|it| (it.session_id, it.tree_id)).collect();
    assert_eq!(seen, [(bob, 5), (alice, 6), (alice, 6)]);
}

#[test]
fn a_first_request_that_is_related_is_refused() {
    let mut pair = Pair::logged_on(config(), LATEST);
    for guard in GUARDS {
        pair.send(guard, &[Ask::read(1).related()]).unwrap();
        assert_eq!(pair.answer().statuses(), [NtStatus::INVALID_PARAMETER]);
        // What is related to it is related to nothing, too.
        let asks = [Ask::read(1).related(), Ask::close().related(), Ask::read(2)];
        let chain = pair.hand_out(guard, &asks);
        let status = NtStatus::INVALID_PARAMETER;
        for refused in &chain.elements[..2] {
            assert!(matches!(&refused.work, Work::Answered(reply) if reply.status == status));
        }
        assert!(matches!(chain.elements[2].work, Work::Execute(Request::Read(_))));
        let answer = pair.reply(chain.id, perform(chain));
        assert_eq!(answer.statuses(), [status, status, NtStatus::SUCCESS]);
    }
}

#[test]
fn requests_related_to_one_of_an_unknown_session_are_related_to_nothing() {
    let mut pair = Pair::logged_on(config(), LATEST);
    let session_id = pair.client.session_id;
    let asks = [Ask::create("a").session(0x9999), Ask::close().related().session(session_id)];
    pair.send(Guard::Plain, &asks).unwrap();
    let statuses = [NtStatus::USER_SESSION_DELETED, NtStatus::INVALID_PARAMETER];
    assert_eq!(pair.answer().statuses(), statuses);
}

#[test]
fn responses_are_padded_to_eight_bytes_and_each_has_its_own_signature() {
    // READ responses of all lengths modulo 8. The client verifies each signature with its padding.
    for guard in GUARDS {
        let mut pair = rich_pair();
        let asks: Vec<Ask> = (1..=9).map(Ask::read).collect();
        let answer = pair.carry_out(guard, &asks);
        assert_chained(&answer);
        for (response, length) in answer.responses.iter().zip(1..) {
            assert_eq!(response.payload(), content(length));
            assert_eq!(response.is_signed(), guard == Guard::Signed);
        }
    }
}

#[test]
fn each_request_is_verified_with_the_padding_behind_it() {
    let mut pair = rich_pair();
    let asks = [Ask::create("abc"), Ask::read(1), Ask::close()];
    let padding = 64 + asks[0].body.len();
    assert!(!padding.is_multiple_of(8), "there is padding");
    let mut message = pair.client.encode(Guard::Signed, &asks);
    message[padding] ^= 1;
    pair.deliver(&message).unwrap();
    let chain = pair.chain();
    let answer = pair.reply(chain.id, perform(chain));
    let expected = [NtStatus::ACCESS_DENIED, NtStatus::SUCCESS, NtStatus::SUCCESS];
    assert_eq!(answer.statuses(), expected, "only the first is forged");
    assert!(answer.responses.iter().all(super::client::Response::is_signed));
}

#[test]
fn responses_come_in_the_order_of_their_requests() {
    let mut pair = rich_pair();
    let first = pair.client.next_message_id();
    let asks = [Ask::echo(), Ask::create("a"), Ask::echo(), Ask::close()];
    let answer = pair.carry_out(Guard::Signed, &asks);
    let commands: Vec<_> = answer.responses.iter().map(|it| it.header.command).collect();
    assert_eq!(commands, [Command::ECHO, Command::CREATE, Command::ECHO, Command::CLOSE]);
    let ids = answer.responses.iter().map(|it| it.header.message_id);
    assert!(ids.eq(first..first + 4));
}

#[test]
fn a_compound_that_needs_no_command_is_answered_at_once() {
    let mut pair = rich_pair();
    pair.send(Guard::Signed, &[Ask::echo(), Ask::echo()]).unwrap();
    assert_eq!(pair.answer().statuses(), [NtStatus::SUCCESS; 2]);
    pair.assert_silent();
}

#[test]
fn a_compound_may_move_as_much_as_one_request() {
    let mut pair = rich_pair();
    let chain = pair.hand_out(Guard::Signed, &[Ask::read(8 * MIB), Ask::read(8 * MIB)]);
    assert!(matches!(chain.elements[0].work, Work::Execute(_)));
    let status = NtStatus::INSUFFICIENT_RESOURCES;
    let second = &chain.elements[1].work;
    assert!(matches!(second, Work::Answered(reply) if reply.status == status));
    assert!(chain.size() + chain.wanted() < 9 * MIB as usize);
    let answer = pair.reply(chain.id, perform(chain));
    assert_eq!(answer.statuses(), [NtStatus::SUCCESS, status]);
}

#[test]
fn a_compound_has_a_limit_of_requests() {
    let echoes = |count| vec![Ask::echo(); count];
    let mut pair = rich_pair();
    pair.send(Guard::Signed, &echoes(64)).unwrap();
    assert_eq!(pair.answer().statuses(), [NtStatus::SUCCESS; 64]);
    pair.ask_in_vain(Guard::Signed, &echoes(65));
}

#[test]
fn a_next_command_that_points_astray_ends_the_connection() {
    let length = 2 * 72 - 4; // two ECHOs of 68 bytes, the first padded
    for next in [1, 8, 56, 60, 68, 71, 76, length, length + 4, 144, u32::MAX - 7, u32::MAX] {
        let mut pair = rich_pair();
        let mut message = pair.client.encode(Guard::Plain, &[Ask::echo(), Ask::echo()]);
        assert_eq!(message.len(), length as usize);
        message[20..24].copy_from_slice(&next.to_le_bytes());
        assert!(pair.deliver(&message).is_err(), "NextCommand {next}");
        pair.assert_silent();
    }
}

#[test]
fn a_next_request_that_is_not_aligned_ends_the_connection() {
    // Two ECHOs of 68 bytes without padding between them; all else is as it should be.
    let mut pair = rich_pair();
    let mut message = pair.client.encode(Guard::Plain, &[Ask::echo()]);
    message[20..24].copy_from_slice(&68_u32.to_le_bytes());
    message.extend(pair.client.encode(Guard::Plain, &[Ask::echo()]));
    assert!(pair.deliver(&message).is_err());
    pair.assert_silent();
}

#[test]
fn an_element_that_is_malformed_ends_the_connection_before_any_is_carried_out() {
    let mut pair = rich_pair();
    let mut broken = Ask::close();
    broken.body[0] = 25; // StructureSize
    pair.ask_in_vain(Guard::Signed, &[Ask::create("a"), broken]);
}

#[test]
fn session_setup_and_cancel_do_not_come_in_company() {
    let mut pair = rich_pair();
    let setup = Ask::session_setup(&Default::default());
    let cancel = Ask { message_id: None, ..Ask::cancel(0) };
    pair.send(Guard::Signed, &[Ask::echo(), setup, cancel]).unwrap();
    let refused = NtStatus::INVALID_PARAMETER;
    assert_eq!(pair.answer().statuses(), [NtStatus::SUCCESS, refused, refused]);
}

#[test]
fn a_command_that_forgets_a_reply_has_failed() {
    let mut pair = rich_pair();
    let chain = pair.hand_out(Guard::Signed, &[Ask::create("a"), Ask::close()]);
    let answer = pair.reply(chain.id, vec![Reply::error(NtStatus::OBJECT_NAME_NOT_FOUND)]);
    assert_eq!(answer.statuses(), [NtStatus::OBJECT_NAME_NOT_FOUND, NtStatus::INTERNAL_ERROR]);
}
