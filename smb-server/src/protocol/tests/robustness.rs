//! Damaged messages, at every stage of a dialogue: the connection ends or it answers what can be
//! read; it never panics and never leaves half a message behind.

use std::time::Duration;

use super::ask::Ask;
use super::client::{Client, Guard};
use super::pair::{LogOn, Pair, config, offer, perform};
use crate::protocol::{Element, Event, Request, Work};
use crate::wire::dialect::Dialect;
use crate::wire::frame::{Frame, LENGTH_MAX, PREFIX};
use crate::wire::status::NtStatus;

/// Numbers that are the same in every run.
struct XorShift(u64);

impl XorShift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }
}

/// How a message is damaged.
#[derive(Clone, Copy, Debug)]
enum Damage {
    /// Only so many bytes arrive.
    Cut(usize),
    /// Some fields are changed, decided by this seed.
    Change(u64),
}

impl Damage {
    fn apply(self, message: &mut Vec<u8>) {
        match self {
            Self::Cut(length) => message.truncate(length),
            Self::Change(seed) => {
                let mut random = XorShift(seed);
                for _ in 0..=random.below(3) {
                    change(message, &mut random);
                }
            }
        }
    }
}

/// Changes a bit, a field to a value at the edge, or the length.
fn change(message: &mut Vec<u8>, random: &mut XorShift) {
    const EDGES: [u32; 8] = [0, 1, 7, 8, 64, 0x7fff_ffff, 0xffff_fff8, u32::MAX];
    if message.is_empty() {
        return;
    }
    let at = random.below(message.len());
    match random.below(6) {
        0 | 1 => message[at] ^= 1 << random.below(8),
        2 => message[at] = random.next().to_le_bytes()[0],
        3 | 4 => {
            let edge = EDGES[random.below(EDGES.len())].to_le_bytes();
            let at = at & !1;
            let width = (message.len() - at).min(2 + 2 * random.below(2));
            message[at..at + width].copy_from_slice(&edge[..width]);
        }
        _ => {
            let length = random.below(message.len() + 64);
            message.resize(length, random.next().to_le_bytes()[0]);
        }
    }
}

/// Carries out all that the server hands out and reads all that it sends: every message must be
/// whole and readable. Says whether the session still stands.
fn drain(pair: &mut Pair) -> bool {
    let mut stands = true;
    while let Some(event) = pair.server.poll_event() {
        match event {
            Event::Execute(chain) => {
                let is_logoff = |it: &Element| matches!(it.work, Work::Execute(Request::Logoff));
                stands &= !chain.elements.iter().any(is_logoff);
                let id = chain.id;
                pair.server.handle_replies(pair.now.instant, id, perform(chain));
            }
            Event::Ended(_) => stands = false,
            Event::Established(_) | Event::Cancel(_) => {}
        }
    }
    while let Some(transmit) = pair.server.poll_transmit() {
        pair.client.decode(transmit.bytes());
    }
    stands
}

/// Sends a damaged message. Says whether the connection goes on, with its session.
fn survives(pair: &mut Pair, message: &[u8]) -> bool {
    let outcome = pair.deliver(message);
    if outcome.is_err() {
        // Nothing of a message that ended the connection may come out.
        while let Some(transmit) = pair.server.poll_transmit() {
            let (prefix, rest) = transmit.bytes().split_first_chunk::<PREFIX>().expect("a prefix");
            let length = rest.len();
            assert_eq!(Frame::decode(*prefix, LENGTH_MAX), Ok(Frame::Message { length }));
        }
        return false;
    }
    drain(pair)
}

/// How often each message of the script is changed.
const CHANGES: u64 = 120;

/// The requests of a session in their order, and the compounds of a file browser.
fn script() -> Vec<Vec<Ask>> {
    let claim = Default::default();
    vec![
        vec![Ask::tree_connect(r"\\srv\share")],
        vec![Ask::create("folder\\file")],
        vec![Ask::read(300)],
        vec![Ask::write(&[0x77; 30])],
        vec![Ask::set_info()],
        vec![Ask::validate(&claim, 24)],
        vec![Ask::echo()],
        vec![Ask::cancel(3)],
        vec![Ask::create("file"), Ask::read(5).related(), Ask::close().related()],
        vec![Ask::session_setup(&Default::default())],
        vec![Ask::close()],
        vec![Ask::logoff()],
    ]
}

/// All damages of a message of `length` bytes.
fn damages(length: usize, changes: u64) -> impl Iterator<Item = Damage> {
    let seed = |n: u64| (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..length).map(Damage::Cut).chain((0..changes).map(move |n| Damage::Change(seed(n))))
}

