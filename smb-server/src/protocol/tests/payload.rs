//! The payload of a READ: sent from where the command put it, or copied into a compound.

use std::rc::Rc;
use std::sync::Arc;

use super::ask::Ask;
use super::client::Guard;
use super::pair::{Pair, config, content, offer, payload, perform};
use crate::protocol::{Config, Payload, Protection};
use crate::wire::dialect::Dialect;
use crate::wire::header::Header;
use crate::wire::read::ReadResponse;
use crate::wire::write::WriteRequest;

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
        buffer.extend_from_slice(&content(100_000));
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

#[test]
fn a_chain_knows_what_its_answers_will_have_around_them() {
    let expected = [Protection::Plain, Protection::Signed, Protection::Sealed];
    for (guard, protection) in GUARDS.into_iter().zip(expected) {
        let mut pair = Pair::logged_on(config(), Dialect::SMB_3_1_1);
        assert_eq!(pair.hand_out(guard, &[Ask::read(10)]).protection, protection);
    }
    let insists = Config { require_signing: true, ..config() };
    let mut pair = Pair::logged_on(insists, Dialect::SMB_3_1_1);
    assert_eq!(pair.hand_out(Guard::Signed, &[Ask::read(10)]).protection, Protection::Signed);
}

#[test]
fn bytes_that_are_elsewhere_are_counted_in_and_sent_with_nothing_around_them() {
    use crate::transport::{Elsewhere, Piped};
    use crate::wire::status::NtStatus;

    for guard in GUARDS {
        let mut pair = Pair::logged_on(config(), Dialect::SMB_3_1_1);
        let chain = pair.hand_out(guard, &[Ask::read(1000)]);
        let pipe = ringway::pipe::PipePool::new(4096, 1).try_get().unwrap().unwrap();
        let payload = Payload::elsewhere(vec![Elsewhere::Piped(Piped::new(pipe, 1000))]);
        assert_eq!(payload.len(), 1000);
        let reply = crate::protocol::Reply::ok(crate::protocol::Body::Read(payload));
        pair.server.handle_replies(pair.now.instant, chain.id, vec![reply]);
        let transmit = pair.server.poll_transmit().expect("a message");
        let bytes = transmit.bytes();
        if guard == Guard::Plain {
            assert_eq!(Elsewhere::total(&transmit.tail), 1000);
            let announced = u32::from_be_bytes(*bytes.first_chunk().unwrap());
            assert_eq!(announced as usize, bytes.len() - 4 + 1000);
            // MS-SMB2 2.2.20: DataLength, four bytes into the body.
            assert_eq!(bytes[4 + Header::SIZE..][4..8], 1000_u32.to_le_bytes());
        } else {
            // It was made for another answer: nothing of the file is sent.
            assert!(transmit.tail.is_empty());
            let answer = pair.client.decode(bytes).one();
            assert_eq!(answer.status(), NtStatus::INTERNAL_ERROR);
        }
    }
}

#[test]
fn bytes_that_are_in_two_places_are_signed_here_and_sent_from_there() {
    use crate::transport::{Elsewhere, Piped};

    for guard in GUARDS {
        for company in [false, true] {
            let mut pair = Pair::logged_on(config(), Dialect::SMB_3_1_1);
            let asks = [Ask::read(100_000).charge(2), Ask::echo()];
            let chain = pair.hand_out(guard, if company { &asks } else { &asks[..1] });
            let id = chain.id;
            let pipe = ringway::pipe::PipePool::new(4096, 1).try_get().unwrap().unwrap();
            let mut buffer = Payload::buffer_for(100_000);
            buffer.extend_from_slice(&content(100_000));
            let payload =
                Payload::in_both(buffer, vec![Elsewhere::Piped(Piped::new(pipe, 100_000))]);
            assert_eq!(payload.len(), 100_000);
            let mut replies = perform(chain);
            replies[0] = crate::protocol::Reply::ok(crate::protocol::Body::Read(payload));
            pair.server.handle_replies(pair.now.instant, id, replies);
            let transmit = pair.server.poll_transmit().expect("a message");
            let mut sent = transmit.bytes().to_vec();
            let from_there = guard != Guard::Sealed && !company;
            assert_eq!(Elsewhere::total(&transmit.tail), if from_there { 100_000 } else { 0 });
            assert_eq!(transmit.length(), sent.len() + Elsewhere::total(&transmit.tail));
            if from_there {
                assert!(transmit.buffer.len() < 1000, "the copy is not kept");
                sent.extend(content(100_000));
            }
            // Which verifies the signature.
            assert_eq!(pair.client.decode(&sent).responses[0].payload(), content(100_000));
        }
    }
}

