//! What is to be sent on a socket that may not take all of it at once: heads, and payloads behind them that stay where they
//! are.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Write};
use std::net::TcpStream;

use crate::pattern::Pattern;

/// Where in the pattern a payload is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    pub(super) seed: u64,
    pub(super) offset: u64,
    pub(super) length: usize,
}

/// A head of one or more messages, with the payload of the last.
#[derive(Default)]
struct Piece {
    head: Vec<u8>,
    tail: Option<Tail>,
    sent: usize,
}

/// In the order in which it leaves.
#[derive(Default)]
pub(super) struct Outbox {
    pieces: VecDeque<Piece>,
    /// The last one that has left, for its memory.
    spare: Vec<u8>,
}

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Where the next message's head is to be appended.
    pub(super) fn head(&mut self) -> &mut Vec<u8> {
        let is_closed = |piece: &Piece| piece.tail.is_some() || piece.sent > 0;
        if self.pieces.back().is_none_or(is_closed) {
            let head = std::mem::take(&mut self.spare);
            self.pieces.push_back(Piece { head, ..Piece::default() });
        }
        &mut self.pieces.back_mut().expect("one was pushed if there was none").head
    }

    /// What follows that head.
    pub(super) fn put_tail(&mut self, tail: Tail) {
        if let Some(piece) = self.pieces.back_mut() {
            piece.tail = Some(tail);
        }
    }

    /// Sends what the socket takes.
    pub(super) fn send(&mut self, mut socket: &TcpStream, pattern: &Pattern) -> io::Result<()> {
        while let Some(piece) = self.pieces.front_mut() {
            let payload = match piece.tail {
                Some(tail) => pattern.of(tail.seed, tail.offset, tail.length),
                None => &[],
            };
            let head_left = piece.head.get(piece.sent..).unwrap_or_default();
            let payload_left = &payload[piece.sent.saturating_sub(piece.head.len())..];
            match socket.write_vectored(&[IoSlice::new(head_left), IoSlice::new(payload_left)]) {
                Ok(sent) => piece.sent += sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            if piece.sent == piece.head.len() + payload.len()
                && let Some(done) = self.pieces.pop_front()
            {
                self.spare = done.head;
                self.spare.clear();
            }
        }
        Ok(())
    }
}
