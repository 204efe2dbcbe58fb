//! A connection's dialogue with a floor: sixteen bytes that say where and how much, and the payload, there or back.

use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::time::Instant;

use super::Verify;
use super::inbox::once;
use super::offsets::Offsets;
use super::outbox::{Outbox, Tail};
use super::tally::Tally;
use crate::floors::{Order, Way};
use crate::pattern::Pattern;
use crate::shape::Shape;

/// The connection but for its socket.
pub(super) struct Floor {
    way: Way,
    shape: Shape,
    seed: u64,
    file: u16,
    verify: Verify,
    offsets: Offsets,
    in_flight: VecDeque<Asked>,
    pattern: &'static Pattern,
    tally: Tally,
}

struct Asked {
    offset: u64,
    at: Instant,
    received: usize,
    /// Where the answer goes, if it is received in full.
    kept: Option<Vec<u8>>,
}

impl Floor {
    pub(super) fn new(
        way: Way,
        shape: Shape,
        (file, seed): (u16, u64),
        number: usize,
        verify: Verify,
        pattern: &'static Pattern,
    ) -> Self {
        let offsets = Offsets::new(shape.size, shape.random, number);
        let (in_flight, tally) = (VecDeque::new(), Tally::default());
        Self { way, shape, seed, file, verify, offsets, in_flight, pattern, tally }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    pub(super) const fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }

    pub(super) fn ask(&mut self, out: &mut Outbox) {
        let length = self.shape.size as usize;
        let offset = self.offsets.next();
        let order = Order { file: self.file, offset, length: self.shape.size };
        out.head().extend_from_slice(&order.encode());
        let mut kept = None;
        if self.way == Way::Echo {
            // There is nothing to verify.
        } else if self.way.writes() {
            out.put_tail(Tail { seed: self.seed, offset, length });
        } else if self.verify.takes(self.offsets.one_of(Verify::ONE_OF)) {
            kept = Some(vec![0; length]);
        }
        self.in_flight.push_back(Asked { offset, at: Instant::now(), received: 0, kept });
    }

    /// Receives until nothing is there.
    pub(super) fn receive(&mut self, socket: &TcpStream, sink: &mut [u8]) -> io::Result<()> {
        if self.way == Way::Echo {
            return self.receive_echoes(socket, sink);
        }
        let length = if self.way.writes() { Order::SIZE } else { self.shape.size as usize };
        while let Some(asked) = self.in_flight.front_mut() {
            let left = length - asked.received;
            let received = match &mut asked.kept {
                Some(bytes) => once(socket, &mut bytes[asked.received..], false)?,
                None => once(socket, &mut sink[..left], true)?,
            };
            let Some(received) = received else { return Ok(()) };
            asked.received += received;
            if received < left {
                return Ok(());
            }
            if let Some(done) = self.in_flight.pop_front() {
                self.finish(&done)?;
            }
        }
        Ok(())
    }

    /// Several at once, as a client of a server takes short answers.
    fn receive_echoes(&mut self, socket: &TcpStream, sink: &mut [u8]) -> io::Result<()> {
        while let Some(first) = self.in_flight.front() {
            let left = self.in_flight.len() * Order::SIZE - first.received;
            let room = left.min(sink.len());
            let Some(mut received) = once(socket, &mut sink[..room], false)? else { return Ok(()) };
            let is_all = received < room;
            while let Some(asked) = self.in_flight.front_mut() {
                let more = received.min(Order::SIZE - asked.received);
                asked.received += more;
                received -= more;
                if asked.received < Order::SIZE {
                    break;
                }
                let done = self.in_flight.pop_front();
                self.tally.count(0, done.map_or_else(Instant::now, |done| done.at));
            }
            if is_all {
                return Ok(());
            }
        }
        Ok(())
    }

    fn finish(&mut self, done: &Asked) -> io::Result<()> {
        if let Some(bytes) = &done.kept {
            if bytes != self.pattern.of(self.seed, done.offset, bytes.len()) {
                return Err(io::Error::other("the file does not hold what was read"));
            }
            self.tally.verified += 1;
        }
        self.tally.count(self.shape.size as usize, done.at);
        Ok(())
    }
}
