//! What the client asks for, as the input says.

use crate::protocol::Disconnect;
use crate::protocol::script::ask::Ask;
use crate::protocol::script::client::Guard;
use crate::protocol::script::pair::{DIALECTS, offer, preauth};
use crate::wire::change_notify::ChangeNotifyRequest;
use crate::wire::header::{Command, HeaderFlags};
use crate::wire::negotiate::NegotiateRequest;
use crate::wire::negotiate_context::{Cipher, HashAlgorithm, NegotiateContext, SigningAlgorithm};
use crate::wire::validate_negotiate::ValidateNegotiateInfoRequest;

use super::Driven;
use crate::fuzzing::input::Input;

/// The most that one compound is made of.
const ELEMENTS_MAX: usize = 6;

/// An offer of any dialects and algorithms.
pub(super) fn negotiate(input: &mut Input<'_>) -> NegotiateRequest {
    let which = input.u8();
    let dialects: Vec<_> = (0..DIALECTS.len()).filter(|at| which & (1 << at) != 0).collect();
    let dialects: Vec<_> = dialects.into_iter().map(|at| DIALECTS[at]).collect();
    let cipher = input.pick(&[
        Cipher::AES_128_GCM,
        Cipher::AES_128_CCM,
        Cipher::AES_256_GCM,
        Cipher::AES_256_CCM,
        Cipher(9),
    ]);
    let signing = input.pick(&[
        SigningAlgorithm::AES_GMAC,
        SigningAlgorithm::AES_CMAC,
        SigningAlgorithm::HMAC_SHA256,
        SigningAlgorithm(9),
    ]);
    let mut contexts = vec![
        preauth(&[HashAlgorithm::SHA_512]),
        NegotiateContext::Encryption { ciphers: vec![cipher] },
        NegotiateContext::Signing { algorithms: vec![signing] },
    ];
    contexts.truncate(3 - input.below(3));
    NegotiateRequest { contexts, ..offer(&dialects) }
}

impl Driven {
    /// A message of one or more requests.
    pub(super) fn send(&mut self, input: &mut Input<'_>) -> Result<(), Disconnect> {
        let session_id = self.pair.client.session_id;
        let guard = self.guard(input, session_id);
        let mut next_id = self.ledger.next_id();
        let asks: Vec<_> = (0..=input.below(ELEMENTS_MAX))
            .map(|_| {
                let ask = self.request(input, next_id);
                next_id += u64::from(ask.charge.max(1));
                ask
            })
            .collect();
        let plain = self.pair.client.plain(guard, &asks);
        self.deliver_damaged(plain, (guard, session_id), input)
    }

    /// A CANCEL of something that is under way, or not.
    pub(super) fn cancel(&mut self, input: &mut Input<'_>) -> Result<(), Disconnect> {
        let session_id = self.pair.client.session_id;
        let guard = self.guard(input, session_id);
        let open: Vec<_> = self.ledger.open().collect();
        let (message_id, async_id) = match open.len() {
            0 => (input.u8().into(), None),
            count => open[input.below(count)],
        };
        let ask = match async_id {
            Some(async_id) if input.flag() => Ask::cancel_async(async_id),
            _ => Ask::cancel(message_id),
        };
        let plain = self.pair.client.plain(guard, &[ask]);
        self.deliver_damaged(plain, (guard, session_id), input)
    }

    /// A protection that the client has the keys for.
    pub(super) fn guard(&self, input: &mut Input<'_>, session_id: u64) -> Guard {
        match input.u8() % 4 {
            0 => Guard::Plain,
            1 if self.pair.client.can_seal(session_id) => Guard::Sealed,
            _ if self.pair.client.knows(session_id) => Guard::Signed,
            _ => Guard::Plain,
        }
    }

    fn request(&self, input: &mut Input<'_>, next_id: u64) -> Ask {
        let mut ask = command(input);
        let how = input.u8();
        if how & 1 != 0 {
            ask = ask.related();
        }
        if how & 2 != 0 {
            ask = ask.charge(input.pick(&[0, 1, 2, 5, u16::MAX]));
        }
        if how & 4 != 0 {
            ask = ask.credits(input.pick(&[0, 2, 16, 600, u16::MAX]));
        }
        if how & 8 != 0 {
            ask = ask.session(input.pick(&[0, 1, u64::MAX, self.pair.client.session_id]));
        }
        if how & 16 != 0 {
            ask.flags |= HeaderFlags::from_bits_retain(1 << input.below(32));
        }
        let id = if how & 32 != 0 { next_id + u64::from(input.u8()) } else { next_id };
        ask.message_id(id)
    }
}

fn command(input: &mut Input<'_>) -> Ask {
    match input.u8() % 18 {
        0 => Ask::echo(),
        1 => Ask::tree_connect(r"\\srv\share"),
        2 => Ask::create("folder\\file"),
        3 => Ask::read(u32::from(input.u8()) << (input.u8() % 16)),
        4 => Ask::write(input.bytes()),
        5 => Ask::set_info(),
        6 => Ask::close(),
        7 => Ask::logoff(),
        8 => Ask::cancel(input.u8().into()),
        9 => Ask::validate(&ValidateNegotiateInfoRequest::default(), 24),
        10 => Ask::session_setup(&Default::default()),
        11 => Ask::negotiate(&negotiate(input)),
        12 | 13 => {
            let request = ChangeNotifyRequest { output_buffer_length: 4096, ..Default::default() };
            Ask::new(Command::CHANGE_NOTIFY, |w| request.encode(w))
        }
        _ => {
            let (command, body) = (Command(input.u8().into()), input.bytes());
            Ask::new(command, |w| w.put_bytes(body))
        }
    }
}