#[test]
fn a_damaged_negotiate_is_refused_or_ends_the_connection() {
    let request = Ask::negotiate(&offer(&super::pair::DIALECTS));
    let message = Client::new().encode(Guard::Plain, &[request]);
    for damage in damages(message.len(), 3000) {
        let mut pair = Pair::new(config());
        let mut damaged = message.clone();
        damage.apply(&mut damaged);
        survives(&mut pair, &damaged);
    }
}

#[test]
fn a_damaged_smb1_negotiate_is_refused_or_ends_the_connection() {
    let mut message = Vec::new();
    let dialects = vec!["NT LM 0.12".to_owned(), "SMB 2.???".to_owned()];
    crate::wire::smb1_negotiate::Smb1NegotiateRequest { dialects }
        .encode(&mut crate::wire::codec::Writer::new(&mut message));
    for damage in damages(message.len(), 1000) {
        let mut pair = Pair::new(config());
        let mut damaged = message.clone();
        damage.apply(&mut damaged);
        survives(&mut pair, &damaged);
    }
}

#[test]
fn a_damaged_step_of_a_logon_is_refused_or_ends_the_connection() {
    for step in 0..2 {
        let mut damage_list: Vec<Damage> = damages(0, 400).collect();
        damage_list.extend((0..600).step_by(3).map(Damage::Cut));
        for damage in damage_list {
            let mut pair = Pair::negotiated(config(), &offer(&[Dialect::SMB_3_1_1]));
            let (first, exchange) = match step {
                0 => {
                    let mut message = first_step(&mut pair);
                    damage.apply(&mut message);
                    survives(&mut pair, &message);
                    continue;
                }
                _ => pair.log_on_begin(&LogOn::default()),
            };
            assert_eq!(first.status(), NtStatus::MORE_PROCESSING_REQUIRED);
            let mut message = exchange.request(&mut pair.client);
            // Where the damage does no harm, the answer is signed with a key that only the right
            // message would give: it is not for the client to verify.
            damage.apply(&mut message);
            if pair.deliver(&message).is_ok() {
                assert!(pair.server.poll_transmit().is_some());
            }
            while pair.server.poll_event().is_some() {}
        }
    }
}

/// The first SESSION_SETUP, not sent.
fn first_step(pair: &mut Pair) -> Vec<u8> {
    let token = crate::auth::client::Client::new("alice", "", "secret").negotiate();
    let request = crate::wire::session_setup::SessionSetupRequest {
        security_buffer: token,
        ..Default::default()
    };
    pair.client.encode(Guard::Plain, &[Ask::session_setup(&request)])
}

/// Damages each message of the script, before or after it is protected, on a connection with two
/// requests under way, one of which has had its interim response.
fn damage_script(dialect: Dialect, guard: Guard, before: bool) {
    let fresh = || {
        let mut pair = Pair::logged_on(config(), dialect);
        pair.ask(Guard::Signed, Ask::echo().credits(400));
        pair.hand_out(Guard::Signed, &[Ask::read(1)]);
        pair.advance(Duration::from_millis(500)).unwrap();
        pair.answer();
        pair.hand_out(Guard::Signed, &[Ask::read(1)]);
        pair
    };
    for asks in script() {
        let mut pair = fresh();
        let length = pair.client.encode(guard, &asks).len();
        for damage in damages(length, CHANGES) {
            if pair.client.credits < 32 {
                pair = fresh();
            }
            let mut message = pair.client.plain(guard, &asks);
            if before {
                damage.apply(&mut message);
            }
            message = pair.client.protect(guard, pair.client.session_id, message);
            if !before {
                damage.apply(&mut message);
            }
            if !survives(&mut pair, &message) {
                pair = fresh();
            }
        }
    }
}

#[test]
fn damaged_plain_messages_end_the_connection_or_are_answered() {
    damage_script(Dialect::SMB_3_0, Guard::Plain, false);
}

#[test]
fn damaged_messages_with_good_signatures_end_the_connection_or_are_answered() {
    damage_script(Dialect::SMB_3_1_1, Guard::Signed, true);
}

#[test]
fn damaged_messages_with_bad_signatures_end_the_connection_or_are_answered() {
    damage_script(Dialect::SMB_2_1, Guard::Signed, false);
}

#[test]
fn damaged_messages_with_good_seals_end_the_connection_or_are_answered() {
    damage_script(Dialect::SMB_3_1_1, Guard::Sealed, true);
}

#[test]
fn damaged_seals_end_the_connection() {
    damage_script(Dialect::SMB_3_0_2, Guard::Sealed, false);
}
