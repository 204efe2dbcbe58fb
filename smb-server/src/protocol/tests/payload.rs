//! The payload of a READ: sent from where the command put it, or copied into a compound.

use super::ask::Ask;
use super::client::Guard;
use super::pair::{Pair, config, content, payload, perform};
use crate::protocol::Payload;
use crate::wire::dialect::Dialect;
use crate::wire::header::Header;
use crate::wire::read::ReadResponse;

const GUARDS: [Guard; 3] = [Guard::Plain, Guard::Signed, Guard::Sealed];

#[test]
fn a_read_reads_the_same_alone_and_in_company() {
    for guard in GUARDS {
        for length in [0, 1, 7, 8, 4096, 70_001] {
            let mut pair = Pair::logged_on(config(), Dialect::SMB_3_1_1);
            let alone = pair.carry_out(guard, &[Ask::read(length)]).one();
            let company = pair.carry_out(guard, &[Ask::read(length), Ask::echo()]);
            let company = &company.responses[0];
            assert_eq!(alone.payload(), content(length as usize));
            assert_eq!(company.payload(), alone.payload());
            let decode = ReadResponse::decode;
            assert_eq!(company.body(decode), alone.body(decode));
            // MS-SMB2 2.2.20: the data begin right behind the fixed part.
            assert_eq!(alone.body(decode).data.start, Header::SIZE + ReadResponse::FIXED);
            // All but what tells two requests apart is the same, to the byte.
            let identity = |header: &Header| Header {
                credits: 0,
                message_id: 0,
                next_command: 0,
                signature: [0; 16],
                ..*header
            };
            assert_eq!(identity(&company.header), identity(&alone.header));
            let body = alone.message.len() - Header::SIZE;
            assert_eq!(company.message[Header::SIZE..][..body], alone.message[Header::SIZE..]);
        }
    }
}

#[test]
fn a_lone_payload_is_sent_from_the_buffer_it_was_read_into() {
    for guard in GUARDS {
        let mut pair = Pair::logged_on(config(), Dialect::SMB_3_1_1);
        let chain = pair.hand_out(guard, &[Ask::read(100_000).charge(2)]);
        let mut buffer = Payload::buffer_for(100_000);
        buffer.extend(content(100_000));
        let address = buffer.as_ptr();
        let body = crate::protocol::Body::Read(Payload::new(buffer));
        let reply = crate::protocol::Reply::ok(body);
        pair.server.handle_replies(pair.now.instant, chain.id, vec![reply]);
        let transmit = pair.server.poll_transmit().expect("a message");
        assert_eq!(transmit.buffer.as_ptr(), address, "no byte was moved");
        assert_eq!(pair.client.decode(transmit.bytes()).one().payload(), content(100_000));
    }
}

#[test]
fn a_failed_read_has_no_payload() {
    use crate::protocol::Reply;
    use crate::wire::status::NtStatus;

    let mut pair = Pair::logged_on(config(), Dialect::SMB_3_1_1);
    let chain = pair.hand_out(Guard::Sealed, &[Ask::read(10)]);
    let reply = Reply::error(NtStatus::END_OF_FILE);
    assert_eq!(pair.reply(chain.id, vec![reply]).one().status(), NtStatus::END_OF_FILE);
}

#[test]
fn a_payload_knows_what_is_in_it() {
    assert_eq!(payload(5).bytes(), content(5));
    assert_eq!((payload(5).len(), payload(0).is_empty()), (5, true));
    // A buffer that did not come from `buffer_for` has no headroom to give.
    assert!(Payload::new(vec![1, 2, 3]).is_empty());
    let mut pair = Pair::logged_on(config(), Dialect::SMB_3_1_1);
    let chain = pair.hand_out(Guard::Signed, &[Ask::read(1 << 16)]);
    assert_eq!(pair.reply(chain.id, perform(chain)).one().payload().len(), 1 << 16);
}