/// So many bytes of a file of three pages, from its second on, which nobody writes to.
fn leased(length: usize) -> crate::transport::Elsewhere {
    use std::os::fd::OwnedFd;

    use crate::transport::{Elsewhere, Leased, Pin, Until};

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, content(3 * 4096)).unwrap();
    let file: ringway::fs::File = OwnedFd::from(std::fs::File::open(&path).unwrap()).into();
    // Others may fork meanwhile, and have it open until they are what they are to be.
    let lease = loop {
        match file.read_lease() {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            lease => break Arc::new(Box::new(lease.unwrap())),
        }
    };
    let pin = Rc::new(Pin::new(Until::Sent));
    Elsewhere::Leased(Leased::new(lease, None, &file, (4096, length), pin).unwrap())
}

#[test]
fn bytes_that_stay_as_they_are_are_signed_and_sealed_where_they_are() {
    use crate::transport::Elsewhere;
    use crate::wire::status::NtStatus;

    let expected = &content(3 * 4096)[4096..];
    // Of the longest the file has not all.
    for length in [5, 4096, 8192, 3 * 4096] {
        let is_there = length <= expected.len();
        for guard in GUARDS {
            let mut pair = Pair::logged_on(config(), Dialect::SMB_3_1_1);
            let chain = pair.hand_out(guard, &[Ask::read(length as u32)]);
            let payload = Payload::elsewhere(vec![leased(length)]);
            assert_eq!(payload.len(), length);
            let reply = crate::protocol::Reply::ok(crate::protocol::Body::Read(payload));
            pair.server.handle_replies(pair.now.instant, chain.id, vec![reply]);
            let transmit = pair.server.poll_transmit().expect("a message");
            assert!(pair.server.poll_transmit().is_none());
            let mut sent = transmit.bytes().to_vec();
            let in_tail = Elsewhere::total(&transmit.tail);
            if guard == Guard::Plain {
                assert_eq!(in_tail, length);
                continue;
            }
            let is_from_there = guard == Guard::Signed && is_there;
            assert_eq!(in_tail, if is_from_there { length } else { 0 });
            sent.extend_from_slice(&expected[..in_tail]);
            // Which verifies the signature, or opens the seal.
            let answer = pair.client.decode(&sent).one();
            match is_there {
                true => assert_eq!(answer.payload(), &expected[..length]),
                false => assert_eq!(answer.status(), NtStatus::IO_DEVICE_ERROR),
            }
        }
    }
}

/// What of a message comes first, when it is taken apart.
const HEAD: usize = Header::SIZE + WriteRequest::FIXED;

#[test]
fn only_a_lone_and_plain_write_is_taken_apart() {
    let mut pair = Pair::logged_on(config(), Dialect::SMB_3_1_1);
    let write = || Ask::write(&[7; 50_000]);
    let apart =
        |pair: &Pair, message: &[u8]| pair.server.takes_apart(&message[..HEAD], message.len());
    let message = pair.client.encode(Guard::Plain, &[write()]);
    assert!(apart(&pair, &message));
    // Not where its data would not be all of the rest.
    assert!(!pair.server.takes_apart(&message[..HEAD], message.len() + 1));
    assert!(!pair.server.takes_apart(&message[..HEAD], message.len() - 1));
    assert!(!pair.server.takes_apart(&message[..HEAD - 1], message.len()));
    for guard in [Guard::Signed, Guard::Sealed] {
        let message = pair.client.encode(guard, &[write()]);
        assert!(!apart(&pair, &message), "{guard:?}");
    }
    let message = pair.client.encode(Guard::Plain, &[write(), Ask::echo()]);
    assert!(!apart(&pair, &message), "in a compound");
    let message = pair.client.encode(Guard::Plain, &[write().session(77)]);
    assert!(!apart(&pair, &message), "of nobody");
    let insists = Config { require_signing: true, ..config() };
    let mut pair = Pair::logged_on(insists, Dialect::SMB_3_1_1);
    let message = pair.client.encode(Guard::Plain, &[write()]);
    assert!(!apart(&pair, &message), "where signatures are required");
    let mut pair = Pair::negotiated(config(), &offer(&[Dialect::SMB_3_1_1]));
    let message = pair.client.encode(Guard::Plain, &[write()]);
    assert!(!apart(&pair, &message), "of a stranger");
}

#[test]
fn a_write_without_its_payload_is_the_same_request() {
    use crate::protocol::{Request, Work};

    let requests = [false, true].map(|apart| {
        let mut pair = Pair::logged_on(config(), Dialect::SMB_3_1_1);
        let message = pair.client.encode(Guard::Plain, &[Ask::write(&[7; 50_000])]);
        if apart {
            let head = message[..HEAD].to_vec();
            pair.server.handle_head(pair.now, head, message.len()).unwrap();
        } else {
            pair.deliver(&message).unwrap();
        }
        let chain = pair.chain();
        assert_eq!(chain.size(), if apart { HEAD } else { message.len() });
        match chain.elements.into_iter().next().unwrap().work {
            Work::Execute(Request::Write(request)) => request,
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(requests[0], requests[1]);
}
